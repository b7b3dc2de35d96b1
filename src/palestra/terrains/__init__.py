"""Terrains. A plane so far, under Isaac Lab's configuration."""

from palestra.terrains.terrain_importer_cfg import TerrainImporterCfg

__all__ = ["TerrainImporterCfg"]
