"""What may look on while a learner trains: a protocol, so that learners know no one in particular."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from palestra.rl.logger import RunLogger


class TrainingObserver(Protocol):
    """Is told of each iteration, and of the end; it must return at once in between."""

    def iteration_done(self, iteration: int, save: Callable[[], Path | None], logger: RunLogger) -> None:
        """Look at ``iteration`` finished iterations; ``save`` makes sure of a checkpoint and returns its
        path, or None without a run folder.
        """
        ...

    def training_ended(self, logger: RunLogger, stopped: Callable[[], bool]) -> None:
        """Finish; ``stopped`` says whether somebody wants to leave at once, now or while this lasts."""
        ...
