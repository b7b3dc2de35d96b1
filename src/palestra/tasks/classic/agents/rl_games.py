"""RL-Games on the classic tasks."""

import math

from palestra.integrations.rl_games import (
    ConfigCfg,
    ContinuousSpaceCfg,
    InitializerCfg,
    MlpCfg,
    NetworkCfg,
    ParamsCfg,
    RlGamesRunnerCfg,
    RnnCfg,
    SpaceCfg,
)
from palestra.utils import configclass


@configclass
class CartpoleAgentCfg(RlGamesRunnerCfg):
    """Solved within seconds on two cores."""

    experiment_name: str = "cartpole"
    max_iterations: int = 60
    save_interval: int = 50
    params: ParamsCfg = ParamsCfg(
        network=NetworkCfg(separate=True, mlp=MlpCfg(units=[32, 32])),
        config=ConfigCfg(
            horizon_length=32,
            minibatch_size_per_env=8,
            mini_epochs=5,
            learning_rate=3e-3,
            kl_threshold=0.01,
            critic_coef=2.0,
            normalize_value=True,
            truncate_grads=True,
            clip_actions=False,
        ),
    )


@configclass
class CartpoleNoVelocityAgentCfg(RlGamesRunnerCfg):
    """A GRU each for the policy and the value, which infer the velocities from what they saw before."""

    experiment_name: str = "cartpole_no_velocity"
    max_iterations: int = 120
    save_interval: int = 50
    params: ParamsCfg = ParamsCfg(
        network=NetworkCfg(separate=True, mlp=MlpCfg(units=[32]), rnn=RnnCfg(name="gru", units=32)),
        config=ConfigCfg(
            horizon_length=32,
            seq_length=16,
            minibatch_size_per_env=8,
            mini_epochs=5,
            learning_rate=1e-3,
            lr_schedule="constant",
            normalize_value=True,
            truncate_grads=True,
            clip_actions=False,
        ),
    )


@configclass
class AntAgentCfg(RlGamesRunnerCfg):
    """Runs at several metres a second after a few minutes on two cores."""

    experiment_name: str = "ant"
    max_iterations: int = 300
    save_interval: int = 50
    clip_actions: float | None = 1.0
    params: ParamsCfg = ParamsCfg(
        network=NetworkCfg(
            separate=True,
            space=SpaceCfg(
                continuous=ContinuousSpaceCfg(
                    sigma_init=InitializerCfg(name="const_initializer", val=math.log(0.6)),
                )
            ),
            mlp=MlpCfg(units=[128, 128]),
        ),
        config=ConfigCfg(
            horizon_length=24,
            minibatch_size_per_env=6,
            mini_epochs=5,
            learning_rate=1e-3,
            kl_threshold=0.01,
            normalize_value=True,
            truncate_grads=True,
        ),
    )
