"""skrl (https://skrl.readthedocs.io): its agents, models and trainers on Palestra's environments.

skrl itself is imported when something of it is used, so that configs can be read without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from palestra.integrations.skrl.cfg import (
    DeterministicModelCfg,
    ExperimentCfg,
    GaussianModelCfg,
    MemoryCfg,
    ModelsCfg,
    NetworkCfg,
    PPOCfg,
    RnnCfg,
    SkrlRunnerCfg,
    TrainerCfg,
)
from palestra.integrations.skrl.native import native_overlay

if TYPE_CHECKING:
    import torch

    from palestra.envs.base import RLEnv
    from palestra.integrations.skrl.agents import PPO, PPO_RNN
    from palestra.integrations.skrl.policy import SkrlPolicy
    from palestra.integrations.skrl.runner import Runner
    from palestra.integrations.skrl.trainer import SkrlTrainer
    from palestra.integrations.skrl.wrapper import SkrlVecEnvWrapper

__all__ = [
    "PPO", "PPO_RNN", "DeterministicModelCfg", "ExperimentCfg", "GaussianModelCfg", "MemoryCfg", "ModelsCfg",
    "NetworkCfg", "PPOCfg", "RnnCfg", "Runner", "SkrlRunnerCfg", "SkrlTrainer", "SkrlVecEnvWrapper", "TrainerCfg",
    "make_trainer", "native_overlay", "policy_of",
]  # fmt: skip

_LAZY = {
    "PPO": "agents",
    "PPO_RNN": "agents",
    "Runner": "runner",
    "SkrlTrainer": "trainer",
    "SkrlVecEnvWrapper": "wrapper",
}


def make_trainer(env: RLEnv, cfg: SkrlRunnerCfg, task: str = "") -> SkrlTrainer:
    """Return what trains on ``env`` with skrl.

    Raises:
        ConfigError: the config does not fit the environment.
    """
    from palestra.integrations.skrl.trainer import SkrlTrainer

    return SkrlTrainer(env, cfg, task)


def policy_of(content: dict[str, Any], device: torch.device | str = "cpu") -> SkrlPolicy:
    """Return the policy of a checkpoint's content: observation groups to mean actions.

    Raises:
        ConfigError: the config in the checkpoint is none of skrl's.
    """
    from palestra.integrations.skrl.policy import SkrlPolicy

    return SkrlPolicy(content, device)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
