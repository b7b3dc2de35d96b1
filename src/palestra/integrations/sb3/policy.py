"""A trained policy of Stable-Baselines3 without its learner: observation groups in, deterministic actions out."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn

from palestra.deploy.graph import Normalizer, PolicyGraph
from palestra.integrations.sb3.cfg import PolicyKwargsCfg
from palestra.integrations.sb3.wrapper import action_space, observation_space
from palestra.rl.environment import Observations


class Sb3Policy(nn.Module):
    """What ``model.predict(deterministic=True)`` returns behind a ``VecNormalize``, in torch from end to end.

    ``policy(obs)`` takes the environment's observation groups or the agent's observations ``(num_envs, width)`` and
    returns actions ``(num_envs, num_actions)``.

    Args:
        policy: the networks.
        groups: observation groups that they see.
        limit: bound of the actions, ``(num_actions,)``.
        normalizer: mean and variance ``(width,)`` (float64, as the library has them), epsilon and clip; None for none.
    """

    mean: Tensor
    std: Tensor
    limit: Tensor

    def __init__(
        self,
        policy: ActorCriticPolicy,
        groups: list[str],
        limit: Tensor,
        normalizer: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.policy = policy.train(False)
        self.groups = groups
        self.register_buffer("limit", limit)
        self.clip_obs: float | None = None
        self.epsilon = 0.0
        if normalizer is not None:
            self.epsilon = normalizer["epsilon"]
            self.clip_obs = normalizer["clip_obs"]
            self.register_buffer("mean", normalizer["mean"])
            self.register_buffer("std", torch.sqrt(normalizer["var"] + normalizer["epsilon"]))

    @torch.no_grad()
    def forward(self, obs: Observations | Tensor) -> Tensor:
        x = obs if isinstance(obs, Tensor) else torch.cat([obs[name] for name in self.groups], dim=-1)
        if self.clip_obs is not None:
            x = ((x - self.mean) / self.std).clamp(-self.clip_obs, self.clip_obs).to(torch.float32)
        actions = self.policy.get_distribution(x).get_actions(deterministic=True)
        if self.policy.squash_output:
            return actions * self.limit
        return torch.clamp(actions, -self.limit, self.limit)

    def graph(self) -> PolicyGraph:
        """Return the policy as a function of tensors, for export."""
        limit, normalizer = float(self.limit[0]), None  # the same for all
        if self.clip_obs is not None:
            normalizer = Normalizer(self.mean, self.std, self.clip_obs, "sqrt(var + epsilon)", self.epsilon)
        return PolicyGraph(
            MeanAction(self.policy, limit),
            self.groups,
            self.policy.observation_space.shape[0],  # type: ignore[index]  # a Box
            len(self.limit),
            normalizer=normalizer,
            action_limit=limit,
        )


class MeanAction(nn.Module):
    """The policy's network alone, without distribution and value: normalised observations to mean actions.

    Args:
        policy: the networks.
        limit: bound of the actions, to which a policy that squashes them scales.
    """

    def __init__(self, policy: ActorCriticPolicy, limit: float) -> None:
        super().__init__()
        self.features, self.mlp, self.head = policy.pi_features_extractor, policy.mlp_extractor, policy.action_net
        self.squash, self.limit = policy.squash_output, limit

    def forward(self, x: Tensor) -> Tensor:
        mean = self.head(self.mlp.forward_actor(self.features(x)))
        return torch.tanh(mean) * self.limit if self.squash else mean


def policy_of(content: dict[str, Any], device: torch.device | str = "cpu") -> Sb3Policy:
    """Return the policy of a checkpoint's content."""
    config, groups = content["config"], list(content["obs_groups"]["actor"])
    space = action_space(content["num_actions"], config["clip_actions"])
    width = sum(content["observation_dims"][name] for name in groups)
    kwargs = PolicyKwargsCfg(**config["policy_kwargs"]).build()
    policy = ActorCriticPolicy(observation_space(width), space, lambda _: 0.0, use_sde=config["use_sde"], **kwargs)
    policy.load_state_dict(content["policy"])
    normalizer = None
    if config["vec_normalize"]["norm_obs"]:
        settings = config["vec_normalize"]
        normalizer = {**content["vec_normalize"]["obs_rms"], **{n: settings[n] for n in ("epsilon", "clip_obs")}}
    return Sb3Policy(policy, groups, torch.from_numpy(space.high), normalizer).to(device)
