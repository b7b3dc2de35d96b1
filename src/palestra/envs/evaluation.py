"""Measure a policy over a fixed number of episodes, none of them favoured for being short."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from palestra.envs.base import RLEnv
from palestra.envs.memory import forget

Policy = Callable[[dict[str, Any]], Tensor]


@dataclass(frozen=True)
class Episodes:
    """The measured episodes one by one, on the host; the first axis of everything is the episode."""

    env: Tensor
    """Which environment it was in, int64.

    Environments draw random numbers by seed, number and step: the first episodes of two evaluations with the same seed
    start alike and are given the same commands.
    """

    ordinal: Tensor
    """How many episodes that environment had ended before, int64."""

    returns: Tensor
    succeeded: Tensor
    """Whether it ended with success, bool."""

    step_values: dict[str, Tensor]
    """Reward term to its mean over the steps of the episode, before weighting."""

    causes: dict[str, Tensor]
    """Cause to whether it ended the episode, bool."""


@dataclass(frozen=True)
class Evaluation:
    """What came out; means and standard deviations over episodes unless a field says otherwise."""

    episodes: int
    """Finished episodes that were measured."""

    unfinished: int
    """Episodes that were wanted but did not end within the task's longest episode."""

    success_rate: float | None
    """Share that ended with success; None if the task defines none."""

    return_mean: float
    return_std: float

    length_mean: float
    """Steps."""

    length_std: float

    length_seconds: float
    """Mean length (s)."""

    step_values: dict[str, float]
    """Reward term to its mean over steps before weighting: a term in [0, 1] is a share of its maximum."""

    metrics: dict[str, float]
    """``command/metric`` to its value at the end of an episode, such as a mean tracking error."""

    terminations: dict[str, float]
    """Cause to the share of the episodes that it ended; shares may overlap."""

    each: Episodes = field(repr=False, compare=False)
    """The episodes one by one."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, without the single episodes."""
        return {name: value for name, value in asdict(self).items() if name != "each"}


