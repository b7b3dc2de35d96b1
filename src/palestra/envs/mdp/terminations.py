"""Termination terms: functions ``(env, …) -> bool (num_envs,)``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor

from palestra.assets import Articulation
from palestra.assets.root_writer import RootWriter
from palestra.envs.mdp.entities import entity
from palestra.envs.mdp.rewards import largest_recent_force
from palestra.managers import SceneEntityCfg

if TYPE_CHECKING:
    from palestra.envs.manager_based import ManagerBasedRLEnv

__all__ = [
    "bad_orientation",
    "illegal_contact",
    "joint_pos_out_of_limit",
    "joint_pos_out_of_manual_limit",
    "joint_vel_out_of_limit",
    "root_height_below_minimum",
    "time_out",
]


def time_out(env: ManagerBasedRLEnv) -> Tensor:
    """End when the episode has lasted ``episode_length_s``; configure the term with ``time_out=True``.

    A curriculum may end episodes earlier (``env.episode_length_limit``).
    """
    return env.episode_length_buf >= env.episode_length_limit


def bad_orientation(
    env: ManagerBasedRLEnv, limit_angle: float, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")
) -> Tensor:
    """End when the root leans more than ``limit_angle`` (rad, 0 to pi) from upright."""
    gravity = entity(env, asset_cfg.name, RootWriter).data.projected_gravity_b
    return -gravity[:, 2] < math.cos(limit_angle)


def root_height_below_minimum(
    env: ManagerBasedRLEnv, minimum_height: float, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")
) -> Tensor:
    """End when the root is lower than ``minimum_height`` (m) in the world. Meant for flat ground."""
    return entity(env, asset_cfg.name, RootWriter).data.root_pos_w[:, 2] < minimum_height


def joint_pos_out_of_limit(env: ManagerBasedRLEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """End when one of the joints is outside its soft position limits."""
    data = entity(env, asset_cfg.name, Articulation).data
    low, high = data.soft_joint_pos_limits[:, asset_cfg.joint_ids].unbind(dim=-1)
    position = data.joint_pos[:, asset_cfg.joint_ids]
    return ((position < low) | (position > high)).any(dim=-1)


def joint_pos_out_of_manual_limit(
    env: ManagerBasedRLEnv, bounds: tuple[float, float], asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")
) -> Tensor:
    """Terminate when a joint position leaves ``bounds`` (rad or m)."""
    position = entity(env, asset_cfg.name, Articulation).data.joint_pos[:, asset_cfg.joint_ids]
    return ((position < bounds[0]) | (position > bounds[1])).any(dim=-1)


def joint_vel_out_of_limit(env: ManagerBasedRLEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> Tensor:
    """End when one of the joints is faster than its soft velocity limit."""
    data = entity(env, asset_cfg.name, Articulation).data
    speed = data.joint_vel[:, asset_cfg.joint_ids].abs()
    return (speed > data.soft_joint_vel_limits[:, asset_cfg.joint_ids]).any(dim=-1)


def illegal_contact(env: ManagerBasedRLEnv, threshold: float, sensor_cfg: SceneEntityCfg) -> Tensor:
    """End when a contact force on one of the sensor's bodies exceeds ``threshold`` (N) in its history."""
    return (largest_recent_force(env, sensor_cfg) > threshold).any(dim=-1)
