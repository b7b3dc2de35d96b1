"""Another maker's model of the same robot in the place of ours: joints are matched by name, the rest by place."""

from __future__ import annotations

import mujoco
import numpy as np

from palestra.config.configclass import MISSING, configclass
from palestra.errors import ConfigError
from palestra.sim import SpawnerCfg

_FREE = mujoco.mjtJoint.mjJNT_FREE
_FARTHEST_M = 0.05
"""How far a joint may be from where it is in our model, at zero positions."""
_ALONG = 0.9
"""Least cosine between the axes of two joints that are taken for the same one."""


@configclass
class OtherModelCfg(SpawnerCfg):
    """A model whose joints are those of another; bodies, shapes and sites take the other's names.

    Masses, inertias, collision shapes and passive joint forces are the new model's. Motors, sensors and keyframes of
    its file are left out: the task's actuators drive it.
    """

    own: SpawnerCfg = MISSING
    """The model that the task was made for."""

    other: SpawnerCfg = MISSING
    """The model that takes its place."""

    def build(self, name: str) -> mujoco.MjSpec:
        """Return the new model with the names of the old.

        Raises:
            ConfigError: the joints are not the same.
        """
        own, other = self.own.build(name), self.other.build(name)
        for element in [*other.actuators, *other.sensors, *other.keys]:
            other.delete(element)
        _take_joint_names(own, other)
        placed, new = _Placed(own), _Placed(other)
        _compare_joints(placed, new)
        _take_body_names(own, other)
        _take_geom_names(placed, new)
        _add_sites(placed, new)
        return other


