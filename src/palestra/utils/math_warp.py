"""Rotations of :mod:`palestra.utils.math` on a GPU, one Warp kernel each instead of four to sixteen operations.

Inputs are float32 ``(N, 3)`` or ``(N, 4)`` with any strides; quaternions are ``(w, x, y, z)``.
"""

# Warp annotates with values.
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

import warp as wp
from torch import Tensor

from palestra.physics.capture import launch


@wp.func
def _axis(quat: wp.array2d(dtype=float), i: int) -> wp.vec3:
    return wp.vec3(quat[i, 1], quat[i, 2], quat[i, 3])


@wp.kernel
def _apply(quat: wp.array2d(dtype=float), vec: wp.array2d(dtype=float), sign: float, out: wp.array2d(dtype=float)):
    i = wp.tid()
    axis = sign * _axis(quat, i)
    v = wp.vec3(vec[i, 0], vec[i, 1], vec[i, 2])
    turned = wp.cross(axis, v)
    v = v + 2.0 * quat[i, 0] * turned + 2.0 * wp.cross(axis, turned)
    for k in range(3):
        out[i, k] = v[k]


@wp.kernel
def _mul(q1: wp.array2d(dtype=float), q2: wp.array2d(dtype=float), out: wp.array2d(dtype=float)):
    i = wp.tid()
    w1, w2 = q1[i, 0], q2[i, 0]
    v1, v2 = _axis(q1, i), _axis(q2, i)
    v = wp.cross(v1, v2) + w1 * v2 + w2 * v1
    out[i, 0] = w1 * w2 - wp.dot(v1, v2)
    for k in range(3):
        out[i, k + 1] = v[k]


@wp.kernel
def _from_euler_xyz(
    roll: wp.array(dtype=float),
    pitch: wp.array(dtype=float),
    yaw: wp.array(dtype=float),
    out: wp.array2d(dtype=float),
):
    i = wp.tid()
    cr, sr = wp.cos(0.5 * roll[i]), wp.sin(0.5 * roll[i])
    cp, sp = wp.cos(0.5 * pitch[i]), wp.sin(0.5 * pitch[i])
    cy, sy = wp.cos(0.5 * yaw[i]), wp.sin(0.5 * yaw[i])
    out[i, 0] = cy * cp * cr + sy * sp * sr
    out[i, 1] = cy * cp * sr - sy * sp * cr
    out[i, 2] = cy * sp * cr + sy * cp * sr
    out[i, 3] = sy * cp * cr - cy * sp * sr


def quat_apply(quat: Tensor, vec: Tensor) -> Tensor:
    """Rotate vectors from the frame of ``quat`` to its parent, ``(N, 3)``."""
    return _launch(_apply, 3, quat, vec, 1.0)


def quat_apply_inverse(quat: Tensor, vec: Tensor) -> Tensor:
    """Rotate vectors from the parent into the frame of ``quat``, ``(N, 3)``."""
    return _launch(_apply, 3, quat, vec, -1.0)


def quat_mul(q1: Tensor, q2: Tensor) -> Tensor:
    """Multiply quaternions, ``(N, 4)``."""
    return _launch(_mul, 4, q1, q2)


def quat_from_euler_xyz(roll: Tensor, pitch: Tensor, yaw: Tensor) -> Tensor:
    """Return the quaternions ``(N, 4)`` of rotations about the fixed axes x, then y, then z; angles ``(N,)``."""
    return _launch(_from_euler_xyz, 4, roll, pitch, yaw)


def _launch(kernel: wp.Kernel, width: int, *inputs: Tensor | float) -> Tensor:
    first = inputs[0]
    assert isinstance(first, Tensor)
    out = first.new_empty(len(first), width)
    launch(kernel, len(first), first.device, *inputs, out)
    return out
