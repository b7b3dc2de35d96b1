"""Checks of the exported folder: the files are the checkpoint's, fit the task, and run in time on this computer."""

from __future__ import annotations

import time

import numpy as np

from palestra.deploy.audit.recording import SENSOR, Recording, record
from palestra.deploy.audit.result import Check, Measure, Plot, Series, Status, at_most, judged, skipped, told
from palestra.deploy.audit.subject import Subject
from palestra.deploy.control_step import ControlStep
from palestra.deploy.export import control_step
from palestra.deploy.runtime import PolicyRunner
from palestra.deploy.verify import Finding
from palestra.envs.ideal_hardware import ideal_hardware
from palestra.errors import ConfigError, PalestraError

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
_EXPORT = "run palestra export again on this checkpoint, and copy the whole folder"


def exported_files(subject: Subject) -> Check:
    """Checksums agree, and the files compute on real observations what the checkpoint's policy does."""
    id, title = "exported-files", "The exported files are those of the checkpoint"
    parts = ("files", "checksums", "checkpoint", "metadata", "golden", "round_trip")
    if subject.exported is None:
        missing = Measure("exported folder", "missing", "", "made by palestra export", "fail")
        return judged(id, title, [missing], good="", bad="nothing to deploy", advice=_EXPORT)
    measures = [_measure(finding) for finding in subject.verified if finding.name in parts]
    return judged(
        id,
        title,
        measures,
        good="checksums agree, and the files compute what the checkpoint does",
        bad="the files are not those of the checkpoint",
        advice=_EXPORT,
    )


def exported_task(subject: Subject) -> Check:
    """What ``policy.json`` says of periods, joints, gains, actions, observations and commands is the task's."""
    id, title = "control-period", "Period, joints, gains and actions of the export are those of the task"
    if subject.exported is None:
        return skipped(id, title, _MISSING)
    measures = [_measure(finding) for finding in subject.verified if finding.name.startswith("description/")]
    control = subject.described["control"]
    rate = (subject.exported_description.get("control_step") or {}).get("sample_rate_hz")
    if rate is not None:
        fits = abs(float(rate) - control["rate"]) < 1e-6 * control["rate"]
        status: Status = "pass" if fits else "fail"
        measures.append(Measure("control_step.sample_rate_hz", rate, "Hz", f"{control['rate']:g}", status))
    if not measures:
        return skipped(id, title, "the exported files are not all there")
    return judged(
        id,
        title,
        measures,
        good=f"{control['rate']:g} Hz, {control['decimation']} physics steps in each control step",
        bad="the export is of another task",
        advice="run palestra export again with the run's own configuration",
    )


def privileged(subject: Subject) -> Check:
    """The policy needs nothing that only a simulation knows."""
    id, title = "privileged", "The policy sees only what the robot's sensors tell"
    try:
        step, reason = control_step(subject.env, subject.graph, allow_privileged=False)
        trouble = "" if step is not None else None
    except ConfigError as error:
        step, reason, trouble = None, None, _line(error)
    if trouble is None:
        return skipped(id, title, f"{reason}: what feeds the observations is not known")
    measures = [Measure("observations", trouble or "from sensors", "", "from sensors", "fail" if trouble else "pass")]
    measures += [_measure(finding) for finding in subject.verified if finding.name == "privileged"]
    if step is not None:
        measures.append(told("inputs of the control step", ", ".join(step.input_names)))
    return judged(
        id,
        title,
        measures,
        good="every input is measured by a robot",
        bad="a robot has no such sensor",
        advice="move the terms to the critic's group, or distil the policy into a student that does without",
    )


def runtime(subject: Subject) -> Check:
    """The exported control step runs in ``PolicyRunner``, gives the simulation's targets, and is in time."""
    id, title = "runtime", "The exported control step is right and in time on this computer"
    if subject.exported is None:
        return skipped(id, title, _MISSING)
    if subject.exported_description.get("control_step") is None:
        reason = subject.exported_description.get("no_control_step") or "policy.json describes no control step"
        return skipped(id, title, reason)
    advice = "run palestra export again; on a slow computer choose a smaller network or another provider"
    try:
        runner = PolicyRunner(subject.exported)
        golden = runner.check_golden()
        measures = [at_most("difference from golden vectors", golden, 1e-5)]
        recording, step = _recorded(subject)
        measures += _against_simulation(runner, recording, step)
        seconds = _step_times(runner, _given(recording, 0))
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


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the largest difference; of numbers greater than 1, as a fraction of them. NaN counts as infinite."""
    error = np.abs(found - wanted) / np.maximum(np.abs(wanted), 1.0)
    return float(np.where(np.isnan(error), np.inf, error).max(initial=0.0))


def _recorded(subject: Subject) -> tuple[Recording, ControlStep]:
    """Record one robot's sensors on ideal hardware, which is what the control step is compared on."""
    step, reason = control_step(subject.env, subject.graph, allow_privileged=True)
    if step is None:
        raise PalestraError(reason or "the task declares no control step")
    steps = min(subject.steps, COMPARED)
    with ideal_hardware(subject.env):
        seed = subject.options.seed
        return record(subject.env, subject.policy, subject.groups, steps, seed, sources=step.sources), step


def _given(recording: Recording, step: int) -> dict[str, np.ndarray]:
    """Return what the first robot's sensors and commands were before a step, by the names of the inputs."""
    known = {name.removeprefix(SENSOR): values for name, values in recording.series.items() if name.startswith(SENSOR)}
    return {name: values[step, 0] for name, values in known.items()}


def _against_simulation(runner: PolicyRunner, recording: Recording, described: ControlStep) -> list[Measure]:
    """Feed the recorded sensors of one robot to the runtime and compare what comes out with the simulation."""
    drawn = [state.name for state in described.states if state.read is not None]
    if drawn:
        return [told("compared with the simulation", f"by exported-files: episodes draw {', '.join(drawn)} at random")]
    worst: dict[str, float] = {}
    runner.reset()
    for step in range(recording.num_steps):
        given = _given(recording, step)
        out = runner.step(given, given)
        for name in ("obs", "actions", *_TARGETS):
            if name in out:
                wanted = recording.series[name][step, 0].reshape(out[name].shape)
                worst[name] = max(worst.get(name, 0.0), difference(out[name], wanted))
        if recording.ended[step, 0]:
            runner.reset()
    return [at_most(f"{name}: difference from the simulation", error, TOLERANCE) for name, error in worst.items()]


def _step_times(runner: PolicyRunner, given: dict[str, np.ndarray]) -> np.ndarray:
    """Return the durations of steps of the runtime (s)."""
    runner.reset()
    seconds = np.zeros(TIMED)
    for step in range(-WARM_UP, TIMED):
        began = time.perf_counter()
        runner.step(given, given)
        if step >= 0:
            seconds[step] = time.perf_counter() - began
    runner.reset()
    return seconds


def _measure(finding: Finding) -> Measure:
    status: Status = "pass" if finding.passed else "fail"
    return Measure(finding.name, finding.detail, "", "as exported and as the task says", status)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
