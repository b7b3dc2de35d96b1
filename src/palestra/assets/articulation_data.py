"""State, limits and targets of an articulation, under Isaac Lab's names."""

from __future__ import annotations

import torch
from torch import Tensor

from palestra.assets.body_data import BodyData
from palestra.physics import Columns, Engine
from palestra.utils.lazy import once_per_state


class ArticulationData(BodyData):
    """Joint quantities have shape ``(num_envs, num_joints)``, in the order of ``joint_names``; rad or m."""

    joint_names: list[str]
    body_names: list[str]
    default_joint_pos: Tensor
    """Joint positions after a default reset."""
    default_joint_vel: Tensor
    """Joint velocities after a default reset."""
    joint_pos_limits: Tensor
    """Lower and upper limits, ``(num_envs, num_joints, 2)``; infinite where there is none."""
    soft_joint_pos_limits: Tensor
    """The same, narrowed by ``soft_joint_pos_limit_factor``."""
    joint_vel_limits: Tensor
    """Largest speed of each joint (rad/s or m/s); infinite where no actuator gives one."""
    joint_effort_limits: Tensor
    """Largest torque of each joint (N·m or N)."""
    joint_stiffness: Tensor
    """Position gains of the actuators (N·m/rad)."""
    joint_damping: Tensor
    """Velocity gains of the actuators (N·m·s/rad)."""
    joint_strength: Tensor | None = None
    """Share of its torque that each motor delivers; ``None`` before a term randomizes it."""
    encoder_bias: Tensor | None = None
    """What each encoder reads too much (rad or m); ``None`` before a term randomizes it."""
    joint_pos_target: Tensor
    """Commanded positions."""
    joint_vel_target: Tensor
    """Commanded velocities."""
    joint_effort_target: Tensor
    """Commanded feed-forward torques."""
    _last_joint_vel: Tensor

    def __init__(
        self, engine: Engine, bodies: slice, free_joint: int | None, q_columns: Columns, v_columns: Columns
    ) -> None:
        super().__init__(engine, bodies, free_joint)
        self._q_columns, self._v_columns = q_columns, v_columns
        self._actuated: Tensor | slice = slice(0, 0)
        self._actuators: slice = slice(0, 0)
        self._num_joints = 0

    def allocate(self, num_joints: int) -> None:
        """Make the buffers that do not come from the engine."""
        self._num_joints = num_joints
        shape, device = (self._engine.num_envs, num_joints), self._engine.device
        for name in (
            "default_joint_pos",
            "default_joint_vel",
            "joint_pos_target",
            "joint_vel_target",
            "joint_effort_target",
            "joint_stiffness",
            "joint_damping",
            "_last_joint_vel",
        ):
            setattr(self, name, torch.zeros(shape, device=device))
        self.joint_vel_limits = torch.full(shape, float("inf"), device=device)
        self.joint_effort_limits = torch.full(shape, float("inf"), device=device)

    @property
    def soft_joint_vel_limits(self) -> Tensor:
        """Same as ``joint_vel_limits``."""
        return self.joint_vel_limits

    @property
    def joint_pos(self) -> Tensor:
        """Joint positions."""
        return self._engine.field("qpos")[:, self._q_columns]

    @property
    def joint_pos_biased(self) -> Tensor:
        """What the encoders read: joint positions plus ``encoder_bias``."""
        return self.joint_pos if self.encoder_bias is None else self.joint_pos + self.encoder_bias

    @property
    def joint_vel(self) -> Tensor:
        """Joint velocities."""
        return self._engine.field("qvel")[:, self._v_columns]

    @once_per_state
    def joint_acc(self) -> Tensor:
        """Mean joint accelerations over the last control step (rad/s² or m/s²)."""
        if not self._step_dt:
            return torch.zeros_like(self._last_joint_vel)
        return torch.where(self._restarted, 0.0, (self.joint_vel - self._last_joint_vel) / self._step_dt)

    @once_per_state
    def applied_torque(self) -> Tensor:
        """Torques that the actuators applied in the last substep, after all limits (N·m or N)."""
        return self._spread(self._engine.field("actuator_force")[:, self._actuators])

    @property
    def computed_torque(self) -> Tensor:
        """PD torques at the present state, before any limit (N·m or N)."""
        return (
            self.joint_stiffness * (self.joint_pos_target - self.joint_pos)
            + self.joint_damping * (self.joint_vel_target - self.joint_vel)
            + self.joint_effort_target
        )

    def begin_step(self, dt: float) -> None:
        super().begin_step(dt)
        self._last_joint_vel.copy_(self.joint_vel)

    def _spread(self, actuated: Tensor) -> Tensor:
        """Place values of actuated joints among all joints, zero elsewhere."""
        if isinstance(self._actuated, slice):
            return actuated
        out = torch.zeros(self._engine.num_envs, self._num_joints, device=self._engine.device)
        return out.index_copy_(1, self._actuated, actuated)
