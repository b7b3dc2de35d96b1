"""The monitor between a policy and a robot: what comes in is checked, what goes out is within limits, faults latch.

It is not certified for functional safety, and no substitute for a hardware emergency stop.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from palestra.deploy.freshness import Freshness
from palestra.deploy.limits import SafetyLimits, read_overrides
from palestra.deploy.robot import RobotCommand, RobotState

__all__ = ["Cause", "Posture", "SafetyLimits", "SafetyMonitor", "Trip", "read_overrides"]

Cause = Literal[
    "position",
    "velocity",
    "effort",
    "tilt",
    "base_ang_vel",
    "base_contact",
    "quaternion",
    "stale_state",
    "time_reversed",
    "communication",
    "bad_sensor",
    "bad_target",
    "policy",
    "missed_deadlines",
    "stand",
]
"""Why the monitor tripped."""

Posture = Literal["free", "upright", "clear"]
"""What a state is checked for besides sensors and joints: nothing; tilt; tilt and contacts of the base."""

_LOG = logging.getLogger("palestra.deploy")
_GREATEST = 1e6
"""No sensor and no target of a robot is greater in SI units; what is, is broken."""

_INSIDE = 1.0 - 1e-9
"""Torques are scaled to just inside their limit, so that rounding does not put them outside."""


@dataclass(frozen=True)
class Trip:
    """A fault, when it was first seen."""

    time: float
    """Our clock (s)."""
    cause: Cause
    message: str
    joint: str | None = None
    value: float | None = None
    limit: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, numbers that JSON lacks as text."""
        return {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()}


