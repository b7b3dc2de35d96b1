"""RSL-RL's ``OnPolicyRunner`` on Palestra's environments: wrapper, configs in the field's names, trainer, policy.

Names are imported when they are first used, so that a config can be read where RSL-RL is not installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palestra.integrations.rsl_rl.algorithm import TerminalObservationPPO
    from palestra.integrations.rsl_rl.cfg import (
        RslRlMLPModelCfg,
        RslRlOnPolicyRunnerCfg,
        RslRlPpoAlgorithmCfg,
        RslRlRndCfg,
        RslRlRNNModelCfg,
        RslRlSymmetryCfg,
    )
    from palestra.integrations.rsl_rl.overlay import native_overlay
    from palestra.integrations.rsl_rl.policy import RslRlPolicy, policy_of
    from palestra.integrations.rsl_rl.trainer import RslRlTrainer, make_trainer
    from palestra.integrations.rsl_rl.wrapper import RslRlVecEnvWrapper

__all__ = [
    "RslRlMLPModelCfg",
    "RslRlOnPolicyRunnerCfg",
    "RslRlPolicy",
    "RslRlPpoAlgorithmCfg",
    "RslRlRNNModelCfg",
    "RslRlRndCfg",
    "RslRlSymmetryCfg",
    "RslRlTrainer",
    "RslRlVecEnvWrapper",
    "TerminalObservationPPO",
    "make_trainer",
    "native_overlay",
    "policy_of",
]

_HOME = {
    "RslRlMLPModelCfg": "cfg",
    "RslRlOnPolicyRunnerCfg": "cfg",
    "RslRlPolicy": "policy",
    "RslRlPpoAlgorithmCfg": "cfg",
    "RslRlRNNModelCfg": "cfg",
    "RslRlRndCfg": "cfg",
    "RslRlSymmetryCfg": "cfg",
    "RslRlTrainer": "trainer",
    "RslRlVecEnvWrapper": "wrapper",
    "TerminalObservationPPO": "algorithm",
    "make_trainer": "trainer",
    "native_overlay": "overlay",
    "policy_of": "policy",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
