"""Actions that are targets of joints: offset + scale · action, clipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palestra.assets import Articulation
from palestra.envs.mdp.entities import entity
from palestra.envs.mdp.io import joint_units
from palestra.envs.mdp.sensing import JointTargets, Source, Target, joint_columns, joint_source
from palestra.errors import ConfigError
from palestra.managers import ActionTerm, ActionTermCfg
from palestra.utils.string import resolve_matching_values

if TYPE_CHECKING:
    from palestra.envs.base import BaseEnv
    from palestra.envs.mdp.actions.actions_cfg import (
        JointActionCfg,
        JointPositionActionCfg,
        JointPositionToLimitsActionCfg,
        JointVelocityActionCfg,
        RelativeJointPositionActionCfg,
    )


class JointTermBase(ActionTerm):
    """Joints of an articulation, with the buffers of raw and processed actions."""

    _asset: Articulation
    _target: str = ""
    """What is commanded, for :meth:`io_descriptor`."""
    _units: str = ""
    """Unit of a hinge's target."""

    def __init__(self, cfg: ActionTermCfg, env: BaseEnv, joint_names: list[str], preserve_order: bool) -> None:
        super().__init__(cfg, env)
        self._asset = entity(env, cfg.asset_name, Articulation)
        ids, self._joint_names = self._asset.find_joints(joint_names, preserve_order=preserve_order)
        contiguous = ids == list(range(ids[0], ids[-1] + 1))  # a slice is cheaper to index than a tensor
        self._joint_ids: slice | Tensor = (
            slice(ids[0], ids[-1] + 1) if contiguous else torch.tensor(ids, dtype=torch.int64, device=self.device)
        )
        self._raw_actions = torch.zeros(self.num_envs, self.action_dim, device=self.device)
        self._processed_actions = torch.zeros(self.num_envs, self.num_joints, device=self.device)
        limits = self._per_joint({} if cfg.clip is None else dict(cfg.clip), "clip", (-torch.inf, torch.inf))
        self._clip = None if cfg.clip is None else limits.unbind(dim=-1)

    @property
    def num_joints(self) -> int:
        """Number of joints that the term commands."""
        return len(self._joint_names)

    @property
    def action_dim(self) -> int:
        """Width of the term's slice of the action."""
        return self.num_joints

    @property
    def raw_actions(self) -> Tensor:
        """What the policy sent, ``(num_envs, action_dim)``."""
        return self._raw_actions

    @property
    def processed_actions(self) -> Tensor:
        """Targets, ``(num_envs, num_joints)``."""
        return self._processed_actions

    def reset(self, env_mask: Tensor) -> None:
        """Zero the remembered action of the masked environments."""
        self._raw_actions.masked_fill_(env_mask.unsqueeze(-1), 0.0)

    def io_descriptor(self) -> dict[str, Any]:
        """Describe the slice for export: joint names in order, units, limits and gains of each entry."""
        limits = None if self._clip is None else torch.stack(self._clip, dim=-1).tolist()
        return {
            "target": self._target,
            "asset": self.cfg.asset_name,
            "entries": list(self._joint_names),
            "joint_names": list(self._joint_names),
            "units": joint_units(self._env, self._asset, self._joint_names, self._units),
            "clip": limits,
        }

    def _joint_targets(
        self, target: Target, compute: Callable[..., Tensor], sources: tuple[Source, ...] = ()
    ) -> JointTargets:
        """Return targets of the term's joints, clipped as the term's own are."""
        ids = tuple(joint_columns(self._joint_ids, self._asset.num_joints))
        return JointTargets(self.cfg.asset_name, target, ids, compute, sources)

    def _clipping(self) -> Callable[[Tensor], Tensor]:
        """Return the limits of the processed actions as a function."""
        if self._clip is None:
            return lambda value: value
        low, high = (bound.cpu().clone() for bound in self._clip)
        return lambda value: value.clamp(low, high)

    def _clip_processed(self) -> None:
        if self._clip is not None:
            torch.clamp(self._processed_actions, *self._clip, out=self._processed_actions)

    def _per_joint(self, value: float | dict[str, Any], what: str, default: Any) -> Tensor:
        """Return ``value`` of every joint, ``(num_joints, …)``; ``default`` where no expression matches."""
        numbers = [default] * self.num_joints
        if isinstance(value, dict):
            where = f"{type(self).__name__} of {self.cfg.asset_name!r}, {what}"
            for i, number in zip(*resolve_matching_values(value, self._joint_names, where)[::2], strict=True):
                numbers[i] = number
        else:
            numbers = [value] * self.num_joints
        return torch.tensor(numbers, dtype=torch.float32, device=self.device)


