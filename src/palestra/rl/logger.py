"""Curves of a run: ``metrics.csv`` always, TensorBoard events if asked for."""

import csv
import io
import math
import time
from pathlib import Path
from typing import Any

from palestra.rl.checkpoint import write_atomically


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
    """All files of curves in a run folder; without a folder nothing is written."""

    def __init__(self, run_dir: Path | None, logger: str, first_iteration: int = 0) -> None:
        self._metrics: MetricsFile | None = None
        self._events: TensorBoardFile | None = None
        if run_dir is not None:
            run_dir.mkdir(parents=True, exist_ok=True)
            self._metrics = MetricsFile(run_dir / "metrics.csv", first_iteration)
            if logger == "tensorboard":
                self._events = TensorBoardFile(run_dir, first_iteration)

    def write(self, row: dict[str, float | int]) -> None:
        """Log the numbers of an iteration."""
        if self._metrics is not None:
            self._metrics.write(row)
        if self._events is not None:
            self._events.write(int(row["iteration"]), row)

    def close(self) -> None:
        """Write what is buffered."""
        if self._events is not None:
            self._events.close()
            self._events = None
