"""Curves of a run: ``metrics.csv`` always, TensorBoard events and Weights & Biases if asked for."""

import csv
import io
import math
import time
from pathlib import Path
from typing import Any

from palestra.errors import ConfigError, did_you_mean
from palestra.rl.checkpoint import write_atomically
from palestra.rl.wandb_run import WandbRun

LOGGERS = ("tensorboard", "wandb", "none")
"""What a run's ``logger`` can be; ``wandb`` writes TensorBoard's files too."""

WANDB_PROJECT = "palestra"
"""Project at Weights & Biases unless ``wandb_project`` says otherwise."""


def check_logger(name: str) -> None:
    """Refuse a logger that does not exist.

    Raises:
        ConfigError: unknown logger.
    """
    if name not in LOGGERS:
        raise ConfigError(f"logger is {name!r}: {did_you_mean(name, LOGGERS)}")


class MetricsFile:
    """``metrics.csv``: one row an iteration, one column a metric; each row is on disk when ``write`` returns.

    A metric that appears later gets a new column at the end, empty in the earlier rows. Opening an existing
    file continues it: rows from ``first_iteration`` on, and a torn last line, are dropped.
    """

    def __init__(self, path: Path, first_iteration: int = 0) -> None:
        self.path = path
        self.columns: list[str] = []
        if path.exists():
            self._continue(first_iteration)

    def write(self, row: dict[str, float | int]) -> None:
        """Append a row; it must hold ``iteration``."""
        new = [name for name in row if name not in self.columns]
        if new:
            old_rows = self._read()
            self.columns += new
            self._rewrite(old_rows)
        with open(self.path, "a", newline="") as file:
            csv.writer(file).writerow([_number(row.get(name)) for name in self.columns])

    def _continue(self, first_iteration: int) -> None:
        rows = self._read()
        self.columns = list(rows[0]) if rows else []
        self._rewrite([row for row in rows if row["iteration"] and int(row["iteration"]) < first_iteration])

    def _read(self) -> list[dict[str, str]]:
        """Return the whole rows of the file, each with all its columns."""
        if not self.path.exists():
            return []
        text = self.path.read_text()
        lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
        if not lines:
            return []
        return [dict(zip(lines[0], line, strict=True)) for line in lines[1:] if len(line) == len(lines[0])]

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(self.columns)
        writer.writerows([[row.get(name, "") for name in self.columns] for row in rows])
        write_atomically(self.path, text.getvalue().encode())


def _number(value: float | int | None) -> str:
    """Return a number with the digits that tell it apart, and nothing for an absent one."""
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else repr(float(value))


class TensorBoardFile:
    """TensorBoard events, one an iteration with all its values; written by TensorBoard's own background
    thread.

    The event writer is used directly: ``SummaryWriter`` writes, and locks, once for each value.
    """

    def __init__(self, folder: Path, first_iteration: int = 0) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._event: Any = event_pb2
        self._summary: Any = summary_pb2
        self._writer = EventFileWriter(str(folder), flush_secs=10)
        if first_iteration:  # a resumed run: later steps of the earlier one are dropped by the reader
            start = self._event.SessionLog(status=self._event.SessionLog.START)
            self._add(first_iteration, session_log=start)

    def write(self, iteration: int, row: dict[str, float | int]) -> None:
        """Write the finite values of a row."""
        values = [
            self._summary.Summary.Value(tag=name, simple_value=float(value))
            for name, value in row.items()
            if name != "iteration" and math.isfinite(value)
        ]
        self._add(iteration, summary=self._summary.Summary(value=values))

    def _add(self, step: int, **content: Any) -> None:
        self._writer.add_event(self._event.Event(wall_time=time.time(), step=step, **content))

    def close(self) -> None:
        """Write what is buffered."""
        self._writer.close()


class RunLogger:
    """Everything that a run's numbers go to; without a folder nothing is written.

    Args:
        run_dir: the run's folder.
        logger: one of ``LOGGERS``.
        first_iteration: what is logged from here on replaces what an earlier run wrote.
        wandb_project: project at Weights & Biases.

    Raises:
        ConfigError: Weights & Biases cannot be used; nothing is written then.
    """

    def __init__(
        self,
        run_dir: Path | None,
        logger: str,
        first_iteration: int = 0,
        wandb_project: str = WANDB_PROJECT,
    ) -> None:
        self._metrics: MetricsFile | None = None
        self._events: TensorBoardFile | None = None
        self._wandb: WandbRun | None = None
        if run_dir is None:
            return
        run_dir.mkdir(parents=True, exist_ok=True)
        if logger == "wandb":
            self._wandb = WandbRun(run_dir, wandb_project)
        self._metrics = MetricsFile(run_dir / "metrics.csv", first_iteration)
        if logger in ("tensorboard", "wandb"):
            self._events = TensorBoardFile(run_dir, first_iteration)

    def write(self, row: dict[str, float | int]) -> None:
        """Log the numbers of an iteration."""
        if self._metrics is not None:
            self._metrics.write(row)
        if self._events is not None:
            self._events.write(int(row["iteration"]), row)
        if self._wandb is not None:
            self._wandb.write(row)

    def write_video(self, path: Path, iteration: int) -> None:
        """Log a video of the policy after ``iteration`` iterations, where that is possible."""
        if self._wandb is not None:
            self._wandb.write_video(path, iteration)

    def close(self) -> None:
        """Write what is buffered."""
        if self._events is not None:
            self._events.close()
            self._events = None
        if self._wandb is not None:
            self._wandb.close()
            self._wandb = None
