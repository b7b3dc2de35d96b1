"""Sums and counts of finished episodes, kept on the device and fetched once an iteration."""

from __future__ import annotations

import torch
from torch import Tensor

from palestra.errors import ConfigError

_CAPACITY = 1024


class EpisodeLog:
    """Groups of quantities that share a count (episodes), and gauges that keep their last value.

    All sums and counts lie in one tensor and all gauges in another, so that fetching takes two copies and one fill.
    """

    def __init__(self, device: torch.device) -> None:
        self._totals = torch.zeros(_CAPACITY, device=device)
        self._gauges = torch.full((_CAPACITY,), float("nan"), device=device)
        self._groups: list[tuple[list[str], Tensor, Tensor]] = []
        self._used = 0
        self._gauge_names: list[str] = []
        self._weights = self._selected = torch.zeros((), device=device)

    def add_group(self, names: list[str]) -> int:
        """Register quantities that are always added together; returns the group's number.

        Raises:
            ConfigError: the environment logs too many quantities.
        """
        first, count = self._used, self._used + len(names)
        self._used = count + 1
        self._check(self._used)
        self._groups.append((names, self._totals[first:count], self._totals[count]))
        return len(self._groups) - 1

    def add(self, group: int, sums: Tensor, count: Tensor) -> None:
        """Add sums ``(len(names),)`` over ``count`` episodes."""
        _, totals, episodes = self._groups[group]
        totals += sums
        episodes += count

    def select(self, env_mask: Tensor) -> None:
        """Choose the environments whose episodes end now, for :meth:`add_selected`."""
        self._weights = env_mask.to(torch.float32)
        self._selected = self._weights.sum()

    def add_selected(self, group: int, values: Tensor) -> None:
        """Add what the selected environments have of ``values`` ``(len(names), num_envs)``."""
        self.add(group, torch.mv(values, self._weights), self._selected)

    def add_gauge(self, name: str) -> int:
        """Register a quantity of which the last value counts.

        Raises:
            ConfigError: the environment logs too many quantities.
        """
        self._gauge_names.append(name)
        self._check(len(self._gauge_names))
        return len(self._gauge_names) - 1

    def set_gauge(self, gauge: int, value: Tensor) -> None:
        """Set a gauge (0-dim)."""
        self._gauges[gauge].copy_(value)

    def fetch(self) -> dict[str, float]:
        """Return means since the last call and clear them: the one host sync of logging.

        Quantities without an episode since the last call are left out.
        """
        numbers = self._totals[: self._used].tolist()
        self._totals.zero_()
        out: dict[str, float] = {}
        start = 0
        for names, _, _ in self._groups:
            count = numbers[start + len(names)]
            if count > 0:
                out |= {name: numbers[start + k] / count for k, name in enumerate(names)}
            start += len(names) + 1
        if not self._gauge_names:
            return out
        gauges = self._gauges[: len(self._gauge_names)].tolist()
        return out | {n: v for n, v in zip(self._gauge_names, gauges, strict=True) if v == v}

    @staticmethod
    def _check(used: int) -> None:
        if used > _CAPACITY:
            raise ConfigError(f"the environment logs more than {_CAPACITY} quantities")
