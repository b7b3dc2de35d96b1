"""Contacts with height fields on a GPU, in place of MuJoCo Warp's, which can be metres deep.

MuJoCo Warp cuts the ground into prisms and asks its general convex collision detection for each of them. On long prisms
far from the field's middle that loses its digits: a foot of 2 cm that goes under the surface was found 46 m deep
(MuJoCo Warp 4.0.0, float32; Go2s under random actions, about once a minute for each), and the robot flew off.
Here distances to the triangles are computed directly (``field_contacts.cu``), which is also faster.
"""

# Warp annotates with values.
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

from functools import cache
from typing import Any

import mujoco
import mujoco_warp as mjw
import numpy as np
import warp as wp

from palestra.physics.field_contacts import MOST_CONTACTS, body, own_pairs

contact_params = mjw._src.collision_core.contact_params
write_contact = mjw._src.collision_core.write_contact
make_frame = mjw._src.math.make_frame
vec5 = mjw._src.types.vec5

_FLOATS = 7  # of a contact: distance, point, normal

_ARGUMENTS = """
    const float size[3] = {geom_size[0], geom_size[1], geom_size[2]};
    const float centre[3] = {position[0], position[1], position[2]};
    const float turn[9] = {
        orientation.data[0][0], orientation.data[0][1], orientation.data[0][2],
        orientation.data[1][0], orientation.data[1][1], orientation.data[1][2],
        orientation.data[2][0], orientation.data[2][1], orientation.data[2][2],
    };
    const float half_x = field[0], half_y = field[1], top = field[2];
    const float* heights = data.data + first_height;
    float* result = contacts.data + (long long)slot * contacts.shape[1];
"""


