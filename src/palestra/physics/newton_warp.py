"""MuJoCo Warp's Newton solver as one kernel: a warp solves a world from start to end, in shared memory.

MuJoCo Warp launches about ten kernels an iteration, each of them over all worlds and so short that its latency is what
counts, and goes on until the last world has converged. Here a world leaves when it has converged itself. Cost function,
line search, tolerances and stopping rules are MuJoCo Warp's; so are the fields that are read and written.
"""

# Warp annotates with values.
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

from functools import cache
from typing import Any

import mujoco
import numpy as np
import warp as wp

from palestra.physics.newton import LANES, body, constants, rows_of_contact

_Friction = wp.types.vector(length=5, dtype=wp.float32)

_POINTERS = """
#if defined(__CUDA_ARCH__)
    auto of_world = [&](auto& array) {
        return &array.data[0] + (long long)world * (array.strides[0] / sizeof(*array.data));
    };
    const int ne = all_ne.data[world], nf = all_nf.data[world], nefc = all_nefc.data[world], nacon = all_nacon.data[0];
    const float tolerance = all_tolerance.data[world % all_tolerance.shape[0]];
    const float ls_tolerance = all_ls_tolerance.data[world % all_ls_tolerance.shape[0]];
    const float impratio_invsqrt = all_impratio_invsqrt.data[world % all_impratio_invsqrt.shape[0]];
    const float* qfrc_smooth = of_world(all_qfrc_smooth);
    const float* warmstart = of_world(all_warmstart);
    const float* M = of_world(all_M);
    const float* J = of_world(all_J);
    const int nv_pad = all_J.shape[2];
    const float* D_in = of_world(all_D);
    const float* aref = of_world(all_aref);
    const float* frictionloss = of_world(all_frictionloss);
    const int* type = of_world(all_type);
    const int* id = of_world(all_id);
    const float* contact_friction = reinterpret_cast<const float*>(all_contact_friction.data);
    const int* contact_dim = all_contact_dim.data;
    const int* contact_address = all_contact_address.data;
    const int contact_stride = all_contact_address.shape[1];
    const int* M_place = all_M_place.data;
    float* qacc = of_world(all_qacc);
    float* qfrc_constraint = of_world(all_qfrc_constraint);
    float* Ma = of_world(all_Ma);
    float* force = of_world(all_force);
    int* state = of_world(all_state);
    int* niter = all_niter.data + world;
    int* overflow = all_overflow.data + world;
"""


class NewtonSolver:
    """Takes the place of ``mujoco_warp.solve`` where :func:`palestra.physics.newton.why_not` has nothing against it.

    Args:
        model: the model.
        d: MuJoCo Warp's data, whose capacity for constraint rows counts.
    """

    def __init__(self, model: mujoco.MjModel, d: Any) -> None:
        self._kernel = _kernel(model.nv, d.njmax, rows_of_contact(model), int(model.nC))
        row = np.repeat(np.arange(model.nv), model.M_rownnz)
        self._place = wp.array(row * 65536 + model.M_colind, dtype=int, device=d.qacc.device)

    def solve(self, m: Any, d: Any) -> None:
        """Find the constraint forces of all worlds; reads and writes what ``mujoco_warp.solve`` does."""
        wp.launch(
            self._kernel,
            dim=(d.nworld, LANES),
            inputs=[
                m.opt.iterations,
                m.opt.ls_iterations,
                m.opt.tolerance,
                m.opt.ls_tolerance,
                m.opt.impratio_invsqrt,
                d.ne,
                d.nf,
                d.nefc,
                d.nacon,
                d.qfrc_smooth,
                d.qacc_warmstart,
                d.M,
                d.efc.J,
                d.efc.D,
                d.efc.aref,
                d.efc.frictionloss,
                d.efc.type,
                d.efc.id,
                d.contact.friction,
                d.contact.dim,
                d.contact.efc_address,
                self._place,
            ],
            outputs=[
                d.qacc,
                d.qfrc_constraint,
                d.efc.Ma,
                d.efc.force,
                d.efc.state,
                d.solver_niter,
                d.overflow,
            ],
            block_dim=LANES,
        )


