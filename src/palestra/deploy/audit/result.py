"""What a check says: measured numbers beside their thresholds, a verdict, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Status = Literal["pass", "warn", "fail", "skipped"]

SEVERITY: dict[Status, int] = {"skipped": 0, "pass": 1, "warn": 2, "fail": 3}
"""Order of the verdicts; the worst of several counts."""


@dataclass(frozen=True)
class Series:
    """One curve of a plot, or with ``style="bars"`` a value for each label in ``x``."""

    label: str
    x: Sequence[float] | Sequence[str]
    y: Sequence[float]
    style: Literal["line", "points", "bars"] = "line"


@dataclass(frozen=True)
class Plot:
    """A small diagram of the report."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    limit: float | None = None
    """A threshold, drawn across."""

    limit_x: float | None = None
    """A threshold on the horizontal axis."""

    logarithmic: bool = False


@dataclass(frozen=True)
class Measure:
    """A number, what it may be, and the verdict on it."""

    name: str
    value: float | int | str | None
    units: str = ""
    allowed: str = ""
    """In words: ``"at most 0.05, warning from 0.01"``; empty for what is only told."""

    status: Status = "pass"

    def text(self) -> str:
        """Return value and unit as one would write them."""
        if not isinstance(self.value, float):
            return f"{self.value} {self.units}".strip()
        digits = f"{self.value:.4g}" if math.isfinite(self.value) else str(self.value)
        return f"{digits} {self.units}".strip()


@dataclass(frozen=True)
class Check:
    """One point of the checklist."""

    id: str
    title: str
    status: Status
    summary: str
    """One sentence: what was found, or why the check was skipped."""

    measures: tuple[Measure, ...] = ()
    advice: str = ""
    plots: tuple[Plot, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for ``report.json``, without the plots; numbers that JSON lacks become None."""
        return {
            "id": self.id,
            "title": self.title,
            "status": self.status,
            "summary": self.summary,
            "measures": [
                {"name": m.name, "value": _plain(m.value), "units": m.units, "allowed": m.allowed, "status": m.status}
                for m in self.measures
            ],
            "advice": self.advice,
        }


def skipped(id: str, title: str, reason: str) -> Check:
    """Return a check that could not or need not be made."""
    return Check(id, title, "skipped", reason)


def judged(
    id: str,
    title: str,
    measures: Sequence[Measure],
    *,
    good: str,
    bad: str,
    advice: str,
    plots: Sequence[Plot] = (),
) -> Check:
    """Return a check whose verdict is the worst of its measures'.

    Args:
        id: short name.
        title: what is checked.
        measures: numbers with their verdicts.
        good: summary if all is well.
        bad: summary if not; the measures that are not well are named after it.
        advice: what to do then; left out if all is well.
        plots: diagrams.
    """
    status = worst([m.status for m in measures])
    if status not in ("warn", "fail"):
        return Check(id, title, status, good, tuple(measures), "", tuple(plots))
    found = "; ".join(f"{m.name}: {m.text()} (allowed: {m.allowed})" for m in measures if m.status == status)
    return Check(id, title, status, f"{bad}: {found}", tuple(measures), advice, tuple(plots))


def at_most(name: str, value: float, fail: float, warn: float | None = None, units: str = "") -> Measure:
    """Return a measure that must not be greater than ``fail``, and had better not be greater than ``warn``."""
    allowed = f"at most {fail:g}" + ("" if warn is None else f", warning above {warn:g}")
    status: Status = "fail" if not value <= fail else "warn" if warn is not None and value > warn else "pass"
    return Measure(name, float(value), units, allowed, status)


def at_least(name: str, value: float, fail: float, warn: float | None = None, units: str = "") -> Measure:
    """Return a measure that must not be less than ``fail``, and had better not be less than ``warn``."""
    allowed = f"at least {fail:g}" + ("" if warn is None else f", warning below {warn:g}")
    status: Status = "fail" if not value >= fail else "warn" if warn is not None and value < warn else "pass"
    return Measure(name, float(value), units, allowed, status)


def told(name: str, value: float | int | str | None, units: str = "") -> Measure:
    """Return a number that is only reported."""
    return Measure(name, value, units)


def worst(statuses: Sequence[Status]) -> Status:
    """Return the most severe of several verdicts; ``"pass"`` of none."""
    good: Status = "pass"
    return max([*statuses] or [good], key=SEVERITY.__getitem__)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
