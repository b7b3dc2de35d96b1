"""Decide which episodes end, and why."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from palestra.errors import ConfigError
from palestra.managers.manager_base import BoundTerm, ManagerBase
from palestra.managers.term_cfg import TerminationTermCfg


class TerminationManager(ManagerBase):
    """All termination terms of an environment.

    Diverged environments (non-finite state) always terminate; they are counted under ``diverged``.
    """

    kind = "termination"

    def __init__(self, cfg: object, env: Any) -> None:
        super().__init__(cfg, env)
        self._terms = {
            name: BoundTerm("termination", name, term_cfg, env, masked=False)
            for name, term_cfg in self._term_cfgs(TerminationTermCfg)
        }
        self._names = [*self._terms, "diverged"]
        n, device = self.num_envs, self.device
        self._values = torch.zeros(len(self._names), n, dtype=torch.bool, device=device)
        flags = [(t.cfg.time_out, t.cfg.success) for t in self._terms.values()]  # type: ignore[attr-defined]
        self._time_out = torch.tensor([f[0] for f in flags] + [False], device=device)
        self._success = torch.tensor([f[1] for f in flags] + [False], device=device)
        self.has_success = any(f[1] for f in flags)
        self.terminated = torch.zeros(n, dtype=torch.bool, device=device)
        """Which environments failed or succeeded in the last step."""
        self.time_outs = torch.zeros(n, dtype=torch.bool, device=device)
        """Which environments reached a time limit in the last step and did not terminate."""
        self.dones = torch.zeros(n, dtype=torch.bool, device=device)
        """Which environments end."""
        self.succeeded = torch.zeros(n, dtype=torch.bool, device=device)
        """Which environments end with success."""
        self._log = env.log.add_episode_group([f"Episode_Termination/{name}" for name in self._names])

    @property
    def active_terms(self) -> list[str]:
        return list(self._names)

    def compute(self, finite: Tensor) -> Tensor:
        """Evaluate all terms; ``finite`` says which environments have a finite state. Returns ``dones``."""
        values = []
        for name, term in self._terms.items():
            value = term()
            if value.shape != self.dones.shape or value.dtype != torch.bool:
                raise ConfigError(
                    f"termination term {name!r} returned {tuple(value.shape)} {value.dtype}; "
                    f"it must be ({self.num_envs},) bool"
                )
            values.append(value)
        torch.stack((*values, ~finite), out=self._values)
        time_out = self._time_out.unsqueeze(-1)
        torch.any(self._values & ~time_out, dim=0, out=self.terminated)
        torch.any(self._values & time_out, dim=0, out=self.time_outs)
        self.time_outs &= ~self.terminated
        torch.logical_or(self.terminated, self.time_outs, out=self.dones)
        if self.has_success:
            torch.any(self._values & self._success.unsqueeze(-1), dim=0, out=self.succeeded)
        return self.dones

    def get_term(self, name: str) -> Tensor:
        """Which environments the term ended in the last step, bool ``(num_envs,)``."""
        if name not in self._names:
            raise self._unknown(name)
        return self._values[self._names.index(name)]

    def get_term_cfg(self, name: str) -> TerminationTermCfg:
        """Return the configuration of a term."""
        if name not in self._terms:
            raise self._unknown(name)
        return self._terms[name].cfg  # type: ignore[return-value]

    def set_term_cfg(self, name: str, cfg: TerminationTermCfg) -> None:
        """Change the parameters of a term."""
        if name not in self._terms:
            raise self._unknown(name)
        self._terms[name].rebind(cfg)

    def reset(self, env_mask: Tensor) -> None:
        """Log why the masked environments ended: each term's share of the finished episodes."""
        self._env.log.episode_rows(self._log).copy_(self._values)
        for term in self._terms.values():
            term.reset(env_mask)
