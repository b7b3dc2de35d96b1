"""The rollout: preallocated buffers for what was seen, done and received, and the shuffled copy that is
learned from.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from palestra.rl.environment import Observations


class MiniBatch(NamedTuple):
    """Rows of a rollout in random order; every tensor starts with the dimension ``rows``."""

    actor_obs: Tensor
    """Observations of the actor, normalised, ``(rows, actor_dim)``."""
    critic_obs: Tensor
    """Observations of the critic, normalised, ``(rows, critic_dim)``."""
    actions: Tensor
    """Actions taken, ``(rows, num_actions)``."""
    mean: Tensor
    """Mean action of the policy that collected the rollout, ``(rows, num_actions)``."""
    log_prob: Tensor
    """Log-probability of the actions under that policy, ``(rows,)``."""
    values: Tensor
    """V(s) when the rollout was collected, ``(rows,)``."""
    advantages: Tensor
    """Advantage estimates Â, ``(rows,)``."""
    returns: Tensor
    """Targets of the value function, Â + V(s), ``(rows,)``."""


class RolloutStorage:
    """Buffers for T steps of N environments; index ``[t]`` is a step, ``(N, ...)``.

    Nothing here is ever rebound: a captured graph may read and write every tensor. Observations and values
    have a row T for the state after the last step.
    """

    def __init__(
        self,
        num_steps: int,
        num_envs: int,
        observation_dims: dict[str, int],
        obs_groups: dict[str, list[str]],
        num_actions: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, device=device, dtype=dtype)

        def flags() -> Tensor:
            return torch.zeros(num_steps, num_envs, device=device, dtype=torch.bool)

        self.num_steps, self.num_envs = num_steps, num_envs
        self.obs_groups = obs_groups
        used = dict.fromkeys(name for names in obs_groups.values() for name in names)
        self.observations = {name: zeros(num_steps + 1, num_envs, observation_dims[name]) for name in used}
        self.actions = zeros(num_steps, num_envs, num_actions)
        self.mean = zeros(num_steps, num_envs, num_actions)
        self.std = zeros(num_actions)
        self.log_prob = zeros(num_steps, num_envs)
        self.rewards = zeros(num_steps, num_envs)
        self.terminated = flags()
        self.time_outs = flags()
        self.values = zeros(num_steps + 1, num_envs)
        self.final_values = zeros(num_steps, num_envs)
        self.advantages = zeros(num_steps, num_envs)
        self.returns = zeros(num_steps, num_envs)

    def write_observations(self, t: int, obs: Observations) -> None:
        """Copy the observations before step ``t``; ``t = num_steps`` is the state after the last step."""
        for name, buffer in self.observations.items():
            buffer[t].copy_(obs[name])

    def last_observations(self) -> Observations:
        """Return the observations after the last step, as views."""
        return {name: buffer[self.num_steps] for name, buffer in self.observations.items()}

    def write_outcome(self, t: int, rewards: Tensor, terminated: Tensor, time_outs: Tensor) -> None:
        """Copy what step ``t`` returned; an episode that reaches its end and its limit at once has ended."""
        self.rewards[t].copy_(rewards)
        self.terminated[t].copy_(terminated)
        torch.logical_and(time_outs, ~terminated, out=self.time_outs[t])

    def observations_of(self, model: str, t: int | slice) -> Tensor:
        """Return the observations ``(..., N, width)`` of the ``actor`` or the ``critic`` before the steps ``t``."""
        return concatenate({name: buffer[t] for name, buffer in self.observations.items()}, self.obs_groups[model])

    def all_observations_of(self, model: str) -> Tensor:
        """Return the observations ``(T·N, width)`` of the ``actor`` or the ``critic`` at all steps."""
        flat = {name: buffer[:-1].flatten(0, 1) for name, buffer in self.observations.items()}
        return concatenate(flat, self.obs_groups[model])


def concatenate(obs: Observations, groups: list[str]) -> Tensor:
    """Return the observation groups side by side, ``(..., width)``; a single group is returned as it is."""
    return obs[groups[0]] if len(groups) == 1 else torch.cat([obs[name] for name in groups], dim=-1)


class ShuffledRollout:
    """A copy of the rollout in random order, gathered once an update, since all epochs use the same
    permutation.

    Minibatches are then slices of it, and each row is gathered and normalised once instead of once per epoch.
    """

    def __init__(self, storage: RolloutStorage, num_mini_batches: int, same_obs: bool) -> None:
        self.storage = storage
        self.same_obs = same_obs
        rows = storage.num_steps * storage.num_envs
        self.rows = rows // num_mini_batches * num_mini_batches

        def like(source: Tensor) -> Tensor:
            return source.new_zeros(self.rows, *source.shape[1:])

        sources = self._sources()
        self.actor_obs = like(sources.actor_obs)
        self.critic_obs = self.actor_obs if same_obs else like(sources.critic_obs)
        self.rest = [like(source) for source in sources[2:]]
        self.whole = MiniBatch(self.actor_obs, self.critic_obs, *self.rest)
        size = self.rows // num_mini_batches
        self.mini_batches = [
            MiniBatch(*(tensor[start : start + size] for tensor in self.whole)) for start in range(0, self.rows, size)
        ]

    def _sources(self) -> MiniBatch:
        s = self.storage
        actor_obs = s.all_observations_of("actor")
        critic_obs = actor_obs if self.same_obs else s.all_observations_of("critic")
        rest = (s.actions, s.mean, s.log_prob, s.values[:-1], s.advantages, s.returns)
        return MiniBatch(actor_obs, critic_obs, *(tensor.flatten(0, 1) for tensor in rest))

    def gather(self, permutation: Tensor) -> None:
        """Copy the rollout's rows in the order of ``permutation`` ``(rows,)`` int64; observations stay raw."""
        copied: set[int] = set()
        for source, target in zip(self._sources(), self.whole, strict=True):
            if id(target) not in copied:  # the critic's observations may be the actor's
                torch.index_select(source, 0, permutation, out=target)
                copied.add(id(target))
