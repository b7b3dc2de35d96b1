"""Checks of the exported folder: the files are the checkpoint's, fit the task, and run in time on this computer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from palestra.deploy.audit.recording import Recording
from palestra.deploy.audit.result import Check, Measure, Plot, Series, at_most, judged, skipped, told
from palestra.deploy.audit.subject import Subject
from palestra.deploy.bundle import check_sha256
from palestra.deploy.check import Run, Stepper, open_onnx, open_torchscript
from palestra.deploy.description import sha256
from palestra.deploy.runtime import PolicyRunner
from palestra.errors import PalestraError

TOLERANCE = 1e-4
"""Largest difference of a number from the simulation's; of one greater than 1, its fraction."""

COMPARED = 300
"""Control steps that are compared with the simulation."""

TIMED = 2000
"""Control steps that are timed."""

WARM_UP = 100
"""Steps before that, which fill caches."""

_TARGETS = ("joint_pos_target", "joint_vel_target", "joint_effort_target")
_MISSING = "there is no exported folder: palestra export makes it"


def exported_files(subject: Subject) -> Check:
    """Checksums agree, and the files compute on real observations what the checkpoint's policy did."""
    id, title = "exported-files", "The exported files are those of the checkpoint"
    advice = "run palestra export again on this checkpoint, and copy the whole folder"
    folder, described = subject.exported, subject.exported_description
    if folder is None or not described:
        reason = "missing" if folder is None else "has no readable policy.json"
        missing = Measure("exported folder", reason, "", "made by palestra export", "fail")
        return judged(id, title, [missing], good="", bad="nothing to deploy", advice=advice)
    measures = [_same_checkpoint(subject, described), *_checksums(folder, described)]
    openers = {"actor.onnx": open_onnx, "policy.pt": open_torchscript}
    for name, opener in openers.items():
        path = folder / name
        if not path.is_file():
            measures.append(Measure(name, "missing", "", "there", "fail"))
            continue
        try:
            measures.append(_actor(subject, name, opener(path)))
        except Exception as error:  # whatever a library says of a damaged file
            measures.append(Measure(name, f"cannot be run: {_line(error)}", "", "runs", "fail"))
    return judged(
        id,
        title,
        measures,
        good="checksums agree, and the files compute what the checkpoint does",
        bad="the files are not those of the checkpoint",
        advice=advice,
    )


def exported_task(subject: Subject) -> Check:
    """What ``policy.json`` says of periods, joints, gains, actions, observations and commands is the task's."""
    id, title = "control-period", "Period, joints, gains and actions of the export are those of the task"
    described = subject.exported_description
    if not described:
        return skipped(id, title, _MISSING)
    task = subject.described
    wanted = {
        **{f"control.{name}": task["control"][name] for name in ("step_dt", "physics_dt", "decimation")},
        "articulations": task["articulations"],
        "actions": task["actions"],
        "commands": _untimed(task["commands"]),
        "observations": {name: task["observations"][name] for name in subject.groups},
    }
    found = {
        **{
            f"control.{name}": described.get("control", {}).get(name)
            for name in ("step_dt", "physics_dt", "decimation")
        },
        "articulations": described.get("articulations"),
        "actions": described.get("actions"),
        "commands": _untimed(described.get("commands") or {}),
        "observations": {group["name"]: group for group in described.get("observations", {}).get("groups", [])},
    }
    measures = []
    for name, value in wanted.items():
        differences = compare(value, found[name], name)
        if name == "observations":
            differences = [d for d in differences if not _shifted(d)]
        text = "as in the task" if not differences else "; ".join(differences[:3])
        measures.append(Measure(name, text, "", "as in the task", "fail" if differences else "pass"))
    rate = described.get("control_step", {}).get("sample_rate_hz")
    if rate is not None:
        task_rate = 1.0 / task["control"]["step_dt"]
        fits = abs(float(rate) - task_rate) < 1e-6 * task_rate
        measures.append(
            Measure("control_step.sample_rate_hz", rate, "Hz", f"{task_rate:g}", "pass" if fits else "fail")
        )
    return judged(
        id,
        title,
        measures,
        good=f"{task['control']['rate']:g} Hz, {task['control']['decimation']} physics steps in each control step",
        bad="the export is of another task",
        advice="run palestra export again with the run's own configuration",
    )


