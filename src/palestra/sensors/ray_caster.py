"""Rays from a body to the ground: height scans and range finders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import mujoco
import torch
from torch import Tensor

from palestra.assets.asset import Asset
from palestra.assets.root_writer import RootWriter
from palestra.config.configclass import MISSING, configclass
from palestra.errors import ConfigError
from palestra.physics import Engine
from palestra.sensors.frame_transformer import OffsetCfg
from palestra.sensors.patterns import PatternBaseCfg
from palestra.sensors.sensor_base import SensorBase, SensorBaseCfg, spec_names
from palestra.terrains import TerrainImporter
from palestra.utils.lazy import once_per_state
from palestra.utils.math import quat_apply
from palestra.utils.string import resolve_matching_names

Alignment = Literal["base", "yaw", "world"]


@configclass
class RayCasterCfg(SensorBaseCfg):
    """``prim_path`` names the one body that carries the sensor."""

    OffsetCfg = OffsetCfg

    offset: OffsetCfg = OffsetCfg()
    """Pose of the sensor's frame in the body."""

    ray_alignment: Alignment = "base"
    """How rays turn with the body: with all of its orientation, with its yaw only, or not at all."""

    attach_yaw_only: bool | None = None
    """Older name: ``True`` is ``ray_alignment="yaw"``, ``False`` ``"base"``."""

    pattern_cfg: PatternBaseCfg = MISSING
    """Where rays start and go."""

    mesh_prim_paths: list[str] = []
    """What rays hit: the terrain, by its name in the scene or its ``prim_path`` (``"/World/ground"``); empty means
    everything in ``geom_groups``.

    Vertical rays to the terrain are not cast: the height grid is read instead, and they cost a few operations.
    """

    geom_groups: list[int] = [0]
    """MuJoCo's geom groups that cast rays hit. Grounds, terrain and simple bodies are in 0, robots in 2 and 3."""

    max_distance: float = 1e6
    """Longest ray (m); what is further away counts as no hit."""


class RayCasterData:
    """Readings; ``B`` counts the rays. Positions in m, world frame."""

    def __init__(self, sensor: RayCaster) -> None:
        self._sensor = sensor
        self._engine = sensor._engine

    @once_per_state
    def pos_w(self) -> Tensor:
        """Position of the body that carries the sensor, ``(num_envs, 3)``."""
        return self._sensor.body_pose()[0]

    @once_per_state
    def quat_w(self) -> Tensor:
        """Orientation of the body (w, x, y, z), ``(num_envs, 4)``."""
        return self._sensor.body_pose()[1]

    @once_per_state
    def ray_hits_w(self) -> Tensor:
        """Points that the rays hit, ``(num_envs, B, 3)``; infinite where there is none."""
        return self._sensor.hits()

    @once_per_state
    def ray_hit_heights_w(self) -> Tensor:
        """Heights of these points, ``(num_envs, B)``: cheaper where nothing else is needed."""
        return self._sensor.hit_heights()


