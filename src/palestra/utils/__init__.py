"""Helpers that tasks import by Isaac Lab's names: ``configclass``, ``math``, ``noise``, ``modifiers``."""

from palestra.config.configclass import MISSING, configclass

__all__ = ["MISSING", "configclass"]
