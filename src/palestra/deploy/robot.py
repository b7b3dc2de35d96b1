"""What a robot tells and takes, in SI units: the border between a policy and hardware. Needs numpy only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

Mode = Literal["control", "damping", "off"]
"""``"control"`` follows the targets, ``"damping"`` brakes joints with ``damping`` alone, ``"off"`` gives no torque."""


@dataclass
class RobotState:
    """One reading of all sensors; vectors over joints follow the interface's ``joint_names``."""

    stamp: float
    """When the sensors were read (s), on a clock of the robot that never goes back."""

    joint_pos: np.ndarray
    """Positions (rad, or m for sliding joints), ``(num_joints,)``."""

    joint_vel: np.ndarray
    """Velocities (rad/s, m/s), ``(num_joints,)``."""

    joint_effort: np.ndarray | None = None
    """Measured torques (N·m, N), ``(num_joints,)``; None where the robot measures none."""

    base_ang_vel: np.ndarray | None = None
    """Angular velocity of the base in its own frame (rad/s), ``(3,)``; None for a fixed base."""

    base_quat: np.ndarray | None = None
    """Orientation of the base in the world (w, x, y, z), unit, ``(4,)``; None for a fixed base."""

    base_contact: bool = False
    """Whether something touches the base."""

    extra: dict[str, np.ndarray] = field(default_factory=dict)
    """Further sensors by the name of the policy's input."""


@dataclass
class RobotCommand:
    """What the joints are to do until the next command: τ = stiffness (q* − q) + damping (q̇* − q̇) + effort."""

    joint_pos_target: np.ndarray
    """q* (rad, m), ``(num_joints,)``."""

    joint_vel_target: np.ndarray
    """q̇* (rad/s, m/s), ``(num_joints,)``."""

    joint_effort: np.ndarray
    """Torque that is added (N·m, N), ``(num_joints,)``."""

    stiffness: np.ndarray
    """N·m/rad (N/m), ``(num_joints,)``."""

    damping: np.ndarray
    """N·m·s/rad (N·s/m), ``(num_joints,)``."""

    mode: Mode = "control"


class RobotInterface(Protocol):
    """A robot, simulated or real, that a policy's process talks to. Calls never block for longer than a millisecond."""

    joint_names: tuple[str, ...]
    """Joints in the order of all vectors."""

    def connect(self) -> None:
        """Open the connection.

        Raises:
            ConnectionError: the robot does not answer.
        """
        ...

    def read(self) -> RobotState | None:
        """Return the newest state; None if none has arrived yet. The same state may come again: look at its stamp."""
        ...

    def write(self, command: RobotCommand) -> None:
        """Send a command."""
        ...

    def close(self) -> None:
        """Leave the robot in damping and close the connection."""
        ...
