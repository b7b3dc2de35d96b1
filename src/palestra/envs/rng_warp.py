"""The random numbers of :mod:`palestra.envs.rng`, one Warp kernel a draw instead of some thirty operations."""

# Warp annotates with values.
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

import torch
import warp as wp
from torch import Tensor

from palestra.physics.capture import launch
from palestra.utils.row_fusion import unrelated

wp.set_module_options({"fuse_fp": False})  # the very numbers that PyTorch's operations give


@wp.func
def _mix(value: wp.uint32) -> wp.uint32:
    x = value ^ (value >> wp.uint32(16))
    x = x * wp.uint32(0x7FEB352D)
    x = x ^ (x >> wp.uint32(15))
    x = x * wp.uint32(0x846CA68B)
    return x ^ (x >> wp.uint32(16))


@wp.func
def _bits(env_key: wp.int64, step: wp.int64, call: wp.uint32, column: int) -> wp.uint32:
    key = _mix(wp.uint32(step) * wp.uint32(0xC2B2AE35) + call * wp.uint32(0x165667B1))
    return _mix((wp.uint32(env_key) ^ key) + wp.uint32(column) * wp.uint32(0x9E3779B1))


@wp.kernel
def _uniform(
    env_key: wp.array(dtype=wp.int64),
    step: wp.array(dtype=wp.int64),
    call: wp.uint32,
    low: float,
    span: float,
    out: wp.array2d(dtype=float),
):
    env, column = wp.tid()
    unit = float(_bits(env_key[env], step[0], call, column) >> wp.uint32(8)) * (1.0 / 16777216.0)
    out[env, column] = unit * span + low


@wp.kernel
def _uniform_in_columns(
    env_key: wp.array(dtype=wp.int64),
    step: wp.array(dtype=wp.int64),
    call: wp.uint32,
    low: wp.array(dtype=float),
    high: wp.array(dtype=float),
    out: wp.array2d(dtype=float),
):
    env, column = wp.tid()
    unit = float(_bits(env_key[env], step[0], call, column) >> wp.uint32(8)) * (1.0 / 16777216.0)
    out[env, column] = unit * (high[column] - low[column]) + low[column]


@wp.kernel
def _normal(
    env_key: wp.array(dtype=wp.int64),
    step: wp.array(dtype=wp.int64),
    call: wp.uint32,
    mean: float,
    std: float,
    out: wp.array2d(dtype=float),
):
    env, column = wp.tid()
    first = float(_bits(env_key[env], step[0], call, column) >> wp.uint32(8)) + 1.0
    second = float(_bits(env_key[env], step[0], call + wp.uint32(1), column) >> wp.uint32(8))
    radius = wp.sqrt(-2.0 * wp.log(first * (1.0 / 16777216.0)))
    angle = second * (2.0 * wp.pi / 16777216.0)
    out[env, column] = radius * wp.cos(angle) * std + mean


def uniform(env_key: Tensor, step: Tensor, call: int, low: float, span: float, columns: int) -> Tensor:
    """Return ``low + span · u`` for uniform u in [0, 1), float32 ``(num_envs, columns)``."""
    return _draw(_uniform, env_key, step, call, low, span, columns)


def uniform_in_columns(env_key: Tensor, step: Tensor, call: int, low: Tensor, high: Tensor) -> Tensor:
    """Return numbers uniform in ``[low, high)``, both ``(columns,)``, float32 ``(num_envs, columns)``."""
    return _draw(_uniform_in_columns, env_key, step, call, low, high, len(low))


def normal(env_key: Tensor, step: Tensor, call: int, mean: float, std: float, columns: int) -> Tensor:
    """Return Gaussian numbers from the bits of ``call`` and ``call + 1``, float32 ``(num_envs, columns)``."""
    return _draw(_normal, env_key, step, call, mean, std, columns)


def _draw(
    kernel: wp.Kernel, env_key: Tensor, step: Tensor, call: int, a: Tensor | float, b: Tensor | float, columns: int
) -> Tensor:
    out = env_key.new_empty((len(env_key), columns), dtype=torch.float32)
    if columns:
        with unrelated():  # it reads the stream's own state and writes a new tensor
            launch(kernel, tuple(out.shape), env_key.device, env_key, step, call & 0xFFFFFFFF, a, b, out)
    return out
