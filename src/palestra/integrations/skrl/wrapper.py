"""Palestra's environments as skrl sees them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from skrl.envs.wrappers.torch import Wrapper
from torch import Tensor

from palestra.envs.base import RLEnv
from palestra.errors import ConfigError, did_you_mean
from palestra.rl.storage import concatenate

TERMINAL_OBSERVATIONS = "terminal_observations"
"""Key of ``infos`` for the observations that a step really led to, before an environment that ended was reset."""

TERMINAL_STATES = "terminal_states"
"""The same for the states."""


class SkrlVecEnvWrapper(Wrapper):
    """A vectorised environment for skrl's agents, trainers and ``Runner``; tensors stay on the device.

    ``step`` returns observations ``(num_envs, width)``, and rewards, terminated and truncated ``(num_envs, 1)``, which
    the caller may keep and change. An environment that ends is reset in the same step: the returned observation is that
    of its new episode. What the step led to is in ``infos["terminal_observations"]`` (and ``"terminal_states"``), for
    the environments that did not end too; the agents of this package let skrl bootstrap from these.

    As with skrl's other vectorised wrappers, ``reset`` resets once; later calls return where the episodes are.

    Args:
        env: the environment.
        observations: groups that the policy sees, concatenated in this order.
        states: groups that only the critic sees (skrl's ``STATES``); None for the task's ``critic`` if it has that, an
            empty list for none.
        clip_actions: bound on the actions, which also bounds the action space; None for no bound.
        device: where skrl computes; None for the environment's device.
        seed: seed of the first reset; None goes on with the environment's random numbers.
        random_ages: whether the first episodes begin at random ages, so that they do not all end in the same step.
        log_interval: steps between two reports of the environment's figures in ``infos["episode"]``, for which the
            host waits; 0 for none.

    Raises:
        ConfigError: the environment has no such group, or actions that are no vector of numbers.
    """

    def __init__(
        self,
        env: RLEnv,
        observations: list[str] | None = None,
        states: list[str] | None = None,
        clip_actions: float | None = None,
        device: torch.device | str | None = None,
        seed: int | None = None,
        random_ages: bool = False,
        log_interval: int = 100,
    ) -> None:
        super().__init__(env)
        self.observation_groups = ["policy"] if observations is None else observations
        if states is None:
            states = ["critic"] if "critic" in env.observation_dims else []
        self.state_groups = states
        for group in [*self.observation_groups, *self.state_groups]:
            _check_group(env, group)
        if not isinstance(env.single_action_space, gymnasium.spaces.Box):
            raise ConfigError(f"skrl's PPO takes actions that are vectors of numbers, not {env.single_action_space}")
        self.clip_actions = clip_actions
        self.seed = seed
        self.random_ages = random_ages
        self.log_interval = log_interval
        self._device = torch.device(device or env.device)
        self._observations: Tensor | None = None
        self._states: Tensor | None = None
        self._steps = 0

    @property
    def observation_space(self) -> gymnasium.Space:
        """Space of one environment's observation."""
        return self._box(self.observation_groups)

    @property
    def state_space(self) -> gymnasium.Space | None:
        """Space of one environment's state, or None without states."""
        return self._box(self.state_groups) if self.state_groups else None

    @property
    def action_space(self) -> gymnasium.Space:
        """Space of one environment's action, bounded by ``clip_actions``."""
        bound = np.inf if self.clip_actions is None else self.clip_actions
        return gymnasium.spaces.Box(-bound, bound, (self._env.num_actions,), np.float32)

    def reset(self) -> tuple[Tensor, dict[str, Any]]:
        """Reset the environments if they have not been.

        Returns:
            Observations ``(num_envs, width)`` and infos.
        """
        if self._observations is None:
            groups, _ = self._env.reset(seed=self.seed)
            if self.random_ages:
                ages = self._env.episode_length_buf
                ages.copy_(torch.rand(ages.shape, device=ages.device) * self._env.max_episode_length)
            self._keep(groups)
            assert self._observations is not None
        return self._observations, {}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Take one control step with actions ``(num_envs, num_actions)``.

        Returns:
            Observations, rewards, terminated, truncated (not where terminated), infos.
        """
        actions = actions.detach().to(self._env.device)
        if self.clip_actions is not None:
            actions = actions.clamp(-self.clip_actions, self.clip_actions)
        groups, reward, terminated, time_outs, extras = self._env.step(actions)
        self._keep(groups)
        assert self._observations is not None
        truncated = time_outs & ~terminated
        infos: dict[str, Any] = {}
        if "terminal_observation" in extras:
            terminal = extras["terminal_observation"]
            infos[TERMINAL_OBSERVATIONS] = self._gather(terminal, self.observation_groups)
            if self.state_groups:
                infos[TERMINAL_STATES] = self._gather(terminal, self.state_groups)
        self._steps += 1
        if self.log_interval and self._steps % self.log_interval == 0:
            infos["episode"] = {name: torch.tensor(value) for name, value in self._env.fetch_log().items()}
        return self._observations, self._column(reward), self._column(terminated), self._column(truncated), infos

    def state(self) -> Tensor | None:
        """Return the states ``(num_envs, width)`` that belong to the last observations, or None without states."""
        return self._states

    def render(self, *args: Any, **kwargs: Any) -> Any:
        """Return a picture of one environment if its ``render_mode`` is ``rgb_array``."""
        return self._env.render()

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def _keep(self, groups: dict[str, Any]) -> None:
        self._observations = self._gather(groups, self.observation_groups)
        self._states = self._gather(groups, self.state_groups) if self.state_groups else None

    def _gather(self, groups: dict[str, Any], names: list[str]) -> Tensor:
        return concatenate(groups, names).to(self._device)

    def _column(self, values: Tensor) -> Tensor:
        return values.to(self._device).unsqueeze(-1)

    def _box(self, groups: list[str]) -> gymnasium.Space:
        width = sum(self._env.observation_dims[group] for group in groups)
        return gymnasium.spaces.Box(-np.inf, np.inf, (width,), np.float32)


def _check_group(env: RLEnv, group: str) -> None:
    if group in env.observation_dims:
        return
    manager = getattr(env, "observation_manager", None)
    if manager is not None and group in manager.group_obs_dim:
        raise ConfigError(f"observation group {group!r} is not concatenated: skrl takes one vector of numbers")
    raise ConfigError(f"the task has no observation group {group!r}: {did_you_mean(group, env.observation_dims)}")
