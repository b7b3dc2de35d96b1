"""Curriculum terms that advance on performance: weights, ranges and lengths in stages.

All run on the device inside the step; their state is in the checkpoint and in the curves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palestra.envs.mdp.commands.uniform_ranges import UniformRanges
from palestra.envs.mdp.performance import EpisodeMean, Metric, ended, metric_of
from palestra.errors import ConfigError
from palestra.managers import CurriculumTermCfg, ManagerTermBase
from palestra.managers.manager_base import with_defaults
from palestra.utils.distributions import check_range

if TYPE_CHECKING:
    from palestra.envs.manager_based import ManagerBasedRLEnv

__all__ = [
    "bonus_above_threshold",
    "command_range_stages",
    "episode_length_stages",
    "event_range_stages",
    "reward_weight_stages",
]


class StagedTerm(ManagerTermBase):
    """A curriculum in stages: it goes on when a metric of finished episodes has reached the stage's threshold.

    Derived classes turn the stage into a setting. Everything is on the device, so that a captured step needs no new
    capture, and in the checkpoint.

    Attributes:
        stage: the present stage, int64 0-dim, from 0.
        performance: mean of the metric.
    """

    cfg: CurriculumTermCfg

    def __init__(self, cfg: CurriculumTermCfg, env: ManagerBasedRLEnv) -> None:
        super().__init__(cfg, env)
        params = with_defaults(type(self), cfg.params)
        self.num_stages = self._prepare(env, params)
        self._metric = metric_of(env, params["metric"])
        self._up = self._per_stage(params["thresholds"], "thresholds", self.num_stages - 1)
        lower = params.get("lower_thresholds")
        self._down = None if lower is None else self._per_stage(lower, "lower_thresholds", self.num_stages - 1)
        if self._down is not None and bool((self._down >= self._up).any()):
            raise ConfigError("lower_thresholds must lie below thresholds")
        self.stage = torch.zeros((), dtype=torch.int64, device=env.device)
        self.performance = EpisodeMean(params["window"], env.device)
        self._apply(env)

    def _prepare(self, env: ManagerBasedRLEnv, params: dict[str, Any]) -> int:
        """Look up what the term changes and return the number of stages."""
        raise NotImplementedError

    def _apply(self, env: ManagerBasedRLEnv) -> dict[str, Tensor]:
        """Bring the present stage about; return what is logged."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return stage and performance."""
        state = self.performance.state()
        return {"stage": int(self.stage), **{name: float(value) for name, value in state.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue at the stage where :meth:`state_dict` was taken."""
        self.stage.fill_(min(int(state["stage"]), self.num_stages - 1))
        for name, value in self.performance.state().items():
            value.fill_(float(state[name]))
        self._apply(self._env)

    def advance(self, env: ManagerBasedRLEnv, env_mask: Tensor) -> dict[str, Tensor]:
        """Judge the episodes that end, move by at most one stage, and apply it; return what is logged."""
        self.performance.update(self._metric(), ended(env, env_mask))
        full, mean = self.performance.is_full, self.performance.mean
        above = self.stage.clamp_max(self.num_stages - 2)
        up = full & (mean >= self._pick(self._up, above)) & (self.stage < self.num_stages - 1)
        moved = up
        self.stage += up
        if self._down is not None:
            below = (self.stage - 1).clamp_min(0)
            down = full & ~up & (mean < self._pick(self._down, below)) & (self.stage > 0)
            self.stage -= down.to(torch.int64)
            moved = up | down
        self.performance.restart(moved)
        return {"stage": self.stage, "performance": mean, **self._apply(env)}

    def at_stage(self, table: Tensor) -> Tensor:
        """Return the present stage's row of a table ``(num_stages, …)``."""
        return self._pick(table, self.stage)

    @staticmethod
    def _pick(table: Tensor, index: Tensor) -> Tensor:
        return table.index_select(0, index.view(1)).squeeze(0)  # indexing by a 0-dim tensor would read it

    def _per_stage(self, values: Any, what: str, count: int) -> Tensor:
        numbers = [float(values)] * count if isinstance(values, int | float) else values
        if not isinstance(numbers, list | tuple) or len(numbers) != count:
            raise ConfigError(f"{what} is {values!r}; it must be a number, or one for each of the {count} advances")
        return torch.tensor([float(x) for x in numbers], device=self.device)


class reward_weight_stages(StagedTerm):  # noqa: N801 - a term, named like the functions
    """Give a reward term another weight at each stage, e.g. style terms once the task itself is done."""

    def _prepare(self, env: ManagerBasedRLEnv, params: dict[str, Any]) -> int:
        weights = params["weights"]
        if not isinstance(weights, list | tuple) or len(weights) < 2:
            raise ConfigError(f"weights is {weights!r}; it must be two weights or more")
        self._weight = env.reward_manager.get_weight(params["term_name"])
        self._weights = torch.tensor([float(w) for w in weights], device=env.device)
        return len(weights)

    def _apply(self, env: ManagerBasedRLEnv) -> dict[str, Tensor]:
        self._weight.copy_(self.at_stage(self._weights))
        return {"weight": self._weight}

    def __call__(
        self,
        env: ManagerBasedRLEnv,
        env_mask: Tensor,
        term_name: str,
        weights: Sequence[float],
        thresholds: float | Sequence[float],
        metric: Metric = "success",
        window: int = 200,
        lower_thresholds: float | Sequence[float] | None = None,
    ) -> dict[str, Tensor]:
        """Advance.

        Args:
            env: the environment.
            env_mask: environments that are reset, bool ``(num_envs,)``.
            term_name: the reward term.
            weights: its weight at each stage.
            thresholds: performance from which the next stage begins, one or one for each advance.
            metric: what episodes are judged by (:data:`palestra.envs.mdp.performance.Metric`).
            window: number of episodes that performance is the mean of, and of the least between two advances.
            lower_thresholds: performance below which the stage before returns; ``None`` never goes back.

        Returns:
            ``stage``, ``performance`` and ``weight``, 0-dim.
        """
        return self.advance(env, env_mask)


class bonus_above_threshold(StagedTerm):  # noqa: N801
    """Keep a reward term off until performance has reached a threshold; from then on it has its weight."""

    def _prepare(self, env: ManagerBasedRLEnv, params: dict[str, Any]) -> int:
        self._weight = env.reward_manager.get_weight(params["term_name"])
        weight = params["weight"]
        self._weights = torch.stack((torch.zeros_like(self._weight), self._weight.clone()))
        if weight is not None:
            self._weights[1] = float(weight)
        return 2

    def _apply(self, env: ManagerBasedRLEnv) -> dict[str, Tensor]:
        self._weight.copy_(self.at_stage(self._weights))
        return {"weight": self._weight}

    def __call__(
        self,
        env: ManagerBasedRLEnv,
        env_mask: Tensor,
        term_name: str,
        thresholds: float,
        weight: float | None = None,
        metric: Metric = "success",
        window: int = 200,
    ) -> dict[str, Tensor]:
        """Advance.

        Args:
            env: the environment.
            env_mask: environments that are reset, bool ``(num_envs,)``.
            term_name: the reward term.
            thresholds: performance from which it counts.
            weight: its weight then; ``None`` takes the configured one.
            metric: what episodes are judged by.
            window: number of episodes that performance is the mean of.

        Returns:
            ``stage``, ``performance`` and ``weight``, 0-dim.
        """
        return self.advance(env, env_mask)


class episode_length_stages(StagedTerm):  # noqa: N801
    """Let episodes last longer at each stage, up to the configured ``episode_length_s``."""

    def _prepare(self, env: ManagerBasedRLEnv, params: dict[str, Any]) -> int:
        lengths = params["lengths_s"]
        longest = env.max_episode_length_s
        if not isinstance(lengths, list | tuple) or len(lengths) < 2:
            raise ConfigError(f"lengths_s is {lengths!r}; it must be two lengths or more (s)")
        if not all(0.0 < float(s) <= longest + 1e-9 for s in lengths):
            raise ConfigError(f"lengths_s is {lengths}; each must be above 0 and at most episode_length_s, {longest}")
        steps = [max(math.ceil(float(s) / env.step_dt - 1e-9), 1) for s in lengths]
        self._steps = torch.tensor(steps, dtype=torch.int64, device=env.device)
        return len(steps)

    def _apply(self, env: ManagerBasedRLEnv) -> dict[str, Tensor]:
        env.episode_length_limit.copy_(self.at_stage(self._steps))
        return {"length_s": env.episode_length_limit * env.step_dt}

    def __call__(
        self,
        env: ManagerBasedRLEnv,
        env_mask: Tensor,
        lengths_s: Sequence[float],
        thresholds: float | Sequence[float],
        metric: Metric = "length",
        window: int = 200,
        lower_thresholds: float | Sequence[float] | None = None,
    ) -> dict[str, Tensor]:
        """Advance.

        Args:
            env: the environment.
            env_mask: environments that are reset, bool ``(num_envs,)``.
            lengths_s: longest episode at each stage (s).
            thresholds: performance from which the next stage begins, one or one for each advance.
            metric: what episodes are judged by.
            window: number of episodes that performance is the mean of.
            lower_thresholds: performance below which the stage before returns; ``None`` never goes back.

        Returns:
            ``stage``, ``performance`` and ``length_s``, 0-dim.
        """
        return self.advance(env, env_mask)


class _RangeTerm(StagedTerm):
    """Widens a range in equal steps from a first to a last one."""

    def _range(self, env: ManagerBasedRLEnv, params: dict[str, Any]) -> Tensor:
        """Return the live range, ``(2,)``."""
        raise NotImplementedError

    def _prepare(self, env: ManagerBasedRLEnv, params: dict[str, Any]) -> int:
        self._live = self._range(env, params)
        check_range("initial_range", params["initial_range"])
        final = params["final_range"]
        if final is not None:
            check_range("final_range", final)
        stages = params["num_stages"]
        if not isinstance(stages, int) or stages < 2:
            raise ConfigError(f"num_stages is {stages!r}; it must be a whole number of 2 or more")
        first = torch.tensor([float(x) for x in params["initial_range"]], device=env.device)
        last = self._live.clone() if final is None else torch.tensor([float(x) for x in final], device=env.device)
        share = torch.linspace(0.0, 1.0, stages, device=env.device).unsqueeze(-1)
        self._ranges = torch.lerp(first, last, share)
        return stages

    def _apply(self, env: ManagerBasedRLEnv) -> dict[str, Tensor]:
        self._live.copy_(self.at_stage(self._ranges))
        return {"low": self._live[0], "high": self._live[1]}


class event_range_stages(_RangeTerm):  # noqa: N801
    """Widen a range of an event term step by step while performance stays up."""

    def _range(self, env: ManagerBasedRLEnv, params: dict[str, Any]) -> Tensor:
        return env.event_manager.adjustable_range(params["event_name"], params["parameter"])

    def __call__(
        self,
        env: ManagerBasedRLEnv,
        env_mask: Tensor,
        event_name: str,
        parameter: str,
        initial_range: tuple[float, float],
        thresholds: float | Sequence[float],
        final_range: tuple[float, float] | None = None,
        num_stages: int = 5,
        metric: Metric = "success",
        window: int = 200,
        lower_thresholds: float | Sequence[float] | None = None,
    ) -> dict[str, Tensor]:
        """Advance.

        Args:
            env: the environment.
            env_mask: environments that are reset, bool ``(num_envs,)``.
            event_name: the event term, of mode ``reset`` or ``interval``.
            parameter: its range, e.g. ``"mass_distribution_params"`` or ``"velocity_range.x"``.
            initial_range: range at the first stage.
            thresholds: performance from which the next stage begins, one or one for each advance.
            final_range: range at the last stage; ``None`` takes the configured one.
            num_stages: number of stages, 2 or more.
            metric: what episodes are judged by.
            window: number of episodes that performance is the mean of.
            lower_thresholds: performance below which the stage before returns; ``None`` never goes back.

        Returns:
            ``stage``, ``performance``, ``low`` and ``high``, 0-dim.
        """
        return self.advance(env, env_mask)


class command_range_stages(_RangeTerm):  # noqa: N801
    """Widen a range of a command term step by step: faster walking, farther targets."""

    def _range(self, env: ManagerBasedRLEnv, params: dict[str, Any]) -> Tensor:
        name = params["command_name"]
        ranges = getattr(env.command_manager.get_term(name), "ranges", None)
        if not isinstance(ranges, UniformRanges):
            raise ConfigError(f"command {name!r} has no ranges that can change")
        return ranges[params["range_name"]]

    def __call__(
        self,
        env: ManagerBasedRLEnv,
        env_mask: Tensor,
        command_name: str,
        range_name: str,
        initial_range: tuple[float, float],
        thresholds: float | Sequence[float],
        final_range: tuple[float, float] | None = None,
        num_stages: int = 5,
        metric: Metric = "success",
        window: int = 200,
        lower_thresholds: float | Sequence[float] | None = None,
    ) -> dict[str, Tensor]:
        """Advance.

        Args:
            env: the environment.
            env_mask: environments that are reset, bool ``(num_envs,)``.
            command_name: the command term.
            range_name: its range, e.g. ``"lin_vel_x"``.
            initial_range: range at the first stage.
            thresholds: performance from which the next stage begins, one or one for each advance.
            final_range: range at the last stage; ``None`` takes the configured one.
            num_stages: number of stages, 2 or more.
            metric: what episodes are judged by.
            window: number of episodes that performance is the mean of.
            lower_thresholds: performance below which the stage before returns; ``None`` never goes back.

        Returns:
            ``stage``, ``performance``, ``low`` and ``high``, 0-dim.
        """
        return self.advance(env, env_mask)
