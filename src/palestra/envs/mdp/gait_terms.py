"""Rewards for gaits: walking to the clock of a :class:`~palestra.envs.mdp.GaitPhaseCommand`, lifting the feet."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from palestra.assets import Articulation
from palestra.envs.mdp.commands import GaitPhaseCommand
from palestra.envs.mdp.entities import entity, select
from palestra.envs.mdp.rewards import largest_recent_force
from palestra.errors import ConfigError
from palestra.managers import ManagerTermBase, RewardTermCfg, SceneEntityCfg
from palestra.sensors import ContactSensor

if TYPE_CHECKING:
    from palestra.envs.manager_based import ManagerBasedRLEnv

__all__ = ["feet_gait", "feet_swing_height_l2"]


class feet_gait(ManagerTermBase):  # noqa: N801 - a term, named like the functions
    """Share of the feet whose contact agrees with the clock, in [0, 1].

    The clock is the one that the policy saw when it acted. Feet are matched by name, so that the order of the sensor
    does not matter. Where the robot is told to stand, all feet are to be on the ground.
    """

    def __init__(self, cfg: RewardTermCfg, env: ManagerBasedRLEnv) -> None:
        super().__init__(cfg, env)
        self.rebind(cfg)

    def rebind(self, cfg: RewardTermCfg) -> None:
        for name in ("command_name", "sensor_cfg"):
            if name not in cfg.params:
                raise ConfigError(f"parameter {name!r} is missing; it takes command_name, sensor_cfg, threshold")
        command_name, selection = cfg.params["command_name"], copy.copy(cfg.params["sensor_cfg"])
        command = self._env.command_manager.get_term(command_name)
        if not isinstance(command, GaitPhaseCommand):
            raise ConfigError(f"command {command_name!r} is a {type(command).__name__}; it must be a GaitPhaseCommand")
        sensor = entity(self._env, selection.name, ContactSensor)
        selection.resolve(self._env.scene)
        chosen = torch.arange(len(sensor.body_names), device=self.device)[selection.body_ids]
        names = [sensor.body_names[k] for k in chosen.tolist()]
        if sorted(names) != sorted(command.feet):
            raise ConfigError(f"sensor_cfg selects {names}; the feet of command {command_name!r} are {command.feet}")
        order = [sensor.body_names.index(foot) for foot in command.feet]
        self._command, self._sensor = command, sensor
        self._ids = torch.tensor(order, dtype=torch.int64, device=self.device)

    def __call__(
        self,
        env: ManagerBasedRLEnv,
        command_name: str,
        sensor_cfg: SceneEntityCfg,
        threshold: float = 1.0,
        velocity_command_name: str | None = None,
        standing_below: float = 0.1,
    ) -> Tensor:
        """Compute the reward.

        Args:
            env: the environment.
            command_name: the gait command.
            sensor_cfg: contact sensor, and which of its elements are the feet; all by default.
            threshold: force above which a foot is in contact (N).
            velocity_command_name: command of planar velocity (m/s) and yaw rate (rad/s) that tells who is to stand;
                None lets all walk.
            standing_below: norm of these three below which a robot is to stand.

        Returns:
            The reward, ``(num_envs,)``.
        """
        forces = self._sensor.data.net_forces_w.index_select(1, self._ids)
        contact = forces.square().sum(dim=-1) > threshold**2
        desired = self._command.desired_contact
        if velocity_command_name is not None:
            velocity = env.command_manager.get_command(velocity_command_name)[:, :3]
            desired = desired | (velocity.square().sum(dim=-1, keepdim=True) < standing_below**2)
        return (contact == desired).to(torch.float32).mean(dim=-1)


def feet_swing_height_l2(
    env: ManagerBasedRLEnv,
    target_height: float,
    sensor_cfg: SceneEntityCfg,
    asset_cfg: SceneEntityCfg,
    threshold: float = 1.0,
) -> Tensor:
    """Sum over the feet in the air of the square of how far (m²) they are from a height, for robots on flat ground.

    Args:
        env: the environment.
        target_height: height of a swinging foot's body frame above the environment's origin (m).
        sensor_cfg: contact sensor and its bodies.
        asset_cfg: the robot and the same bodies, in the same order.
        threshold: force above which a foot is in contact (N).

    Returns:
        The penalty, ``(num_envs,)``.
    """
    swinging = largest_recent_force(env, sensor_cfg) <= threshold
    height = select(entity(env, asset_cfg.name, Articulation).data.body_pos_w, asset_cfg.body_ids)[..., 2]
    error = height - env.scene.env_origins[:, 2:] - target_height
    return (error.square() * swinging).sum(dim=-1)
