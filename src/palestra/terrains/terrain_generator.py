"""Put tiles of all kinds and difficulties together into one height grid, and find places to stand on."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palestra.config.configclass import MISSING
from palestra.errors import ConfigError
from palestra.terrains.sub_terrains import Heights
from palestra.terrains.terrain_generator_cfg import FlatPatchSamplingCfg, SubTerrainBaseCfg, TerrainGeneratorCfg


@dataclass
class Terrain:
    """What a generator makes; ``R`` rows, ``C`` columns. x grows with the row, y with the column, 0 is the middle."""

    heights: NDArray[np.float32]
    """Heights of the grid's vertices (m), ``(num_x, num_y)``."""

    corner: tuple[float, float]
    """World position of the first vertex (m)."""

    scale: float
    """Distance of the vertices (m)."""

    origins: NDArray[np.float32]
    """Middle of each tile, at the height of its ground (m), ``(R, C, 3)``."""

    flat_patches: dict[str, NDArray[np.float32]]
    """Nearly level places by name (m, world), ``(R, C, num_patches, 3)``."""

    names: list[list[str]]
    """Name of each tile's kind, by row and column."""

    difficulties: NDArray[np.float64]
    """Difficulty of each tile, ``(R, C)``."""


def generate(cfg: TerrainGeneratorCfg) -> Terrain:
    """Generate a terrain; the same configuration gives the same terrain.

    Raises:
        ConfigError: sizes, proportions or ranges that make no terrain; a tile without a flat patch.
    """
    _check(cfg)
    rng = np.random.default_rng(cfg.seed or 0)
    kinds = {name: _sized(sub, cfg) for name, sub in cfg.sub_terrains.items()}
    tile = [round(edge / cfg.horizontal_scale) for edge in cfg.size]
    border = round(cfg.border_width / cfg.horizontal_scale)
    counts = (cfg.num_rows, cfg.num_cols)
    shape = [count * cells + 2 * border + 1 for count, cells in zip(counts, tile, strict=True)]
    heights = np.full(shape, cfg.border_height, dtype=np.float64)
    corner = tuple(-0.5 * cfg.horizontal_scale * (vertices - 1) for vertices in shape)
    origins = np.zeros((*counts, 3), dtype=np.float32)
    names, difficulties = _plan(cfg, rng)
    patches: dict[str, NDArray[np.float32]] = {}
    for row, column in itertools.product(*map(range, counts)):
        name = names[row][column]
        sub = kinds[name]
        surface = np.asarray(sub.function(difficulties[row, column], sub, rng), dtype=np.float64)
        if cfg.vertical_scale:
            surface = np.round(surface / cfg.vertical_scale) * cfg.vertical_scale
        start = [border + k * cells for k, cells in zip((row, column), tile, strict=True)]
        part = heights[start[0] : start[0] + tile[0] + 1, start[1] : start[1] + tile[1] + 1]
        if surface.shape != part.shape:
            raise ConfigError(f"sub-terrain {name!r} has {surface.shape} heights; {part.shape} make a tile")
        part[:] = surface
        low = np.array([c + cfg.horizontal_scale * k for c, k in zip(corner, start, strict=True)])
        origin = np.array([*(low + 0.5 * np.array(cfg.size)), _height_of_middle(surface, sub)])
        origins[row, column] = origin
        for key, sampling in (sub.flat_patch_sampling or {}).items():
            where = f"sub-terrain {name!r} at difficulty {difficulties[row, column]:.2f}, flat patches {key!r}"
            found = _flat_patches(surface, sub, sampling, rng, origin[2], where)
            found[:, :2] += low
            if key not in patches:
                patches[key] = np.full((*counts, len(found), 3), np.nan, dtype=np.float32)
            if patches[key].shape[2] != len(found):
                raise ConfigError(f"{where}: num_patches differs from that of another sub-terrain")
            patches[key][row, column] = found
    for patch in patches.values():  # tiles without a sampling of that name offer their middle
        missing = np.isnan(patch).any(axis=(2, 3))
        patch[missing] = origins[missing][:, None]
    return Terrain(
        heights.astype(np.float32), (corner[0], corner[1]), cfg.horizontal_scale, origins, patches, names, difficulties
    )


