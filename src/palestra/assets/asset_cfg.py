"""Configuration of assets."""

from __future__ import annotations

from typing import Literal

from palestra.actuators.actuator_cfg import ActuatorBaseCfg
from palestra.config.configclass import MISSING, configclass
from palestra.sim.spawners import SpawnerCfg


@configclass
class AssetBaseCfg:
    """Something static in the scene: ground, light, furniture."""

    prim_path: str = ""
    """Accepted for Isaac Lab's configurations; its last part names the asset for sensors."""

    spawn: SpawnerCfg | None = None
    """What to put there."""

    collision_group: Literal[0, -1] = 0
    """Accepted for Isaac Lab's configurations; environments are separate worlds here and never collide."""

    @configclass
    class InitialStateCfg:
        """Pose in the environment frame."""

        pos: tuple[float, float, float] = (0.0, 0.0, 0.0)
        """Position (m)."""

        rot: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
        """Orientation (w, x, y, z)."""

    init_state: InitialStateCfg = InitialStateCfg()
    """Default pose."""


@configclass
class RigidObjectCfg(AssetBaseCfg):
    """One free (or fixed) rigid body."""

    @configclass
    class InitialStateCfg(AssetBaseCfg.InitialStateCfg):
        """Pose and velocity in the environment frame."""

        lin_vel: tuple[float, float, float] = (0.0, 0.0, 0.0)
        """Linear velocity (m/s)."""

        ang_vel: tuple[float, float, float] = (0.0, 0.0, 0.0)
        """Angular velocity (rad/s)."""

    init_state: InitialStateCfg = InitialStateCfg()
    """Default state."""


@configclass
class ArticulationCfg(AssetBaseCfg):
    """A robot: bodies joined by hinges and slides, on a fixed or a floating base."""

    @configclass
    class InitialStateCfg(RigidObjectCfg.InitialStateCfg):
        """Root state, and joint state by regular expression; joints that none matches start at zero."""

        joint_pos: dict[str, float] = {".*": 0.0}
        """Joint positions (rad or m)."""

        joint_vel: dict[str, float] = {".*": 0.0}
        """Joint velocities (rad/s or m/s)."""

    init_state: InitialStateCfg = InitialStateCfg()
    """Default state."""

    actuators: dict[str, ActuatorBaseCfg] = MISSING
    """Actuator groups by name."""

    soft_joint_pos_limit_factor: float = 1.0
    """Share of each joint's range, around its middle, that ``soft_joint_pos_limits`` keeps."""
