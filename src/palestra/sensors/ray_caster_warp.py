"""The height scan of :mod:`palestra.sensors.ray_caster` on a GPU: one Warp kernel instead of some thirty operations."""

# Warp annotates with values.
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

import torch
import warp as wp
from torch import Tensor

from palestra.physics.capture import launch
from palestra.terrains.height_grid import HeightGrid


@wp.kernel
def _hit_heights(
    heights: wp.array2d(dtype=float),
    corner_x: float,
    corner_y: float,
    scale: float,
    pos: wp.array2d(dtype=float),
    quat: wp.array2d(dtype=float),
    starts: wp.array2d(dtype=float),
    directions: wp.array2d(dtype=float),
    turns: int,
    max_distance: float,
    out: wp.array2d(dtype=float),
):
    env, ray = wp.tid()
    x, y = starts[ray, 0], starts[ray, 1]
    cos, sin = float(1.0), float(0.0)
    if turns == 1:
        qw, qx, qy, qz = quat[env, 0], quat[env, 1], quat[env, 2], quat[env, 3]
        angle = wp.atan2(2.0 * (qw * qz + qx * qy), 1.0 - 2.0 * (qy * qy + qz * qz))
        cos = wp.cos(angle)
        sin = wp.sin(angle)
    across_x = pos[env, 0] + cos * x - sin * y
    across_y = pos[env, 1] + sin * x + cos * y
    num_x, num_y = heights.shape[0], heights.shape[1]
    u = wp.clamp((across_x - corner_x) / scale, 0.0, float(num_x - 1))
    v = wp.clamp((across_y - corner_y) / scale, 0.0, float(num_y - 1))
    i = wp.clamp(int(u), 0, num_x - 2)  # as integers too: NaN is no index
    j = wp.clamp(int(v), 0, num_y - 2)
    along_x, along_y = u - float(i), v - float(j)
    first, opposite = heights[i, j], heights[i + 1, j + 1]
    side = wp.where(along_x >= along_y, heights[i + 1, j], heights[i, j + 1])
    more, less = wp.max(along_x, along_y), wp.min(along_x, along_y)
    height = first + more * (side - first) + less * (opposite - side)
    distance = (height - (pos[env, 2] + starts[ray, 2])) * directions[ray, 2]
    if distance >= 0.0 and distance <= max_distance:
        out[env, ray] = height
    else:
        out[env, ray] = wp.inf


def hit_heights(
    grid: HeightGrid, pos: Tensor, quat: Tensor, starts: Tensor, directions: Tensor, turns: bool, max_distance: float
) -> Tensor:
    """Heights at which vertical rays meet the ground (m), ``(num_envs, num_rays)``.

    Args:
        grid: the ground.
        pos: position of the sensor's body in the world (m), ``(num_envs, 3)``.
        quat: its orientation (w, x, y, z), ``(num_envs, 4)``.
        starts: starts of the rays in the body's frame (m), ``(num_rays, 3)``.
        directions: unit directions, up or down, ``(num_rays, 3)``.
        turns: whether starts turn with the body's yaw.
        max_distance: longest ray (m).
    """
    out = torch.empty(len(pos), len(starts), device=pos.device)
    launch(
        _hit_heights,
        (len(pos), len(starts)),
        pos.device,
        grid.heights,
        *grid.corner,
        grid.scale,
        pos,
        quat,
        starts,
        directions,
        int(turns),
        max_distance,
        out,
    )
    return out
