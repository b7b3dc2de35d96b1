"""A Unitree H1 learns in stages to balance, to stand, to walk and to follow commanded velocities on flat ground.

The rewards and their weights are those of Isaac Lab's flat H1 task (2.3), with a gait clock in place of the reward for
feet in the air: feet that follow the clock and swing at a height. The policy sees the clock and what the robot
measures; the linear velocity is the critic's alone. The stages are a curriculum on the command (``velocity.STAGES``); a
robot has fallen when its pelvis leans by 0.8 rad or is below 0.6 m.
"""

import math

from palestra.assets import ArticulationCfg
from palestra.envs import ManagerBasedRLEnvCfg, ViewerCfg, mdp
from palestra.managers import CurriculumTermCfg, RewardTermCfg, SceneEntityCfg, TerminationTermCfg
from palestra.rl import ModelCfg, PPOAlgorithmCfg, PPORunnerCfg
from palestra.robots.unitree_h1 import UNITREE_H1_CFG
from palestra.sensors import ContactSensorCfg
from palestra.sim import SimulationCfg
from palestra.tasks.locomotion import mdp as walking
from palestra.tasks.locomotion import velocity
from palestra.tasks.locomotion.velocity import COMMAND, GAIT, HumanoidEventsCfg, HumanoidObservationsCfg
from palestra.utils import configclass


@configclass
class SceneCfg(velocity.FlatSceneCfg):
    """The robot on a plane."""

    robot: ArticulationCfg = UNITREE_H1_CFG
    feet: ContactSensorCfg = ContactSensorCfg(prim_path="{ENV_REGEX_NS}/Robot/.*_ankle_link", track_air_time=True)


@configclass
class CommandsCfg:
    """Velocities in the base frame, the yaw rate of which steers to a drawn heading; and the clock of the gait."""

    base_velocity = mdp.UniformVelocityCommandCfg(
        asset_name="robot",
        resampling_time_range=(10.0, 10.0),
        rel_standing_envs=0.02,
        rel_heading_envs=1.0,
        heading_command=True,
        heading_control_stiffness=0.5,
        ranges=mdp.UniformVelocityCommandCfg.Ranges(
            lin_vel_x=(0.0, 1.0), lin_vel_y=(-0.5, 0.5), ang_vel_z=(-1.0, 1.0), heading=(-math.pi, math.pi)
        ),
    )
    gait: mdp.GaitPhaseCommandCfg = velocity.walking_gait("left_ankle_link", "right_ankle_link")


@configclass
class ActionsCfg:
    """Joint positions around the standing pose."""

    joint_pos = mdp.JointPositionActionCfg(asset_name="robot", joint_names=[".*"], scale=0.25, use_default_offset=True)


@configclass
class RewardsCfg:
    """Follow the command on alternating feet; stay upright and near the default pose; do not fall."""

    termination_penalty = RewardTermCfg(func=mdp.is_terminated, weight=-200.0)
    track_lin_vel_xy_exp = RewardTermCfg(
        func=walking.track_lin_vel_xy_yaw_frame_exp, weight=1.0, params={"command_name": COMMAND, "std": 0.5}
    )
    track_ang_vel_z_exp = RewardTermCfg(
        func=walking.track_ang_vel_z_world_exp, weight=1.0, params={"command_name": COMMAND, "std": 0.5}
    )
    feet_gait = RewardTermCfg(
        func=mdp.feet_gait,
        weight=1.0,
        params={"command_name": GAIT, "sensor_cfg": SceneEntityCfg("feet"), "velocity_command_name": COMMAND},
    )
    feet_swing_height = RewardTermCfg(
        func=mdp.feet_swing_height_l2,
        weight=-20.0,
        params={
            "target_height": 0.13,
            "sensor_cfg": SceneEntityCfg("feet"),
            "asset_cfg": SceneEntityCfg("robot", body_names=[".*_ankle_link"]),
        },
    )
    feet_slide = RewardTermCfg(
        func=walking.feet_slide,
        weight=-0.1,
        params={
            "sensor_cfg": SceneEntityCfg("feet"),
            "asset_cfg": SceneEntityCfg("robot", body_names=[".*_ankle_link"]),
        },
    )
    lin_vel_z_l2 = RewardTermCfg(func=mdp.lin_vel_z_l2, weight=-0.2)
    ang_vel_xy_l2 = RewardTermCfg(func=mdp.ang_vel_xy_l2, weight=-0.05)
    flat_orientation_l2 = RewardTermCfg(func=mdp.flat_orientation_l2, weight=-1.0)
    dof_torques_l2 = RewardTermCfg(
        func=mdp.joint_torques_l2,
        weight=-2.0e-6,
        params={"asset_cfg": SceneEntityCfg("robot", joint_names=[".*_hip_.*", ".*_knee_joint"])},
    )
    dof_acc_l2 = RewardTermCfg(
        func=mdp.joint_acc_l2,
        weight=-1.0e-7,
        params={"asset_cfg": SceneEntityCfg("robot", joint_names=[".*_hip_.*", ".*_knee_joint"])},
    )
    action_rate_l2 = RewardTermCfg(func=mdp.action_rate_l2, weight=-0.005)
    dof_pos_limits = RewardTermCfg(
        func=mdp.joint_pos_limits,
        weight=-1.0,
        params={"asset_cfg": SceneEntityCfg("robot", joint_names=[".*_ankle_joint"])},
    )
    joint_deviation_hip = RewardTermCfg(
        func=mdp.joint_deviation_l1,
        weight=-0.1,
        params={"asset_cfg": SceneEntityCfg("robot", joint_names=[".*_hip_yaw_joint", ".*_hip_roll_joint"])},
    )
    joint_deviation_arms = RewardTermCfg(
        func=mdp.joint_deviation_l1,
        weight=-0.1,
        params={"asset_cfg": SceneEntityCfg("robot", joint_names=[".*_shoulder_.*", ".*_elbow_joint"])},
    )
    joint_deviation_torso = RewardTermCfg(
        func=mdp.joint_deviation_l1,
        weight=-0.1,
        params={"asset_cfg": SceneEntityCfg("robot", joint_names=["torso_joint"])},
    )


