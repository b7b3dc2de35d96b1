"""The way into the default pose: a smooth motion of all joints with rising gains, before a policy takes over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from palestra.deploy.limits import SafetyLimits
from palestra.deploy.robot import RobotCommand

_PEAK = 1.875
"""Greatest velocity of a minimum-jerk motion, over its mean."""

_SHARE_OF_VELOCITY = 0.25
"""Share of a joint's greatest velocity that the motion uses at most."""

_PULL = 4.0
"""1/s: by how much of its error a joint without stiffness, a velocity servo, corrects its velocity."""

_NEAR, _NEAR_OF_RANGE = 0.5, 0.25
"""A joint has arrived within so many rad or m, and within this fraction of its range."""


class StandMotion:
    """Brings joints from where they are to the default pose.

    The path is minimum jerk (Flash and Hogan 1985, eq. 4: 10 s³ − 15 s⁴ + 6 s⁵). Stiffness rises with it from zero, and
    damping is whole from the start. Joints without stiffness follow by their velocity target; joints without any gain
    cannot be held and are left alone.

    Args:
        robot: what ``policy.json`` says of the robot.
        limits: of the robot.
        duration: least time of the motion (s); it takes longer where a joint would move too fast.
        ramp: time in which stiffness rises (s).
    """

    def __init__(self, robot: Mapping[str, Any], limits: SafetyLimits, duration: float, ramp: float) -> None:
        self._pose = np.clip(np.asarray(robot["default_joint_pos"], float), limits.position_low, limits.position_high)
        self.stiffness = np.array([value or 0.0 for value in robot["stiffness"]], float)
        self.damping = np.array([value or 0.0 for value in robot["damping"]], float)
        self._limits, self._least, self._ramp = limits, duration, ramp
        span = limits.position_high - limits.position_low
        self._near = np.where(np.isfinite(span), np.minimum(_NEAR, _NEAR_OF_RANGE * span), _NEAR)
        self._held = (self.stiffness > 0.0) | (self.damping > 0.0)
        self.begin(self._pose)

    def begin(self, joint_pos: np.ndarray) -> None:
        """Start from a pose, ``(num_joints,)``."""
        self._from = np.clip(joint_pos, self._limits.position_low, self._limits.position_high)
        way = np.abs(self._pose - self._from)
        fastest = _SHARE_OF_VELOCITY * self._limits.velocity_limits
        needed = np.where(np.isfinite(fastest) & (fastest > 0.0), _PEAK * way / np.maximum(fastest, 1e-9), 0.0)
        self.duration = float(max(self._least, needed.max(initial=0.0))) if self._held.any() else 0.0
        """How long this motion takes (s); nothing where no joint has a gain, as with torque control alone."""

    def command(self, elapsed: float, joint_pos: np.ndarray) -> RobotCommand:
        """Return what the joints are to do.

        Args:
            elapsed: since the beginning (s).
            joint_pos: measured, ``(num_joints,)``.
        """
        s = min(max(elapsed / self.duration, 0.0), 1.0) if self.duration > 0.0 else 1.0
        way = self._pose - self._from
        target = self._from + way * (10.0 * s**3 - 15.0 * s**4 + 6.0 * s**5)
        velocity = way * (30.0 * s**2 - 60.0 * s**3 + 30.0 * s**4) / max(self.duration, 1e-9)
        pull = np.where(self.stiffness > 0.0, 0.0, _PULL * (target - joint_pos))
        gain = 1.0 if self._ramp <= 0.0 else min(elapsed / self._ramp, 1.0)
        return RobotCommand(
            joint_pos_target=target,
            joint_vel_target=velocity + pull,
            joint_effort=np.zeros_like(target),
            stiffness=self.stiffness * gain,
            damping=self.damping.copy(),
        )

    def farthest(self, joint_pos: np.ndarray) -> tuple[int, float, float] | None:
        """Return the joint farthest from the default pose: index, error and tolerance; None if all have arrived."""
        error = np.where(self._held, np.abs(joint_pos - self._pose), 0.0)
        excess = error - self._near
        at = int(excess.argmax())
        return None if excess[at] <= 0.0 else (at, float(error[at]), float(self._near[at]))
