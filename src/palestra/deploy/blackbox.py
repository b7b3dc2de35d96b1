"""A flight recorder: the last steps in fixed memory, written to a file after a fault or at the end."""

from __future__ import annotations

import json
import os
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from palestra.errors import ConfigError

_EVENTS = 1000
"""Events kept; older ones give way."""


class BlackBox:
    """A ring of rows, one a control step, and a list of events.

    Args:
        columns: width of each column; ``time`` (s) is always there.
        capacity: rows kept.
        about: what the rows mean, for the JSON file: names of joints, limits …

    Raises:
        ConfigError: the capacity is not positive.
    """

    def __init__(self, columns: Mapping[str, int], capacity: int, about: Mapping[str, Any] | None = None) -> None:
        if capacity < 1:
            raise ConfigError(f"a black box of {capacity} steps records nothing; it must have 1 or more")
        self._capacity, self._about = capacity, dict(about or {})
        self._time = np.zeros(capacity)
        self._columns = {name: _column(capacity, width) for name, width in columns.items()}
        self._events: deque[dict[str, Any]] = deque(maxlen=_EVENTS)
        self.steps = 0
        """Rows written so far; the latest ``capacity`` of them are kept."""

    @property
    def nbytes(self) -> int:
        """Memory of the ring."""
        return self._time.nbytes + sum(column.nbytes for column in self._columns.values())

    def record(self, time: float, row: Mapping[str, Any]) -> None:
        """Write a row over the oldest one. A recorder never fails: what does not fit its column is recorded as NaN.

        Args:
            time: seconds.
            row: values by column; missing ones are NaN.
        """
        at = self.steps % self._capacity
        self._time[at] = time
        with np.errstate(over="ignore"):
            for name, column in self._columns.items():
                value = row.get(name)
                try:
                    column[at] = np.nan if value is None else value
                except (TypeError, ValueError, OverflowError):
                    column[at] = np.nan
        self.steps += 1

    def event(self, time: float, kind: str, **details: Any) -> None:
        """Note something that happened.

        Args:
            time: seconds.
            kind: ``"state"``, ``"trip"`` …
            details: plain values.
        """
        self._events.append({"time": time, "step": self.steps, "event": kind, **details})

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the rows in order of time: ``time`` ``(rows,)``, other columns ``(rows, width)``; copies."""
        kept = min(self.steps, self._capacity)
        order = np.arange(self.steps - kept, self.steps) % self._capacity
        return {"time": self._time[order], **{name: column[order] for name, column in self._columns.items()}}

    def dump(self, path: Path | str) -> tuple[Path, Path]:
        """Write the rows to ``path`` (``.npz``) and the events beside it (``.json``); each appears whole or not at all.

        Returns:
            Both files.

        Raises:
            ConfigError: they cannot be written.
        """
        path = Path(path)
        rows = path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
        events = rows.with_suffix(".json")
        arrays = self.arrays()
        content = {**self._about, "rows": len(arrays["time"]), "steps": self.steps, "events": list(self._events)}
        text = json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"
        try:
            rows.parent.mkdir(parents=True, exist_ok=True)
            _atomically(events, lambda file: file.write(text.encode()))
            _atomically(rows, lambda file: np.savez(file, allow_pickle=False, **arrays))
        except OSError as error:
            raise ConfigError(f"cannot write the black box to {rows}: {error.strerror or error}") from error
        return rows, events


def _column(capacity: int, width: int) -> np.ndarray:
    """Return an empty column; single numbers, such as stamps, keep their precision."""
    return np.full((capacity, width), np.nan, np.float64 if width == 1 else np.float32)


def _atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file under another name, make sure that it is on the disk, and rename it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp's is for its owner alone
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