class SafetyMonitor:
    """Checks states, bounds commands, and answers every fault with damping until it is reset.

    Use once in a control step: ``check`` with the newest state, then ``bound`` with the command that answers it.

    Args:
        limits: what is allowed.
        default_joint_pos: a pose within the limits, the target of brakes before any state is known,
            ``(num_joints,)``.
    """

    def __init__(self, limits: SafetyLimits, default_joint_pos: np.ndarray) -> None:
        self.limits = limits
        self.trips: list[Trip] = []
        """Faults since the last reset, in order of time."""
        self.freshness = Freshness()
        self._count = len(limits.joint_names)
        self._pos = np.clip(np.asarray(default_joint_pos, np.float64), limits.position_low, limits.position_high)
        self._vel = np.zeros(self._count)
        self._target: np.ndarray | None = None  # last position target that was sent in control
        self._missed = np.zeros(limits.deadline_window, np.int64)
        self._steps = 0
        self._began: float | None = None
        self.clipped = np.zeros(self._count, bool)
        """Joints whose last command was bounded."""
        self.clipped_steps = 0
        """Commands that were bounded so far."""

    @property
    def tripped(self) -> bool:
        """Whether a fault is latched."""
        return bool(self.trips)

    def reset(self) -> list[Trip]:
        """Clear latched faults; a cause that persists trips again at the next check.

        Returns:
            The faults that were latched.
        """
        cleared, self.trips = self.trips, []
        self._missed[:] = 0
        self._target, self._began = None, None
        self.freshness = Freshness()
        return cleared

    def trip(
        self,
        now: float,
        cause: Cause,
        message: str,
        joint: str | None = None,
        value: float | None = None,
        limit: float | None = None,
    ) -> None:
        """Latch a fault and log it."""
        trip = Trip(now, cause, message, joint, value, limit)
        self.trips.append(trip)
        _LOG.error("safety trip at %.4f s: %s: %s", now, cause, message)

    def check(self, state: RobotState | None, now: float, posture: Posture = "clear") -> bool:
        """Check the newest state.

        Args:
            state: what the robot's ``read`` returned; the same state may come again.
            now: our clock (s).
            posture: what to check of the base.

        Returns:
            Whether all is well and no fault is latched. While one is latched, nothing further is reported.
        """
        if self._began is None:
            self._began = now
        readable = state is not None and self._readable(state, now)
        if state is None:
            self.freshness.update(None, now)
        self._check_age(now)
        if state is None or not readable or self.tripped:
            return not self.tripped
        self._check_joints(state, now)
        self._check_base(state, now, posture)
        return not self.tripped

    def note_deadlines(self, missed: int, now: float) -> None:
        """Count deadlines that the loop missed before this step; too many trip.

        Args:
            missed: deadlines missed since the last call.
            now: our clock (s).
        """
        self._missed[self._steps % len(self._missed)] = max(missed, 0)
        self._steps += 1
        total, most = int(self._missed.sum()), self.limits.max_missed_deadlines
        if total > most and not self.tripped:
            message = f"{total} deadlines missed within {len(self._missed)} steps; at most {most} may be"
            self.trip(now, "missed_deadlines", message, value=float(total), limit=float(most))

    def bound(self, command: RobotCommand, now: float) -> RobotCommand:
        """Return the command that may be sent: this one within the limits, or damping while a fault is latched.

        Position targets are moved towards where their torque at the last checked state is within the effort limits,
        then into the position limits, then to within ``target_change`` of the last target. Where the torque is still
        too great, gains and added effort are scaled down together.

        Args:
            command: what the policy wants.
            now: our clock (s).
        """
        if not self.tripped:
            self._check_command(command, now)
        if self.tripped:
            return self.damping_command()
        if command.mode != "control":
            self._target = None
            return self.damping_command()
        return self._within_limits(command)

    def damping_command(self) -> RobotCommand:
        """Return what brakes all joints, with no more torque than allowed at the last readable state."""
        self._target = None
        target = np.clip(self._pos, self.limits.position_low, self.limits.position_high)
        gain = self.limits.damping.copy()
        torque = gain * np.abs(self._vel)
        over = torque > self.limits.effort_limits
        gain[over] *= self.limits.effort_limits[over] / torque[over] * _INSIDE
        zeros = np.zeros(self._count)
        return RobotCommand(target, zeros, zeros.copy(), zeros.copy(), gain, "damping")

    # Checks of what comes in

    def _readable(self, state: RobotState, now: float) -> bool:
        """Check shapes, numbers and the stamp; what is readable becomes the last known state."""
        problem = self._problem(state)
        if problem is not None:
            self.freshness.update(None, now)
            if not self.tripped:
                self.trip(now, "bad_sensor", *problem)
            return False
        behind = self.freshness.update(float(state.stamp), now)
        if behind > 0.0 and not self.tripped:
            message = f"the sensors' stamp went back by {behind:.4g} s to {state.stamp:.6g} s"
            self.trip(now, "time_reversed", message, value=-behind, limit=0.0)
        if behind > 0.0:
            return False
        self._pos = np.array(state.joint_pos, np.float64)
        self._vel = np.array(state.joint_vel, np.float64)
        return True

    def _problem(self, state: RobotState) -> _Problem | None:
        required: dict[str, tuple[Any, int | None]] = {
            "joint_pos": (state.joint_pos, self._count),
            "joint_vel": (state.joint_vel, self._count),
        }
        if self.limits.floating_base or state.base_quat is not None:
            required["base_quat"] = (state.base_quat, 4)
        if self.limits.floating_base or state.base_ang_vel is not None:
            required["base_ang_vel"] = (state.base_ang_vel, 3)
        if state.joint_effort is not None:
            required["joint_effort"] = (state.joint_effort, self._count)
        extra = state.extra if isinstance(state.extra, Mapping) else {"extra": None}
        required |= {name: (value, None) for name, value in extra.items()}
        for name, (value, width) in required.items():
            problem = _bad_vector(name, value, width, self.limits.joint_names)
            if problem is not None:
                return problem
        stamp = state.stamp
        if isinstance(stamp, bool) or not isinstance(stamp, int | float | np.number) or not math.isfinite(stamp):
            return _Problem(f"the sensors' stamp is {stamp!r}; it must be a number of seconds")
        return None

    def _check_age(self, now: float) -> None:
        if self.tripped:
            return
        limits, freshness = self.limits, self.freshness
        heard = freshness.arrived if math.isfinite(freshness.arrived) else (self._began or now)
        silence = now - heard
        if silence > limits.communication_timeout:
            message = (
                f"nothing new from the robot for {silence:.3f} s; the limit is {limits.communication_timeout:.3f} s"
            )
            self.trip(now, "communication", message, value=silence, limit=limits.communication_timeout)
        elif math.isfinite(freshness.arrived) and freshness.age > limits.state_max_age:
            message = f"the newest sensors are {freshness.age:.3f} s old; the limit is {limits.state_max_age:.3f} s"
            self.trip(now, "stale_state", message, value=freshness.age, limit=limits.state_max_age)

    def _check_joints(self, state: RobotState, now: float) -> None:
        limits = self.limits
        self._check_over(now, "position", "rad or m", self._pos, limits.position_high + limits.position_margin, 1.0)
        self._check_over(now, "position", "rad or m", -self._pos, limits.position_margin - limits.position_low, -1.0)
        self._check_over(now, "velocity", "rad/s or m/s", np.abs(self._vel), limits.velocity_trip, 1.0)
        if state.joint_effort is not None:
            effort = np.abs(np.asarray(state.joint_effort, np.float64))
            self._check_over(now, "effort", "N·m or N", effort, limits.effort_trip, 1.0)

    def _check_over(
        self, now: float, cause: Cause, units: str, values: np.ndarray, limits: np.ndarray, sign: float
    ) -> None:
        over = values > limits
        if not over.any():
            return
        for index in np.flatnonzero(over):
            name, value, limit = (
                self.limits.joint_names[index],
                sign * float(values[index]),
                sign * float(limits[index]),
            )
            message = f"{cause} of {name!r} is {value:.4g} {units}, beyond {limit:.4g}"
            self.trip(now, cause, message, name, value, limit)

    def _check_base(self, state: RobotState, now: float, posture: Posture) -> None:
        limits = self.limits
        if state.base_ang_vel is not None:
            speed = float(np.linalg.norm(np.asarray(state.base_ang_vel, np.float64)))
            if speed > limits.max_base_ang_vel:
                message = f"the base turns at {speed:.4g} rad/s; the limit is {limits.max_base_ang_vel:.4g}"
                self.trip(now, "base_ang_vel", message, value=speed, limit=limits.max_base_ang_vel)
        if state.base_quat is not None:
            quat = np.asarray(state.base_quat, np.float64)
            norm = float(np.linalg.norm(quat))
            if abs(norm - 1.0) > limits.quat_tolerance:
                message = f"the base's quaternion has norm {norm:.4g}; it must be 1 within {limits.quat_tolerance:g}"
                self.trip(now, "quaternion", message, value=norm, limit=limits.quat_tolerance)
            elif posture != "free" and limits.floating_base:
                tilt = tilt_of(quat / norm)
                if tilt > limits.max_tilt:
                    message = f"the base is tilted by {tilt:.3f} rad; the limit is {limits.max_tilt:.3f}"
                    self.trip(now, "tilt", message, value=tilt, limit=limits.max_tilt)
        if posture == "clear" and bool(state.base_contact) and not limits.base_contact:
            self.trip(now, "base_contact", "something touches the base")

    # Bounds of what goes out

    def _check_command(self, command: RobotCommand, now: float) -> None:
        for name in ("joint_pos_target", "joint_vel_target", "joint_effort", "stiffness", "damping"):
            values = getattr(command, name)
            problem = _bad_vector(name, values, self._count, self.limits.joint_names)
            if problem is None and name in ("stiffness", "damping") and np.asarray(values).min(initial=0.0) < 0.0:
                problem = _Problem(f"{name} has negative entries")
            if problem is not None:
                self.trip(now, "bad_target", *problem)
                return

    def _within_limits(self, command: RobotCommand) -> RobotCommand:
        limits, most = self.limits, self.limits.effort_limits
        wanted = np.asarray(command.joint_pos_target, np.float64)
        stiffness, damping = np.array(command.stiffness, np.float64), np.array(command.damping, np.float64)
        velocity = np.clip(command.joint_vel_target, -limits.velocity_limits, limits.velocity_limits)
        effort = np.clip(command.joint_effort, -most, most)
        rest = damping * (velocity - self._vel) + effort
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            low, high = (-most - rest) / stiffness, (most - rest) / stiffness  # of target - position
        servo = stiffness > 0.0
        target = np.where(servo, np.clip(wanted, self._pos + low, self._pos + high), wanted)
        target = np.clip(target, limits.position_low, limits.position_high)
        last = self._pos if self._target is None else self._target
        last = np.clip(last, limits.position_low, limits.position_high)
        target = np.clip(target, last - limits.target_change, last + limits.target_change)
        torque = np.abs(stiffness * (target - self._pos) + rest)
        over = torque > most
        scale = np.where(over, most / np.where(over, torque, 1.0), 1.0) * np.where(over, _INSIDE, 1.0)
        self.clipped = (
            over | (target != wanted) | (velocity != command.joint_vel_target) | (effort != command.joint_effort)
        )
        self.clipped_steps += int(self.clipped.any())
        self._target = target
        return RobotCommand(target, velocity, effort * scale, stiffness * scale, damping * scale, "control")


