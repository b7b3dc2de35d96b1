"""What a policy achieves in one simulation, as a row of a table, and whether that is as good as in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from palestra.envs.evaluation import Evaluation

Status = Literal["baseline", "pass", "fail", "skipped"]

FALLS_TOLERANCE = 0.05
"""How much larger the share of episodes with a fall may be."""


@dataclass
class Row:
    """One simulation."""

    name: str
    what: str
    """What differs from training."""

    episodes: int = 0
    score: float | None = None
    """Success rate, or the mean of the tracking rewards as a share of their maximum; None if it was not run."""

    returned: float | None = None
    """Mean return; None where rewards were not computed along the way."""

    tracking_error: float | None = None
    """Mean distance to the commanded planar velocity (m/s); None for tasks without one."""

    falls: float | None = None
    """Share of the episodes that ended by something other than success or the time limit."""

    status: Status = "skipped"
    reason: str = ""
    """Why it was skipped, or what is not as good as in training."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self)


def score_names(env: Any) -> list[str]:
    """Return the reward terms whose mean is the score: those of tracking, in [0, 1]; none where success counts."""
    manager = getattr(env, "reward_manager", None)
    if env.has_success or manager is None:
        return []
    terms = {name: manager.get_term_cfg(name) for name in manager.active_terms}
    return [name for name, cfg in terms.items() if getattr(cfg.func, "__name__", "").startswith("track_")]


def row_of(name: str, what: str, result: Evaluation, tracking: list[str]) -> Row:
    """Return the row of an evaluation.

    Args:
        name: of the simulation.
        what: what differs.
        result: what came out.
        tracking: reward terms of the score; without them the success rate counts, or else the return.
    """
    if result.success_rate is not None:
        score = result.success_rate
    elif tracking:
        score = sum(result.step_values[name] for name in tracking) / len(tracking)
    else:
        score = result.return_mean
    error = next((value for key, value in result.metrics.items() if key.endswith("error_vel_xy")), None)
    return Row(name, what, result.episodes, score, result.return_mean, error, _falls(result.terminations))


def _falls(terminations: Mapping[str, float]) -> float:
    return sum(share for cause, share in terminations.items() if cause not in ("time_out", "success"))


def judge(rows: list[Row], tolerance: float) -> bool:
    """Compare all rows with the first, which is the baseline; return whether none fails.

    A row passes if its score is at least ``1 - tolerance`` of the baseline's and the share of falls at most
    ``FALLS_TOLERANCE`` above it.
    """
    baseline, *others = rows
    baseline.status = "baseline"
    assert baseline.score is not None and baseline.falls is not None
    for row in others:
        if row.score is None or row.falls is None:
            row.status = "skipped"
            continue
        reasons = []
        lost = (baseline.score - row.score) / abs(baseline.score) if baseline.score else 0.0
        if not lost <= tolerance:
            reasons.append(f"{lost:.0%} of the score lost, more than {tolerance:.0%}")
        if not row.falls <= baseline.falls + FALLS_TOLERANCE:
            reasons.append(f"falls in {row.falls:.0%} of the episodes, {baseline.falls:.0%} in training")
        row.status, row.reason = ("fail", "; ".join(reasons)) if reasons else ("pass", "")
    return all(row.status != "fail" for row in others)
