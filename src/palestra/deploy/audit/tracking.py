"""Detectors of policies that are paid without doing the task: untracked motion, standing still, falling."""

from __future__ import annotations

import numpy as np

from palestra.deploy.audit.recording import Recording
from palestra.deploy.audit.result import Check, Measure, Plot, Series, at_least, at_most, judged, skipped, told
from palestra.deploy.audit.subject import Subject

WINDOW_S = 0.5
"""Velocities are averaged over windows of this length, so that the sway of a gait does not count (s)."""

SETTLE_S = 1.0
"""Time to follow a new command (s)."""

STEADY = 0.15
"""A command counts as constant over a window if no entry varies by more (m/s, rad/s)."""

COMMANDED = 0.2
"""Commanded planar speed (m/s) or yaw rate (rad/s) from which a robot is told to move."""

LEAST_WINDOWS = 20
"""Fewer windows say nothing."""

BEFORE_END_S = 0.5
"""Length of what counts as a fall before the end of an episode (s)."""

UPRIGHT = 0.5
"""Lean beyond which a robot is falling rather than walking (rad, 29°)."""

Windows = tuple[np.ndarray, np.ndarray]
"""Mean command and mean achieved velocity of each window, ``(num_windows, num_components)``."""


def moves_without_tracking(subject: Subject) -> Check:
    """The velocity follows the command: it is near zero without one and grows with it."""
    id, title = "tracking", "The robot moves as it is told, and only then"
    if not subject.velocity_commands:
        return skipped(
            id, title, "the task has no velocity command (lin_vel_x, lin_vel_y, ang_vel_z in the base frame)"
        )
    measures: list[Measure] = []
    plots: list[Plot] = []
    for name, columns in subject.velocity_commands.items():
        command, achieved = windows(subject.acting, name, columns)
        if len(command) < LEAST_WINDOWS:
            return skipped(id, title, f"only {len(command)} windows of {WINDOW_S} s with a steady command")
        measures += _following(columns, command, achieved)
        measures += _resting(columns, command, achieved)
        plots += [
            Plot(
                f"{component}: achieved over commanded",
                f"commanded ({_units(component)})",
                f"achieved ({_units(component)})",
                (Series("0.5 s means", command[:400, k].tolist(), achieved[:400, k].tolist(), "points"),),
            )
            for k, component in enumerate(columns)
        ]
    return judged(
        id,
        title,
        measures,
        good="achieved velocities follow the commands, and without a command the robot rests",
        bad="the robot does not do what it is told",
        advice="raise the weight of tracking against the other terms; look at the policy with palestra play; command "
        "zero more often in training (rel_standing_envs) if it does not rest",
        plots=plots,
    )


def windows(recording: Recording, name: str, columns: dict[str, int]) -> Windows:
    """Return means of a velocity command and of the velocity over windows in which the command was steady."""
    width, settle = round(WINDOW_S / recording.step_dt), round(SETTLE_S / recording.step_dt)
    command = recording.series[f"command/{name}"][..., list(columns.values())]
    achieved = velocities(recording, list(columns))
    since = _since_change(recording, command)
    commanded, followed = [], []
    for env in range(recording.num_envs):
        for episode in recording.episodes(env):
            for start in range(episode.start, episode.stop - width + 1, width):
                part = slice(start, start + width)
                if since[start, env] < settle or np.ptp(command[part, env], axis=0).max() > STEADY:
                    continue
                commanded.append(command[part, env].mean(axis=0))
                followed.append(achieved[part, env].mean(axis=0))
    empty = np.zeros((0, len(columns)))
    return (np.stack(commanded), np.stack(followed)) if commanded else (empty, empty)


def velocities(recording: Recording, components: list[str]) -> np.ndarray:
    """Return what a velocity command commands as it was achieved, ``(steps, num_envs, num_components)``."""
    linear, angular = recording.root_lin_vel_b, recording.root_ang_vel_b
    sources = {"lin_vel_x": linear[..., 0], "lin_vel_y": linear[..., 1], "ang_vel_z": angular[..., 2]}
    return np.stack([sources[component] for component in components], axis=-1)


