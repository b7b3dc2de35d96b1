"""Settings for Stable-Baselines3, as near to the tasks' own as it allows: it has no adaptive step size."""

from palestra.integrations.sb3 import PolicyKwargsCfg, Sb3PPOCfg, VecNormalizeCfg
from palestra.utils import configclass


@configclass
class ReachFrankaAgentCfg(Sb3PPOCfg):
    """Above 95 % success within two minutes on two cores.

    Rewards are scaled: one bound holds the gradient of both networks, and with returns of hundreds the critic would
    take all of it. Without an adaptive step size, smaller steps of the policy do what the KL target does elsewhere;
    with ``clip_range=0.2`` and 4 minibatches some seeds hardly learned.
    """

    experiment_name: str = "reach_franka"
    n_steps: int = 16
    max_iterations: int = 120
    n_minibatches: int | None = 8
    n_epochs: int = 4
    learning_rate: float | str = 1e-3
    clip_range: float | str = 0.1
    vf_coef: float = 1.0
    max_grad_norm: float = 1.0
    policy_kwargs: PolicyKwargsCfg = PolicyKwargsCfg(net_arch=[128, 128], activation_fn="ELU", log_std_init=-0.29)
    vec_normalize: VecNormalizeCfg = VecNormalizeCfg(norm_reward=True)


@configclass
class ReachFrankaDRAgentCfg(ReachFrankaAgentCfg):
    """The same with more iterations."""

    experiment_name: str = "reach_franka_dr"
    max_iterations: int = 200
