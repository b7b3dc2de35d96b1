"""Configuration of generated terrain: a grid of tiles, difficulty along x, kinds along y."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from palestra.config.configclass import MISSING, configclass

Range = tuple[float, float]


@configclass
class FlatPatchSamplingCfg:
    """Where on a tile robots (or goals) may be put: places around which the ground is nearly level."""

    num_patches: int = MISSING
    """Patches drawn on each tile."""

    patch_radius: float | list[float] = MISSING
    """Radius within which the ground is compared (m); of several, the largest counts."""

    x_range: Range = (-1e6, 1e6)
    """Least and largest x of a patch's centre, from the tile's origin (m)."""

    y_range: Range = (-1e6, 1e6)
    """The same for y (m)."""

    z_range: Range = (-1e6, 1e6)
    """Least and largest height of a patch, from the level on which tiles meet (m)."""

    max_height_diff: float = MISSING
    """Largest difference between the highest and the lowest point of a patch (m)."""


@configclass
class SubTerrainBaseCfg:
    """A kind of tile."""

    function: Callable[..., np.ndarray] = MISSING
    """``(difficulty, cfg, rng) -> heights``, see :mod:`palestra.terrains.sub_terrains`."""

    proportion: float = 1.0
    """Share of the columns (with a curriculum) or of the tiles; shares are divided by their sum."""

    size: tuple[float, float] = (10.0, 10.0)
    """Edges along x and y (m); the generator sets it."""

    horizontal_scale: float = 0.1
    """Distance of the vertices (m); the generator sets it."""

    flat_patch_sampling: dict[str, FlatPatchSamplingCfg] | None = None
    """Named sets of patches. ``reset_root_state_from_terrain`` takes ``"init_pos"``."""


@configclass
class TerrainGeneratorCfg:
    """Tiles in ``num_rows`` levels of difficulty (along x) and ``num_cols`` columns (along y), with a level border."""

    seed: int | None = None
    """Seed of the shapes; ``None`` takes 0, so that runs with different seeds have the same terrain."""

    curriculum: bool = False
    """Whether difficulty grows along x and a column has one kind of tile; else both are drawn for each tile."""

    size: tuple[float, float] = MISSING
    """Edges of a tile along x and y (m)."""

    border_width: float = 0.0
    """Level ground around all tiles (m)."""

    border_height: float = 0.0
    """Height of the border (m). Isaac Lab's is the thickness of a slab whose top is at 0 or 1; here it is the top."""

    num_rows: int = 1
    """Levels of difficulty."""

    num_cols: int = 1
    """Columns."""

    color_scheme: Literal["height", "random", "none"] = "none"
    """Accepted for Isaac Lab's configurations; pictures show the ground in one tone."""

    horizontal_scale: float = 0.1
    """Distance of the height grid's vertices (m). An upright face becomes a ramp of this length."""

    vertical_scale: float = 0.005
    """Heights are rounded to multiples of it (m); 0 leaves them."""

    slope_threshold: float | None = 0.75
    """Accepted for Isaac Lab's configurations: a height field has no upright faces."""

    sub_terrains: dict[str, Any] = MISSING
    """Kinds of tiles by name, :class:`SubTerrainBaseCfg`."""

    difficulty_range: Range = (0.0, 1.0)
    """Least and largest difficulty."""

    use_cache: bool = False
    """Accepted for Isaac Lab's configurations: generation takes a second or two."""
