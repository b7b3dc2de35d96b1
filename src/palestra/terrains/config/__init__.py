"""Terrains that several tasks use."""

from palestra.terrains.config.rough import ROUGH_TERRAINS_CFG

__all__ = ["ROUGH_TERRAINS_CFG"]
