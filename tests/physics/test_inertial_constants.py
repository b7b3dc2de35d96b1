"""The constants of all environments at once are those of ``mj_setConst``."""

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch
from torch import Tensor

from palestra.physics.inertial_constants import (
    DERIVED,
    VARIABLE,
    InertialConstants,
    covers,
    inverse_of,
    kernel_body,
    kernel_constants,
)
from palestra.robots.ant import ROBOT as ANT
from palestra.robots.anymal_c import ROBOT as ANYMAL
from palestra.robots.cartpole import ROBOT as CARTPOLE
from palestra.robots.franka_panda import ROBOT as FRANKA
from palestra.robots.unitree_g1 import ROBOT as G1
from palestra.robots.unitree_go2 import ROBOT as GO2
from palestra.robots.unitree_h1 import ROBOT as H1

BALL_AND_PLATE = """
<mujoco>
  <worldbody>
    <body name="plate"><geom type="box" size="0.1 0.2 0.01"/>
      <body name="ball" pos="0.3 0 0.1" euler="10 20 30"><joint type="ball" armature="0.01"/>
        <geom type="capsule" size="0.03 0.1"/><body name="tip" pos="0 0 0.2"><geom type="sphere" size="0.03"/></body>
      </body>
    </body>
    <body name="cube" pos="0 0 1" euler="40 0 10"><freejoint/><geom type="box" size="0.1 0.2 0.3"/></body>
  </worldbody>
</mujoco>
"""
"""A fixed plate with a ball joint on it, and a free cube."""


def models() -> dict[str, mujoco.MjModel]:
    specs = {info.name: info.spawn().build(info.name) for info in (ANT, ANYMAL, CARTPOLE, FRANKA, G1, GO2, H1)}
    for spec in specs.values():
        for number, joint in enumerate(spec.joints):
            if joint.type in (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE):
                motor = spec.add_actuator(name=f"motor_{number}", target=joint.name)
                motor.trntype, motor.gear[0] = mujoco.mjtTrn.mjTRN_JOINT, 1.5
    compiled = {name: spec.compile() for name, spec in specs.items()}
    return {**compiled, "ball_and_plate": mujoco.MjModel.from_xml_string(BALL_AND_PLATE)}


def varied(name: str) -> tuple[list[Tensor], list[Tensor]]:
    """Return the fields of three variants of a model, and the constants that MuJoCo derives from them."""
    model = models()[name]
    rng = np.random.default_rng(0)
    values: dict[str, list[np.ndarray]] = {field: [] for field in (*VARIABLE, *DERIVED)}
    for _ in range(3):
        changed = models()[name]
        changed.body_mass[:] *= rng.uniform(0.5, 2.0, model.nbody)
        changed.body_inertia[:] *= rng.uniform(0.8, 1.2, (model.nbody, 3))
        changed.body_sameframe[:] = changed.body_simple[:] = 0
        moves = np.array([s == 0 for s in model.body_simple])  # others would need another sparsity of M
        changed.body_ipos[moves] += rng.uniform(-0.02, 0.02, (int(moves.sum()), 3))
        changed.dof_armature[:] += rng.uniform(0.0, 0.05, model.nv)
        mujoco.mj_setConst(changed, mujoco.MjData(changed))
        for field, rows in values.items():
            rows.append(getattr(changed, field).copy())
    given, expected = (
        [torch.as_tensor(np.stack(values[f]), dtype=torch.float32) for f in x] for x in (VARIABLE, DERIVED)
    )
    return given, expected


def compare(found: list[Tensor], expected: list[Tensor]) -> None:
    for field, a, b in zip(DERIVED, found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-3, atol=1e-6, msg=lambda text, field=field: f"{field}: {text}")


@pytest.mark.parametrize("name", models())
def test_they_are_those_of_mujoco(name: str) -> None:
    model = models()[name]
    assert covers(model, set(VARIABLE))
    assert model.nu or name == "ball_and_plate"
    given, expected = varied(name)
    compare(list(InertialConstants(model, torch.device("cpu")).compute(*given).values()), expected)


HERE = Path(__file__).parent
ARGUMENTS = [
    "linear",
    "angular",
    "turned",
    "frames",
    "rest",
    "descends",
    "average",
    "moment",
    "moving",
    "mass",
    "inertia",
    "ipos",
    "armature",
    "subtreemass",
    "dof_invweight",
    "body_invweight",
    "acc",
]


@pytest.fixture(scope="module")
def of_one_world(tmp_path_factory: pytest.TempPathFactory) -> Callable[[mujoco.MjModel], ctypes.CDLL]:
    """Compile the kernel's text for the CPU, with one warp's lanes taking turns."""
    folder = tmp_path_factory.mktemp("constants")

    def build(model: mujoco.MjModel) -> ctypes.CDLL:
        kinds = ["const float* "] * 13 + ["float* "] * 4
        declared = ", ".join(kind + name for kind, name in zip(kinds, ARGUMENTS, strict=True))
        source = folder / f"{model.nv}_{model.nbody}_{model.nu}.cpp"
        source.write_text(
            f'#include "{HERE / "one_warp.h"}"\n'
            f"static void world(int lane, {declared}) {{\n"
            f"{kernel_constants(model.nv, model.nbody, model.nu)}{kernel_body()}\n}}\n"
            f'extern "C" void compute({declared}) {{\n'
            f"    warp::run([&](int lane) {{ world(lane, {', '.join(ARGUMENTS)}); }});\n}}\n"
        )
        library = source.with_suffix(".so")
        subprocess.run(["g++", "-std=c++17", "-O1", "-shared", "-fPIC", source, "-o", library], check=True)
        return ctypes.CDLL(str(library))

    return build


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler (g++)")
@pytest.mark.parametrize("name", models())
def test_the_kernel_computes_them_for_one_world(name: str, of_one_world: Callable[..., ctypes.CDLL]) -> None:
    model = models()[name]
    constants = InertialConstants(model, torch.device("cpu"))
    assert constants.one_kernel
    library, (given, expected) = of_one_world(model), varied(name)
    found = [torch.full_like(x, torch.nan) for x in expected]
    shared = [x.contiguous() for x in constants.shared]
    for world in range(3):
        tensors = [*shared, *(x[world] for x in given), *(x[world] for x in found)]
        library.compute(*(ctypes.c_void_p(x.data_ptr()) for x in tensors))
    compare(found, expected)


def test_the_inverse() -> None:
    root = torch.randn(5, 12, 12, generator=torch.Generator().manual_seed(0))
    matrix = root @ root.mT + 0.5 * torch.eye(12)
    torch.testing.assert_close(inverse_of(matrix) @ matrix, torch.eye(12).repeat(5, 1, 1), atol=2e-3, rtol=0.0)


def test_what_else_is_varied_is_left_to_the_engine() -> None:
    model = models()["cartpole"]
    assert covers(model, {"geom_friction", "actuator_biasprm", "opt.gravity", "body_mass"})
    assert not covers(model, {"body_mass", "body_pos"})
    assert not covers(model, {"qpos0"})
