"""Poses of target frames relative to a source frame, all fixed to bodies."""

from __future__ import annotations

from collections.abc import Mapping

import mujoco
import torch
from torch import Tensor

from palestra.assets.asset import Asset
from palestra.config.configclass import MISSING, configclass
from palestra.errors import ConfigError
from palestra.physics import Engine
from palestra.sensors.sensor_base import SensorBase, SensorBaseCfg, spec_names
from palestra.utils.lazy import once_per_state
from palestra.utils.math import combine_frame_transforms, subtract_frame_transforms
from palestra.utils.string import resolve_matching_names


@configclass
class OffsetCfg:
    """Pose of a frame in its body."""

    pos: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Position (m)."""

    rot: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    """Orientation (w, x, y, z)."""


@configclass
class FrameTransformerCfg(SensorBaseCfg):
    """``prim_path`` names the body of the source frame."""

    @configclass
    class FrameCfg:
        """One target frame, or several if the expression matches several bodies."""

        prim_path: str = MISSING
        """Body, in the syntax of the sensor's ``prim_path``."""

        name: str | None = None
        """Name of the frame; ``None`` takes the body's."""

        offset: OffsetCfg = OffsetCfg()
        """Pose of the frame in the body."""

    source_frame_offset: OffsetCfg = OffsetCfg()
    """Pose of the source frame in its body."""

    target_frames: list[FrameCfg] = MISSING
    """Target frames."""


class FrameTransformerData:
    """Poses; ``F`` counts the target frames. Positions in m, orientations (w, x, y, z)."""

    def __init__(self, engine: Engine, source: int, targets: list[int], offsets: list[OffsetCfg]) -> None:
        self._engine = engine
        n, device = engine.num_envs, engine.device
        self._source = source
        self._targets = torch.tensor(targets, dtype=torch.int64, device=device)
        self._pos = torch.tensor([o.pos for o in offsets], device=device).repeat(n, 1, 1)
        self._rot = torch.tensor([o.rot for o in offsets], device=device).repeat(n, 1, 1)
        self.target_frame_names: list[str] = []

    @once_per_state
    def _source_pose(self) -> tuple[Tensor, Tensor]:
        pos, quat = self._engine.field("xpos")[:, self._source], self._engine.field("xquat")[:, self._source]
        return combine_frame_transforms(pos, quat, self._pos[:, 0], self._rot[:, 0])

    @once_per_state
    def _target_pose(self) -> tuple[Tensor, Tensor]:
        pos = self._engine.field("xpos").index_select(1, self._targets)
        quat = self._engine.field("xquat").index_select(1, self._targets)
        return combine_frame_transforms(pos, quat, self._pos[:, 1:], self._rot[:, 1:])

    @once_per_state
    def _relative(self) -> tuple[Tensor, Tensor]:
        pos, quat = self._source_pose
        targets = self._target_pose
        count = targets[0].shape[1]
        return subtract_frame_transforms(
            pos.unsqueeze(1).expand(-1, count, -1), quat.unsqueeze(1).expand(-1, count, -1), *targets
        )

    @property
    def source_pos_w(self) -> Tensor:
        """Position of the source frame in the world, ``(num_envs, 3)``."""
        return self._source_pose[0]

    @property
    def source_quat_w(self) -> Tensor:
        """Orientation of the source frame in the world, ``(num_envs, 4)``."""
        return self._source_pose[1]

    @property
    def target_pos_w(self) -> Tensor:
        """Positions of the target frames in the world, ``(num_envs, F, 3)``."""
        return self._target_pose[0]

    @property
    def target_quat_w(self) -> Tensor:
        """Orientations of the target frames in the world, ``(num_envs, F, 4)``."""
        return self._target_pose[1]

    @property
    def target_pos_source(self) -> Tensor:
        """Positions of the target frames in the source frame, ``(num_envs, F, 3)``."""
        return self._relative[0]

    @property
    def target_quat_source(self) -> Tensor:
        """Orientations of the target frames in the source frame, ``(num_envs, F, 4)``."""
        return self._relative[1]


class FrameTransformer(SensorBase):
    """Relative poses of frames; no physics sensor is needed."""

    cfg: FrameTransformerCfg
    data: FrameTransformerData

    def edit_scene(self, scene: mujoco.MjSpec, assets: Mapping[str, Asset]) -> None:
        sources = self._bodies(scene, assets, self.cfg.prim_path)
        if len(sources) > 1:
            raise ConfigError(f"sensor {self.name!r}: the source is one body; prim_path matches {', '.join(sources)}")
        self._source_body = sources[0]
        self._frames: list[tuple[str, str, OffsetCfg]] = []
        for frame in self.cfg.target_frames:
            for body in self._bodies(scene, assets, frame.prim_path):
                self._frames.append((frame.name or body.split("/", 1)[1], body, frame.offset))

    def bind(self, engine: Engine, assets: Mapping[str, Asset]) -> None:
        super().bind(engine, assets)
        source = engine.model.body(self._source_body).id
        targets = [engine.model.body(body).id for _, body, _ in self._frames]
        offsets = [self.cfg.source_frame_offset, *(offset for _, _, offset in self._frames)]
        self.data = FrameTransformerData(engine, source, targets, offsets)
        self.data.target_frame_names = [name for name, _, _ in self._frames]

    def _bodies(self, scene: mujoco.MjSpec, assets: Mapping[str, Asset], path: str) -> list[str]:
        asset, expression = self._target(assets, path)
        where = f"sensor {self.name!r}, bodies of {asset.name!r}"
        _, names = resolve_matching_names(expression, spec_names(scene, asset.prefix, "bodies"), where=where)
        return [asset.prefix + name for name in names]
