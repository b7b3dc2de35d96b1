"""Uniformly drawn planar velocities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from palestra.assets import Articulation
from palestra.envs.mdp.commands.uniform_ranges import UniformRanges
from palestra.envs.mdp.entities import entity
from palestra.envs.mdp.io import ObservationIO
from palestra.errors import ConfigError
from palestra.managers import CommandTerm
from palestra.utils.math import wrap_to_pi

if TYPE_CHECKING:
    from palestra.envs.manager_based import ManagerBasedRLEnv
    from palestra.envs.mdp.commands.commands_cfg import UniformVelocityCommandCfg

_VELOCITY = ("lin_vel_x", "lin_vel_y", "ang_vel_z")


class UniformVelocityCommand(CommandTerm):
    """Commands (v_x, v_y, ω_z) in the base frame (m/s, m/s, rad/s).

    With ``heading_command`` the yaw rate of most environments steers towards a drawn heading:
    ω_z = clip(stiffness · (ψ* - ψ)). The metrics ``error_vel_xy`` (m/s) and ``error_vel_yaw`` (rad/s) are
    means over the present episode.

    Attributes:
        ranges: limits of the draws, on the device; a curriculum may write them.
        vel_command_b: the command, ``(num_envs, 3)``.
        heading_target: drawn headings (rad), ``(num_envs,)``.
        is_heading_env: which environments follow their heading.
        is_standing_env: which environments are to stand still.
    """

    cfg: UniformVelocityCommandCfg

    io = ObservationIO(units=("m/s", "m/s", "rad/s"), frame="base", entries=_VELOCITY)

    def __init__(self, cfg: UniformVelocityCommandCfg, env: ManagerBasedRLEnv) -> None:
        super().__init__(cfg, env)
        names = _VELOCITY
        if cfg.heading_command:
            if cfg.ranges.heading is None:
                raise ConfigError("velocity command: heading_command is set, so ranges.heading must be (low, high)")
            names = (*_VELOCITY, "heading")
        self._robot = entity(env, cfg.asset_name, Articulation)
        self.ranges = UniformRanges(cfg.ranges, names, self.device, "velocity command: ranges")
        self.vel_command_b = torch.zeros(self.num_envs, 3, device=self.device)
        self.heading_target = torch.zeros(self.num_envs, device=self.device)
        self.is_heading_env = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        self.is_standing_env = torch.zeros_like(self.is_heading_env)
        self.metrics["error_vel_xy"] = torch.zeros(self.num_envs, device=self.device)
        self.metrics["error_vel_yaw"] = torch.zeros(self.num_envs, device=self.device)
        self._num_errors = torch.zeros(self.num_envs, device=self.device)

    @property
    def command(self) -> Tensor:
        """(v_x, v_y, ω_z) in the base frame, ``(num_envs, 3)``."""
        return self.vel_command_b

    def reset(self, env_mask: Tensor) -> None:
        super().reset(env_mask)
        self._num_errors.masked_fill_(env_mask, 0.0)
        self._update_command()  # the first observation of an episode already sees the heading controller

    def apply_cfg(self) -> None:
        """Take changed ranges from the configuration."""
        self.ranges.update(self.cfg.ranges)

    def ranges_state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of the ranges."""
        return {"ranges": self.ranges.table}

    def state(self) -> dict[str, Tensor]:
        return {
            **super().state(),
            "vel_command_b": self.vel_command_b,
            "heading_target": self.heading_target,
            "is_heading_env": self.is_heading_env,
            "is_standing_env": self.is_standing_env,
            "num_errors": self._num_errors,
        }

    def _resample_command(self, env_mask: Tensor) -> None:
        parts = len(self.ranges.names)
        unit = self._env.rng.uniform(0.0, 1.0, (parts + 2,))
        drawn = self.ranges.at(unit[:, :parts])
        standing = unit[:, parts] < self.cfg.rel_standing_envs
        velocity = drawn[:, :3].masked_fill(standing.unsqueeze(-1), 0.0)
        torch.where(env_mask.unsqueeze(-1), velocity, self.vel_command_b, out=self.vel_command_b)
        torch.where(env_mask, standing, self.is_standing_env, out=self.is_standing_env)
        if self.cfg.heading_command:
            follows = (unit[:, parts + 1] < self.cfg.rel_heading_envs) & ~standing
            torch.where(env_mask, drawn[:, 3], self.heading_target, out=self.heading_target)
            torch.where(env_mask, follows, self.is_heading_env, out=self.is_heading_env)

    def _update_command(self) -> None:
        if not self.cfg.heading_command:
            return
        error = wrap_to_pi(self.heading_target - self._robot.data.heading_w)
        low, high = self.ranges["ang_vel_z"]
        rate = (self.cfg.heading_control_stiffness * error).clamp(low, high)
        yaw = self.vel_command_b[:, 2]
        torch.where(self.is_heading_env, rate, yaw, out=yaw)

    def _update_metrics(self) -> None:
        data = self._robot.data
        planar = torch.linalg.vector_norm(self.vel_command_b[:, :2] - data.root_lin_vel_b[:, :2], dim=-1)
        yaw = (self.vel_command_b[:, 2] - data.root_ang_vel_b[:, 2]).abs()
        self._num_errors += 1.0
        share = self._num_errors.reciprocal()
        self.metrics["error_vel_xy"].lerp_(planar, share)
        self.metrics["error_vel_yaw"].lerp_(yaw, share)
