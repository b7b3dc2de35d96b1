"""Actuator models. The implicit one compiles into the engine; the others run between substeps."""

from palestra.actuators.actuator import ActuatorBase, DCMotor, DelayedPDActuator, IdealPDActuator, ImplicitActuator
from palestra.actuators.actuator_cfg import (
    ActuatorBaseCfg,
    DCMotorCfg,
    DelayedPDActuatorCfg,
    IdealPDActuatorCfg,
    ImplicitActuatorCfg,
)

__all__ = [
    "ActuatorBase",
    "ActuatorBaseCfg",
    "DCMotor",
    "DCMotorCfg",
    "DelayedPDActuator",
    "DelayedPDActuatorCfg",
    "IdealPDActuator",
    "IdealPDActuatorCfg",
    "ImplicitActuator",
    "ImplicitActuatorCfg",
]
