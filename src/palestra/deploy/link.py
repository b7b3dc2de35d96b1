"""A network between a robot and its controller: packets that arrive late, in another order, or not at all."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from palestra.errors import ConfigError

Packet = TypeVar("Packet")


@dataclass(frozen=True)
class LinkSettings:
    """What one direction of the connection does to each packet."""

    latency: float = 0.0
    """Time that every packet takes (s)."""

    jitter: float = 0.0
    """Standard deviation of a half-normal delay on top (s); packets may overtake each other."""

    loss: float = 0.0
    """Share of packets that never arrive."""

    def __post_init__(self) -> None:
        for name in ("latency", "jitter"):
            if not 0.0 <= getattr(self, name) < 10.0:
                raise ConfigError(f"{name} is {getattr(self, name)} s; it must be from 0 to 10 s")
        if not 0.0 <= self.loss < 1.0:
            raise ConfigError(f"loss is {self.loss}; it must be a share, from 0 to less than 1")


class Link(Generic[Packet]):
    """One direction of a connection; times are on any clock that never goes back.

    Args:
        settings: what happens to packets.
        seed: seed of delays and losses; the same packets at the same times meet the same fate.
    """

    def __init__(self, settings: LinkSettings, seed: int) -> None:
        self.settings = settings
        self._rng = np.random.default_rng(seed)
        self._waiting: list[tuple[float, int, Packet]] = []
        self._order = itertools.count()
        self.sent = self.lost = 0

    def send(self, packet: Packet, now: float) -> None:
        """Put a packet on its way."""
        lost, late = self._rng.random(), abs(self._rng.standard_normal())
        self.sent += 1
        if lost < self.settings.loss:
            self.lost += 1
            return
        due = now + self.settings.latency + self.settings.jitter * late
        heapq.heappush(self._waiting, (due, next(self._order), packet))

    def receive(self, now: float) -> list[tuple[float, Packet]]:
        """Return what has arrived by now, with the times of arrival, the earliest first."""
        arrived = []
        while self._waiting and self._waiting[0][0] <= now + 1e-12:
            due, _, packet = heapq.heappop(self._waiting)
            arrived.append((due, packet))
        return arrived

    def next_arrival(self) -> float:
        """Return when the next packet arrives; infinity if none is on its way."""
        return self._waiting[0][0] if self._waiting else float("inf")

    def clear(self) -> None:
        """Forget what is on its way."""
        self._waiting.clear()