def privileged(subject: Subject) -> Check:
    """The policy needs nothing that only a simulation knows."""
    id, title = "privileged", "The policy sees only what the robot's sensors tell"
    step = subject.exported_description.get("control_step")
    if not subject.exported_description:
        return skipped(id, title, _MISSING)
    if not isinstance(step, dict):
        reason = subject.exported_description.get("no_control_step", "the export has no policy.onnx")
        return skipped(id, title, f"{reason}: what feeds the observations is not known")
    inputs = [entry for entry in step["inputs"] if entry["role"] == "sensor"]
    hidden = [entry["name"] for entry in inputs if entry.get("privileged") or entry["name"] == "base_lin_vel"]
    measures = [
        told("sensors", ", ".join(entry["name"] for entry in inputs)),
        Measure("privileged inputs", ", ".join(hidden) or "none", "", "none", "fail" if hidden else "pass"),
    ]
    return judged(
        id,
        title,
        measures,
        good="every input is measured by a robot",
        bad="no sensor of a robot gives these",
        advice="move the terms to the critic's group, or distil the policy into a student that does without",
    )


def runtime(subject: Subject) -> Check:
    """The exported control step runs in ``PolicyRunner``, gives the simulation's targets, and is in time."""
    id, title = "runtime", "The exported control step is right and in time on this computer"
    if subject.exported is None:
        return skipped(id, title, _MISSING)
    advice = "run palestra export again; on a slow computer choose a smaller network or another provider"
    try:
        runner = PolicyRunner(subject.exported)
        golden = runner.check_golden()
        measures = [at_most("difference from golden vectors", golden, 1e-5)]
        measures += _against_simulation(subject, runner)
        seconds = _step_times(subject, runner)
    except PalestraError as error:
        measure = Measure("PolicyRunner", _line(error), "", "runs", "fail")
        return judged(id, title, [measure], good="", bad="the runtime refuses the export", advice=advice)
    period = runner.step_dt
    median, late = float(np.median(seconds)), float(np.quantile(seconds, 0.99))
    measures += [
        told("control period", 1e3 * period, "ms"),
        at_most("median step, of the period", median / period, 0.25, 0.1),
        at_most("99 % of the steps within, of the period", late / period, 0.5, 0.25),
        told("median step", 1e6 * median, "µs"),
        told("99 % of the steps within", 1e6 * late, "µs"),
    ]
    ordered = np.sort(seconds) * 1e6
    curve = Series("", ordered.tolist(), np.linspace(0.0, 100.0, len(ordered)).tolist())
    return judged(
        id,
        title,
        measures,
        good=f"golden vectors agree; a step takes {1e6 * median:.0f} µs of {1e3 * period:.0f} ms",
        bad="the control step is wrong or late",
        advice=advice,
        plots=[Plot("Time of a control step", "time (µs)", "% of the steps below", (curve,))],
    )


def compare(wanted: Any, found: Any, where: str) -> list[str]:
    """Return where two descriptions differ, one line each; what only the export has is not told."""
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            return [f"{where} is missing"]
        return [line for key, value in wanted.items() for line in compare(value, found.get(key), f"{where}.{key}")]
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            return [f"{where} has {len(found) if isinstance(found, list) else 'no'} entries, not {len(wanted)}"]
        pairs = enumerate(zip(wanted, found, strict=True))
        return [line for k, (a, b) in pairs for line in compare(a, b, f"{where}[{k}]")]
    numbers = isinstance(wanted, int | float) and isinstance(found, int | float)
    same = abs(wanted - found) <= 1e-6 * max(abs(wanted), 1e-6) if numbers else wanted == found
    return [] if same else [f"{where} is {found!r}, in the task {wanted!r}"]


def _untimed(commands: dict[str, Any]) -> dict[str, Any]:
    """Return commands without what an audit changes of them: how often they are drawn, and how often zero."""
    keep = ("class", "width", "ranges")
    return {name: {key: entry.get(key) for key in keep} for name, entry in commands.items()}


def _shifted(difference: str) -> bool:
    """Whether a difference of observations is one of place (the export counts over all groups) or of noise."""
    return any(part in difference for part in (".slice", ".index", ".noise"))


