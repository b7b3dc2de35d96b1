"""Contacts with height fields: the GPU's text compiled for the CPU, against brute force and MuJoCo."""

import ctypes
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
import pytest

from palestra.physics import Engine, make_engine
from palestra.physics.field_contacts import MOST_CONTACTS, body, own_pairs
from palestra.sim import SimulationCfg

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler (g++)")

SPHERE, CAPSULE, BOX = 2, 3, 6
ARGUMENTS = (
    "int kind, const float* size, const float* centre, const float* turn, int nrow, int ncol, float half_x, "
    "float half_y, float top, const float* heights, float reach, float* result"
)
HALF_X, HALF_Y, TOP = 1.2, 0.8, 0.6
ROWS, COLUMNS = 17, 25
"""Rows go along y; cells of 10 cm."""


@dataclass
class Contact:
    distance: float
    point: np.ndarray
    normal: np.ndarray


@pytest.fixture(scope="module")
def collide(tmp_path_factory):
    folder = tmp_path_factory.mktemp("field")
    source = folder / "field.cpp"
    source.write_text(f'#include <cmath>\nextern "C" int collide({ARGUMENTS}) {{\n{body()}\nreturn found;\n}}\n')
    library = folder / "field.so"
    subprocess.run(["g++", "-std=c++17", "-O1", "-shared", "-fPIC", source, "-o", library], check=True)
    function = ctypes.CDLL(str(library)).collide
    function.restype = ctypes.c_int

    def run(heights, kind, size, centre, turn=None, reach=0.0, half=(HALF_X, HALF_Y)) -> list[Contact]:
        result = np.full((MOST_CONTACTS, 7), np.nan, np.float32)
        size = np.array([*size, 0, 0, 0][:3], np.float32)
        centre, turn = np.array(centre, np.float32), np.array(np.eye(3) if turn is None else turn, np.float32)
        heights = np.ascontiguousarray(heights / TOP, np.float32)
        pointer = [x.ctypes.data_as(ctypes.c_void_p) for x in (size, centre, turn, heights, result)]
        rows, columns = heights.shape
        numbers = [ctypes.c_float(x) for x in (*half, TOP)]
        found = function(kind, *pointer[:3], rows, columns, *numbers, pointer[3], ctypes.c_float(reach), pointer[4])
        assert np.isfinite(result[:found]).all()
        return [Contact(float(r[0]), r[1:4].astype(float), r[4:7].astype(float)) for r in result[:found]]

    return run


def triangles(heights: np.ndarray) -> np.ndarray:
    """All triangles of the ground, ``(n, 3, 3)``."""
    rows, columns = heights.shape
    x, y = np.linspace(-HALF_X, HALF_X, columns), np.linspace(-HALF_Y, HALF_Y, rows)
    at = np.stack([*np.meshgrid(x, y), heights], axis=-1)
    low, right, left, high = at[:-1, :-1], at[:-1, 1:], at[1:, :-1], at[1:, 1:]
    return np.concatenate([np.stack(t, axis=2).reshape(-1, 3, 3) for t in ((low, right, high), (low, left, high))])


def distance_to(ground: np.ndarray, point: np.ndarray, samples: int = 40) -> float:
    """Distance of a point to the nearest triangles, by sampling them densely."""
    near = ground[np.linalg.norm(ground.mean(axis=1) - point, axis=1).argsort()[:24]]
    u, v = (g.ravel() for g in np.meshgrid(np.linspace(0, 1, samples), np.linspace(0, 1, samples)))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    on = near[:, None, 0] + u[:, None] * (near[:, None, 1] - near[:, None, 0])
    on = on + v[:, None] * (near[:, None, 2] - near[:, None, 0])
    return float(np.linalg.norm(on - point, axis=-1).min())


def rough(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.0, 0.08, (ROWS, COLUMNS))


def stairs() -> np.ndarray:
    return np.tile(0.1 * np.repeat(np.arange(5), 5), (ROWS, 1))