class FieldContacts:
    """Takes the pairs of height fields with spheres, capsules and boxes out of MuJoCo Warp's list and collides them.

    Args:
        model: the model.
        m: MuJoCo Warp's model, whose list of pairs is shortened and whose callback is set.
        num_envs: number of worlds.
    """

    def __init__(self, model: mujoco.MjModel, m: Any, num_envs: int) -> None:
        pairs, ids, own = _own(model, m)
        taken = pairs[own]
        is_field = model.geom_type[taken[:, 0]] == int(mujoco.mjtGeom.mjGEOM_HFIELD)
        taken = np.where(is_field[:, None], taken, taken[:, ::-1])
        m.nxn_geom_pair_filtered = wp.array(pairs[~own], dtype=wp.vec2i)
        m.nxn_pairid_filtered = wp.array(ids[~own], dtype=wp.vec2i)
        counts = list(m.geom_pair_type_count)
        for first, second in model.geom_type[taken].tolist():  # as in an upper triangle, row by row
            counts[first * (2 * _num_types(counts) - first - 1) // 2 + second] -= 1
        m.geom_pair_type_count = tuple(counts)
        m.callback.contactfilter = self.collide
        self._pairs = wp.array(taken, dtype=wp.vec2i)
        self._ids = wp.array(ids[own], dtype=wp.vec2i)
        self._found = wp.empty((num_envs * len(taken), MOST_CONTACTS * _FLOATS), dtype=float)
        self._kernel = _kernel()

    @staticmethod
    def wanted(model: mujoco.MjModel, m: Any) -> bool:
        """Whether there is such a pair, and MuJoCo Warp goes through a list of pairs."""
        through_list = int(m.opt.broadphase) == int(mjw.BroadphaseType.NXN)
        return model.nhfield > 0 and through_list and bool(_own(model, m)[2].any())

    def collide(self, m: Any, d: Any) -> None:
        """Append the contacts to those that MuJoCo Warp has found."""
        wp.launch(
            self._kernel,
            dim=(d.nworld, self._pairs.shape[0]),
            inputs=[
                self._pairs,
                self._ids,
                m.geom_type,
                m.geom_dataid,
                m.geom_size,
                m.geom_rbound,
                m.hfield_size,
                m.hfield_nrow,
                m.hfield_ncol,
                m.hfield_adr,
                m.hfield_data,
                m.geom_condim,
                m.geom_priority,
                m.geom_solmix,
                m.geom_solref,
                m.geom_solimp,
                m.geom_friction,
                m.geom_margin,
                m.geom_gap,
                m.geom_adhesion,
                m.pair_dim,
                m.pair_solref,
                m.pair_solreffriction,
                m.pair_solimp,
                m.pair_margin,
                m.pair_gap,
                m.pair_adhesion,
                m.pair_friction,
                d.geom_xpos,
                d.geom_xmat,
                d.naconmax,
                self._found,
            ],
            outputs=[
                d.contact.dist,
                d.contact.pos,
                d.contact.frame,
                d.contact.includemargin,
                d.contact.friction,
                d.contact.solref,
                d.contact.solreffriction,
                d.contact.solimp,
                d.contact.dim,
                d.contact.geom,
                d.contact.efc_address,
                d.contact.worldid,
                d.contact.type,
                d.contact.geomcollisionid,
                d.contact.adhesion,
                d.nacon,
            ],
        )


def _own(model: mujoco.MjModel, m: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return MuJoCo Warp's pairs of geoms, their ids, and which of them are taken over."""
    pairs, ids = m.nxn_geom_pair_filtered.numpy(), m.nxn_pairid_filtered.numpy()
    return pairs, ids, own_pairs(model, pairs) & (ids[:, 0] >= -1) & (ids[:, 1] < 0)  # others are for distance sensors


def _num_types(counts: list[int]) -> int:
    """Number of types whose unordered pairs these are."""
    return int(((8 * len(counts) + 1) ** 0.5 - 1) / 2)


@cache
def _kernel() -> Any:
    @wp.func_native(_ARGUMENTS + body() + "\n    return found;\n")
    def find_contacts(
        kind: int,
        geom_size: wp.vec3,
        position: wp.vec3,
        orientation: wp.mat33,
        field: wp.vec4,
        nrow: int,
        ncol: int,
        first_height: int,
        data: wp.array(dtype=float),
        reach: float,
        slot: int,
        contacts: wp.array2d(dtype=float),
    ) -> int: ...

    @wp.kernel(enable_backward=False, module="unique")
    def field_contacts(
        pairs: wp.array(dtype=wp.vec2i),
        pair_ids: wp.array(dtype=wp.vec2i),
        geom_type: wp.array(dtype=int),
        geom_dataid: wp.array2d(dtype=int),
        geom_size: wp.array2d(dtype=wp.vec3),
        geom_rbound: wp.array2d(dtype=float),
        hfield_size: wp.array(dtype=wp.vec4),
        hfield_nrow: wp.array(dtype=int),
        hfield_ncol: wp.array(dtype=int),
        hfield_adr: wp.array(dtype=int),
        hfield_data: wp.array(dtype=float),
        geom_condim: wp.array(dtype=int),
        geom_priority: wp.array(dtype=int),
        geom_solmix: wp.array2d(dtype=float),
        geom_solref: wp.array2d(dtype=wp.vec2),
        geom_solimp: wp.array2d(dtype=vec5),
        geom_friction: wp.array2d(dtype=wp.vec3),
        geom_margin: wp.array2d(dtype=float),
        geom_gap: wp.array2d(dtype=float),
        geom_adhesion: wp.array2d(dtype=float),
        pair_dim: wp.array(dtype=int),
        pair_solref: wp.array2d(dtype=wp.vec2),
        pair_solreffriction: wp.array2d(dtype=wp.vec2),
        pair_solimp: wp.array2d(dtype=vec5),
        pair_margin: wp.array2d(dtype=float),
        pair_gap: wp.array2d(dtype=float),
        pair_adhesion: wp.array2d(dtype=float),
        pair_friction: wp.array2d(dtype=vec5),
        geom_xpos: wp.array2d(dtype=wp.vec3),
        geom_xmat: wp.array2d(dtype=wp.mat33),
        naconmax: int,
        contacts: wp.array2d(dtype=float),
        contact_dist: wp.array(dtype=float),
        contact_pos: wp.array(dtype=wp.vec3),
        contact_frame: wp.array(dtype=wp.mat33),
        contact_includemargin: wp.array(dtype=float),
        contact_friction: wp.array(dtype=vec5),
        contact_solref: wp.array(dtype=wp.vec2),
        contact_solreffriction: wp.array(dtype=wp.vec2),
        contact_solimp: wp.array(dtype=vec5),
        contact_dim: wp.array(dtype=int),
        contact_geom: wp.array(dtype=wp.vec2i),
        contact_efc_address: wp.array2d(dtype=int),
        contact_worldid: wp.array(dtype=int),
        contact_type: wp.array(dtype=int),
        contact_geomcollisionid: wp.array(dtype=int),
        contact_adhesion: wp.array(dtype=float),
        nacon: wp.array(dtype=int),
    ):
        world, pair = wp.tid()
        ground, geom = pairs[pair][0], pairs[pair][1]
        field_id = geom_dataid[world % geom_dataid.shape[0], ground]
        field = hfield_size[field_id]
        place, frame = geom_xpos[world, ground], geom_xmat[world, ground]
        position = wp.transpose(frame) @ (geom_xpos[world, geom] - place)
        geoms, margin, gap, condim, friction, solref, solreffriction, solimp, adhesion = contact_params(
            geom_condim,
            geom_priority,
            geom_solmix,
            geom_solref,
            geom_solimp,
            geom_friction,
            geom_margin,
            geom_gap,
            geom_adhesion,
            pair_dim,
            pair_solref,
            pair_solreffriction,
            pair_solimp,
            pair_margin,
            pair_gap,
            pair_adhesion,
            pair_friction,
            pairs,
            pair_ids,
            pair,
            world,
        )
        if position[2] - geom_rbound[world % geom_rbound.shape[0], geom] > field[2] + margin + gap:
            return
        slot = world * pairs.shape[0] + pair
        count = find_contacts(
            geom_type[geom],
            geom_size[world % geom_size.shape[0], geom],
            position,
            wp.transpose(frame) @ geom_xmat[world, geom],
            field,
            hfield_nrow[field_id],
            hfield_ncol[field_id],
            hfield_adr[field_id],
            hfield_data,
            margin + gap,
            slot,
            contacts,
        )
        for k in range(count):
            first = 7 * k
            point = wp.vec3(contacts[slot, first + 1], contacts[slot, first + 2], contacts[slot, first + 3])
            normal = wp.vec3(contacts[slot, first + 4], contacts[slot, first + 5], contacts[slot, first + 6])
            write_contact(
                naconmax,
                k,
                contacts[slot, first],
                frame @ point + place,
                make_frame(frame @ normal),
                margin,
                gap,
                condim,
                friction,
                solref,
                solreffriction,
                solimp,
                adhesion,
                geoms,
                pair_ids[pair],
                world,
                contact_dist,
                contact_pos,
                contact_frame,
                contact_includemargin,
                contact_friction,
                contact_solref,
                contact_solreffriction,
                contact_solimp,
                contact_dim,
                contact_geom,
                contact_efc_address,
                contact_worldid,
                contact_type,
                contact_geomcollisionid,
                contact_adhesion,
                nacon,
            )

    return field_contacts
