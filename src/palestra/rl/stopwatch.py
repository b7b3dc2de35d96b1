"""Time of the first part of an iteration, without making the host wait between the parts."""

import time

import torch


class Stopwatch:
    """Measures from ``start`` to ``split``: on CUDA by events that the device passes, on the CPU by the clock."""

    def __init__(self, device: torch.device) -> None:
        self._events: tuple[torch.cuda.Event, torch.cuda.Event] | None = None
        if device.type == "cuda":
            self._events = (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
        self._started = self._split = 0.0

    def start(self) -> None:
        """Begin."""
        if self._events is not None:
            self._events[0].record()
        self._started = time.perf_counter()

    def split(self) -> None:
        """Mark the end of the first part."""
        if self._events is not None:
            self._events[1].record()
        self._split = time.perf_counter()

    def first_part(self) -> float:
        """Wait for the device and return the seconds between ``start`` and ``split``."""
        if self._events is None:
            return self._split - self._started
        torch.cuda.synchronize()
        return self._events[0].elapsed_time(self._events[1]) / 1e3
