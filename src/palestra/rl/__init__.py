"""Learning: our own PPO, its configuration, the runner that trains with it, and checkpoints.

Names are imported when they are first used, so that reading a task's agent configuration does not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palestra.rl.checkpoint import load_checkpoint, save_checkpoint
    from palestra.rl.config import ModelCfg, PPOAlgorithmCfg, PPORunnerCfg
    from palestra.rl.environment import Environment
    from palestra.rl.policy import InferencePolicy, load_policy
    from palestra.rl.ppo import PPO
    from palestra.rl.runner import OnPolicyRunner

__all__ = [
    "PPO",
    "Environment",
    "InferencePolicy",
    "ModelCfg",
    "OnPolicyRunner",
    "PPOAlgorithmCfg",
    "PPORunnerCfg",
    "load_checkpoint",
    "load_policy",
    "save_checkpoint",
]

_HOME = {
    "PPO": "ppo",
    "Environment": "environment",
    "InferencePolicy": "policy",
    "ModelCfg": "config",
    "OnPolicyRunner": "runner",
    "PPOAlgorithmCfg": "config",
    "PPORunnerCfg": "config",
    "load_checkpoint": "checkpoint",
    "load_policy": "policy",
    "save_checkpoint": "checkpoint",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"palestra.rl.{_HOME[name]}"), name)
    globals()[name] = value
    return value
