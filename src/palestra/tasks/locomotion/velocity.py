"""What the walking tasks on flat ground share: ground, observations, starts."""

import math

from palestra.assets import AssetBaseCfg
from palestra.envs import mdp
from palestra.managers import (
    EventTermCfg,
    ObservationGroupCfg,
    ObservationTermCfg,
    SceneEntityCfg,
    TerminationTermCfg,
)
from palestra.scene import InteractiveSceneCfg
from palestra.sim import DistantLightCfg, DomeLightCfg, GroundPlaneCfg
from palestra.utils import configclass
from palestra.utils.noise import AdditiveUniformNoiseCfg as Unoise

COMMAND = "base_velocity"
"""Name of the velocity command."""


@configclass
class FlatSceneCfg(InteractiveSceneCfg):
    """A plane with light; a task adds its robot."""

    ground = AssetBaseCfg(spawn=GroundPlaneCfg())
    light = AssetBaseCfg(spawn=DomeLightCfg())
    sun = AssetBaseCfg(spawn=DistantLightCfg())


@configclass
class ObservationsCfg:
    """What the policy sees, and what only the critic sees."""

    @configclass
    class PolicyCfg(ObservationGroupCfg):
        """What a robot measures: 9 numbers and three for each joint."""

        enable_corruption: bool = True

        base_ang_vel = ObservationTermCfg(func=mdp.base_ang_vel, noise=Unoise(n_min=-0.2, n_max=0.2))
        projected_gravity = ObservationTermCfg(func=mdp.projected_gravity, noise=Unoise(n_min=-0.05, n_max=0.05))
        velocity_commands = ObservationTermCfg(func=mdp.generated_commands, params={"command_name": COMMAND})
        joint_pos = ObservationTermCfg(func=mdp.joint_pos_rel, noise=Unoise(n_min=-0.01, n_max=0.01))
        joint_vel = ObservationTermCfg(func=mdp.joint_vel_rel, noise=Unoise(n_min=-1.5, n_max=1.5))
        actions = ObservationTermCfg(func=mdp.last_action)

    @configclass
    class CriticCfg(PolicyCfg):
        """The same without noise, and the velocity that no sensor of the robot measures."""

        enable_corruption: bool = False

        base_lin_vel = ObservationTermCfg(func=mdp.base_lin_vel)

    policy: PolicyCfg = PolicyCfg()
    critic: CriticCfg = CriticCfg()


OBS_GROUPS: dict[str, list[str]] = {"actor": ["policy"], "critic": ["critic"]}
"""Observation groups of a walking agent: the critic sees more than the robot's sensors tell."""


@configclass
class TerminationsCfg:
    """The time limit; a task adds its ways to fail."""

    time_out = TerminationTermCfg(func=mdp.time_out, time_out=True)


@configclass
class EventsCfg:
    """Starts anywhere, in any direction, near the default pose."""

    reset_base = EventTermCfg(
        func=mdp.reset_root_state_uniform,
        mode="reset",
        params={"pose_range": {"x": (-0.5, 0.5), "y": (-0.5, 0.5), "yaw": (-math.pi, math.pi)}, "velocity_range": {}},
    )
    reset_robot_joints = EventTermCfg(
        func=mdp.reset_joints_by_scale,
        mode="reset",
        params={"position_range": (0.9, 1.1), "velocity_range": (0.0, 0.0)},
    )


GAIT = "gait"
"""Name of the humanoids' gait clock."""


@configclass
class HumanoidObservationsCfg(ObservationsCfg):
    """What a robot measures, and the clock of its gait."""

    @configclass
    class PolicyCfg(ObservationsCfg.PolicyCfg):
        """Six numbers more: sine, cosine and contact of each foot's phase."""

        gait_phase = ObservationTermCfg(func=mdp.generated_commands, params={"command_name": GAIT})

    @configclass
    class CriticCfg(ObservationsCfg.CriticCfg):
        """Likewise."""

        gait_phase = ObservationTermCfg(func=mdp.generated_commands, params={"command_name": GAIT})

    policy: PolicyCfg = PolicyCfg()
    critic: CriticCfg = CriticCfg()


