"""An environment as gymnasium's vector interface: numpy arrays at the border, tensors inside."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.vector import VectorEnv as GymnasiumVectorEnv
from numpy.typing import NDArray
from torch import Tensor

from palestra.envs.base import RLEnv
from palestra.errors import ConfigError

Arrays = dict[str, Any]
"""Observation group to array ``(num_envs, width)``, or to a dictionary of arrays."""


class VectorEnv(GymnasiumVectorEnv):
    """The view that ``gymnasium.make_vec("Palestra/<task>")`` returns.

    An environment that ends is reset in the same step (``AutoresetMode.SAME_STEP``): the returned observation is
    that of the new episode. ``infos["final_obs"]`` then holds, as in gymnasium's own vector environments, an
    object array whose entry is the last observation of the old episode where ``infos["_final_obs"]`` is true.

    Args:
        env: the environment to view; closing the view closes it.
    """

    def __init__(self, env: RLEnv) -> None:
        self.env = env
        self.num_envs = env.num_envs
        self.metadata = {
            "autoreset_mode": AutoresetMode.SAME_STEP,
            "render_modes": ["rgb_array"],
            "render_fps": round(1.0 / env.step_dt),
        }
        self.render_mode = env.render_mode
        self.single_observation_space = env.single_observation_space
        self.single_action_space = env.single_action_space
        self.observation_space = env.observation_space
        self.action_space = env.action_space

    @property
    def unwrapped(self) -> RLEnv:  # type: ignore[override]
        """The environment itself, with tensors."""
        return self.env

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Arrays, dict[str, Any]]:
        """Reset all environments.

        Args:
            seed: one seed for all environments; each draws its own numbers from it.
            options: none are known.

        Raises:
            ConfigError: ``seed`` is a list.
        """
        if seed is not None and not isinstance(seed, int):
            raise ConfigError(f"seed is {seed!r}; give one whole number, from which every environment draws its own")
        obs, _ = self.env.reset(seed=seed)
        return _arrays(obs), {}

    def step(
        self, actions: NDArray[np.floating]
    ) -> tuple[Arrays, NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Take one control step with ``actions`` ``(num_envs, num_actions)``; what is returned is the caller's."""
        tensor = torch.as_tensor(np.asarray(actions, dtype=np.float32)).to(self.env.device)
        obs, reward, terminated, truncated, extras = self.env.step_in_place(tensor)
        ended = _array(terminated | truncated)
        infos: dict[str, Any] = {}
        if ended.any():
            infos = {"final_obs": _final_observations(extras["terminal_observation"], ended), "_final_obs": ended}
        return _arrays(obs), _array(reward), _array(terminated), _array(truncated), infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return one picture, of the environment that the task's viewer settings choose."""
        frame = self.env.render()
        return None if frame is None else (frame,)

    def close_extras(self, **kwargs: Any) -> None:
        self.env.close()


def _final_observations(terminal: dict[str, Any], ended: NDArray[np.bool_]) -> NDArray[np.object_]:
    arrays = _arrays(terminal)
    final = np.full(len(ended), None, dtype=object)
    for i in np.flatnonzero(ended).tolist():
        final[i] = _row(arrays, i)
    return final


def _row(arrays: Arrays, index: int) -> Arrays:
    return {k: _row(v, index) if isinstance(v, dict) else v[index] for k, v in arrays.items()}


def _arrays(observations: dict[str, Any]) -> Arrays:
    return {k: _arrays(v) if isinstance(v, dict) else _array(v) for k, v in observations.items()}


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.numpy().copy() if tensor.device.type == "cpu" else tensor.cpu().numpy()
