"""Feet and ground: which parts of a robot touch the ground, by collision detection on recorded positions.

Nothing depends on the contact sensors of a task: the same collision geometry is asked again, for every recorded step.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from palestra.assets import Articulation
from palestra.deploy.audit.recording import Recording, robot_of
from palestra.envs.base import RLEnv

_STEP_DOWN = 0.002
"""How far the robot is lowered at a time until it touches the ground (m)."""

_FOOT_DEPTH = 0.01
"""Geoms within this distance of the lowest point in the default pose belong to the feet (m)."""

_FARTHEST = 3.0
"""How far the robot is lowered at most (m)."""


@dataclass(frozen=True)
class Legs:
    """The feet of a robot with a floating base."""

    feet: dict[str, tuple[int, ...]]
    """Geoms of each foot, by the name of the body that carries them."""

    others: dict[int, str]
    """Geoms that can collide and are no feet, with the names of their bodies."""

    @property
    def names(self) -> list[str]:
        """Feet, in order."""
        return list(self.feet)


@dataclass(frozen=True)
class GroundContacts:
    """What touched the ground in recorded steps; arrays ``(steps, envs, …)``."""

    feet: np.ndarray
    """Which foot touches, ``(steps, envs, num_feet)``."""

    others: np.ndarray
    """Whether anything else of the robot touches, ``(steps, envs)``."""

    anything: np.ndarray
    """Whether the robot touches anything that does not move, ``(steps, envs)``."""

    foot_pos: np.ndarray
    """Mean position of each foot's geoms (m), ``(steps, envs, num_feet, 3)``."""

    culprits: dict[str, float]
    """Bodies that touched the ground and are no feet, with their shares of the steps."""

    envs: np.ndarray
    """Environments that were looked at."""


def find_legs(env: RLEnv) -> Legs | None:
    """Return the feet: the parts that touch first when the robot is lowered onto the ground in its default pose.

    Returns:
        None for a robot with a fixed base, or if there is no ground, or nothing but one body touches it.
    """
    robot = robot_of(env)
    if robot is None or robot.is_fixed_base:
        return None
    model = env.scene.model
    data = mujoco.MjData(model)
    _place(model, data, robot, env)
    lowered = 0.0
    height = _root_height(model, robot)
    while lowered < _FARTHEST:
        mujoco.mj_fwdPosition(model, data)
        if _touching(model, data, robot):
            break
        data.qpos[height] -= _STEP_DOWN
        lowered += _STEP_DOWN
    else:
        return None
    data.qpos[height] -= _FOOT_DEPTH
    mujoco.mj_fwdPosition(model, data)
    feet: dict[str, list[int]] = {}
    for geom in sorted(_touching(model, data, robot)):
        feet.setdefault(_body_name(model, robot, geom), []).append(geom)
    if len(feet) < 2:
        return None
    used = {geom for geoms in feet.values() for geom in geoms}
    others = {g: _body_name(model, robot, g) for g in _collision_geoms(model, robot) if g not in used}
    return Legs({name: tuple(geoms) for name, geoms in feet.items()}, others)


def ground_contacts(env: RLEnv, legs: Legs, recording: Recording, num_envs: int) -> GroundContacts:
    """Detect contacts with the ground again for recorded positions.

    Args:
        env: the environment, for its model.
        legs: the feet.
        recording: with ``qpos``.
        num_envs: how many of the environments to look at.
    """
    model, robot = env.scene.model, robot_of(env)
    assert robot is not None
    data = mujoco.MjData(model)
    envs = np.arange(min(num_envs, recording.num_envs))
    steps, names = recording.num_steps, legs.names
    of_foot = {geom: k for k, name in enumerate(names) for geom in legs.feet[name]}
    feet = np.zeros((steps, len(envs), len(names)), bool)
    others, anything = np.zeros((steps, len(envs)), bool), np.zeros((steps, len(envs)), bool)
    foot_pos = np.zeros((steps, len(envs), len(names), 3), np.float32)
    counts: dict[str, int] = {}
    for e in envs:
        for t in range(steps):
            data.qpos[:] = recording.qpos[t, e]
            mujoco.mj_fwdPosition(model, data)
            touching = _touching(model, data, robot)
            anything[t, e] = bool(touching)
            bodies = set()
            for geom in touching:
                if geom in of_foot:
                    feet[t, e, of_foot[geom]] = True
                elif geom in legs.others:
                    others[t, e] = True
                    bodies.add(legs.others[geom])
            for body in bodies:
                counts[body] = counts.get(body, 0) + 1
            for k, name in enumerate(names):
                foot_pos[t, e, k] = data.geom_xpos[list(legs.feet[name])].mean(axis=0)
    total = steps * len(envs)
    culprits = {body: count / total for body, count in sorted(counts.items(), key=lambda item: -item[1])}
    return GroundContacts(feet, others, anything, foot_pos, culprits, envs)


def _place(model: mujoco.MjModel, data: mujoco.MjData, robot: Articulation, env: RLEnv) -> None:
    """Put the robot into its default pose above the ground's origin."""
    root, joints = robot.data.default_root_state[0, :7], robot.data.default_joint_pos[0]
    height = _root_height(model, robot)
    origin = env.scene.env_origins[0].cpu().numpy()
    data.qpos[height - 2 : height + 5] = root.cpu().numpy()
    data.qpos[height - 2 : height + 1] += origin
    data.qpos[robot._q_columns] = joints.cpu().numpy()


def _root_height(model: mujoco.MjModel, robot: Articulation) -> int:
    """Return where the height of the root is in ``qpos``."""
    bodies = robot.data.body_columns
    for joint in range(model.njnt):
        free = int(model.jnt_type[joint]) == int(mujoco.mjtJoint.mjJNT_FREE)
        if free and bodies.start <= int(model.jnt_bodyid[joint]) < bodies.stop:
            return int(model.jnt_qposadr[joint]) + 2
    raise ValueError(f"{robot.name!r} has no free joint")


def _touching(model: mujoco.MjModel, data: mujoco.MjData, robot: Articulation) -> set[int]:
    """Return the robot's geoms that penetrate what never moves."""
    found: set[int] = set()
    if data.ncon == 0:
        return found
    bodies = robot.data.body_columns
    pairs, depth = data.contact.geom, data.contact.dist
    owners = model.geom_bodyid[pairs]
    for k in range(data.ncon):
        if depth[k] > 0.0:
            continue
        for side in (0, 1):
            fixed = model.body_weldid[owners[k, 1 - side]] == 0
            if fixed and bodies.start <= owners[k, side] < bodies.stop:
                found.add(int(pairs[k, side]))
    return found


def _collision_geoms(model: mujoco.MjModel, robot: Articulation) -> list[int]:
    bodies = robot.data.body_columns
    return [
        g
        for g in range(model.ngeom)
        if bodies.start <= int(model.geom_bodyid[g]) < bodies.stop
        and (model.geom_contype[g] or model.geom_conaffinity[g])
    ]


def _body_name(model: mujoco.MjModel, robot: Articulation, geom: int) -> str:
    return model.body(int(model.geom_bodyid[geom])).name.removeprefix(robot.prefix)
