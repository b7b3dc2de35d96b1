"""Sum weighted reward terms and keep the sums of each episode."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from palestra.errors import ConfigError
from palestra.managers.manager_base import BoundTerm, ManagerBase
from palestra.managers.term_cfg import RewardTermCfg


class RewardManager(ManagerBase):
    """All reward terms of an environment.

    Weights are a device tensor, so that a curriculum may change them inside a captured step.
    """

    kind = "reward"

    def __init__(self, cfg: object, env: Any) -> None:
        super().__init__(cfg, env)
        self._terms = {
            name: BoundTerm("reward", name, term_cfg, env, masked=False)
            for name, term_cfg in self._term_cfgs(RewardTermCfg)
        }
        for term in self._terms.values():
            self._check_group(term)
        count = len(self._terms)
        self._names = list(self._terms)
        weights = [float(term.cfg.weight) for term in self._terms.values()]  # type: ignore[attr-defined]
        self.weights = torch.tensor(weights, device=self.device)
        """Weight of each term, ``(num_terms,)``; written in place."""
        self.step_values = torch.zeros(count, self.num_envs, device=self.device)
        """Unweighted values of the last step, ``(num_terms, num_envs)``."""
        self.episode_sums = torch.zeros(count, self.num_envs, device=self.device)
        """Weighted sums over the present episode, ``(num_terms, num_envs)``."""
        self.reward = torch.zeros(self.num_envs, device=self.device)
        self._log = env.log.add_episode_group([f"Episode_Reward/{name}" for name in self._names])
        self._step_log = env.log.add_group([f"Step_Value/{name}" for name in self._names])
        self._count = torch.full((), float(self.num_envs), device=self.device)

    @property
    def active_terms(self) -> list[str]:
        return list(self._names)

    @property
    def groups(self) -> dict[str, str]:
        """Group of each term that has one."""
        groups = {name: term.cfg.group for name, term in self._terms.items()}  # type: ignore[attr-defined]
        return {name: group for name, group in groups.items() if group}

    def compute(self, dt: float, valid: Tensor) -> Tensor:
        """Return Σ weight × value × ``dt``, ``(num_envs,)``; zero where ``valid`` is false (diverged)."""
        if not self._names:
            return self.reward
        values = []
        for name, term in self._terms.items():
            value = term()
            if value.shape != self.reward.shape:
                raise ConfigError(f"reward term {name!r} returned {tuple(value.shape)}; it must be ({self.num_envs},)")
            if self._env.check_terms:
                self._env.check_finite(value, f"reward term {name!r}")
            values.append(value.to(torch.float32))
        torch.stack(values, out=self.step_values)
        self.step_values.masked_fill_(~valid, 0.0)
        self._env.log.add(self._step_log, self.step_values.sum(dim=1), self._count)
        weighted = self.step_values * (self.weights * dt).unsqueeze(-1)
        self.episode_sums += weighted
        torch.sum(weighted, dim=0, out=self.reward)
        return self.reward

    def reset(self, env_mask: Tensor) -> None:
        """Log the sums of the masked environments, per second of the longest episode, and clear them."""
        if not self._names:
            return
        rows = self._env.log.episode_rows(self._log)
        torch.div(self.episode_sums, self._env.max_episode_length_s, out=rows)
        self.episode_sums.masked_fill_(env_mask.unsqueeze(0), 0.0)
        for term in self._terms.values():
            term.reset(env_mask)

    def get_term_cfg(self, name: str) -> RewardTermCfg:
        """Return the configuration of a term."""
        if name not in self._terms:
            raise self._unknown(name)
        return self._terms[name].cfg  # type: ignore[return-value]

    def set_term_cfg(self, name: str, cfg: RewardTermCfg) -> None:
        """Change weight and parameters of a term."""
        if name not in self._terms:
            raise self._unknown(name)
        self._terms[name].rebind(cfg)
        self._check_group(self._terms[name])
        self.set_weight(name, cfg.weight)

    def get_episode_sum(self, name: str) -> Tensor:
        """Return a view of a term's weighted sum over each present episode, ``(num_envs,)``."""
        if name not in self._terms:
            raise self._unknown(name)
        return self.episode_sums[self._names.index(name)]

    def get_weight(self, name: str) -> Tensor:
        """Return a view of a term's weight (0-dim)."""
        if name not in self._terms:
            raise self._unknown(name)
        return self.weights[self._names.index(name)]

    def set_weight(self, name: str, weight: float | Tensor) -> None:
        """Write a term's weight in place."""
        view = self.get_weight(name)
        if isinstance(weight, Tensor):
            view.copy_(weight)
        else:
            view.fill_(weight)

    @staticmethod
    def _check_group(term: BoundTerm) -> None:
        group = term.cfg.group  # type: ignore[attr-defined]
        if not isinstance(group, str):
            raise ConfigError(f"{term.label}: group is {group!r}; it must be a name, or '' for none")
