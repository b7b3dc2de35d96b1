"""The terrain in a scene: its geom, the tile of each environment, and its height anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import mujoco
import numpy as np
import torch
from torch import Tensor

from palestra.errors import ConfigError, did_you_mean
from palestra.terrains.height_grid import HeightGrid
from palestra.terrains.terrain_generator import generate
from palestra.terrains.terrain_importer_cfg import TerrainImporterCfg
from palestra.utils.string import resolve_matching_names

if TYPE_CHECKING:
    from palestra.assets.asset import Asset
    from palestra.envs.rng import RandomStream

COLLISION_BIT = 1 << 20
"""Bit of ``contype`` and ``conaffinity`` by which chosen geoms meet the terrain."""

_THINNEST = 1e-3
"""Height of a height field without relief (m): MuJoCo wants a positive one."""


class TerrainImporter:
    """Ground of all environments, and which tile each of them has.

    All environments share one terrain, and each is a world of its own: they may stand on the same tile and never
    meet. Rows are levels of difficulty, columns kinds.

    Attributes:
        env_origins: origin of each environment (m, world), ``(num_envs, 3)``.
        terrain_levels: row of each environment, int64 ``(num_envs,)``.
        terrain_types: column of each environment, int64 ``(num_envs,)``.
        terrain_origins: origins of the tiles (m, world), ``(num_rows, num_cols, 3)``; ``None`` on a plane.
        max_terrain_level: number of rows.
        flat_patches: level places by name (m, world), ``(num_rows, num_cols, num_patches, 3)``.
        grid: heights, on a plane ``None``.
    """

    def __init__(self, cfg: TerrainImporterCfg, name: str) -> None:
        self.cfg, self.name = cfg, name
        self.terrain = None
        if cfg.terrain_type == "plane":
            if cfg.terrain_generator is not None:
                raise ConfigError(f"scene.{name}: terrain_generator is set; it needs terrain_type 'generator'")
        elif cfg.terrain_type != "generator":
            raise ConfigError(f"scene.{name}: terrain_type is {cfg.terrain_type!r}; it must be 'plane' or 'generator'")
        elif cfg.terrain_generator is None:
            raise ConfigError(f"scene.{name}: terrain_type 'generator' needs a terrain_generator")
        else:
            self.terrain = generate(cfg.terrain_generator)
        self.grid: HeightGrid | None = None
        self.terrain_origins: Tensor | None = None
        self.flat_patches: dict[str, Tensor] = {}

    @property
    def geom_name(self) -> str:
        """Name of the generated terrain's geom and height field in the scene's model."""
        return f"{self.name}/terrain"

    @property
    def level_range(self) -> tuple[float, float]:
        """Lowest and highest point of generated terrain (m)."""
        assert self.terrain is not None
        return float(self.terrain.heights.min()), float(self.terrain.heights.max())

    def place(self, spec: mujoco.MjSpec) -> None:
        """Add generated terrain to a scene's spec, as one height field.

        MuJoCo finds the cells under a geom from its coordinates, so that neither engine searches: the cost of a
        contact does not depend on the size of the terrain.
        """
        assert self.terrain is not None
        x, y = self.terrain.heights.shape
        self._add_field(spec, (x, y), self.normalized(self.terrain.heights))
        low, _ = self.level_range
        spec.worldbody.add_geom(
            name=self.geom_name,
            type=mujoco.mjtGeom.mjGEOM_HFIELD,
            hfieldname=self.geom_name,
            pos=[*self.middle((x, y), (0, 0)), low],
            rgba=list(self.cfg.color),
            friction=[self.cfg.static_friction, 0.005, 0.0001],
            condim=3,
        )

    def restrict_collisions(self, spec: mujoco.MjSpec, assets: Mapping[str, Asset]) -> None:
        """Let only ``cfg.colliders`` meet the terrain.

        Raises:
            ConfigError: an asset or geom that does not exist.
        """
        if self.cfg.colliders is None:
            return
        own = [geom for geom in spec.worldbody.geoms if geom.name.startswith(f"{self.name}/")]
        for geom in own:
            geom.contype, geom.conaffinity = 0, COLLISION_BIT
        for path in self.cfg.colliders:
            asset, _, expression = path.partition("/")
            where = f"scene.{self.name}.colliders, {path!r}"
            if asset not in assets:
                raise ConfigError(f"{where}: no asset {asset!r}; {did_you_mean(asset, assets)}")
            prefix = assets[asset].prefix
            names = [g.name[len(prefix) :] for g in spec.geoms if g.name.startswith(prefix)]
            _, matched = resolve_matching_names(expression or ".*", names, where=where)
            for name in matched:
                geom = spec.geom(prefix + name)
                geom.contype |= COLLISION_BIT

    def bind(self, num_envs: int, device: torch.device) -> None:
        """Put tables on the device and give every environment a tile.

        Kinds are spread evenly over the environments; levels are drawn up to ``max_init_terrain_level``.
        """
        self.num_envs, self.device = num_envs, device
        self.env_origins = torch.zeros(num_envs, 3, device=device)
        self.terrain_levels = torch.zeros(num_envs, dtype=torch.int64, device=device)
        self.terrain_types = torch.zeros(num_envs, dtype=torch.int64, device=device)
        self.max_terrain_level = 1
        if self.terrain is None:
            return
        made = self.terrain
        self.grid = HeightGrid(torch.from_numpy(made.heights).to(device), made.corner, made.scale)
        self.terrain_origins = torch.from_numpy(made.origins).to(device)
        self.flat_patches = {name: torch.from_numpy(p).to(device) for name, p in made.flat_patches.items()}
        rows, columns = made.origins.shape[:2]
        self.max_terrain_level = rows
        highest = rows - 1 if self.cfg.max_init_terrain_level is None else self.cfg.max_init_terrain_level
        if not isinstance(highest, int) or highest < 0:
            raise ConfigError(f"scene.{self.name}.max_init_terrain_level is {highest!r}; it must be 0 or more, or None")
        cfg = self.cfg.terrain_generator
        assert cfg is not None
        draw = np.random.default_rng((cfg.seed or 0) + 1)
        levels = draw.integers(0, min(highest, rows - 1), num_envs, endpoint=True)
        self.terrain_levels.copy_(torch.from_numpy(levels))
        self.terrain_types.copy_(torch.arange(num_envs) * columns // num_envs)
        self.move_to_tiles()

    def update_env_origins(self, env_mask: Tensor, move_up: Tensor, move_down: Tensor, rng: RandomStream) -> None:
        """Change the level of masked environments by one and move their origins, inside a step.

        Who masters the highest level goes on at a random one; nobody falls below the lowest.

        Args:
            env_mask: environments that may change, bool ``(num_envs,)``.
            move_up: which of them go up, bool ``(num_envs,)``.
            move_down: which of them go down.
            rng: source of the random levels.
        """
        if self.terrain_origins is None:
            return
        changed = self.terrain_levels + move_up.to(torch.int64) - move_down.to(torch.int64)
        anywhere = rng.integers(0, self.max_terrain_level - 1)
        changed = torch.where(changed >= self.max_terrain_level, anywhere, changed.clamp_min(0))
        torch.where(env_mask, changed, self.terrain_levels, out=self.terrain_levels)
        self.move_to_tiles()

    def move_to_tiles(self) -> None:
        """Let origins follow ``terrain_levels`` and ``terrain_types``."""
        assert self.terrain_origins is not None
        self.env_origins.copy_(self.terrain_origins.view(-1, 3).index_select(0, self.tiles()))

    def tiles(self) -> Tensor:
        """Number of each environment's tile, rows first, int64 ``(num_envs,)``."""
        assert self.terrain_origins is not None
        return self.terrain_levels * self.terrain_origins.shape[1] + self.terrain_types

    def height_at(self, x: Tensor, y: Tensor) -> Tensor:
        """Height of the ground (m) at world positions of any shape (m)."""
        if self.grid is None:
            return torch.full_like(x, float(self.cfg.init_state.pos[2]))
        return self.grid.height_at(x, y)

    @property
    def half_extent(self) -> tuple[float, float]:
        """Half of the edges of generated terrain, border included (m)."""
        assert self.terrain is not None
        return -self.terrain.corner[0], -self.terrain.corner[1]

    def normalized(self, heights: np.ndarray) -> np.ndarray:
        """Heights as MuJoCo stores them: 0 to 1 between the terrain's lowest and highest point."""
        low, high = self.level_range
        return (heights - low) / max(high - low, _THINNEST)

    def _add_field(self, spec: mujoco.MjSpec, shape: tuple[int, int], data: np.ndarray) -> None:
        """Add the height field; MuJoCo's rows go along y."""
        low, high = self.level_range
        spec.add_hfield(
            name=self.geom_name,
            nrow=shape[1],
            ncol=shape[0],
            size=[*self.half_size(shape), max(high - low, _THINNEST), self.cfg.base_thickness],
            userdata=data.T.astype(np.float32).flatten(),
        )

    def half_size(self, shape: tuple[int, int]) -> list[float]:
        """Half of the edges of a part of the grid (m)."""
        assert self.terrain is not None
        return [0.5 * self.terrain.scale * (n - 1) for n in shape]

    def middle(self, shape: tuple[int, int], first: tuple[int, int]) -> list[float]:
        """World position of the middle of a part of the grid (m)."""
        assert self.terrain is not None
        scale, corner = self.terrain.scale, self.terrain.corner
        return [c + scale * (f + 0.5 * (n - 1)) for c, f, n in zip(corner, first, shape, strict=True)]
