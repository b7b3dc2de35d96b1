"""An ANYmal C follows commanded velocities over slopes, stairs, boxes and rubble.

Terrain, observations, rewards and weights are those of Isaac Lab's rough ANYmal C task (2.3), with the differences of
``Velocity-Flat-AnymalC`` and these: the height grid has vertices every 5 cm, so that stairs are steep; robots start on
level patches; feet, thighs and trunk meet the ground, shanks do not; who leaves the map starts anew.
"""

from palestra.assets import ArticulationCfg
from palestra.envs import ManagerBasedRLEnvCfg, ViewerCfg, mdp
from palestra.managers import RewardTermCfg, SceneEntityCfg
from palestra.rl import ModelCfg, PPOAlgorithmCfg, PPORunnerCfg
from palestra.robots.anymal_c import ANYMAL_C_CFG
from palestra.sensors import ContactSensorCfg, RayCasterCfg
from palestra.sim import SimulationCfg
from palestra.tasks.locomotion import velocity, velocity_rough
from palestra.tasks.locomotion.velocity import COMMAND
from palestra.tasks.locomotion.velocity_flat_anymal_c import ActionsCfg, CommandsCfg
from palestra.tasks.locomotion.velocity_rough import CurriculumCfg, EventsCfg, ObservationsCfg, TerminationsCfg
from palestra.terrains import TerrainImporterCfg
from palestra.utils import configclass


@configclass
class SceneCfg(velocity_rough.RoughSceneCfg):
    """The robot on a map of 10 × 20 tiles."""

    terrain: TerrainImporterCfg = velocity_rough.ground(
        velocity_rough.rough_terrain(patch_radius=0.5, max_height_diff=0.1),
        colliders=["robot/.*_FOOT", "robot/.*_THIGH", "robot/base", "robot/front", "robot/rear"],
    )
    robot: ArticulationCfg = ANYMAL_C_CFG
    height_scanner: RayCasterCfg = velocity_rough.height_scanner("base")
    feet: ContactSensorCfg = ContactSensorCfg(
        prim_path="{ENV_REGEX_NS}/Robot/.*_FOOT", match="geoms", track_air_time=True
    )
    trunk: ContactSensorCfg = ContactSensorCfg(prim_path="{ENV_REGEX_NS}/Robot/base")
    thighs: ContactSensorCfg = ContactSensorCfg(prim_path="{ENV_REGEX_NS}/Robot/.*_THIGH")


@configclass
class RewardsCfg:
    """Follow the command; move smoothly."""

    track_lin_vel_xy_exp = RewardTermCfg(
        func=mdp.track_lin_vel_xy_exp, weight=1.0, params={"command_name": COMMAND, "std": 0.5}
    )
    track_ang_vel_z_exp = RewardTermCfg(
        func=mdp.track_ang_vel_z_exp, weight=0.5, params={"command_name": COMMAND, "std": 0.5}
    )
    lin_vel_z_l2 = RewardTermCfg(func=mdp.lin_vel_z_l2, weight=-2.0)
    ang_vel_xy_l2 = RewardTermCfg(func=mdp.ang_vel_xy_l2, weight=-0.05)
    dof_torques_l2 = RewardTermCfg(func=mdp.joint_torques_l2, weight=-1.0e-5)
    dof_acc_l2 = RewardTermCfg(func=mdp.joint_acc_l2, weight=-2.5e-7)
    action_rate_l2 = RewardTermCfg(func=mdp.action_rate_l2, weight=-0.01)
    feet_air_time = RewardTermCfg(
        func=mdp.feet_air_time,
        weight=0.125,
        params={"sensor_cfg": SceneEntityCfg("feet"), "command_name": COMMAND, "threshold": 0.35},
    )
    undesired_contacts = RewardTermCfg(
        func=mdp.undesired_contacts, weight=-1.0, params={"sensor_cfg": SceneEntityCfg("thighs"), "threshold": 1.0}
    )


@configclass
class EnvCfg(ManagerBasedRLEnvCfg):
    """20 s episodes at 50 Hz."""

    sim: SimulationCfg = SimulationCfg(dt=0.005, iterations=5, ls_iterations=8)
    decimation: int = 4
    episode_length_s: float = 20.0
    scene: SceneCfg = SceneCfg(num_envs=1024)
    viewer: ViewerCfg = ViewerCfg(
        eye=(2.0, -2.4, 1.1), lookat=(0.0, 0.0, -0.1), origin_type="asset_root", asset_name="robot"
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
        velocity_rough.make_playable(self)


@configclass
class AgentCfg(PPORunnerCfg):
    """The flat task's settings with networks that have room for the height scan."""

    experiment_name: str = "velocity_rough_anymal_c"
    num_steps_per_env: int = 16
    max_iterations: int = 3000
    save_interval: int = 100
    obs_groups: dict[str, list[str]] = velocity.OBS_GROUPS
    actor: ModelCfg = ModelCfg(hidden_dims=[512, 256, 128], obs_normalization=True, init_std=0.6, output_gain=0.01)
    critic: ModelCfg = ModelCfg(hidden_dims=[512, 256, 128], obs_normalization=True)
    algorithm: PPOAlgorithmCfg = PPOAlgorithmCfg(entropy_coef=0.005, gamma=0.98, desired_kl=0.02)
