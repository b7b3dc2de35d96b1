"""Palestra's environments as a ``VecEnv`` of Stable-Baselines3: tensors inside, numpy outside."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from palestra.envs.base import Observations, RLEnv
from palestra.errors import ConfigError, did_you_mean

ACTION_LIMIT = 100.0
"""Bound of the action space where none is configured: Stable-Baselines3 requires a finite one."""

Indices = int | Iterable[int] | None
Step = tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]


class Sb3VecEnvWrapper(VecEnv):
    """A batch of environments for any algorithm of Stable-Baselines3.

    A step fetches all that the host needs in one copy from the device. What it returns is never written again.
    ``infos`` are empty but for the environments whose episode ended: these have

    - ``terminal_observation``, the observation before the reset, ``(width,)``;
    - ``TimeLimit.truncated``, whether only the time limit ended the episode, so that its value is bootstrapped;
    - ``episode``, return ``r``, length ``l`` (steps) and time ``t`` (s since the wrapper was made);
    - ``is_success``, if the task defines success.

    Args:
        env: the environments; the wrapper makes them keep their terminal observations.
        obs_groups: observation groups that the agent sees, concatenated in this order.
        clip_actions: bound of the action space, which the algorithms clip to; None for ``ACTION_LIMIT``. Algorithms
            that scale their actions to the bounds (SAC, TD3) need it.

    Raises:
        ConfigError: the task lacks a group, or does not concatenate it to one vector.
    """

    observation_space: spaces.Box
    action_space: spaces.Box

    def __init__(self, env: RLEnv, obs_groups: Sequence[str] = ("policy",), clip_actions: float | None = None) -> None:
        self.env = env
        self.obs_groups = list(obs_groups)
        dims = env.observation_dims
        for name in self.obs_groups:
            if name not in dims:
                raise ConfigError(f"the task has no observation vector {name!r}: {did_you_mean(name, dims)}")
        width = sum(dims[name] for name in self.obs_groups)
        env.keep_terminal_observations = True
        self._action = torch.zeros(env.num_envs, env.num_actions, device=env.device)
        self._returns = np.zeros(env.num_envs)
        self._lengths = np.zeros(env.num_envs, dtype=np.int64)
        self._empty_infos: list[dict[str, Any]] = [{} for _ in range(env.num_envs)]  # to make them takes long
        self._began = time.perf_counter()
        super().__init__(env.num_envs, observation_space(width), action_space(env.num_actions, clip_actions))

    def reset(self) -> np.ndarray:
        """Reset all environments and return observations ``(num_envs, width)``; a seed given before counts once."""
        obs, _ = self.env.reset(seed=self._seeds[0])
        self._reset_seeds()
        self._reset_options()
        self._returns[:] = 0.0
        self._lengths[:] = 0
        return self._to_host(self._select(obs).clone()).numpy()

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions ``(num_envs, num_actions)`` of the next step."""
        self._action = torch.as_tensor(actions, dtype=torch.float32, device=self.env.device).view_as(self._action)

    def step_wait(self) -> Step:
        """Step, and return observations, rewards and dones ``(num_envs, …)``, and the infos."""
        env, n = self.env, self.num_envs
        obs, reward, terminated, time_outs, extras = env.step_in_place(self._action)
        before = self._select(extras["terminal_observation"])
        parts = (self._select(obs), before, reward, terminated, time_outs, env.succeeded)
        host = self._to_host(torch.cat([part.flatten() for part in parts])).numpy()
        size = before.numel()
        rewards = host[2 * size : 2 * size + n]
        ended, timed_out, succeeded = host[2 * size + n :].reshape(3, n).astype(bool)
        dones = ended | timed_out
        self._returns += rewards
        self._lengths += 1
        if any(self._empty_infos):  # somebody has written into one
            self._empty_infos = [{} for _ in range(n)]
        infos = list(self._empty_infos)
        if dones.any():
            last = host[size : 2 * size].reshape(n, -1)
            now = round(time.perf_counter() - self._began, 6)
            for i in dones.nonzero()[0].tolist():
                infos[i] = {
                    "terminal_observation": last[i],
                    "TimeLimit.truncated": bool(timed_out[i] and not ended[i]),
                    "episode": {"r": float(self._returns[i]), "l": int(self._lengths[i]), "t": now},
                }
                if env.has_success:
                    infos[i]["is_success"] = bool(succeeded[i])
            self._returns[dones] = 0.0
            self._lengths[dones] = 0
        return host[:size].reshape(n, -1), rewards, dones, infos

    def close(self) -> None:
        """Free the environments."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Return an attribute for each index: its row if it is a tensor over the environments, else the whole."""
        value = getattr(self.env, attr_name)
        if self._has_rows(value):
            return [value[i].clone() for i in self._get_indices(indices)]
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute; of a tensor over the environments, the rows of the indices.

        Raises:
            ValueError: ``indices`` with an attribute that all environments share.
        """
        present = getattr(self.env, attr_name, None)
        if isinstance(present, Tensor) and self._has_rows(present):
            present[list(self._get_indices(indices))] = torch.as_tensor(value, dtype=present.dtype).to(present.device)
        elif indices is None:
            setattr(self.env, attr_name, value)
        else:
            raise ValueError(f"all environments share {attr_name!r}: it cannot be set for some of them")

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the whole batch once, and return its result for each index."""
        result = getattr(self.env, method_name)(*method_args, **method_kwargs)
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: Indices = None
    ) -> list[bool]:
        """Return whether a wrapper does its work here: only ``Monitor``, whose ``episode`` infos there are."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return a picture of the environment that the task's viewer looks at."""
        return [self.env.render()]

    def _select(self, obs: Observations) -> Tensor:
        """Return the agent's observations, ``(num_envs, width)``."""
        if len(self.obs_groups) == 1:
            return obs[self.obs_groups[0]]
        return torch.cat([obs[name] for name in self.obs_groups], dim=1)

    @staticmethod
    def _to_host(values: Tensor) -> Tensor:
        """Return a new tensor's values on the host, in page-locked memory if they come from a GPU."""
        if values.device.type != "cuda":
            return values.cpu()
        copy = values.to("cpu", non_blocking=True)
        torch.cuda.current_stream(values.device).synchronize()
        return copy

    def _has_rows(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.dim() > 0 and len(value) == self.num_envs


def observation_space(width: int) -> spaces.Box:
    """Return the space of an observation vector."""
    return spaces.Box(-np.inf, np.inf, (width,), np.float32)


def action_space(num_actions: int, clip_actions: float | None) -> spaces.Box:
    """Return the bounded space of an action."""
    limit = ACTION_LIMIT if clip_actions is None else clip_actions
    return spaces.Box(-limit, limit, (num_actions,), np.float32)
