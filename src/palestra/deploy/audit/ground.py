"""Detectors of gaits that only simulation allows: hovering, knees on the ground, feet that slide or stay down."""

from __future__ import annotations

import numpy as np

from palestra.deploy.audit.result import Check, Measure, Plot, Series, at_least, at_most, judged, skipped, told
from palestra.deploy.audit.subject import Subject
from palestra.deploy.audit.tracking import COMMANDED

LONGEST_FLIGHT_S = 0.6
"""Nobody who weighs something stays in the air for longer without falling on it (s): a jump of 0.44 m."""


def ground_contact(subject: Subject) -> Check:
    """The robot stands and walks on its feet: nothing else touches the ground, and it does not hover."""
    id, title = "ground-contact", "The robot goes on its feet"
    legs = subject.legs
    if legs is None:
        return skipped(id, title, "the robot has no feet on the ground in its default pose")
    recording, contacts = subject.acting, subject.contacts
    chosen = _settled(subject)
    flights = _longest(~contacts.anything & chosen) * recording.step_dt
    culprits = {f"{body} on the ground": share for body, share in contacts.culprits.items() if share > 0.0}
    measures = [
        told("feet", ", ".join(legs.names)),
        at_most("share of the time with another part on the ground", float(contacts.others[chosen].mean()), 0.05, 0.01),
        at_most("share of the time without any contact", float((~contacts.anything)[chosen].mean()), 0.6, 0.4),
        at_most("longest time without any contact", flights, LONGEST_FLIGHT_S, 0.4, "s"),
        *[told(name, share) for name, share in culprits.items()],
    ]
    return judged(
        id,
        title,
        measures,
        good="only feet touch the ground, and they carry the robot",
        bad="the robot hovers, or drags parts that are no feet",
        advice="penalise undesired_contacts and base height; check contacts and solver of the model (env.sim)",
        plots=[_contact_plot(subject)],
    )


def feet_lift(subject: Subject) -> Check:
    """Where the robot is told to move, its feet leave the ground and do not slide over it."""
    id, title = "feet", "Feet are lifted and do not slide"
    if subject.legs is None or not subject.velocity_commands:
        reason = "the robot has no feet" if subject.legs is None else "the task has no velocity command"
        return skipped(id, title, reason)
    recording, contacts = subject.acting, subject.contacts
    envs, dt = contacts.envs, recording.step_dt
    moving = _moving(subject)[1:] & ~recording.ended[:-1, envs] & _settled(subject)[1:]
    if moving.sum() < 100:
        return skipped(id, title, "the robot was hardly ever told to move")
    stance = contacts.feet[1:] & contacts.feet[:-1] & moving[..., None]
    step = np.linalg.norm(np.diff(contacts.foot_pos[..., :2], axis=0), axis=-1)
    slip = float(step[stance].mean() / dt) if stance.any() else 0.0
    speed = float(np.linalg.norm(recording.root_lin_vel_b[1:, envs, :2], axis=-1)[moving].mean())
    peaks, touchdowns = _swings(contacts.feet, contacts.foot_pos[..., 2], moving)
    seconds = float(moving.sum()) * dt
    rates = touchdowns / max(seconds, dt)
    clearance = float(np.quantile(peaks, 0.75)) if len(peaks) else 0.0
    measures: list[Measure] = [
        told("speed of the base where told to move", speed, "m/s"),
        at_most("speed of feet on the ground, of the base's", slip / max(speed, 0.05), 0.5, 0.3),
        at_least("steps of each foot a second, fewest", float(rates.min()), 0.2, 0.4),
        at_least("height of swings over stance (three quarters are lower)", clearance, 0.005, 0.01, "m"),
    ]
    return judged(
        id,
        title,
        measures,
        good=f"feet swing {100 * clearance:.1f} cm high, {rates.mean():.1f} times a second",
        bad="the robot shuffles",
        advice="reward feet_air_time or feet_swing_height_l2, penalise feet_slide, and train on rougher ground",
        plots=[_swing_plot(peaks)] if len(peaks) else [],
    )


def _settled(subject: Subject) -> np.ndarray:
    """Return the steps after the first half second of an episode, in which robots drop onto their feet; all if none."""
    recording = subject.acting
    settled = recording.age[:, subject.contacts.envs] * recording.step_dt > 0.5
    return settled if settled.any() else np.ones_like(settled)


def _moving(subject: Subject) -> np.ndarray:
    """Return who is told to move, ``(steps, watched envs)``."""
    name, columns = next(iter(subject.velocity_commands.items()))
    command = subject.acting.series[f"command/{name}"][:, subject.contacts.envs]
    planar = [k for c, k in columns.items() if c.startswith("lin_vel")]
    return np.linalg.norm(command[..., planar], axis=-1) > COMMANDED


def _longest(flags: np.ndarray) -> int:
    """Return the longest run of true values along the first axis."""
    longest, present = 0, np.zeros(flags.shape[1], np.int64)
    for row in flags:
        present = np.where(row, present + 1, 0)
        longest = max(longest, int(present.max(initial=0)))
    return longest


def _swings(contact: np.ndarray, height: np.ndarray, moving: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how high each swing goes above the foot's last stance (m), and the number of touch-downs of each foot."""
    peaks: list[float] = []
    touchdowns = np.zeros(contact.shape[-1])
    for env in range(contact.shape[1]):
        for foot in range(contact.shape[2]):
            ground, peak, whole = 0.0, 0.0, False
            for step in range(1, contact.shape[0]):
                if contact[step, env, foot]:
                    if whole and moving[step - 1, env] and not contact[step - 1, env, foot]:
                        touchdowns[foot] += 1
                        peaks.append(peak - ground)
                    ground, peak, whole = float(height[step, env, foot]), 0.0, True
                elif moving[step - 1, env]:
                    peak = max(peak, float(height[step, env, foot]))
                else:
                    whole = False
    return np.array(peaks), touchdowns


def _contact_plot(subject: Subject) -> Plot:
    """Draw three seconds of the first robot's feet, as of a gait diagram."""
    contacts, recording = subject.contacts, subject.acting
    steps = min(round(3.0 / recording.step_dt), recording.num_steps)
    series = []
    for k, foot in enumerate(subject.legs.names if subject.legs is not None else []):
        on = np.flatnonzero(contacts.feet[-steps:, 0, k])
        series.append(Series(foot, (on * recording.step_dt).tolist(), [float(k)] * len(on), "points"))
    return Plot("Feet on the ground", "time (s)", "foot", tuple(series))


def _swing_plot(peaks: np.ndarray) -> Plot:
    ordered = np.sort(peaks)
    shares = np.linspace(0.0, 100.0, len(ordered))
    return Plot(
        "Height of swings",
        "height (m)",
        "% of the swings below",
        (Series("", ordered.tolist(), shares.tolist()),),
        limit_x=0.005,
    )
