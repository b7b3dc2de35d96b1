"""Pictures show the part of a large terrain around the camera's target: all of it would take a minute to draw."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from palestra.terrains import TerrainImporter

EDGE = 14.0
"""Edge of the part that is shown (m)."""

EXTENT = 0.4
"""What MuJoCo takes for the size of the scene (m): the shadow map spans it, and the ground is no part of it."""

LEAD = 3.0
"""Distance of the target from the middle of the part at which the part moves (m)."""


def cut_window(spec: mujoco.MjSpec, terrain: TerrainImporter) -> None:
    """Make the height field of a scene's spec as large as the part that is shown."""
    shape = _shape(terrain)
    field, geom = spec.hfield(terrain.geom_name), spec.geom(terrain.geom_name)
    field.nrow, field.ncol = shape[1], shape[0]
    field.userdata = np.linspace(0.0, 1.0, shape[0] * shape[1], dtype=np.float32)
    field.size = [*terrain.half_size(shape), *field.size[2:]]
    geom.pos = [*terrain.middle(shape, (0, 0)), geom.pos[2]]


class TerrainWindow:
    """Keeps the height field of a visual model around a point."""

    def __init__(self, terrain: TerrainImporter, model: mujoco.MjModel) -> None:
        self._terrain, self._model = terrain, model
        geom = model.geom(terrain.geom_name)
        self._geom, self.field = int(geom.id), int(geom.dataid[0])
        self._shape = _shape(terrain)
        model.stat.extent = EXTENT
        self._shown = False

    def follow(self, center: NDArray[np.float64]) -> bool:
        """Show the ground around ``center`` (m, world); returns whether the height field changed."""
        made, model = self._terrain.terrain, self._model
        assert made is not None
        if self._shown and np.abs(center[:2] - model.geom_pos[self._geom, :2]).max() < LEAD:
            return False
        wanted = [
            round((c - k) / made.scale) - n // 2 for c, k, n in zip(center, made.corner, self._shape, strict=False)
        ]
        most = [n - k for n, k in zip(made.heights.shape, self._shape, strict=True)]
        first = [min(max(w, 0), m) for w, m in zip(wanted, most, strict=True)]
        middle = self._terrain.middle(self._shape, (first[0], first[1]))
        if self._shown and np.allclose(middle, model.geom_pos[self._geom, :2]):
            return False
        part = made.heights[first[0] : first[0] + self._shape[0], first[1] : first[1] + self._shape[1]]
        model.hfield_data[:] = self._terrain.normalized(part).T.flatten()
        model.geom_pos[self._geom, :2] = middle
        self._shown = True
        return True


def _shape(terrain: TerrainImporter) -> tuple[int, int]:
    assert terrain.terrain is not None
    most = round(EDGE / terrain.terrain.scale) + 1
    x, y = (min(n, most) for n in terrain.terrain.heights.shape)
    return x, y
