"""Reward terms: functions ``(env, …) -> (num_envs,)``; the sign and size come from the term's weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from palestra.assets import Articulation
from palestra.assets.root_writer import RootWriter
from palestra.envs.mdp.entities import entity, select
from palestra.managers import SceneEntityCfg
from palestra.sensors import ContactSensor

if TYPE_CHECKING:
    from palestra.envs.manager_based import ManagerBasedRLEnv

__all__ = [
    "action_l2",
    "action_rate_l2",
    "ang_vel_xy_l2",
    "applied_torque_limits",
    "base_height_l2",
    "body_lin_acc_l2",
    "contact_forces",
    "desired_contacts",
    "feet_air_time",
    "flat_orientation_l2",
    "is_alive",
    "is_terminated",
    "joint_acc_l2",
    "joint_deviation_l1",
    "joint_pos_limits",
    "joint_torques_l2",
    "joint_vel_l1",
    "joint_vel_l2",
    "joint_vel_limits",
    "lin_vel_z_l2",
    "track_ang_vel_z_exp",
    "track_lin_vel_xy_exp",
    "undesired_contacts",
]

"""General."""


def is_alive(env: ManagerBasedRLEnv) -> Tensor:
    """1 on every step that does not end in a failure: a bonus for survival."""
    return (~env.termination_manager.terminated).float()


def is_terminated(env: ManagerBasedRLEnv) -> Tensor:
    """1 on the step that ends an episode other than by a time-out."""
    return env.termination_manager.terminated.float()


"""Root."""


def lin_vel_z_l2(env: ManagerBasedRLEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Square of the root's vertical velocity in its own frame (m²/s²)."""
    return entity(env, asset_cfg.name, RootWriter).data.root_lin_vel_b[:, 2].square()


