"""Patterns of rays: where they start in the sensor's frame, and in which direction they go."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from palestra.config.configclass import MISSING, configclass
from palestra.errors import ConfigError


@configclass
class PatternBaseCfg:
    """Base of all patterns."""

    def rays(self) -> tuple[Tensor, Tensor]:
        """Return starts (m) and unit directions in the sensor's frame, each ``(num_rays, 3)``."""
        raise NotImplementedError


@configclass
class GridPatternCfg(PatternBaseCfg):
    """Parallel rays from the points of a rectangle that is centred on the sensor."""

    resolution: float = MISSING
    """Distance of neighbouring rays (m)."""

    size: tuple[float, float] = MISSING
    """Edges along the sensor's x and y (m)."""

    direction: tuple[float, float, float] = (0.0, 0.0, -1.0)
    """Direction of all rays."""

    ordering: Literal["xy", "yx"] = "xy"
    """Which coordinate changes faster from one ray to the next: the first letter."""

    def rays(self) -> tuple[Tensor, Tensor]:
        """Return starts (m) and unit directions in the sensor's frame, each ``(num_rays, 3)``.

        Raises:
            ConfigError: a resolution, size, direction or ordering that makes no grid.
        """
        if not self.resolution > 0.0 or not min(self.size) >= 0.0:
            raise ConfigError(
                f"grid pattern: resolution is {self.resolution} and size {tuple(self.size)}; "
                "the first must be positive, the second not negative"
            )
        if self.ordering not in ("xy", "yx"):
            raise ConfigError(f"grid pattern: ordering is {self.ordering!r}; it must be 'xy' or 'yx'")
        length = math.sqrt(sum(d * d for d in self.direction))
        if length == 0.0:
            raise ConfigError("grid pattern: direction is (0, 0, 0); it must have a length")
        x, y = (_centred(edge, self.resolution) for edge in self.size)
        if self.ordering == "xy":
            column, row = torch.meshgrid(y, x, indexing="ij")
            x, y = row, column
        else:
            x, y = torch.meshgrid(x, y, indexing="ij")
        starts = torch.stack((x.flatten(), y.flatten(), torch.zeros(x.numel())), dim=-1)
        return starts, (torch.tensor(self.direction) / length).expand_as(starts).clone()


@configclass
class RayListCfg(PatternBaseCfg):
    """Rays that are listed one by one, such as those of a range finder."""

    starts: list[tuple[float, float, float]] = MISSING
    """Start of each ray in the sensor's frame (m)."""

    directions: list[tuple[float, float, float]] = MISSING
    """Direction of each ray in the sensor's frame."""

    def rays(self) -> tuple[Tensor, Tensor]:
        """Return starts (m) and unit directions in the sensor's frame, each ``(num_rays, 3)``.

        Raises:
            ConfigError: no rays, lists of different lengths, or a direction without length.
        """
        if not self.starts or len(self.starts) != len(self.directions):
            raise ConfigError(f"ray list: {len(self.starts)} starts and {len(self.directions)} directions; one each")
        starts, directions = torch.tensor(self.starts), torch.tensor(self.directions)
        length = torch.linalg.vector_norm(directions, dim=-1, keepdim=True)
        if not bool((length > 0.0).all()):
            raise ConfigError("ray list: a direction is (0, 0, 0); each must have a length")
        return starts, directions / length


def _centred(edge: float, resolution: float) -> Tensor:
    """Points from ``-edge / 2`` in steps of ``resolution``, both ends included where they are met."""
    count = int(edge / resolution + 1e-6) + 1
    return torch.arange(count, dtype=torch.float32) * resolution - 0.5 * edge
