"""Small diagrams for the report."""

from __future__ import annotations

import base64
import io

from palestra.deploy.audit.result import Plot

_SIZE = (4.4, 2.6)  # inches
_DPI = 120

_INSIDE = 4
"""More curves than these are named beside the diagram."""


def draw(plot: Plot) -> str:
    """Return a plot as a PNG, in base64."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    for series in plot.series:
        if series.style == "bars":
            axes.bar([str(x) for x in series.x], series.y, label=series.label)
        elif series.style == "points":
            axes.plot(series.x, series.y, ".", markersize=3, label=series.label)
        else:
            axes.plot(series.x, series.y, linewidth=1.2, label=series.label)
    if plot.limit is not None:
        axes.axhline(plot.limit, color="#c0262d", linewidth=0.8, linestyle="--")
    if plot.limit_x is not None:
        axes.axvline(plot.limit_x, color="#c0262d", linewidth=0.8, linestyle="--")
    if plot.logarithmic:
        axes.set_yscale("log")
    axes.set_title(plot.title, fontsize=9)
    axes.set_xlabel(plot.x_label, fontsize=8)
    axes.set_ylabel(plot.y_label, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.25)
    labels = [series.label for series in plot.series if series.label]
    if len(labels) > _INSIDE:
        axes.legend(fontsize=5.5, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    elif len(labels) > 1:
        axes.legend(fontsize=6, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
