"""Bring a Franka's fingertips to random points, commanding joint velocities."""

from typing import Any, Literal

import torch
from torch import Tensor

from palestra.assets import ArticulationCfg, AssetBaseCfg
from palestra.envs import ManagerBasedRLEnvCfg, ViewerCfg, mdp
from palestra.managers import (
    CommandTerm,
    CommandTermCfg,
    EventTermCfg,
    ObservationGroupCfg,
    ObservationTermCfg,
    RewardTermCfg,
    SceneEntityCfg,
    TerminationTermCfg,
)
from palestra.rl import ModelCfg, PPOAlgorithmCfg, PPORunnerCfg
from palestra.robots.franka_panda import FRANKA_PANDA_VELOCITY_CFG
from palestra.scene import InteractiveSceneCfg
from palestra.sensors import FrameTransformerCfg, OffsetCfg
from palestra.sim import DistantLightCfg, DomeLightCfg, GroundPlaneCfg, SimulationCfg
from palestra.utils import configclass

ARM = SceneEntityCfg("robot", joint_names=["joint[1-7]"])
STEP_DT = 1.0 / 60.0
FINGERTIPS = OffsetCfg(pos=(0.0, 0.0, 0.1034))
"""The point between the fingertips, in the hand's frame (m)."""
REACH_RADIUS = 0.05
"""Distance at which a target counts as reached (m)."""


