"""RSL-RL's settings for the locomotion tasks, the same as those of the tasks' own learner."""

from palestra.integrations.rsl_rl.cfg import RslRlMLPModelCfg, RslRlOnPolicyRunnerCfg, RslRlPpoAlgorithmCfg
from palestra.tasks.locomotion.velocity import OBS_GROUPS
from palestra.utils import configclass

Gaussian = RslRlMLPModelCfg.GaussianDistributionCfg


@configclass
class VelocityFlatGo2AgentCfg(RslRlOnPolicyRunnerCfg):
    """RSL-RL cannot scale the output layer's initial weights, as the task's own learner does."""

    experiment_name: str = "velocity_flat_go2"
    num_steps_per_env: int = 16
    max_iterations: int = 300
    save_interval: int = 50
    obs_groups: dict[str, list[str]] = OBS_GROUPS
    actor: RslRlMLPModelCfg = RslRlMLPModelCfg(
        hidden_dims=[128, 128], obs_normalization=True, distribution_cfg=Gaussian(init_std=1.2)
    )
    critic: RslRlMLPModelCfg = RslRlMLPModelCfg(hidden_dims=[128, 128], obs_normalization=True)
    algorithm: RslRlPpoAlgorithmCfg = RslRlPpoAlgorithmCfg(entropy_coef=0.005, gamma=0.97, desired_kl=0.02)


@configclass
class VelocityFlatAnymalCAgentCfg(VelocityFlatGo2AgentCfg):
    """As for the lighter quadruped, with half the noise at the start."""

    experiment_name: str = "velocity_flat_anymal_c"
    max_iterations: int = 500
    actor: RslRlMLPModelCfg = RslRlMLPModelCfg(
        hidden_dims=[128, 128], obs_normalization=True, distribution_cfg=Gaussian(init_std=0.6)
    )


@configclass
class VelocityFlatG1AgentCfg(RslRlOnPolicyRunnerCfg):
    """Likewise but for the output layer's initial weights."""

    experiment_name: str = "velocity_flat_g1"
    num_steps_per_env: int = 24
    max_iterations: int = 1500
    save_interval: int = 100
    obs_groups: dict[str, list[str]] = OBS_GROUPS
    actor: RslRlMLPModelCfg = RslRlMLPModelCfg(
        hidden_dims=[256, 128, 128], obs_normalization=True, distribution_cfg=Gaussian(init_std=0.5)
    )
    critic: RslRlMLPModelCfg = RslRlMLPModelCfg(hidden_dims=[256, 128, 128], obs_normalization=True)
    algorithm: RslRlPpoAlgorithmCfg = RslRlPpoAlgorithmCfg(entropy_coef=0.008, gamma=0.97, desired_kl=0.02)


@configclass
class VelocityFlatH1AgentCfg(VelocityFlatG1AgentCfg):
    """As for the smaller humanoid."""

    experiment_name: str = "velocity_flat_h1"


@configclass
class VelocityRoughGo2AgentCfg(RslRlOnPolicyRunnerCfg):
    """The task's own settings, but for the output layer's initial weights."""

    experiment_name: str = "velocity_rough_go2"
    num_steps_per_env: int = 16
    max_iterations: int = 3000
    save_interval: int = 100
    obs_groups: dict[str, list[str]] = OBS_GROUPS
    actor: RslRlMLPModelCfg = RslRlMLPModelCfg(
        hidden_dims=[512, 256, 128], obs_normalization=True, distribution_cfg=Gaussian(init_std=1.2)
    )
    critic: RslRlMLPModelCfg = RslRlMLPModelCfg(hidden_dims=[512, 256, 128], obs_normalization=True)
    algorithm: RslRlPpoAlgorithmCfg = RslRlPpoAlgorithmCfg(entropy_coef=0.005, gamma=0.98, desired_kl=0.02)


@configclass
class VelocityRoughAnymalCAgentCfg(VelocityRoughGo2AgentCfg):
    """As for the lighter quadruped, with half the noise at the start."""

    experiment_name: str = "velocity_rough_anymal_c"
    actor: RslRlMLPModelCfg = RslRlMLPModelCfg(
        hidden_dims=[512, 256, 128], obs_normalization=True, distribution_cfg=Gaussian(init_std=0.6)
    )


@configclass
class VelocityFlatGo2DRAgentCfg(VelocityFlatGo2AgentCfg):
    """The flat task's settings with larger networks and more iterations."""

    experiment_name: str = "velocity_flat_go2_dr"
    max_iterations: int = 1000
    save_interval: int = 100
    obs_groups: dict[str, list[str]] = OBS_GROUPS
    actor: RslRlMLPModelCfg = RslRlMLPModelCfg(
        hidden_dims=[256, 128, 128], obs_normalization=True, distribution_cfg=Gaussian(init_std=1.2)
    )
    critic: RslRlMLPModelCfg = RslRlMLPModelCfg(hidden_dims=[256, 128, 128], obs_normalization=True)