class _Recorder:
    """Sums over the episodes that count: each environment gives the same number of them, plus or minus one."""

    def __init__(self, env: RLEnv, num_episodes: int) -> None:
        self.env = env
        index = torch.arange(env.num_envs, device=env.device)
        self.quota = num_episodes // env.num_envs + (index < num_episodes % env.num_envs).long()
        self.done = torch.zeros_like(self.quota)
        self.returns: list[Tensor] = []
        self.lengths: list[Tensor] = []
        self.successes: list[Tensor] = []
        self.metrics: dict[str, list[Tensor]] = {}
        self.causes: dict[str, list[Tensor]] = {}
        self.present_return = torch.zeros(env.num_envs, device=env.device)
        self.present_length = torch.zeros_like(self.quota)
        self.steps = 0.0
        self.value_sums: Tensor | None = None
        self.places: list[Tensor] = []
        self.values: list[Tensor] = []
        self.present_values: Tensor | None = None

    @property
    def wanted(self) -> Tensor:
        """Which environments still owe an episode."""
        return self.done < self.quota

    def before_step(self) -> None:
        """Note command metrics, which a reset within the step would clear."""
        self.last_metrics = {name: value.clone() for name, value in _command_metrics(self.env).items()}

    def after_step(self, reward: Tensor, ended: Tensor) -> None:
        """Count the step, and the episodes that it ended."""
        counted = self.wanted
        self.steps += float(counted.sum())
        manager = getattr(self.env, "reward_manager", None)
        if manager is not None:
            values = manager.step_values @ counted.to(manager.step_values.dtype)
            self.value_sums = values if self.value_sums is None else self.value_sums + values
            if self.present_values is None:
                self.present_values = torch.zeros_like(manager.step_values)
            self.present_values += manager.step_values
        self.present_return += reward
        self.present_length += 1
        rows = (ended & counted).nonzero().flatten()
        if len(rows):
            self.returns.append(self.present_return[rows])
            self.lengths.append(self.present_length[rows])
            self.successes.append(self.env.succeeded[rows])
            self.places.append(torch.stack((rows, self.done[rows]), dim=-1))
            if self.present_values is not None:
                self.values.append((self.present_values[:, rows] / self.present_length[rows]).T)
            for name, value in self.last_metrics.items():
                self.metrics.setdefault(name, []).append(value[rows])
            for name, flags in _causes(self.env).items():
                self.causes.setdefault(name, []).append(flags[rows])
        self.done += ended & counted
        self.present_return.masked_fill_(ended, 0.0)
        self.present_length.masked_fill_(ended, 0)
        if self.present_values is not None:
            self.present_values.masked_fill_(ended, 0.0)

    def result(self, num_episodes: int) -> Evaluation:
        """Return means and standard deviations."""
        returns, lengths = _gather(self.returns), _gather(self.lengths)
        count = sum(len(part) for part in self.returns)
        names = self.env.reward_manager.active_terms if self.value_sums is not None else []  # type: ignore[attr-defined]
        sums = self.value_sums.tolist() if self.value_sums is not None else []
        return Evaluation(
            episodes=count,
            unfinished=num_episodes - count,
            success_rate=float(_gather(self.successes).mean()) if self.env.has_success and count else None,
            return_mean=float(returns.mean()),
            return_std=float(returns.std(correction=0)),
            length_mean=float(lengths.mean()),
            length_std=float(lengths.std(correction=0)),
            length_seconds=float(lengths.mean()) * self.env.step_dt,
            step_values={name: value / self.steps for name, value in zip(names, sums, strict=True)},
            metrics={name: float(_gather(parts).mean()) for name, parts in self.metrics.items()},
            terminations={name: float(_gather(flags).mean()) for name, flags in self.causes.items()},
            each=self._each(names),
        )

    def _each(self, names: list[str]) -> Episodes:
        places = torch.cat(self.places).cpu() if self.places else torch.zeros(0, 2, dtype=torch.int64)
        values = torch.cat(self.values).double().cpu() if self.values else torch.zeros(0, len(names))
        return Episodes(
            env=places[:, 0],
            ordinal=places[:, 1],
            returns=_gather(self.returns)[: len(places)],
            succeeded=_gather(self.successes)[: len(places)] > 0.0,
            step_values=dict(zip(names, values.T, strict=True)),
            causes={name: _gather(flags) > 0.0 for name, flags in self.causes.items()},
        )


def evaluate(env: RLEnv, policy: Policy, num_episodes: int, seed: int | None = None) -> Evaluation:
    """Let a policy act until ``num_episodes`` whole episodes have ended.

    Every environment contributes the same number of episodes, so that short ones are not counted more often.

    Args:
        env: the environment; it is reset.
        policy: observation groups to actions ``(num_envs, num_actions)``.
        num_episodes: episodes to measure, at least ``env.num_envs`` of them to use every environment.
        seed: seed of the episodes.
    """
    obs, _ = env.reset(seed=seed)
    forget(policy)
    recorder = _Recorder(env, num_episodes)
    longest = int(recorder.quota.max()) * (env.max_episode_length + 1)
    with torch.no_grad():
        for _ in range(longest):
            recorder.before_step()
            obs, reward, terminated, time_outs, _ = env.step_in_place(policy(obs))
            forget(policy, terminated | time_outs)
            recorder.after_step(reward, terminated | time_outs)
            if not bool(recorder.wanted.any()):
                break
    return recorder.result(num_episodes)


def _command_metrics(env: RLEnv) -> dict[str, Tensor]:
    manager: Any = getattr(env, "command_manager", None)
    if manager is None:
        return {}
    names = manager.active_terms
    return {f"{name}/{metric}": value for name in names for metric, value in manager.get_term(name).metrics.items()}


def _causes(env: RLEnv) -> dict[str, Tensor]:
    """Return which environments each cause ended in the last step."""
    manager = getattr(env, "termination_manager", None)
    if manager is not None:
        return {name: manager.get_term(name) for name in manager.active_terms}
    return {"terminated": env.reset_terminated, "time_out": env.reset_time_outs}


def _gather(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts).to(torch.float64).cpu() if parts else torch.full((1,), float("nan"), dtype=torch.float64)
