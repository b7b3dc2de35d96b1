"""Settings for Stable-Baselines3, as near to the tasks' own as it allows: it has no adaptive step size."""

from palestra.integrations.sb3 import PolicyKwargsCfg, Sb3PPOCfg, VecNormalizeCfg
from palestra.utils import configclass


@configclass
class VelocityFlatGo2AgentCfg(Sb3PPOCfg):
    """Follows commands; slower than the task's own settings, which adapt the step size."""

    experiment_name: str = "velocity_flat_go2"
    n_steps: int = 16
    max_iterations: int = 300
    n_minibatches: int | None = 4
    n_epochs: int = 5
    gamma: float = 0.97
    ent_coef: float = 0.005
    learning_rate: float | str = 1e-3
    target_kl: float | None = 0.04
    vf_coef: float = 1.0
    max_grad_norm: float = 1.0
    policy_kwargs: PolicyKwargsCfg = PolicyKwargsCfg(net_arch=[128, 128], activation_fn="ELU", log_std_init=0.18)
    vec_normalize: VecNormalizeCfg = VecNormalizeCfg(norm_obs=True, norm_reward=True)


@configclass
class VelocityFlatAnymalCAgentCfg(VelocityFlatGo2AgentCfg):
    """As for the lighter quadruped, with half the noise at the start."""

    experiment_name: str = "velocity_flat_anymal_c"
    max_iterations: int = 500
    policy_kwargs: PolicyKwargsCfg = PolicyKwargsCfg(net_arch=[128, 128], activation_fn="ELU", log_std_init=-0.51)


@configclass
class VelocityFlatG1AgentCfg(Sb3PPOCfg):
    """Walking in stages; slower than the task's own settings, which adapt the step size."""

    experiment_name: str = "velocity_flat_g1"
    n_steps: int = 24
    max_iterations: int = 1500
    n_minibatches: int | None = 4
    n_epochs: int = 5
    gamma: float = 0.97
    ent_coef: float = 0.008
    learning_rate: float | str = 1e-3
    target_kl: float | None = 0.04
    vf_coef: float = 1.0
    max_grad_norm: float = 1.0
    policy_kwargs: PolicyKwargsCfg = PolicyKwargsCfg(net_arch=[256, 128, 128], activation_fn="ELU", log_std_init=-0.69)
    vec_normalize: VecNormalizeCfg = VecNormalizeCfg(norm_obs=True, norm_reward=True)


@configclass
class VelocityFlatH1AgentCfg(VelocityFlatG1AgentCfg):
    """As for the smaller humanoid."""

    experiment_name: str = "velocity_flat_h1"


@configclass
class VelocityRoughGo2AgentCfg(VelocityFlatGo2AgentCfg):
    """The flat task's settings with larger networks."""

    experiment_name: str = "velocity_rough_go2"
    max_iterations: int = 3000
    gamma: float = 0.98
    policy_kwargs: PolicyKwargsCfg = PolicyKwargsCfg(net_arch=[512, 256, 128], activation_fn="ELU", log_std_init=0.18)


@configclass
class VelocityRoughAnymalCAgentCfg(VelocityRoughGo2AgentCfg):
    """As for the lighter quadruped, with half the noise at the start."""

    experiment_name: str = "velocity_rough_anymal_c"
    policy_kwargs: PolicyKwargsCfg = PolicyKwargsCfg(net_arch=[512, 256, 128], activation_fn="ELU", log_std_init=-0.51)


@configclass
class VelocityFlatGo2DRAgentCfg(VelocityFlatGo2AgentCfg):
    """The flat task's settings with larger networks and more iterations."""

    experiment_name: str = "velocity_flat_go2_dr"
    max_iterations: int = 1000
    save_interval: int = 100
    policy_kwargs: PolicyKwargsCfg = PolicyKwargsCfg(net_arch=[256, 128, 128], activation_fn="ELU", log_std_init=0.18)
