"""What a policy's process must never exceed on a robot: limits from ``policy.json``, and a file that changes them."""

from __future__ import annotations

import fnmatch
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from palestra.deploy.bundle import Description, robot_of, step_dt
from palestra.errors import ConfigError, did_you_mean

_POSITION_MARGIN = 0.05
"""A measured position trips this fraction of the joint's range beyond its limits: end stops give way a little."""

_VELOCITY_MARGIN, _EFFORT_MARGIN = 1.5, 1.25
"""A measured velocity or effort trips at this multiple of its limit: sensors are noisy, and impacts drive joints."""

_TARGET_CHANGE = 2.0
"""A position target moves at most this multiple of what the joint's greatest velocity covers in a control step."""

_DAMPING_GAIN = 4.0
"""Damping after a fault is at most this multiple of the policy's own, for joints that follow with little of it."""

_STALE_PERIODS = 2.5
_SILENT_PERIODS = 5.0


@dataclass(frozen=True)
class SafetyLimits:
    """Limits of what a robot may do and of how old what is known of it may be.

    Arrays are over joints, ``(num_joints,)`` float64, rad or m; infinity stands for no limit.
    """

    joint_names: tuple[str, ...]
    position_low: np.ndarray
    """No target is sent below."""
    position_high: np.ndarray
    """No target is sent above."""
    position_margin: np.ndarray
    """How far beyond these limits a measured position trips."""
    velocity_limits: np.ndarray
    """No velocity target is sent beyond (rad/s, m/s)."""
    velocity_trip: np.ndarray
    """Measured velocity that trips."""
    effort_limits: np.ndarray
    """No command implies more torque at the state that it answers to (N·m, N)."""
    effort_trip: np.ndarray
    """Measured effort that trips."""
    target_change: np.ndarray
    """Greatest change of a position target in a control step."""
    damping: np.ndarray
    """Gain of the brake after a fault (N·m·s/rad, N·s/m)."""
    floating_base: bool
    """Whether the base can turn over: orientation and angular velocity must then be measured."""
    max_tilt: float = 1.0
    """Greatest angle between the base's and the world's vertical (rad)."""
    max_base_ang_vel: float = 20.0
    """Greatest angular velocity of the base (rad/s)."""
    quat_tolerance: float = 0.02
    """Greatest difference of the quaternion's norm from 1."""
    base_contact: bool = False
    """Whether something may touch the base while the policy runs."""
    state_max_age: float = 0.05
    """Age of the newest sensor reading that trips (s)."""
    communication_timeout: float = 0.1
    """Silence of the robot that trips (s)."""
    command_timeout: float = 0.5
    """Age of an operator's command from which it counts as zero (s)."""
    max_missed_deadlines: int = 5
    """Deadlines that the loop may miss within ``deadline_window`` steps."""
    deadline_window: int = 50
    """Steps over which missed deadlines are counted."""

    @classmethod
    def from_description(cls, description: Description, overrides: Mapping[str, Any] | None = None) -> SafetyLimits:
        """Return the limits of a policy's robot, with margins, and with what a file changes.

        Args:
            description: what ``policy.json`` holds.
            overrides: values by the names in ``docs/deployment.md``; those over joints are a number for all joints or
                a mapping of joint names or patterns (``*_hip_joint``).

        Raises:
            ConfigError: the description lacks limits, or an override is unknown or not allowed.
        """
        robot, period = robot_of(description), step_dt(description)
        names = tuple(robot["joint_names"])
        given = dict(overrides or {})
        _check_names(given)
        low, high = _position_limits(robot, names, given.get("position_limits"))
        velocity = _over_joints(names, "velocity_limits", given, _unlimited(robot, "velocity_limits", names))
        effort = _over_joints(names, "effort_limits", given, _unlimited(robot, "effort_limits", names))
        span = np.where(np.isfinite(high - low), high - low, 0.0)
        velocity_margin = _over_joints(names, "velocity_margin", given, np.full(len(names), _VELOCITY_MARGIN))
        effort_margin = _over_joints(names, "effort_margin", given, np.full(len(names), _EFFORT_MARGIN))
        limits = cls(
            joint_names=names,
            position_low=low,
            position_high=high,
            position_margin=_over_joints(names, "position_margin", given, _POSITION_MARGIN * span, least=0.0),
            velocity_limits=velocity,
            velocity_trip=velocity * velocity_margin,
            effort_limits=effort,
            effort_trip=effort * effort_margin,
            target_change=_over_joints(names, "target_change", given, _TARGET_CHANGE * period * velocity),
            damping=_over_joints(names, "damping", given, _brake(robot, names, effort, velocity), least=0.0),
            floating_base=not robot.get("is_fixed_base", False),
            state_max_age=_STALE_PERIODS * period,
            communication_timeout=_SILENT_PERIODS * period,
        )
        return replace(limits, **{name: _scalar(name, given[name]) for name in _SCALARS if name in given})


_SCALARS: dict[str, type] = {
    "max_tilt": float,
    "max_base_ang_vel": float,
    "quat_tolerance": float,
    "base_contact": bool,
    "state_max_age": float,
    "communication_timeout": float,
    "command_timeout": float,
    "max_missed_deadlines": int,
    "deadline_window": int,
}
_OVER_JOINTS = (
    "position_limits",
    "position_margin",
    "velocity_limits",
    "velocity_margin",
    "effort_limits",
    "effort_margin",
    "target_change",
    "damping",
)
assert set(_SCALARS) <= {field.name for field in fields(SafetyLimits)}