def turned(rng: np.random.Generator) -> np.ndarray:
    matrix = np.zeros(9)
    quat = rng.normal(size=4)
    mujoco.mju_quat2Mat(matrix, quat / np.linalg.norm(quat))
    return matrix.reshape(3, 3)


@pytest.mark.parametrize("seed", range(3))
def test_a_sphere_is_as_far_as_the_nearest_point_of_the_ground(collide, seed):
    rng, heights = np.random.default_rng(seed), rough(seed)
    ground, radius, seen = triangles(heights), 0.04, 0
    for _ in range(150):
        centre = np.array([*rng.uniform((-1.0, -0.6), (1.0, 0.6)), rng.uniform(0.0, 0.14)])
        contacts = collide(heights, SPHERE, [radius], centre, reach=0.02)
        distance = distance_to(ground, centre)
        if not contacts:
            assert distance - radius > 0.018
            continue
        seen += 1
        first = contacts[0]
        below = first.distance < -radius
        assert first.distance + radius == pytest.approx(-distance if below else distance, abs=3e-3)
        assert all(c.distance >= first.distance - 1e-6 for c in contacts)
        for c in contacts:
            assert np.linalg.norm(c.normal) == pytest.approx(1.0, abs=1e-5)
            # half way between the surfaces, along the normal
            assert c.point == pytest.approx(centre - (radius + 0.5 * c.distance) * c.normal, abs=1e-5)
    assert seen > 30


def test_a_sphere_on_level_ground_has_one_upright_contact_wherever_it_lies(collide):
    heights = np.full((ROWS, COLUMNS), 0.1)
    for x, y in ((0.0, 0.0), (0.05, 0.0), (0.03, 0.07), (0.1, -0.1), (0.0249, 0.0251)):
        contacts = collide(heights, SPHERE, [0.06], (x, y, 0.155))
        assert len(contacts) == 1
        assert contacts[0].distance == pytest.approx(-0.005, abs=1e-6)
        assert contacts[0].normal == pytest.approx((0, 0, 1), abs=1e-5)


def test_in_a_corner_a_sphere_touches_both_faces_and_on_an_edge_one(collide):
    heights = stairs()
    # A step rises by 10 cm over the 10 cm between two vertices, x = -0.8 and -0.7: 45 degrees.
    foot_of_step, top_of_step = -0.8, -0.7
    corner = collide(heights, SPHERE, [0.05], (foot_of_step - 0.018, 0.01, 0.048))
    assert sorted(round(float(c.normal[2]), 3) for c in corner) == [0.707, 1.0]
    edge = collide(heights, SPHERE, [0.05], (top_of_step - 0.01, 0.01, 0.145))
    assert len(edge) == 1
    assert 0.707 < edge[0].normal[2] < 1.0 and edge[0].normal[0] < 0.0


def test_deep_under_the_surface_the_way_out_is_the_shortest(collide):
    heights = np.full((ROWS, COLUMNS), 0.3)
    for depth in (0.0, 0.01, 0.1, 0.25):
        (contact,) = collide(heights, SPHERE, [0.02], (0.43, -0.21, 0.3 - depth))
        assert contact.distance == pytest.approx(-depth - 0.02, abs=1e-5)
        assert contact.normal == pytest.approx((0, 0, 1), abs=1e-4)


def test_far_from_the_middle_nothing_is_lost(collide):
    heights, half = np.full((801, 801), 0.3), (80.0, 80.0)
    rng = np.random.default_rng(0)
    for _ in range(200):
        x, y = rng.uniform(-79.0, 79.0, 2)
        contacts = collide(heights, SPHERE, [0.022], (x, y, 0.3 + rng.uniform(-0.03, 0.02)), half=half)
        assert all(c.normal[2] > 0.999 and -0.06 < c.distance < 0.0 for c in contacts)


def test_off_the_field_is_nothing(collide):
    heights = np.full((ROWS, COLUMNS), 0.3)
    assert collide(heights, SPHERE, [0.05], (HALF_X + 0.06, 0.0, 0.3)) == []
    assert collide(heights, BOX, [0.1, 0.1, 0.1], (0.0, HALF_Y + 0.3, 0.3)) == []


