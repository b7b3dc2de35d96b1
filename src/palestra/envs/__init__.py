"""Environments, manager-based and direct, under Isaac Lab's names."""

from palestra.envs.base import BaseEnv, RLEnv
from palestra.envs.direct import DirectRLEnv
from palestra.envs.env_cfg import (
    BaseEnvCfg,
    DirectRLEnvCfg,
    ManagerBasedEnvCfg,
    ManagerBasedRLEnvCfg,
    ViewerCfg,
)
from palestra.envs.manager_based import ManagerBasedEnv, ManagerBasedRLEnv

__all__ = [
    "BaseEnv",
    "BaseEnvCfg",
    "DirectRLEnv",
    "DirectRLEnvCfg",
    "ManagerBasedEnv",
    "ManagerBasedEnvCfg",
    "ManagerBasedRLEnv",
    "ManagerBasedRLEnvCfg",
    "RLEnv",
    "ViewerCfg",
]
