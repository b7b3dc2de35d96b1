"""Checks of how the policy was trained: shares of the reward terms, how far the curriculum came."""

from __future__ import annotations

from typing import Any

from palestra.deploy.audit.result import Check, Measure, Plot, Series, at_most, judged, skipped, told
from palestra.deploy.audit.subject import Subject
from palestra.rl.reward_shares import DOMINANT, ENOUGH, SHARE, RewardBalance


def reward_shares(subject: Subject) -> Check:
    """No reward term makes up more than ``DOMINANT`` of the sum of all, averaged over the end of the training."""
    id, title = "reward-shares", "No reward term makes up nearly all of the reward at convergence"
    rows = [row for row in subject.metrics if "iteration" in row]
    if not rows:
        return skipped(id, title, "the run has no metrics.csv")
    terms = sorted({k.removeprefix(SHARE) for row in rows for k in row if k.startswith(SHARE) and "group/" not in k})
    if not terms:
        if not hasattr(subject.env, "reward_manager"):
            return skipped(id, title, "the task computes its reward as one sum: there are no terms to compare")
        advice = "train with a version that logs Reward_Share/<term>, or for as long as an episode takes"
        missing = Measure("logged reward terms", 0, "", "at least 1", "fail")
        return judged(id, title, [missing], good="", bad="reward terms are not logged", advice=advice)
    balance = RewardBalance(len(rows))
    for row in rows:
        balance.add(row)
    counted = [row for row in rows if any(k.startswith(SHARE) for k in row)]
    end = counted[-max(len(rows) // 10, ENOUGH) :]
    means = {term: sum(row.get(SHARE + term, 0.0) for row in end) / len(end) for term in terms}
    largest = max(means, key=means.__getitem__)
    share = at_most(f"share of {largest!r}", means[largest], DOMINANT)
    learned_away = balance.warning() is None and share.status == "fail"
    if learned_away and len(counted) >= ENOUGH:  # the rest is penalties that the policy no longer earns, or nothing
        share = Measure(share.name, share.value, "", "above 0.8 only beside penalties that were learned away")
    elif learned_away:
        share = Measure(share.name, share.value, "", f"at most {DOMINANT:g}, over {ENOUGH} iterations or more", "warn")
    others = [told(f"share of {t!r}", v) for t, v in sorted(means.items(), key=lambda item: -item[1]) if t != largest]
    series = [
        Series(term, [row["iteration"] for row in counted], [row.get(SHARE + term, 0.0) for row in counted])
        for term in sorted(terms, key=lambda t: -means[t])[:8]
    ]
    return judged(
        id,
        title,
        [share, *others, told("iterations averaged", len(end))],
        good=f"the largest share is {means[largest]:.0%}, of {largest!r}",
        bad="the other terms hardly count",
        advice="lower the weight of the term or raise those of the others; what hardly counts is not learned",
        plots=[Plot("Share of each reward term", "iteration", "share of Σ |term|", tuple(series), DOMINANT)],
    )


def curriculum(subject: Subject) -> Check:
    """The curriculum has arrived at its last stage, so that what was trained is what is deployed."""
    id, title = "curriculum-stage", "The curriculum has reached the task that is deployed"
    manager: Any = getattr(subject.env, "curriculum_manager", None)
    if manager is None or not manager.active_terms:
        return skipped(id, title, "the task has no curriculum: it is trained as it is deployed")
    saved = (subject.content.get("env_state") or {}).get("curriculum", {})
    measures: list[Measure] = []
    for name in manager.active_terms:
        cfg = manager.get_term_cfg(name)
        term = manager.class_terms().get(name)
        if term is None:
            measures.append(_by_steps(subject, name, cfg.params))
        elif hasattr(term, "stage"):
            measures.append(_stage(name, term, saved.get(name)))
        elif hasattr(term, "ranges") and hasattr(term, "_least"):
            measures += _adr(name, term)
        elif name in saved and "terrain_levels" in saved[name]:
            measures.append(_terrain(subject, name, saved[name]))
        else:
            measures.append(told(f"{name}: state", "kept" if name in saved else "none"))
    return judged(
        id,
        title,
        measures,
        good="all terms are at their last stage",
        bad="the policy has not seen the whole task",
        advice="train on (palestra train TASK --resume RUN) until the last stage, or deploy with the ranges reached",
    )


def _stage(name: str, term: Any, saved: Any) -> Measure:
    names = getattr(term, "names", None)
    last = (len(names) if names is not None else term.num_stages) - 1
    stage = int(term.stage)
    text = f"stage {stage + 1} of {last + 1}" + (f", {names[stage]!r}" if names is not None else "")
    if saved is None:
        text += " (the checkpoint says nothing of it)"
    allowed = f"stage {last + 1}" + (f", {names[last]!r}" if names is not None else "")
    return Measure(name, text, "", allowed, "pass" if stage >= last else "fail")


def _by_steps(subject: Subject, name: str, params: dict[str, Any]) -> Measure:
    """Judge a function of the number of steps, such as ``modify_reward_weight``."""
    needed = params.get("num_steps")
    steps = int((subject.content.get("env_state") or {}).get("steps", 0))
    if not isinstance(needed, int | float):
        return told(name, "no stages")
    return Measure(name, steps, "steps", f"more than {needed:g}", "pass" if steps > needed else "fail")


def _adr(name: str, term: Any) -> list[Measure]:
    """Judge automatic domain randomization: the ranges should have grown from where they began."""
    measures = []
    for k, parameter in enumerate(term._names):
        low, high = (float(x) for x in term.ranges[k])
        start = (float(term._least[k, 1]), float(term._most[k, 0]))
        grown = low < start[0] - 1e-9 or high > start[1] + 1e-9
        text, allowed = f"[{low:.4g}, {high:.4g}]", f"wider than [{start[0]:.4g}, {start[1]:.4g}], where it began"
        measures.append(Measure(f"{name}: {parameter}", text, "", allowed, "pass" if grown else "warn"))
    return measures


def _terrain(subject: Subject, name: str, saved: Any) -> Measure:
    levels = [float(x) for x in saved["terrain_levels"]]
    terrain: Any = subject.env.scene.terrain
    most = max(int(terrain.max_terrain_level) - 1, 1)
    mean = sum(levels) / max(len(levels), 1)
    allowed = f"up to {most}; warning below half of it"
    return Measure(f"{name}: mean level", mean, "", allowed, "warn" if mean < 0.5 * most else "pass")
