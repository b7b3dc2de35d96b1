"""Places to go to, with a heading: drawn around the origin of the environment, or among flat patches of the terrain."""

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
from palestra.utils.math import quat_apply_inverse, wrap_to_pi, yaw_quat

if TYPE_CHECKING:
    from palestra.envs.manager_based import ManagerBasedRLEnv
    from palestra.envs.mdp.commands.commands_cfg import TerrainBasedPose2dCommandCfg, UniformPose2dCommandCfg

TARGETS = "target"
"""Name of the flat patches that are places to go to."""


class UniformPose2dCommand(CommandTerm):
    """Commands (x, y, z, ψ): how far the target is from the root, and the turn that is left to its heading.

    Targets lie around the environment's origin, on terrain that of its tile, at the root's default height. The position
    is given in the base frame turned upright (``"yaw"``: x forward along the ground, z up). With ``simple_heading``
    the heading leads straight to the target, forwards or backwards, whichever needs the smaller turn when it is drawn.
    The metrics ``error_pos_2d`` (m) and ``error_heading`` (rad) are those of the present step, so that the log shows
    what is left at the end of an episode.

    Attributes:
        ranges: limits of the draws, on the device; a curriculum may write them.
        pos_command_w: target positions (m, world), ``(num_envs, 3)``.
        heading_command_w: target headings (rad, world), ``(num_envs,)``.
        pose_command_b: the command, ``(num_envs, 4)``.
    """

    cfg: UniformPose2dCommandCfg

    io = ObservationIO(units=("m", "m", "m", "rad"), frame="yaw", entries=("pos_x", "pos_y", "pos_z", "heading"))

    _positions: tuple[str, ...] = ("pos_x", "pos_y")
    _label = "pose_2d command"

    def __init__(self, cfg: UniformPose2dCommandCfg, env: ManagerBasedRLEnv) -> None:
        super().__init__(cfg, env)
        self._robot = entity(env, cfg.asset_name, Articulation)
        names = self._positions
        if not cfg.simple_heading:
            if cfg.ranges.heading is None:
                raise ConfigError(f"{self._label}: ranges.heading must be (low, high), or set simple_heading")
            names = (*names, "heading")
        self.ranges = UniformRanges(cfg.ranges, names, self.device, f"{self._label}: ranges")
        self.pos_command_w = torch.zeros(self.num_envs, 3, device=self.device)
        self.heading_command_w = torch.zeros(self.num_envs, device=self.device)
        self.pose_command_b = torch.zeros(self.num_envs, 4, device=self.device)
        self.metrics["error_pos_2d"] = torch.zeros(self.num_envs, device=self.device)
        self.metrics["error_heading"] = torch.zeros(self.num_envs, device=self.device)

    @property
    def command(self) -> Tensor:
        """Position error (m, yaw frame) and heading error (rad, in [-π, π]), ``(num_envs, 4)``."""
        return self.pose_command_b

    def reset(self, env_mask: Tensor) -> None:
        super().reset(env_mask)
        self._update_command()  # the first observation of an episode already sees the new target

    def apply_cfg(self) -> None:
        """Take changed ranges from the configuration."""
        self.ranges.update(self.cfg.ranges)

    def ranges_state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of the ranges."""
        return {"ranges": self.ranges.table}

    def state(self) -> dict[str, Tensor]:
        return {
            **super().state(),
            "pos_command_w": self.pos_command_w,
            "heading_command_w": self.heading_command_w,
        }

    def _draw_targets(self, drawn: Tensor) -> Tensor:
        """Return target positions on the ground (m, world), ``(num_envs, 3)``, from drawn parts."""
        ground = torch.cat((drawn[:, :2], torch.zeros_like(drawn[:, :1])), dim=-1)
        return self._env.scene.env_origins + ground

    def _resample_command(self, env_mask: Tensor) -> None:
        unit = self._env.rng.uniform(0.0, 1.0, (len(self._positions) + 1,))
        drawn = self.ranges.at(unit[:, : len(self.ranges.names)])
        target = self._draw_targets(drawn)
        height = target[:, 2:] + self._robot.data.default_root_state[:, 2:3]
        target = torch.cat((target[:, :2], height), dim=-1)
        heading = self._heading_towards(target) if self.cfg.simple_heading else drawn[:, -1]
        torch.where(env_mask.unsqueeze(-1), target, self.pos_command_w, out=self.pos_command_w)
        torch.where(env_mask, heading, self.heading_command_w, out=self.heading_command_w)

    def _heading_towards(self, target: Tensor) -> Tensor:
        """Return the heading (rad) on which a robot that turns least comes to the target, forwards or backwards."""
        data = self._robot.data
        way = target - data.root_pos_w
        ahead = torch.atan2(way[:, 1], way[:, 0])
        back = wrap_to_pi(ahead + torch.pi)
        turn, turn_back = (wrap_to_pi(heading - data.heading_w).abs() for heading in (ahead, back))
        return torch.where(turn <= turn_back, ahead, back)

    def _update_command(self) -> None:
        data = self._robot.data
        way = quat_apply_inverse(yaw_quat(data.root_quat_w), self.pos_command_w - data.root_pos_w)
        turn = wrap_to_pi(self.heading_command_w - data.heading_w)
        torch.cat((way, turn.unsqueeze(-1)), dim=-1, out=self.pose_command_b)

    def _update_metrics(self) -> None:
        data = self._robot.data
        way = self.pos_command_w[:, :2] - data.root_pos_w[:, :2]
        self.metrics["error_pos_2d"].copy_(torch.linalg.vector_norm(way, dim=-1))
        self.metrics["error_heading"].copy_(wrap_to_pi(self.heading_command_w - data.heading_w).abs())


class TerrainBasedPose2dCommand(UniformPose2dCommand):
    """As :class:`UniformPose2dCommand`, with targets on the flat patches ``"target"`` of the environment's tile."""

    cfg: TerrainBasedPose2dCommandCfg

    _positions = ()
    _label = "terrain-based pose_2d command"

    def __init__(self, cfg: TerrainBasedPose2dCommandCfg, env: ManagerBasedRLEnv) -> None:
        super().__init__(cfg, env)
        terrain = env.scene.terrain
        if terrain is None or terrain.terrain is None:
            raise ConfigError(f"{self._label} needs a TerrainImporterCfg with terrain_type='generator' in the scene")
        if TARGETS not in terrain.flat_patches:
            known = ", ".join(map(repr, terrain.flat_patches)) or "none"
            raise ConfigError(
                f"{self._label}: no sub-terrain samples flat patches {TARGETS!r} (sampled: {known}); "
                "set its flat_patch_sampling"
            )
        self._terrain = terrain
        self._number = terrain.flat_patches[TARGETS].shape[2]
        self._patches = terrain.flat_patches[TARGETS].reshape(-1, 3)

    def _draw_targets(self, drawn: Tensor) -> Tensor:
        chosen = self._terrain.tiles() * self._number + self._env.rng.integers(0, self._number - 1)
        return self._patches.index_select(0, chosen)