def walking_gait(left: str, right: str) -> mdp.GaitPhaseCommandCfg:
    """Return a clock of 1.25 strides a second whose feet take turns and overlap for a tenth of the stride.

    Args:
        left: element of the contact sensor that is the left foot.
        right: the right foot.
    """
    return mdp.GaitPhaseCommandCfg(
        resampling_time_range=(1.0e6, 1.0e6),
        offsets={left: 0.0, right: 0.5},
        ranges=mdp.GaitPhaseCommandCfg.Ranges(frequency=(1.25, 1.25), duty_factor=(0.6, 0.6)),
    )


@configclass
class HumanoidEventsCfg(EventsCfg):
    """Starts with some speed, and pushes: what balancing is learned from.

    Grounds, masses and the time until an action counts differ a little: without that a G1 lost 12 % of its score behind
    a network of 10 ms (``palestra sim2sim``).
    """

    materials: EventTermCfg | None = EventTermCfg(
        func=mdp.randomize_rigid_body_material,
        mode="startup",
        params={
            "asset_cfg": SceneEntityCfg("robot", body_names=[".*"]),
            "static_friction_range": (0.4, 1.2),
            "dynamic_friction_range": (0.4, 1.2),
            "restitution_range": (0.0, 0.0),
            "num_buckets": 64,
        },
    )
    masses: EventTermCfg | None = EventTermCfg(
        func=mdp.randomize_rigid_body_mass,
        mode="startup",
        params={
            "asset_cfg": SceneEntityCfg("robot", body_names=[".*"]),
            "mass_distribution_params": (0.9, 1.1),
            "operation": "scale",
        },
    )
    action_delay: EventTermCfg | None = EventTermCfg(
        func=mdp.randomize_action_delay, mode="reset", params={"delay_range": (0, 1)}
    )

    reset_base = EventTermCfg(
        func=mdp.reset_root_state_uniform,
        mode="reset",
        params={
            "pose_range": {"x": (-0.5, 0.5), "y": (-0.5, 0.5), "yaw": (-math.pi, math.pi)},
            "velocity_range": {"x": (-0.3, 0.3), "y": (-0.3, 0.3), "roll": (-0.3, 0.3), "pitch": (-0.3, 0.3)},
        },
    )
    push: EventTermCfg | None = EventTermCfg(
        func=mdp.push_by_setting_velocity,
        mode="interval",
        interval_range_s=(8.0, 12.0),
        params={"velocity_range": {"x": (-0.3, 0.3), "y": (-0.3, 0.3)}},
    )


def make_nominal(events: HumanoidEventsCfg) -> None:
    """Take the pushes out, and the differences between robots: what a policy is watched on."""
    events.push = events.materials = events.masses = events.action_delay = None


STAGES: dict[str, dict[str, tuple[float, float] | float]] = {
    # Stay up, however.
    "balance": {"lin_vel_x": (0.0, 0.0), "lin_vel_y": (0.0, 0.0), "ang_vel_z": (0.0, 0.0), "survival": 0.8},
    # Stay up and in place.
    "stand": {
        "lin_vel_x": (0.0, 0.0),
        "lin_vel_y": (0.0, 0.0),
        "ang_vel_z": (0.0, 0.0),
        "survival": 0.9,
        "tracking": 0.75,
    },
    # Walk straight on; the heading that is kept may be any.
    "walk forward": {
        "lin_vel_x": (0.2, 0.8),
        "lin_vel_y": (0.0, 0.0),
        "ang_vel_z": (-0.2, 0.2),
        "survival": 0.9,
        "tracking": 0.7,
    },
    # Everything that the command's own ranges hold.
    "turn and vary speed": {},
}
"""Stages in which the humanoids learn, and the shares of surviving and tracking that end each."""
