"""Heights of the ground on a square grid, and how to read them anywhere on the device."""

from __future__ import annotations

import torch
from torch import Tensor


class HeightGrid:
    """Vertices at ``corner + scale · (i, j)``; between them the ground is made of triangles.

    A cell is cut from vertex ``(i, j)`` to ``(i + 1, j + 1)``, as MuJoCo cuts the cells of a height field, so that a
    height is the very one that a ray or a foot meets. Beyond the grid it is that of the nearest edge.

    Attributes:
        heights: heights of the vertices (m), ``(num_x, num_y)``.
        corner: world position of vertex ``(0, 0)`` (m).
        scale: distance of the vertices (m).
    """

    def __init__(self, heights: Tensor, corner: tuple[float, float], scale: float) -> None:
        if heights.dim() != 2 or min(heights.shape) < 2:
            raise ValueError(
                f"heights have shape {tuple(heights.shape)}; it must be (num_x, num_y) with 2 or more each"
            )
        self.heights, self.corner, self.scale = heights.contiguous(), corner, scale

    def height_at(self, x: Tensor, y: Tensor) -> Tensor:
        """Height of the ground (m) at world positions of any shape (m)."""
        num_x, num_y = self.heights.shape
        u = ((x - self.corner[0]) / self.scale).clamp(0.0, num_x - 1.0)
        v = ((y - self.corner[1]) / self.scale).clamp(0.0, num_y - 1.0)
        # Clamped as integers too: NaN, of an environment that diverged, is no index.
        i = u.to(torch.int64).clamp_(0, num_x - 2)
        j = v.to(torch.int64).clamp_(0, num_y - 2)
        along_x, along_y = u - i, v - j
        first = i * num_y + j
        near_x = along_x >= along_y
        corner = torch.take(self.heights, first)
        side = torch.take(self.heights, first + 1 + near_x.to(torch.int64) * (num_y - 1))
        opposite = torch.take(self.heights, first + (num_y + 1))
        more, less = torch.maximum(along_x, along_y), torch.minimum(along_x, along_y)
        return corner + more * (side - corner) + less * (opposite - side)
