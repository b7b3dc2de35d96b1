"""How well a task goes, as a number on the device that curricula compare: means over the episodes that ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from palestra.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from palestra.envs.manager_based import ManagerBasedRLEnv

Metric = str | Callable[["ManagerBasedRLEnv"], Tensor]
"""What an episode is judged by: ``"success"``, ``"return"``, ``"length"``, ``"reward/<term>"``,
``"metrics/<command>/<metric>"``, or a function of the environment that returns ``(num_envs,)``."""


def metric_of(env: ManagerBasedRLEnv, metric: Metric) -> Callable[[], Tensor]:
    """Return a function that reads a metric of the episodes that are about to be reset, ``(num_envs,)``.

    - ``"success"``: 1 where the episode ended with success, else 0.
    - ``"return"``: sum of the rewards.
    - ``"length"``: share of the longest possible episode, in [0, 1].
    - ``"reward/<term>"``: mean of the term's unweighted value over the episode; 0 while its weight is 0.
    - ``"metrics/<command>/<metric>"``: what the command term has measured.

    Raises:
        ConfigError: there is no such metric.
    """
    if not isinstance(metric, str):
        return lambda: metric(env).to(torch.float32)
    kind, _, name = metric.partition("/")
    if kind == "reward":
        weight = env.reward_manager.get_weight(name)  # a view: it follows a curriculum
        sums = env.reward_manager.episode_sums[env.reward_manager.active_terms.index(name)]

        def mean_value() -> Tensor:
            seconds = env.episode_length_buf.clamp_min(1) * env.step_dt
            return torch.where(weight == 0.0, 0.0, sums / (weight * seconds))

        return mean_value
    if kind == "metrics":
        command, _, key = name.partition("/")
        metrics = env.command_manager.get_term(command).metrics
        if key not in metrics:
            raise ConfigError(f"metric {metric!r}: command {command!r} has no {key!r}; {did_you_mean(key, metrics)}")
        return lambda: metrics[key]
    if metric == "success" and not env.has_success:
        raise ConfigError("metric 'success': no termination term has success=True")
    plain: dict[str, Callable[[], Tensor]] = {
        "success": lambda: env.succeeded.to(torch.float32),
        "return": lambda: env.episode_return_buf,
        "length": lambda: env.episode_length_buf / env.episode_length_limit,
    }
    if metric not in plain:
        known = [*plain, "reward/<term>", "metrics/<command>/<metric>"]
        raise ConfigError(f"no metric {metric!r}; {did_you_mean(metric, known)}")
    return plain[metric]


def ended(env: ManagerBasedRLEnv, env_mask: Tensor) -> Tensor:
    """Which of the masked environments have finished an episode; one that a user cut off says nothing."""
    return env_mask & (env.reset_terminated | env.reset_time_outs) & (env.episode_length_buf > 0)


class EpisodeMean:
    """Mean over about the last ``window`` episodes; a plain mean until there were so many.

    Attributes:
        mean: the mean, 0-dim.
        episodes: number of episodes since the last restart, 0-dim.
    """

    def __init__(self, window: int, device: torch.device) -> None:
        if not isinstance(window, int) or window < 1:
            raise ConfigError(f"window is {window!r}; it must be a whole number of episodes, 1 or more")
        self._window = window
        self.mean = torch.zeros((), device=device)
        self.episodes = torch.zeros((), device=device)

    @property
    def is_full(self) -> Tensor:
        """Whether ``window`` episodes were seen, bool 0-dim."""
        return self.episodes >= self._window

    def update(self, values: Tensor, env_mask: Tensor) -> None:
        """Add the values ``(num_envs,)`` of the masked environments."""
        count = env_mask.sum().to(torch.float32)
        total = torch.where(env_mask, torch.nan_to_num(values), 0.0).sum()
        self.episodes += count
        # The share of the new episodes: of a plain mean at first, later that of an exponential one.
        share = torch.maximum(1.0 - (1.0 - 1.0 / self._window) ** count, count / self.episodes.clamp_min(1.0))
        self.mean.lerp_(total / count.clamp_min(1.0), share.clamp_max(1.0))

    def restart(self, flag: Tensor) -> None:
        """Forget the episodes where the flag (bool 0-dim) is set."""
        self.episodes.masked_fill_(flag, 0.0)

    def state(self) -> dict[str, Tensor]:
        """Tensors that a checkpoint keeps."""
        return {"mean": self.mean, "episodes": self.episodes}
