"""Simulation settings and spawners, under Isaac Lab's names."""

from palestra.sim.simulation_cfg import SimulationCfg
from palestra.sim.spawners import (
    MJCF_DIR,
    CapsuleCfg,
    CuboidCfg,
    CylinderCfg,
    DistantLightCfg,
    DomeLightCfg,
    GroundPlaneCfg,
    MjcfFileCfg,
    SpawnerCfg,
    SpecCfg,
    SphereCfg,
)

__all__ = [
    "MJCF_DIR",
    "CapsuleCfg",
    "CuboidCfg",
    "CylinderCfg",
    "DistantLightCfg",
    "DomeLightCfg",
    "GroundPlaneCfg",
    "MjcfFileCfg",
    "SimulationCfg",
    "SpawnerCfg",
    "SpecCfg",
    "SphereCfg",
]
