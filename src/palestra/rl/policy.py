"""A trained policy without its learner: observations in, mean actions out."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from palestra.deploy.graph import Normalizer, PolicyGraph, memory_of
from palestra.rl.checkpoint import load_checkpoint
from palestra.rl.config import ModelCfg
from palestra.rl.environment import Observations
from palestra.rl.networks import Actor, RecurrentActor
from palestra.rl.normalizer import EmpiricalNormalization
from palestra.rl.storage import concatenate


class InferencePolicy(nn.Module):
    """The mean action of an actor, normaliser and action bound included.

    ``policy(obs)`` takes the environment's observation groups or the actor's observations ``(..., width)``
    and returns a new tensor ``(..., num_actions)``.
    """

    def __init__(self, actor: Actor, groups: list[str], clip_actions: float | None) -> None:
        super().__init__()
        self.actor = actor
        self.groups = groups
        self.clip_actions = clip_actions

    @torch.no_grad()
    def forward(self, obs: Observations | Tensor) -> Tensor:
        x = obs if isinstance(obs, Tensor) else concatenate(obs, self.groups)
        actions = self.actor(x)
        return actions if self.clip_actions is None else actions.clamp(-self.clip_actions, self.clip_actions)

    def graph(self) -> PolicyGraph:
        """Return the policy as a function of tensors, for export."""
        actor = self.actor
        return PolicyGraph(
            actor.mlp,
            self.groups,
            actor.obs_dim,
            actor.num_actions,
            normalizer=_normalizer(actor.obs_normalizer),
            action_limit=self.clip_actions,
        )


class RecurrentPolicy(nn.Module):
    """The mean action of an actor with a memory, which it keeps from call to call.

    ``policy(obs)`` takes the environment's observation groups; ``reset(done)`` forgets the episodes that ended.
    """

    def __init__(self, actor: RecurrentActor, groups: list[str], clip_actions: float | None) -> None:
        super().__init__()
        self.actor = actor
        self.groups = groups
        self.clip_actions = clip_actions
        self._memory: Tensor | None = None

    @torch.no_grad()
    def forward(self, obs: Observations) -> Tensor:
        x = concatenate(obs, self.groups)
        if self._memory is None or self._memory.shape[1] != len(x):
            self._memory = self.actor.blank(len(x))
        actions, self._memory = self.actor(x, self._memory)
        return actions if self.clip_actions is None else actions.clamp(-self.clip_actions, self.clip_actions)

    def reset(self, done: Tensor | None = None) -> None:
        """Forget the episodes that ended, bool ``(num_envs,)``; None forgets all."""
        if done is None or self._memory is None:
            self._memory = None
        else:
            self._memory = self._memory.masked_fill(done.view(1, -1, 1), 0.0)

    def graph(self) -> PolicyGraph:
        """Return the policy as a function of tensors, for export."""
        actor = self.actor
        return PolicyGraph(
            actor.core,
            self.groups,
            actor.obs_dim,
            actor.num_actions,
            normalizer=_normalizer(actor.obs_normalizer),
            action_limit=self.clip_actions,
            memory=memory_of(actor.core.rnn),
        )


def _normalizer(moments: nn.Module) -> Normalizer | None:
    if not isinstance(moments, EmpiricalNormalization):
        return None
    return Normalizer(moments.mean, moments.std + moments.eps, None, "std + epsilon", moments.eps)


def load_policy(path: Path | str, device: torch.device | str = "cpu") -> InferencePolicy | RecurrentPolicy:
    """Return the policy of a checkpoint; no environment is needed.

    Raises:
        ConfigError: the file cannot be used.
    """
    return policy_of(load_checkpoint(path), device)


def policy_of(content: dict[str, Any], device: torch.device | str = "cpu") -> InferencePolicy | RecurrentPolicy:
    """Return the policy of a checkpoint's content."""
    groups, config = content["obs_groups"]["actor"], content["config"]
    width = sum(content["observation_dims"][name] for name in groups)
    cfg, recurrent = ModelCfg(**config["actor"]), config.get("rnn")
    if recurrent:
        remembering = RecurrentActor(width, content["num_actions"], cfg, *recurrent)
        remembering.load_state_dict(content["actor_state_dict"])
        return RecurrentPolicy(remembering.to(device), groups, config["clip_actions"])
    actor = Actor(width, content["num_actions"], cfg)
    actor.load_state_dict(content["actor_state_dict"])
    return InferencePolicy(actor.to(device), groups, config["clip_actions"])
