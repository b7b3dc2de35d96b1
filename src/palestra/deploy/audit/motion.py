"""Checks of what the policy asks of the motors: vibration, size and speed of its targets, drift over a long time."""

from __future__ import annotations

import numpy as np

from palestra.deploy.audit.recording import Recording, robot_of
from palestra.deploy.audit.result import Check, Measure, Plot, Series, at_most, judged, skipped, told
from palestra.deploy.audit.subject import LONGER, Subject

SEGMENT = 64
"""Steps of a segment of the power spectrum."""

FAST = 0.4
"""Motion above this fraction of the Nyquist frequency is vibration: no joint needs 10 Hz at 50 Hz of control."""

FAST_SHARE = (0.3, 0.15)
"""Share of a signal's power in fast motion that fails, and that is worth a warning."""

NOTICEABLE = 0.02
"""Fast torque, of a motor's greatest, below which nobody would notice it."""

TARGETS = {"joint_pos_target": "rad or m", "joint_vel_target": "rad/s or m/s", "joint_effort_target": "N·m or N"}
"""Targets of joints, and their units."""

_DRIFT = 1.5
"""Growth of an error or of the effort between the first and the last tenth of the endurance rollout that fails."""


def vibration(subject: Subject) -> Check:
    """Little of the motion of targets and torques is near the Nyquist frequency."""
    id, title = "vibration", "The policy does not make the motors vibrate"
    recording = subject.acting
    frequencies = np.fft.rfftfreq(SEGMENT, recording.step_dt)
    border = FAST * frequencies[-1]
    spectra = {"actions": spectrum(recording, recording.actions)}
    if recording.has("applied_torque"):
        spectra["applied torque"] = spectrum(recording, recording.applied_torque)
    if not any(power.any() for power in spectra.values()):
        return skipped(id, title, f"no episode lasts {SEGMENT} steps, or nothing moves")
    fast = frequencies > border
    noticeable = _fast_torque(subject, spectra.get("applied torque"), fast)
    measures: list[Measure] = []
    for name, power in spectra.items():
        share = float(power[fast].sum() / max(power.sum(), 1e-12))
        measure = at_most(f"{name}: share of the power above {border:.3g} Hz", share, *FAST_SHARE)
        if measure.status != "pass" and noticeable is not None and noticeable < NOTICEABLE:
            allowed = f"{measure.allowed}, if the fast torque is above {NOTICEABLE:g} of the motor's"
            measure = Measure(measure.name, share, "", allowed)
        measures.append(measure)
    if noticeable is not None:
        measures.append(told("greatest fast torque of a joint (r.m.s.), of its limit", noticeable))
    curves = tuple(
        Series(name, frequencies[1:].tolist(), (power.sum(axis=1) / max(power.sum(), 1e-12))[1:].tolist())
        for name, power in spectra.items()
    )
    return judged(
        id,
        title,
        measures,
        good="actions and torques move slowly against the control rate",
        bad="the policy vibrates",
        advice="raise the weight of action_rate_l2 or of joint_acc_l2, or filter the targets, and train again",
        plots=[
            Plot("Power spectrum", "frequency (Hz)", "share of the power", curves, limit_x=border, logarithmic=True)
        ],
    )


