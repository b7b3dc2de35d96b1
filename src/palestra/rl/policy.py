"""A trained policy without its learner: observations in, mean actions out."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from palestra.deploy.graph import Normalizer, PolicyGraph
from palestra.rl.checkpoint import load_checkpoint
from palestra.rl.config import ModelCfg
from palestra.rl.environment import Observations
from palestra.rl.networks import Actor
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
        actor, moments, normalizer = self.actor, self.actor.obs_normalizer, None
        if isinstance(moments, EmpiricalNormalization):
            normalizer = Normalizer(moments.mean, moments.std + moments.eps, None, "std + epsilon", moments.eps)
        return PolicyGraph(
            actor.mlp,
            self.groups,
            actor.obs_dim,
            actor.num_actions,
            normalizer=normalizer,
            action_limit=self.clip_actions,
        )


def load_policy(path: Path | str, device: torch.device | str = "cpu") -> InferencePolicy:
    """Return the policy of a checkpoint; no environment is needed.

    Raises:
        ConfigError: the file cannot be used.
    """
    return policy_of(load_checkpoint(path), device)


def policy_of(content: dict[str, Any], device: torch.device | str = "cpu") -> InferencePolicy:
    """Return the policy of a checkpoint's content."""
    groups, config = content["obs_groups"]["actor"], content["config"]
    width = sum(content["observation_dims"][name] for name in groups)
    actor = Actor(width, content["num_actions"], ModelCfg(**config["actor"]))
    actor.load_state_dict(content["actor_state_dict"])
    return InferencePolicy(actor.to(device), groups, config["clip_actions"])
