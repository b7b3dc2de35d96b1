"""Videos of the policy while it trains, filmed by a process of its own from the run's checkpoints."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from palestra.rl.logger import RunLogger

NICENESS = 5
"""Priority of the filming process: training goes first."""
WAIT = 0.2
"""Seconds between two looks at whether somebody wants to leave."""


class TrainingVideos:
    """Films the policy every ``interval`` iterations, one film at a time; the others wait for their turn.

    The films are made on the CPU by a process that shares nothing with the training but the checkpoint file. A film
    that cannot be made costs one warning.

    Args:
        folder: the run's folder; films go to ``videos/`` there.
        task: the task.
        interval: iterations between two films.
        seconds: length of a film (s).
        message: shows a warning.
    """

    def __init__(self, folder: Path, task: str, interval: int, seconds: float, message: Callable[[str], None]) -> None:
        self._folder = folder
        self._task = task
        self._interval = interval
        self._seconds = seconds
        self._message = message
        self._waiting: deque[tuple[int, Path]] = deque()
        self._filming: _Filming | None = None

    def iteration_done(self, iteration: int, save: Callable[[], Path | None], logger: RunLogger) -> None:
        """Ask for a film if it is time, and take delivery of one that is ready."""
        checkpoint = save() if iteration % self._interval == 0 else None
        if checkpoint is not None:
            self._waiting.append((iteration, checkpoint))
        if self._filming is not None and self._filming.ready():
            self._deliver(logger)
        self._start_next()

    def training_ended(self, logger: RunLogger, stopped: Callable[[], bool]) -> None:
        """Wait for the films that were asked for; once the training is stopped, drop them instead."""
        missing = len(self._waiting) + (self._filming is not None)
        if missing and not stopped():
            self._message(f"training is done; videos still to be filmed: {missing}")
        self._start_next()
        while self._filming is not None and not stopped():
            if self._filming.ready(WAIT):
                self._deliver(logger)
                self._start_next()
        self._waiting.clear()
        if self._filming is not None:
            self._filming.cancel()
            self._filming = None

    def _start_next(self) -> None:
        if self._filming is None and self._waiting:
            iteration, checkpoint = self._waiting.popleft()
            path = self._folder / "videos" / f"{self._task}-{checkpoint.stem}.mp4"
            self._filming = _Filming(self._task, self._folder, checkpoint, path, self._seconds, iteration)

    def _deliver(self, logger: RunLogger) -> None:
        """Log the film in work, which is ready."""
        assert self._filming is not None
        film, self._filming = self._filming, None
        problem = film.result()
        if problem is not None:
            self._message(f"warning: no video of iteration {film.iteration}: {problem}")
        else:
            logger.write_video(film.path, film.iteration)


class _Filming:
    """A process that makes one film."""

    def __init__(self, task: str, folder: Path, checkpoint: Path, path: Path, seconds: float, iteration: int) -> None:
        self.path = path
        self.iteration = iteration
        context = multiprocessing.get_context("spawn")  # a fork would share the training's threads and its GPU
        self._answer, sender = context.Pipe(duplex=False)
        arguments = (sender, task, folder.resolve(), checkpoint.resolve(), path.resolve(), seconds)
        self._process = context.Process(target=_film, args=arguments, daemon=True)
        with _hidden_gpus():
            self._process.start()
        sender.close()

    def ready(self, timeout: float = 0.0) -> bool:
        """Return whether the film is made, or the process dead, after at most ``timeout`` seconds."""
        return self._answer.poll(timeout)

    def result(self) -> str | None:
        """Return why there is no film, or None if there is; waits for it."""
        try:
            problem = self._answer.recv()
        except EOFError:
            problem = "the process that films died"
        self._process.join()
        return problem

    def cancel(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()
        self.path.with_name(f".{self.path.stem}.{self._process.pid}.tmp.mp4").unlink(missing_ok=True)


@contextlib.contextmanager
def _hidden_gpus() -> Iterator[None]:
    """Let a process that starts now see no CUDA device, so that it takes no memory of the training's."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        yield
    finally:
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


def _film(answer: Connection, task: str, folder: Path, checkpoint: Path, path: Path, seconds: float) -> None:
    """Film (in the child process), and send None or what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training, which then cancels this
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the life of the process
    import torch

    from palestra.cli.play import film
    from palestra.cli.run_folder import open_run

    torch.set_num_threads(1)
    problem = None
    try:
        film(task, open_run(folder), checkpoint, path, seconds, threads=1)
    except Exception as error:  # whatever it is, the training goes on
        problem = " ".join(str(error).split()) or type(error).__name__
    answer.send(problem)
    answer.close()
