"""What must be true before a policy may move a robot: its numbers, its joints, its sensors, its pose."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from palestra.deploy.bundle import ControlStep, robot_of
from palestra.deploy.robot import RobotInterface, RobotState
from palestra.deploy.runtime import PolicyRunner
from palestra.deploy.safety import SafetyMonitor
from palestra.errors import PalestraError

_FIELDS = ("joint_pos", "joint_vel", "joint_effort", "base_ang_vel", "base_quat")
"""Sensors that are fields of a state; others are in its ``extra``."""

_POLL_S = 0.001


def sensors_of(state: RobotState, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return what a policy takes of a state, by the name of the input; what the robot lacks is left out."""
    found = {name: getattr(state, name) if name in _FIELDS else state.extra.get(name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def check_policy(runner: PolicyRunner) -> float:
    """Replay the golden vectors and see that a control step drives the robot's joints.

    Returns:
        The largest difference.

    Raises:
        PalestraError: the policy is not what was exported, or drives nothing.
    """
    joints = robot_of(runner.description)["joint_names"]
    step = runner.control_step
    targets = [port for port in step.outputs if port.role == "target"]
    if not targets:
        raise PalestraError("the policy has no target outputs: nothing would move")
    for port in targets:
        unknown = [name for name in port.joint_names or () if name not in joints]
        width = len(port.joint_names or joints)
        if unknown or int(np.prod(port.shape)) != width:
            raise PalestraError(f"the policy's output {port.name!r} {port.shape} does not fit the joints {joints}")
    return runner.check_golden()


def check_joints(runner: PolicyRunner, robot: RobotInterface) -> None:
    """Compare the robot's joints with the policy's.

    Raises:
        PalestraError: names or order differ.
    """
    wanted, found = list(robot_of(runner.description)["joint_names"]), list(robot.joint_names)
    if wanted == found:
        return
    if sorted(wanted) == sorted(found):
        at = next(i for i, (a, b) in enumerate(zip(wanted, found, strict=True)) if a != b)
        raise PalestraError(f"the robot orders its joints otherwise: joint {at} is {found[at]!r}, not {wanted[at]!r}")
    missing = [name for name in wanted if name not in found]
    further = [name for name in found if name not in wanted]
    raise PalestraError(f"the robot's joints are not the policy's: it lacks {missing} and has {further} besides")


def first_state(
    robot: RobotInterface, timeout: float, clock: Callable[[], float], sleep: Callable[[float], None] = time.sleep
) -> RobotState:
    """Wait for the first reading.

    Raises:
        PalestraError: none came in time.
    """
    end = clock() + timeout
    while clock() < end:
        state = robot.read()
        if state is not None:
            return state
        sleep(_POLL_S)
    raise PalestraError(f"the robot sent no sensors within {timeout:g} s")


def check_sensors(step: ControlStep, state: RobotState, monitor: SafetyMonitor, now: float) -> None:
    """See that all sensors are there and sane, and that the pose is within the limits.

    Raises:
        PalestraError: the first thing that is wrong.
    """
    if not monitor.check(state, now, posture="free"):
        raise PalestraError(f"the robot is not ready: {monitor.reset()[0].message}")
    names = step.named("sensor")
    there = sensors_of(state, names)
    for port in (port for port in step.inputs if port.role == "sensor"):
        if port.name not in there:
            raise PalestraError(f"the policy needs the sensor {port.name!r}, which the robot does not have")
        shape = np.shape(there[port.name])
        if shape != port.shape[1:]:
            raise PalestraError(
                f"the robot's sensor {port.name!r} has shape {shape}; the policy takes {port.shape[1:]}"
            )
