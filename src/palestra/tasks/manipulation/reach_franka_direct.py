"""The reach task as one class: the same physics, observations and rewards as ``Reach-Franka``."""

from typing import Any, Literal

import torch
from torch import Tensor

from palestra.assets import Articulation, ArticulationCfg
from palestra.envs import DirectRLEnv, DirectRLEnvCfg, ViewerCfg, mdp
from palestra.robots.franka_panda import FRANKA_PANDA_VELOCITY_CFG
from palestra.scene import InteractiveSceneCfg
from palestra.sim import SimulationCfg
from palestra.tasks.manipulation.reach_franka import FINGERTIPS, REACH_RADIUS, STEP_DT
from palestra.tasks.manipulation.reach_franka import AgentCfg as ManagerBasedAgentCfg
from palestra.tasks.manipulation.reach_franka import SceneCfg as ManagerBasedSceneCfg
from palestra.utils import configclass
from palestra.utils.math import quat_apply


@configclass
class SceneCfg(InteractiveSceneCfg):
    """Ground and lights; the class below adds the arm."""

    ground = ManagerBasedSceneCfg(num_envs=1).ground
    light = ManagerBasedSceneCfg(num_envs=1).light
    sun = ManagerBasedSceneCfg(num_envs=1).sun


@configclass
class EnvCfg(DirectRLEnvCfg):
    """500 steps at 60 Hz."""

    sim: SimulationCfg = SimulationCfg(dt=STEP_DT / 2)
    scene: SceneCfg = SceneCfg(num_envs=1024)
    robot: ArticulationCfg = FRANKA_PANDA_VELOCITY_CFG
    viewer: ViewerCfg = ViewerCfg(eye=(1.55, -1.25, 0.95), lookat=(0.3, 0.0, 0.4))
    decimation: int = 2
    episode_length_s: float = 500 * STEP_DT
    observation_space: int = 17
    action_space: int = 7
    target_low: tuple[float, float, float] = (0.3, -0.3, 0.2)
    """Lower corner of the box of targets (m)."""
    target_high: tuple[float, float, float] = (0.7, 0.3, 0.8)
    """Upper corner (m)."""
    start_range: float = 0.25
    """Half width of the start around the ready pose (rad)."""
    bonus: float = 10.0
    """Reward for reaching the target."""
    reward_preset: Literal["dense", "sparse"] = "dense"
    """``sparse`` keeps only the bonus."""


@configclass
class PlayEnvCfg(EnvCfg):
    """A few arms to watch."""

    def __post_init__(self) -> None:
        self.scene.num_envs = 16


@configclass
class AgentCfg(ManagerBasedAgentCfg):
    """As for the manager-based task."""

    experiment_name: str = "reach_franka_direct"


