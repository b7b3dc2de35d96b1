"""Random numbers whose value for one environment does not depend on how many others there are.

Each number is a hash of (seed, environment, step, call within the step, column), in the manner of
counter-based generators (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) with the
low-bias 32-bit mixer of Wellons ("Prospecting for hash functions", 2018). There is no state but the step
counter, so that a captured graph draws new numbers at each replay, and both engines draw the same ones.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palestra.utils.row_fusion import fusing

MOST_FUSED = 40
"""Numbers of a row that are drawn among fused operations; more are drawn by threads of their own."""

_MASK = 0xFFFFFFFF
_PHASES = {
    name: number << 16
    for number, name in enumerate(("reset", "command", "interval", "observation", "terminal", "user"), start=1)
}


class RandomStream:
    """Draws tensors ``(num_envs, *shape)``.

    Args:
        seed: the run's seed.
        num_envs: number of environments.
        device: where the numbers are made.
        first_env: number of the first environment.
    """

    def __init__(self, seed: int, num_envs: int, device: torch.device, first_env: int = 0) -> None:
        self.num_envs, self.device, self.first_env = num_envs, device, first_env
        self.step: Tensor = torch.zeros((), dtype=torch.int64, device=device)
        """Number of environment steps so far; part of the checkpoint."""
        self._call = 0
        self._kernels: Any = None
        if device.type == "cuda":
            from palestra.envs import rng_warp

            self._kernels = rng_warp
        self._env_key = torch.zeros(num_envs, dtype=torch.int64, device=device)
        self._host_key: np.ndarray | None = None
        """On the CPU the same as ``_env_key``, uint32 ``(num_envs, 1)``: numpy draws there, five times as fast."""
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Start over with another seed."""
        envs = torch.arange(self.num_envs, dtype=torch.int64, device=self.device) + self.first_env
        low = _mix((envs * 0x9E3779B1 + (seed & _MASK) * 0x85EBCA6B + 0x27D4EB2F) & _MASK)
        self._env_key.copy_(_mix((low + ((seed >> 32) & _MASK)) & _MASK))
        if self.device.type == "cpu":
            self._host_key = self._env_key.numpy().astype(np.uint32)[:, None]
        self.step.zero_()
        self._call = 0

    def advance(self) -> None:
        """Begin the next environment step."""
        self.step += 1
        self._call = 0

    def begin(self, phase: str) -> None:
        """Enter a phase of the step, so that phases that are skipped do not shift the numbers of the others."""
        self._call = _PHASES[phase]

    def bits(self, shape: tuple[int, ...]) -> Tensor:
        """Uniform 32-bit integers as int64, ``(num_envs, *shape)``."""
        columns = math.prod(shape)
        if self._on_host():
            return torch.from_numpy(self._host_bits(columns).astype(np.int64)).view(self.num_envs, *shape)
        self._call += 1
        key = _mix((self.step * 0xC2B2AE35 + (self._call * 0x165667B1 & _MASK)) & _MASK)
        column = torch.arange(columns, dtype=torch.int64, device=self.device) * 0x9E3779B1
        counter = (self._env_key.unsqueeze(1) ^ key) + column
        return _mix(counter.bitwise_and_(_MASK)).view(self.num_envs, *shape)

    def uniform(self, low: float | Tensor, high: float | Tensor, shape: tuple[int, ...] = ()) -> Tensor:
        """Uniform in ``[low, high)``; the limits are numbers or broadcast against ``(num_envs, *shape)``."""
        if self._by_kernel(shape):
            return self._uniform_by_kernel(low, high, shape)
        if self._on_host():
            bits = self._host_bits(math.prod(shape))
            bits >>= 8
            drawn = bits.astype(np.float32)
            drawn *= 2.0**-24
            unit = torch.from_numpy(drawn).view(self.num_envs, *shape)
        else:
            unit = (self.bits(shape) >> 8).to(torch.float32).mul_(2.0**-24)
        return unit * (high - low) + low

    def _on_host(self) -> bool:
        """Whether numpy draws: on the CPU, unless operations are recorded for a GPU."""
        return self._host_key is not None and not fusing()

    def _host_bits(self, columns: int) -> np.ndarray:
        """The same numbers as :meth:`bits`, uint32 ``(num_envs, columns)``."""
        assert self._host_key is not None
        self._call += 1
        step = int(self.step.numpy())
        key = _mix_number((step * 0xC2B2AE35 + (self._call * 0x165667B1 & _MASK)) & _MASK)
        x = self._host_key ^ np.uint32(key)
        x = x + np.arange(columns, dtype=np.uint32) * np.uint32(0x9E3779B1)
        moved = np.empty_like(x)
        for shift, factor in _ROUNDS:
            np.right_shift(x, shift, out=moved)
            x ^= moved
            x *= factor
        np.right_shift(x, 16, out=moved)
        x ^= moved
        return x

    def _by_kernel(self, shape: tuple[int, ...]) -> bool:
        """Whether a kernel of our own draws; few numbers a row cost nothing among operations that are fused."""
        return self._kernels is not None and not (fusing() and math.prod(shape) <= MOST_FUSED)

    def _uniform_by_kernel(self, low: float | Tensor, high: float | Tensor, shape: tuple[int, ...]) -> Tensor:
        self._call += 1
        source = (self._env_key, self.step, self._call)
        columns = math.prod(shape)
        if isinstance(low, Tensor) and isinstance(high, Tensor) and low.shape == high.shape == shape == (columns,):
            return self._kernels.uniform_in_columns(*source, low, high)
        numbers = not (isinstance(low, Tensor) or isinstance(high, Tensor))
        limits = (float(low), float(high) - float(low)) if numbers else (0.0, 1.0)
        drawn = self._kernels.uniform(*source, *limits, columns).view(self.num_envs, *shape)
        return drawn if numbers else drawn * (high - low) + low

    def normal(self, mean: float | Tensor = 0.0, std: float | Tensor = 1.0, shape: tuple[int, ...] = ()) -> Tensor:
        """Gaussian, by the Box–Muller transform."""
        if self._by_kernel(shape):
            self._call += 2
            numbers = not (isinstance(mean, Tensor) or isinstance(std, Tensor))
            moments = (float(mean), float(std)) if numbers else (0.0, 1.0)
            drawn = self._kernels.normal(self._env_key, self.step, self._call - 1, *moments, math.prod(shape))
            drawn = drawn.view(self.num_envs, *shape)
            return drawn if numbers else drawn * std + mean
        radius = (self.bits(shape) >> 8).to(torch.float32).add_(1.0).mul_(2.0**-24).log_().mul_(-2.0).sqrt_()
        angle = (self.bits(shape) >> 8).to(torch.float32).mul_(2.0 * math.pi * 2.0**-24)
        return radius * torch.cos(angle) * std + mean

    def bernoulli(self, p: float | Tensor, shape: tuple[int, ...] = ()) -> Tensor:
        """True with probability ``p``."""
        return self.uniform(0.0, 1.0, shape) < p

    def integers(self, low: int, high: int, shape: tuple[int, ...] = ()) -> Tensor:
        """Integers in ``[low, high]``, int64."""
        return (self.bits(shape) >> 8) * (high - low + 1) // (1 << 24) + low


_ROUNDS = ((np.uint32(16), np.uint32(0x7FEB352D)), (np.uint32(15), np.uint32(0x846CA68B)))


def _mix_number(x: int) -> int:
    """The same for one number."""
    for shift, factor in _ROUNDS:
        x = (x ^ (x >> int(shift))) * int(factor) & _MASK
    return x ^ (x >> 16)


def _mix(x: Tensor) -> Tensor:
    """Mix 32-bit values held in int64."""
    x = x ^ (x >> 16)
    x = x.mul_(0x7FEB352D).bitwise_and_(_MASK)
    x = x ^ (x >> 15)
    x = x.mul_(0x846CA68B).bitwise_and_(_MASK)
    return x ^ (x >> 16)