def spectrum(recording: Recording, signal: np.ndarray) -> np.ndarray:
    """Return the mean power of each entry of a signal by frequency (Welch's method, Hann window).

    The first half second of an episode, in which a robot drops into its pose, is left out where the episode is long
    enough. Trends over a segment do not count.

    Args:
        recording: for its episodes.
        signal: ``(steps, num_envs, width)``.

    Returns:
        Mean squares, ``(SEGMENT // 2 + 1, width)``; zero if no episode is long enough.
    """
    window = np.hanning(SEGMENT)[:, None]
    total, count = np.zeros((SEGMENT // 2 + 1, signal.shape[-1])), 0
    for env in range(recording.num_envs):
        for episode in recording.episodes(env):
            values = signal[episode, env].astype(np.float64)
            values = values[SEGMENT // 2 :] if len(values) >= 3 * SEGMENT // 2 else values
            for start in range(0, len(values) - SEGMENT + 1, SEGMENT // 2):
                part = values[start : start + SEGMENT]
                line = np.linspace(0.0, 1.0, SEGMENT)[:, None] * (part[-1] - part[0])
                part = part - line - (part - line).mean(axis=0)
                total += 2.0 * np.abs(np.fft.rfft(part * window, axis=0)) ** 2
                count += 1
    return total / (max(count, 1) * SEGMENT * float((window**2).sum()))


def action_scale(subject: Subject) -> Check:
    """Targets move within what the joints' greatest velocities cover in a control step, and torques within limits."""
    id, title = "action-scale", "The action scale fits the motors at the control rate"
    recording, robot = subject.acting, robot_of(subject.env)
    if robot is None or not recording.num_steps:
        return skipped(id, title, "the task has no articulation")
    limits = subject.described["articulations"][robot.name]
    within = ~recording.ended[:-1]
    measures: list[Measure] = []
    velocity = _limits(limits["velocity_limits"])
    effort = _limits(limits["effort_limits"])
    step = np.abs(np.diff(recording.joint_pos_target, axis=0))[within]
    if step.any() and np.isfinite(velocity).any():
        rate = np.quantile(step, 0.99, axis=0) / recording.step_dt / velocity
        measures.append(
            _worst_joint("speed of position targets (99 %), of the joint's limit", rate, recording, 2.0, 1.0)
        )
    if recording.joint_vel_target.any() and np.isfinite(velocity).any():
        asked = np.quantile(np.abs(recording.joint_vel_target).reshape(-1, len(velocity)), 0.999, axis=0) / velocity
        measures.append(_worst_joint("velocity targets (99.9 %), of the joint's limit", asked, recording, 1.0, 0.9))
    if np.isfinite(velocity).any():
        speed = np.quantile(np.abs(recording.joint_vel).reshape(-1, len(velocity)), 0.999, axis=0) / velocity
        measures.append(_worst_joint("joint speed (99.9 %), of the limit", speed, recording, 1.0, 0.9))
    if np.isfinite(effort).any():
        torque = np.abs(recording.applied_torque).reshape(-1, len(effort))
        saturated = (torque >= 0.99 * effort).mean(axis=0)
        measures.append(_worst_joint("share of the time at the effort limit", saturated, recording, 0.2, 0.05))
    if not measures:
        return skipped(id, title, "the robot has neither velocity nor effort limits")
    return judged(
        id,
        title,
        measures,
        good="targets, speeds and torques stay within the motors' limits",
        bad="the policy asks for more than the motors can do",
        advice="lower the scale of the action term, or penalise action_rate_l2 and joint_vel_limits, and train again",
    )


def endurance(subject: Subject) -> Check:
    """Ten episodes' length without an end: nothing fails, nothing grows."""
    id, title = "endurance", f"A rollout of {LONGER} episodes' length neither fails nor drifts"
    recording = subject.endless()
    seconds = recording.num_steps * recording.step_dt
    needs_goal = bool(recording.succeeded.any())
    finite = bool(np.isfinite(recording.qpos).all() and np.isfinite(recording.qvel).all())
    failures = int(recording.failed.sum())
    episodes = recording.num_envs * LONGER if not needs_goal else max(int(recording.ended.sum()), 1)
    measures = [
        told("simulated time of each robot", seconds, "s"),
        told("robots", recording.num_envs),
        at_most("failures, of the episodes that would fit", failures / episodes, 0.05, 0.0),
        Measure("state", "finite" if finite else "not finite", "", "finite", "pass" if finite else "fail"),
        _reward_decline(recording),
        *_drift(subject, recording),
    ]
    return judged(
        id,
        title,
        measures,
        good=f"{recording.num_envs} robots ran for {seconds:.0f} s each without failure or drift",
        bad="the policy does not last",
        advice="train with longer episodes (env.episode_length_s), and look at palestra play after the time of failure",
        plots=[_drift_plot(subject, recording)],
    )


def _reward_decline(recording: Recording) -> Measure:
    """Compare the reward of the first tenth with that of the last one."""
    tenth = recording.num_steps // LONGER
    first, last = float(recording.reward[:tenth].mean()), float(recording.reward[-tenth:].mean())
    decline = (first - last) / max(abs(first), abs(last), 1e-9)
    return at_most("loss of reward from the first tenth to the last, of the greater", decline, 0.5, 0.25)


def _drift(subject: Subject, recording: Recording) -> list[Measure]:
    """Compare the first tenth with the last one."""
    tenth = recording.num_steps // LONGER
    measures = []
    for name, (series, floor, units) in _watched(subject, recording).items():
        first, last = float(series[:tenth].mean()), float(series[-tenth:].mean())
        growth = (last + floor) / (first + floor)
        measures += [
            told(f"{name}, first tenth", first, units),
            told(f"{name}, last tenth", last, units),
            at_most(f"{name}: growth", growth, _DRIFT, 1.2),
        ]
    return measures


def _watched(subject: Subject, recording: Recording) -> dict[str, tuple[np.ndarray, float, str]]:
    """Return what must not grow: mean over the robots ``(steps,)``, what counts as nothing, unit."""
    watched: dict[str, tuple[np.ndarray, float, str]] = {}
    if recording.has("joint_pos"):
        if recording.joint_pos_target.std(axis=0).any():
            error = np.abs(recording.joint_pos_target - recording.joint_pos).mean(axis=(1, 2))
            watched["joint position error"] = (error, 0.01, "rad or m")
        power = np.abs(recording.applied_torque * recording.joint_vel).sum(axis=2).mean(axis=1)
        watched["mechanical power"] = (power, 1.0, "W")
    for name, columns in subject.velocity_commands.items():
        from palestra.deploy.audit.tracking import velocities

        command = recording.series[f"command/{name}"][..., list(columns.values())]
        error = np.abs(command - velocities(recording, list(columns))).mean(axis=(1, 2))
        watched[f"tracking error of {name}"] = (error, 0.05, "m/s")
    return watched


def _drift_plot(subject: Subject, recording: Recording) -> Plot:
    bins = 50
    width = max(recording.num_steps // bins, 1)
    series = []
    for name, (values, floor, _) in _watched(subject, recording).items():
        means = [float(values[k * width : (k + 1) * width].mean()) for k in range(recording.num_steps // width)]
        times = [(k + 0.5) * width * recording.step_dt for k in range(len(means))]
        series.append(Series(name, times, [(m + floor) / (means[0] + floor) for m in means]))
    return Plot("Against the start", "time (s)", "ratio", tuple(series), _DRIFT)


def _fast_torque(subject: Subject, power: np.ndarray | None, fast: np.ndarray) -> float | None:
    """Return the greatest r.m.s. torque of fast motion, as a fraction of the joint's limit; None without limits."""
    robot = robot_of(subject.env)
    if power is None or robot is None:
        return None
    effort = _limits(subject.described["articulations"][robot.name]["effort_limits"])
    known = np.isfinite(effort) & (effort > 0.0)
    if not known.any():
        return None
    return float((np.sqrt(power[fast].sum(axis=0))[known] / effort[known]).max())


def _worst_joint(name: str, values: np.ndarray, recording: Recording, fail: float, warn: float) -> Measure:
    values = np.where(np.isfinite(values), values, 0.0)
    worst = int(values.argmax())
    return at_most(f"{name}, worst at {recording.joint_names[worst]!r}", float(values[worst]), fail, warn)


def _limits(values: list[float | None]) -> np.ndarray:
    return np.array([np.inf if v is None else float(v) for v in values])
