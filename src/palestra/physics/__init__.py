"""The only package that knows which engine runs: MuJoCo's C core on a CPU, MuJoCo Warp on a GPU."""

from palestra.physics.base import Capacity, Columns, Engine, OverflowReport, make_engine

__all__ = ["Capacity", "Columns", "Engine", "OverflowReport", "make_engine"]
