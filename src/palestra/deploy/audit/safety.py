"""Checks of the safety monitor: its limits, that it trips on faults, and that it lets the policy work."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator

import numpy as np

from palestra.deploy.audit.recording import Recording, robot_of
from palestra.deploy.audit.result import Check, Measure, at_most, judged, skipped, told
from palestra.deploy.audit.subject import Subject
from palestra.deploy.bundle import robot_of as described_robot
from palestra.deploy.limits import SafetyLimits, read_overrides
from palestra.deploy.robot import RobotCommand, RobotState
from palestra.deploy.safety import Cause, SafetyMonitor
from palestra.errors import ConfigError

WATCHED = 8
"""Robots whose recordings pass through the monitor."""

CALM = 10
"""Steps without a fault before one is injected."""

_NONE = "the monitor takes its limits from policy.json: palestra export makes it"


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """Keep the monitor's log of faults out of the terminal: here they are meant."""
    log = logging.getLogger("palestra.deploy")
    disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = disabled


def limits(subject: Subject) -> Check:
    """Every driven joint has limits, and none is wider than the hardware's."""
    id, title = "safety-limits", "The safety monitor has limits for every joint, within the hardware's"
    if not subject.exported_description:
        return skipped(id, title, _NONE)
    advice = "give limits with a file (palestra deploy --limits FILE, audit --limits FILE), or in the robot's actuators"
    try:
        configured = _configured(subject)
    except ConfigError as error:
        measure = Measure("limits", str(error), "", "valid", "fail")
        return judged(id, title, [measure], good="", bad="the limits cannot be used", advice=advice)
    robot = described_robot(subject.exported_description)
    driven = _driven(subject, configured)
    measures: list[Measure] = []
    hardware = {name: _numbers(robot[name]) for name in ("velocity_limits", "effort_limits")}
    ranges = np.array([_pair(entry) for entry in robot["position_limits"]])
    for what, given, allowed in (
        ("velocity", configured.velocity_limits, hardware["velocity_limits"]),
        ("effort", configured.effort_limits, hardware["effort_limits"]),
        ("upper position", configured.position_high, ranges[:, 1]),
        ("lower position", -configured.position_low, -ranges[:, 0]),
    ):
        wider = given > allowed + 1e-9
        measures.append(_named(f"joints with a wider {what} limit than the hardware", wider, configured, "fail"))
        missing = driven & ~np.isfinite(given)
        measures.append(_named(f"driven joints without a {what} limit", missing, configured, "warn"))
    valid = np.isfinite(configured.damping).all() and bool((configured.position_low < configured.position_high).all())
    text = "valid" if valid else "not valid"
    measures.append(Measure("damping and ranges", text, "", "valid", "pass" if valid else "fail"))
    measures += [
        told("greatest tilt", configured.max_tilt if configured.floating_base else None, "rad"),
        told("oldest state", configured.state_max_age, "s"),
        told("longest silence", configured.communication_timeout, "s"),
    ]
    return judged(
        id,
        title,
        measures,
        good=f"{len(configured.joint_names)} joints have limits, none wider than the hardware's",
        bad="limits are missing or too wide",
        advice=advice,
    )


@_unlogged()
def trips(subject: Subject) -> Check:
    """The monitor trips on each injected fault, and answers it with damping."""
    id, title = "safety-trips", "The safety monitor trips on faults"
    if not subject.exported_description:
        return skipped(id, title, _NONE)
    try:
        configured = _configured(subject)
    except ConfigError as error:
        return skipped(id, title, f"the limits cannot be used: {error}")
    measures = []
    for cause, inject in _faults(configured, subject.acting.step_dt).items():
        found, damped = _tripped(subject, configured, inject)
        text = (", ".join(found) + ("" if damped else ", not damped")) if found else "nothing"
        wanted = (cause, "stale_state") if cause == "communication" else (cause,)  # silence makes states old first
        good = damped and any(one in found for one in wanted)
        measures.append(Measure(f"injected: {cause}", text, "", " or ".join(wanted), "pass" if good else "fail"))
    return judged(
        id,
        title,
        measures,
        good=f"{len(measures)} injected faults trip and are answered with damping",
        bad="a fault goes by unseen",
        advice="narrow the limits of what does not trip (--limits), so that the monitor sees it",
    )