def read_overrides(path: Path | str) -> dict[str, Any]:
    """Read a file that changes limits: JSON, or YAML if its name ends so and PyYAML is installed.

    Raises:
        ConfigError: it cannot be read, or holds no mapping.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        content = _read_yaml(path, text) if path.suffix in (".yaml", ".yml") else json.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read these limits: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: cannot read these limits: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must map names of limits to values, not be {type(content).__name__}")
    return content


def _read_yaml(path: Path, text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise ConfigError(f"{path}: PyYAML is not installed here; write the limits as JSON") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _check_names(given: Mapping[str, Any]) -> None:
    known = [*_OVER_JOINTS, *_SCALARS]
    for name in given:
        if name not in known:
            raise ConfigError(f"safety limits: unknown limit {name!r}: {did_you_mean(str(name), known)}")


def _scalar(name: str, value: Any) -> float | int | bool:
    kind = _SCALARS[name]
    if kind is bool:
        if not isinstance(value, bool):
            raise ConfigError(f"safety limits: {name} is {value!r}; it must be true or false")
        return value
    number = _number(f"safety limits: {name}", value)
    least = 0.0 if kind is int and name == "max_missed_deadlines" else 1.0 if kind is int else None
    if (kind is int and number != int(number)) or number < (least or 0.0) or (least is None and number == 0.0):
        allowed = f"a whole number of {least:g} or more" if least is not None else "a number above 0"
        raise ConfigError(f"safety limits: {name} is {value!r}; it must be {allowed}")
    return kind(number)


def _number(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise ConfigError(f"{what} is {value!r}; it must be a number")
    return float(value)


def _unlimited(robot: Mapping[str, Any], key: str, names: tuple[str, ...]) -> np.ndarray:
    """Return numbers over joints, with infinity where there is none."""
    values = robot.get(key)
    if not isinstance(values, list) or len(values) != len(names):
        raise ConfigError(f"policy.json: the robot's {key} must be a list of {len(names)}, one for each joint")
    return np.array([math.inf if value is None else float(value) for value in values])


def _position_limits(robot: Mapping[str, Any], names: tuple[str, ...], given: Any) -> tuple[np.ndarray, np.ndarray]:
    pairs = robot.get("position_limits")
    if not isinstance(pairs, list) or len(pairs) != len(names):
        raise ConfigError(f"policy.json: the robot's position_limits must be a list of {len(names)} pairs")
    limits = [pair if isinstance(pair, list) else [None, None] for pair in pairs]
    for index, value in _by_joint(names, "position_limits", given or {}).items():
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise ConfigError(
                f"safety limits: position_limits of {names[index]!r} is {value!r}; it must be [low, high]"
            )
        limits[index] = list(value)
    low = np.array([-math.inf if a is None else _number("position limit", a) for a, _ in limits])
    high = np.array([math.inf if b is None else _number("position limit", b) for _, b in limits])
    for name, a, b in zip(names, low, high, strict=True):
        if not a <= b:
            raise ConfigError(f"safety limits: position_limits of {name!r} are [{a:g}, {b:g}]; the low one comes first")
    return low, high


def _over_joints(
    names: tuple[str, ...], key: str, given: Mapping[str, Any], default: np.ndarray, least: float | None = None
) -> np.ndarray:
    values = default.astype(np.float64)
    if key not in given:
        return values
    content = given[key]
    by_joint = _by_joint(names, key, content if isinstance(content, Mapping) else {"*": content})
    for index, value in by_joint.items():
        number = _number(f"safety limits: {key} of {names[index]!r}", value)
        if number < 0.0 or (least is None and number == 0.0):
            allowed = "0 or more" if least is not None else "above 0"
            raise ConfigError(f"safety limits: {key} of {names[index]!r} is {value!r}; it must be {allowed}")
        values[index] = number
    return values


def _by_joint(names: tuple[str, ...], key: str, content: Any) -> dict[int, Any]:
    """Return values by the index of the joint; a later pattern replaces an earlier one."""
    if not isinstance(content, Mapping):
        raise ConfigError(f"safety limits: {key} is {content!r}; it must map joint names to values")
    found: dict[int, Any] = {}
    for pattern, value in content.items():
        matching = [i for i, name in enumerate(names) if fnmatch.fnmatchcase(name, str(pattern))]
        if not matching:
            raise ConfigError(f"safety limits: {key} has no joint {pattern!r}: {did_you_mean(str(pattern), names)}")
        found.update(dict.fromkeys(matching, value))
    return found


def _brake(robot: Mapping[str, Any], names: tuple[str, ...], effort: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """Return the damping that takes a joint's whole effort at its greatest velocity, within what it is built for."""
    own = np.where(np.isfinite(gains := _unlimited(robot, "damping", names)), gains, 0.0)
    with np.errstate(invalid="ignore"):
        whole = np.where(np.isfinite(effort / velocity), effort / velocity, 0.0)
    return np.maximum(own, np.minimum(whole, _DAMPING_GAIN * own))
