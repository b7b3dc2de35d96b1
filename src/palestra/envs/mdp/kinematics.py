"""Forward kinematics of an articulation from its joint positions, for terms that a robot computes itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mujoco
import numpy as np
import torch
from torch import Tensor

from palestra.assets import Articulation
from palestra.envs.mdp.entities import entity
from palestra.errors import ConfigError

if TYPE_CHECKING:
    from palestra.envs.base import BaseEnv

__all__ = ["ForwardKinematics"]

_SLIDE = int(mujoco.mjtJoint.mjJNT_SLIDE)


class ForwardKinematics:
    """Pose of a frame on a body of an articulation, from the positions of its joints, as MuJoCo computes it.

    ``kinematics(joint_pos)`` takes positions of all joints ``(batch, num_joints)`` (rad, m) and returns position
    ``(batch, 3)`` (m) and rotation matrix ``(batch, 3, 3)`` of the frame.

    Args:
        env: the environment.
        asset_name: the articulation.
        body_name: its body.
        offset: the frame's position on the body (m).
        in_world: whether the pose is that in the world, which a fixed base allows, rather than in the base frame.

    Raises:
        ConfigError: no such body, or ``in_world`` with a floating base.
    """

    def __init__(
        self,
        env: BaseEnv,
        asset_name: str,
        body_name: str,
        offset: tuple[float, float, float] = (0.0, 0.0, 0.0),
        in_world: bool = False,
    ) -> None:
        asset = entity(env, asset_name, Articulation)
        if body_name not in asset.body_names:
            raise ConfigError(
                f"kinematics of {asset_name!r}: no body {body_name!r}; there are {', '.join(asset.body_names)}"
            )
        if in_world and not asset.is_fixed_base:
            raise ConfigError(f"kinematics of {asset_name!r}: its base floats; ask for the pose in the base frame")
        model = env.scene.model
        columns = {model.joint(asset.prefix + name).id: i for i, name in enumerate(asset.joint_names)}
        base = asset.data.body_columns.start
        chain = [model.body(asset.prefix + body_name).id]
        while chain[-1] != base:
            chain.append(int(model.body_parentid[chain[-1]]))
        if in_world:
            parent = int(model.body_parentid[base])
            while parent:  # fixed bodies between the base and the world
                chain.append(parent)
                parent = int(model.body_parentid[parent])
        self._links: list[_Link] = [_Link(model, body, columns) for body in reversed(chain) if in_world or body != base]
        self._offset = torch.tensor(offset, dtype=torch.float32)

    def __call__(self, joint_pos: Tensor) -> tuple[Tensor, Tensor]:
        pos = torch.zeros_like(joint_pos[:, :1]).expand(-1, 3)
        rot = torch.eye(3).expand(joint_pos.shape[0], 3, 3)
        for link in self._links:
            pos, rot = link(pos, rot, joint_pos)
        return pos + rot @ self._offset, rot


class _Link:
    """Pose of a body from that of its parent: a fixed offset, then its joints in order."""

    def __init__(self, model: mujoco.MjModel, body: int, columns: dict[int, int]) -> None:
        self._pos = _constant(model.body_pos[body])
        self._rot = _constant(_matrix(model.body_quat[body]))
        first, count = int(model.body_jntadr[body]), int(model.body_jntnum[body])
        self._joints = [
            (
                int(model.jnt_type[j]) == _SLIDE,
                columns[j],
                float(model.qpos0[model.jnt_qposadr[j]]),
                _constant(model.jnt_axis[j]),
                _constant(model.jnt_pos[j]) if model.jnt_pos[j].any() else None,
            )
            for j in range(first, first + count)
        ]

    def __call__(self, pos: Tensor, rot: Tensor, joint_pos: Tensor) -> tuple[Tensor, Tensor]:
        pos, rot = pos + rot @ self._pos, rot @ self._rot
        for slides, column, zero, axis, anchor in self._joints:
            moved = joint_pos[:, column : column + 1] - zero
            if slides:
                pos = pos + moved * (rot @ axis)
                continue
            turned = rot @ _rotation(axis, moved.unsqueeze(-1))
            if anchor is not None:
                pos = pos + rot @ anchor - turned @ anchor
            rot = turned
        return pos, rot


def _rotation(axis: Tensor, angle: Tensor) -> Tensor:
    """Return matrices ``(batch, 3, 3)`` that turn by ``angle`` ``(batch, 1, 1)`` (rad); Rodrigues' formula."""
    x, y, z = axis.tolist()
    cross = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return torch.eye(3) + angle.sin() * cross + (1.0 - angle.cos()) * (cross @ cross)


def _constant(values: np.ndarray) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def _matrix(quat: np.ndarray) -> np.ndarray:
    out = np.empty(9)
    mujoco.mju_quat2Mat(out, quat)
    return out.reshape(3, 3)
