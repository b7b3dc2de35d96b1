"""Kinds of tiles, under Isaac Lab's names.

``Hf…`` and ``Mesh…`` only keep Isaac Lab's names and parameters apart: here all of them are shapes of one height grid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from palestra.config.configclass import MISSING, configclass
from palestra.terrains import sub_terrains
from palestra.terrains.terrain_generator_cfg import Range, SubTerrainBaseCfg

Function = Callable[..., np.ndarray]


@configclass
class PlatformCfg(SubTerrainBaseCfg):
    """A tile with a square platform in the middle."""

    platform_width: float = 1.0
    """Edge of the platform (m)."""


@configclass
class HfTerrainBaseCfg(SubTerrainBaseCfg):
    """Fields of the ``Hf…`` tiles."""

    border_width: float = 0.0
    """Level ground along the tile's edges (m)."""

    vertical_scale: float = 0.005
    """Accepted for Isaac Lab's configurations; the generator's counts."""

    slope_threshold: float | None = None
    """Accepted for Isaac Lab's configurations."""


@configclass
class MeshPlaneTerrainCfg(SubTerrainBaseCfg):
    """Level ground."""

    function: Function = sub_terrains.flat_plane


@configclass
class HfRandomUniformTerrainCfg(HfTerrainBaseCfg):
    """Random heights."""

    function: Function = sub_terrains.random_uniform

    noise_range: Range = MISSING
    """Least and largest height (m)."""

    noise_step: float = MISSING
    """Heights are multiples of it above the least (m)."""

    downsampled_scale: float | None = None
    """Distance of the drawn heights (m); ``None`` draws one for every vertex."""


@configclass
class HfPyramidSlopedTerrainCfg(HfTerrainBaseCfg, PlatformCfg):
    """Four plane slopes up to a platform."""

    function: Function = sub_terrains.pyramid_slope

    slope_range: Range = MISSING
    """Rise per run (1)."""

    inverted: bool = False
    """Whether the platform lies below."""


@configclass
class HfInvertedPyramidSlopedTerrainCfg(HfPyramidSlopedTerrainCfg):
    """Four slopes down to a platform."""

    inverted: bool = True


@configclass
class HfPyramidStairsTerrainCfg(HfTerrainBaseCfg, PlatformCfg):
    """Stairs up to a platform on all four sides."""

    function: Function = sub_terrains.pyramid_stairs

    step_height_range: Range = MISSING
    """Height of a step (m)."""

    step_width: float = MISSING
    """Depth of a step (m)."""

    inverted: bool = False
    """Whether the platform lies below."""


@configclass
class HfInvertedPyramidStairsTerrainCfg(HfPyramidStairsTerrainCfg):
    """Stairs down to a platform."""

    inverted: bool = True


@configclass
class MeshPyramidStairsTerrainCfg(PlatformCfg):
    """Stairs up to a platform on all four sides."""

    function: Function = sub_terrains.pyramid_stairs

    border_width: float = 0.0
    """Level ground along the tile's edges (m)."""

    step_height_range: Range = MISSING
    """Height of a step (m)."""

    step_width: float = MISSING
    """Depth of a step (m)."""

    holes: Literal[False] = False
    """Accepted for Isaac Lab's configurations; holes between the stairs' corners are not supported."""

    inverted: bool = False
    """Whether the platform lies below."""


@configclass
class MeshInvertedPyramidStairsTerrainCfg(MeshPyramidStairsTerrainCfg):
    """Stairs down to a platform."""

    inverted: bool = True


@configclass
class MeshRandomGridTerrainCfg(PlatformCfg):
    """Columns of random heights."""

    function: Function = sub_terrains.random_grid

    border_width: float = 0.0
    """Level ground along the tile's edges (m); at least what is left beside whole columns."""

    grid_width: float = MISSING
    """Edge of a column (m)."""

    grid_height_range: Range = MISSING
    """Largest distance of a column's top from the level (m)."""

    holes: Literal[False] = False
    """Accepted for Isaac Lab's configurations; not supported."""


@configclass
class HfDiscreteObstaclesTerrainCfg(HfTerrainBaseCfg, PlatformCfg):
    """Blocks and pits at random places."""

    function: Function = sub_terrains.discrete_obstacles

    obstacle_height_mode: Literal["choice", "fixed"] = "choice"
    """``"choice"`` draws among ± the height and ± half of it, ``"fixed"`` takes the height."""

    obstacle_width_range: Range = MISSING
    """Edges of an obstacle (m)."""

    obstacle_height_range: Range = MISSING
    """Height at the least and the largest difficulty (m)."""

    num_obstacles: int = MISSING
    """Obstacles on a tile."""


@configclass
class HfWaveTerrainCfg(HfTerrainBaseCfg):
    """Waves along both axes."""

    function: Function = sub_terrains.wave

    amplitude_range: Range = MISSING
    """Amplitude of each of the two waves (m)."""

    num_waves: int = 1
    """Waves on a tile, along each axis."""


@configclass
class HfSteppingStonesTerrainCfg(HfTerrainBaseCfg, PlatformCfg):
    """Stones over a hole."""

    function: Function = sub_terrains.stepping_stones

    stone_height_max: float = MISSING
    """Largest distance of a stone's top from the level (m)."""

    stone_width_range: Range = MISSING
    """Edge of a stone (m): the largest at the least difficulty."""

    stone_distance_range: Range = MISSING
    """Gap between stones (m), at least two ``horizontal_scale``."""

    holes_depth: float = -10.0
    """Height of the holes' ground (m); negative."""


@configclass
class MeshGapTerrainCfg(PlatformCfg):
    """A moat around a platform."""

    function: Function = sub_terrains.gap

    gap_width_range: Range = MISSING
    """Width of the moat (m), at least two ``horizontal_scale``."""

    gap_depth: float = 1.0
    """Depth of the moat (m). Isaac Lab's has no ground."""


@configclass
class MeshRailsTerrainCfg(PlatformCfg):
    """Two square rails."""

    function: Function = sub_terrains.rails

    rail_thickness_range: Range = MISSING
    """Thickness of a rail (m): the largest at the least difficulty, and at least ``horizontal_scale``."""

    rail_height_range: Range = MISSING
    """Height of a rail (m)."""


@configclass
class MeshPitTerrainCfg(PlatformCfg):
    """A pit to climb out of."""

    function: Function = sub_terrains.pit

    pit_depth_range: Range = MISSING
    """Depth (m)."""

    double_pit: bool = False
    """Whether there are two steps."""


@configclass
class MeshBoxTerrainCfg(PlatformCfg):
    """A box to climb down from."""

    function: Function = sub_terrains.box

    box_height_range: Range = MISSING
    """Height (m)."""

    double_box: bool = False
    """Whether there are two steps."""
