"""The command that is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from palestra.envs.mdp.io import ObservationIO
from palestra.managers import CommandTerm

if TYPE_CHECKING:
    from palestra.envs.manager_based import ManagerBasedRLEnv
    from palestra.envs.mdp.commands.commands_cfg import NullCommandCfg


class NullCommand(CommandTerm):
    """A command of width zero that is never drawn."""

    io = ObservationIO(units=(), frame="", entries=())

    def __init__(self, cfg: NullCommandCfg, env: ManagerBasedRLEnv) -> None:
        super().__init__(cfg, env)
        self._command = torch.zeros(self.num_envs, 0, device=self.device)

    @property
    def command(self) -> Tensor:
        """Nothing, ``(num_envs, 0)``."""
        return self._command

    def reset(self, env_mask: Tensor) -> None:
        """Nothing to draw."""

    def compute(self, dt: float) -> None:
        """Nothing to follow."""

    def _resample_command(self, env_mask: Tensor) -> None:
        pass

    def _update_command(self) -> None:
        pass

    def _update_metrics(self) -> None:
        pass