def as_model(heights: np.ndarray, geom: str) -> tuple[mujoco.MjModel, mujoco.MjData]:
    spec = mujoco.MjSpec()
    spec.add_hfield(
        name="ground", nrow=ROWS, ncol=COLUMNS, size=[HALF_X, HALF_Y, TOP, 0.2], userdata=(heights / TOP).ravel()
    )
    spec.worldbody.add_geom(name="ground", type=mujoco.mjtGeom.mjGEOM_HFIELD, hfieldname="ground")
    thing = spec.worldbody.add_body(name="thing")
    thing.add_freejoint()
    kinds = {
        "sphere": (mujoco.mjtGeom.mjGEOM_SPHERE, [0.05, 0, 0]),
        "capsule": (mujoco.mjtGeom.mjGEOM_CAPSULE, [0.04, 0.12, 0]),
        "box": (mujoco.mjtGeom.mjGEOM_BOX, [0.12, 0.08, 0.05]),
    }
    kind, size = kinds[geom]
    thing.add_geom(name="thing", type=kind, size=size)
    # Compiled, heights are relative to the lowest vertex, in units of the highest.
    model = spec.compile()
    return model, mujoco.MjData(model)


def stretched(heights: np.ndarray) -> np.ndarray:
    """As MuJoCo's compiler scales a field: from 0 to its size."""
    return TOP * (heights - heights.min()) / (heights.max() - heights.min())


@pytest.mark.parametrize("geom", ["sphere", "capsule", "box"])
def test_first_touch_is_where_mujoco_finds_it(collide, geom):
    """Lowered onto a slope, each geom touches at the same height as in MuJoCo."""
    x = np.linspace(0.0, 0.3, COLUMNS)
    heights = stretched(np.tile(x, (ROWS, 1)))
    model, data = as_model(heights, geom)
    rng = np.random.default_rng(1)
    kind, size = int(model.geom_type[1]), model.geom_size[1]
    for _ in range(12):
        turn, place = turned(rng), rng.uniform(-0.3, 0.3, 2)

        def depth(z, place=place, turn=turn):
            contacts = collide(heights, kind, size, (*place, z), turn)
            return min((c.distance for c in contacts), default=0.0)

        def mujoco_depth(z, place=place, turn=turn):
            data.qpos[:3] = *place, z
            mujoco.mju_mat2Quat(data.qpos[3:7], turn.ravel())
            mujoco.mj_forward(model, data)
            return min((c.dist for c in data.contact), default=0.0)

        def first(function, low=-0.2, high=1.2):
            for _ in range(30):
                middle = 0.5 * (low + high)
                low, high = (middle, high) if function(middle) < 0.0 else (low, middle)
            return low

        assert first(depth) == pytest.approx(first(mujoco_depth), abs=2e-3)