def _plan(cfg: TerrainGeneratorCfg, rng: np.random.Generator) -> tuple[list[list[str]], NDArray[np.float64]]:
    """Choose kind and difficulty of each tile."""
    labels = list(cfg.sub_terrains)
    shares = np.array([sub.proportion for sub in cfg.sub_terrains.values()], dtype=np.float64)
    shares /= shares.sum()
    low, high = cfg.difficulty_range
    rows, columns = cfg.num_rows, cfg.num_cols
    if cfg.curriculum:
        ends = np.cumsum(shares)
        kinds = [
            min(int(np.searchsorted(ends, k / columns + 1e-3, side="right")), len(labels) - 1) for k in range(columns)
        ]
        names = [[labels[k] for k in kinds] for _ in range(rows)]
        level = (np.arange(rows)[:, None] + rng.uniform(size=(rows, columns))) / rows
    else:
        names = [[labels[k] for k in rng.choice(len(labels), size=columns, p=shares)] for _ in range(rows)]
        level = rng.uniform(size=(rows, columns))
    return names, low + (high - low) * level


def _sized(sub: SubTerrainBaseCfg, cfg: TerrainGeneratorCfg) -> SubTerrainBaseCfg:
    own = copy.copy(sub)
    own.size, own.horizontal_scale = cfg.size, cfg.horizontal_scale
    return own


def _height_of_middle(surface: Heights, sub: SubTerrainBaseCfg) -> float:
    """Highest ground within a metre of the middle, or on the platform where it is smaller."""
    reach = min(1.0, 0.5 * getattr(sub, "platform_width", 2.0), 0.5 * min(sub.size))
    cells = int(reach / sub.horizontal_scale + 1e-6)
    rows, columns = (n // 2 for n in surface.shape)
    return float(surface[rows - cells : rows + cells + 1, columns - cells : columns + cells + 1].max())


def _flat_patches(
    surface: Heights,
    sub: SubTerrainBaseCfg,
    sampling: FlatPatchSamplingCfg,
    rng: np.random.Generator,
    level: float,
    where: str,
) -> NDArray[np.float64]:
    """Draw patches, ``(num_patches, 3)`` from the tile's corner; z is the highest point of each."""
    radius = max(sampling.patch_radius) if isinstance(sampling.patch_radius, list) else sampling.patch_radius
    cells = int(np.ceil(radius / sub.horizontal_scale - 1e-6))
    rows, columns = (n - 2 * cells for n in surface.shape)
    if rows < 1 or columns < 1:
        raise ConfigError(f"{where}: patch_radius {radius} does not fit on a tile of {sub.size}")
    high = np.full((rows, columns), -np.inf)
    low = -high
    for i, j in itertools.product(range(-cells, cells + 1), repeat=2):
        if i * i + j * j <= (radius / sub.horizontal_scale) ** 2 + 1e-6:
            part = surface[cells + i : cells + i + rows, cells + j : cells + j + columns]
            np.maximum(high, part, out=high)
            np.minimum(low, part, out=low)
    x = (np.arange(rows) + cells) * sub.horizontal_scale
    y = (np.arange(columns) + cells) * sub.horizontal_scale
    allowed = high - low <= sampling.max_height_diff + 1e-9
    for axis, edge, limits, view in (
        (x, sub.size[0], sampling.x_range, np.s_[:, None]),
        (y, sub.size[1], sampling.y_range, np.s_[None, :]),
    ):
        offset = axis - 0.5 * edge
        allowed &= ((offset >= limits[0] - 1e-6) & (offset <= limits[1] + 1e-6))[view]
    allowed &= (high >= sampling.z_range[0] - 1e-6) & (high <= sampling.z_range[1] + 1e-6)
    places = np.argwhere(allowed)
    if not len(places):
        raise ConfigError(
            f"{where}: no place is level within {sampling.max_height_diff} m over a radius of {radius} m; "
            "allow more max_height_diff, a smaller patch_radius or wider ranges"
        )
    picked = places[rng.integers(0, len(places), sampling.num_patches)]
    return np.stack((x[picked[:, 0]], y[picked[:, 1]], high[picked[:, 0], picked[:, 1]]), axis=1)


def _check(cfg: TerrainGeneratorCfg) -> None:
    """Refuse what makes no terrain.

    Raises:
        ConfigError: names the field and what is allowed.
    """
    for name in ("num_rows", "num_cols"):
        value = getattr(cfg, name)
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"terrain generator: {name} is {value!r}; it must be a whole number of 1 or more")
    if not cfg.horizontal_scale > 0.0:
        raise ConfigError(f"terrain generator: horizontal_scale is {cfg.horizontal_scale}; it must be positive")
    for name, lengths in (("size", cfg.size), ("border_width", (cfg.border_width,))):
        for length in lengths:
            cells = length / cfg.horizontal_scale
            if length < 0.0 or (name == "size" and round(cells) < 2) or abs(cells - round(cells)) > 1e-3:
                raise ConfigError(
                    f"terrain generator: {name} is {getattr(cfg, name)}; it must be a multiple of horizontal_scale, "
                    f"{cfg.horizontal_scale} m" + (", and two of them at least" if name == "size" else "")
                )
    if not cfg.sub_terrains:
        raise ConfigError("terrain generator: sub_terrains is empty; it needs at least one kind of tile")
    _check_range(cfg.difficulty_range, "terrain generator: difficulty_range", 0.0, 1.0)
    for name, sub in cfg.sub_terrains.items():
        _check_sub_terrain(name, sub, cfg)
    if not sum(sub.proportion for sub in cfg.sub_terrains.values()) > 0.0:
        raise ConfigError("terrain generator: all proportions are 0; one at least must be positive")


