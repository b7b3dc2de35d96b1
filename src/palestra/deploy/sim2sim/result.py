"""What a policy achieves in one simulation, as a row of a table, and whether that is as good as in training."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch

from palestra.envs.evaluation import Episodes, Evaluation

Status = Literal["baseline", "pass", "fail", "skipped"]
Place = tuple[int, int]
"""Which environment, and which of its episodes: what two evaluations with the same seed have in common."""

FALLS_MARGIN = 0.02
"""How much larger the share of episodes with a fall may really be."""

FALLS_CHANCE = 0.1
"""A row fails if so many falls are less likely than this where the share is at the margin."""

_NORMAL_95 = 1.96
"""Half width of a 95 % interval in standard errors."""


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

    falls_95: tuple[float, float] | None = None
    """In which the share lies with a probability of 95 % (Wilson's interval)."""

    lost: float | None = None
    """What of training's score is lost, as a share; negative for a gain."""

    lost_95: float | None = None
    """Half width of its 95 % interval; None if there are too few episodes for one."""

    status: Status = "skipped"
    reason: str = ""
    """Why it was skipped, or what is not as good as in training."""

    scores: dict[Place, float] = field(default_factory=dict, repr=False)
    """Score of each episode; left out of :meth:`to_dict`."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain types."""
        return {name: value for name, value in asdict(self).items() if name != "scores"}


def score_names(env: Any) -> list[str]:
    """Return the reward terms whose mean is the score: those of tracking, in [0, 1]; none where success counts."""
    manager = getattr(env, "reward_manager", None)
    if env.has_success or manager is None:
        return []
    terms = {name: manager.get_term_cfg(name) for name in manager.active_terms}
    return [name for name, cfg in terms.items() if getattr(cfg.func, "__name__", "").startswith("track_")]


def row_of(name: str, what: str, result: Evaluation, env: Any) -> Row:
    """Return the row of an evaluation.

    Args:
        name: of the simulation.
        what: what differs.
        result: what came out.
        env: where it did.
    """
    each = result.each
    scores = _scores(each, score_names(env), env.has_success)
    if not scores:
        return Row(name, what, reason="no episode ended within the time of the longest")
    bad = [flags for cause, flags in each.causes.items() if cause not in _good_ends(env)]
    fell = torch.stack([*bad, torch.zeros_like(each.succeeded)]).any(dim=0) & ~each.succeeded
    error = next((value for key, value in result.metrics.items() if key.endswith("error_vel_xy")), None)
    return Row(
        name,
        what,
        result.episodes,
        score=sum(scores.values()) / len(scores),
        returned=result.return_mean,
        tracking_error=error,
        falls=float(fell.double().mean()),
        scores=scores,
    )


def _good_ends(env: Any) -> set[str]:
    """Return the causes that end an episode without a fall: those of success and the time limits."""
    manager = getattr(env, "termination_manager", None)
    if manager is None:
        return {"time_out"}
    cfgs = {name: manager.get_term_cfg(name) for name in manager.active_terms if name != "diverged"}
    return {name for name, cfg in cfgs.items() if cfg.time_out or cfg.success}


def _scores(each: Episodes, tracking: list[str], by_success: bool) -> dict[Place, float]:
    """Return the score of each episode: success, the mean of the tracking rewards over its steps, or the return."""
    if by_success:
        values = each.succeeded.double()
    elif tracking:
        values = torch.stack([each.step_values[name] for name in tracking]).mean(dim=0)
    else:
        values = each.returns
    places = zip(each.env.tolist(), each.ordinal.tolist(), strict=True)
    return dict(zip(places, values.tolist(), strict=True))


def judge(rows: list[Row], tolerance: float) -> bool:
    """Compare all rows with the first, which is the baseline; return whether none fails.

    A row passes if its score is at least ``1 - tolerance`` of the baseline's, and if so many falls may be chance where
    they are really at most ``FALLS_MARGIN`` more frequent than in the baseline. A baseline without a score fails.
    """
    baseline, *others = rows
    baseline.status = "baseline"
    baseline.falls_95 = _wilson(baseline.falls, baseline.episodes)
    useless = baseline.score is None or not math.isfinite(baseline.score) or baseline.score == 0.0
    if useless:
        baseline.reason = f"there is nothing to compare with: its score is {baseline.score or 0:g}"
    for row in others:
        if row.score is None or row.falls is None:
            row.status = "skipped"
            continue
        row.falls_95 = _wilson(row.falls, row.episodes)
        reasons = [baseline.reason] if useless else _worse(row, baseline, tolerance)
        row.status, row.reason = ("fail", "; ".join(reasons)) if reasons else ("pass", "")
    return not useless and all(row.status != "fail" for row in others)


def _worse(row: Row, baseline: Row, tolerance: float) -> list[str]:
    """Say what of a row is not as good, and note what is lost."""
    assert row.score is not None and baseline.score is not None
    assert row.falls is not None and baseline.falls is not None
    reasons = []
    row.lost = (baseline.score - row.score) / abs(baseline.score)
    error = _standard_error(row.scores, baseline.scores)
    row.lost_95 = None if error is None else _NORMAL_95 * error / abs(baseline.score)
    if not row.lost <= tolerance:
        reasons.append(f"{row.lost:.0%} of the score lost, more than {tolerance:.0%}")
    allowed = min(baseline.falls + FALLS_MARGIN, 1.0)
    if _chance(round(row.falls * row.episodes), row.episodes, allowed) < FALLS_CHANCE:
        reasons.append(f"falls in {row.falls:.0%} of the episodes, {baseline.falls:.0%} in training")
    return reasons


def _standard_error(scores: dict[Place, float], others: dict[Place, float]) -> float | None:
    """Return the standard error of the difference of two means; episodes that start alike are compared in pairs."""
    if min(len(scores), len(others)) < 2:
        return None
    if scores.keys() == others.keys():
        return _error_of_mean([value - others[place] for place, value in scores.items()])
    return math.hypot(_error_of_mean(list(scores.values())), _error_of_mean(list(others.values())))


def _error_of_mean(values: list[float]) -> float:
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return math.sqrt(variance / len(values))


def _wilson(share: float | None, count: int) -> tuple[float, float] | None:
    """Return Wilson's 95 % interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22)."""
    if share is None or count < 1:
        return None
    z2 = _NORMAL_95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _NORMAL_95 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _chance(number: int, count: int, share: float) -> float:
    """Return how likely ``number`` or more of ``count`` are where the true share is ``share``."""
    if number <= 0 or share >= 1.0:
        return 1.0

    def logarithm(k: int) -> float:
        choices = math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        return choices + k * math.log(share) + (count - k) * math.log1p(-share)

    return sum(math.exp(logarithm(k)) for k in range(number, count + 1)) if share > 0.0 else 0.0