def tilt_of(quat: np.ndarray) -> float:
    """Return the angle (rad) between the vertical axes of a frame and of the world.

    Args:
        quat: orientation (w, x, y, z), unit.
    """
    return math.acos(max(-1.0, min(1.0, 1.0 - 2.0 * float(quat[1] ** 2 + quat[2] ** 2))))


class _Problem(NamedTuple):
    message: str
    joint: str | None = None
    value: float | None = None
    limit: float | None = None


def _bad_vector(name: str, value: Any, width: int | None, joint_names: tuple[str, ...]) -> _Problem | None:
    """Return what is wrong with numbers, or None."""
    if value is None:
        return _Problem(f"{name} is missing")
    try:
        given = np.asarray(value)
        numbers = given.astype(np.float64) if given.dtype.kind in "fiubO" else None
    except (TypeError, ValueError, OverflowError):
        numbers = None
    if numbers is None:
        return _Problem(f"{name} holds no numbers but {type(value).__name__}")
    if width is not None and numbers.shape != (width,):
        return _Problem(f"{name} has shape {numbers.shape}; it must be ({width},)")
    plausible = np.abs(numbers) <= _GREATEST  # false for NaN
    if plausible.all():
        return None
    at = int(np.flatnonzero(~plausible)[0])
    joint = None if name.startswith("base_") or width != len(joint_names) else joint_names[at]
    where = f"at index {at}" if joint is None else f"of {joint!r}"
    bad = float(numbers.flat[at])
    message = f"{name} {where} is {bad:g}; it must be finite, and no greater than {_GREATEST:g}"
    return _Problem(message, joint, bad, _GREATEST)