def _check_sub_terrain(name: str, sub: Any, cfg: TerrainGeneratorCfg) -> None:
    where = f"sub-terrain {name!r}"
    if not isinstance(sub, SubTerrainBaseCfg):
        raise ConfigError(f"{where} is a {type(sub).__name__}; it must be a sub-terrain configuration")
    if sub.proportion < 0.0:
        raise ConfigError(f"{where}: proportion is {sub.proportion}; it must not be negative")
    for field in dataclasses.fields(sub):  # type: ignore[arg-type]
        value = getattr(sub, field.name)
        if value is MISSING:
            raise ConfigError(f"{where}: {field.name} is not set")
        if field.name.endswith("_range"):
            signed = field.name == "noise_range"
            _check_range(value, f"{where}: {field.name}", -np.inf if signed else 0.0, np.inf)
        if field.name in ("step_width", "grid_width", "noise_step") and not value > 0.0:
            raise ConfigError(f"{where}: {field.name} is {value}; it must be positive")
    inner = min(cfg.size) - 2.0 * getattr(sub, "border_width", 0.0)
    platform = getattr(sub, "platform_width", 0.0)
    if not 0.0 <= platform <= inner:
        raise ConfigError(f"{where}: platform_width is {platform}; it must be 0 to {inner:g} m")


def _check_range(value: Any, where: str, least: float, most: float) -> None:
    try:
        low, high = (float(x) for x in value)
    except (TypeError, ValueError):
        raise ConfigError(f"{where} is {value!r}; it must be (low, high)") from None
    if not least <= low <= high <= most:
        limits = f"{least:g} <= low <= high" if np.isfinite(least) else "low <= high"
        limits += f" <= {most:g}" if np.isfinite(most) else ""
        raise ConfigError(f"{where} is {(low, high)}; it must be (low, high) with {limits}")
