"""The cartpole task as one class: the same physics, observations and rewards as ``Cartpole``."""

from typing import Any

import torch
from torch import Tensor

from palestra.assets import Articulation, ArticulationCfg
from palestra.envs import DirectRLEnv, DirectRLEnvCfg, ViewerCfg, mdp
from palestra.robots.cartpole import CARTPOLE_CFG
from palestra.scene import InteractiveSceneCfg
from palestra.sim import SimulationCfg
from palestra.tasks.classic.cartpole import ANGLE_LIMIT, STEP_DT
from palestra.tasks.classic.cartpole import AgentCfg as ManagerBasedAgentCfg
from palestra.utils import configclass


@configclass
class EnvCfg(DirectRLEnvCfg):
    """500 steps of 20 ms."""

    sim: SimulationCfg = SimulationCfg(dt=STEP_DT / 2)
    scene: InteractiveSceneCfg = InteractiveSceneCfg(num_envs=256)
    robot: ArticulationCfg = CARTPOLE_CFG
    viewer: ViewerCfg = ViewerCfg(eye=(0.0, -3.8, 2.3), lookat=(0.0, 0.0, 2.25))
    decimation: int = 2
    episode_length_s: float = 500 * STEP_DT
    observation_space: int = 4
    action_space: int = 1
    force_scale: float = 10.0
    """Force for an action of 1 (N)."""
    cart_limit: float = 2.4
    """Cart position that ends the episode (m)."""
    angle_limit: float = ANGLE_LIMIT
    """Pole angle that ends the episode (rad)."""
    start_range: float = 0.05
    """Half width of the start state (m, rad, m/s, rad/s)."""


@configclass
class PlayEnvCfg(EnvCfg):
    """A few carts to watch."""

    def __post_init__(self) -> None:
        self.scene.num_envs = 16


@configclass
class AgentCfg(ManagerBasedAgentCfg):
    """As for the manager-based task."""

    experiment_name: str = "cartpole_direct"


class CartpoleEnv(DirectRLEnv):
    """Balance a pole on a cart."""

    cfg: EnvCfg

    def __init__(self, cfg: EnvCfg, **kwargs: Any) -> None:
        super().__init__(cfg, **kwargs)
        self.cart, self.pole = (self.robot.find_joints(n)[0][0] for n in ("slider_to_cart", "cart_to_pole"))
        self.cart_ids = torch.tensor([self.cart], device=self.device)

    def io_descriptor(self) -> dict[str, Any]:
        """Name what observations and actions hold, for ``palestra info`` and export."""
        names = [("cart/position", "m"), ("cart/velocity", "m/s"), ("pole/angle", "rad"), ("pole/velocity", "rad/s")]
        return {
            "observations": {"policy": [{"name": name, "units": units} for name, units in names]},
            "actions": [{"name": "cart/force", "units": f"{self.cfg.force_scale} N"}],
        }

    def observations_from_sensors(self) -> dict[str, mdp.Computation]:
        cart, pole = self.cart, self.pole

        def compute(pos: Tensor, vel: Tensor) -> Tensor:
            return torch.stack((pos[:, cart], vel[:, cart], pos[:, pole], vel[:, pole]), dim=-1)

        sources = (mdp.joint_source(self, "robot", "joint_pos"), mdp.joint_source(self, "robot", "joint_vel"))
        return {"policy": mdp.Computation(compute, sources)}

    def targets(self) -> list[mdp.JointTargets]:
        scale = self.cfg.force_scale
        return [mdp.JointTargets("robot", "joint_effort", (self.cart,), lambda actions: scale * actions)]

    def _setup_scene(self) -> None:
        self.robot = Articulation(self.cfg.robot)
        self.scene.articulations["robot"] = self.robot

    def _apply_action(self) -> None:
        self.robot.set_joint_effort_target(self.cfg.force_scale * self.actions, self.cart_ids)

    def _get_observations(self) -> dict[str, Tensor]:
        pos, vel = self.robot.data.joint_pos, self.robot.data.joint_vel
        columns = (pos[:, self.cart], vel[:, self.cart], pos[:, self.pole], vel[:, self.pole])
        return {"policy": torch.stack(columns, dim=-1)}

    def _get_rewards(self) -> Tensor:
        upright = self.robot.data.joint_pos[:, self.pole].abs() < self.cfg.angle_limit
        return upright.to(torch.float32) - 10.0 * self.reset_terminated.to(torch.float32)

    def _get_dones(self) -> tuple[Tensor, Tensor]:
        pos = self.robot.data.joint_pos
        fallen = pos[:, self.pole].abs() > self.cfg.angle_limit
        off_rail = pos[:, self.cart].abs() > self.cfg.cart_limit
        return fallen | off_rail, self.episode_length_buf >= self.max_episode_length

    def _reset_mask(self, env_mask: Tensor) -> None:
        super()._reset_mask(env_mask)
        data, r = self.robot.data, self.cfg.start_range
        shape = (self.robot.num_joints,)
        pos = data.default_joint_pos + self.rng.uniform(-r, r, shape)
        self.robot.write_joint_state_to_sim(pos, self.rng.uniform(-r, r, shape), env_mask=env_mask)
