"""Sums and counts of finished episodes, kept on the device and fetched once an iteration."""

from __future__ import annotations

import torch
from torch import Tensor

from palestra.errors import ConfigError

_CAPACITY = 1024


class EpisodeLog:
    """What is logged: quantities of finished episodes, quantities with a count of their own, and gauges.

    Each kind lies in one tensor, and all episodes' quantities are summed by one matrix product a step.
    """

    def __init__(self, device: torch.device, num_envs: int = 0) -> None:
        self.num_envs = num_envs
        self._totals = torch.zeros(_CAPACITY, device=device)
        self._gauges = torch.full((_CAPACITY,), float("nan"), device=device)
        self._groups: list[tuple[list[str], Tensor, Tensor]] = []
        self._used = 0
        self._gauge_names: list[str] = []
        self._episode_names: list[str] = []
        self._rows = torch.ones(1, num_envs, device=device)
        self._episode_totals = torch.zeros(1, device=device)

    def add_episode_group(self, names: list[str]) -> slice:
        """Register quantities of episodes; returns their place for :meth:`episode_rows`."""
        first = 1 + len(self._episode_names)
        self._episode_names += names
        self._rows = torch.cat((self._rows, self._rows.new_zeros(len(names), self.num_envs)))
        self._episode_totals = self._rows.new_zeros(len(self._rows))
        return slice(first, first + len(names))

    def episode_rows(self, group: slice) -> Tensor:
        """Return where the values of a group go before :meth:`count_episodes`, ``(len(names), num_envs)``."""
        return self._rows[group]

    def count_episodes(self, env_mask: Tensor) -> None:
        """Add the values of the environments whose episodes end now."""
        self._episode_totals.addmv_(self._rows, env_mask.to(torch.float32))

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
        """Add sums ``(len(names),)`` over ``count`` cases."""
        _, totals, cases = self._groups[group]
        totals += sums
        cases += count

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

        Quantities without a case since the last call are left out.
        """
        parts = (self._episode_totals, self._totals[: self._used], self._gauges[: len(self._gauge_names)])
        episodes, *numbers = torch.cat(parts).tolist()
        self._totals.zero_()
        self._episode_totals.zero_()
        out: dict[str, float] = {}
        start = len(self._episode_names)
        if episodes > 0:
            out |= {name: total / episodes for name, total in zip(self._episode_names, numbers[:start], strict=True)}
        for names, _, _ in self._groups:
            count = numbers[start + len(names)]
            if count > 0:
                out |= {name: numbers[start + k] / count for k, name in enumerate(names)}
            start += len(names) + 1
        return out | {n: v for n, v in zip(self._gauge_names, numbers[start:], strict=True) if v == v}

    @staticmethod
    def _check(used: int) -> None:
        if used > _CAPACITY:
            raise ConfigError(f"the environment logs more than {_CAPACITY} quantities")