def test_a_capsule_lies_on_both_ends_and_on_what_rises_between(collide):
    level = np.full((ROWS, COLUMNS), 0.1)
    along_x = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0.0]])
    lying = collide(level, CAPSULE, [0.03, 0.2], (0, 0, 0.125), along_x)
    assert [round(c.distance, 5) for c in lying] == [-0.005, -0.005]
    assert sorted(round(float(c.point[0]), 3) for c in lying) == [-0.2, 0.2]
    ridge = level.copy()
    ridge[:, COLUMNS // 2] = 0.15
    across = collide(ridge, CAPSULE, [0.03, 0.2], (0, 0, 0.16), along_x)
    assert len(across) == 1 and abs(across[0].point[0]) < 0.06 and across[0].distance < -0.01


def test_a_box_stands_on_four_corners_and_on_what_pokes_into_it(collide):
    level = np.full((ROWS, COLUMNS), 0.1)
    standing = collide(level, BOX, [0.12, 0.08, 0.05], (0.02, 0.03, 0.147))
    assert len(standing) == 4
    for c in standing:
        assert c.distance == pytest.approx(-0.003, abs=1e-6) and c.normal == pytest.approx((0, 0, 1), abs=1e-5)
    spike = level.copy()
    spike[ROWS // 2, COLUMNS // 2] = 0.14
    (poked,) = collide(spike, BOX, [0.12, 0.08, 0.05], (0.02, 0.03, 0.187))
    assert poked.distance == pytest.approx(-0.003, abs=1e-6) and poked.normal == pytest.approx((0, 0, 1), abs=1e-5)


def test_which_pairs_are_taken():
    model, _ = as_model(stretched(rough(0)), "capsule")
    assert own_pairs(model, np.array([[0, 1], [1, 0], [1, 1]])).tolist() == [True, True, False]
    model.geom_type[1] = int(mujoco.mjtGeom.mjGEOM_MESH)
    assert own_pairs(model, np.array([[0, 1]])).tolist() == [False]


LEVEL = """
<mujoco>
  <option timestep="0.005"/>
  <asset><hfield name="ground" nrow="41" ncol="41" size="1 1 0.2 0.2"/></asset>
  <worldbody>
    <geom name="ground" type="hfield" hfield="ground"/>
    <body pos="0.02 0.01 0.3"><freejoint/><geom name="ball" size="0.03" mass="0.5" condim="3"/></body>
    <body pos="0.5 0.01 0.4"><freejoint/><geom name="box" type="box" size="0.1 0.1 0.05" mass="1"/></body>
    <body pos="-0.5 0.01 0.4"><freejoint/><geom name="rod" type="capsule" size="0.03 0.1" mass="1" euler="0 90 0"/></body>
  </worldbody>
</mujoco>
"""


def level_engine(own: bool) -> Engine:
    model = mujoco.MjModel.from_xml_string(LEVEL)
    model.hfield_data[:] = 0.5
    return make_engine(model, 2, SimulationCfg(dt=0.005, device="cpu", threads=1, own_field_contacts=own))


def contacts_of(engine: Engine) -> list[tuple[str, np.ndarray, float]]:
    """Name of the geom, normal and distance of each contact of the first environment's state."""
    data = engine.host_data(0)
    name = engine.model.geom
    return [(name(c.geom2).name, c.frame[:3].copy(), c.dist) for c in data.contact]


def test_things_rest_on_the_cpu_engine_as_on_a_plane() -> None:
    engine = level_engine(own=True)
    engine.step(400)
    height = engine.field("xpos")[0, 1:, 2]
    assert height.tolist() == pytest.approx([0.13, 0.15, 0.13], abs=2e-3)
    found = contacts_of(engine)
    assert sorted(name for name, _, _ in found) == ["ball", "box", "box", "box", "box", "rod", "rod"]
    for _, normal, distance in found:
        assert normal == pytest.approx((0, 0, 1), abs=1e-4) and -3e-3 < distance <= 0.0


def test_who_wants_mujocos_contacts_gets_them_and_engines_do_not_disturb_each_other() -> None:
    own, theirs = level_engine(own=True), level_engine(own=False)
    sunk = own.field("qpos").clone()
    sunk[:, 0], sunk[:, 2] = 0.049, 0.115  # half a radius under the surface, next to an inner edge
    numbers = []
    for engine in (own, theirs, own, theirs):
        engine.write("qpos", sunk)
        engine.forward()
        numbers.append(sum(name == "ball" for name, _, _ in contacts_of(engine)))
    assert numbers == [1, numbers[1], 1, numbers[1]]
    assert numbers[1] > 3


def test_without_a_compiler_there_is_a_warning_and_mujocos_contacts(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import logging; logging.basicConfig()\n"
        "from test_field_contacts import level_engine, contacts_of\n"
        "engine = level_engine(own=True); engine.step(400); engine.step(4)\n"
        "assert 0.12 < float(engine.field('xpos')[0, 1, 2]) < 0.14\n"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PATH": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("contacts with height fields are MuJoCo's own") == 1
    assert "none of c++, g++, clang++ is installed" in done.stderr
    assert list(tmp_path.glob("palestra/*.so")) == []


def test_who_leaves_contacts_to_mujoco_compiles_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_field_contacts import level_engine\n"
        "level_engine(own=False).step(4)\n"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent)], env=environment, check=True, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
