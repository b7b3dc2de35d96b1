"""Uniformly drawn poses for a body."""

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
from palestra.utils.math import (
    combine_frame_transforms,
    quat_error_magnitude,
    quat_from_euler_xyz,
    quat_unique,
)

if TYPE_CHECKING:
    from palestra.envs.manager_based import ManagerBasedRLEnv
    from palestra.envs.mdp.commands.commands_cfg import UniformPoseCommandCfg

_PARTS = ("pos_x", "pos_y", "pos_z", "roll", "pitch", "yaw")


class UniformPoseCommand(CommandTerm):
    """Commands (x, y, z, q_w, q_x, q_y, q_z) for a body, in the frame of the robot's root.

    The metrics ``position_error`` (m) and ``orientation_error`` (rad) are those of the present step, so that
    the log shows what is left at the end of an episode.

    Attributes:
        ranges: limits of the draws, on the device; a curriculum may write them.
        pose_command_b: the command, ``(num_envs, 7)``.
        pose_command_w: the same pose in the world as the root lies now, ``(num_envs, 7)``.
    """

    cfg: UniformPoseCommandCfg

    io = ObservationIO(
        units=("m", "m", "m", "1", "1", "1", "1"),
        frame="base",
        entries=("pos_x", "pos_y", "pos_z", "quat_w", "quat_x", "quat_y", "quat_z"),
    )

    def __init__(self, cfg: UniformPoseCommandCfg, env: ManagerBasedRLEnv) -> None:
        super().__init__(cfg, env)
        self._robot = entity(env, cfg.asset_name, Articulation)
        bodies, names = self._robot.find_bodies(cfg.body_name)
        if len(bodies) != 1:
            raise ConfigError(f"pose command: body_name {cfg.body_name!r} matches {names}; it must match one body")
        self._body = bodies[0]
        self.ranges = UniformRanges(cfg.ranges, _PARTS, self.device, "pose command: ranges")
        self.pose_command_b = torch.zeros(self.num_envs, 7, device=self.device)
        self.pose_command_b[:, 3] = 1.0
        self.pose_command_w = self.pose_command_b.clone()
        self.metrics["position_error"] = torch.zeros(self.num_envs, device=self.device)
        self.metrics["orientation_error"] = torch.zeros(self.num_envs, device=self.device)

    @property
    def command(self) -> Tensor:
        """Position (m) and orientation (w, x, y, z) in the root frame, ``(num_envs, 7)``."""
        return self.pose_command_b

    def reset(self, env_mask: Tensor) -> None:
        super().reset(env_mask)
        self._update_command()

    def apply_cfg(self) -> None:
        """Take changed ranges from the configuration."""
        self.ranges.update(self.cfg.ranges)

    def ranges_state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of the ranges."""
        return {"ranges": self.ranges.table}

    def state(self) -> dict[str, Tensor]:
        return {**super().state(), "pose_command_b": self.pose_command_b}

    def _resample_command(self, env_mask: Tensor) -> None:
        drawn = self.ranges.at(self._env.rng.uniform(0.0, 1.0, (len(_PARTS),)))
        quat = quat_from_euler_xyz(*drawn[:, 3:].unbind(dim=-1))
        if self.cfg.make_quat_unique:
            quat = quat_unique(quat)
        pose = torch.cat((drawn[:, :3], quat), dim=-1)
        torch.where(env_mask.unsqueeze(-1), pose, self.pose_command_b, out=self.pose_command_b)

    def _update_command(self) -> None:
        data = self._robot.data
        position, quat = combine_frame_transforms(
            data.root_pos_w, data.root_quat_w, self.pose_command_b[:, :3], self.pose_command_b[:, 3:]
        )
        torch.cat((position, quat), dim=-1, out=self.pose_command_w)

    def _update_metrics(self) -> None:
        data = self._robot.data
        self._update_command()
        offset = self.pose_command_w[:, :3] - data.body_pos_w[:, self._body]
        self.metrics["position_error"].copy_(torch.linalg.vector_norm(offset, dim=-1))
        self.metrics["orientation_error"].copy_(
            quat_error_magnitude(self.pose_command_w[:, 3:], data.body_quat_w[:, self._body])
        )
