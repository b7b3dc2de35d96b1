"""Masked writers for the root of a floating asset."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import torch
from torch import Tensor

from palestra.assets.asset import Asset
from palestra.assets.body_data import BodyData
from palestra.errors import ConfigError
from palestra.utils.math import quat_apply_inverse

Selection = Tensor | Sequence[int] | None
"""A bool mask ``(num_envs,)`` with full-batch values, or Isaac Lab's ``env_ids`` with packed rows."""


class RootWriter(Asset):
    """An asset whose root floats or is fixed."""

    data: BodyData
    is_fixed_base: bool = False

    def _bind_root(self, model: mujoco.MjModel, free_joint: int | None) -> None:
        self.is_fixed_base = free_joint is None
        if free_joint is not None:
            q, v = int(model.jnt_qposadr[free_joint]), int(model.jnt_dofadr[free_joint])
            self._root_q, self._root_lin, self._root_ang = slice(q, q + 7), slice(v, v + 3), slice(v + 3, v + 6)

    def write_root_pose_to_sim(self, root_pose: Tensor, env_mask: Selection = None, env_ids: Selection = None) -> None:
        """Set position and orientation, ``(num_envs, 7)``, world frame."""
        self._require_floating("write_root_pose_to_sim")
        values, mask = self._masked(root_pose, env_ids if env_mask is None else env_mask)
        self._engine.write("qpos", values, mask, self._root_q)

    def write_root_velocity_to_sim(
        self, root_velocity: Tensor, env_mask: Selection = None, env_ids: Selection = None
    ) -> None:
        """Set linear and angular velocity in the world frame, ``(num_envs, 6)``."""
        self._require_floating("write_root_velocity_to_sim")
        values, mask = self._masked(root_velocity, env_ids if env_mask is None else env_mask)
        self._engine.write("qvel", values[:, 0:3], mask, self._root_lin)
        self._engine.write("qvel", quat_apply_inverse(self.data.root_quat_w, values[:, 3:6]), mask, self._root_ang)

    def write_root_state_to_sim(
        self, root_state: Tensor, env_mask: Selection = None, env_ids: Selection = None
    ) -> None:
        """Set pose and velocity, ``(num_envs, 13)``, world frame."""
        self.write_root_pose_to_sim(root_state[:, :7], env_mask, env_ids)
        self.write_root_velocity_to_sim(root_state[:, 7:], env_mask, env_ids)

    def _restart(self, env_mask: Tensor | None) -> None:
        if env_mask is None:
            env_mask = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        self.data.restart(env_mask)

    def _require_floating(self, what: str) -> None:
        if self.is_fixed_base:
            raise ConfigError(f"asset {self.name!r} has a fixed base: {what} needs a floating one")