@cache
def _kernel(nv: int, njmax: int, contact_rows: int, entries: int) -> Any:
    snippet = _POINTERS + constants(nv, njmax, contact_rows, entries) + body() + "\n#endif\n"

    @wp.func_native(snippet)
    def solve_world(
        world: int,
        lane: int,
        iterations: int,
        ls_iterations: int,
        all_tolerance: wp.array(dtype=float),
        all_ls_tolerance: wp.array(dtype=float),
        all_impratio_invsqrt: wp.array(dtype=float),
        all_ne: wp.array(dtype=int),
        all_nf: wp.array(dtype=int),
        all_nefc: wp.array(dtype=int),
        all_nacon: wp.array(dtype=int),
        all_qfrc_smooth: wp.array2d(dtype=float),
        all_warmstart: wp.array2d(dtype=float),
        all_M: wp.array2d(dtype=float),
        all_J: wp.array3d(dtype=float),
        all_D: wp.array2d(dtype=float),
        all_aref: wp.array2d(dtype=float),
        all_frictionloss: wp.array2d(dtype=float),
        all_type: wp.array2d(dtype=int),
        all_id: wp.array2d(dtype=int),
        all_contact_friction: wp.array(dtype=_Friction),
        all_contact_dim: wp.array(dtype=int),
        all_contact_address: wp.array2d(dtype=int),
        all_M_place: wp.array(dtype=int),
        all_qacc: wp.array2d(dtype=float),
        all_qfrc_constraint: wp.array2d(dtype=float),
        all_Ma: wp.array2d(dtype=float),
        all_force: wp.array2d(dtype=float),
        all_state: wp.array2d(dtype=int),
        all_niter: wp.array(dtype=int),
        all_overflow: wp.array(dtype=int),
    ): ...

    @wp.kernel(enable_backward=False, module="unique", module_options={"fast_math": True})
    def newton(
        iterations: int,
        ls_iterations: int,
        tolerance: wp.array(dtype=float),
        ls_tolerance: wp.array(dtype=float),
        impratio_invsqrt: wp.array(dtype=float),
        ne: wp.array(dtype=int),
        nf: wp.array(dtype=int),
        nefc: wp.array(dtype=int),
        nacon: wp.array(dtype=int),
        qfrc_smooth: wp.array2d(dtype=float),
        warmstart: wp.array2d(dtype=float),
        inertia: wp.array2d(dtype=float),
        jacobian: wp.array3d(dtype=float),
        row_mass: wp.array2d(dtype=float),
        aref: wp.array2d(dtype=float),
        frictionloss: wp.array2d(dtype=float),
        row_type: wp.array2d(dtype=int),
        row_id: wp.array2d(dtype=int),
        contact_friction: wp.array(dtype=_Friction),
        contact_dim: wp.array(dtype=int),
        contact_address: wp.array2d(dtype=int),
        place: wp.array(dtype=int),
        qacc: wp.array2d(dtype=float),
        qfrc_constraint: wp.array2d(dtype=float),
        inertial_force: wp.array2d(dtype=float),
        force: wp.array2d(dtype=float),
        state: wp.array2d(dtype=int),
        niter: wp.array(dtype=int),
        overflow: wp.array(dtype=int),
    ):
        world, lane = wp.tid()
        solve_world(
            world,
            lane,
            iterations,
            ls_iterations,
            tolerance,
            ls_tolerance,
            impratio_invsqrt,
            ne,
            nf,
            nefc,
            nacon,
            qfrc_smooth,
            warmstart,
            inertia,
            jacobian,
            row_mass,
            aref,
            frictionloss,
            row_type,
            row_id,
            contact_friction,
            contact_dim,
            contact_address,
            place,
            qacc,
            qfrc_constraint,
            inertial_force,
            force,
            state,
            niter,
            overflow,
        )

    return newton