class JointAction(JointTermBase):
    """Joint targets that are linear in the action."""

    cfg: JointActionCfg

    def __init__(self, cfg: JointActionCfg, env: BaseEnv) -> None:
        super().__init__(cfg, env, cfg.joint_names, cfg.preserve_order)
        self._scale = self._per_joint(cfg.scale, "scale", 1.0)
        self._offset = self._per_joint(cfg.offset, "offset", 0.0)

    def process_actions(self, actions: Tensor) -> None:
        """Take the actions of a control step."""
        self._raw_actions.copy_(actions)
        torch.addcmul(self._offset, self._raw_actions, self._scale, out=self._processed_actions)
        self._clip_processed()

    def io_descriptor(self) -> dict[str, Any]:
        offset = self._offset if self._offset.dim() == 1 else self._offset[0]
        return {**super().io_descriptor(), "scale": self._scale.tolist(), "offset": offset.tolist()}

    def _linear(self) -> Callable[[Tensor], Tensor]:
        """Return the processed action as a function of the action."""
        offset = (self._offset if self._offset.dim() == 1 else self._offset[0]).cpu().clone()
        scale, clip = self._scale.cpu().clone(), self._clipping()
        return lambda actions: clip(offset + scale * actions)

    def _use_default_offset(self, default: Tensor) -> None:
        """Take the offsets of all environments from the asset's defaults."""
        if self.cfg.offset not in (0.0, {}):
            raise ConfigError(
                f"{type(self).__name__} of {self.cfg.asset_name!r}: offset is {self.cfg.offset!r} but "
                "use_default_offset is set; set use_default_offset=False to use it"
            )
        self._offset = default[:, self._joint_ids].clone()


class JointPositionAction(JointAction):
    """Joint position targets."""

    _target, _units = "joint_position", "rad"

    def __init__(self, cfg: JointPositionActionCfg, env: BaseEnv) -> None:
        super().__init__(cfg, env)
        if cfg.use_default_offset:
            self._use_default_offset(self._asset.data.default_joint_pos)

    def apply_actions(self) -> None:
        """Set the targets."""
        self._asset.set_joint_position_target(self._processed_actions, self._joint_ids)

    def targets(self) -> JointTargets:
        return self._joint_targets("joint_position", self._linear())


class RelativeJointPositionAction(JointAction):
    """Joint position targets as offsets from where the joints are when the targets are set.

    That is once a control step, or before every physics step when actuators run between them.
    """

    _target, _units = "joint_position_relative", "rad"

    def __init__(self, cfg: RelativeJointPositionActionCfg, env: BaseEnv) -> None:
        super().__init__(cfg, env)
        if cfg.use_zero_offset:
            self._offset = torch.zeros_like(self._offset)

    def apply_actions(self) -> None:
        """Set the targets."""
        target = self._asset.data.joint_pos_biased[:, self._joint_ids] + self._processed_actions
        self._asset.set_joint_position_target(target, self._joint_ids)

    def targets(self) -> JointTargets:
        source = joint_source(self._env, self.cfg.asset_name, "joint_pos")
        ids, linear = joint_columns(self._joint_ids, self._asset.num_joints), self._linear()
        return self._joint_targets("joint_position", lambda actions, pos: pos[:, ids] + linear(actions), (source,))


