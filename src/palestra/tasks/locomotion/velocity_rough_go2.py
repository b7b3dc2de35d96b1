"""A Unitree Go2 follows commanded velocities over slopes, stairs, boxes and rubble.

Terrain, observations, rewards and weights are those of Isaac Lab's rough Go2 task (2.3), with the differences of
``Velocity-Flat-Go2`` and these: the height grid has vertices every 5 cm, so that stairs are steep; robots start on
level patches; only feet and trunk meet the ground; who leaves the map starts anew.
"""

import copy
import math

from palestra.assets import ArticulationCfg, AssetBaseCfg
from palestra.envs import ManagerBasedRLEnvCfg, ViewerCfg, mdp
from palestra.managers import (
    CurriculumTermCfg,
    EventTermCfg,
    ObservationGroupCfg,
    ObservationTermCfg,
    RewardTermCfg,
    SceneEntityCfg,
    TerminationTermCfg,
)
from palestra.rl import ModelCfg, PPOAlgorithmCfg, PPORunnerCfg
from palestra.robots.unitree_go2 import UNITREE_GO2_CFG
from palestra.scene import InteractiveSceneCfg
from palestra.sensors import ContactSensorCfg, RayCasterCfg, patterns
from palestra.sim import DistantLightCfg, DomeLightCfg, SimulationCfg
from palestra.terrains import FlatPatchSamplingCfg, TerrainGeneratorCfg, TerrainImporterCfg
from palestra.terrains.config import ROUGH_TERRAINS_CFG
from palestra.utils import configclass
from palestra.utils.noise import AdditiveUniformNoiseCfg as Unoise


def terrain_for_go2() -> TerrainGeneratorCfg:
    """Return the rough terrain with boxes and rubble scaled to a small robot, and level patches near each origin."""
    terrain = copy.deepcopy(ROUGH_TERRAINS_CFG)
    terrain.curriculum, terrain.border_width, terrain.horizontal_scale = True, 5.0, 0.05
    terrain.sub_terrains["boxes"].grid_height_range = (0.025, 0.1)
    terrain.sub_terrains["random_rough"].noise_range = (0.01, 0.06)
    terrain.sub_terrains["random_rough"].noise_step = 0.01
    terrain.sub_terrains["random_rough"].downsampled_scale = 0.1
    for tile in terrain.sub_terrains.values():
        tile.flat_patch_sampling = {
            "init_pos": FlatPatchSamplingCfg(
                num_patches=8, patch_radius=0.4, max_height_diff=0.06, x_range=(-0.5, 0.5), y_range=(-0.5, 0.5)
            )
        }
    return terrain


@configclass
class SceneCfg(InteractiveSceneCfg):
    """The robot on a map of 10 × 20 tiles."""

    terrain: TerrainImporterCfg = TerrainImporterCfg(
        prim_path="/World/ground",
        terrain_type="generator",
        terrain_generator=terrain_for_go2(),
        max_init_terrain_level=5,
        colliders=["robot/.*_foot", "robot/base", "robot/head"],
    )
    light = AssetBaseCfg(spawn=DomeLightCfg())
    sun = AssetBaseCfg(spawn=DistantLightCfg())
    robot: ArticulationCfg = UNITREE_GO2_CFG
    height_scanner: RayCasterCfg = RayCasterCfg(
        prim_path="{ENV_REGEX_NS}/Robot/base_link",
        offset=RayCasterCfg.OffsetCfg(pos=(0.0, 0.0, 20.0)),
        ray_alignment="yaw",
        pattern_cfg=patterns.GridPatternCfg(resolution=0.1, size=(1.6, 1.0)),
        mesh_prim_paths=["/World/ground"],
    )
    feet: ContactSensorCfg = ContactSensorCfg(
        prim_path="{ENV_REGEX_NS}/Robot/.*_foot", match="geoms", track_air_time=True
    )
    trunk: ContactSensorCfg = ContactSensorCfg(prim_path="{ENV_REGEX_NS}/Robot/base_link")


@configclass
class CommandsCfg:
    """Velocities in the base frame; the yaw rate steers to a drawn heading."""

    base_velocity = mdp.UniformVelocityCommandCfg(
        asset_name="robot",
        resampling_time_range=(10.0, 10.0),
        rel_standing_envs=0.02,
        rel_heading_envs=1.0,
        heading_command=True,
        heading_control_stiffness=0.5,
        ranges=mdp.UniformVelocityCommandCfg.Ranges(
            lin_vel_x=(-1.0, 1.0), lin_vel_y=(-0.5, 0.5), ang_vel_z=(-1.0, 1.0), heading=(-math.pi, math.pi)
        ),
    )


@configclass
class ActionsCfg:
    """Joint positions around the standing pose."""

    joint_pos = mdp.JointPositionActionCfg(asset_name="robot", joint_names=[".*"], scale=0.25, use_default_offset=True)


