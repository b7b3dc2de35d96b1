"""An ant runs along the world's x axis. Rewards follow the well-known parallel Ant of Isaac Gym."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from palestra.assets import ArticulationCfg, AssetBaseCfg
from palestra.envs import ManagerBasedRLEnvCfg, ViewerCfg, mdp
from palestra.managers import (
    EventTermCfg,
    ObservationGroupCfg,
    ObservationTermCfg,
    RewardTermCfg,
    SceneEntityCfg,
    TerminationTermCfg,
)
from palestra.rl import ModelCfg, PPOAlgorithmCfg, PPORunnerCfg
from palestra.robots.ant import ANT_CFG
from palestra.scene import InteractiveSceneCfg
from palestra.sim import DistantLightCfg, DomeLightCfg, GroundPlaneCfg, SimulationCfg
from palestra.utils import configclass
from palestra.utils.math import euler_xyz_from_quat, quat_apply, quat_apply_inverse

ROBOT = SceneEntityCfg("robot")


def _of_orientation(compute: Callable[[Tensor], Tensor]) -> Callable[..., mdp.Computation]:
    """Return how a term follows from the torso's orientation (w, x, y, z)."""
    return lambda env, asset_cfg: mdp.Computation(compute, (mdp.root_source(env, asset_cfg.name, "base_quat"),))


def _up(quat: Tensor) -> Tensor:
    return quat_apply_inverse(quat, torch.tensor([[0.0, 0.0, 1.0]]))[:, 2:3]


def _heading(quat: Tensor) -> Tensor:
    return quat_apply(quat, torch.tensor([[1.0, 0.0, 0.0]]))[:, 0:1]


def _yaw_roll(quat: Tensor) -> Tensor:
    roll, _, yaw = euler_xyz_from_quat(quat)
    return torch.stack((yaw, roll), dim=-1)


@mdp.from_sensors(_of_orientation(_up))
@mdp.observation_io(units="1", frame="world", entries=("up",))
def up_projection(env: Any, asset_cfg: SceneEntityCfg = ROBOT) -> Tensor:
    """Cosine between the torso's up axis and the world's, ``(num_envs, 1)``."""
    return -env.scene[asset_cfg.name].data.projected_gravity_b[:, 2:3]


@mdp.from_sensors(_of_orientation(_heading))
@mdp.observation_io(units="1", frame="world", entries=("heading",))
def heading_projection(env: Any, asset_cfg: SceneEntityCfg = ROBOT) -> Tensor:
    """Cosine between the torso's forward axis and the world's x, ``(num_envs, 1)``."""
    data = env.scene[asset_cfg.name].data
    return quat_apply(data.root_quat_w, data.FORWARD_VEC_B)[:, 0:1]


@mdp.from_sensors(_of_orientation(_yaw_roll))
@mdp.observation_io(units="rad", frame="world", entries=("yaw", "roll"))
def yaw_roll(env: Any, asset_cfg: SceneEntityCfg = ROBOT) -> Tensor:
    """Yaw and roll of the torso (rad), ``(num_envs, 2)``."""
    return _yaw_roll(env.scene[asset_cfg.name].data.root_quat_w)


def forward_speed(env: Any, asset_cfg: SceneEntityCfg = ROBOT) -> Tensor:
    """Speed along the world's x (m/s), ``(num_envs,)``."""
    return env.scene[asset_cfg.name].data.root_lin_vel_w[:, 0]


def upright_bonus(env: Any, threshold: float, asset_cfg: SceneEntityCfg = ROBOT) -> Tensor:
    """1 while the torso is upright, ``(num_envs,)``."""
    return (up_projection(env, asset_cfg)[:, 0] > threshold).float()


def heading_bonus(env: Any, threshold: float, asset_cfg: SceneEntityCfg = ROBOT) -> Tensor:
    """Rises linearly to 1 at ``threshold`` of the heading projection, ``(num_envs,)``."""
    heading = heading_projection(env, asset_cfg)[:, 0]
    return torch.where(heading > threshold, 1.0, heading / threshold)


def power(env: Any, asset_cfg: SceneEntityCfg = ROBOT) -> Tensor:
    """Σ |action × joint velocity|, a measure of the power spent, ``(num_envs,)``."""
    return (env.action_manager.action * env.scene[asset_cfg.name].data.joint_vel).abs().sum(dim=-1)


