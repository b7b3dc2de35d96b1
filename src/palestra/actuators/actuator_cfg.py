"""Configuration of actuator groups. Every gain is one number or ``{joint regex: number}``."""

from __future__ import annotations

from typing import Literal

from palestra.config.configclass import MISSING, configclass
from palestra.errors import ConfigError

Gain = float | dict[str, float]


@configclass
class ActuatorBaseCfg:
    """Common fields of all actuator groups."""

    kind: Literal["implicit", "ideal_pd", "dc_motor", "delayed_pd"] = MISSING
    """Which model computes the torque; set by the subclass."""

    joint_names_expr: list[str] = MISSING
    """Regular expressions of the joints."""

    stiffness: Gain = 0.0
    """Position gain (N·m/rad or N/m)."""

    damping: Gain = 0.0
    """Velocity gain (N·m·s/rad or N·s/m)."""

    effort_limit: Gain | None = None
    """Largest torque or force (N·m or N); ``None`` is unlimited."""

    velocity_limit: Gain | None = None
    """Largest joint speed (rad/s or m/s): used by reward and termination terms and by the DC motor."""

    effort_limit_sim: Gain | None = None
    """Isaac Lab's second name for ``effort_limit``; set one of the two."""

    velocity_limit_sim: Gain | None = None
    """Isaac Lab's second name for ``velocity_limit``; set one of the two."""

    armature: Gain | None = None
    """Rotor inertia seen at the joint (kg·m² or kg); ``None`` keeps the model's."""

    friction: Gain | None = None
    """Dry friction loss (N·m or N); ``None`` keeps the model's."""

    def __post_init__(self) -> None:
        for name in ("effort_limit", "velocity_limit"):
            sim_value = getattr(self, f"{name}_sim")
            if sim_value is None:
                continue
            if getattr(self, name) not in (None, sim_value):
                raise ConfigError(f"actuator {self.joint_names_expr}: {name} and {name}_sim differ; set one of them")
            setattr(self, name, sim_value)


@configclass
class ImplicitActuatorCfg(ActuatorBaseCfg):
    """PD control inside the engine: τ = k_p (q* − q) + k_d (q̇* − q̇) + τ_ff, clipped to the effort limit.

    It is integrated implicitly in the velocity, so stiff gains stay stable, and all substeps run as one call.
    """

    kind: Literal["implicit"] = "implicit"


@configclass
class IdealPDActuatorCfg(ActuatorBaseCfg):
    """The same law computed explicitly between substeps."""

    kind: Literal["ideal_pd"] = "ideal_pd"


@configclass
class DCMotorCfg(IdealPDActuatorCfg):
    """Ideal PD whose torque is cut by the linear torque–speed curve of a DC motor.

    τ_max(q̇) = clip(τ_sat (1 − q̇ / q̇_max), 0, τ_limit) when driving forwards, mirrored backwards.
    """

    kind: Literal["dc_motor"] = "dc_motor"

    saturation_effort: float = MISSING
    """Stall torque τ_sat (N·m)."""


@configclass
class DelayedPDActuatorCfg(IdealPDActuatorCfg):
    """Ideal PD whose targets arrive late by a number of physics steps drawn for each episode."""

    kind: Literal["delayed_pd"] = "delayed_pd"

    min_delay: int = 0
    """Smallest delay (physics steps)."""

    max_delay: int = 0
    """Largest delay (physics steps)."""