class JointVelocityAction(JointAction):
    """Joint velocity targets."""

    _target, _units = "joint_velocity", "rad/s"

    def __init__(self, cfg: JointVelocityActionCfg, env: BaseEnv) -> None:
        super().__init__(cfg, env)
        if cfg.use_default_offset:
            self._use_default_offset(self._asset.data.default_joint_vel)

    def apply_actions(self) -> None:
        """Set the targets."""
        self._asset.set_joint_velocity_target(self._processed_actions, self._joint_ids)

    def targets(self) -> JointTargets:
        return self._joint_targets("joint_velocity", self._linear())


class JointEffortAction(JointAction):
    """Joint torques or forces."""

    _target, _units = "joint_effort", "N·m"

    def apply_actions(self) -> None:
        """Set the torques."""
        self._asset.set_joint_effort_target(self._processed_actions, self._joint_ids)

    def targets(self) -> JointTargets:
        return self._joint_targets("joint_effort", self._linear())


class JointPositionToLimitsAction(JointTermBase):
    """Joint position targets within the soft limits; [-1, 1] spans them."""

    cfg: JointPositionToLimitsActionCfg
    _target, _units = "joint_position", "rad"

    def __init__(self, cfg: JointPositionToLimitsActionCfg, env: BaseEnv) -> None:
        super().__init__(cfg, env, cfg.joint_names, cfg.preserve_order)
        self._scale = self._per_joint(cfg.scale, "scale", 1.0)
        limits = self._asset.data.soft_joint_pos_limits[:, self._joint_ids]
        self._low, self._high = (bound.clone() for bound in limits.unbind(dim=-1))
        if cfg.rescale_to_limits:
            self._require_limits()
        self._middle, self._half = 0.5 * (self._low + self._high), 0.5 * (self._high - self._low)

    def _require_limits(self) -> None:
        for name, high in zip(self._joint_names, self._high[0].tolist(), strict=True):
            if high == float("inf"):
                raise ConfigError(
                    f"JointPositionToLimitsAction of {self.cfg.asset_name!r}: joint {name!r} has no position "
                    "limits to rescale to; leave it out, or set rescale_to_limits=False"
                )

    def process_actions(self, actions: Tensor) -> None:
        """Take the actions of a control step."""
        self._raw_actions.copy_(actions)
        torch.mul(self._raw_actions, self._scale, out=self._processed_actions)
        self._clip_processed()
        processed = self._processed_actions
        if self.cfg.rescale_to_limits:
            torch.addcmul(self._middle, processed.clamp(-1.0, 1.0), self._half, out=processed)
        else:
            torch.clamp(processed, self._low, self._high, out=processed)

    def apply_actions(self) -> None:
        """Set the targets."""
        self._asset.set_joint_position_target(self._processed_actions, self._joint_ids)

    def io_descriptor(self) -> dict[str, Any]:
        return {
            **super().io_descriptor(),
            "scale": self._scale.tolist(),
            "rescale_to_limits": self.cfg.rescale_to_limits,
            "limits": torch.stack((self._low[0], self._high[0]), dim=-1).tolist(),
        }

    def targets(self) -> JointTargets:
        scale, clip = self._scale.cpu().clone(), self._clipping()
        if self.cfg.rescale_to_limits:
            middle, half = self._middle[0].cpu().clone(), self._half[0].cpu().clone()
            return self._joint_targets(
                "joint_position", lambda actions: middle + half * clip(scale * actions).clamp(-1.0, 1.0)
            )
        low, high = self._low[0].cpu().clone(), self._high[0].cpu().clone()
        return self._joint_targets("joint_position", lambda actions: clip(scale * actions).clamp(low, high))
