"""Stable-Baselines3: its PPO on Palestra's environments, and a ``VecEnv`` that its other algorithms take too."""

from palestra.integrations.sb3.cfg import PolicyKwargsCfg, Sb3PPOCfg, VecNormalizeCfg
from palestra.integrations.sb3.native import native_overlay
from palestra.integrations.sb3.policy import Sb3Policy, policy_of
from palestra.integrations.sb3.trainer import Sb3Trainer, make_trainer
from palestra.integrations.sb3.wrapper import Sb3VecEnvWrapper

__all__ = [
    "PolicyKwargsCfg",
    "Sb3PPOCfg",
    "Sb3Policy",
    "Sb3Trainer",
    "Sb3VecEnvWrapper",
    "VecNormalizeCfg",
    "make_trainer",
    "native_overlay",
    "policy_of",
]
