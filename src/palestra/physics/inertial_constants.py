"""What MuJoCo derives from masses and inertias, for all environments at once in a few dozen tensor operations.

The constants of ``mj_setConst`` that depend on inertia (MuJoCo documentation, "mjModel: inverse weights") are those of
the default pose. Where masses, principal inertias, centres of mass and armatures are all that differs between
environments, the kinematics of that pose is common to them, and only the joint-space inertia matrix and its inverse are
left to compute.

On a GPU one kernel does the same for the environments that changed, a warp each (``inertial_constants.cu``); the tensor
operations are for robots that do not fit into its shared memory.
"""

from __future__ import annotations

from importlib.resources import files

import mujoco
import numpy as np
import torch
from torch import Tensor

VARIABLE = ("body_mass", "body_inertia", "body_ipos", "dof_armature")
"""Fields from which the constants are computed."""

DERIVED = ("body_subtreemass", "dof_invweight0", "body_invweight0", "actuator_acc0")
"""Constants that are computed."""


LANES = 32
"""Threads that work on one environment."""

SHARED_MEMORY = 48 * 1024
"""Bytes that a block may declare."""


def kernel_body() -> str:
    """Return the kernel's text, CUDA C++."""
    return files("palestra.physics").joinpath("inertial_constants.cu").read_text(encoding="utf-8")


def kernel_constants(nv: int, nb: int, nu: int) -> str:
    """Return the text that has to stand before :func:`kernel_body`."""
    return f"constexpr int NV = {nv}, NB = {nb}, NU = {nu};\n"


def covers(model: mujoco.MjModel, varied: set[str]) -> bool:
    """Whether the constants of a model are complete when the fields ``varied`` differ between environments."""
    others = set(mujoco.MjModel._setconst_inputs) - set(VARIABLE)
    # A margin or a servo's damping is an input, too, but nothing that depends on inertia.
    harmless = {"actuator_damping", "geom_margin", "geom_gap"}
    return not (varied & (others - harmless)) and not (model.ntendon or model.nflex)