def ang_vel_xy_l2(env: ManagerBasedRLEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Squared norm of the root's roll and pitch rates in its own frame (rad²/s²)."""
    return entity(env, asset_cfg.name, RootWriter).data.root_ang_vel_b[:, :2].square().sum(dim=-1)


def flat_orientation_l2(env: ManagerBasedRLEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Squared horizontal part of gravity in the root frame: sin² of the lean."""
    return entity(env, asset_cfg.name, RootWriter).data.projected_gravity_b[:, :2].square().sum(dim=-1)


def base_height_l2(
    env: ManagerBasedRLEnv, target_height: float, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")
) -> Tensor:
    """Squared distance of the root's height in the world from ``target_height`` (m²), for flat ground."""
    return (entity(env, asset_cfg.name, RootWriter).data.root_pos_w[:, 2] - target_height).square()


def body_lin_acc_l2(env: ManagerBasedRLEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Sum over the bodies of the norm of their linear acceleration (m/s²)."""
    acceleration = entity(env, asset_cfg.name, RootWriter).data.body_lin_acc_w[:, asset_cfg.body_ids]
    return torch.linalg.vector_norm(acceleration, dim=-1).sum(dim=-1)


"""Joints."""


def joint_torques_l2(env: ManagerBasedRLEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Sum of the squared applied torques (N²·m² or N²)."""
    data = entity(env, asset_cfg.name, Articulation).data
    return data.applied_torque[:, asset_cfg.joint_ids].square().sum(dim=-1)


def joint_vel_l1(env: ManagerBasedRLEnv, asset_cfg: SceneEntityCfg) -> Tensor:
    """Sum of the joint speeds (rad/s or m/s)."""
    return entity(env, asset_cfg.name, Articulation).data.joint_vel[:, asset_cfg.joint_ids].abs().sum(dim=-1)


def joint_vel_l2(env: ManagerBasedRLEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Sum of the squared joint velocities (rad²/s² or m²/s²)."""
    data = entity(env, asset_cfg.name, Articulation).data
    return data.joint_vel[:, asset_cfg.joint_ids].square().sum(dim=-1)


def joint_acc_l2(env: ManagerBasedRLEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Sum of the squared joint accelerations (rad²/s⁴ or m²/s⁴)."""
    data = entity(env, asset_cfg.name, Articulation).data
    return data.joint_acc[:, asset_cfg.joint_ids].square().sum(dim=-1)


def joint_deviation_l1(env: ManagerBasedRLEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Sum of the distances of the joints from their default positions (rad or m)."""
    data = entity(env, asset_cfg.name, Articulation).data
    deviation = data.joint_pos[:, asset_cfg.joint_ids] - data.default_joint_pos[:, asset_cfg.joint_ids]
    return deviation.abs().sum(dim=-1)


def joint_pos_limits(env: ManagerBasedRLEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Sum of how far the joints are beyond their soft position limits (rad or m)."""
    data = entity(env, asset_cfg.name, Articulation).data
    low, high = data.soft_joint_pos_limits[:, asset_cfg.joint_ids].unbind(dim=-1)
    position = data.joint_pos[:, asset_cfg.joint_ids]
    return (position - position.clamp(low, high)).abs().sum(dim=-1)


def joint_vel_limits(
    env: ManagerBasedRLEnv, soft_ratio: float, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")
) -> Tensor:
    """Sum of how far the joint speeds are beyond ``soft_ratio`` of their limits, at most 1 rad/s each."""
    data = entity(env, asset_cfg.name, Articulation).data
    limit = data.soft_joint_vel_limits[:, asset_cfg.joint_ids] * soft_ratio
    return (data.joint_vel[:, asset_cfg.joint_ids].abs() - limit).clamp(0.0, 1.0).sum(dim=-1)


def applied_torque_limits(env: ManagerBasedRLEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """Sum of the torque that the effort limits cut off at the present state (N·m or N).

    Computed and limited torque are taken at one state: the torque that was applied belongs to the physics step
    before, so its difference from the computed one would not vanish below the limits.
    """
    data = entity(env, asset_cfg.name, Articulation).data
    computed = data.computed_torque[:, asset_cfg.joint_ids]
    limit = data.joint_effort_limits[:, asset_cfg.joint_ids]
    return (computed - computed.clamp(-limit, limit)).abs().sum(dim=-1)


"""Actions."""


def action_rate_l2(env: ManagerBasedRLEnv) -> Tensor:
    """Squared norm of the change of the action since the last step."""
    return (env.action_manager.action - env.action_manager.prev_action).square().sum(dim=-1)


def action_l2(env: ManagerBasedRLEnv) -> Tensor:
    """Squared norm of the action."""
    return env.action_manager.action.square().sum(dim=-1)


"""Contacts."""


def largest_recent_force(env: ManagerBasedRLEnv, sensor_cfg: SceneEntityCfg) -> Tensor:
    """Return the largest net contact force in the sensor's history (N), ``(num_envs, num_bodies)``."""
    history = entity(env, sensor_cfg.name, ContactSensor).data.net_forces_w_history
    # Three columns added up are several times as fast as a norm over a last dimension of three.
    x, y, z = select(history, sensor_cfg.body_ids, dim=2).square().unbind(dim=-1)
    return (x + y).add_(z).amax(dim=1).sqrt_()


def undesired_contacts(env: ManagerBasedRLEnv, threshold: float, sensor_cfg: SceneEntityCfg) -> Tensor:
    """Number of bodies whose contact force exceeded ``threshold`` (N) in the sensor's history."""
    return (largest_recent_force(env, sensor_cfg) > threshold).sum(dim=-1, dtype=torch.float32)


def desired_contacts(env: ManagerBasedRLEnv, sensor_cfg: SceneEntityCfg, threshold: float = 1.0) -> Tensor:
    """1 where none of the bodies had a contact above ``threshold`` (N) in the sensor's history."""
    return (largest_recent_force(env, sensor_cfg) <= threshold).all(dim=-1).float()


def contact_forces(env: ManagerBasedRLEnv, threshold: float, sensor_cfg: SceneEntityCfg) -> Tensor:
    """Sum of the contact forces beyond ``threshold`` (N), each the largest of the sensor's history."""
    return (largest_recent_force(env, sensor_cfg) - threshold).clamp_min(0.0).sum(dim=-1)


def feet_air_time(env: ManagerBasedRLEnv, command_name: str, sensor_cfg: SceneEntityCfg, threshold: float) -> Tensor:
    """Reward long steps: on touch-down, how much longer than ``threshold`` (s) the foot was in the air.

    Zero where the commanded planar velocity is below 0.1 m/s. The sensor needs ``track_air_time=True``.
    """
    sensor = entity(env, sensor_cfg.name, ContactSensor)
    landed = select(sensor.compute_first_contact(env.step_dt), sensor_cfg.body_ids)
    excess = select(sensor.data.last_air_time, sensor_cfg.body_ids) - threshold
    speed = torch.linalg.vector_norm(env.command_manager.get_command(command_name)[:, :2], dim=-1)
    return (excess * landed).sum(dim=-1) * (speed > 0.1)


"""Commands."""


def track_lin_vel_xy_exp(
    env: ManagerBasedRLEnv, std: float, command_name: str, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")
) -> Tensor:
    """Reward for following the commanded planar velocity: exp(-‖v_cmd - v‖² / std²), in [0, 1].

    Args:
        env: the environment.
        std: width of the kernel (m/s).
        command_name: command whose first two entries are the velocity (m/s, base frame).
        asset_cfg: the robot.
    """
    command = env.command_manager.get_command(command_name)
    velocity = entity(env, asset_cfg.name, RootWriter).data.root_lin_vel_b
    return torch.exp((command[:, :2] - velocity[:, :2]).square().sum(dim=-1) / -(std**2))


def track_ang_vel_z_exp(
    env: ManagerBasedRLEnv, std: float, command_name: str, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")
) -> Tensor:
    """Reward for following the commanded yaw rate: exp(-(ω_cmd - ω)² / std²), in [0, 1].

    Args:
        env: the environment.
        std: width of the kernel (rad/s).
        command_name: command whose third entry is the yaw rate (rad/s, base frame).
        asset_cfg: the robot.
    """
    command = env.command_manager.get_command(command_name)
    rate = entity(env, asset_cfg.name, RootWriter).data.root_ang_vel_b
    return torch.exp((command[:, 2] - rate[:, 2]).square() / -(std**2))
