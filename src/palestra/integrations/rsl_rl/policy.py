"""A policy that RSL-RL trained, without its runner: observations in, mean actions out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from rsl_rl.models import MLPModel
from rsl_rl.modules import EmpiricalNormalization
from rsl_rl.modules.distribution import Distribution
from rsl_rl.utils import resolve_callable
from tensordict import TensorDict
from torch import Tensor, nn

from palestra.deploy.graph import Normalizer, PolicyGraph, memory_of
from palestra.errors import ConfigError
from palestra.integrations.rsl_rl.cfg import RECURRENT_FIELDS

Kind = TypeVar("Kind")


def library_class(name: Any, base: type[Kind], where: str) -> type[Kind]:
    """Return the class that a config names, as RSL-RL looks it up.

    Raises:
        ConfigError: there is none, or it is no subclass of ``base``.
    """
    try:
        found = resolve_callable(name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(f"{where}.class_name is {name!r}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigError(f"{where}.class_name is {name!r}: that is no subclass of RSL-RL's {base.__name__}")
    return found


def model_settings(cfg: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a model's config as RSL-RL takes it: without what stands at the library's default or is another class's.

    Raises:
        ConfigError: a class that does not exist or does not fit.
    """
    library_class(cfg["class_name"], MLPModel, where)
    settings = {k: v for k, v in cfg.items() if not (k in RECURRENT_FIELDS and v is None)}
    distribution = cfg["distribution_cfg"]
    if distribution is not None:
        kind = library_class(distribution["class_name"], Distribution, f"{where}.distribution_cfg")
        taken = ("class_name", *inspect.signature(kind).parameters)
        settings["distribution_cfg"] = {k: v for k, v in distribution.items() if k in taken}
    return settings


class RslRlPolicy:
    """The mean action of a model of RSL-RL, normaliser and action bound included.

    Args:
        actor: the model; it is put into evaluation mode.
        clip_actions: bound on the actions; None for none.
        num_actions: width of an action.
    """

    def __init__(self, actor: MLPModel, clip_actions: float | None, num_actions: int) -> None:
        self.actor = actor.eval()
        self.num_actions = num_actions
        self.clip_actions = clip_actions

    @torch.no_grad()
    def __call__(self, obs: Mapping[str, Any]) -> Tensor:
        """Return actions ``(num_envs, num_actions)`` for observation groups; a recurrent model remembers them."""
        actions = self.actor(obs)  # type: ignore[arg-type]  # it only looks its groups up
        return actions if self.clip_actions is None else actions.clamp(-self.clip_actions, self.clip_actions)

    @torch.no_grad()
    def reset(self, done: Tensor | None = None) -> None:
        """Forget the episodes that ended, ``(num_envs,)``; None forgets all."""
        self.actor.reset(done)

    def graph(self) -> PolicyGraph:
        """Return the policy as a function of tensors, for export.

        The network is what the model's own ``as_onnx`` returns, so that a subclass can say what it exports.

        Raises:
            ConfigError: a recurrent model whose cells are neither a GRU nor an LSTM.
        """
        actor, normalizer, memory = self.actor, None, None
        network = actor.as_onnx(verbose=False)
        moments = actor.obs_normalizer
        if isinstance(moments, EmpiricalNormalization) and hasattr(network, "obs_normalizer"):
            # named, so that the description can show it
            normalizer = Normalizer(moments.mean, moments.std + moments.eps, None, "std + epsilon", moments.eps)
            network.obs_normalizer = nn.Identity()
        if actor.is_recurrent:
            try:
                memory = memory_of(actor.rnn.rnn)  # type: ignore[union-attr, arg-type]
            except (AttributeError, TypeError) as error:
                raise ConfigError(f"actor.class_name: cannot export a {type(actor).__name__}: {error}") from error
        return PolicyGraph(
            network,
            actor.obs_groups,
            actor.obs_dim,
            self.num_actions,
            normalizer=normalizer,
            action_limit=self.clip_actions,
            memory=memory,
        )


def policy_of(content: dict[str, Any], device: torch.device | str = "cpu") -> RslRlPolicy:
    """Return the policy of a checkpoint's content.

    Raises:
        ConfigError: its model is of a class that is not here.
    """
    config = content["config"]
    settings = model_settings(config["actor"], "actor")
    kind = library_class(settings.pop("class_name"), MLPModel, "actor")
    groups = content["obs_groups"]
    examples = {name: torch.zeros(1, content["observation_dims"][name]) for name in groups["actor"]}
    actor = kind(TensorDict(examples, batch_size=[1]), groups, "actor", content["num_actions"], **settings)
    actor.load_state_dict(content["actor_state_dict"])
    return RslRlPolicy(actor.to(device), config["clip_actions"], content["num_actions"])
