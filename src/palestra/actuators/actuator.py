"""Actuator models: joint targets in, joint torques out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from palestra.actuators.actuator_cfg import ActuatorBaseCfg, DCMotorCfg, DelayedPDActuatorCfg, Gain
from palestra.errors import ConfigError
from palestra.utils.string import resolve_matching_values

UniformInt = Callable[[int, int, tuple[int, ...]], Tensor]
"""Draws integers in ``[low, high]``, shape ``(num_envs, *shape)``."""


class ActuatorBase:
    """One group of actuated joints.

    Attributes:
        joint_names: names, in the articulation's order.
        joint_ids: their indices in the articulation.
        stiffness, damping, effort_limit, velocity_limit: shape ``(num_envs, num_joints)``.
    """

    in_engine = False
    """Whether the engine computes the torque (then all substeps run as one call)."""

    def __init__(
        self,
        cfg: ActuatorBaseCfg,
        name: str,
        joint_names: Sequence[str],
        joint_ids: Sequence[int],
        num_envs: int,
        device: torch.device,
    ) -> None:
        self.cfg, self.name = cfg, name
        self.joint_names, self.joint_ids = list(joint_names), list(joint_ids)
        self.num_envs, self.device = num_envs, device
        self.stiffness = self._gain(cfg.stiffness, "stiffness", 0.0)
        self.damping = self._gain(cfg.damping, "damping", 0.0)
        self.effort_limit = self._gain(cfg.effort_limit, "effort_limit", float("inf"))
        self.velocity_limit = self._gain(cfg.velocity_limit, "velocity_limit", float("inf"))
        self.computed_effort = torch.zeros(num_envs, len(self.joint_ids), device=device)

    @property
    def num_joints(self) -> int:
        """Number of joints in the group."""
        return len(self.joint_ids)

    def compute(self, pos_target: Tensor, vel_target: Tensor, effort: Tensor, pos: Tensor, vel: Tensor) -> Tensor:
        """Return the torque to apply, ``(num_envs, num_joints)``; the arguments have the same shape."""
        raise NotImplementedError

    def reset(self, env_mask: Tensor, uniform_int: UniformInt) -> None:
        """Forget what the masked environments did before."""

    def _gain(self, value: Gain | None, what: str, default: float) -> Tensor:
        row = [default if value is None else float(value)] * self.num_joints if not isinstance(value, dict) else None
        if row is None:
            assert isinstance(value, dict)
            where = f"actuator group {self.name!r}, {what}"
            ids, _, values = resolve_matching_values(value, self.joint_names, where=where)
            row = [default] * self.num_joints
            for i, v in zip(ids, values, strict=True):
                row[i] = float(v)
        if any(v < 0 for v in row):
            raise ConfigError(f"actuator group {self.name!r}: {what} is negative; it must be 0 or more")
        return torch.tensor(row, device=self.device).repeat(self.num_envs, 1)


class ImplicitActuator(ActuatorBase):
    """PD law evaluated by the engine; here only the input of the engine's affine actuator is formed."""

    in_engine = True

    def compute(self, pos_target: Tensor, vel_target: Tensor, effort: Tensor, pos: Tensor, vel: Tensor) -> Tensor:
        """Return ``k_p q* + k_d q̇* + τ_ff``; the engine subtracts ``k_p q + k_d q̇`` and clips."""
        return torch.addcmul(torch.addcmul(effort, self.stiffness, pos_target), self.damping, vel_target)


class IdealPDActuator(ActuatorBase):
    """τ = clip(k_p (q* − q) + k_d (q̇* − q̇) + τ_ff, ±τ_limit)."""

    def compute(self, pos_target: Tensor, vel_target: Tensor, effort: Tensor, pos: Tensor, vel: Tensor) -> Tensor:
        computed = self.stiffness * (pos_target - pos) + self.damping * (vel_target - vel) + effort
        self.computed_effort.copy_(computed)
        return self._clip(computed, vel)

    def _clip(self, effort: Tensor, vel: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(effort, -self.effort_limit), self.effort_limit)


class DCMotor(IdealPDActuator):
    """Ideal PD cut by the torque–speed curve."""

    def __init__(self, cfg: DCMotorCfg, *args, **kwargs) -> None:
        super().__init__(cfg, *args, **kwargs)
        if cfg.velocity_limit is None:
            raise ConfigError(f"actuator group {self.name!r}: a DC motor needs velocity_limit (rad/s)")
        self.saturation_effort = cfg.saturation_effort

    def _clip(self, effort: Tensor, vel: Tensor) -> Tensor:
        ratio = vel / self.velocity_limit
        upper = torch.minimum((self.saturation_effort * (1.0 - ratio)).clamp(min=0.0), self.effort_limit)
        lower = torch.maximum((self.saturation_effort * (-1.0 - ratio)).clamp(max=0.0), -self.effort_limit)
        return torch.minimum(torch.maximum(effort, lower), upper)


class DelayedPDActuator(IdealPDActuator):
    """Ideal PD with targets delayed by a per-environment number of physics steps."""

    def __init__(self, cfg: DelayedPDActuatorCfg, *args, **kwargs) -> None:
        super().__init__(cfg, *args, **kwargs)
        if not 0 <= cfg.min_delay <= cfg.max_delay:
            raise ConfigError(
                f"actuator group {self.name!r}: min_delay {cfg.min_delay} and max_delay {cfg.max_delay} must satisfy "
                "0 <= min_delay <= max_delay"
            )
        self.min_delay, self.max_delay = cfg.min_delay, cfg.max_delay
        self.delay = torch.full((self.num_envs, 1), cfg.max_delay, dtype=torch.int64, device=self.device)
        shape = (cfg.max_delay + 1, self.num_envs, 3 * self.num_joints)
        self._history = torch.zeros(shape, device=self.device)  # newest first
        self._count = torch.zeros(self.num_envs, 1, dtype=torch.int64, device=self.device)

    def compute(self, pos_target: Tensor, vel_target: Tensor, effort: Tensor, pos: Tensor, vel: Tensor) -> Tensor:
        if self.max_delay:
            self._history[1:] = self._history[:-1].clone()
        self._history[0] = torch.cat((pos_target, vel_target, effort), dim=-1)
        self._count += 1
        # Right after a reset there is no older target: the oldest one there is counts.
        lag = torch.minimum(self.delay, self._count - 1)
        index = lag.unsqueeze(0).expand(1, self.num_envs, 3 * self.num_joints)
        late = self._history.gather(0, index).squeeze(0)
        pos_target, vel_target, effort = late.chunk(3, dim=-1)
        return super().compute(pos_target, vel_target, effort, pos, vel)

    def reset(self, env_mask: Tensor, uniform_int: UniformInt) -> None:
        mask = env_mask.unsqueeze(-1)
        drawn = uniform_int(self.min_delay, self.max_delay, (1,))
        torch.where(mask, drawn, self.delay, out=self.delay)
        self._count.masked_fill_(mask, 0)


_MODELS: dict[str, type[ActuatorBase]] = {
    "implicit": ImplicitActuator,
    "ideal_pd": IdealPDActuator,
    "dc_motor": DCMotor,
    "delayed_pd": DelayedPDActuator,
}


def make_actuator(
    cfg: ActuatorBaseCfg,
    name: str,
    joint_names: Sequence[str],
    joint_ids: Sequence[int],
    num_envs: int,
    device: torch.device,
) -> ActuatorBase:
    """Build the model that ``cfg.kind`` names."""
    return _MODELS[cfg.kind](cfg, name, joint_names, joint_ids, num_envs, device)
