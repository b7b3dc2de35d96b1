"""A tiny environment whose terms return what the test says: a pendulum, 10 ms physics, 20 ms control steps."""

from typing import Any

import torch
from scenes import PENDULUM, robot_cfg
from torch import Tensor

from palestra.assets import ArticulationCfg
from palestra.envs import ManagerBasedRLEnv, ManagerBasedRLEnvCfg, mdp
from palestra.managers import ObservationGroupCfg, ObservationTermCfg, RewardTermCfg, TerminationTermCfg
from palestra.scene import InteractiveSceneCfg
from palestra.sim import SimulationCfg
from palestra.utils import configclass

STEP_DT = 0.02


def step_count(env: Any) -> Tensor:
    """Steps in the episode, ``(num_envs, 1)``."""
    return env.episode_length_buf.float().unsqueeze(-1) if hasattr(env, "episode_length_buf") else torch.zeros(2, 1)


def given(env: Any, name: str) -> Tensor:
    """A tensor that the test put on the environment, zero before it does."""
    value = getattr(env, name, None)
    return torch.zeros(env.num_envs) if value is None else value


def flagged(env: Any, name: str) -> Tensor:
    """A mask that the test put on the environment, false before it does."""
    value = getattr(env, name, None)
    return torch.zeros(env.num_envs, dtype=torch.bool) if value is None else value


@configclass
class SceneCfg(InteractiveSceneCfg):
    robot: ArticulationCfg = robot_cfg(PENDULUM, joint_pos={"swing": 0.1})


@configclass
class ActionsCfg:
    torque = mdp.JointEffortActionCfg(asset_name="robot", joint_names=["swing"], scale=2.0)


@configclass
class ObservationsCfg:
    @configclass
    class PolicyCfg(ObservationGroupCfg):
        joint_pos = ObservationTermCfg(func=mdp.joint_pos)
        joint_vel = ObservationTermCfg(func=mdp.joint_vel)

    policy: PolicyCfg = PolicyCfg()


@configclass
class RewardsCfg:
    alive = RewardTermCfg(func=mdp.is_alive, weight=1.0)


@configclass
class TerminationsCfg:
    time_out = TerminationTermCfg(func=mdp.time_out, time_out=True)


@configclass
class TinyEnvCfg(ManagerBasedRLEnvCfg):
    sim: SimulationCfg = SimulationCfg(dt=STEP_DT / 2, threads=1)
    decimation: int = 2
    episode_length_s: float = 10 * STEP_DT
    scene: SceneCfg = SceneCfg(num_envs=2)
    actions: Any = ActionsCfg()
    observations: Any = ObservationsCfg()
    rewards: Any = RewardsCfg()
    terminations: Any = TerminationsCfg()
    events: Any = None


def tiny(num_envs: int = 2, **parts: Any) -> ManagerBasedRLEnv:
    """Build the environment, with some parts of its configuration replaced."""
    cfg = TinyEnvCfg()
    cfg.scene.num_envs = num_envs
    for name, value in parts.items():
        setattr(cfg, name, value)
    return ManagerBasedRLEnv(cfg)


def run(env: Any, steps: int, action: float = 0.0) -> Any:
    """Take steps with a constant action and return the last result."""
    actions = torch.full((env.num_envs, env.num_actions), action)
    return [env.step(actions) for _ in range(steps)][-1]