@configclass
class TerminationsCfg(velocity.TerminationsCfg):
    """Ends of an episode."""

    leaning = TerminationTermCfg(func=mdp.bad_orientation, params={"limit_angle": 0.8})
    low = TerminationTermCfg(func=mdp.root_height_below_minimum, params={"minimum_height": 0.6})


@configclass
class CurriculumCfg:
    """From balancing to walking anywhere."""

    stages: CurriculumTermCfg | None = CurriculumTermCfg(
        func=walking.velocity_stages,
        params={
            "command_name": COMMAND,
            "reward_names": ["track_lin_vel_xy_exp", "track_ang_vel_z_exp"],
            "stages": velocity.STAGES,
            "episodes": 0.5,
        },
    )


@configclass
class EnvCfg(ManagerBasedRLEnvCfg):
    """20 s episodes at 50 Hz."""

    sim: SimulationCfg = SimulationCfg(dt=0.005, iterations=5, ls_iterations=8)
    decimation: int = 4
    episode_length_s: float = 20.0
    scene: SceneCfg = SceneCfg(num_envs=1024)
    viewer: ViewerCfg = ViewerCfg(
        eye=(2.4, -2.8, 0.8), lookat=(0.0, 0.0, -0.1), origin_type="asset_root", asset_name="robot"
    )
    commands: CommandsCfg = CommandsCfg()
    actions: ActionsCfg = ActionsCfg()
    observations: HumanoidObservationsCfg = HumanoidObservationsCfg()
    rewards: RewardsCfg = RewardsCfg()
    terminations: TerminationsCfg = TerminationsCfg()
    events: HumanoidEventsCfg = HumanoidEventsCfg()
    curriculum: CurriculumCfg = CurriculumCfg()


@configclass
class PlayEnvCfg(EnvCfg):
    """A few robots without observation noise, pushes and stages: the whole range of commands."""

    def __post_init__(self) -> None:
        self.scene.num_envs = 16
        self.observations.policy.enable_corruption = False
        self.events.push = None
        self.curriculum.stages = None
        self.commands.base_velocity.rel_standing_envs = 0.0
        self.commands.base_velocity.resampling_time_range = (4.0, 4.0)


@configclass
class AgentCfg(PPORunnerCfg):
    """Sizes of Isaac Lab's agent; step and noise settings of ``Velocity-Flat-Go2``."""

    experiment_name: str = "velocity_flat_h1"
    num_steps_per_env: int = 24
    max_iterations: int = 1500
    save_interval: int = 100
    obs_groups: dict[str, list[str]] = velocity.OBS_GROUPS
    actor: ModelCfg = ModelCfg(hidden_dims=[256, 128, 128], obs_normalization=True, init_std=0.5, output_gain=0.01)
    critic: ModelCfg = ModelCfg(hidden_dims=[256, 128, 128], obs_normalization=True)
    algorithm: PPOAlgorithmCfg = PPOAlgorithmCfg(entropy_coef=0.008, gamma=0.97, desired_kl=0.02)
