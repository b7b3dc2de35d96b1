"""Start ``palestra train`` as a user does and watch its ``metrics.csv`` grow. Used by the timing scripts here.

A row's time is the wall clock when it was first seen on disk (polled, see ``POLL``) minus that just before the
process was started, so that interpreter start-up, imports, compilation, rollouts, updates and logging all count.
"""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

POLL = 0.02
"""Seconds between looks at the file: the resolution of every figure."""
SRC = Path(__file__).resolve().parents[2] / "src"

Row = dict[str, float]


@dataclass
class Watch:
    """What a training process did.

    Attributes:
        rows: one dictionary an iteration.
        seen: seconds from starting the process to each row's appearance.
        total: seconds from starting the process to its end.
    """

    rows: list[Row] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    total: float = 0.0


def train(arguments: list[str], limit: float, keep: Path | None = None) -> Iterator[Watch]:
    """Run ``palestra train`` in a new temporary folder; yields after every look with new rows, and at the end.

    Closing the iterator ends the training. ``limit`` is in seconds. The folder ``keep`` is used instead, and left.

    Raises:
        RuntimeError: the command failed; holds the end of its output.
    """
    watch = Watch()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SRC), os.environ.get("PYTHONPATH", "")])}
    with (
        tempfile.TemporaryDirectory(prefix="palestra-benchmark-") if keep is None else nullcontext(str(keep)) as folder
    ):
        output = Path(folder) / "output.txt"
        with open(output, "w") as sink:
            size = -1
            start = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "palestra", "train", *arguments, "--no-video"],
                cwd=folder,
                env=environment,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
            try:
                while True:
                    ended = process.poll() is not None
                    grown = _size(Path(folder))
                    rows = _read(Path(folder)) if grown != size else watch.rows  # reading takes time from the training
                    size = grown
                    now = time.perf_counter() - start
                    watch.seen += [now] * (len(rows) - len(watch.rows))
                    if len(rows) > len(watch.rows):
                        watch.rows = rows
                        yield watch
                    if ended or now > limit:
                        break
                    time.sleep(POLL)
                watch.total = time.perf_counter() - start
                if process.poll():
                    raise RuntimeError(output.read_text()[-2000:])
                yield watch
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(20)
                    process.kill()
                    process.wait()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("runs/*/*/metrics.csv"))


def _read(folder: Path) -> list[Row]:
    """Whole rows of the run's ``metrics.csv``."""
    for path in folder.glob("runs/*/*/metrics.csv"):
        text = path.read_text()
        lines = list(csv.reader(text[: text.rfind("\n") + 1].splitlines()))
        if lines:
            names = lines[0]
            return [{n: float(v) for n, v in zip(names, line, strict=False) if v} for line in lines[1:]]
    return []
