"""RSL-RL's settings for the manipulation tasks, the same as those of the tasks' own learner."""

from palestra.integrations.rsl_rl.cfg import RslRlMLPModelCfg, RslRlOnPolicyRunnerCfg, RslRlPpoAlgorithmCfg
from palestra.utils import configclass

Gaussian = RslRlMLPModelCfg.GaussianDistributionCfg


@configclass
class ReachFrankaAgentCfg(RslRlOnPolicyRunnerCfg):
    """RSL-RL cannot scale the output layer's initial weights, as the task's own learner does."""

    experiment_name: str = "reach_franka"
    num_steps_per_env: int = 16
    max_iterations: int = 120
    save_interval: int = 50
    actor: RslRlMLPModelCfg = RslRlMLPModelCfg(hidden_dims=[128, 128], distribution_cfg=Gaussian(init_std=0.75))
    critic: RslRlMLPModelCfg = RslRlMLPModelCfg(hidden_dims=[128, 128])
    algorithm: RslRlPpoAlgorithmCfg = RslRlPpoAlgorithmCfg(entropy_coef=0.0, learning_rate=1e-3, num_learning_epochs=4)


@configclass
class ReachFrankaDRAgentCfg(ReachFrankaAgentCfg):
    """The same with more iterations."""

    experiment_name: str = "reach_franka_dr"
    max_iterations: int = 200