@_unlogged()
def nominal(subject: Subject) -> Check:
    """The monitor lets the policy work: no trips, few targets bounded."""
    id, title = "safety-nominal", "The safety monitor does not trip while the policy does its task"
    if not subject.exported_description:
        return skipped(id, title, _NONE)
    recording = subject.acting
    robot = robot_of(subject.env)
    try:
        configured = _configured(subject)
    except ConfigError as error:
        return skipped(id, title, f"the limits cannot be used: {error}")
    if robot is None or list(configured.joint_names) != recording.joint_names:
        return skipped(id, title, "the exported joints are not the task's")
    counts: dict[str, int] = {}
    bounded = steps = episodes = 0
    for env in range(min(WATCHED, recording.num_envs)):
        for episode in recording.episodes(env):
            monitor, episodes = _monitor(subject, configured), episodes + 1
            failed = recording.failed[episode.stop - 1, env]
            stop = episode.stop - round(0.5 / recording.step_dt) if failed else episode.stop  # a fall is meant to trip
            for step in range(episode.start, stop):
                now = step * recording.step_dt
                if not monitor.check(state_at(recording, step, env), now):
                    cause = monitor.trips[0].cause
                    counts[cause] = counts.get(cause, 0) + 1
                    break
                monitor.bound(_command(subject, recording, step, env), now)
                steps += 1
            bounded += monitor.clipped_steps
    tripped = ", ".join(f"{cause} ({count})" for cause, count in counts.items()) or "none"
    measures = [
        Measure("trips", tripped, "", "none", "fail" if counts else "pass"),
        told("episodes", episodes),
        at_most("share of the commands that were bounded", bounded / max(steps, 1), 0.5, 0.1),
    ]
    return judged(
        id,
        title,
        measures,
        good=f"no trips in {episodes} episodes",
        bad="the policy and its limits do not fit",
        advice="train with the limits as penalties (joint_pos_limits, joint_vel_limits, applied_torque_limits), or "
        "widen them within the hardware's",
    )


@dataclasses.dataclass
class _Given:
    """What reaches the monitor in a step."""

    state: RobotState | None
    command: RobotCommand
    missed: int = 0
    """Deadlines missed."""


Inject = Callable[[int, RobotState, RobotCommand], _Given]
"""Steps since the fault began (from 1), state and command to what the monitor gets."""


def _faults(limits: SafetyLimits, period: float) -> dict[Cause, Inject]:
    """Return what is injected, by the cause that must be told."""
    faults: dict[Cause, Inject] = {
        "bad_sensor": lambda _, s, c: _Given(dataclasses.replace(s, joint_pos=_with(s.joint_pos, np.nan)), c),
        "time_reversed": lambda _, s, c: _Given(dataclasses.replace(s, stamp=s.stamp - 1.0), c),
        "communication": lambda _, s, c: _Given(None, c),
        "stale_state": lambda k, s, c: _Given(dataclasses.replace(s, stamp=s.stamp - 0.9 * k * period), c),
        "bad_target": lambda _, s, c: _Given(
            s, dataclasses.replace(c, joint_pos_target=_with(c.joint_pos_target, np.inf))
        ),
        "missed_deadlines": lambda _, s, c: _Given(s, c, limits.max_missed_deadlines + 1),
    }
    bounds: tuple[tuple[Cause, str, np.ndarray], ...] = (
        ("position", "joint_pos", limits.position_high + limits.position_margin),
        ("velocity", "joint_vel", limits.velocity_trip),
        ("effort", "joint_effort", limits.effort_trip),
    )
    for cause, field, bound in bounds:
        joint = next((k for k in range(len(bound)) if np.isfinite(bound[k])), None)
        if joint is not None:
            faults[cause] = _beyond(field, joint, float(bound[joint]))
    return faults | (_base_faults(limits) if limits.floating_base else {})


def _base_faults(limits: SafetyLimits) -> dict[Cause, Inject]:
    half = 0.5 * (limits.max_tilt + 0.2)
    tilted, long = np.array([np.cos(half), np.sin(half), 0.0, 0.0]), np.array([1.5, 0.0, 0.0, 0.0])
    fast = np.array([1.1 * limits.max_base_ang_vel, 0.0, 0.0])
    faults: dict[Cause, Inject] = {
        "tilt": lambda _, s, c: _Given(dataclasses.replace(s, base_quat=tilted), c),
        "base_ang_vel": lambda _, s, c: _Given(dataclasses.replace(s, base_ang_vel=fast), c),
        "quaternion": lambda _, s, c: _Given(dataclasses.replace(s, base_quat=long), c),
    }
    if not limits.base_contact:
        faults["base_contact"] = lambda _, s, c: _Given(dataclasses.replace(s, base_contact=True), c)
    return faults


