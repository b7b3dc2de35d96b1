"""The one-kernel Newton solver, its text compiled for the CPU with one warp's lanes taking turns, against MuJoCo."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import mujoco
import numpy as np
import pytest

from palestra.physics.newton import MOST_DOFS, body, constants, rows_of_contact, shared_bytes, why_not

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler (g++)")

HERE = Path(__file__).parent
ARGUMENTS = (
    "int iterations, int ls_iterations, float tolerance, float ls_tolerance, float impratio_invsqrt, int ne, int nf, "
    "int nefc, int nacon, int nv_pad, int contact_stride, const float* qfrc_smooth, const float* warmstart, "
    "const float* M, const float* J, const float* D_in, const float* aref, const float* frictionloss, "
    "const int* type, const int* id, const float* contact_friction, const int* contact_dim, "
    "const int* contact_address, const int* M_place, float* qacc, float* qfrc_constraint, float* Ma, float* force, "
    "int* state, int* niter, int* overflow"
)

SCENE = """
<mujoco>
  <option timestep="0.004" cone="{cone}" impratio="{impratio}" solver="Newton" iterations="100" tolerance="1e-12"
          jacobian="dense"/>
  <worldbody>
    <geom name="floor" type="plane" size="5 5 .1" condim="{condim}" friction="0.8 0.02 0.01"/>
    <body name="trunk" pos="0 0 .32">
      <freejoint/>
      <geom type="box" size=".2 .1 .05" mass="6" condim="{condim}"/>
      {legs}
    </body>
    <body name="ball" pos=".1 0 .5"><joint type="slide" axis="0 0 1"/><geom size=".05" mass=".3"/></body>
  </worldbody>
  <equality><joint joint1="hip0" joint2="hip3" active="{equality}"/></equality>
</mujoco>
"""
LEG = """
<body pos="{x} {y} 0">
  <joint name="hip{i}" axis="1 0 0" range="-40 40" limited="true" frictionloss="{loss}" armature=".01"/>
  <geom type="capsule" fromto="0 0 0 0 0 -.15" size=".02" mass=".5"/>
  <body pos="0 0 -.15">
    <joint axis="0 1 0" range="-60 60" limited="true" frictionloss="{loss}" armature=".01" damping=".1"/>
    <geom type="capsule" fromto="0 0 0 0 0 -.15" size=".02" mass=".2" condim="{condim}"/>
  </body>
