"""Sums and counts of finished episodes, kept on the device and fetched once an iteration."""

from __future__ import annotations

import torch
from torch import Tensor


class EpisodeLog:
    """Groups of quantities that share a count (episodes), and gauges that keep their last value."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._names: list[list[str]] = []
        self._sums: list[Tensor] = []
        self._counts: list[Tensor] = []
        self._gauge_names: list[str] = []
        self._gauges: list[Tensor] = []

    def add_group(self, names: list[str]) -> int:
        """Register quantities that are always added together; returns the group's number."""
        self._names.append(names)
        self._sums.append(torch.zeros(len(names), device=self._device))
        self._counts.append(torch.zeros((), device=self._device))
        return len(self._names) - 1

    def add(self, group: int, sums: Tensor, count: Tensor) -> None:
        """Add sums ``(len(names),)`` over ``count`` episodes."""
        self._sums[group] += sums
        self._counts[group] += count

    def add_gauge(self, name: str) -> int:
        """Register a quantity of which the last value counts."""
        self._gauge_names.append(name)
        self._gauges.append(torch.full((), float("nan"), device=self._device))
        return len(self._gauges) - 1

    def set_gauge(self, gauge: int, value: Tensor) -> None:
        """Set a gauge (0-dim)."""
        self._gauges[gauge].copy_(value)

    def fetch(self) -> dict[str, float]:
        """Return means since the last call and clear them: the one host sync of logging.

        Quantities without an episode since the last call are left out.
        """
        parts = [*self._sums, *(c.reshape(1) for c in self._counts), *(g.reshape(1) for g in self._gauges)]
        if not parts:
            return {}
        numbers = torch.cat(parts).tolist()
        for tensor in (*self._sums, *self._counts):
            tensor.zero_()
        widths = [len(names) for names in self._names]
        counts = numbers[sum(widths) : sum(widths) + len(widths)]
        out: dict[str, float] = {}
        start = 0
        for names, width, count in zip(self._names, widths, counts, strict=True):
            if count > 0:
                out |= {name: numbers[start + k] / count for k, name in enumerate(names)}
            start += width
        gauges = numbers[sum(widths) + len(widths) :]
        return out | {n: v for n, v in zip(self._gauge_names, gauges, strict=True) if v == v}
