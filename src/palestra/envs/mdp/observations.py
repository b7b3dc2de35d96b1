"""Observation terms: functions ``(env, …) -> (num_envs, width)``.

Each carries its units, frame and entry names as ``func.io`` (see :mod:`palestra.envs.mdp.io`), and, where a robot can
know it, how it follows from sensors as ``func.from_sensors`` (see :mod:`palestra.envs.mdp.sensing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from palestra.assets import Articulation
from palestra.assets.root_writer import RootWriter
from palestra.envs.mdp.entities import entity
from palestra.envs.mdp.io import observation_io
from palestra.envs.mdp.sensing import (
    Computation,
    JointQuantity,
    command_source,
    external_sensor,
    from_sensors,
    joint_columns,
    joint_source,
    last_action_source,
    only_source,
    root_source,
)
from palestra.managers import SceneEntityCfg
from palestra.sensors import Imu
from palestra.utils.math import quat_apply_inverse, quat_unique, scale_transform

if TYPE_CHECKING:
    from palestra.envs.base import BaseEnv
    from palestra.envs.manager_based import ManagerBasedEnv, ManagerBasedRLEnv

__all__ = [
    "base_ang_vel",
    "base_lin_vel",
    "base_pos_z",
    "body_pose_w",
    "generated_commands",
    "imu_ang_vel",
    "imu_lin_acc",
    "joint_effort",
    "joint_pos",
    "joint_pos_limit_normalized",
    "joint_pos_rel",
    "joint_vel",
    "joint_vel_rel",
    "last_action",
    "projected_gravity",
    "root_pos_w",
    "root_quat_w",
]

"""From sensors."""


def _joints(
    env: BaseEnv, asset_cfg: SceneEntityCfg, quantity: JointQuantity, less: Tensor | None = None, true: bool = False
) -> Computation:
    """Return the selected joints of a quantity, less the first row of ``less`` ``(num_envs, all joints)``."""
    source = joint_source(env, asset_cfg.name, quantity, true)
    ids = joint_columns(asset_cfg.joint_ids, len(source.entries))
    if less is None:
        return Computation(lambda value: value[:, ids], (source,))
    default = less[:1, ids].cpu().clone()
    return Computation(lambda value: value[:, ids] - default, (source,))


def _joint_pos_rel(env: BaseEnv, asset_cfg: SceneEntityCfg, biased: bool) -> Computation:
    default = entity(env, asset_cfg.name, Articulation).data.default_joint_pos
    return _joints(env, asset_cfg, "joint_pos", default, true=not biased)


def _joint_vel_rel(env: BaseEnv, asset_cfg: SceneEntityCfg) -> Computation:
    return _joints(env, asset_cfg, "joint_vel", entity(env, asset_cfg.name, Articulation).data.default_joint_vel)


def _joint_pos_limit_normalized(env: BaseEnv, asset_cfg: SceneEntityCfg) -> Computation:
    source = joint_source(env, asset_cfg.name, "joint_pos")
    ids = joint_columns(asset_cfg.joint_ids, len(source.entries))
    limits = entity(env, asset_cfg.name, Articulation).data.soft_joint_pos_limits
    low, high = limits[:1, ids].cpu().clone().unbind(dim=-1)
    free = torch.isinf(high)
    low, high = torch.where(free, -1.0, low), torch.where(free, 1.0, high)
    keep = (~free).float()
    return Computation(lambda value: keep * scale_transform(value[:, ids], low, high), (source,))


def _projected_gravity(env: BaseEnv, asset_cfg: SceneEntityCfg) -> Computation:
    down = entity(env, asset_cfg.name, RootWriter).data.GRAVITY_VEC_W[:1].cpu().clone()
    source = root_source(env, asset_cfg.name, "base_quat")
    return Computation(lambda quat: quat_apply_inverse(quat, down), (source,))


def _root_quat(env: BaseEnv, make_quat_unique: bool, asset_cfg: SceneEntityCfg) -> Computation:
    source = root_source(env, asset_cfg.name, "base_quat")
    return Computation(quat_unique, (source,)) if make_quat_unique else only_source(source)


def _last_action(env: ManagerBasedEnv | ManagerBasedRLEnv, action_name: str | None) -> Computation:
    where = slice(None) if action_name is None else env.action_manager.slices()[action_name]
    return Computation(lambda action: action[:, where], (last_action_source(env),))


def _command(env: ManagerBasedRLEnv, command_name: str) -> Computation:
    computation = env.command_manager.get_term(command_name).from_sensors(command_name)
    if computation is not None:
        return computation
    source = command_source(env, command_name)
    return only_source(source) if source.entries else Computation(lambda: torch.zeros(1, 0))


"""Root."""


@observation_io(units="m", frame="world", entries=("z",))
def base_pos_z(env: BaseEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Height of the root above the world's origin (m), ``(num_envs, 1)``."""
    return entity(env, asset_cfg.name, RootWriter).data.root_pos_w[:, 2:3]


