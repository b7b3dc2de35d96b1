"""Contact and constraint capacities for the CUDA engine, probed on the CPU.

MuJoCo Warp's buffers are fixed, and rows beyond them are dropped. The probe drops the scene from random joint
positions and orientations with random controls, on a height field all over it, which piles up more contacts than a
working policy does, and adds a margin. What it cannot see (objects that a task later stacks) shows up as an overflow
count with the setting to raise.
"""

import mujoco
import numpy as np
from mujoco import batch as mujoco_batch

from palestra.physics.base import Capacity
from palestra.physics.field_contacts import MOST_CONTACTS, own_pairs

_MARGIN = 1.25


def probe_capacity(model: mujoco.MjModel, num_sims: int = 64, num_steps: int = 120, seed: int = 0) -> Capacity:
    """Return capacities that cover everything seen in ``num_sims`` random drops of ``num_steps`` steps."""
    rng = np.random.default_rng(seed)
    sims = mujoco_batch.Batch(model, num_sims, 0)
    ncon, nefc = sims.bind("ncon"), sims.bind("nefc")
    sims.reset(stage=int(mujoco.mjtStage.mjSTAGE_NONE))
    _scatter(model, sims.bind("qpos"), rng)
    ctrl = sims.bind("ctrl")
    contacts = constraints = 0
    for _ in range(max(num_steps // 4, 1)):
        ctrl[:] = rng.uniform(-1.0, 1.0, ctrl.shape) * _ctrl_scale(model)
        sims.step(nstep=4)
        contacts, constraints = max(contacts, int(ncon.max())), max(constraints, int(nefc.max()))
    probed = Capacity(int(contacts * _MARGIN) + 4, int(constraints * _MARGIN) + 8)
    bound = _bound_on_height_fields(model)
    if bound is None:
        return probed
    return Capacity(min(probed.contacts, bound.contacts), min(probed.constraints, bound.constraints))


def _scatter(model: mujoco.MjModel, qpos: np.ndarray, rng: np.random.Generator) -> None:
    for joint in range(model.njnt):
        address = model.jnt_qposadr[joint]
        kind = model.jnt_type[joint]
        if kind == mujoco.mjtJoint.mjJNT_FREE:
            quat = rng.normal(size=(len(qpos), 4))
            qpos[:, address + 3 : address + 7] = quat / np.linalg.norm(quat, axis=1, keepdims=True)
            _spread_over_height_field(model, qpos[:, address : address + 3], rng)
        elif kind in (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE) and model.jnt_limited[joint]:
            low, high = model.jnt_range[joint]
            qpos[:, address] = rng.uniform(low, high, len(qpos))


def _spread_over_height_field(model: mujoco.MjModel, position: np.ndarray, rng: np.random.Generator) -> None:
    """Put free bodies at random places of the model's first height field, as high above its ground as they were."""
    geoms = np.flatnonzero((model.geom_type == mujoco.mjtGeom.mjGEOM_HFIELD) & (model.geom_bodyid == 0))
    if not geoms.size:
        return
    field = model.geom_dataid[geoms[0]]
    rows, columns, start = model.hfield_nrow[field], model.hfield_ncol[field], model.hfield_adr[field]
    x, y, height, _ = model.hfield_size[field]
    heights = height * model.hfield_data[start : start + rows * columns].reshape(rows, columns)
    row = rng.integers(rows // 10, rows - rows // 10, len(position))
    column = rng.integers(columns // 10, columns - columns // 10, len(position))
    place = np.stack((2 * x * column / (columns - 1) - x, 2 * y * row / (rows - 1) - y, heights[row, column]), axis=1)
    position[:, 2] += place[:, 2] + model.geom_pos[geoms[0], 2]
    position[:, :2] = place[:, :2] + model.geom_pos[geoms[0], :2]


def most_convex_collisions(model: mujoco.MjModel, own_field_contacts: bool = True) -> int | None:
    """Return how many pairs of geoms may need the iterative collision detection at once, if height fields bound them.

    MuJoCo Warp reserves memory for each contact; a height field has one such pair with each geom that meets it,
    whatever the number of their contacts, or none if :mod:`palestra.physics.field_contacts` takes it. None for a model
    without height fields.
    """
    if not model.nhfield:
        return None
    pairs = _colliding_pairs(model)
    left = ~own_pairs(model, pairs) if own_field_contacts else np.ones(len(pairs), bool)
    return max(int(np.count_nonzero(left)), 1)


def _bound_on_height_fields(model: mujoco.MjModel) -> Capacity | None:
    """Return what a model can need at most whose only contacts are those with height fields, else None.

    MuJoCo finds up to 50 contacts between a height field and a geom; on a GPU there are at most 4.
    """
    pairs = _colliding_pairs(model)
    is_field = model.geom_type == mujoco.mjtGeom.mjGEOM_HFIELD
    if not model.nhfield or model.npair or model.neq or model.ntendon or not is_field[pairs].any(axis=1).all():
        return None
    dims = model.geom_condim[pairs].max(axis=1, initial=1)
    pyramidal = model.opt.cone == mujoco.mjtCone.mjCONE_PYRAMIDAL
    rows = np.where(dims > 1, 2 * (dims - 1), 1) if pyramidal else dims
    others = int(np.count_nonzero(model.dof_frictionloss > 0.0) + np.count_nonzero(model.jnt_limited))
    return Capacity(MOST_CONTACTS * len(pairs), MOST_CONTACTS * int(rows.sum()) + others)


def _colliding_pairs(model: mujoco.MjModel) -> np.ndarray:
    """Pairs of geoms of different bodies whose masks let them collide, one of them able to move, ``(num_pairs, 2)``."""
    first, second = np.triu_indices(model.ngeom, k=1)
    masks = (model.geom_contype[first] & model.geom_conaffinity[second]) | (
        model.geom_contype[second] & model.geom_conaffinity[first]
    )
    weld = model.body_weldid[model.geom_bodyid]
    return np.stack((first, second), axis=1)[(masks != 0) & (weld[first] != weld[second])]


def _ctrl_scale(model: mujoco.MjModel) -> np.ndarray:
    limits = np.abs(model.actuator_forcerange).max(axis=1, initial=0.0) if model.nu else np.zeros(0)
    return np.where(limits > 0, limits, 1.0)
