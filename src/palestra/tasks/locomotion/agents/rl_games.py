"""RL-Games on the locomotion tasks."""

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
class VelocityFlatGo2AgentCfg(RlGamesRunnerCfg):
    """The task's own settings, as far as RL-Games has them."""

    experiment_name: str = "velocity_flat_go2"
    max_iterations: int = 300
    save_interval: int = 50
    params: ParamsCfg = ParamsCfg(
        network=NetworkCfg(
            separate=True,
            space=SpaceCfg(
                continuous=ContinuousSpaceCfg(
                    mu_init=InitializerCfg(name="orthogonal_initializer", gain=0.01),
                    sigma_init=InitializerCfg(name="const_initializer", val=math.log(1.2)),
                )
            ),
            mlp=MlpCfg(units=[128, 128]),
        ),
        config=ConfigCfg(
            horizon_length=16,
            minibatch_size_per_env=4,
            mini_epochs=5,
            learning_rate=1e-3,
            kl_threshold=0.02,
            gamma=0.97,
            entropy_coef=0.005,
            normalize_input=True,
            normalize_value=True,
            truncate_grads=True,
            clip_actions=False,
        ),
    )


@configclass
class VelocityFlatAnymalCAgentCfg(VelocityFlatGo2AgentCfg):
    """As for the lighter quadruped, with half the noise at the start."""

    experiment_name: str = "velocity_flat_anymal_c"
    max_iterations: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        self.params.network.space.continuous.sigma_init.val = math.log(0.6)


@configclass
class VelocityFlatG1AgentCfg(RlGamesRunnerCfg):
    """The task's own settings, as far as RL-Games has them."""

    experiment_name: str = "velocity_flat_g1"
    max_iterations: int = 1500
    save_interval: int = 100
    params: ParamsCfg = ParamsCfg(
        network=NetworkCfg(
            separate=True,
            space=SpaceCfg(
                continuous=ContinuousSpaceCfg(
                    mu_init=InitializerCfg(name="orthogonal_initializer", gain=0.01),
                    sigma_init=InitializerCfg(name="const_initializer", val=math.log(0.5)),
                )
            ),
            mlp=MlpCfg(units=[256, 128, 128]),
        ),
        config=ConfigCfg(
            horizon_length=24,
            minibatch_size_per_env=6,
            mini_epochs=5,
            learning_rate=1e-3,
            kl_threshold=0.02,
            gamma=0.97,
            entropy_coef=0.008,
            normalize_input=True,
            normalize_value=True,
            truncate_grads=True,
            clip_actions=False,
        ),
    )


@configclass
class VelocityFlatH1AgentCfg(VelocityFlatG1AgentCfg):
    """As for the smaller humanoid."""

    experiment_name: str = "velocity_flat_h1"


@configclass
class VelocityRoughGo2AgentCfg(RlGamesRunnerCfg):
    """The task's own settings, as far as RL-Games has them."""

    experiment_name: str = "velocity_rough_go2"
    max_iterations: int = 3000
    save_interval: int = 100
    params: ParamsCfg = ParamsCfg(
        network=NetworkCfg(
            separate=True,
            space=SpaceCfg(
                continuous=ContinuousSpaceCfg(
                    mu_init=InitializerCfg(name="orthogonal_initializer", gain=0.01),
                    sigma_init=InitializerCfg(name="const_initializer", val=math.log(1.2)),
                )
            ),
            mlp=MlpCfg(units=[512, 256, 128]),
        ),
        config=ConfigCfg(
            horizon_length=16,
            minibatch_size_per_env=4,
            mini_epochs=5,
            learning_rate=1e-3,
            kl_threshold=0.02,
            gamma=0.98,
            entropy_coef=0.005,
            normalize_input=True,
            normalize_value=True,
            truncate_grads=True,
            clip_actions=False,
        ),
    )


@configclass
class VelocityRoughAnymalCAgentCfg(VelocityRoughGo2AgentCfg):
    """As for the lighter quadruped, with half the noise at the start."""

    experiment_name: str = "velocity_rough_anymal_c"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.params.network.space.continuous.sigma_init.val = math.log(0.6)


@configclass
class VelocityFlatGo2DRAgentCfg(VelocityFlatGo2AgentCfg):
    """The flat task's settings with larger networks and more iterations."""

    experiment_name: str = "velocity_flat_go2_dr"
    max_iterations: int = 1000
    save_interval: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        self.params.network.mlp.units = [256, 128, 128]