class RayCaster(SensorBase):
    """Casts rays through the engine, or reads the height grid where that gives the same.

    The grid takes the place of rays that go straight down (or up) and are aligned with the yaw or the world, if the
    terrain is all that they may hit.

    Attributes:
        data: readings, computed when they are read.
        reads_grid: whether the height grid is read.
    """

    cfg: RayCasterCfg
    data: RayCasterData

    def __init__(self, cfg: RayCasterCfg) -> None:
        super().__init__(cfg)
        self._alignment: Alignment = cfg.ray_alignment
        if cfg.attach_yaw_only is not None:
            self._alignment = "yaw" if cfg.attach_yaw_only else "base"
        if self._alignment not in ("base", "yaw", "world"):
            raise ConfigError(f"sensor {cfg.prim_path!r}: ray_alignment is {self._alignment!r}; base, yaw or world")
        if len(cfg.mesh_prim_paths) > 1:
            raise ConfigError(
                f"sensor {cfg.prim_path!r}: mesh_prim_paths names {len(cfg.mesh_prim_paths)}; one at most"
            )

    def edit_scene(self, scene: mujoco.MjSpec, assets: Mapping[str, Asset]) -> None:
        asset, expression = self._target(assets, self.cfg.prim_path)
        where = f"sensor {self.name!r}, bodies of {asset.name!r}"
        _, names = resolve_matching_names(expression, spec_names(scene, asset.prefix, "bodies"), where=where)
        if len(names) != 1:
            raise ConfigError(f"sensor {self.name!r} sits on one body; prim_path matches {', '.join(names)}")
        self._asset, self._body_name = asset, asset.prefix + names[0]
        self._ground = self._named_terrain()

    def bind(self, engine: Engine, assets: Mapping[str, Asset]) -> None:
        super().bind(engine, assets)
        self._body = engine.model.body(self._body_name).id
        starts, directions = self.cfg.pattern_cfg.rays()
        rot = torch.tensor(self.cfg.offset.rot).expand(len(starts), 4)
        starts = quat_apply(rot, starts) + torch.tensor(self.cfg.offset.pos)
        directions = quat_apply(rot, directions)
        vertical = bool((directions[:, :2].abs() < 1e-6).all())
        self.reads_grid = self._ground is not None and vertical and self._alignment != "base"
        self._starts, self._directions = starts.to(self.device), directions.to(self.device)
        self.data = RayCasterData(self)
        is_root = isinstance(self._asset, RootWriter) and not self._asset.is_fixed_base
        self._of_root = is_root and self._asset.data._bodies.start == self._body  # type: ignore[attr-defined]
        if not self._of_root:
            for name in ("xpos", "xquat"):  # from now on the engine keeps them current
                engine.field(name)

    @property
    def num_rays(self) -> int:
        """Number of rays."""
        return len(self._starts)

    @property
    def ray_names(self) -> list[str]:
        """Name of each ray: where it starts in the body's frame (m)."""
        return [f"x{x:+.2f}_y{y:+.2f}" for x, y, _ in self._starts.tolist()]

    def body_pose(self) -> tuple[Tensor, Tensor]:
        """Position (m) and orientation (w, x, y, z) of the body in the world."""
        if self._of_root:
            assert isinstance(self._asset, RootWriter)
            return self._asset.data.root_pos_w, self._asset.data.root_quat_w
        return self._engine.field("xpos")[:, self._body], self._engine.field("xquat")[:, self._body]

    def hits(self) -> Tensor:
        """Return where rays hit, ``(num_envs, num_rays, 3)``."""
        starts, directions = self._rays()
        if self.reads_grid:
            return torch.stack((starts[..., 0], starts[..., 1], self.data.ray_hit_heights_w), dim=-1)
        return starts + self._distance(starts, directions).unsqueeze(-1) * directions

    def hit_heights(self) -> Tensor:
        """Return the heights at which rays hit, ``(num_envs, num_rays)``."""
        if not self.reads_grid:
            return self.data.ray_hits_w[..., 2]
        assert self._ground is not None
        grid, data = self._ground.grid, self.data
        if grid is not None and self.device.type == "cuda":
            from palestra.sensors import ray_caster_warp

            rays = (self._starts, self._directions, self._alignment == "yaw", self.cfg.max_distance)
            return ray_caster_warp.hit_heights(grid, data.pos_w, data.quat_w, *rays)
        x, y = self._start_columns()
        heights = self._ground.height_at(x, y)
        start = self.data.pos_w[:, 2:3] + self._starts[:, 2]
        distance = (heights - start) * self._directions[:, 2]  # which is 1 or -1
        reached = (distance >= 0.0) & (distance <= self.cfg.max_distance)
        return torch.where(reached, heights, torch.inf)

    def _start_columns(self) -> tuple[Tensor, Tensor]:
        """World x and y of the rays' starts for an upright sensor frame, each ``(num_envs, num_rays)``."""
        pos = self.data.pos_w
        x, y = self._starts[:, 0], self._starts[:, 1]
        if self._alignment == "world":
            return pos[:, 0:1] + x, pos[:, 1:2] + y
        cos, sin = _yaw(self.data.quat_w)
        return pos[:, 0:1] + cos * x - sin * y, pos[:, 1:2] + sin * x + cos * y

    def _rays(self) -> tuple[Tensor, Tensor]:
        """Return starts and directions in the world, each ``(num_envs, num_rays, 3)``."""
        pos, shape = self.data.pos_w, (self.num_envs, self.num_rays, 3)
        if self._alignment == "base":
            quat = self.data.quat_w.unsqueeze(1).expand(*shape[:2], 4)
            turned = [quat_apply(quat, v.expand(shape)) for v in (self._starts, self._directions)]
            return pos.unsqueeze(1) + turned[0], turned[1]
        x, y = self._start_columns()
        starts = torch.stack((x, y, pos[:, 2:3] + self._starts[:, 2]), dim=-1)
        if self._alignment == "world":
            return starts, self._directions.expand(shape)
        cos, sin = _yaw(self.data.quat_w)
        along, across, up = self._directions.unbind(dim=-1)
        turned = (cos * along - sin * across, sin * along + cos * across, up.expand(shape[:2]))
        return starts, torch.stack(turned, dim=-1)

    def _distance(self, starts: Tensor, directions: Tensor) -> Tensor:
        found = self._engine.rays(starts, directions, exclude_body=self._body, geom_groups=self.cfg.geom_groups)
        return torch.where((found >= 0.0) & (found <= self.cfg.max_distance), found, torch.inf)

    def _named_terrain(self) -> TerrainImporter | None:
        """Return the terrain if ``mesh_prim_paths`` names it; None if rays may hit everything.

        Raises:
            ConfigError: it names something else.
        """
        if not self.cfg.mesh_prim_paths:
            return None
        path, terrain = self.cfg.mesh_prim_paths[0], self.terrain
        known = [] if terrain is None else [terrain.name, terrain.cfg.prim_path.rsplit("/", 1)[-1]]
        if terrain is None or path.rsplit("/", 1)[-1] not in known:
            named = " or ".join(repr(k) for k in known if k) or "no terrain in this scene: leave it empty"
            raise ConfigError(f"sensor {self.name!r}: mesh_prim_paths names {path!r}; it may name {named}")
        return terrain


def _yaw(quat: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the yaw of orientations (w, x, y, z), each ``(num_envs, 1)``."""
    w, x, y, z = quat.unsqueeze(-1).unbind(dim=1)
    angle = torch.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    return torch.cos(angle), torch.sin(angle)
