"""Root and body quantities that articulations and rigid objects share."""

from __future__ import annotations

import mujoco
import torch
from torch import Tensor

from palestra.physics import Engine
from palestra.utils.lazy import once_per_state
from palestra.utils.math import quat_apply, quat_apply_inverse


class BodyData:
    """Poses and velocities of an asset's root and bodies.

    Positions are in metres, velocities in m/s and rad/s, at each body's frame origin (not its centre of mass
    unless the name says ``com``). Every environment is a world of its own, so world and environment frame agree.
    """

    def __init__(self, engine: Engine, bodies: slice, free_joint: int | None) -> None:
        self._engine = engine
        self._bodies = bodies
        self._num_bodies = bodies.stop - bodies.start
        model = engine.model
        self._root_tree = torch.as_tensor(model.body_rootid[bodies], dtype=torch.int64, device=engine.device)
        self._q = self._v = None
        if free_joint is not None:
            self._q = slice(model.jnt_qposadr[free_joint], model.jnt_qposadr[free_joint] + 7)
            self._v = slice(model.jnt_dofadr[free_joint], model.jnt_dofadr[free_joint] + 6)
        n, device = engine.num_envs, engine.device
        gravity = torch.as_tensor(model.opt.gravity, dtype=torch.float32, device=device)
        self.GRAVITY_VEC_W = torch.nn.functional.normalize(gravity, dim=0).repeat(n, 1)
        """Unit vector of gravity in the world, ``(num_envs, 3)``."""
        self.FORWARD_VEC_B = torch.tensor((1.0, 0.0, 0.0), device=device).repeat(n, 1)
        """Forward axis in the base frame, ``(num_envs, 3)``."""
        self.default_root_state = torch.zeros(n, 13, device=device)
        """Root pose, linear and angular velocity after a default reset, ``(num_envs, 13)``."""
        self._zeros3 = torch.zeros(n, 3, device=device)
        self._last_body_lin_vel = torch.zeros(n, self._num_bodies, 3, device=device)
        self._last_body_ang_vel = torch.zeros(n, self._num_bodies, 3, device=device)
        self._restarted = torch.zeros(n, 1, dtype=torch.bool, device=device)
        self._acc_used = False
        self._step_dt = 0.0

    @property
    def body_columns(self) -> slice:
        """Where the asset's bodies are among those of the model."""
        return self._bodies

    @property
    def root_pos_w(self) -> Tensor:
        """Position of the root, ``(num_envs, 3)``."""
        if self._q is None:
            return self._engine.field("xpos")[:, self._bodies.start]
        return self._engine.field("qpos")[:, self._q.start : self._q.start + 3]

    @property
    def root_quat_w(self) -> Tensor:
        """Orientation of the root (w, x, y, z), ``(num_envs, 4)``."""
        if self._q is None:
            return self._engine.field("xquat")[:, self._bodies.start]
        return self._engine.field("qpos")[:, self._q.start + 3 : self._q.stop]

    @property
    def root_lin_vel_w(self) -> Tensor:
        """Linear velocity of the root in the world, ``(num_envs, 3)``."""
        if self._v is None:
            return self._zeros3
        return self._engine.field("qvel")[:, self._v.start : self._v.start + 3]

    @property
    def root_ang_vel_b(self) -> Tensor:
        """Angular velocity of the root in its own frame, ``(num_envs, 3)``."""
        if self._v is None:
            return self._zeros3
        return self._engine.field("qvel")[:, self._v.start + 3 : self._v.stop]

    @once_per_state
    def root_ang_vel_w(self) -> Tensor:
        """Angular velocity of the root in the world, ``(num_envs, 3)``."""
        return quat_apply(self.root_quat_w, self.root_ang_vel_b)

    @once_per_state
    def root_lin_vel_b(self) -> Tensor:
        """Linear velocity of the root in its own frame, ``(num_envs, 3)``."""
        return quat_apply_inverse(self.root_quat_w, self.root_lin_vel_w)

    @once_per_state
    def projected_gravity_b(self) -> Tensor:
        """Unit vector of gravity in the root frame, ``(num_envs, 3)``; (0, 0, −1) when upright."""
        return quat_apply_inverse(self.root_quat_w, self.GRAVITY_VEC_W)

    @once_per_state
    def heading_w(self) -> Tensor:
        """Yaw of the root's forward axis (rad), ``(num_envs,)``."""
        forward = quat_apply(self.root_quat_w, self.FORWARD_VEC_B)
        return torch.atan2(forward[:, 1], forward[:, 0])

    @once_per_state
    def root_pose_w(self) -> Tensor:
        """Position and orientation of the root, ``(num_envs, 7)``."""
        return torch.cat((self.root_pos_w, self.root_quat_w), dim=-1)

    @once_per_state
    def root_vel_w(self) -> Tensor:
        """Linear and angular velocity of the root in the world, ``(num_envs, 6)``."""
        return torch.cat((self.root_lin_vel_w, self.root_ang_vel_w), dim=-1)

    @once_per_state
    def root_state_w(self) -> Tensor:
        """Pose and velocity of the root, ``(num_envs, 13)``."""
        return torch.cat((self.root_pose_w, self.root_vel_w), dim=-1)

    @property
    def body_pos_w(self) -> Tensor:
        """Positions of the bodies, ``(num_envs, num_bodies, 3)``."""
        return self._engine.field("xpos")[:, self._bodies]

    @property
    def body_quat_w(self) -> Tensor:
        """Orientations of the bodies (w, x, y, z), ``(num_envs, num_bodies, 4)``."""
        return self._engine.field("xquat")[:, self._bodies]

    @property
    def body_com_pos_w(self) -> Tensor:
        """Centres of mass of the bodies, ``(num_envs, num_bodies, 3)``."""
        return self._engine.field("xipos")[:, self._bodies]

    @once_per_state
    def body_pose_w(self) -> Tensor:
        """Poses of the bodies, ``(num_envs, num_bodies, 7)``."""
        return torch.cat((self.body_pos_w, self.body_quat_w), dim=-1)

    @property
    def body_ang_vel_w(self) -> Tensor:
        """Angular velocities of the bodies, ``(num_envs, num_bodies, 3)``."""
        return self._engine.field("cvel")[:, self._bodies, 0:3]

    @once_per_state
    def body_lin_vel_w(self) -> Tensor:
        """Linear velocities of the bodies' origins, ``(num_envs, num_bodies, 3)``.

        MuJoCo's ``cvel`` is taken at the centre of mass of the kinematic tree; here it is moved to the origin.
        """
        cvel = self._engine.field("cvel")[:, self._bodies]
        centre = self._engine.field("subtree_com").index_select(1, self._root_tree)
        return cvel[..., 3:6] + torch.linalg.cross(cvel[..., 0:3], self.body_pos_w - centre)

    @once_per_state
    def body_vel_w(self) -> Tensor:
        """Linear and angular velocities of the bodies, ``(num_envs, num_bodies, 6)``."""
        return torch.cat((self.body_lin_vel_w, self.body_ang_vel_w), dim=-1)

    @once_per_state
    def body_lin_acc_w(self) -> Tensor:
        """Mean linear accelerations of the bodies over the last control step (m/s²), ``(num_envs, num_bodies, 3)``."""
        return self._difference(self.body_lin_vel_w, self._last_body_lin_vel)

    @once_per_state
    def body_ang_acc_w(self) -> Tensor:
        """Mean angular accelerations of the bodies over the last control step, ``(num_envs, num_bodies, 3)``."""
        return self._difference(self.body_ang_vel_w, self._last_body_ang_vel)

    def _difference(self, now: Tensor, before: Tensor) -> Tensor:
        if not self._acc_used or not self._step_dt:  # nothing is remembered before somebody asks
            self._acc_used = True
            return torch.zeros_like(now)
        return torch.where(self._restarted.unsqueeze(-1), 0.0, (now - before) / self._step_dt)

    def begin_step(self, dt: float) -> None:
        """Remember velocities at the start of a control step of ``dt`` seconds."""
        self._step_dt = dt
        self._restarted.zero_()
        if self._acc_used:
            self._last_body_lin_vel.copy_(self.body_lin_vel_w)
            self._last_body_ang_vel.copy_(self.body_ang_vel_w)

    def restart(self, env_mask: Tensor) -> None:
        """Report no acceleration for the masked environments until their next step: their state jumps."""
        self._restarted |= env_mask.unsqueeze(-1)


def find_free_joint(model: mujoco.MjModel, bodies: slice) -> int | None:
    """Return the free joint of an asset's first body, or ``None``."""
    address = model.body_jntadr[bodies.start]
    if address >= 0 and model.jnt_type[address] == mujoco.mjtJoint.mjJNT_FREE:
        return int(address)
    return None