</body>
"""
CASES = {
    "pyramidal": {"cone": "pyramidal", "condim": 3},
    "elliptic": {"cone": "elliptic", "condim": 3},
    "torsional friction": {"cone": "elliptic", "condim": 4},
    "rolling friction, impratio": {"cone": "elliptic", "condim": 6, "impratio": 10},
    "frictionless": {"cone": "elliptic", "condim": 1},
    "joint friction and an equality": {"cone": "elliptic", "condim": 3, "loss": 0.2, "equality": "true"},
    "pyramidal, joint friction and an equality": {"cone": "pyramidal", "condim": 3, "loss": 0.2, "equality": "true"},
}


def model_of(condim: int, cone: str, loss: float = 0.0, equality: str = "false", impratio: float = 1.0):
    corners = [(0.18, 0.1), (0.18, -0.1), (-0.18, 0.1), (-0.18, -0.1)]
    legs = "".join(LEG.format(i=i, x=x, y=y, loss=loss, condim=condim) for i, (x, y) in enumerate(corners))
    text = SCENE.format(cone=cone, condim=condim, legs=legs, equality=equality, impratio=impratio)
    return mujoco.MjModel.from_xml_string(text)


@pytest.fixture(scope="module")
def compile_solver(tmp_path_factory):
    folder = tmp_path_factory.mktemp("newton")
    compiled = {}

    def build(model: mujoco.MjModel, rows: int) -> ctypes.CDLL:
        head = constants(model.nv, rows, rows_of_contact(model), int(model.nC))
        if head not in compiled:
            names = [argument.split()[-1].lstrip("*") for argument in ARGUMENTS.split(", ")]
            source = folder / f"newton{len(compiled)}.cpp"
            source.write_text(
                f'#include "{HERE / "one_warp.h"}"\n'
                f"static void solve_world(int lane, {ARGUMENTS}) {{\n{head}{body()}\n}}\n"
                f'extern "C" void solve({ARGUMENTS}) {{\n'
                f"    warp::run([&](int lane) {{ solve_world(lane, {', '.join(names)}); }});\n}}\n"
            )
            library = source.with_suffix(".so")
            subprocess.run(["g++", "-std=c++17", "-O1", "-shared", "-fPIC", source, "-o", library], check=True)
            compiled[head] = ctypes.CDLL(str(library))
        return compiled[head]

    return build


class Solution:
    """One world solved by the kernel's text."""

    def __init__(self, library, model, data, rows, iterations=100, ls_iterations=50, tolerance=1e-10) -> None:
        nv, nefc = model.nv, data.nefc
        float32, int32 = np.float32, np.int32
        nv_pad = 4 * ((nv + 3) // 4)
        jacobian = np.full((rows, nv_pad), np.nan, float32)  # what lies beyond the rows must not be read
        stored = min(nefc, rows)
        jacobian[:stored, :nv] = data.efc_J.reshape(nefc, nv)[:stored]

        def rows_of(values, dtype=float32):
            out = np.full(rows, 1 << 20, dtype) if dtype is int32 else np.full(rows, np.nan, dtype)
            out[:stored] = values[:stored]
            return out

        contacts = data.contact
        count = max(data.ncon, 1)
        friction, dim, address = np.ones((count, 5), float32), np.ones(count, int32), np.full((count, 10), -1, int32)
        for i in range(data.ncon):
            friction[i], dim[i] = contacts.friction[i], contacts.dim[i]
            address[i, : dim[i]] = contacts.efc_address[i] + np.arange(dim[i])
        place = np.repeat(np.arange(nv), model.M_rownnz) * 65536 + model.M_colind
        self.qacc, self.pulled, self.Ma = (np.full(nv, np.nan, float32) for _ in range(3))
        self.force, self.state = np.zeros(rows, float32), np.zeros(rows, int32)
        self.niter, self.overflow = np.zeros(1, int32), np.zeros(1, int32)
        arrays = [
            data.qfrc_smooth.astype(float32),
            data.qacc_warmstart.astype(float32),
            data.M.astype(float32),
            jacobian,
            rows_of(data.efc_D),
            rows_of(data.efc_aref),
            rows_of(data.efc_frictionloss),
            rows_of(data.efc_type, int32),
            rows_of(data.efc_id, int32),
            friction,
            dim,
            address,
            place.astype(int32),
            self.qacc,
            self.pulled,
            self.Ma,
            self.force,
            self.state,
            self.niter,
            self.overflow,
        ]
        numbers = [iterations, ls_iterations]
        floats = [tolerance, model.opt.ls_tolerance, 1.0 / np.sqrt(model.opt.impratio)]
        counts = [data.ne, data.nf, nefc, data.ncon, nv_pad, 10]
        library.solve(
            *map(ctypes.c_int, numbers),
            *map(ctypes.c_float, floats),
            *map(ctypes.c_int, counts),
            *(array.ctypes.data_as(ctypes.c_void_p) for array in arrays),
        )


def states_of(model: mujoco.MjModel, count: int, seed: int):
    """Yield data at states on the way down and in contact, with forces at work; the warm start is the last step's."""
    rng = np.random.default_rng(seed)
    data = mujoco.MjData(model)
    for step in range(count * 12):
        data.qfrc_applied[6:] = rng.normal(size=model.nv - 6) * 3.0
        if step % 60 == 0:
            data.qvel[:] += rng.normal(size=model.nv)
        mujoco.mj_step(model, data)
        if step % 12 == 11:
            mujoco.mj_fwdPosition(model, data)
            mujoco.mj_fwdVelocity(model, data)
            mujoco.mj_fwdActuation(model, data)
            mujoco.mj_fwdAcceleration(model, data)
            warmstart = data.qacc_warmstart.copy()
            mujoco.mj_fwdConstraint(model, data)
            data.qacc_warmstart[:] = warmstart
            yield data


def in_contact(model: mujoco.MjModel, seed: int = 1) -> mujoco.MjData:
    """Return data with at least 15 constraint rows."""
    return next(data for data in states_of(model, 60, seed) if data.nefc >= 15)


@pytest.mark.parametrize("case", CASES)
def test_the_solution_is_mujocos(case, compile_solver):
    model = model_of(**CASES[case])
    rows = 100
    library = compile_solver(model, rows)
    seen = set()
    iterations = []
    for data in states_of(model, 25, seed=1):
        solution = Solution(library, model, data, rows)
        scale = np.abs(data.qfrc_smooth).max() + np.abs(data.qfrc_constraint).max()
        np.testing.assert_allclose(solution.Ma, solution.pulled + data.qfrc_smooth, atol=3e-4 * scale)
        np.testing.assert_allclose(solution.pulled, data.qfrc_constraint, atol=1e-3 * scale)
        weight = np.sqrt(np.diag(full_inertia(model, data)))  # accelerations of light limbs count for little
        np.testing.assert_allclose(
            weight * solution.qacc, weight * data.qacc, atol=2e-3 * np.abs(weight * data.qacc).max() + 1e-3
        )
        nefc = data.nefc
        np.testing.assert_allclose(solution.force[:nefc], data.efc_force, atol=3e-3 * scale)
        seen |= set(solution.state[:nefc].tolist())
        iterations.append(int(solution.niter[0]))
    assert max(iterations) < 30
    assert {0, 1} <= seen
    if CASES[case]["cone"] == "elliptic" and CASES[case]["condim"] > 1:
        assert 4 in seen
    if CASES[case].get("loss"):
        assert seen & {2, 3}


def full_inertia(model, data):
    dense = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, dense)
    return dense


