"""Configuration of the ground that robots stand on."""

from __future__ import annotations

from typing import Literal

from palestra.assets.asset_cfg import AssetBaseCfg
from palestra.config.configclass import configclass
from palestra.sim.spawners import GroundPlaneCfg


@configclass
class TerrainImporterCfg(AssetBaseCfg):
    """The ground of every environment."""

    terrain_type: Literal["plane"] = "plane"
    """Kind of terrain."""

    static_friction: float = 1.0
    """Sliding friction of the ground (1)."""

    def __post_init__(self) -> None:
        if self.spawn is None:
            self.spawn = GroundPlaneCfg(friction=(self.static_friction, 0.005, 0.0001))