def _same_checkpoint(subject: Subject, described: dict[str, Any]) -> Measure:
    recorded = (described.get("checkpoint") or {}).get("sha256")
    same = recorded == sha256(subject.checkpoint)
    text = "the audited one" if same else f"another ({str(recorded)[:12]}…)"
    return Measure("checkpoint of the export", text, "", "the audited one", "pass" if same else "fail")


def _checksums(folder: Path, described: dict[str, Any]) -> list[Measure]:
    files = described.get("files") or {}
    measures = []
    for name in files:
        try:
            check_sha256(folder / name, files)
            measures.append(Measure(f"sha256 of {name}", "agrees", "", "agrees"))
        except PalestraError as error:
            measures.append(Measure(f"sha256 of {name}", _line(error), "", "agrees", "fail"))
    return measures or [Measure("sha256", "none recorded", "", "one for each file", "fail")]


def _actor(subject: Subject, name: str, run: Run) -> Measure:
    """Compare a file of the actor with the recorded actions of the checkpoint's policy."""
    recording = subject.acting
    stepper = Stepper(run, subject.graph.memory, recording.num_envs)
    worst = 0.0
    for step in range(min(recording.num_steps, COMPARED)):
        found = stepper(torch.from_numpy(recording.obs[step])).numpy()
        worst = max(worst, difference(found, recording.actions[step]))
        stepper.reset(torch.from_numpy(recording.ended[step]))
    return at_most(f"{name}: difference of an action", worst, TOLERANCE)


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the largest difference; of numbers greater than 1, as a fraction of them. NaN counts as infinite."""
    error = np.abs(found - wanted) / np.maximum(np.abs(wanted), 1.0)
    return float(np.where(np.isnan(error), np.inf, error).max(initial=0.0))


def sensors_at(recording: Recording, step: int, env: int) -> dict[str, np.ndarray]:
    """Return what a robot would have measured and been told before a step, by the names of ``policy.onnx``'s inputs."""
    known = {name.removeprefix("sensor/"): values for name, values in recording.series.items() if "sensor/" in name}
    return {name: values[step, env] for name, values in known.items()}


def _against_simulation(subject: Subject, runner: PolicyRunner) -> list[Measure]:
    """Feed the recorded sensors of one robot to the runtime and compare what comes out with the simulation."""
    recording = subject.acting
    ports = {port.name for port in runner.control_step.inputs if port.role in ("sensor", "command")}
    unknown = ports - set(sensors_at(recording, 0, 0))
    if unknown:
        return [told("compared with the simulation", f"no: {', '.join(sorted(unknown))} was not recorded")]
    worst = dict.fromkeys(("obs", "actions", *_TARGETS), 0.0)
    delayed = subject.env.action_delay is not None
    runner.reset()
    for step in range(min(recording.num_steps, COMPARED)):
        given = sensors_at(recording, step, 0)
        out = runner.step(given, given)
        wanted = {"obs": recording.obs, "actions": recording.actions}
        if not delayed:
            wanted |= {name: recording.series[name] for name in _TARGETS}
        for name, series in wanted.items():
            if name in out:
                worst[name] = max(worst[name], difference(out[name], series[step, 0].reshape(out[name].shape)))
        if recording.ended[step, 0]:
            runner.reset()
    seen = [name for name in worst if any(port.name == name for port in runner.control_step.outputs)]
    return [at_most(f"{name}: difference from the simulation", worst[name], TOLERANCE) for name in seen]


def _step_times(subject: Subject, runner: PolicyRunner) -> np.ndarray:
    """Return the durations of steps of the runtime (s)."""
    inputs = runner.control_step.inputs
    recorded = sensors_at(subject.acting, 0, 0)
    given = {
        port.name: recorded.get(port.name, np.zeros(port.shape[1:], np.float32))
        for port in inputs
        if port.role in ("sensor", "command")
    }
    runner.reset()
    seconds = np.zeros(TIMED)
    for step in range(-WARM_UP, TIMED):
        began = time.perf_counter()
        runner.step(given, given)
        if step >= 0:
            seconds[step] = time.perf_counter() - began
    runner.reset()
    return seconds


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
