"""RL-Games on the locomotion tasks: the tasks' own settings, as far as RL-Games has them."""

import math

from palestra.integrations.rl_games import (
    ConfigCfg,
    ContinuousSpaceCfg,
    InitializerCfg,
    MlpCfg,
    NetworkCfg,
    ParamsCfg,
    RlGamesRunnerCfg,
    SpaceCfg,
)
from palestra.utils import configclass


def walking(
    units: list[int], std: float, gamma: float, entropy_coef: float = 0.005, horizon_length: int = 16
) -> ParamsCfg:
    """Return what all walking tasks share, with a task's networks and numbers.

    Args:
        units: widths of the hidden layers.
        std: standard deviation of the noise at the start.
        gamma: discount.
        entropy_coef: weight of the entropy.
        horizon_length: steps of a rollout; a quarter of it is a minibatch.
    """
    return ParamsCfg(
        network=NetworkCfg(
            separate=True,
            space=SpaceCfg(
                continuous=ContinuousSpaceCfg(
                    mu_init=InitializerCfg(name="orthogonal_initializer", gain=0.01),
                    sigma_init=InitializerCfg(name="const_initializer", val=math.log(std)),
                )
            ),
            mlp=MlpCfg(units=units),
        ),
        config=ConfigCfg(
            horizon_length=horizon_length,
            minibatch_size_per_env=horizon_length // 4,
            mini_epochs=5,
            learning_rate=1e-3,
            kl_threshold=0.02,
            gamma=gamma,
            entropy_coef=entropy_coef,
            normalize_input=True,
            normalize_value=True,
            truncate_grads=True,
            clip_actions=False,
        ),
    )


@configclass
class VelocityFlatGo2AgentCfg(RlGamesRunnerCfg):
    """Small networks, much noise."""

    experiment_name: str = "velocity_flat_go2"
    max_iterations: int = 300
    save_interval: int = 50
    params: ParamsCfg = walking([128, 128], std=1.2, gamma=0.97)


@configclass
class VelocityFlatGo2DRAgentCfg(RlGamesRunnerCfg):
    """Larger networks and more iterations."""

    experiment_name: str = "velocity_flat_go2_dr"
    max_iterations: int = 1000
    save_interval: int = 100
    params: ParamsCfg = walking([256, 128, 128], std=1.2, gamma=0.97)


@configclass
class VelocityFlatAnymalCAgentCfg(RlGamesRunnerCfg):
    """As for the lighter quadruped, with half the noise at the start."""

    experiment_name: str = "velocity_flat_anymal_c"
    max_iterations: int = 500
    save_interval: int = 50
    params: ParamsCfg = walking([128, 128], std=0.6, gamma=0.97)


@configclass
class VelocityFlatG1AgentCfg(RlGamesRunnerCfg):
    """Longer rollouts."""

    experiment_name: str = "velocity_flat_g1"
    max_iterations: int = 1500
    save_interval: int = 100
    params: ParamsCfg = walking([256, 128, 128], std=0.5, gamma=0.97, entropy_coef=0.008, horizon_length=24)


@configclass
class VelocityFlatH1AgentCfg(VelocityFlatG1AgentCfg):
    """As for the smaller humanoid."""

    experiment_name: str = "velocity_flat_h1"


@configclass
class VelocityRoughGo2AgentCfg(RlGamesRunnerCfg):
    """Networks with room for the height scan."""

    experiment_name: str = "velocity_rough_go2"
    max_iterations: int = 3000
    save_interval: int = 100
    params: ParamsCfg = walking([512, 256, 128], std=1.2, gamma=0.98)


@configclass
class VelocityRoughAnymalCAgentCfg(RlGamesRunnerCfg):
    """As for the lighter quadruped, with half the noise at the start."""

    experiment_name: str = "velocity_rough_anymal_c"
    max_iterations: int = 3000
    save_interval: int = 100
    params: ParamsCfg = walking([512, 256, 128], std=0.6, gamma=0.98)
