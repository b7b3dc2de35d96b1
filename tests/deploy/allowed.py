"""What a command must fulfil to be sent, written without looking at how the monitor bounds it."""

import numpy as np

from palestra.deploy.limits import SafetyLimits
from palestra.deploy.robot import RobotCommand

ROUNDING = 1e-6


def check_allowed(
    command: RobotCommand, limits: SafetyLimits, pos: np.ndarray, vel: np.ndarray, last: np.ndarray | None
) -> None:
    """Fail unless a command is finite and within the limits.

    Args:
        command: what was sent.
        limits: what is allowed.
        pos: last readable positions.
        vel: last readable velocities.
        last: position target of the control command before; None if there was none.
    """
    for name in ("joint_pos_target", "joint_vel_target", "joint_effort", "stiffness", "damping"):
        values = getattr(command, name)
        assert values.shape == pos.shape, name
        assert np.isfinite(values).all(), name
    assert (command.stiffness >= 0.0).all() and (command.damping >= 0.0).all()
    target = command.joint_pos_target
    assert (target >= limits.position_low).all() and (target <= limits.position_high).all()
    assert (np.abs(command.joint_vel_target) <= limits.velocity_limits).all()
    torque = command.damping * (command.joint_vel_target - vel) + command.joint_effort
    if command.mode == "control":
        torque = torque + command.stiffness * (target - pos)
        if last is not None:
            assert (np.abs(target - last) <= limits.target_change + ROUNDING).all()
    else:
        assert command.mode == "damping"
        assert (command.stiffness == 0.0).all() and (command.joint_effort == 0.0).all()
        assert (command.joint_vel_target == 0.0).all()
    assert (np.abs(torque) <= limits.effort_limits * (1.0 + ROUNDING)).all()
