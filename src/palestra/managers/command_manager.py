"""Commands to the policy: resampled from time to time, observed by terms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palestra.errors import ConfigError
from palestra.managers.manager_base import ManagerBase, ManagerTermBase
from palestra.managers.term_cfg import CommandTermCfg

if TYPE_CHECKING:
    from palestra.envs.mdp.sensing import Computation


class CommandTerm(ManagerTermBase, ABC):
    """Generates one command.

    Attributes:
        time_left: time until the next command (s), ``(num_envs,)``.
        metrics: quantities logged at the end of an episode, each ``(num_envs,)``.
    """

    def __init__(self, cfg: CommandTermCfg, env: Any) -> None:
        super().__init__(cfg, env)
        low, high = cfg.resampling_time_range
        if not 0.0 < low <= high:
            raise ConfigError(f"resampling_time_range is {(low, high)}; it must be (low, high), 0 < low <= high")
        self.time_left = torch.zeros(env.num_envs, device=env.device)
        self.metrics: dict[str, Tensor] = {}

    @property
    @abstractmethod
    def command(self) -> Tensor:
        """The command, ``(num_envs, width)``."""

    @abstractmethod
    def _resample_command(self, env_mask: Tensor) -> None:
        """Draw new commands for the masked environments."""

    @abstractmethod
    def _update_command(self) -> None:
        """Follow the state, e.g. turn a heading into a yaw rate."""

    @abstractmethod
    def _update_metrics(self) -> None:
        """Accumulate metrics."""

    def reset(self, env_mask: Tensor) -> None:
        """Clear metrics and draw new commands for the masked environments."""
        for value in self.metrics.values():
            value.masked_fill_(env_mask, 0.0)
        self._resample(env_mask)

    def compute(self, dt: float) -> None:
        """Advance by a control step of ``dt`` seconds."""
        self._update_metrics()
        self.time_left -= dt
        self._resample(self.time_left <= 1e-6)
        self._update_command()

    def _resample(self, env_mask: Tensor) -> None:
        drawn = self._env.rng.uniform(*self.cfg.resampling_time_range, ())
        torch.where(env_mask, drawn, self.time_left, out=self.time_left)
        self._resample_command(env_mask)

    def from_sensors(self, command_name: str) -> Computation | None:
        """Return how a robot computes the command from what its operator gives; None if that is the command itself."""
        return None

    def state(self) -> dict[str, Tensor]:
        """Tensors that a checkpoint keeps."""
        return {"time_left": self.time_left, **{f"metrics/{k}": v for k, v in self.metrics.items()}}

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Command terms are not called."""
        raise TypeError("a command term is driven by compute and read through command")


class CommandManager(ManagerBase):
    """All command terms of an environment."""

    kind = "command"

    def __init__(self, cfg: object, env: Any) -> None:
        super().__init__(cfg, env)
        self._terms: dict[str, CommandTerm] = {}
        for name, term_cfg in self._term_cfgs(CommandTermCfg):
            self._terms[name] = term_cfg.class_type(term_cfg, env)
        self._logs = {
            name: env.log.add_episode_group([f"Metrics/{name}/{metric}" for metric in term.metrics])
            for name, term in self._terms.items()
            if term.metrics
        }

    @property
    def active_terms(self) -> list[str]:
        return list(self._terms)

    def get_term(self, name: str) -> CommandTerm:
        """Return a term by name."""
        if name not in self._terms:
            raise self._unknown(name)
        return self._terms[name]

    def get_command(self, name: str) -> Tensor:
        """Return the command of a term, ``(num_envs, width)``."""
        return self.get_term(name).command

    def compute(self, dt: float) -> None:
        """Advance all terms."""
        for term in self._terms.values():
            term.compute(dt)

    def reset(self, env_mask: Tensor) -> None:
        """Log the metrics of the masked environments and give them new commands."""
        for name, log in self._logs.items():
            torch.stack(tuple(self._terms[name].metrics.values()), out=self._env.log.episode_rows(log))
        for term in self._terms.values():
            term.reset(env_mask)
