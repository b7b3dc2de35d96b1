"""Change the task as training goes on; runs at reset."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from palestra.managers.manager_base import BoundTerm, ManagerBase
from palestra.managers.term_cfg import CurriculumTermCfg


class CurriculumManager(ManagerBase):
    """All curriculum terms of an environment. What a term returns is logged under ``Curriculum/``."""

    kind = "curriculum"

    def __init__(self, cfg: object, env: Any) -> None:
        super().__init__(cfg, env)
        self._terms = {
            name: BoundTerm("curriculum", name, term_cfg, env, masked=True)
            for name, term_cfg in self._term_cfgs(CurriculumTermCfg)
        }
        self._logs: dict[str, int] = {}
        self.state: dict[str, float | Tensor | dict[str, Any] | None] = dict.fromkeys(self._terms)

    @property
    def active_terms(self) -> list[str]:
        return list(self._terms)

    def compute(self, env_mask: Tensor) -> None:
        """Run all terms for the environments that are about to be reset."""
        for name, term in self._terms.items():
            value = term.call_masked(env_mask)
            self.state[name] = value
            if value is None:
                continue
            parts = value if isinstance(value, dict) else {"": value}
            for key, part in parts.items():
                self._log(f"Curriculum/{name}/{key}".rstrip("/"), part)

    def reset(self, env_mask: Tensor) -> None:
        """Reset class terms."""
        for term in self._terms.values():
            term.reset(env_mask)

    def class_terms(self) -> dict[str, Any]:
        """Class terms that keep a state of their own (``state_dict`` and ``load_state_dict``)."""
        return {n: t.func for n, t in self._terms.items() if hasattr(t.func, "state_dict")}

    def get_term_cfg(self, name: str) -> CurriculumTermCfg:
        """Return the configuration of a term."""
        if name not in self._terms:
            raise self._unknown(name)
        return self._terms[name].cfg  # type: ignore[return-value]

    def set_term_cfg(self, name: str, cfg: CurriculumTermCfg) -> None:
        """Change the parameters of a term."""
        if name not in self._terms:
            raise self._unknown(name)
        self._terms[name].rebind(cfg)

    def _log(self, key: str, value: float | Tensor) -> None:
        if key not in self._logs:
            self._logs[key] = self._env.log.add_gauge(key)
        reading = value if isinstance(value, Tensor) else torch.tensor(float(value), device=self.device)
        self._env.log.set_gauge(self._logs[key], reading.to(torch.float32).mean())
