"""skrl's ``Runner``, which also knows recurrent models, and agents for environments that reset themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import torch
from skrl.models.torch import Model
from skrl.resources.preprocessors.torch import RunningStandardScaler
from skrl.resources.schedulers.torch import KLAdaptiveLR
from skrl.utils.runner.torch import Runner as _Runner

from palestra.errors import ConfigError
from palestra.integrations.skrl.agents import PPO, PPO_RNN
from palestra.integrations.skrl.recurrent import RecurrentDeterministic, RecurrentGaussian, behind

MISTAKES = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, NameError, RuntimeError, NotImplementedError,
    SyntaxError,
)  # fmt: skip
"""What skrl and PyTorch raise for a definition from which no model or agent can be built."""


@dataclass(frozen=True)
class Spaces:
    """What models must know of an environment."""

    observation_space: gymnasium.Space
    state_space: gymnasium.Space | None
    action_space: gymnasium.Space
    device: torch.device
    num_envs: int = 1


class Runner(_Runner):
    """Takes the same config as skrl's ``Runner``.

    ``PPO`` is the one of this package, which bootstraps across time limits from the true last observation; the agent
    may also be ``PPO_RNN``, with ``rnn: {type: gru, hidden_size: 64, …}`` in its models.

    Args:
        env: a :class:`SkrlVecEnvWrapper`.
        cfg: skrl's config.
        verbose: print the models' source.
    """

    def __init__(self, env: Any, cfg: dict[str, Any], *, verbose: bool = False) -> None:
        agent = cfg.get("agent", {})
        self._recurrent = str(agent.get("class", "")).lower() == "ppo_rnn"
        if self._recurrent:  # skrl's own runner builds it like PPO, but does not know its name
            cfg = {**cfg, "agent": {**agent, "class": "PPO"}}
        super().__init__(env, cfg, verbose=verbose)

    @classmethod
    def models_of(cls, spaces: Spaces, cfg: dict[str, Any]) -> dict[str, Model]:
        """Return the models alone, without memory, agent and trainer.

        Raises:
            ConfigError: no model can be built from the definition.
        """
        runner = cls.__new__(cls)
        runner._env, runner._verbose = spaces, False
        try:
            return runner._generate_models(spaces, cfg)["agent"]  # type: ignore[arg-type]
        except MISTAKES as error:
            raise cannot_build("models", error) from error

    def _component(self, name: str) -> Any:
        name = name.lower()
        if name == "ppo":
            return PPO_RNN if self._recurrent else PPO
        if name == "gaussianmixin":
            return self._instantiator(super()._component(name), RecurrentGaussian)
        if name == "deterministicmixin":
            return self._instantiator(super()._component(name), RecurrentDeterministic)
        return super()._component(name)

    def _instantiator(self, plain: Callable[..., Model], recurrent: type) -> Callable[..., Any]:
        """Return what builds a model: skrl's instantiator, or a recurrent network in front of its result."""

        def build(*, rnn: dict[str, Any] | None = None, **settings: Any) -> Any:
            if rnn is None or settings.get("return_source"):
                return plain(**settings)
            spaces = {k: settings.pop(k) for k in ("observation_space", "state_space", "action_space", "device")}
            network = plain(**behind(rnn, spaces), **settings)
            of_mixin = {k: v for k, v in settings.items() if k not in _OF_THE_NETWORK}
            return recurrent(network, spaces, rnn, self._env.num_envs, **of_mixin)

        return build

    def _process_cfg(self, cfg: dict[str, Any]) -> dict[str, Any]:
        named = {name: class_of(value) if name in _CLASSES else value for name, value in cfg.items()}
        return super()._process_cfg(named)


_OF_THE_NETWORK = ("network", "output", "initial_log_std", "fixed_log_std")
_CLASSES = ("learning_rate_scheduler", "observation_preprocessor", "state_preprocessor", "value_preprocessor")


def class_of(name: Any) -> Any:
    """Return the class that a config names, so that skrl need not evaluate the name; other values as they are."""
    if not isinstance(name, str):
        return name
    known = {"KLAdaptiveLR": KLAdaptiveLR, "RunningStandardScaler": RunningStandardScaler}
    return known.get(name) or getattr(torch.optim.lr_scheduler, name, None) or name


def cannot_build(what: str, error: Exception) -> ConfigError:
    """Return the one-line error for a definition that skrl cannot build."""
    return ConfigError(f"skrl cannot build the {what}: {type(error).__name__}: {' '.join(str(error).split())}")
