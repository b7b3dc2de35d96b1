"""Markers that viewers draw besides the robots: commanded velocities, goals, and what tasks ask for.

A command term or an environment with a method ``debug_markers()`` lists spheres ``(positions (num_envs, 3) in the
world, radius (m), (r, g, b, a))``. Velocity and pose commands are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from palestra.envs.base import BaseEnv

Color = tuple[float, float, float, float]
COMMANDED: Color = (0.15, 0.75, 0.25, 0.9)
ACTUAL: Color = (0.2, 0.45, 0.95, 0.9)
GOAL_RADIUS = 0.03
ARROW_WIDTH = 0.022
ARROW_SCALE = 0.5
"""Length of an arrow (m) for 1 m/s."""
ARROW_HEIGHT = 0.22
"""Height of the arrows above the root (m)."""


@dataclass(frozen=True)
class Sphere:
    """A sphere at a point of the world (m)."""

    center: NDArray[np.float64]
    radius: float
    color: Color


@dataclass(frozen=True)
class Arrow:
    """An arrow between two points of the world (m)."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    color: Color


Marker = Sphere | Arrow


def markers_of(env: BaseEnv, index: int) -> list[Marker]:
    """Return what to draw for one environment."""
    markers: list[Marker] = list(_listed(env, index))
    manager: Any = getattr(env, "command_manager", None)
    if manager is None:
        return markers
    for name in manager.active_terms:
        term = manager.get_term(name)
        markers += _listed(term, index)
        if hasattr(term, "vel_command_b"):
            markers += _velocity_arrows(env.scene.articulations[term.cfg.asset_name].data, term.vel_command_b, index)
        if hasattr(term, "pose_command_w"):
            markers.append(Sphere(_host(term.pose_command_w[index, :3]), GOAL_RADIUS, COMMANDED))
    return markers


def add_markers(scene: mujoco.MjvScene, markers: list[Marker]) -> None:
    """Append markers to the geoms of a scene, as far as it has room."""
    for marker in markers:
        if scene.ngeom >= scene.maxgeom:
            return
        geom = scene.geoms[scene.ngeom]
        size = np.full(3, marker.radius) if isinstance(marker, Sphere) else np.zeros(3)
        center = marker.center if isinstance(marker, Sphere) else np.zeros(3)
        kind = mujoco.mjtGeom.mjGEOM_SPHERE if isinstance(marker, Sphere) else mujoco.mjtGeom.mjGEOM_ARROW
        rgba = np.asarray(marker.color, dtype=np.float32)
        mujoco.mjv_initGeom(geom, kind, size, center, np.eye(3).flatten(), rgba)
        if isinstance(marker, Arrow):
            mujoco.mjv_connector(geom, kind, ARROW_WIDTH, marker.start, marker.end)
        scene.ngeom += 1


def _listed(source: Any, index: int) -> Iterator[Sphere]:
    """Yield the spheres that a term or an environment asks for."""
    if hasattr(source, "debug_markers"):
        for positions, radius, color in source.debug_markers():
            yield Sphere(_host(positions[index]), radius, color)


def _velocity_arrows(data: Any, command_b: Any, index: int) -> list[Arrow]:
    """Return the commanded and the actual planar velocity as arrows above the robot."""
    quat = _host(data.root_quat_w[index])
    heading = np.arctan2(2.0 * (quat[0] * quat[3] + quat[1] * quat[2]), 1.0 - 2.0 * (quat[2] ** 2 + quat[3] ** 2))
    turn = np.array([[np.cos(heading), -np.sin(heading)], [np.sin(heading), np.cos(heading)]])
    start = _host(data.root_pos_w[index]) + np.array([0.0, 0.0, ARROW_HEIGHT])
    arrows = []
    for lift, velocity_b, color in ((0.0, command_b, COMMANDED), (0.04, data.root_lin_vel_b, ACTUAL)):
        planar = ARROW_SCALE * turn @ _host(velocity_b[index])[:2]
        if float(np.linalg.norm(planar)) > 1e-3:
            base = start + np.array([0.0, 0.0, lift])
            arrows.append(Arrow(base, base + np.array([*planar, 0.0]), color))
    return arrows


def _host(tensor: Any) -> NDArray[np.float64]:
    return tensor.detach().cpu().double().numpy()
