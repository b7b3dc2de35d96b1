"""Check of the comparison of simulators: another engine has run the policy, and the verdict is good."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from palestra.deploy.audit.result import Check, Measure, Status, judged, skipped, told
from palestra.deploy.audit.subject import SIM2SIM, Subject


def sim2sim(subject: Subject) -> Check:
    """``sim2sim/result.json`` is there, is of this checkpoint, and says that the comparison was passed."""
    id, title = "sim2sim", "The policy also does its task in another simulator"
    path = None if subject.run is None else subject.run / SIM2SIM
    if path is None or not path.is_file():
        return skipped(id, title, f"there is no {SIM2SIM}: palestra sim2sim makes it")
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        content, problem = {}, str(error)
    else:
        problem = "" if isinstance(content, dict) and isinstance(content.get("passed"), bool) else "it has no 'passed'"
    advice = "run palestra sim2sim again, and look at what differs between the simulators"
    if problem:
        measure = Measure(SIM2SIM, problem, "", "readable", "fail")
        return judged(id, title, [measure], good="", bad="the result cannot be read", advice=advice)
    passed = content["passed"]
    measures = [Measure("verdict", "passed" if passed else "failed", "", "passed", "pass" if passed else "fail")]
    measures += [_of_this_checkpoint(subject, path, content), *_rows(content)]
    return judged(
        id, title, measures, good="the comparison was passed", bad="the policy does not carry over", advice=advice
    )


def _of_this_checkpoint(subject: Subject, path: Path, content: dict[str, Any]) -> Measure:
    """Judge whether the result is of the audited checkpoint, and was made after it."""
    other = Path(str(content.get("checkpoint", ""))).name != subject.checkpoint.name
    older = path.stat().st_mtime < subject.checkpoint.stat().st_mtime
    text = "another" if other else "the audited one, but the result is older" if older else "the audited one"
    status: Status = "fail" if other else "warn" if older else "pass"
    return Measure("checkpoint", text, "", "the audited one, before the result", status)


def _rows(content: dict[str, Any]) -> list[Measure]:
    """Return the verdict on each simulation, and whether there was any."""
    rows = [row for row in content.get("rows", []) if isinstance(row, dict) and row.get("status") != "baseline"]
    compared = sum(row.get("status") in ("pass", "fail") for row in rows)
    status: Status = "pass" if compared else "warn"
    measures = [Measure("simulations compared with training", compared, "", "at least 1", status)]
    for row in rows:
        score, reason = row.get("score"), row.get("reason") or row.get("what") or ""
        number = f", score {score:.3g}" if isinstance(score, int | float) else ""
        measures.append(told(str(row.get("name")), f"{row.get('status')}{number}: {reason}"))
    return measures
