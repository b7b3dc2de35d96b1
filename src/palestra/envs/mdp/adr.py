"""Automatic domain randomization: ranges that grow and shrink by how the policy does at their ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palestra.config.configclass import MISSING, configclass
from palestra.envs.mdp.performance import Metric, ended, metric_of
from palestra.errors import ConfigError
from palestra.managers import CurriculumTermCfg, ManagerTermBase
from palestra.managers.manager_base import with_defaults
from palestra.utils.distributions import check_range

if TYPE_CHECKING:
    from palestra.envs.manager_based import ManagerBasedRLEnv

__all__ = ["AdrParameterCfg", "automatic_domain_randomization"]


@configclass
class AdrParameterCfg:
    """One range of an event term, and how far it may go."""

    event_name: str = MISSING
    """Event term, of mode ``reset`` or ``interval``."""

    parameter: str = MISSING
    """Its range, e.g. ``"mass_distribution_params"`` or ``"velocity_range.x"``."""

    initial_range: tuple[float, float] = MISSING
    """Range at the start."""

    limits: tuple[float, float] = MISSING
    """Range that is never exceeded; it contains the initial one."""

    step: float | tuple[float, float] = MISSING
    """How far an end moves at a time, one number or one for the lower and one for the upper end."""


class automatic_domain_randomization(ManagerTermBase):  # noqa: N801 - a term, named like the functions
    """Move each end of each range by the performance of episodes that were run exactly there.

    A share of the environments are boundary workers: for one episode one parameter, drawn at random, is held at one of
    its ends, while the others are drawn from their ranges as everywhere. Once ``queue_length`` such episodes of an end
    are there, their mean performance decides: from the upper threshold on the end moves outwards, below the lower one
    it moves inwards, and the queue starts anew. Akkaya et al., "Solving Rubik's Cube with a Robot Hand" (2019), section
    5.2; vectorized as in Handa et al., "DeXtreme" (2023), section on vectorized ADR.

    Attributes:
        ranges: lower and upper end of each parameter, ``(num_parameters, 2)``.
        boundary: what an environment holds: ``2 k`` and ``2 k + 1`` are the ends of parameter ``k``, −1 is nothing.
    """

    cfg: CurriculumTermCfg

    def __init__(self, cfg: CurriculumTermCfg, env: ManagerBasedRLEnv) -> None:
        super().__init__(cfg, env)
        params = with_defaults(type(self), cfg.params)
        parameters: dict[str, AdrParameterCfg] = params["parameters"]
        if not parameters:
            raise ConfigError("parameters is empty; name at least one range of an event term")
        self._names = list(parameters)
        self._metric = metric_of(env, params["metric"])
        low, high = params["thresholds"]
        if not low < high:
            raise ConfigError(f"thresholds is {(low, high)}; it must be (lower, upper), lower < upper")
        if not 0.0 < params["boundary_fraction"] <= 1.0:
            raise ConfigError(f"boundary_fraction is {params['boundary_fraction']}; it must lie in (0, 1]")
        if not isinstance(params["queue_length"], int) or params["queue_length"] < 1:
            raise ConfigError(f"queue_length is {params['queue_length']!r}; it must be a whole number of 1 or more")
        self._live = [self._adjustable(env, name, each) for name, each in parameters.items()]
        tables = [[*p.initial_range, *p.limits, *_pair(p.step)] for p in parameters.values()]
        table = torch.tensor([[float(x) for x in row] for row in tables], device=env.device)
        self.ranges = table[:, 0:2].clone()
        # The lower end lies between its limit and where it began, the upper one likewise: a range is never empty.
        self._least = torch.stack((table[:, 2], table[:, 1]), dim=-1)
        self._most = torch.stack((table[:, 0], table[:, 3]), dim=-1)
        self._step = torch.stack((-table[:, 4], table[:, 5]), dim=-1)
        count = 2 * len(self._names)
        self._ends = torch.arange(count, device=env.device)
        self._sums, self._counts = (torch.zeros(count, device=env.device) for _ in range(2))
        self.boundary = torch.full((env.num_envs,), -1, dtype=torch.int64, device=env.device)
        self._apply()

    def __call__(
        self,
        env: ManagerBasedRLEnv,
        env_mask: Tensor,
        parameters: dict[str, AdrParameterCfg],
        thresholds: tuple[float, float],
        metric: Metric = "success",
        boundary_fraction: float = 0.4,
        queue_length: int = 64,
    ) -> dict[str, Tensor]:
        """Judge the episodes that end, move ends, and choose who works at which end next.

        Args:
            env: the environment.
            env_mask: environments that are reset, bool ``(num_envs,)``.
            parameters: ranges, by a name for the curves.
            thresholds: performance below which an end moves inwards, and from which it moves outwards.
            metric: what episodes are judged by (:data:`palestra.envs.mdp.performance.Metric`).
            boundary_fraction: share of the episodes that are run at an end.
            queue_length: episodes at an end before it moves.

        Returns:
            ``<name>_low`` and ``<name>_high`` of each parameter, and ``width``: the mean share of the limits that the
            ranges cover; 0-dim.
        """
        worked = (self.boundary.unsqueeze(-1) == self._ends) & ended(env, env_mask).unsqueeze(-1)
        performance = torch.nan_to_num(self._metric()).unsqueeze(-1)
        self._sums += torch.where(worked, performance, 0.0).sum(dim=0)
        self._counts += worked.sum(dim=0)
        full = self._counts >= queue_length
        mean = self._sums / self._counts.clamp_min(1.0)
        outwards = (full & (mean >= thresholds[1])).to(torch.float32)
        inwards = (full & (mean < thresholds[0])).to(torch.float32)
        self.ranges += (outwards - inwards).view(-1, 2) * self._step
        torch.clamp(self.ranges, self._least, self._most, out=self.ranges)
        self._sums.masked_fill_(full, 0.0)
        self._counts.masked_fill_(full, 0.0)
        works = env.rng.uniform(0.0, 1.0) < boundary_fraction
        chosen = torch.where(works, env.rng.integers(0, 2 * len(self._names) - 1), -1)
        torch.where(env_mask, chosen, self.boundary, out=self.boundary)
        self._apply()
        return self._log()

    def state_dict(self) -> dict[str, Any]:
        """Return ranges and queues."""
        return {
            "names": list(self._names),
            "ranges": self.ranges.tolist(),
            "sums": self._sums.tolist(),
            "counts": self._counts.tolist(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with the ranges of :meth:`state_dict`; parameters that it does not have stay."""
        for row, name in enumerate(state["names"]):
            if name in self._names:
                k = self._names.index(name)
                self.ranges[k] = torch.tensor(state["ranges"][row])
                self._sums[2 * k : 2 * k + 2] = torch.tensor(state["sums"][2 * row : 2 * row + 2])
                self._counts[2 * k : 2 * k + 2] = torch.tensor(state["counts"][2 * row : 2 * row + 2])
        self._apply()

    def _apply(self) -> None:
        """Write each environment's ranges: both ends the same where it is held at one."""
        for k, live in enumerate(self._live):
            low, high = self.ranges[k, 0], self.ranges[k, 1]
            torch.where(self.boundary == 2 * k + 1, high, low, out=live[:, 0])
            torch.where(self.boundary == 2 * k, low, high, out=live[:, 1])

    def _log(self) -> dict[str, Tensor]:
        covered = (self.ranges[:, 1] - self.ranges[:, 0]) / (self._most[:, 1] - self._least[:, 0])
        log = {"width": covered.mean()}
        for k, name in enumerate(self._names):
            log[f"{name}_low"], log[f"{name}_high"] = self.ranges[k, 0], self.ranges[k, 1]
        return log

    def _adjustable(self, env: ManagerBasedRLEnv, name: str, parameter: AdrParameterCfg) -> Tensor:
        """Return the event's live ranges, ``(num_envs, 2)``, after checks."""
        where = f"parameters[{name!r}]"
        for what in ("initial_range", "limits"):
            check_range(f"{where}.{what}", getattr(parameter, what))
        (low, high), (least, most) = parameter.initial_range, parameter.limits
        if not (least <= low <= high <= most and least < most):
            raise ConfigError(f"{where}: limits {(least, most)} must contain initial_range {(low, high)}")
        if any(step <= 0.0 for step in _pair(parameter.step)):
            raise ConfigError(f"{where}.step is {parameter.step}; it must be positive")
        cfg = env.event_manager.get_term_cfg(parameter.event_name)
        if cfg.mode not in ("reset", "interval") or cfg.min_step_count_between_reset:
            raise ConfigError(
                f"{where}: event {parameter.event_name!r} must have mode 'reset' or 'interval' and no "
                "min_step_count_between_reset, so that each episode has draws of its own"
            )
        if cfg.params.get("distribution") == "gaussian":
            raise ConfigError(f"{where}: event {parameter.event_name!r} is gaussian and has no ends to move")
        return env.event_manager.adjustable_range(parameter.event_name, parameter.parameter, per_env=True)


def _pair(step: float | Sequence[float]) -> tuple[float, float]:
    if isinstance(step, int | float):
        return float(step), float(step)
    return float(step[0]), float(step[1])
