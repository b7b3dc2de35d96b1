"""Check of the observation normaliser: the checkpoint's, and made of observations like those of the task."""

from __future__ import annotations

from typing import Any

import numpy as np

from palestra.deploy.audit.result import Check, Measure, Plot, Series, at_most, judged, told
from palestra.deploy.audit.subject import Subject
from palestra.deploy.graph import Normalizer, PolicyGraph, SideBySide

LARGEST = 15.0
"""A network input beyond is nothing that the policy was trained on."""


def normalizer(subject: Subject) -> Check:
    """The normaliser is finite, not that of the start of a training, and brings real observations to order one."""
    id, title = "normalizer", "The observation normaliser is exported and fits the observations"
    graph: PolicyGraph = subject.graph
    obs = subject.acting.obs.reshape(-1, graph.obs_dim).astype(np.float64)
    measures = [_exported(subject, graph)]
    trained_with = _trained_with_one(subject)
    if graph.normalizer is None:
        status = "fail" if trained_with else "pass"
        allowed = "one, as in training" if trained_with else "none, as in training"
        measures.append(Measure("normaliser of the policy", "none", "", allowed, status))
        centred, spread = np.zeros(graph.obs_dim), np.ones(graph.obs_dim)
    else:
        centred, spread, more = _statistics(graph)
        measures += more
    finite = bool(np.isfinite(obs).all())
    measures.append(
        Measure("observations", "finite" if finite else "not finite", "", "finite", "pass" if finite else "fail")
    )
    names = entry_names(subject)
    normalized = np.abs((obs - centred) / spread)
    large = np.quantile(normalized, 0.999, axis=0)
    worst = int(large.argmax())
    measures.append(
        at_most(f"normalised observation (99.9 %), worst at {names[worst]!r}", float(large[worst]), LARGEST, 8.0)
    )
    if graph.normalizer is not None:
        off = np.abs(obs.mean(axis=0) - centred) / spread
        at = int(off.argmax())
        measures.append(
            at_most(
                f"mean of real observations off by, in deviations, worst at {names[at]!r}", float(off[at]), 5.0, 3.0
            )
        )
    return judged(
        id,
        title,
        measures,
        good="exported with the policy, finite, and fits the observations of real episodes"
        if graph.normalizer is not None
        else "the policy has no normaliser, and its observations are of order one",
        bad="the normaliser does not fit",
        advice="export the checkpoint again; if the statistics do not fit, train on, or with the observations deployed",
        plots=[_plot(large)],
    )


def entry_names(subject: Subject) -> list[str]:
    """Return the names of the policy's observations."""
    groups = subject.described["observations"]
    return [entry["name"] for name in subject.groups for term in groups[name]["terms"] for entry in term["entries"]]


def _exported(subject: Subject, graph: PolicyGraph) -> Measure:
    described = subject.exported_description
    if not described:
        return told("normaliser in the export", "there is no export")
    own = None if graph.normalizer is None else graph.normalizer.describe()
    same = (described.get("policy") or {}).get("normalizer") == own
    return Measure(
        "normaliser in the export",
        "the policy's" if same else "another",
        "",
        "the policy's",
        "pass" if same else "fail",
    )


def _trained_with_one(subject: Subject) -> bool:
    """Whether the run's configuration says that the actor normalises observations."""
    config: Any = subject.content.get("config")
    actor = config.get("actor") if isinstance(config, dict) else None
    return bool(isinstance(actor, dict) and actor.get("obs_normalization"))


def _statistics(graph: PolicyGraph) -> tuple[np.ndarray, np.ndarray, list[Measure]]:
    """Return mean and denominator of each entry, and what can be said of them by themselves."""
    mean, denominator = np.zeros(graph.obs_dim), np.ones(graph.obs_dim)
    parts = _parts(graph)
    for start, part in parts:
        width = part.mean.numel()
        mean[start : start + width] = part.mean.double().cpu().numpy()
        denominator[start : start + width] = part.denominator.double().cpu().numpy()
    finite = bool(np.isfinite(mean).all() and np.isfinite(denominator).all() and (denominator > 0.0).all())
    untrained = bool(np.allclose(mean, 0.0) and np.allclose(denominator, denominator.flat[0]))
    return (
        mean,
        denominator,
        [
            Measure(
                "mean and denominator",
                "finite" if finite else "not finite, or not above 0",
                "",
                "finite, above 0",
                "pass" if finite else "fail",
            ),
            Measure(
                "statistics",
                "those of no observations" if untrained else "of observations",
                "",
                "of observations",
                "fail" if untrained else "pass",
            ),
        ],
    )


def _parts(graph: PolicyGraph) -> list[tuple[int, Normalizer]]:
    if isinstance(graph.normalizer, Normalizer):
        return [(0, graph.normalizer)]
    assert isinstance(graph.normalizer, SideBySide)
    out, start = [], 0
    for width, part in zip(graph.normalizer.widths, graph.normalizer.parts, strict=True):
        if isinstance(part, Normalizer):
            out.append((start, part))
        start += width
    return out


def _plot(large: np.ndarray) -> Plot:
    series = Series("", list(range(len(large))), large.tolist(), "points")
    return Plot("Network inputs, 99.9 %", "entry of the observation", "normalised", (series,), LARGEST)
