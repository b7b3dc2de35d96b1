"""Check of the comparison of simulators: another engine has run the policy, and the verdict is good."""

from __future__ import annotations

import json
from typing import Any

from palestra.deploy.audit.result import Check, Measure, judged, skipped, told
from palestra.deploy.audit.subject import SIM2SIM, Subject
from palestra.deploy.description import sha256


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
    checkpoint = content.get("checkpoint")
    recorded = checkpoint.get("sha256") if isinstance(checkpoint, dict) else None
    if recorded is not None:
        same = recorded == sha256(subject.checkpoint)
        text = "the audited one" if same else "another"
        measures.append(Measure("checkpoint", text, "", "the audited one", "pass" if same else "fail"))
    numbers = {k: v for k, v in content.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    measures += [told(name, value) for name, value in numbers.items()]
    return judged(
        id, title, measures, good="the comparison was passed", bad="the policy does not carry over", advice=advice
    )
