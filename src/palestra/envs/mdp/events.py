"""Event terms: functions ``(env, env_mask, …)`` that change the masked environments.

Random numbers come from ``env.rng``; every draw is made for all environments and written where the mask says.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from palestra.assets import Articulation
from palestra.assets.root_writer import RootWriter
from palestra.envs.mdp.entities import entity
from palestra.errors import ConfigError, did_you_mean
from palestra.managers import SceneEntityCfg
from palestra.utils.distributions import Range, draw, limits
from palestra.utils.math import quat_from_euler_xyz, quat_mul, random_orientation_from

if TYPE_CHECKING:
    from palestra.envs.base import BaseEnv

__all__ = [
    "push_by_setting_velocity",
    "reset_joints_by_offset",
    "reset_joints_by_scale",
    "reset_root_state_uniform",
    "reset_root_state_with_random_orientation",
    "reset_scene_to_default",
]

_AXES = ("x", "y", "z", "roll", "pitch", "yaw")


def reset_scene_to_default(env: BaseEnv, env_mask: Tensor, reset_joint_targets: bool = False) -> None:
    """Put every asset of the scene into its default state; on generated terrain, from its environment's origin.

    Args:
        env: the environment.
        env_mask: environments, bool ``(num_envs,)``.
        reset_joint_targets: also set joint targets to the default positions and to zero velocity and effort.
    """
    for rigid_object in env.scene.rigid_objects.values():
        rigid_object.reset_to_default(env_mask)
    for articulation in env.scene.articulations.values():
        articulation.reset_to_default(env_mask)
        if reset_joint_targets:
            articulation.reset(env_mask)
    if env.scene.terrain is not None and env.scene.terrain.terrain_origins is not None:
        for asset in env.scene.assets.values():
            if not asset.is_fixed_base:
                pose = asset.data.default_root_state[:, :7]
                position = pose[:, :3] + env.scene.env_origins
                asset.write_root_pose_to_sim(torch.cat((position, pose[:, 3:]), dim=-1), env_mask)


def reset_root_state_uniform(
    env: BaseEnv,
    env_mask: Tensor,
    pose_range: Mapping[str, Range],
    velocity_range: Mapping[str, Range],
    asset_cfg: SceneEntityCfg = SceneEntityCfg("robot"),
) -> None:
    """Put a floating root at its default pose and velocity plus uniform offsets.

    Args:
        env: the environment.
        env_mask: environments, bool ``(num_envs,)``.
        pose_range: ``{axis: (low, high)}`` with axes ``x y z`` (m, added in the world) and ``roll pitch yaw``
            (rad, turned about the axes of the default orientation); an axis that is left out stays.
        velocity_range: the same for linear (m/s) and angular (rad/s) velocity in the world.
        asset_cfg: the asset.
    """
    asset = entity(env, asset_cfg.name, RootWriter)
    default = asset.data.default_root_state
    pose = _draw(env, pose_range, "pose_range")
    velocity = _draw(env, velocity_range, "velocity_range")
    position = default[:, :3] + env.scene.env_origins + pose[:, :3]
    quat = quat_mul(default[:, 3:7], quat_from_euler_xyz(*pose[:, 3:].unbind(dim=-1)))
    asset.write_root_state_to_sim(torch.cat((position, quat, default[:, 7:] + velocity), dim=-1), env_mask)


def reset_root_state_with_random_orientation(
    env: BaseEnv,
    env_mask: Tensor,
    pose_range: Mapping[str, Range],
    velocity_range: Mapping[str, Range],
    asset_cfg: SceneEntityCfg = SceneEntityCfg("robot"),
) -> None:
    """Put a floating root at its default position plus uniform offsets, turned to a random orientation.

    Orientations are uniform over all rotations (Shoemake, "Uniform random rotations", Graphics Gems III, 1992).

    Args:
        env: the environment.
        env_mask: environments, bool ``(num_envs,)``.
        pose_range: ``{axis: (low, high)}`` with axes ``x y z`` (m, added in the world).
        velocity_range: the same for linear (m/s) and angular (rad/s) velocity in the world.
        asset_cfg: the asset.
    """
    asset = entity(env, asset_cfg.name, RootWriter)
    default = asset.data.default_root_state
    position = default[:, :3] + env.scene.env_origins + _draw(env, pose_range, "pose_range")[:, :3]
    quat = random_orientation_from(env.rng.uniform(0.0, 1.0, (3,)))
    velocity = default[:, 7:] + _draw(env, velocity_range, "velocity_range")
    asset.write_root_state_to_sim(torch.cat((position, quat, velocity), dim=-1), env_mask)


def reset_joints_by_scale(
    env: BaseEnv,
    env_mask: Tensor,
    position_range: Range,
    velocity_range: Range,
    asset_cfg: SceneEntityCfg = SceneEntityCfg("robot"),
) -> None:
    """Put joints at their defaults times uniform factors, clamped to the soft limits.

    Args:
        env: the environment.
        env_mask: environments, bool ``(num_envs,)``.
        position_range: least and largest factor of the default positions.
        velocity_range: least and largest factor of the default velocities.
        asset_cfg: the articulation and its joints.
    """
    data = entity(env, asset_cfg.name, Articulation).data
    position, velocity = (x[:, asset_cfg.joint_ids] for x in (data.default_joint_pos, data.default_joint_vel))
    shape = (position.shape[1],)
    position = position * draw(env.rng, position_range, shape)
    velocity = velocity * draw(env.rng, velocity_range, shape)
    _write_joints(env, env_mask, position, velocity, asset_cfg)


def reset_joints_by_offset(
    env: BaseEnv,
    env_mask: Tensor,
    position_range: Range,
    velocity_range: Range,
    asset_cfg: SceneEntityCfg = SceneEntityCfg("robot"),
) -> None:
    """Put joints at their defaults plus uniform offsets, clamped to the soft limits.

    Args:
        env: the environment.
        env_mask: environments, bool ``(num_envs,)``.
        position_range: least and largest offset (rad or m).
        velocity_range: least and largest offset (rad/s or m/s).
        asset_cfg: the articulation and its joints.
    """
    data = entity(env, asset_cfg.name, Articulation).data
    position, velocity = (x[:, asset_cfg.joint_ids] for x in (data.default_joint_pos, data.default_joint_vel))
    shape = (position.shape[1],)
    position = position + draw(env.rng, position_range, shape)
    velocity = velocity + draw(env.rng, velocity_range, shape)
    _write_joints(env, env_mask, position, velocity, asset_cfg)


def push_by_setting_velocity(
    env: BaseEnv,
    env_mask: Tensor,
    velocity_range: Mapping[str, Range],
    asset_cfg: SceneEntityCfg = SceneEntityCfg("robot"),
) -> None:
    """Push a floating root: add uniform changes to its velocity.

    Args:
        env: the environment.
        env_mask: environments, bool ``(num_envs,)``.
        velocity_range: ``{axis: (low, high)}`` in the world, ``x y z`` (m/s) and ``roll pitch yaw`` (rad/s).
        asset_cfg: the asset.
    """
    asset = entity(env, asset_cfg.name, RootWriter)
    velocity = asset.data.root_vel_w + _draw(env, velocity_range, "velocity_range")
    asset.write_root_velocity_to_sim(velocity, env_mask)


def _write_joints(
    env: BaseEnv, env_mask: Tensor, position: Tensor, velocity: Tensor, asset_cfg: SceneEntityCfg
) -> None:
    asset = entity(env, asset_cfg.name, Articulation)
    low, high = asset.data.soft_joint_pos_limits[:, asset_cfg.joint_ids].unbind(dim=-1)
    fastest = asset.data.soft_joint_vel_limits[:, asset_cfg.joint_ids]
    asset.write_joint_state_to_sim(
        position.clamp(low, high), velocity.clamp(-fastest, fastest), asset_cfg.joint_ids, env_mask
    )


def _draw(env: BaseEnv, ranges: Mapping[str, Range], what: str) -> Tensor:
    """Draw six numbers an environment, ``(num_envs, 6)``; zero on an axis without a range."""
    low, high = _axis_bounds(env, ranges, what)
    return env.rng.uniform(low, high, (len(_AXES),))


def _axis_bounds(env: BaseEnv, ranges: Mapping[str, Range], what: str) -> tuple[Tensor, Tensor]:
    """Return the ends of the ranges, ``(6,)``, or ``(num_envs, 6)`` where a curriculum made them differ."""
    fixed = tuple((axis, bounds) for axis, bounds in ranges.items() if not isinstance(bounds, Tensor))
    low, high = _bounds(fixed, what, env.device)
    for axis, bounds in ranges.items():
        if isinstance(bounds, Tensor):
            here = _axis(axis, env.device)
            ends = limits(bounds, 1)
            low, high = (torch.where(here, end, x) for end, x in zip(ends, (low, high), strict=True))
    return low, high


@functools.cache
def _axis(axis: str, device: torch.device) -> Tensor:
    """Return where an axis is among the six, bool ``(6,)``."""
    return torch.tensor([name == axis for name in _AXES], device=device)


@functools.cache
def _bounds(
    ranges: tuple[tuple[str, tuple[float, float]], ...], what: str, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return ranges as device tensors; made once, because copying them in a step would synchronise."""
    given = dict(ranges)
    for axis, (low, high) in ranges:
        if axis not in _AXES:
            raise ConfigError(f"{what}: no axis {axis!r}; {did_you_mean(axis, _AXES)}")
        if low > high:
            raise ConfigError(f"{what}: {axis!r} is {(low, high)}; it must be (low, high)")
    table = torch.tensor([given.get(axis, (0.0, 0.0)) for axis in _AXES], dtype=torch.float32, device=device)
    return table[:, 0].contiguous(), table[:, 1].contiguous()