@observation_io(units="m/s", frame="base", entries="xyz")
@from_sensors(lambda env, asset_cfg: only_source(root_source(env, asset_cfg.name, "base_lin_vel")))
def base_lin_vel(env: BaseEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Linear velocity of the root in its own frame (m/s), ``(num_envs, 3)``."""
    return entity(env, asset_cfg.name, RootWriter).data.root_lin_vel_b


@observation_io(units="rad/s", frame="base", entries="xyz")
@from_sensors(lambda env, asset_cfg: only_source(root_source(env, asset_cfg.name, "base_ang_vel")))
def base_ang_vel(env: BaseEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Angular velocity of the root in its own frame (rad/s), ``(num_envs, 3)``."""
    return entity(env, asset_cfg.name, RootWriter).data.root_ang_vel_b


@observation_io(units="1", frame="base", entries="xyz")
@from_sensors(_projected_gravity)
def projected_gravity(env: BaseEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Unit vector of gravity in the root frame, ``(num_envs, 3)``; (0, 0, -1) when upright."""
    return entity(env, asset_cfg.name, RootWriter).data.projected_gravity_b


@observation_io(units="m", frame="world", entries="xyz")
def root_pos_w(env: BaseEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Position of the root from its environment's origin (m), ``(num_envs, 3)``."""
    return entity(env, asset_cfg.name, RootWriter).data.root_pos_w - env.scene.env_origins


@observation_io(units="1", frame="world", entries=("qw", "qx", "qy", "qz"))
@from_sensors(_root_quat)
def root_quat_w(
    env: BaseEnv, make_quat_unique: bool = False, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")
) -> Tensor:
    """Orientation of the root (w, x, y, z), ``(num_envs, 4)``.

    Args:
        env: the environment.
        make_quat_unique: of ``q`` and ``-q``, the same rotation, give that with a non-negative real part.
        asset_cfg: the asset.
    """
    quat = entity(env, asset_cfg.name, RootWriter).data.root_quat_w
    return quat_unique(quat) if make_quat_unique else quat


@observation_io(units="", frame="world", entries="body_poses")
def body_pose_w(env: BaseEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Poses of the bodies from the environment's origin, position (m) and (w, x, y, z) of each in turn."""
    data = entity(env, asset_cfg.name, RootWriter).data
    position = data.body_pos_w[:, asset_cfg.body_ids] - env.scene.env_origins.unsqueeze(1)
    return torch.cat((position, data.body_quat_w[:, asset_cfg.body_ids]), dim=-1).flatten(1)


"""Joints."""


@observation_io(units="rad", frame="joint", entries="joints")
@from_sensors(lambda env, asset_cfg, biased: _joints(env, asset_cfg, "joint_pos", true=not biased))
def joint_pos(env: BaseEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot"), biased: bool = True) -> Tensor:
    """Positions of the selected joints (rad or m), ``(num_envs, num_joints)``.

    Args:
        env: the environment.
        asset_cfg: the articulation and its joints.
        biased: whether it is what the encoders read (``randomize_encoder_bias``) rather than where the joints are.
    """
    return _read_joint_pos(env, asset_cfg, biased)[:, asset_cfg.joint_ids]


@observation_io(units="rad", frame="joint", entries="joints")
@from_sensors(_joint_pos_rel)
def joint_pos_rel(env: BaseEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot"), biased: bool = True) -> Tensor:
    """Joint positions less their defaults (rad or m), ``(num_envs, num_joints)``.

    Args:
        env: the environment.
        asset_cfg: the articulation and its joints.
        biased: whether it is what the encoders read (``randomize_encoder_bias``) rather than where the joints are.
    """
    default = entity(env, asset_cfg.name, Articulation).data.default_joint_pos
    return _read_joint_pos(env, asset_cfg, biased)[:, asset_cfg.joint_ids] - default[:, asset_cfg.joint_ids]


def _read_joint_pos(env: BaseEnv, asset_cfg: SceneEntityCfg, biased: bool) -> Tensor:
    data = entity(env, asset_cfg.name, Articulation).data
    return data.joint_pos_biased if biased else data.joint_pos


@observation_io(units="1", frame="joint", entries="joints")
@from_sensors(_joint_pos_limit_normalized)
def joint_pos_limit_normalized(env: BaseEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Joint positions on a scale where the soft limits are -1 and 1; 0 for a joint without limits."""
    data = entity(env, asset_cfg.name, Articulation).data
    low, high = data.soft_joint_pos_limits[:, asset_cfg.joint_ids].unbind(dim=-1)
    normalized = scale_transform(data.joint_pos[:, asset_cfg.joint_ids], low, high)
    return torch.where(torch.isinf(high), 0.0, normalized)


@observation_io(units="rad/s", frame="joint", entries="joints")
@from_sensors(lambda env, asset_cfg: _joints(env, asset_cfg, "joint_vel"))
def joint_vel(env: BaseEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Velocities of the selected joints (rad/s or m/s), ``(num_envs, num_joints)``."""
    return entity(env, asset_cfg.name, Articulation).data.joint_vel[:, asset_cfg.joint_ids]


@observation_io(units="rad/s", frame="joint", entries="joints")
@from_sensors(_joint_vel_rel)
def joint_vel_rel(env: BaseEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Joint velocities less their defaults (rad/s or m/s), ``(num_envs, num_joints)``."""
    data = entity(env, asset_cfg.name, Articulation).data
    return data.joint_vel[:, asset_cfg.joint_ids] - data.default_joint_vel[:, asset_cfg.joint_ids]


@observation_io(units="N·m", frame="joint", entries="joints")
@from_sensors(lambda env, asset_cfg: _joints(env, asset_cfg, "joint_effort"))
def joint_effort(env: BaseEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Torques that the actuators applied (N·m or N), ``(num_envs, num_joints)``."""
    return entity(env, asset_cfg.name, Articulation).data.applied_torque[:, asset_cfg.joint_ids]


"""Sensors."""


@observation_io(units="rad/s", frame="sensor", entries="xyz")
@external_sensor
def imu_ang_vel(env: BaseEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("imu")) -> Tensor:
    """Angular velocity in the frame of the unit (rad/s), ``(num_envs, 3)``."""
    return entity(env, asset_cfg.name, Imu).data.ang_vel_b


@observation_io(units="m/s²", frame="sensor", entries="xyz")
@external_sensor
def imu_lin_acc(env: BaseEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("imu")) -> Tensor:
    """Specific force in the frame of the unit (m/s²), ``(num_envs, 3)``; (0, 0, 9.81) at rest and level."""
    return entity(env, asset_cfg.name, Imu).data.lin_acc_b


"""Actions and commands."""


@observation_io(units="1", frame="", entries="actions")
@from_sensors(_last_action)
def last_action(env: ManagerBasedEnv | ManagerBasedRLEnv, action_name: str | None = None) -> Tensor:
    """What the policy sent last, before scaling: the whole action, or one term's part of it."""
    if action_name is None:
        return env.action_manager.action
    return env.action_manager.get_term(action_name).raw_actions


@observation_io(units="", frame="", entries="command")
@from_sensors(_command)
def generated_commands(env: ManagerBasedRLEnv, command_name: str) -> Tensor:
    """The present command of a command term, ``(num_envs, width)``; its term tells units and frame."""
    return env.command_manager.get_command(command_name)
