"""Configuration of the ground that robots stand on."""

from __future__ import annotations

from typing import Literal

from palestra.assets.asset_cfg import AssetBaseCfg
from palestra.config.configclass import configclass
from palestra.sim.spawners import GroundPlaneCfg
from palestra.terrains.terrain_generator_cfg import TerrainGeneratorCfg


@configclass
class TerrainImporterCfg(AssetBaseCfg):
    """The ground of every environment: a plane, or generated terrain on which each environment has its tile."""

    terrain_type: Literal["plane", "generator"] = "plane"
    """Kind of terrain."""

    terrain_generator: TerrainGeneratorCfg | None = None
    """Shape of the terrain, with ``"generator"``."""

    max_init_terrain_level: int | None = None
    """Highest level of difficulty on which environments start; ``None`` takes all."""

    static_friction: float = 1.0
    """Sliding friction of the ground (1)."""

    colliders: list[str] | None = None
    """Geoms that meet the terrain, as ``"<asset>/<regular expression>"``; ``None``: all that their masks allow.

    The cost of contacts grows with the number of these geoms. For a walking robot take the feet, and what ends the
    episode when it touches the ground.
    """

    base_thickness: float = 0.5
    """How far generated terrain reaches below its lowest point (m): deeper penetration is not pushed out."""

    color: tuple[float, float, float, float] = (0.50, 0.53, 0.56, 1.0)
    """Tone of generated terrain in pictures (RGBA)."""

    env_spacing: float | None = None
    """Accepted for Isaac Lab's configurations; on a plane all environments have their origin at 0."""

    debug_vis: bool = False
    """Accepted for Isaac Lab's configurations."""

    def __post_init__(self) -> None:
        if self.spawn is None and self.terrain_type == "plane":
            self.spawn = GroundPlaneCfg(friction=(self.static_friction, 0.005, 0.0001))