class _Placed:
    """A spec with where its elements are at zero positions, relative to the first body."""

    def __init__(self, spec: mujoco.MjSpec) -> None:
        self.spec = spec
        compiled = spec.copy()  # compiling gives elements their numbers; the spec itself stays as it is
        try:
            self.model = compiled.compile()
        except ValueError as error:
            raise ConfigError(f"the model does not compile: {' '.join(str(error).split())}") from None
        self.data = mujoco.MjData(self.model)
        mujoco.mj_kinematics(self.model, self.data)
        self.root = self.data.xpos[1].copy()
        self.numbers = {
            kind: [element.id for element in getattr(compiled, kind)] for kind in ("joints", "bodies", "geoms", "sites")
        }

    def joint_place(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return anchor and axis of the joint at an index of the spec's joints."""
        number = self.numbers["joints"][index]
        return self.data.xanchor[number] - self.root, self.data.xaxis[number]

    def geom_place(self, index: int) -> np.ndarray:
        """Return the position of the geom at an index of the spec's geoms."""
        return self.data.geom_xpos[self.numbers["geoms"][index]] - self.root


def _scalar_joints(spec: mujoco.MjSpec) -> list[mujoco.MjsJoint]:
    return [joint for joint in spec.joints if joint.type != _FREE]


def _key(name: str) -> str:
    return name.removesuffix("_joint")


def _take_joint_names(own: mujoco.MjSpec, other: mujoco.MjSpec) -> None:
    """Give the joints their names in the task; ``x`` and ``x_joint`` are the same."""
    wanted, found = ([_key(j.name) for j in _scalar_joints(spec)] for spec in (own, other))
    lacking, unknown = [n for n in wanted if n not in found], [n for n in found if n not in wanted]
    if lacking or unknown:
        parts = [f"it lacks {', '.join(lacking)}"] if lacking else []
        parts += [f"the task's robot has no {', '.join(unknown)}"] if unknown else []
        raise ConfigError(f"its joints are not those of the task's robot: {'; '.join(parts)}")
    if wanted != found:
        raise ConfigError(
            f"its joints are in another order, in which the policy would move the wrong ones: {', '.join(found)}; "
            f"the task's robot has {', '.join(wanted)}"
        )
    if any(j.type == _FREE for j in own.joints) != any(j.type == _FREE for j in other.joints):
        raise ConfigError("one of the two has a fixed base, the other floats")
    for mine, new in zip(_scalar_joints(own), _scalar_joints(other), strict=True):
        if mine.name != new.name:
            _rename_references(other, new.name, mine.name)
            new.name = mine.name


def _rename_references(spec: mujoco.MjSpec, before: str, after: str) -> None:
    for equality in spec.equalities:
        equality.name1, equality.name2 = (after if n == before else n for n in (equality.name1, equality.name2))


def _compare_joints(own: _Placed, other: _Placed) -> None:
    """Refuse a model whose joints are elsewhere, or turn about other axes, at zero positions."""
    places = {j.name: other.joint_place(i) for i, j in enumerate(other.spec.joints) if j.type != _FREE}
    for i, joint in enumerate(own.spec.joints):
        if joint.type == _FREE:
            continue
        (anchor, axis), (new_anchor, new_axis) = own.joint_place(i), places[joint.name]
        distance = float(np.linalg.norm(anchor - new_anchor))
        if distance > _FARTHEST_M:
            raise ConfigError(f"at zero positions its joint {joint.name!r} is {distance:.2f} m from the task's robot's")
        if float(axis @ new_axis) < _ALONG:
            raise ConfigError(f"its joint {joint.name!r} moves along or about another axis than the task's robot's")


def _take_body_names(own: mujoco.MjSpec, other: mujoco.MjSpec) -> None:
    """Give the bodies of joints, and the first body, their names in the task."""
    first, new_first = own.worldbody.first_body(), other.worldbody.first_body()
    names = {new_first.name: first.name}
    for mine, new in zip(_scalar_joints(own), _scalar_joints(other), strict=True):
        names[new.parent.name] = mine.parent.name
    taken = {b.name for b in other.bodies[1:]} - set(names)
    for body in other.bodies[1:]:
        after = names.get(body.name)
        if after is not None and after in taken:
            raise ConfigError(f"its body {after!r} is another than the task's robot's")
    for exclude in other.excludes:
        exclude.bodyname1 = names.get(exclude.bodyname1, exclude.bodyname1)
        exclude.bodyname2 = names.get(exclude.bodyname2, exclude.bodyname2)
    renamed = [(body, names[body.name]) for body in other.bodies[1:] if names.get(body.name, body.name) != body.name]
    for body, after in renamed:
        body.name = f"{after} (new)"  # two bodies may have exchanged names
    for body, after in renamed:
        body.name = after


def _take_geom_names(own: _Placed, other: _Placed) -> None:
    """Give the nearest colliding shape of the same body the name of one that collides in the task's model."""
    present = {geom.name for geom in other.spec.geoms}
    pairs = []
    for i, geom in enumerate(own.spec.geoms):
        if not geom.name or geom.name in present or not _collides(own, i):
            continue
        for k, new in enumerate(other.spec.geoms):
            if new.parent.name == geom.parent.name and _collides(other, k):
                distance = float(np.linalg.norm(own.geom_place(i) - other.geom_place(k)))
                pairs.append((distance, i, k))
    named, used = set(), set()
    for _, i, k in sorted(pairs):
        if i not in named and k not in used:
            named.add(i)
            used.add(k)
            other.spec.geoms[k].name = own.spec.geoms[i].name


def _collides(placed: _Placed, index: int) -> bool:
    number = placed.numbers["geoms"][index]
    return bool(placed.model.geom_contype[number] or placed.model.geom_conaffinity[number])


def _add_sites(own: _Placed, other: _Placed) -> None:
    """Put the named sites that are missing where they are in the task's model."""
    present = {site.name for site in other.spec.sites}
    bodies = {body.name: number for body, number in zip(other.spec.bodies, other.numbers["bodies"], strict=True)}
    for i, site in enumerate(own.spec.sites):
        if not site.name or site.name in present or site.parent.name not in bodies:
            continue
        number, body = own.numbers["sites"][i], bodies[site.parent.name]
        turn = other.data.xmat[body].reshape(3, 3)
        place = turn.T @ (own.data.site_xpos[number] - own.root - other.data.xpos[body] + other.root)
        quat = np.empty(4)
        mujoco.mju_mat2Quat(quat, (turn.T @ own.data.site_xmat[number].reshape(3, 3)).flatten())
        other.spec.body(site.parent.name).add_site(name=site.name, pos=place, quat=quat, size=site.size)
