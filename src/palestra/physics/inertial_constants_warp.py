"""Inertial constants on a GPU by one kernel: a warp for each world that changed, nothing for the others."""

# Warp annotates with values.
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import warp as wp
from torch import Tensor

from palestra.physics.capture import launch
from palestra.physics.inertial_constants import LANES, kernel_body, kernel_constants

_POINTERS = """
#if defined(__CUDA_ARCH__)
    if (!mask.data[world]) return;
    auto of_world = [&](auto& array) {
        return &array.data[0] + (long long)world * (array.strides[0] / sizeof(*array.data));
    };
    const float* linear = shared_linear.data;
    const float* angular = shared_angular.data;
    const float* turned = shared_turned.data;
    const float* frames = shared_frames.data;
    const float* rest = shared_rest.data;
    const float* descends = shared_descends.data;
    const float* average = shared_average.data;
    const float* moment = shared_moment.data;
    const float* moving = shared_moving.data;
    const float* mass = of_world(all_mass);
    const float* inertia = of_world(all_inertia);
    const float* ipos = of_world(all_ipos);
    const float* armature = of_world(all_armature);
    float* subtreemass = of_world(all_subtreemass);
    float* dof_invweight = of_world(all_dof_invweight);
    float* body_invweight = of_world(all_body_invweight);
    float* acc = of_world(all_acc);
"""


def set_constants(
    env_mask: Tensor, shared: tuple[Tensor, ...], fields: tuple[Tensor, ...], derived: tuple[Tensor, ...]
) -> None:
    """Compute the constants of the masked worlds.

    Args:
        env_mask: worlds that changed, bool ``(num_envs,)``.
        shared: what all worlds share, in the order of ``InertialConstants.shared``.
        fields: mass, inertia, ipos and armature, ``(num_envs, …)``; each world's numbers lie side by side.
        derived: subtree mass, inverse weights of dofs and bodies, accelerations of actuators; written.
    """
    nv, nb, nu = fields[3].shape[1], fields[0].shape[1], derived[3].shape[1]
    rows = [x.reshape(len(x), -1) if x.numel() else x.new_zeros(len(env_mask), 1) for x in (*fields, *derived)]
    for row, x in zip(rows, (*fields, *derived), strict=True):
        assert not x.numel() or row.data_ptr() == x.data_ptr()  # a copy would be written in vain
    flat = [x.reshape(-1) if x.numel() else x.new_zeros(1) for x in shared]
    kernel = _kernel(nv, nb, nu)
    launch(kernel, (len(env_mask), LANES), env_mask.device, env_mask.view(torch.uint8), *flat, *rows, block_dim=LANES)


@cache
def _kernel(nv: int, nb: int, nu: int) -> Any:
    snippet = _POINTERS + kernel_constants(nv, nb, nu) + kernel_body() + "\n#endif\n"

    @wp.func_native(snippet)
    def of_one_world(
        world: int,
        lane: int,
        mask: wp.array(dtype=wp.uint8),
        shared_linear: wp.array(dtype=float),
        shared_angular: wp.array(dtype=float),
        shared_turned: wp.array(dtype=float),
        shared_frames: wp.array(dtype=float),
        shared_rest: wp.array(dtype=float),
        shared_descends: wp.array(dtype=float),
        shared_average: wp.array(dtype=float),
        shared_moment: wp.array(dtype=float),
        shared_moving: wp.array(dtype=float),
        all_mass: wp.array2d(dtype=float),
        all_inertia: wp.array2d(dtype=float),
        all_ipos: wp.array2d(dtype=float),
        all_armature: wp.array2d(dtype=float),
        all_subtreemass: wp.array2d(dtype=float),
        all_dof_invweight: wp.array2d(dtype=float),
        all_body_invweight: wp.array2d(dtype=float),
        all_acc: wp.array2d(dtype=float),
    ): ...

    @wp.kernel(enable_backward=False, module="unique")
    def inertial_constants(
        mask: wp.array(dtype=wp.uint8),
        linear: wp.array(dtype=float),
        angular: wp.array(dtype=float),
        turned: wp.array(dtype=float),
        frames: wp.array(dtype=float),
        rest: wp.array(dtype=float),
        descends: wp.array(dtype=float),
        average: wp.array(dtype=float),
        moment: wp.array(dtype=float),
        moving: wp.array(dtype=float),
        mass: wp.array2d(dtype=float),
        inertia: wp.array2d(dtype=float),
        ipos: wp.array2d(dtype=float),
        armature: wp.array2d(dtype=float),
        subtreemass: wp.array2d(dtype=float),
        dof_invweight: wp.array2d(dtype=float),
        body_invweight: wp.array2d(dtype=float),
        acc: wp.array2d(dtype=float),
    ):
        world, lane = wp.tid()
        of_one_world(
            world,
            lane,
            mask,
            linear,
            angular,
            turned,
            frames,
            rest,
            descends,
            average,
            moment,
            moving,
            mass,
            inertia,
            ipos,
            armature,
            subtreemass,
            dof_invweight,
            body_invweight,
            acc,
        )

    return inertial_constants