class InertialConstants:
    """Constants of one model's environments.

    Args:
        model: the compiled model.
        device: where the environments are.
    """

    def __init__(self, model: mujoco.MjModel, device: torch.device) -> None:
        data = mujoco.MjData(model)
        data.qpos[:] = model.qpos0
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_makeM(model, data)
        mujoco.mj_factorM(model, data)
        mujoco.mj_transmission(model, data)
        nb, nv = model.nbody, model.nv
        position, rotation = np.zeros((3, nv)), np.zeros((3, nv))
        linear, angular = np.zeros((nb, 3, nv)), np.zeros((nb, 3, nv))
        turned, frames = np.zeros((nb, 3, nv)), data.xmat.reshape(nb, 3, 3)
        for body in range(nb):
            mujoco.mj_jac(model, data, position, rotation, data.xpos[body], body)
            linear[body], angular[body] = position, rotation
            turned[body] = data.ximat[body].reshape(3, 3).T @ rotation
        self._linear, self._angular, self._turned, self._frames = (
            torch.as_tensor(x, dtype=torch.float32, device=device) for x in (linear, angular, turned, frames)
        )
        descends = np.eye(nb)
        for body in range(nb - 1, 0, -1):
            descends[model.body_parentid[body]] += descends[body]
        joint_of = model.dof_jntid[:, None] == model.dof_jntid[None, :]
        free = model.jnt_type[model.dof_jntid] == int(mujoco.mjtJoint.mjJNT_FREE)
        half = (np.arange(nv) - model.jnt_dofadr[model.dof_jntid]) // 3  # a free joint's translation and rotation
        same = joint_of & (~free[:, None] | (half[:, None] == half[None, :]))
        moment = np.zeros((model.nu, nv))
        mujoco.mju_sparse2dense(
            moment, data.actuator_moment, data.moment_rownnz, data.moment_rowadr, data.moment_colind
        )
        moving = (model.body_weldid != 0).astype(float)
        self._descends, self._average, self._moment, self._moving = (
            torch.as_tensor(x, dtype=torch.float32, device=device)
            for x in (descends, same / same.sum(axis=1, keepdims=True), moment, moving)
        )
        compiled = [torch.as_tensor(getattr(model, n), dtype=torch.float32, device=device)[None] for n in VARIABLE]
        full = np.zeros((nv, nv))
        mujoco.mj_fullM(model, data, full)
        # What is not of the bodies, such as the armature of an actuator, stays as it is.
        self._rest = torch.zeros(1, nv, nv, device=device)
        self._rest = torch.as_tensor(full, dtype=torch.float32, device=device) - self._inertia(*compiled)[0]

    @property
    def shared(self) -> tuple[Tensor, ...]:
        """What all environments have in common, in the order of the kernel's arguments."""
        jacobians = (self._linear, self._angular, self._turned, self._frames)
        return (*jacobians, self._rest, self._descends, self._average, self._moment, self._moving)

    @property
    def one_kernel(self) -> bool:
        """Whether the kernel can do it: there are degrees of freedom, and their matrix fits into shared memory."""
        nv = len(self._rest)
        return nv > 0 and 4 * (nv * nv + 4 * nv) <= SHARED_MEMORY

    def compute(self, mass: Tensor, inertia: Tensor, ipos: Tensor, armature: Tensor) -> dict[str, Tensor]:
        """Return the constants of all environments, by field.

        Args:
            mass: ``(num_envs, nbody)`` (kg).
            inertia: principal moments, ``(num_envs, nbody, 3)`` (kg·m²).
            ipos: centres of mass in the bodies' frames, ``(num_envs, nbody, 3)`` (m).
            armature: ``(num_envs, nv)`` (kg·m² or kg).
        """
        inverse = inverse_of(self._inertia(mass, inertia, ipos, armature))
        weights = [self._mean_of_rows(jacobian, inverse) for jacobian in (self._at_centres(ipos), self._turned)]
        return {
            "body_subtreemass": mass @ self._descends.T,
            "dof_invweight0": inverse.diagonal(dim1=-2, dim2=-1) @ self._average.T,
            "body_invweight0": torch.stack(weights, dim=-1) * self._moving.unsqueeze(-1),
            "actuator_acc0": torch.linalg.vector_norm(self._moment @ inverse, dim=-1),
        }

    def _inertia(self, mass: Tensor, inertia: Tensor, ipos: Tensor, armature: Tensor) -> Tensor:
        """Return the joint-space inertia, ``(num_envs, nv, nv)``."""
        linear = self._at_centres(ipos).flatten(1, 2)
        turned = self._turned.flatten(0, 1)
        weight = mass.repeat_interleave(3, dim=1).unsqueeze(-1)
        total = linear.mT @ (weight * linear)
        total = total + turned.mT @ (inertia.flatten(1).unsqueeze(-1) * turned)
        return total + torch.diag_embed(armature) + self._rest

    def _at_centres(self, ipos: Tensor) -> Tensor:
        """Return the Jacobians of the centres of mass, ``(num_envs, nbody, 3, nv)``."""
        arm = (self._frames @ ipos.unsqueeze(-1)).expand(-1, -1, -1, self._angular.shape[-1])
        return self._linear + torch.linalg.cross(self._angular.expand_as(arm), arm, dim=2)

    def _mean_of_rows(self, jacobian: Tensor, inverse: Tensor) -> Tensor:
        """Return the mean of the diagonal of J M⁻¹ Jᵀ of each body, ``(num_envs, nbody)``."""
        rows = jacobian.flatten(-3, -2)
        diagonal = ((rows @ inverse) * rows).sum(dim=-1)
        return diagonal.unflatten(-1, (-1, 3)).mean(dim=-1)


def inverse_of(matrix: Tensor) -> Tensor:
    """Invert symmetric positive definite matrices, ``(num, n, n)``.

    The libraries' batched factorizations may wait for the GPU; here each pivot takes three operations. Sweeping pivot
    ``k`` of ``A`` with column ``c`` and ``p = c_k`` (Goodnight, "A Tutorial on the SWEEP Operator", The American
    Statistician 33, 1979) turns ``A_ij`` into ``A_ij - c_i c_j / p``, ``A_ik`` into ``c_i / p`` and ``A_kk`` into
    ``-1 / p``. That is ``A - w wᵀ / p`` with ``w = c - e_k``, but for a 2 too much at ``A_kk``, which no later pivot
    reads. After all pivots ``A`` is minus the inverse.
    """
    size = matrix.diagonal(dim1=-2, dim2=-1).rsqrt()
    scale = size.unsqueeze(-1) * size.unsqueeze(-2)
    swept = matrix * scale  # with ones on the diagonal, nothing cancels
    unit = torch.eye(matrix.shape[-1], device=matrix.device)
    for k in range(matrix.shape[-1]):
        row = swept[:, k, :] - unit[k]
        swept.addcmul_((row / swept[:, k, k : k + 1]).unsqueeze(2), row.unsqueeze(1), value=-1.0)
    return (2.0 * unit - swept) * scale
