"""A loop with a fixed period: absolute deadlines, and statistics of how well they were kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from palestra.errors import ConfigError

SPIN_S = 2e-4
"""How long before a deadline sleeping ends and spinning begins (s): what a sleep is late by at most times on Linux."""

_KEPT = 1 << 16
"""Latest iterations that percentiles are computed of; 22 minutes at 50 Hz."""


@dataclass(frozen=True)
class LoopStatistics:
    """How a loop kept its period; times in seconds, NaN before the first iteration."""

    iterations: int
    missed_deadlines: int
    """Deadlines that passed while an iteration was still at work; such periods are left out, not caught up with."""
    jitter_median: float
    """How much later than its deadline an iteration began."""
    jitter_p99: float
    jitter_max: float
    work_median: float
    """How long an iteration worked."""
    work_p99: float
    work_max: float

    def as_dict(self) -> dict[str, float | int]:
        """Return the fields by name."""
        return asdict(self)

    def __str__(self) -> str:
        jitter = " / ".join(f"{value * 1e3:.3f}" for value in (self.jitter_median, self.jitter_p99, self.jitter_max))
        work = " / ".join(f"{value * 1e3:.3f}" for value in (self.work_median, self.work_p99, self.work_max))
        return (
            f"{self.iterations} steps, {self.missed_deadlines} missed deadlines; median / p99 / max in ms: "
            f"jitter {jitter}, work {work}"
        )


class FixedRateLoop:
    """Waits for the next multiple of a period since the first call.

    Deadlines are absolute, so that delays do not add up. The wait sleeps until shortly before the deadline and spins
    from there. After an overrun the loop goes on at the next deadline that is still ahead.

    Args:
        period: seconds.
        spin: how long before a deadline to spin (s).
        clock: seconds that never go back.
        sleep: waits for seconds.

    Raises:
        ConfigError: the period is not positive.
    """

    def __init__(
        self,
        period: float,
        spin: float = SPIN_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not 0.0 < period < float("inf"):
            raise ConfigError(f"the period of a loop is {period!r}; it must be a positive number of seconds")
        self.period, self._spin, self._clock, self._sleep = period, spin, clock, sleep
        self._jitter, self._work = np.zeros(_KEPT), np.zeros(_KEPT)
        self._start: float | None = None
        self._deadline = 0  # index of the deadline that the running iteration began at
        self._began = 0.0
        self.iterations = self.missed_deadlines = 0
        self.missed_now = 0
        """Deadlines that passed during the iteration before."""
        self._jitter_max = self._work_max = 0.0

    def wait(self) -> float:
        """Wait for the next deadline; the first call returns at once.

        Returns:
            The time (s) on the loop's clock.
        """
        now = self._clock()
        if self._start is None:
            self._start, self._began = now, now
            self._record(0.0)
            return now
        self._keep_work(now - self._began)
        following = self._deadline + 1
        behind = now - (self._start + following * self.period)
        self.missed_now = 0 if behind <= 0.0 else int(behind / self.period) + 1
        self.missed_deadlines += self.missed_now
        self._deadline = following + self.missed_now
        deadline = self._start + self._deadline * self.period
        if deadline - now > self._spin:
            self._sleep(deadline - now - self._spin)
        while (now := self._clock()) < deadline:
            pass
        self._began = now
        self._record(now - deadline)
        return now

    def statistics(self) -> LoopStatistics:
        """Return how the period was kept: percentiles of the latest 65,536 iterations, counts and maxima of all."""
        kept = min(self.iterations, _KEPT)
        finished = min(max(self.iterations - 1, 0), _KEPT)
        jitter, work = self._jitter[:kept], self._work[:finished]
        return LoopStatistics(
            self.iterations,
            self.missed_deadlines,
            *_percentiles(jitter),
            self._jitter_max if kept else float("nan"),
            *_percentiles(work),
            self._work_max if finished else float("nan"),
        )

    def _record(self, late: float) -> None:
        self._jitter[self.iterations % _KEPT] = late
        self._jitter_max = max(self._jitter_max, late)
        self.iterations += 1

    def _keep_work(self, seconds: float) -> None:
        self._work[(self.iterations - 1) % _KEPT] = seconds
        self._work_max = max(self._work_max, seconds)


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    if not values.size:
        return float("nan"), float("nan")
    median, p99 = np.percentile(values, [50.0, 99.0])
    return float(median), float(p99)