class ReachFrankaEnv(DirectRLEnv):
    """Bring the fingertips to random points."""

    cfg: EnvCfg

    def __init__(self, cfg: EnvCfg, **kwargs: Any) -> None:
        super().__init__(cfg, **kwargs)
        self.arm = torch.tensor(self.robot.find_joints("joint[1-7]")[0], device=self.device)
        self.hand = self.robot.find_bodies("hand")[0][0]
        self.offset = torch.tensor(FINGERTIPS.pos, device=self.device).repeat(self.num_envs, 1)
        self.low, self.high = (torch.tensor(v, device=self.device) for v in (cfg.target_low, cfg.target_high))
        self.target = torch.zeros(self.num_envs, 3, device=self.device)
        self.command = torch.zeros(self.num_envs, 7, device=self.device)

    def io_descriptor(self) -> dict[str, Any]:
        """Name what observations and actions hold, for ``palestra info`` and export."""
        joints = [self.robot.joint_names[i] for i in self.arm.tolist()]
        observations = [{"name": f"joint_pos_rel/{j}", "units": "rad"} for j in joints]
        observations += [{"name": f"joint_vel/{j}", "units": "rad/s", "scale": 0.3} for j in joints]
        observations += [
            {"name": f"target_offset/{axis}", "units": "m", "frame": "world", "scale": 2.0} for axis in "xyz"
        ]
        return {
            "observations": {"policy": observations},
            "actions": [{"name": f"joint_velocity/{j}", "units": "rad/s"} for j in joints],
        }

    def observations_from_sensors(self) -> dict[str, mdp.Computation]:
        arm, default = self.arm.tolist(), self.robot.data.default_joint_pos[:1].cpu().clone()
        kinematics = mdp.ForwardKinematics(self, "robot", "hand", FINGERTIPS.pos, in_world=True)
        target = mdp.Source(
            "command_target", "command", ("x", "y", "z"), ("m",) * 3, "world", lambda: self.target, command="target"
        )

        def compute(target: Tensor, pos: Tensor, vel: Tensor) -> Tensor:
            offset = target - kinematics(pos)[0]
            return torch.cat(((pos - default)[:, arm], 0.3 * vel[:, arm], 2.0 * offset), dim=-1)

        sources = (target, mdp.joint_source(self, "robot", "joint_pos"), mdp.joint_source(self, "robot", "joint_vel"))
        return {"policy": mdp.Computation(compute, sources)}

    def targets(self) -> list[mdp.JointTargets]:
        joints = tuple(self.arm.tolist())
        return [mdp.JointTargets("robot", "joint_velocity", joints, lambda actions: actions.clamp(-1.0, 1.0))]

    def debug_markers(self) -> list[tuple[Tensor, float, tuple[float, float, float, float]]]:
        """Spheres that viewers draw: positions ``(num_envs, 3)``, radius (m) and colour."""
        return [(self.target, REACH_RADIUS, (0.1, 0.8, 0.2, 0.5))]

    def _setup_scene(self) -> None:
        self.robot = Articulation(self.cfg.robot)
        self.scene.articulations["robot"] = self.robot

    def _pre_physics_step(self, actions: Tensor) -> None:
        self.command.copy_(actions.clamp(-1.0, 1.0))

    def _apply_action(self) -> None:
        self.robot.set_joint_velocity_target(self.command, self.arm)

    def _target_offset(self) -> Tensor:
        data = self.robot.data
        fingertips = data.body_pos_w[:, self.hand] + quat_apply(data.body_quat_w[:, self.hand], self.offset)
        return self.target - fingertips

    def _get_observations(self) -> dict[str, Tensor]:
        data = self.robot.data
        pos = (data.joint_pos - data.default_joint_pos)[:, self.arm]
        return {"policy": torch.cat((pos, 0.3 * data.joint_vel[:, self.arm], 2.0 * self._target_offset()), dim=-1)}

    def _get_success(self) -> Tensor:
        return torch.linalg.vector_norm(self._target_offset(), dim=-1) < REACH_RADIUS

    def _get_rewards(self) -> Tensor:
        bonus = self.cfg.bonus * self._get_success()
        if self.cfg.reward_preset == "sparse":
            return bonus
        distance = torch.linalg.vector_norm(self._target_offset(), dim=-1)
        return bonus - distance - 0.01 * torch.linalg.vector_norm(self.command, dim=-1)

    def _get_dones(self) -> tuple[Tensor, Tensor]:
        return self._get_success(), self.episode_length_buf >= self.max_episode_length

    def _reset_mask(self, env_mask: Tensor) -> None:
        super()._reset_mask(env_mask)
        r = self.cfg.start_range
        pos = self.robot.data.default_joint_pos[:, self.arm] + self.rng.uniform(-r, r, (7,))
        self.robot.write_joint_state_to_sim(pos, torch.zeros_like(pos), self.arm, env_mask=env_mask)
        drawn = self.rng.uniform(self.low, self.high, (3,))
        torch.where(env_mask.unsqueeze(-1), drawn, self.target, out=self.target)
