"""Agents of the locomotion tasks for skrl, with the settings of the tasks' own as far as skrl has them."""

import math

from palestra.integrations.skrl import (
    DeterministicModelCfg,
    GaussianModelCfg,
    ModelsCfg,
    NetworkCfg,
    PPOCfg,
    SkrlRunnerCfg,
)
from palestra.utils import configclass


def networks(layers: list[int], std: float) -> ModelsCfg:
    """Return a policy and a value network.

    Args:
        layers: widths of the hidden layers of each.
        std: standard deviation of the noise at the start.
    """
    return ModelsCfg(
        policy=GaussianModelCfg(network=[NetworkCfg(layers=list(layers))], initial_log_std=math.log(std)),
        value=DeterministicModelCfg(network=[NetworkCfg(layers=list(layers))]),
    )


def walking(discount_factor: float, rollouts: int = 16, entropy_loss_scale: float = 0.005) -> PPOCfg:
    """Return what all walking tasks share, with a task's discount, steps of a rollout and weight of the entropy."""
    return PPOCfg(
        rollouts=rollouts,
        learning_epochs=5,
        mini_batches=4,
        discount_factor=discount_factor,
        learning_rate=1e-3,
        learning_rate_scheduler="KLAdaptiveLR",
        learning_rate_scheduler_kwargs={"kl_threshold": 0.02, "min_lr": 1e-5, "max_lr": 1e-2},
        observation_preprocessor="RunningStandardScaler",
        value_preprocessor="RunningStandardScaler",
        grad_norm_clip=1.0,
        entropy_loss_scale=entropy_loss_scale,
        value_loss_scale=1.0,
    )


@configclass
class VelocityFlatGo2AgentCfg(SkrlRunnerCfg):
    """The settings that were measured for the task's own agent; see its docstring."""

    experiment_name: str = "velocity_flat_go2"
    max_iterations: int = 300
    save_interval: int = 50
    models: ModelsCfg = networks([128, 128], std=1.2)
    agent: PPOCfg = walking(discount_factor=0.97)


@configclass
class VelocityFlatGo2DRAgentCfg(VelocityFlatGo2AgentCfg):
    """The flat task's settings with larger networks and more iterations."""

    experiment_name: str = "velocity_flat_go2_dr"
    max_iterations: int = 1000
    save_interval: int = 100
    models: ModelsCfg = networks([256, 128, 128], std=1.2)


@configclass
class VelocityFlatAnymalCAgentCfg(VelocityFlatGo2AgentCfg):
    """As for the lighter quadruped, with half the noise at the start."""

    experiment_name: str = "velocity_flat_anymal_c"
    max_iterations: int = 500
    models: ModelsCfg = networks([128, 128], std=0.6)


@configclass
class VelocityFlatG1AgentCfg(SkrlRunnerCfg):
    """The settings of the task's own agent."""

    experiment_name: str = "velocity_flat_g1"
    max_iterations: int = 1500
    save_interval: int = 100
    models: ModelsCfg = networks([256, 128, 128], std=0.5)
    agent: PPOCfg = walking(discount_factor=0.97, rollouts=24, entropy_loss_scale=0.008)


@configclass
class VelocityFlatH1AgentCfg(VelocityFlatG1AgentCfg):
    """As for the smaller humanoid."""

    experiment_name: str = "velocity_flat_h1"


@configclass
class VelocityRoughGo2AgentCfg(SkrlRunnerCfg):
    """The settings of the task's own agent."""

    experiment_name: str = "velocity_rough_go2"
    max_iterations: int = 3000
    save_interval: int = 100
    models: ModelsCfg = networks([512, 256, 128], std=1.2)
    agent: PPOCfg = walking(discount_factor=0.98)


@configclass
class VelocityRoughAnymalCAgentCfg(VelocityRoughGo2AgentCfg):
    """As for the lighter quadruped, with half the noise at the start."""

    experiment_name: str = "velocity_rough_anymal_c"
    models: ModelsCfg = networks([512, 256, 128], std=0.6)
