"""Shapes of the sub-terrains: functions ``(difficulty, cfg, rng) -> heights``.

Heights are those of the vertices of a square grid, float64 ``(length, width)`` with x along the first axis (m, z = 0 is
the level on which tiles meet). Edges of a shape fall on the nearest vertices, and between vertices the ground is
linear, so that an upright face becomes a ramp one ``horizontal_scale`` long. ``difficulty`` is in [0, 1].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from palestra.terrains import sub_terrains_cfg as cfgs
    from palestra.terrains.terrain_generator_cfg import SubTerrainBaseCfg

Heights = NDArray[np.float64]
Range = tuple[float, float]

_ROUNDING = 1e-6
"""Part of a cell by which a vertex may miss an edge that it is meant to lie on."""


def flat_plane(difficulty: float, cfg: cfgs.MeshPlaneTerrainCfg, rng: np.random.Generator) -> Heights:
    """Level ground."""
    return np.zeros(shape(cfg))


def pyramid_stairs(
    difficulty: float, cfg: cfgs.MeshPyramidStairsTerrainCfg | cfgs.HfPyramidStairsTerrainCfg, rng: np.random.Generator
) -> Heights:
    """Square rings of steps up to a platform in the middle, or down to it with ``inverted``."""
    num_rings = int((min(cfg.size) - 2 * cfg.border_width - cfg.platform_width) / (2 * cfg.step_width) + _ROUNDING)
    inside = (_from_edge(cfg) - cfg.border_width) / cfg.step_width + _ROUNDING
    steps = np.clip(np.floor(inside) + 1, 0, num_rings + 1)
    height = _at(cfg.step_height_range, difficulty)
    return (-height if cfg.inverted else height) * steps


def pyramid_slope(difficulty: float, cfg: cfgs.HfPyramidSlopedTerrainCfg, rng: np.random.Generator) -> Heights:
    """Four slopes up to a platform in the middle, or down to it with ``inverted``."""
    climb = min(cfg.size) / 2 - cfg.border_width - cfg.platform_width / 2
    run = np.clip(_from_edge(cfg) - cfg.border_width, 0.0, climb)
    slope = _at(cfg.slope_range, difficulty)
    return (-slope if cfg.inverted else slope) * run


def random_uniform(difficulty: float, cfg: cfgs.HfRandomUniformTerrainCfg, rng: np.random.Generator) -> Heights:
    """Heights drawn on a coarser grid and joined linearly; the same at every difficulty."""
    low, high = cfg.noise_range
    levels = low + cfg.noise_step * np.arange(round((high - low) / cfg.noise_step) + 1)
    scale = cfg.downsampled_scale or cfg.horizontal_scale
    coarse = rng.choice(levels, size=[int(np.ceil(edge / scale)) + 1 for edge in cfg.size])
    return _with_border(_resampled(coarse, scale, cfg), cfg)


def random_grid(difficulty: float, cfg: cfgs.MeshRandomGridTerrainCfg, rng: np.random.Generator) -> Heights:
    """Square columns of different heights around a platform that is as high as the highest may be."""
    counts = [max(int(edge / cfg.grid_width + _ROUNDING), 1) for edge in cfg.size]
    amplitude = _at(cfg.grid_height_range, difficulty)
    columns = rng.uniform(-amplitude, amplitude, counts)
    heights = np.zeros(shape(cfg))
    x, y = _axes(cfg)
    places = []
    for axis, edge, count in zip((x, y), cfg.size, counts, strict=True):
        margin = 0.5 * (edge - count * cfg.grid_width)
        places.append(np.floor((axis - margin) / cfg.grid_width + _ROUNDING).astype(int))
    inside = [(p >= 0) & (p < n) for p, n in zip(places, counts, strict=True)]
    heights[np.ix_(*inside)] = columns[np.ix_(*(p[i] for p, i in zip(places, inside, strict=True)))]
    heights[_in_platform(cfg)] = amplitude
    return _with_border(heights, cfg)


def discrete_obstacles(difficulty: float, cfg: cfgs.HfDiscreteObstaclesTerrainCfg, rng: np.random.Generator) -> Heights:
    """Rectangular blocks and pits at random places around a level platform."""
    amplitude = _at(cfg.obstacle_height_range, difficulty)
    fixed = cfg.obstacle_height_mode == "fixed"
    choices = [amplitude] if fixed else [-amplitude, -amplitude / 2, amplitude / 2, amplitude]
    heights = np.zeros(shape(cfg))
    cells = [max(round(edge / cfg.horizontal_scale), 1) for edge in cfg.obstacle_width_range]
    for _ in range(cfg.num_obstacles):
        length, width = rng.integers(cells[0], cells[1], size=2, endpoint=True)
        row, column = (rng.integers(0, max(n - k, 1)) for n, k in zip(heights.shape, (length, width), strict=True))
        heights[row : row + length + 1, column : column + width + 1] = rng.choice(choices)
    heights[_in_platform(cfg)] = 0.0
    return _with_border(heights, cfg)


def wave(difficulty: float, cfg: cfgs.HfWaveTerrainCfg, rng: np.random.Generator) -> Heights:
    """A sine along x plus a cosine along y, from trough to crest ``4 × amplitude``."""
    x, y = _axes(cfg)
    amplitude = _at(cfg.amplitude_range, difficulty)
    phases = [2 * np.pi * cfg.num_waves * axis / edge for axis, edge in zip((x, y), cfg.size, strict=True)]
    return _with_border(amplitude * (np.sin(phases[0])[:, None] + np.cos(phases[1])[None, :]), cfg)


def stepping_stones(difficulty: float, cfg: cfgs.HfSteppingStonesTerrainCfg, rng: np.random.Generator) -> Heights:
    """Rows of square stones over a hole; each row is shifted by a random part of a stone."""
    width = max(round(_at(cfg.stone_width_range, 1.0 - difficulty) / cfg.horizontal_scale), 1)
    distance = max(round(_at(cfg.stone_distance_range, difficulty) / cfg.horizontal_scale), 2)  # a hole is a vertex
    heights = np.full(shape(cfg), float(cfg.holes_depth))
    for row in range(0, heights.shape[0], width + distance):
        for column in range(-int(rng.integers(0, width + distance)), heights.shape[1], width + distance):
            height = rng.uniform(-cfg.stone_height_max, cfg.stone_height_max)
            heights[row : row + width + 1, max(column, 0) : max(column + width + 1, 0)] = height
    heights[_in_platform(cfg)] = 0.0
    return _with_border(heights, cfg)


def gap(difficulty: float, cfg: cfgs.MeshGapTerrainCfg, rng: np.random.Generator) -> Heights:
    """A moat around a platform."""
    width = max(_at(cfg.gap_width_range, difficulty), 2 * cfg.horizontal_scale)
    reach = _from_center(cfg)
    return np.where((reach > _half(cfg)) & (reach < _half(cfg) + width - _ROUNDING), -cfg.gap_depth, 0.0)


def rails(difficulty: float, cfg: cfgs.MeshRailsTerrainCfg, rng: np.random.Generator) -> Heights:
    """Two square rails, one around the platform and one half-way to the edge; thinner and higher with difficulty."""
    half = 0.5 * max(_at(cfg.rail_thickness_range, 1.0 - difficulty), cfg.horizontal_scale)
    reach = _from_center(cfg)
    inner = _half(cfg) + half
    on_rail = np.zeros_like(reach, dtype=bool)
    for place in (inner, 0.5 * (inner + min(cfg.size) / 2)):
        on_rail |= np.abs(reach - place) <= half + _ROUNDING
    return np.where(on_rail, _at(cfg.rail_height_range, difficulty), 0.0)


def pit(difficulty: float, cfg: cfgs.MeshPitTerrainCfg, rng: np.random.Generator) -> Heights:
    """A platform in a pit, with ``double_pit`` in a pit within a wider one of half its depth."""
    return -_raised(cfg, _at(cfg.pit_depth_range, difficulty), cfg.double_pit)


def box(difficulty: float, cfg: cfgs.MeshBoxTerrainCfg, rng: np.random.Generator) -> Heights:
    """A platform on a box, with ``double_box`` on a box upon a wider one of half its height."""
    return _raised(cfg, _at(cfg.box_height_range, difficulty), cfg.double_box)


def shape(cfg: SubTerrainBaseCfg) -> tuple[int, int]:
    """Number of vertices along x and y."""
    length, width = (round(edge / cfg.horizontal_scale) + 1 for edge in cfg.size)
    return length, width


def _raised(cfg: cfgs.MeshPitTerrainCfg | cfgs.MeshBoxTerrainCfg, height: float, double: bool) -> Heights:
    reach = _from_center(cfg)
    heights = np.zeros_like(reach)
    if double:
        heights[reach <= 2 * _half(cfg) + _ROUNDING] = 0.5 * height
    heights[reach <= _half(cfg) + _ROUNDING] = height
    return heights


def _axes(cfg: SubTerrainBaseCfg) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates of the vertices from the tile's corner (m)."""
    length, width = shape(cfg)
    return np.linspace(0.0, cfg.size[0], length), np.linspace(0.0, cfg.size[1], width)


