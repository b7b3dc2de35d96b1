"""Configurations of the action terms."""

from __future__ import annotations

from palestra.config.configclass import MISSING, configclass
from palestra.envs.mdp.actions.binary_joint_actions import BinaryJointPositionAction
from palestra.envs.mdp.actions.joint_actions import (
    JointEffortAction,
    JointPositionAction,
    JointPositionToLimitsAction,
    JointVelocityAction,
    RelativeJointPositionAction,
)
from palestra.managers import ActionTermCfg


@configclass
class JointActionCfg(ActionTermCfg):
    """Joint targets = offset + scale · action."""

    joint_names: list[str] = MISSING
    """Joints, by regular expression."""

    scale: float | dict[str, float] = 1.0
    """Factor in the units of the target, one or ``{regex: factor}`` (1 where none matches)."""

    offset: float | dict[str, float] = 0.0
    """Target of a zero action, one or ``{regex: offset}`` (0 where none matches)."""

    preserve_order: bool = False
    """Whether the entries follow the order of ``joint_names`` instead of the robot's."""


@configclass
class JointPositionActionCfg(JointActionCfg):
    """Joint position targets (rad or m)."""

    class_type: type = JointPositionAction

    use_default_offset: bool = True
    """Whether the offset is the default joint position; ``offset`` must then stay 0."""


@configclass
class RelativeJointPositionActionCfg(JointActionCfg):
    """Joint position targets relative to the present positions (rad or m)."""

    class_type: type = RelativeJointPositionAction

    use_zero_offset: bool = True
    """Whether the offset is zero, whatever ``offset`` says."""


@configclass
class JointVelocityActionCfg(JointActionCfg):
    """Joint velocity targets (rad/s or m/s)."""

    class_type: type = JointVelocityAction

    use_default_offset: bool = True
    """Whether the offset is the default joint velocity; ``offset`` must then stay 0."""


@configclass
class JointEffortActionCfg(JointActionCfg):
    """Joint torques or forces (N·m or N)."""

    class_type: type = JointEffortAction


@configclass
class JointPositionToLimitsActionCfg(ActionTermCfg):
    """Joint position targets within the soft limits."""

    class_type: type = JointPositionToLimitsAction

    joint_names: list[str] = MISSING
    """Joints, by regular expression."""

    scale: float | dict[str, float] = 1.0
    """Factor before the rescaling, one or ``{regex: factor}``."""

    rescale_to_limits: bool = True
    """Whether [-1, 1] is mapped onto the soft limits; otherwise the scaled action is clamped to them."""

    preserve_order: bool = False
    """Whether the entries follow the order of ``joint_names`` instead of the robot's."""


@configclass
class BinaryJointPositionActionCfg(ActionTermCfg):
    """A gripper that is open or closed."""

    class_type: type = BinaryJointPositionAction

    joint_names: list[str] = MISSING
    """Joints, by regular expression."""

    open_command_expr: dict[str, float] = MISSING
    """Position of each joint when open (rad or m), ``{regex: position}``."""

    close_command_expr: dict[str, float] = MISSING
    """Position of each joint when closed (rad or m), ``{regex: position}``."""
