"""Action terms and their configurations."""

from palestra.envs.mdp.actions.actions_cfg import (
    BinaryJointPositionActionCfg,
    JointActionCfg,
    JointEffortActionCfg,
    JointPositionActionCfg,
    JointPositionToLimitsActionCfg,
    JointVelocityActionCfg,
    RelativeJointPositionActionCfg,
)
from palestra.envs.mdp.actions.binary_joint_actions import BinaryJointPositionAction
from palestra.envs.mdp.actions.joint_actions import (
    JointAction,
    JointEffortAction,
    JointPositionAction,
    JointPositionToLimitsAction,
    JointVelocityAction,
    RelativeJointPositionAction,
)

__all__ = [
    "BinaryJointPositionAction",
    "BinaryJointPositionActionCfg",
    "JointAction",
    "JointActionCfg",
    "JointEffortAction",
    "JointEffortActionCfg",
    "JointPositionAction",
    "JointPositionActionCfg",
    "JointPositionToLimitsAction",
    "JointPositionToLimitsActionCfg",
    "JointVelocityAction",
    "JointVelocityActionCfg",
    "RelativeJointPositionAction",
    "RelativeJointPositionActionCfg",
]