def _from_edge(cfg: SubTerrainBaseCfg) -> NDArray[np.float64]:
    """Distance of each vertex from the nearest edge of the tile (m)."""
    x, y = (np.minimum(axis, edge - axis) for axis, edge in zip(_axes(cfg), cfg.size, strict=True))
    return np.minimum(x[:, None], y[None, :])


def _from_center(cfg: SubTerrainBaseCfg) -> NDArray[np.float64]:
    """Distance of each vertex from the tile's centre, the larger of those along x and y (m)."""
    x, y = (np.abs(axis - 0.5 * edge) for axis, edge in zip(_axes(cfg), cfg.size, strict=True))
    return np.maximum(x[:, None], y[None, :])


def _half(cfg: cfgs.PlatformCfg) -> float:
    return 0.5 * cfg.platform_width


def _in_platform(cfg: cfgs.PlatformCfg) -> NDArray[np.bool_]:
    return _from_center(cfg) <= _half(cfg) + _ROUNDING


def _with_border(heights: Heights, cfg: cfgs.HfTerrainBaseCfg | cfgs.MeshRandomGridTerrainCfg) -> Heights:
    """Lower everything within ``border_width`` of the edge, at least the edge itself, to level 0."""
    edge = _from_edge(cfg)
    return np.where((edge < cfg.border_width - _ROUNDING) | (edge <= 0.0), 0.0, heights)


def _resampled(coarse: Heights, scale: float, cfg: SubTerrainBaseCfg) -> Heights:
    """Interpolate heights on a grid of ``scale`` metres at the tile's vertices."""
    x, y = _axes(cfg)
    rows = np.stack([np.interp(x / scale, np.arange(coarse.shape[0]), column) for column in coarse.T], axis=1)
    return np.stack([np.interp(y / scale, np.arange(coarse.shape[1]), row) for row in rows])


def _at(limits: Range, difficulty: float) -> float:
    """Value between the limits at a difficulty."""
    return limits[0] + difficulty * (limits[1] - limits[0])
