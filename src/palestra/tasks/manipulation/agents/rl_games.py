"""RL-Games on the manipulation tasks."""

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


@configclass
class ReachFrankaAgentCfg(RlGamesRunnerCfg):
    """Reaches nearly every target after a minute or two on two cores."""

    experiment_name: str = "reach_franka"
    max_iterations: int = 120
    save_interval: int = 50
    params: ParamsCfg = ParamsCfg(
        network=NetworkCfg(
            separate=True,
            space=SpaceCfg(
                continuous=ContinuousSpaceCfg(
                    mu_init=InitializerCfg(name="orthogonal_initializer", gain=0.01),
                    sigma_init=InitializerCfg(name="const_initializer", val=math.log(0.75)),
                )
            ),
            mlp=MlpCfg(units=[128, 128]),
        ),
        config=ConfigCfg(
            horizon_length=16,
            minibatch_size_per_env=4,
            mini_epochs=4,
            learning_rate=1e-3,
            kl_threshold=0.01,
            normalize_value=True,
            truncate_grads=True,
            clip_actions=False,
        ),
    )


@configclass
class ReachFrankaDRAgentCfg(ReachFrankaAgentCfg):
    """The same with more iterations."""

    experiment_name: str = "reach_franka_dr"
    max_iterations: int = 200
