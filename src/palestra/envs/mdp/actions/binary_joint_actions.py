"""Actions that switch joints between two positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palestra.envs.mdp.actions.joint_actions import JointTermBase
from palestra.envs.mdp.sensing import JointTargets
from palestra.errors import ConfigError
from palestra.utils.string import resolve_matching_values

if TYPE_CHECKING:
    from palestra.envs.base import BaseEnv
    from palestra.envs.mdp.actions.actions_cfg import BinaryJointPositionActionCfg


class BinaryJointPositionAction(JointTermBase):
    """One number opens or closes a gripper: negative closes, zero and positive open.

    A bool action opens where it is true.
    """

    cfg: BinaryJointPositionActionCfg
    _target, _units = "joint_position_binary", "rad"

    def __init__(self, cfg: BinaryJointPositionActionCfg, env: BaseEnv) -> None:
        super().__init__(cfg, env, cfg.joint_names, preserve_order=False)
        self._open_command = self._command(cfg.open_command_expr, "open_command_expr")
        self._close_command = self._command(cfg.close_command_expr, "close_command_expr")

    @property
    def action_dim(self) -> int:
        """One."""
        return 1

    def process_actions(self, actions: Tensor) -> None:
        """Take the actions of a control step, ``(num_envs, 1)``."""
        self._raw_actions.copy_(actions)
        closing = actions == 0 if actions.dtype == torch.bool else actions < 0.0
        torch.where(closing, self._close_command, self._open_command, out=self._processed_actions)
        self._clip_processed()

    def apply_actions(self) -> None:
        """Set the targets."""
        self._asset.set_joint_position_target(self._processed_actions, self._joint_ids)

    def io_descriptor(self) -> dict[str, Any]:
        return {
            **super().io_descriptor(),
            "entries": ["open"],
            "target_units": super().io_descriptor()["units"],
            "units": ["1"],
            "open": self._open_command.tolist(),
            "close": self._close_command.tolist(),
        }

    def targets(self) -> JointTargets:
        opened, closed = self._open_command.cpu().clone(), self._close_command.cpu().clone()
        clip = self._clipping()
        return self._joint_targets("joint_position", lambda actions: clip(torch.where(actions < 0.0, closed, opened)))

    def _command(self, expressions: dict[str, float], what: str) -> Tensor:
        where = f"BinaryJointPositionAction of {self.cfg.asset_name!r}, {what}"
        _, names, positions = resolve_matching_values(expressions, self._joint_names, where)
        missing = [name for name in self._joint_names if name not in names]
        if missing:
            raise ConfigError(f"{where}: no position for joint {missing[0]!r}")
        return torch.tensor(positions, dtype=torch.float32, device=self.device)