class PointCommand(CommandTerm):
    """A target point in the arm's workspace, ``(num_envs, 3)`` in the world (the base stands at its origin)."""

    cfg: "PointCommandCfg"
    io = mdp.ObservationIO(units="m", frame="world", entries=("x", "y", "z"))

    def __init__(self, cfg: "PointCommandCfg", env: Any) -> None:
        super().__init__(cfg, env)
        self.ranges = mdp.UniformRanges(cfg, ("x", "y", "z"), self.device, "target")
        self._point = torch.zeros(self.num_envs, 3, device=self.device)
        self.metrics = {"distance": torch.zeros(self.num_envs, device=self.device)}

    @property
    def command(self) -> Tensor:
        return self._point

    def debug_markers(self) -> list[tuple[Tensor, float, tuple[float, float, float, float]]]:
        """Spheres that viewers draw: positions ``(num_envs, 3)``, radius (m) and colour."""
        return [(self._point, REACH_RADIUS, (0.1, 0.8, 0.2, 0.5))]

    def apply_cfg(self) -> None:
        """Take changed ranges from the configuration."""
        self.ranges.update(self.cfg)

    def ranges_state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of the ranges."""
        return {"ranges": self.ranges.table}

    def _resample_command(self, env_mask: Tensor) -> None:
        drawn = self.ranges.at(self._env.rng.uniform(0.0, 1.0, (3,)))
        torch.where(env_mask.unsqueeze(-1), drawn, self._point, out=self._point)

    def _update_command(self) -> None:
        """A point does not move."""

    def _update_metrics(self) -> None:
        self.metrics["distance"].copy_(distance(self._env))


@configclass
class PointCommandCfg(CommandTermCfg):
    """Box of targets (m)."""

    class_type: type = PointCommand
    x: tuple[float, float] = (0.3, 0.7)
    y: tuple[float, float] = (-0.3, 0.3)
    z: tuple[float, float] = (0.2, 0.8)


def _target_offset_from_sensors(env: Any) -> mdp.Computation:
    """The arm knows where its fingertips are from its encoders."""
    kinematics = mdp.ForwardKinematics(env, "robot", "hand", FINGERTIPS.pos, in_world=True)
    sources = (mdp.command_source(env, "target"), mdp.joint_source(env, "robot", "joint_pos"))
    return mdp.Computation(lambda target, joint_pos: target - kinematics(joint_pos)[0], sources)


@mdp.from_sensors(_target_offset_from_sensors)
@mdp.observation_io(units="m", frame="world", entries="xyz")
def target_offset(env: Any) -> Tensor:
    """Vector from the fingertips to the target, world frame (m), ``(num_envs, 3)``."""
    return env.command_manager.get_command("target") - env.scene["fingertips"].data.target_pos_w[:, 0]


def distance(env: Any) -> Tensor:
    """Distance from the fingertips to the target (m), ``(num_envs,)``."""
    return torch.linalg.vector_norm(target_offset(env), dim=-1)


def reached(env: Any, radius: float) -> Tensor:
    """Whether the fingertips are within ``radius`` (m) of the target, bool ``(num_envs,)``."""
    return distance(env) < radius


def reached_bonus(env: Any, radius: float) -> Tensor:
    """1 where the target is reached, ``(num_envs,)``."""
    return reached(env, radius).float()


def velocity_command_norm(env: Any) -> Tensor:
    """Euclidean norm of the joint velocity commands (rad/s), ``(num_envs,)``."""
    return torch.linalg.vector_norm(env.action_manager.get_term("arm").processed_actions, dim=-1)


@configclass
class SceneCfg(InteractiveSceneCfg):
    """The arm on the floor."""

    ground = AssetBaseCfg(spawn=GroundPlaneCfg())
    light = AssetBaseCfg(spawn=DomeLightCfg())
    sun = AssetBaseCfg(spawn=DistantLightCfg())
    robot: ArticulationCfg = FRANKA_PANDA_VELOCITY_CFG
    fingertips: FrameTransformerCfg = FrameTransformerCfg(
        prim_path="{ENV_REGEX_NS}/Robot/link0",
        target_frames=[
            FrameTransformerCfg.FrameCfg(prim_path="{ENV_REGEX_NS}/Robot/hand", name="fingertips", offset=FINGERTIPS)
        ],
    )


@configclass
class CommandsCfg:
    """One target an episode."""

    target: PointCommandCfg = PointCommandCfg(resampling_time_range=(1e6, 1e6))


@configclass
class ActionsCfg:
    """Joint velocities in [−1, 1] rad/s."""

    arm = mdp.JointVelocityActionCfg(
        asset_name="robot", joint_names=["joint[1-7]"], scale=1.0, clip={".*": (-1.0, 1.0)}
    )


@configclass
class ObservationsCfg:
    """Joint positions, joint velocities, target relative to the fingertips."""

    @configclass
    class PolicyCfg(ObservationGroupCfg):
        """17 numbers."""

        joint_pos = ObservationTermCfg(func=mdp.joint_pos_rel, params={"asset_cfg": ARM})
        joint_vel = ObservationTermCfg(func=mdp.joint_vel_rel, params={"asset_cfg": ARM}, scale=0.3)
        target = ObservationTermCfg(func=target_offset, scale=2.0)

    policy: PolicyCfg = PolicyCfg()


@configclass
class RewardsCfg:
    """−distance − 0.01 ‖action‖ a step, and a bonus at the target. Weights are per second, hence ``STEP_DT``."""

    distance: RewardTermCfg | None = RewardTermCfg(func=distance, weight=-1.0 / STEP_DT)
    effort: RewardTermCfg | None = RewardTermCfg(func=velocity_command_norm, weight=-0.01 / STEP_DT)
    reached = RewardTermCfg(func=reached_bonus, weight=10.0 / STEP_DT, params={"radius": REACH_RADIUS})


@configclass
class TerminationsCfg:
    """Ends of an episode."""

    time_out = TerminationTermCfg(func=mdp.time_out, time_out=True)
    success = TerminationTermCfg(func=reached, params={"radius": REACH_RADIUS}, success=True)


@configclass
class EventsCfg:
    """Start near the ready pose."""

    reset_arm = EventTermCfg(
        func=mdp.reset_joints_by_offset,
        mode="reset",
        params={"position_range": (-0.25, 0.25), "velocity_range": (0.0, 0.0), "asset_cfg": ARM},
    )


@configclass
class EnvCfg(ManagerBasedRLEnvCfg):
    """500 steps at 60 Hz."""

    sim: SimulationCfg = SimulationCfg(dt=STEP_DT / 2)
    decimation: int = 2
    episode_length_s: float = 500 * STEP_DT
    scene: SceneCfg = SceneCfg(num_envs=1024)
    viewer: ViewerCfg = ViewerCfg(eye=(1.55, -1.25, 0.95), lookat=(0.3, 0.0, 0.4))
    commands: CommandsCfg = CommandsCfg()
    actions: ActionsCfg = ActionsCfg()
    observations: ObservationsCfg = ObservationsCfg()
    rewards: RewardsCfg = RewardsCfg()
    terminations: TerminationsCfg = TerminationsCfg()
    events: EventsCfg = EventsCfg()

    reward_preset: Literal["dense", "sparse"] = "dense"
    """``sparse`` keeps only the bonus at the target."""

    def resolve(self) -> None:
        """Apply the preset, after overrides."""
        if self.reward_preset == "sparse":
            self.rewards.distance = self.rewards.effort = None


@configclass
class PlayEnvCfg(EnvCfg):
    """A few arms to watch."""

    def __post_init__(self) -> None:
        self.scene.num_envs = 16


@configclass
class AgentCfg(PPORunnerCfg):
    """Above 95 % success within a minute on two cores."""

    experiment_name: str = "reach_franka"
    num_steps_per_env: int = 16
    max_iterations: int = 120
    save_interval: int = 50
    actor: ModelCfg = ModelCfg(hidden_dims=[128, 128], init_std=0.75, output_gain=0.01)
    critic: ModelCfg = ModelCfg(hidden_dims=[128, 128])
    algorithm: PPOAlgorithmCfg = PPOAlgorithmCfg(entropy_coef=0.0, learning_rate=1e-3, num_learning_epochs=4)