def standing_pays(subject: Subject) -> Check:
    """Doing nothing earns clearly less than the policy does."""
    id, title = "standing-still", "The task pays better than doing nothing"
    acting, idle = subject.acting, subject.idle
    mine, nothing = float(acting.first_returns.mean()), float(idle.first_returns.mean())
    scale = max(abs(mine), abs(nothing), 1e-9)
    measures = [
        told("return of the policy", mine),
        told("return of zero actions", nothing),
        at_least("gain over zero actions, of the greater return", (mine - nothing) / scale, 0.1, 0.25),
    ]
    for name, columns in subject.velocity_commands.items():
        told_to_move = _told_to_move(acting, name, columns) & acting.in_first
        idle_told = _told_to_move(idle, name, columns) & idle.in_first
        if told_to_move.sum() < LEAST_WINDOWS or idle_told.sum() < LEAST_WINDOWS:
            continue
        rate = float(acting.reward[told_to_move].mean()) / acting.step_dt
        idle_rate = float(idle.reward[idle_told].mean()) / idle.step_dt
        gain = (rate - idle_rate) / max(abs(rate), abs(idle_rate), 1e-9)
        measures += [
            told("reward per second where told to move", rate),
            told("the same of zero actions", idle_rate),
            at_least("gain where told to move, of the greater reward", gain, 0.1, 0.25),
        ]
    return judged(
        id,
        title,
        measures,
        good=f"the policy returns {mine:.4g}, zero actions {nothing:.4g}",
        bad="whoever does nothing is paid as well",
        advice="take rewards for survival and posture back, or make the tracking kernel narrower, until standing still "
        "loses; then train again",
    )


def falls_for_reward(subject: Subject) -> Check:
    """Episodes do not end in falls that were paid: the reward comes from an upright robot."""
    id, title = "falling", "The reward is not earned by falling"
    recording = subject.acting
    if subject.described["articulations"] and _fixed_base(subject):
        return skipped(id, title, "the robot's base is fixed")
    if not recording.has("projected_gravity_b"):
        return skipped(id, title, "the task has no articulation")
    tilt = np.arccos(np.clip(-recording.projected_gravity_b[..., 2], -1.0, 1.0))
    lean = tilt - np.median(tilt[recording.age == 1]) if (recording.age == 1).any() else tilt
    falling = (lean > UPRIGHT) | _before_failure(recording)
    earned = np.clip(recording.reward, 0.0, None)
    ended = max(int(recording.ended.sum()), 1)
    episodes = int(recording.ended.sum() + (~recording.ended[-1]).sum())
    paid = float((earned * falling).sum() / max(earned.sum(), 1e-9))
    failed = float(recording.failed.sum()) / max(episodes, 1)
    measures = [
        told("episodes", episodes),
        told("of them ended", ended if recording.ended.any() else 0),
        at_most("share of the episodes that end in a failure", failed, 0.2, 0.1),
        at_most("share of the time beyond 29° of lean", float((lean > UPRIGHT).mean()), 0.05, 0.01),
        at_most("share of the positive reward earned while falling", paid, 0.1, 0.03),
    ]
    measures += _speed_before_falls(subject, recording)
    return judged(
        id,
        title,
        measures,
        good=f"{failed:.1%} of the episodes end in a failure",
        bad="the robot falls, or is paid for falling",
        advice="penalise failures and lean (is_terminated, flat_orientation_l2); end episodes earlier in a fall",
        plots=[_lean_plot(lean)],
    )


def _following(columns: dict[str, int], command: np.ndarray, achieved: np.ndarray) -> list[Measure]:
    """Judge slope and correlation of each component that is commanded at all."""
    measures = []
    for k, component in enumerate(columns):
        spread = float(command[:, k].std())
        if spread < 0.1:
            measures.append(told(f"{component}: spread of the command", spread, _units(component)))
            continue
        slope = float(np.polyfit(command[:, k], achieved[:, k], 1)[0])
        both = achieved[:, k].std() > 1e-6
        correlation = float(np.corrcoef(command[:, k], achieved[:, k])[0, 1]) if both else 0.0
        measures += [
            at_least(f"{component}: slope of achieved over commanded", slope, 0.5, 0.7),
            at_least(f"{component}: correlation", correlation, 0.6, 0.8),
        ]
    return measures


