"""Record episodes: hooks around steps and resets, written to one compressed file an episode set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palestra.managers.manager_base import ManagerBase, ManagerTermBase
from palestra.managers.term_cfg import RecorderManagerBaseCfg, RecorderTermCfg

Record = tuple[str, Tensor] | None
"""Key and values ``(num_envs, …)``, or nothing."""


class RecorderTerm(ManagerTermBase):
    """Override the hooks that matter; each returns a key and values of all environments, or ``None``."""

    def record_pre_reset(self, env_mask: Tensor) -> Record:
        """Before the masked environments are reset."""
        return None

    def record_post_reset(self, env_mask: Tensor) -> Record:
        """After they were."""
        return None

    def record_pre_step(self) -> Record:
        """Before the physics of a control step."""
        return None

    def record_post_step(self) -> Record:
        """After rewards and before resets."""
        return None


class RecorderManager(ManagerBase):
    """Collects what the terms return and writes finished episodes.

    Recording copies to the host every step, so that an environment with recorder terms steps eagerly.
    """

    kind = "recorder"

    def __init__(self, cfg: object, env: Any) -> None:
        super().__init__(cfg, env)
        self._terms: dict[str, RecorderTerm] = {
            name: term_cfg.class_type(term_cfg, env) for name, term_cfg in self._term_cfgs(RecorderTermCfg)
        }
        self._episodes: list[dict[str, list[np.ndarray]]] = [{} for _ in range(self.num_envs if self._terms else 0)]
        self._written = 0
        if self._terms:
            env.note_eager_term(f"recorder terms {', '.join(self._terms)}", warn=False)

    @property
    def active_terms(self) -> list[str]:
        return list(self._terms)

    def record_pre_step(self) -> None:
        """Call the hooks before the physics."""
        for term in self._terms.values():
            self._append(term.record_pre_step(), self._env.all_envs)

    def record_post_step(self) -> None:
        """Call the hooks after the rewards."""
        for term in self._terms.values():
            self._append(term.record_post_step(), self._env.all_envs)

    def record_pre_reset(self, env_mask: Tensor) -> None:
        """Call the hooks, then write the episodes that end."""
        if not self._terms:
            return
        for term in self._terms.values():
            self._append(term.record_pre_reset(env_mask), env_mask)
        for i in torch.nonzero(env_mask).flatten().tolist():
            self._export(i)

    def record_post_reset(self, env_mask: Tensor) -> None:
        """Call the hooks after a reset."""
        for term in self._terms.values():
            self._append(term.record_post_reset(env_mask), env_mask)

    def close(self) -> None:
        """Write unfinished episodes if asked to."""
        if isinstance(self.cfg, RecorderManagerBaseCfg) and self.cfg.export_in_close:
            for i in range(len(self._episodes)):
                self._export(i)

    def _append(self, record: Record, env_mask: Tensor) -> None:
        if record is None:
            return
        key, values = record
        rows = values.detach().cpu().numpy()
        for i in torch.nonzero(env_mask).flatten().tolist():
            self._episodes[i].setdefault(key, []).append(rows[i].copy())

    def _export(self, index: int) -> None:
        episode, self._episodes[index] = self._episodes[index], {}
        if not episode or not isinstance(self.cfg, RecorderManagerBaseCfg):
            return
        folder = Path(self.cfg.dataset_export_dir_path)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.cfg.dataset_filename}_{self._written:06d}.npz"
        partial = path.with_suffix(".part")
        with partial.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **{key: np.stack(rows) for key, rows in episode.items()})
        partial.replace(path)
        self._written += 1
