"""How old the newest sensor reading is, although the robot's clock and ours have nothing in common."""

from __future__ import annotations

import math

_BLOCK_S = 5.0
"""The least transport delay is that of the last one to two blocks, so that two clocks may drift apart slowly."""


class Freshness:
    """Follows the stamps of a stream of readings.

    The age of a reading is the time since it arrived plus what it was late by: ``now - stamp`` less the least such
    difference of the last seconds, which is the two clocks' offset plus the fastest delivery. A stream that stops,
    freezes or falls behind grows old.
    """

    def __init__(self) -> None:
        self.stamp = -math.inf
        """Newest stamp so far (s, the robot's clock)."""
        self.age = math.inf
        """Age of the newest reading (s)."""
        self.arrived = -math.inf
        """When the newest stamp was first seen (s, our clock)."""
        self.fresh = False
        """Whether the last update brought a new reading."""
        self._least, self._least_before = math.inf, math.inf
        self._block_ends = -math.inf

    def update(self, stamp: float | None, now: float) -> float:
        """Take notice of a reading and return how far its stamp is behind the newest (s); 0 in order.

        Args:
            stamp: of the reading; None if there is none.
            now: our clock (s).
        """
        self.fresh, behind = False, 0.0
        if stamp is not None and stamp < self.stamp:
            behind = self.stamp - stamp
        elif stamp is not None and stamp > self.stamp:
            self.stamp, self.arrived, self.fresh = stamp, now, True
            if now >= self._block_ends:
                self._least_before, self._least = self._least, math.inf
                self._block_ends = now + _BLOCK_S
            self._least = min(self._least, now - stamp)
        offset = min(self._least, self._least_before)
        self.age = math.inf if math.isinf(offset) else max(now - self.stamp - offset, now - self.arrived)
        return behind
