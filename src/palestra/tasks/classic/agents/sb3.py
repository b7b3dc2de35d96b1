"""Settings for Stable-Baselines3, as near to the tasks' own as it allows: it has no adaptive step size."""

from palestra.integrations.sb3 import PolicyKwargsCfg, Sb3PPOCfg, VecNormalizeCfg
from palestra.utils import configclass


@configclass
class CartpoleAgentCfg(Sb3PPOCfg):
    """Solved within half a minute on two cores."""

    experiment_name: str = "cartpole"
    n_steps: int = 32
    max_iterations: int = 60
    n_minibatches: int | None = 4
    n_epochs: int = 5
    learning_rate: float | str = 3e-3
    vf_coef: float = 1.0
    max_grad_norm: float = 1.0
    policy_kwargs: PolicyKwargsCfg = PolicyKwargsCfg(net_arch=[32, 32], activation_fn="ELU")


@configclass
class AntAgentCfg(Sb3PPOCfg):
    """Runs forward after some minutes on two cores."""

    experiment_name: str = "ant"
    n_steps: int = 24
    max_iterations: int = 300
    n_minibatches: int | None = 4
    n_epochs: int = 5
    learning_rate: float | str = 1e-3
    vf_coef: float = 1.0
    max_grad_norm: float = 1.0
    clip_actions: float | None = 1.0
    policy_kwargs: PolicyKwargsCfg = PolicyKwargsCfg(net_arch=[128, 128], activation_fn="ELU", log_std_init=-0.51)
    vec_normalize: VecNormalizeCfg = VecNormalizeCfg(norm_reward=True)
