"""Ranges of uniform distributions as a device tensor that a curriculum can write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from palestra.errors import ConfigError, did_you_mean


class UniformRanges:
    """A table ``(num_parts, 2)`` of least and largest values, with a name for each row.

    ``ranges["lin_vel_x"][1] = 2.0`` widens a range in place; later draws, captured ones included, use it.
    """

    def __init__(self, cfg: object, names: Sequence[str], device: torch.device, where: str) -> None:
        self.names = tuple(names)
        self._where = where
        self.table = torch.zeros(len(names), 2, device=device)
        """Least and largest values, ``(num_parts, 2)``."""
        self.update(cfg)

    def __getitem__(self, name: str) -> Tensor:
        """Return a view ``(2,)`` of one range."""
        if name not in self.names:
            raise ConfigError(f"{self._where}: no range {name!r}; {did_you_mean(name, self.names)}")
        return self.table[self.names.index(name)]

    def update(self, cfg: object) -> None:
        """Take the values of a configuration.

        Raises:
            ConfigError: a range is no pair of numbers in ascending order.
        """
        pairs = [self._read(cfg, name) for name in self.names]
        self.table.copy_(torch.tensor(pairs, dtype=torch.float32).view(-1, 2))

    def at(self, unit: Tensor) -> Tensor:
        """Map numbers from ``[0, 1)``, ``(num_envs, num_parts)``, into the ranges."""
        return torch.lerp(self.table[:, 0], self.table[:, 1], unit)

    def _read(self, cfg: object, name: str) -> tuple[float, float]:
        value: Any = getattr(cfg, name)
        try:
            low, high = (float(x) for x in value)
        except (TypeError, ValueError):
            raise ConfigError(f"{self._where}.{name} is {value!r}; it must be (low, high)") from None
        if not low <= high:
            raise ConfigError(f"{self._where}.{name} is {(low, high)}; low must not exceed high")
        return low, high
