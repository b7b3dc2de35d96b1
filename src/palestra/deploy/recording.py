"""What the black box of a deployment holds: its columns, and the row of a control step."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from palestra.deploy.blackbox import BlackBox
from palestra.deploy.robot import RobotCommand, RobotState
from palestra.deploy.runtime import PolicyRunner
from palestra.deploy.safety import SafetyMonitor

Phase = Literal["init", "stand", "run", "damp", "stop"]
"""``init`` brakes and waits for sensors, ``stand`` goes to the default pose, ``run`` is the policy, ``damp`` brakes."""

PHASES: tuple[Phase, ...] = ("init", "stand", "run", "damp", "stop")
"""In their order; the black box holds the index."""

_OF_STATE = ("stamp", "joint_pos", "joint_vel", "joint_effort", "base_quat", "base_ang_vel", "base_contact")
_TARGETS = {"pos": "joint_pos_target", "vel": "joint_vel_target", "effort": "joint_effort"}


def record_for(runner: PolicyRunner, monitor: SafetyMonitor, seconds: float) -> BlackBox:
    """Return a black box that fits a policy.

    Args:
        runner: the policy.
        monitor: its monitor.
        seconds: how much of the past to keep.
    """
    joints = monitor.limits.joint_names
    over_joints = ["joint_pos", "joint_vel", "joint_effort", "stiffness", "damping"]
    over_joints += [f"{which}_{name}" for which in ("wanted", "sent") for name in _TARGETS]
    step = runner.control_step
    columns = dict.fromkeys(over_joints, len(joints)) | {"base_quat": 4, "base_ang_vel": 3}
    columns |= dict.fromkeys(("phase", "stamp", "age", "base_contact", "tripped", "work"), 1)
    columns |= {f"command_{name}": int(np.prod(port.shape)) for name, port in step.commands().items()}
    columns |= {p.name: int(np.prod(p.shape)) for p in step.outputs if p.role in ("action", "observation")}
    about = {
        "task": runner.description.get("task"),
        "joint_names": list(joints),
        "phases": list(PHASES),
        "step_dt": runner.step_dt,
    }
    return BlackBox(columns, max(1, round(seconds / runner.step_dt)), about)


def row_of(
    phase: Phase,
    monitor: SafetyMonitor,
    state: RobotState | None,
    wanted: RobotCommand,
    sent: RobotCommand,
    commands: dict[str, np.ndarray],
    outputs: dict[str, np.ndarray],
) -> dict[str, Any]:
    """Return the row of a control step, without the time that it took.

    Args:
        phase: at its end.
        monitor: after it.
        state: what was read.
        wanted: what the phase asked for.
        sent: what the monitor made of it.
        commands: what the operator asked for, by name.
        outputs: of the policy.
    """
    row: dict[str, Any] = {name: getattr(state, name) for name in _OF_STATE} if state is not None else {}
    for which, command in (("wanted", wanted), ("sent", sent)):
        row |= {f"{which}_{name}": getattr(command, of) for name, of in _TARGETS.items()}
    row |= {f"command_{name}": value for name, value in commands.items()}
    row |= {"phase": PHASES.index(phase), "age": monitor.freshness.age, "tripped": monitor.tripped}
    return row | {"stiffness": sent.stiffness, "damping": sent.damping} | outputs
