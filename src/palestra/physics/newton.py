"""What the one-kernel Newton solver (:mod:`palestra.physics.newton_warp`) can solve, and its text."""

from __future__ import annotations

from importlib.resources import files

import mujoco

LANES = 32
MOST_DOFS = LANES - 1
"""One lane takes the gradient while the others factorise the Hessian, a column each."""

SHARED_MEMORY = 48 * 1024
"""Bytes that a block may declare."""


def why_not(model: mujoco.MjModel, njmax: int, sparse: bool) -> str | None:
    """Return why a model needs MuJoCo Warp's own solver, or None if it does not.

    Args:
        model: the model.
        njmax: constraint rows allocated for each world.
        sparse: whether the constraint Jacobian is stored sparse.
    """
    option = model.opt
    if option.solver != mujoco.mjtSolver.mjSOL_NEWTON:
        return "it asks for another solver"
    if model.nv > MOST_DOFS:
        return f"it has {model.nv} degrees of freedom, and a warp takes {MOST_DOFS}"
    if njmax == 0 or model.nv == 0:
        return "it has nothing to solve"
    if sparse:
        return "its Jacobian is sparse"
    if shared_bytes(model.nv, njmax) > SHARED_MEMORY:
        return f"{njmax} constraint rows do not fit into shared memory"
    if option.iterations == 0 or option.noslip_iterations:
        return "it asks for no iterations, or for some against slip"
    if option.disableflags & int(mujoco.mjtDisableBit.mjDSBL_WARMSTART):
        return "it disables warm starts"
    if option.enableflags & int(mujoco.mjtEnableBit.mjENBL_SLEEP):
        return "its bodies may sleep"
    return None


def shared_bytes(nv: int, njmax: int) -> int:
    """Return the shared memory (bytes) of one world."""
    quads = (nv + 3) // 4
    row, column = 4 * (quads | 1), 4 * (((nv + 4) // 4) | 1)
    return 4 * (njmax * (row + 11) + nv * (row + column) + LANES)


def body() -> str:
    """Return the solver's text, CUDA C++."""
    return files("palestra.physics").joinpath("newton.cu").read_text(encoding="utf-8")


def constants(nv: int, njmax: int, rows_of_contact: int, entries: int) -> str:
    """Return the text that has to stand before :func:`body`."""
    return f"constexpr int NV = {nv}, NJ = {njmax}, MAX_DIM = {rows_of_contact}, NC = {entries};\n"


def rows_of_contact(model: mujoco.MjModel) -> int:
    """Return the most rows that belong together: those of an elliptic contact, else 1."""
    if model.opt.cone != mujoco.mjtCone.mjCONE_ELLIPTIC:
        return 1
    return int(max([1, *model.geom_condim.tolist(), *model.pair_dim.tolist()]))
