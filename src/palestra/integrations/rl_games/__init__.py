"""RL-Games on Palestra's environments."""

from palestra.integrations.rl_games.cfg import (
    AlgoCfg,
    CentralValueCfg,
    ConfigCfg,
    ContinuousSpaceCfg,
    InitializerCfg,
    MlpCfg,
    ModelCfg,
    NetworkCfg,
    ParamsCfg,
    RewardShaperCfg,
    RlGamesRunnerCfg,
    RnnCfg,
    SpaceCfg,
    WrapperCfg,
    native_overlay,
)
from palestra.integrations.rl_games.trainer import RlGamesPolicy, RlGamesTrainer, make_trainer, policy_of
from palestra.integrations.rl_games.wrapper import (
    RlGamesAlgoObserver,
    RlGamesGpuEnv,
    RlGamesVecEnvWrapper,
    register_env,
    unregister_env,
)

__all__ = [
    "AlgoCfg",
    "CentralValueCfg",
    "ConfigCfg",
    "ContinuousSpaceCfg",
    "InitializerCfg",
    "MlpCfg",
    "ModelCfg",
    "NetworkCfg",
    "ParamsCfg",
    "RewardShaperCfg",
    "RlGamesAlgoObserver",
    "RlGamesGpuEnv",
    "RlGamesPolicy",
    "RlGamesRunnerCfg",
    "RlGamesTrainer",
    "RlGamesVecEnvWrapper",
    "RnnCfg",
    "SpaceCfg",
    "WrapperCfg",
    "make_trainer",
    "native_overlay",
    "policy_of",
    "register_env",
    "unregister_env",
]
