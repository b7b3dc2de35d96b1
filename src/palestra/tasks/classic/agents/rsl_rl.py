"""RSL-RL's settings for the classic tasks, the same as those of the tasks' own learner."""

from palestra.integrations.rsl_rl.cfg import (
    RslRlMLPModelCfg,
    RslRlOnPolicyRunnerCfg,
    RslRlPpoAlgorithmCfg,
    RslRlRNNModelCfg,
)
from palestra.utils import configclass

Gaussian = RslRlMLPModelCfg.GaussianDistributionCfg


@configclass
class CartpoleAgentCfg(RslRlOnPolicyRunnerCfg):
    """Solved within a minute on two cores."""

    experiment_name: str = "cartpole"
    num_steps_per_env: int = 32
    max_iterations: int = 60
    save_interval: int = 50
    actor: RslRlMLPModelCfg = RslRlMLPModelCfg(hidden_dims=[32, 32], distribution_cfg=Gaussian())
    critic: RslRlMLPModelCfg = RslRlMLPModelCfg(hidden_dims=[32, 32])
    algorithm: RslRlPpoAlgorithmCfg = RslRlPpoAlgorithmCfg(
        entropy_coef=0.0, learning_rate=3e-3, use_clipped_value_loss=False, value_loss_coef=0.5
    )


@configclass
class CartpoleNoVelocityAgentCfg(RslRlOnPolicyRunnerCfg):
    """A GRU each for the policy and the value, which infer the velocities from what they saw before.

    The step size is fixed: once the task is solved the KL divergence is small, the adaptive schedule raises the step
    size to its bound, and the policy falls apart.
    """

    experiment_name: str = "cartpole_no_velocity"
    num_steps_per_env: int = 32
    max_iterations: int = 100
    save_interval: int = 50
    actor: RslRlMLPModelCfg = RslRlRNNModelCfg(
        hidden_dims=[32], rnn_type="gru", rnn_hidden_dim=32, distribution_cfg=Gaussian()
    )
    critic: RslRlMLPModelCfg = RslRlRNNModelCfg(hidden_dims=[32], rnn_type="gru", rnn_hidden_dim=32)
    algorithm: RslRlPpoAlgorithmCfg = RslRlPpoAlgorithmCfg(entropy_coef=0.0, schedule="fixed")


@configclass
class AntAgentCfg(RslRlOnPolicyRunnerCfg):
    """Runs at several metres a second after a few minutes on two cores."""

    experiment_name: str = "ant"
    num_steps_per_env: int = 24
    max_iterations: int = 300
    save_interval: int = 50
    clip_actions: float | None = 1.0
    actor: RslRlMLPModelCfg = RslRlMLPModelCfg(hidden_dims=[128, 128], distribution_cfg=Gaussian(init_std=0.6))
    critic: RslRlMLPModelCfg = RslRlMLPModelCfg(hidden_dims=[128, 128])
    algorithm: RslRlPpoAlgorithmCfg = RslRlPpoAlgorithmCfg(entropy_coef=0.0, learning_rate=1e-3, num_learning_epochs=5)