def test_each_iteration_lowers_the_cost(compile_solver):
    model = model_of(cone="elliptic", condim=3)
    library = compile_solver(model, 100)
    for data in states_of(model, 8, seed=2):
        if not data.nefc:
            continue
        error = []
        for iterations in (1, 2, 4, 8, 20):
            solution = Solution(library, model, data, 100, iterations=iterations)
            difference = solution.qacc - data.qacc
            error.append(float(difference @ full_inertia(model, data) @ difference))
            assert solution.niter[0] <= iterations
        assert error[-1] <= min(error) + 1e-6 * (1.0 + max(error))
        assert error[-1] <= 1e-3 * max(error[0], 1.0)


def test_a_world_without_rows_moves_freely(compile_solver):
    model = model_of(cone="pyramidal", condim=3)
    data = mujoco.MjData(model)
    data.qpos[2] = 3.0
    data.qfrc_applied[:] = np.linspace(-1.0, 1.0, model.nv)
    mujoco.mj_forward(model, data)
    assert data.nefc == 0
    data.qacc_warmstart[:] = 0.0
    solution = Solution(compile_solver(model, 100), model, data, 100)
    np.testing.assert_allclose(solution.qacc, data.qacc_smooth, rtol=2e-4, atol=2e-4)
    assert not solution.pulled.any()
    assert solution.niter[0] <= 3


def test_iterations_run_out_and_that_is_said(compile_solver):
    model = model_of(cone="elliptic", condim=3)
    library = compile_solver(model, 100)
    data = in_contact(model)
    assert Solution(library, model, data, 100, iterations=1).overflow[0] & (1 << 9)
    assert not Solution(library, model, data, 100, iterations=100).overflow[0] & (1 << 9)


def test_rows_beyond_the_buffer_are_left_out(compile_solver):
    model = model_of(cone="elliptic", condim=3)
    data = in_contact(model)
    rows = 10  # in the midst of a contact
    whole, cut = (Solution(compile_solver(model, n), model, data, n) for n in (100, rows))
    assert np.isfinite(cut.qacc).all()
    assert not np.allclose(cut.qacc, whole.qacc)


def test_a_diverged_state_ends_the_solve(compile_solver):
    model = model_of(cone="elliptic", condim=3)
    data = in_contact(model)
    data.qfrc_smooth[:] = np.nan
    assert np.isnan(Solution(compile_solver(model, 100), model, data, 100).qacc).any()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"solver": mujoco.mjtSolver.mjSOL_CG}, "another solver"),
        ({"noslip_iterations": 3}, "slip"),
        ({"disableflags": int(mujoco.mjtDisableBit.mjDSBL_WARMSTART)}, "warm starts"),
        ({}, None),
    ],
)
def test_what_it_is_for(change, reason):
    model = model_of(cone="elliptic", condim=3)
    for name, value in change.items():
        setattr(model.opt, name, value)
    said = why_not(model, 60, sparse=False)
    assert said is None if reason is None else reason in said
    assert "sparse" in why_not(model_of(cone="elliptic", condim=3), 60, sparse=True)
    assert "fit" in why_not(model_of(cone="elliptic", condim=3), 600, sparse=False)


def test_shared_memory_is_what_the_text_declares():
    assert shared_bytes(18, 96) == 14912
    assert MOST_DOFS == 31
