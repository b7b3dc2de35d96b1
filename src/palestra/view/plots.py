"""Learning curves of a run as one PNG, from its ``metrics.csv``."""

from __future__ import annotations

import csv
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from palestra.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curves = dict[str, list[float]]
"""Metric to its value in each iteration, NaN where it was not measured."""


@dataclass(frozen=True)
class Panel:
    """One diagram: metrics by exact name or prefix."""

    title: str
    unit: str
    """Label of the vertical axis."""
    names: tuple[str, ...] = ()
    prefix: str = ""
    logarithmic: bool = False
    scale: float = 1.0
    """Factor on the values, such as 100 for a share in per cent."""
    limits: tuple[float | None, float | None] = (None, None)

    def select(self, curves: Curves) -> dict[str, list[float]]:
        """Return the curves of the panel under short labels; those never measured are left out."""
        if self.prefix:
            found = {n.removeprefix(self.prefix): v for n, v in curves.items() if n.startswith(self.prefix)}
        else:
            found = {n.split("/")[-1].replace("_", " "): curves[n] for n in self.names if n in curves}
        return {label: values for label, values in found.items() if any(map(math.isfinite, values))}


PANELS = (
    Panel("Return", "sum of rewards an episode", ("Episode/return",)),
    Panel("Episode length", "steps", ("Episode/length",), limits=(0.0, None)),
    Panel("Success", "episodes (%)", ("Metrics/success_rate",), scale=100.0, limits=(-2.0, 102.0)),
    Panel("Reward terms", "weighted, per second", prefix="Episode_Reward/"),
    Panel("Ends of episodes", "episodes (%)", prefix="Episode_Termination/", scale=100.0, limits=(-2.0, 102.0)),
    Panel("KL divergence", "nats", ("Policy/kl",), logarithmic=True),
    Panel("Value loss", "squared return", ("Loss/value",)),
    Panel("Surrogate loss", "advantage (standard deviations)", ("Loss/surrogate",)),
    Panel("Action noise", "standard deviation (action units)", ("Policy/mean_std",), limits=(0.0, None)),
    Panel("Learning rate", "step size", ("Loss/learning_rate",), logarithmic=True),
    Panel("Throughput", "environment steps/s", ("Perf/total_fps",), limits=(0.0, None)),
)


def read_metrics(path: Path) -> Curves:
    """Read a ``metrics.csv``; an empty or torn cell is NaN.

    Raises:
        ConfigError: no such file, or it has no iteration.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise ConfigError(f"no curves at {path}: {error.strerror}") from error
    if len(rows) < 2:
        raise ConfigError(f"{path} holds no iteration")
    header = rows[0]
    return {name: [_number(row[i]) if i < len(row) else math.nan for row in rows[1:]] for i, name in enumerate(header)}


def plot_curves(metrics: Path, path: Path, title: str = "") -> Path:
    """Draw the curves of a run; the file appears whole or not at all.

    Args:
        metrics: the run's ``metrics.csv``.
        path: ``.png`` file to write.
        title: above all diagrams.

    Returns:
        ``path``.

    Raises:
        ConfigError: there is nothing to draw.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # no window, whatever the user's settings
    from matplotlib.figure import Figure

    curves = read_metrics(metrics)
    panels = [(panel, chosen) for panel in PANELS if (chosen := panel.select(curves))]
    if not panels:
        raise ConfigError(f"{metrics} holds none of the metrics that are drawn")
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(5.2 * columns, 3.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (panel, chosen) in zip(grid.flat, panels, strict=False):
        _draw(axes, panel, chosen, curves["iteration"])
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        figure.savefig(partial, format="png", dpi=110)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _draw(axes: Axes, panel: Panel, chosen: dict[str, list[float]], iterations: list[float]) -> None:
    many = len(chosen) > 1
    few = len(iterations) < 30
    for label, values in chosen.items():
        points = [(x, y * panel.scale) for x, y in zip(iterations, values, strict=True) if math.isfinite(y)]
        axes.plot(*zip(*points, strict=True), linewidth=1.4, marker="." if few else None, label=label)
    axes.set_title(panel.title, fontsize=11)
    axes.set_xlabel("iteration")
    axes.set_ylabel(panel.unit, fontsize=9)
    if panel.logarithmic and all(y > 0.0 for values in chosen.values() for y in values if math.isfinite(y)):
        axes.set_yscale("log")
    axes.set_ylim(*panel.limits)
    axes.grid(alpha=0.25)
    axes.ticklabel_format(axis="x", style="plain", useOffset=False)
    if many:
        axes.legend(fontsize=7, loc="best", framealpha=0.7)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
