"""What the learner needs of an environment: a protocol, so that ``rl`` knows no environment class."""

from typing import Any, Protocol

import torch
from torch import Tensor

Observations = dict[str, Tensor]
"""Observation group to its tensor ``(num_envs, width)``."""


class Environment(Protocol):
    """A batch of environments that step together and reset themselves.

    What ``step_in_place`` returns are buffers that the next step overwrites; the learner copies what it
    keeps.
    """

    num_envs: int
    num_actions: int
    device: torch.device
    step_dt: float
    """Duration of one environment step (s)."""
    max_episode_length: int
    """Longest episode, in steps."""
    episode_length_buf: Tensor
    """Age of each episode in steps, ``(num_envs,)`` int64; may be written in place."""
    observation_dims: dict[str, int]
    """Observation group to its width."""
    keep_terminal_observations: bool
    """Whether extras hold the observations before the reset; a learner that does not read them turns it off."""

    def reset(self, seed: int | None = None) -> tuple[Observations, dict[str, Any]]:
        """Start all episodes anew and return the observations."""
        ...

    def step_in_place(self, actions: Tensor) -> tuple[Observations, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Step all environments with ``actions`` ``(num_envs, num_actions)``.

        Returns:
            Observations (after the reset of what ended), rewards ``(num_envs,)``, ``terminated`` and
            ``time_outs`` ``(num_envs,)`` bool, and extras with ``"terminal_observation"``, the observations
            before the reset.
        """
        ...

    def fetch_log(self) -> dict[str, float]:
        """Return what was logged since the last call, averaged: episode returns, reward terms, metrics."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs: counters, random streams, curricula."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore ``state_dict()``; if that holds the physical state, rewrite the observation buffers in place."""
        ...

    def check_health(self) -> list[str]:
        """Return warnings collected since the last call, one line each."""
        ...

    def close(self) -> None:
        """Release what the environment holds."""
        ...