def _resting(columns: dict[str, int], command: np.ndarray, achieved: np.ndarray) -> list[Measure]:
    """Judge the speed where nothing is commanded, beside what is commanded elsewhere."""
    rest = (np.abs(command) < 1e-3).all(axis=-1)
    if rest.sum() < LEAST_WINDOWS:
        return [told("windows without a command", int(rest.sum()))]
    measures = []
    planar = [k for k, c in enumerate(columns) if c.startswith("lin_vel")]
    for what, chosen, units in (
        ("planar speed", planar, "m/s"),
        ("yaw rate", [k for k, c in enumerate(columns) if c == "ang_vel_z"], "rad/s"),
    ):
        if not chosen:
            continue
        typical = float(np.linalg.norm(command[~rest][:, chosen], axis=-1).mean()) if (~rest).any() else 1.0
        speed = float(np.linalg.norm(achieved[rest][:, chosen], axis=-1).mean())
        limit, notice = max(0.1, 0.3 * typical), max(0.05, 0.15 * typical)
        measures.append(at_most(f"{what} with a command of zero", speed, round(limit, 3), round(notice, 3), units))
    return measures


def _since_change(recording: Recording, command: np.ndarray) -> np.ndarray:
    """Return steps since the command last jumped or the episode began, ``(steps, num_envs)``."""
    since = np.zeros(command.shape[:2], np.int64)
    jumped = np.abs(np.diff(command, axis=0)).max(axis=-1) > STEADY
    for step in range(1, len(command)):
        since[step] = np.where(jumped[step - 1] | recording.ended[step - 1], 0, since[step - 1] + 1)
    return since


def _told_to_move(recording: Recording, name: str, columns: dict[str, int]) -> np.ndarray:
    command = recording.series[f"command/{name}"]
    planar = [k for c, k in columns.items() if c.startswith("lin_vel")]
    return np.linalg.norm(command[..., planar], axis=-1) > COMMANDED


def _before_failure(recording: Recording) -> np.ndarray:
    """Return the last ``BEFORE_END_S`` of each episode that ends in a failure, ``(steps, num_envs)``."""
    width = round(BEFORE_END_S / recording.step_dt)
    out = np.zeros(recording.failed.shape, bool)
    for env in range(recording.num_envs):
        for episode in recording.episodes(env):
            if recording.failed[episode.stop - 1, env]:
                out[max(episode.start, episode.stop - width) : episode.stop, env] = True
    return out


def _speed_before_falls(subject: Subject, recording: Recording) -> list[Measure]:
    """Tell how well the command was tracked just before failures, against the rest of the time."""
    falls = _before_failure(recording)
    measures = []
    for name, columns in subject.velocity_commands.items():
        if not falls.any():
            return []
        command = recording.series[f"command/{name}"][..., list(columns.values())]
        error = np.abs(command - velocities(recording, list(columns))).mean(axis=-1)
        measures += [
            told("mean velocity error before falls", float(error[falls].mean()), "m/s"),
            told("mean velocity error elsewhere", float(error[~falls].mean()) if (~falls).any() else None, "m/s"),
        ]
    return measures


def _lean_plot(lean: np.ndarray) -> Plot:
    shares = np.linspace(0.0, 1.0, 101)
    quantiles = np.quantile(lean, shares)
    series = Series("lean", quantiles.tolist(), (100.0 * shares).tolist())
    return Plot("Lean from the starting orientation", "lean (rad)", "% of the steps below", (series,), limit_x=UPRIGHT)


def _fixed_base(subject: Subject) -> bool:
    from palestra.deploy.audit.recording import robot_of

    robot = robot_of(subject.env)
    return robot is None or robot.is_fixed_base


def _units(component: str) -> str:
    return "rad/s" if component.startswith("ang") else "m/s"
