"""Leaving a training run on Ctrl-C or SIGTERM: the first signal asks, the second one leaves at once."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class InterruptGuard:
    """While active, notes SIGINT and SIGTERM in ``signal`` instead of raising; the loop looks between
    iterations.

    A second SIGINT raises ``KeyboardInterrupt`` there and then. Outside the main thread it does nothing,
    since only the main thread receives signals.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "InterruptGuard":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