@configclass
class SceneCfg(InteractiveSceneCfg):
    """An ant on a plane."""

    ground = AssetBaseCfg(spawn=GroundPlaneCfg())
    light = AssetBaseCfg(spawn=DomeLightCfg())
    sun = AssetBaseCfg(spawn=DistantLightCfg())
    robot: ArticulationCfg = ANT_CFG


@configclass
class ActionsCfg:
    """Joint torques: an action of ±1 is ±150 N·m, the full torque of Gymnasium's Ant-v5."""

    torque = mdp.JointEffortActionCfg(asset_name="robot", joint_names=[".*"], scale=150.0)


@configclass
class ObservationsCfg:
    """What a blind ant with a gyroscope, a speedometer and joint encoders knows."""

    @configclass
    class PolicyCfg(ObservationGroupCfg):
        """35 numbers."""

        height = ObservationTermCfg(func=mdp.base_pos_z)
        lin_vel = ObservationTermCfg(func=mdp.base_lin_vel)
        ang_vel = ObservationTermCfg(func=mdp.base_ang_vel, scale=0.25)
        yaw_roll = ObservationTermCfg(func=yaw_roll)
        up = ObservationTermCfg(func=up_projection)
        heading = ObservationTermCfg(func=heading_projection)
        joint_pos = ObservationTermCfg(func=mdp.joint_pos_limit_normalized)
        joint_vel = ObservationTermCfg(func=mdp.joint_vel_rel, scale=0.1)
        actions = ObservationTermCfg(func=mdp.last_action)

    policy: PolicyCfg = PolicyCfg()


@configclass
class RewardsCfg:
    """Forward speed, with small costs for effort and for joints at their limits."""

    progress = RewardTermCfg(func=forward_speed, weight=1.0)
    alive = RewardTermCfg(func=mdp.is_alive, weight=0.5)
    upright = RewardTermCfg(func=upright_bonus, weight=0.1, params={"threshold": 0.93})
    heading = RewardTermCfg(func=heading_bonus, weight=0.5, params={"threshold": 0.8})
    action_l2 = RewardTermCfg(func=mdp.action_l2, weight=-0.05)
    power = RewardTermCfg(func=power, weight=-0.005)
    joint_limits = RewardTermCfg(func=mdp.joint_pos_limits, weight=-0.5)


@configclass
class TerminationsCfg:
    """Ends of an episode."""

    time_out = TerminationTermCfg(func=mdp.time_out, time_out=True)
    torso_low = TerminationTermCfg(func=mdp.root_height_below_minimum, params={"minimum_height": 0.31})
    flipped = TerminationTermCfg(func=mdp.bad_orientation, params={"limit_angle": 1.4})


@configclass
class EventsCfg:
    """Start standing, with slightly different joints."""

    reset_joints = EventTermCfg(
        func=mdp.reset_joints_by_offset,
        mode="reset",
        params={"position_range": (-0.1, 0.1), "velocity_range": (-0.1, 0.1)},
    )


@configclass
class EnvCfg(ManagerBasedRLEnvCfg):
    """15 s episodes at 50 Hz."""

    sim: SimulationCfg = SimulationCfg(dt=0.01)
    decimation: int = 2
    episode_length_s: float = 15.0
    scene: SceneCfg = SceneCfg(num_envs=1024)
    viewer: ViewerCfg = ViewerCfg(
        eye=(-1.8, -2.9, 1.4), lookat=(0.0, 0.0, -0.1), origin_type="asset_root", asset_name="robot"
    )
    actions: ActionsCfg = ActionsCfg()
    observations: ObservationsCfg = ObservationsCfg()
    rewards: RewardsCfg = RewardsCfg()
    terminations: TerminationsCfg = TerminationsCfg()
    events: EventsCfg = EventsCfg()

    def __post_init__(self) -> None:
        self.scene.robot.soft_joint_pos_limit_factor = 0.95


@configclass
class PlayEnvCfg(EnvCfg):
    """A few ants to watch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.scene.num_envs = 16


@configclass
class AgentCfg(PPORunnerCfg):
    """Runs at several metres a second after a few minutes on two cores."""

    experiment_name: str = "ant"
    num_steps_per_env: int = 24
    max_iterations: int = 300
    save_interval: int = 50
    clip_actions: float | None = 1.0
    actor: ModelCfg = ModelCfg(hidden_dims=[128, 128], init_std=0.6)
    critic: ModelCfg = ModelCfg(hidden_dims=[128, 128])
    algorithm: PPOAlgorithmCfg = PPOAlgorithmCfg(entropy_coef=0.0, learning_rate=1e-3, num_learning_epochs=5)
