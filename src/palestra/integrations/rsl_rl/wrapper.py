"""An environment as RSL-RL wants it: a ``VecEnv`` whose observations are a ``TensorDict`` of groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from functools import cached_property
from typing import Any

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from palestra.envs.base import RLEnv
from palestra.errors import ConfigError


class EpisodeStatistics(MutableMapping[str, Any]):
    """Means over the episodes that ended since the last look, fetched from the device when first looked at.

    RSL-RL's logger keeps ``extras["log"]`` of every step and looks at all of them once an iteration. The first then
    holds the means over all episodes of the iteration and the others nothing: an episode counts the same in whichever
    step it ends, and the device is waited for once an iteration instead of once a step.
    """

    def __init__(self, fetch: Callable[[], dict[str, float]]) -> None:
        self._fetch = fetch

    @cached_property
    def _values(self) -> dict[str, Any]:
        return dict(self._fetch())

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[key] = value

    def __delitem__(self, key: str) -> None:
        del self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class RslRlVecEnvWrapper(VecEnv):
    """A view of an environment for RSL-RL's runners, on the environment's device; it resets the environment.

    What it returns are copies: RSL-RL keeps a reference to the observations and reads it only after the next step, by
    which time the environment's own buffers hold the next observations.

    Groups that are not concatenated are left out, since no model of RSL-RL takes them.

    Args:
        env: the environment, or a wrapper around it whose ``unwrapped`` is the environment.
        clip_actions: each action is clamped to ±``clip_actions``; None leaves actions alone.

    Raises:
        ConfigError: ``env`` is no environment of Palestra, or has no concatenated observation group.
    """

    def __init__(self, env: Any, clip_actions: float | None = None) -> None:
        base = getattr(env, "unwrapped", env)
        if not isinstance(base, RLEnv):
            raise ConfigError(f"RslRlVecEnvWrapper takes an environment of Palestra, not a {type(base).__name__}")
        self.env = env
        self._base = base
        self.clip_actions = clip_actions
        self.num_envs = base.num_envs
        self.num_actions = base.num_actions
        self.max_episode_length = base.max_episode_length
        self.device = base.device
        self._groups = list(base.observation_dims)
        if not self._groups:
            raise ConfigError("RSL-RL needs an observation group with concatenate_terms=True; the task has none")
        self._obs = TensorDict({}, batch_size=[self.num_envs])
        self.reset()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base!r})"

    @property
    def cfg(self) -> Any:  # type: ignore[override]
        """Configuration of the environment."""
        return self._base.cfg

    @property
    def unwrapped(self) -> RLEnv:
        """The environment."""
        return self._base

    @property
    def render_mode(self) -> str | None:
        """How the environment renders."""
        return self._base.render_mode

    @property
    def observation_space(self) -> Any:
        """Space of all environments' observations."""
        return self._base.observation_space

    @property
    def action_space(self) -> Any:
        """Space of all environments' actions."""
        return self._base.action_space

    @property
    def episode_length_buf(self) -> Tensor:  # type: ignore[override]
        """Steps in each environment's present episode, int64 ``(num_envs,)``; assigning writes it in place."""
        return self._base.episode_length_buf

    @episode_length_buf.setter
    def episode_length_buf(self, value: Tensor) -> None:
        self._base.episode_length_buf.copy_(value)

    def seed(self, seed: int) -> int:
        """Start the environment's random numbers over; it is reset."""
        self.reset(seed)
        return seed

    def reset(self, seed: int | None = None) -> tuple[TensorDict, dict[str, Any]]:
        """Reset all environments and return the observations."""
        with torch.inference_mode(False), torch.no_grad():
            obs, extras = self._base.reset(seed=seed)
        self._obs = self._tensordict(obs)
        return self._obs.clone(), extras

    def get_observations(self) -> TensorDict:
        """Return the present observations, ``(num_envs, width)`` each."""
        return self._obs.clone()

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict[str, Any]]:
        """Take one control step; environments that end are reset at once.

        Args:
            actions: ``(num_envs, num_actions)``.

        Returns:
            Observations (of the new episode where one ended), rewards, dones (int64), and extras: ``time_outs``, for
            which RSL-RL adds γV to the reward (absent for a task with a finite horizon); ``terminal_observation``, a
            ``TensorDict`` of the observations before the reset, if the environment keeps them; and ``log``, the
            statistics of finished episodes.
        """
        # RSL-RL steps in inference mode; what the environment makes for itself there could not be written to later.
        with torch.inference_mode(False), torch.no_grad():
            actions = actions.to(self.device)
            if self.clip_actions is not None:
                actions = actions.clamp(-self.clip_actions, self.clip_actions)
            obs, rewards, terminated, time_outs, env_extras = self._base.step(actions)
            self._obs = self._tensordict(obs)
            dones = (terminated | time_outs).long()
        extras: dict[str, Any] = {"log": EpisodeStatistics(self._base.fetch_log)}
        if not self._base.is_finite_horizon:
            extras["time_outs"] = time_outs
        if "terminal_observation" in env_extras:
            extras["terminal_observation"] = self._tensordict(env_extras["terminal_observation"])
        return self._obs, rewards, dones, extras

    def render(self) -> Any:
        """Return a picture of one environment, if it renders."""
        return self._base.render()

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _tensordict(self, obs: dict[str, Any]) -> TensorDict:
        return TensorDict({name: obs[name] for name in self._groups}, batch_size=[self.num_envs], device=self.device)