@configclass
class ObservationsCfg:
    """What the policy sees."""

    @configclass
    class PolicyCfg(ObservationGroupCfg):
        """48 numbers and the heights of 187 points around the robot."""

        enable_corruption: bool = True

        base_lin_vel = ObservationTermCfg(func=mdp.base_lin_vel, noise=Unoise(n_min=-0.1, n_max=0.1))
        base_ang_vel = ObservationTermCfg(func=mdp.base_ang_vel, noise=Unoise(n_min=-0.2, n_max=0.2))
        projected_gravity = ObservationTermCfg(func=mdp.projected_gravity, noise=Unoise(n_min=-0.05, n_max=0.05))
        velocity_commands = ObservationTermCfg(func=mdp.generated_commands, params={"command_name": "base_velocity"})
        joint_pos = ObservationTermCfg(func=mdp.joint_pos_rel, noise=Unoise(n_min=-0.01, n_max=0.01))
        joint_vel = ObservationTermCfg(func=mdp.joint_vel_rel, noise=Unoise(n_min=-1.5, n_max=1.5))
        actions = ObservationTermCfg(func=mdp.last_action)
        height_scan = ObservationTermCfg(
            func=mdp.height_scan,
            params={"sensor_cfg": SceneEntityCfg("height_scanner")},
            noise=Unoise(n_min=-0.1, n_max=0.1),
            clip=(-1.0, 1.0),
        )

    policy: PolicyCfg = PolicyCfg()


@configclass
class RewardsCfg:
    """Follow the command; move smoothly."""

    track_lin_vel_xy_exp = RewardTermCfg(
        func=mdp.track_lin_vel_xy_exp, weight=1.5, params={"command_name": "base_velocity", "std": 0.5}
    )
    track_ang_vel_z_exp = RewardTermCfg(
        func=mdp.track_ang_vel_z_exp, weight=0.75, params={"command_name": "base_velocity", "std": 0.5}
    )
    lin_vel_z_l2 = RewardTermCfg(func=mdp.lin_vel_z_l2, weight=-2.0)
    ang_vel_xy_l2 = RewardTermCfg(func=mdp.ang_vel_xy_l2, weight=-0.05)
    dof_torques_l2 = RewardTermCfg(func=mdp.joint_torques_l2, weight=-0.0002)
    dof_acc_l2 = RewardTermCfg(func=mdp.joint_acc_l2, weight=-2.5e-7)
    action_rate_l2 = RewardTermCfg(func=mdp.action_rate_l2, weight=-0.01)
    feet_air_time = RewardTermCfg(
        func=mdp.feet_air_time,
        weight=0.01,
        params={"sensor_cfg": SceneEntityCfg("feet"), "command_name": "base_velocity", "threshold": 0.25},
    )


@configclass
class TerminationsCfg:
    """Ends of an episode."""

    time_out = TerminationTermCfg(func=mdp.time_out, time_out=True)
    terrain_out_of_bounds = TerminationTermCfg(
        func=mdp.terrain_out_of_bounds, time_out=True, params={"distance_buffer": 3.0}
    )
    base_contact = TerminationTermCfg(
        func=mdp.illegal_contact, params={"sensor_cfg": SceneEntityCfg("trunk"), "threshold": 1.0}
    )


@configclass
class EventsCfg:
    """Starts."""

    reset_base = EventTermCfg(
        func=mdp.reset_root_state_from_terrain,
        mode="reset",
        params={"pose_range": {"yaw": (-math.pi, math.pi)}, "velocity_range": {}},
    )
    reset_robot_joints = EventTermCfg(
        func=mdp.reset_joints_by_scale,
        mode="reset",
        params={"position_range": (0.9, 1.1), "velocity_range": (0.0, 0.0)},
    )


@configclass
class CurriculumCfg:
    """Harder ground for those who master theirs."""

    terrain_levels = CurriculumTermCfg(func=mdp.terrain_levels_vel)


@configclass
class EnvCfg(ManagerBasedRLEnvCfg):
    """20 s episodes at 50 Hz."""

    sim: SimulationCfg = SimulationCfg(dt=0.005, iterations=5, ls_iterations=8)
    decimation: int = 4
    episode_length_s: float = 20.0
    scene: SceneCfg = SceneCfg(num_envs=1024)
    viewer: ViewerCfg = ViewerCfg(
        eye=(1.3, -1.6, 0.8), lookat=(0.0, 0.0, -0.05), origin_type="asset_root", asset_name="robot"
    )
    commands: CommandsCfg = CommandsCfg()
    actions: ActionsCfg = ActionsCfg()
    observations: ObservationsCfg = ObservationsCfg()
    rewards: RewardsCfg = RewardsCfg()
    terminations: TerminationsCfg = TerminationsCfg()
    events: EventsCfg = EventsCfg()
    curriculum: CurriculumCfg | None = CurriculumCfg()


@configclass
class PlayEnvCfg(EnvCfg):
    """A few robots without observation noise, on tiles of all difficulties."""

    def __post_init__(self) -> None:
        self.scene.num_envs = 16
        self.scene.terrain.max_init_terrain_level = None
        self.scene.terrain.terrain_generator.num_cols = 10  # type: ignore[union-attr]
        self.curriculum = None
        self.observations.policy.enable_corruption = False
        self.commands.base_velocity.rel_standing_envs = 0.0
        self.commands.base_velocity.ranges.lin_vel_x = (0.3, 1.0)


@configclass
class AgentCfg(PPORunnerCfg):
    """The flat task's settings with networks that have room for the height scan."""

    experiment_name: str = "velocity_rough_go2"
    num_steps_per_env: int = 16
    max_iterations: int = 3000
    save_interval: int = 100
    actor: ModelCfg = ModelCfg(hidden_dims=[512, 256, 128], obs_normalization=True, init_std=1.2, output_gain=0.01)
    critic: ModelCfg = ModelCfg(hidden_dims=[512, 256, 128], obs_normalization=True)
    algorithm: PPOAlgorithmCfg = PPOAlgorithmCfg(entropy_coef=0.005, gamma=0.98, desired_kl=0.02)