def _beyond(field: str, joint: int, bound: float) -> Inject:
    value = bound + 0.01 * abs(bound) + 1e-3

    def inject(_: int, state: RobotState, command: RobotCommand) -> _Given:
        values = getattr(state, field)
        return _Given(dataclasses.replace(state, **{field: _with(values, value, joint)}), command)

    return inject


def _tripped(subject: Subject, limits: SafetyLimits, inject: Inject) -> tuple[list[str], bool]:
    """Run the monitor through calm steps and a fault; return the causes that it tells, and whether it then damps."""
    monitor, recording = _monitor(subject, limits), subject.acting
    env = int(np.argmax(recording.first_lengths))
    calm, command = state_at(recording, CALM, env), _command(subject, recording, CALM, env)
    for step in range(2 * CALM + limits.deadline_window):
        now = step * recording.step_dt
        given = _Given(dataclasses.replace(calm, stamp=now), command)
        if step >= CALM and given.state is not None:
            given = inject(step - CALM + 1, given.state, command)
        monitor.note_deadlines(given.missed, now)
        monitor.check(given.state, now)
        sent = monitor.bound(given.command, now)
        if monitor.tripped:
            return [trip.cause for trip in monitor.trips], step >= CALM and sent.mode == "damping"
    return [], False


def state_at(recording: Recording, step: int, env: int) -> RobotState:
    """Return what a robot's sensors would have read after a recorded step."""
    return RobotState(
        stamp=step * recording.step_dt,
        joint_pos=recording.joint_pos[step, env].astype(np.float64),
        joint_vel=recording.joint_vel[step, env].astype(np.float64),
        joint_effort=recording.applied_torque[step, env].astype(np.float64),
        base_ang_vel=recording.root_ang_vel_b[step, env].astype(np.float64),
        base_quat=recording.root_quat_w[step, env].astype(np.float64),
    )


def _command(subject: Subject, recording: Recording, step: int, env: int) -> RobotCommand:
    robot = described_robot(subject.exported_description)
    return RobotCommand(
        recording.joint_pos_target[step, env].astype(np.float64),
        recording.joint_vel_target[step, env].astype(np.float64),
        recording.joint_effort_target[step, env].astype(np.float64),
        _numbers(robot["stiffness"]),
        _numbers(robot["damping"]),
    )


def _configured(subject: Subject) -> SafetyLimits:
    path = subject.options.limits
    overrides = None if path is None else read_overrides(path)
    return SafetyLimits.from_description(subject.exported_description, overrides)


def _monitor(subject: Subject, limits: SafetyLimits) -> SafetyMonitor:
    default = _numbers(described_robot(subject.exported_description)["default_joint_pos"])
    return SafetyMonitor(limits, default)


def _driven(subject: Subject, limits: SafetyLimits) -> np.ndarray:
    """Return which joints an actuator of the task moves, ``(num_joints,)``."""
    robot = robot_of(subject.env)
    moved = set() if robot is None else {name for a in robot.actuators.values() for name in a.joint_names}
    return np.array([name in moved for name in limits.joint_names])


def _named(name: str, flags: np.ndarray, limits: SafetyLimits, status: str) -> Measure:
    names = [joint for joint, flag in zip(limits.joint_names, flags, strict=True) if flag]
    text = "none" if not names else ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return Measure(name, text, "", "none", status if names else "pass")  # type: ignore[arg-type]


def _with(values: np.ndarray, value: float, at: int = 0) -> np.ndarray:
    changed = np.array(values, np.float64)
    changed[at] = value
    return changed


def _numbers(values: list[float | None]) -> np.ndarray:
    return np.array([np.inf if value is None else float(value) for value in values])


def _pair(entry: list[float | None] | None) -> tuple[float, float]:
    low, high = entry or (None, None)
    return -np.inf if low is None else float(low), np.inf if high is None else float(high)
