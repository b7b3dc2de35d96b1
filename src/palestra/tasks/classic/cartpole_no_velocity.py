"""Cartpole whose policy sees positions but no velocities: a task that asks for memory.

One position says nothing about which way the pole falls, so that a policy without memory cannot damp it; two in a row
say it.
"""

from palestra.envs import mdp
from palestra.managers import ObservationGroupCfg, ObservationTermCfg
from palestra.tasks.classic.cartpole import CART, POLE
from palestra.tasks.classic.cartpole import AgentCfg as CartpoleAgentCfg
from palestra.tasks.classic.cartpole import EnvCfg as CartpoleEnvCfg
from palestra.utils import configclass


@configclass
class ObservationsCfg:
    """Cart position and pole angle."""

    @configclass
    class PolicyCfg(ObservationGroupCfg):
        """Two numbers."""

        cart_pos = ObservationTermCfg(func=mdp.joint_pos_rel, params={"asset_cfg": CART})
        pole_angle = ObservationTermCfg(func=mdp.joint_pos_rel, params={"asset_cfg": POLE})

    policy: PolicyCfg = PolicyCfg()


@configclass
class EnvCfg(CartpoleEnvCfg):
    """500 steps of 20 ms."""

    observations: ObservationsCfg = ObservationsCfg()


@configclass
class PlayEnvCfg(EnvCfg):
    """A few carts to watch."""

    def __post_init__(self) -> None:
        self.scene.num_envs = 16


@configclass
class AgentCfg(CartpoleAgentCfg):
    """The baseline without memory: Cartpole's own settings, which do not solve this task."""

    experiment_name: str = "cartpole_no_velocity"
    max_iterations: int = 100
