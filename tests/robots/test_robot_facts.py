"""Robots against published numbers (``facts/``), Ant against Gymnasium's file, cartpole by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest

from palestra import robots
from palestra.assets import ArticulationCfg
from palestra.robots.ant import ANT_CFG
from palestra.robots.anymal_c import ANYMAL_C_CFG
from palestra.robots.cartpole import CARTPOLE_CFG
from palestra.robots.franka_panda import FRANKA_PANDA_CFG, FRANKA_PANDA_VELOCITY_CFG
from palestra.robots.unitree_g1 import UNITREE_G1_CFG
from palestra.robots.unitree_go2 import UNITREE_GO2_CFG
from palestra.robots.unitree_h1 import UNITREE_H1_CFG

ALL_FACTS = {path.stem: json.loads(path.read_text()) for path in (Path(__file__).parent / "facts").glob("*.json")}
FACTS = {robot: facts for robot, facts in ALL_FACTS.items() if "bodies" in facts}  # the others are URDF's links
SPARE = "not_use"  # a body of 0.1 kg, with a joint, that the H1's source keeps 20 m above the robot
MODELS = {name: robots.get(name).spec().compile() for name in robots.names()}


def facts_of(kind: str) -> list[tuple[str, dict]]:
    rows = [(robot, row) for robot, facts in FACTS.items() for row in facts[kind]]
    return [(robot, row) for robot, row in rows if not row["name"].startswith(SPARE)]


BODIES = [(robot, body) for robot, body in facts_of("bodies") if body["mass"] > 0]
JOINTS = facts_of("joints")
CONFIGS = {
    "ant": ANT_CFG,
    "anymal_c": ANYMAL_C_CFG,
    "cartpole": CARTPOLE_CFG,
    "franka_panda": FRANKA_PANDA_CFG,
    "unitree_g1": UNITREE_G1_CFG,
    "unitree_go2": UNITREE_GO2_CFG,
    "unitree_h1": UNITREE_H1_CFG,
}


def rotation(quat: object) -> np.ndarray:
    matrix = np.zeros(9)
    unit = np.array(quat, dtype=float)
    mujoco.mju_quat2Mat(matrix, unit / np.linalg.norm(unit))
    return matrix.reshape(3, 3)


def tensor(diagonal: object, quat: object) -> np.ndarray:
    axes = rotation(quat)
    return axes @ np.diag(np.array(diagonal, dtype=float)) @ axes.T


def effort_limit(cfg: ArticulationCfg, joint: str) -> float:
    limits = []
    for group in cfg.actuators.values():
        table = group.effort_limit
        for pattern in group.joint_names_expr:
            if re.fullmatch(pattern, joint):
                rows = table.items() if isinstance(table, dict) else [(".*", table)]
                limits += [value for key, value in rows if re.fullmatch(key, joint)]
    assert len(limits) == 1, f"{joint}: {limits}"
    return limits[0]


def test_facts_of_the_robots_are_there() -> None:
    assert set(FACTS) == {"franka_panda", "unitree_g1", "unitree_go2", "unitree_h1"}
    assert (len(BODIES), len(JOINTS)) == (11 + 30 + 13 + 20, 9 + 30 + 13 + 20)
    assert set(ALL_FACTS) - set(FACTS) == {"anymal_c"}


@pytest.mark.parametrize(("robot", "fact"), BODIES, ids=[f"{r}-{b['name']}" for r, b in BODIES])
def test_body_offset_mass_and_inertia(robot: str, fact: dict) -> None:
    body = MODELS[robot].body(fact["name"])
    parent = MODELS[robot].body(body.parentid[0]).name
    assert parent == fact["parent"]
    np.testing.assert_allclose(body.pos, fact["pos"], atol=1e-6)
    np.testing.assert_allclose(rotation(body.quat), rotation(fact["quat_wxyz"]), atol=2e-6)
    assert body.mass[0] == pytest.approx(fact["mass"], abs=1e-9)
    np.testing.assert_allclose(body.ipos, fact["com"], atol=1e-6)
    expected = tensor(fact["inertia_diag"], fact["inertia_quat_wxyz"])
    np.testing.assert_allclose(tensor(body.inertia, body.iquat), expected, atol=1e-5 * expected.max())


@pytest.mark.parametrize("robot", sorted(FACTS))
def test_no_mass_besides_the_facts(robot: str) -> None:
    spare = sum(body["mass"] for body in FACTS[robot]["bodies"] if body["name"].startswith(SPARE))
    assert spare == pytest.approx(0.1 if robot == "unitree_h1" else 0.0)
    assert MODELS[robot].body_mass.sum() == pytest.approx(FACTS[robot]["total_mass"] - spare, abs=1e-5)
    assert MODELS[robot].njnt == len([1 for owner, _ in JOINTS if owner == robot])


@pytest.mark.parametrize(("robot", "fact"), JOINTS, ids=[f"{r}-{j['name'] or 'free'}" for r, j in JOINTS])
def test_joint(robot: str, fact: dict) -> None:
    joint = MODELS[robot].joint("root" if fact["type"] == "free" else fact["name"])
    assert joint.type[0] == getattr(mujoco.mjtJoint, f"mjJNT_{fact['type'].upper()}")
    assert MODELS[robot].body(joint.bodyid[0]).name == fact["body"]
    assert bool(MODELS[robot].jnt_limited[joint.id]) == (fact["range"] is not None)
    if fact["range"] is not None:
        np.testing.assert_allclose(joint.range, fact["range"], atol=1e-6)
        np.testing.assert_allclose(joint.axis, fact["axis"], atol=1e-6)
    np.testing.assert_allclose(joint.pos, fact["pos"], atol=1e-6)
    np.testing.assert_allclose(joint.armature, fact["armature"])
    np.testing.assert_allclose(joint.frictionloss, fact["frictionloss"])
    if re.fullmatch(r"joint\d", fact["name"]):
        # The source's 40 and 2 stand for the velocity loop, which is an actuator's gain here (see the MJCF).
        assert 0.0 < joint.damping[0] < fact["damping"] / 5
    else:
        np.testing.assert_allclose(joint.damping, fact["damping"])


@pytest.mark.parametrize("leg", ["FL", "FR", "RL", "RR"])
def test_go2_foot_sits_where_the_source_has_its_foot_body(leg: str) -> None:
    foot = next(b for b in FACTS["unitree_go2"]["bodies"] if b["name"] == f"{leg}_foot")
    model = MODELS["unitree_go2"]
    site, geom = model.site(f"{leg}_foot"), model.geom(f"{leg}_foot")
    assert model.body(site.bodyid[0]).name == model.body(geom.bodyid[0]).name == foot["parent"]
    np.testing.assert_allclose(site.pos, foot["pos"])
    np.testing.assert_allclose(geom.pos, [-0.002, 0.0, -0.213])
    assert geom.size[0] == 0.022


@pytest.mark.parametrize(
    ("robot", "fact"),
    [(r, a) for r, a in facts_of("actuators") if r.startswith("unitree")],
    ids=lambda x: x if isinstance(x, str) else x["joint"],
)
def test_unitree_effort_limits(robot: str, fact: dict) -> None:
    assert effort_limit(CONFIGS[robot], fact["joint"]) == fact["ctrl_range"][1]


@pytest.mark.parametrize("side", ["left", "right"])
def test_g1_stands_on_the_spheres_of_its_source(side: str) -> None:
    link = f"{side}_ankle_roll_link"
    spheres = [g for g in FACTS["unitree_g1"]["collision_primitives"] if g["body"] == link]
    geoms = [MODELS["unitree_g1"].geom(f"{side}_foot_{k}") for k in (1, 2, 3, 4)]
    assert {MODELS["unitree_g1"].body(geom.bodyid[0]).name for geom in geoms} == {link}
    np.testing.assert_allclose(sorted(g.pos.tolist() for g in geoms), sorted(g["pos"] for g in spheres))
    assert [g.size[0] for g in geoms] == [g["size"][0] for g in spheres]


@pytest.mark.parametrize("cfg", [FRANKA_PANDA_CFG, FRANKA_PANDA_VELOCITY_CFG], ids=["position", "velocity"])
@pytest.mark.parametrize("fact", FACTS["franka_panda"]["actuators"], ids=lambda a: a["joint"])
def test_franka_effort_limits(fact: dict, cfg: ArticulationCfg) -> None:
    limit = effort_limit(cfg, fact["joint"])
    if fact["joint"] in ("joint1", "joint2", "joint3", "joint4"):
        # The arm's data sheet rates these joints at 87 N·m; the source's servos are allowed a little more.
        assert limit == 87.0 < fact["force_range"][1]
    else:
        assert limit == fact["force_range"][1]


def test_franka_carries_its_weight_and_couples_its_fingers() -> None:
    model = MODELS["franka_panda"]
    np.testing.assert_array_equal(model.body_gravcomp[1:], 1.0)
    assert model.neq == 1 and model.eq_type[0] == mujoco.mjtEq.mjEQ_JOINT
    assert {model.eq_obj1id[0], model.eq_obj2id[0]} == {model.joint(f"finger_joint{k}").id for k in (1, 2)}
    tcp = model.site("tcp")
    assert model.body(tcp.bodyid[0]).name == "hand"
    np.testing.assert_allclose(tcp.pos, [0.0, 0.0, 0.1034])


def euler(rpy: list[float]) -> np.ndarray:
    """Rotation of URDF's roll, pitch and yaw, about the fixed axes x, y, z in this order."""
    quat = np.zeros(4)
    mujoco.mju_euler2Quat(quat, np.array(rpy, dtype=float), "XYZ")
    return rotation(quat)


def anymal_links() -> tuple[dict[str, tuple[np.ndarray, np.ndarray, str]], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Pose of every URDF link in the base with all joints at zero and the body it moves with; hinge anchors and axes."""
    links = {"base": (np.zeros(3), np.eye(3), "base")}
    hinges = {}
    waiting = list(ALL_FACTS["anymal_c"]["joints"])
    while waiting:
        joint = next(j for j in waiting if j["parent"] in links)
        waiting.remove(joint)
        pos, axes, body = links[joint["parent"]]
        pos, axes = pos + axes @ joint["xyz"], axes @ euler(joint["rpy"])
        if joint["type"] == "revolute":
            hinges[joint["name"]] = (pos, axes @ joint["axis"])
            body = joint["child"]
        links[joint["child"]] = (pos, axes, body)
    return links, hinges


@pytest.mark.parametrize("body", [MODELS["anymal_c"].body(i).name for i in range(1, MODELS["anymal_c"].nbody)])
def test_anymal_body_is_the_sum_of_its_links(body: str) -> None:
    model = MODELS["anymal_c"]
    data = mujoco.MjData(model)
    data.qpos[:7] = [0, 0, 0, 1, 0, 0, 0]
    mujoco.mj_kinematics(model, data)
    links, _ = anymal_links()
    mass, moment, about_base = 0.0, np.zeros(3), np.zeros((3, 3))
    for link in ALL_FACTS["anymal_c"]["links"]:
        pos, axes, owner = links[link["name"]]
        if owner != body or "mass" not in link:
            continue
        center = pos + axes @ link["com_xyz"]
        i = link["inertia"]
        own = np.array([[i["ixx"], i["ixy"], i["ixz"]], [i["ixy"], i["iyy"], i["iyz"]], [i["ixz"], i["iyz"], i["izz"]]])
        axes = axes @ euler(link["com_rpy"])
        mass += link["mass"]
        moment += link["mass"] * center
        about_base += axes @ own @ axes.T + link["mass"] * (center @ center * np.eye(3) - np.outer(center, center))
    ours, place = model.body(body), data.body(body)
    assert ours.mass[0] == pytest.approx(mass, abs=1e-9)
    np.testing.assert_allclose(place.xipos, moment / mass, atol=1e-6)
    axes = place.ximat.reshape(3, 3)
    steiner = mass * (place.xipos @ place.xipos * np.eye(3) - np.outer(place.xipos, place.xipos))
    np.testing.assert_allclose(axes @ np.diag(ours.inertia) @ axes.T + steiner, about_base, atol=2e-6)


@pytest.mark.parametrize(
    "fact", [j for j in ALL_FACTS["anymal_c"]["joints"] if j["type"] != "fixed"], ids=lambda j: j["name"]
)
def test_anymal_joint(fact: dict) -> None:
    model = MODELS["anymal_c"]
    data = mujoco.MjData(model)
    data.qpos[:7] = [0, 0, 0, 1, 0, 0, 0]
    mujoco.mj_kinematics(model, data)
    anchor, axis = anymal_links()[1][fact["name"]]
    joint = model.joint(fact["name"])
    np.testing.assert_allclose(data.joint(joint.id).xanchor, anchor, atol=1e-6)
    np.testing.assert_allclose(data.joint(joint.id).xaxis, axis, atol=1e-6)
    np.testing.assert_allclose(joint.range, [fact["limit"]["lower"], fact["limit"]["upper"]], atol=1e-6)
    assert effort_limit(ANYMAL_C_CFG, fact["name"]) == fact["limit"]["effort"]
    assert model.body(joint.bodyid[0]).name == fact["child"]


@pytest.mark.parametrize("leg", ["LF", "RF", "LH", "RH"])
def test_anymal_foot(leg: str) -> None:
    model = MODELS["anymal_c"]
    data = mujoco.MjData(model)
    data.qpos[:7] = [0, 0, 0, 1, 0, 0, 0]
    mujoco.mj_kinematics(model, data)
    pos, axes, body = anymal_links()[0][f"{leg}_FOOT"]
    link = next(x for x in ALL_FACTS["anymal_c"]["links"] if x["name"] == f"{leg}_FOOT")
    sphere = next(x for x in link["collision_primitives"] if x["shape"] == "sphere")
    np.testing.assert_allclose(data.site(f"{leg}_FOOT").xpos, pos, atol=1e-6)
    np.testing.assert_allclose(data.geom(f"{leg}_FOOT").xpos, pos + axes @ sphere["xyz"], atol=1e-6)
    assert model.geom(f"{leg}_FOOT").size[0] == float(sphere["radius"])
    assert model.body(model.geom(f"{leg}_FOOT").bodyid[0]).name == body == f"{leg}_SHANK"


def test_anymal_has_the_mass_of_its_source_and_twelve_joints() -> None:
    assert MODELS["anymal_c"].body_mass.sum() == pytest.approx(ALL_FACTS["anymal_c"]["total_mass"], abs=1e-5)
    assert MODELS["anymal_c"].njnt == 1 + 12


def test_ant_is_gymnasiums_ant() -> None:
    file = Path(str(gymnasium.__file__)).parent / "envs" / "mujoco" / "assets" / "ant.xml"
    reference = mujoco.MjModel.from_xml_path(str(file))
    model = MODELS["ant"]
    assert model.body_mass.sum() == pytest.approx(reference.body_mass.sum(), rel=1e-9)
    np.testing.assert_array_equal(model.dof_armature, reference.dof_armature)
    np.testing.assert_array_equal(model.dof_damping, reference.dof_damping)
    # Same pose of both: ankles bent by 1 rad; in the reference two of the four axes point the other way.
    poses = []
    for each, signs in ((model, [1, 1, 1, 1]), (reference, [1, -1, -1, 1])):
        data = mujoco.MjData(each)
        data.qpos[8::2] = signs
        mujoco.mj_forward(each, data)
        feet = data.xipos[np.flatnonzero(np.isclose(each.body_mass, each.body_mass[-1]))]
        inertia = np.zeros((each.nv, each.nv))
        mujoco.mj_fullM(each, data, inertia)
        flip = np.diag(np.concatenate([np.ones(6), np.ravel([[1, s] for s in signs])]))
        poses.append((feet, flip @ inertia @ flip))
    np.testing.assert_allclose(poses[0][0], poses[1][0], atol=1e-6)
    np.testing.assert_allclose(poses[0][1], poses[1][1], atol=1e-5)


def test_ant_ranges() -> None:
    degrees = np.rad2deg(MODELS["ant"].jnt_range[1:])
    np.testing.assert_allclose(degrees[0::2], [[-30, 30]] * 4, atol=1e-3)
    np.testing.assert_allclose(degrees[1::2], [[30, 70]] * 4, atol=1e-3)


def test_cartpole_numbers() -> None:
    model = MODELS["cartpole"]
    cart, pole = model.body("cart"), model.body("pole")
    assert (cart.mass[0], pole.mass[0]) == (1.0, 0.1)
    np.testing.assert_allclose(pole.ipos, [0, 0, 0.5])
    # Rod of length l = 1 m and radius r = 2 cm: m (3 r² + l²) / 12 across, m r² / 2 along.
    np.testing.assert_allclose(sorted(pole.inertia), [2e-5, 0.1 * 1.0012 / 12, 0.1 * 1.0012 / 12], rtol=1e-3)
    # Box of 0.4 x 0.2 x 0.12 m: m (b² + c²) / 12.
    np.testing.assert_allclose(sorted(cart.inertia), np.array([0.0544, 0.1744, 0.2]) / 12, rtol=1e-3)
    np.testing.assert_allclose(model.joint("slider_to_cart").range, [-4, 4])
    assert not model.jnt_limited[model.joint("cart_to_pole").id]
    np.testing.assert_array_equal(model.body_gravcomp, 0.0)
    assert not np.any(model.geom_contype | model.geom_conaffinity)


def test_upright_pole_falls_to_the_side_it_leans_to() -> None:
    model = MODELS["cartpole"]
    data = mujoco.MjData(model)
    data.joint("cart_to_pole").qpos[0] = 0.05
    mujoco.mj_forward(model, data)
    assert data.site("tip").xpos[0] > 0.04
    # θ'' = g sin θ / (l (4/3 - m cos² θ / (M + m))), half length l = 0.5 (Barto, Sutton and Anderson, 1983).
    expected = 9.81 * np.sin(0.05) / (0.5 * (4 / 3 - 0.1 * np.cos(0.05) ** 2 / 1.1))
    assert data.joint("cart_to_pole").qacc[0] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("robot", robots.names())
def test_files_hold_only_the_robot(robot: str) -> None:
    model = MODELS[robot]
    assert (model.nu, model.nkey, model.nlight, model.nmesh, model.ncam) == (0, 0, 0, 0, 0)
    assert not np.any(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE)
    np.testing.assert_array_equal(model.geom_conaffinity, 0)  # so no pair of the robot's own geoms collides


@pytest.mark.parametrize("robot", robots.names())
def test_config_names_every_joint_once_within_its_range(robot: str) -> None:
    cfg, model = CONFIGS[robot], MODELS[robot]
    hinges = [model.joint(i) for i in range(model.njnt) if model.jnt_type[i] != mujoco.mjtJoint.mjJNT_FREE]
    for joint in hinges:
        value = [v for pattern, v in cfg.init_state.joint_pos.items() if re.fullmatch(pattern, joint.name)]
        assert len(value) == 1, joint.name
        if model.jnt_limited[joint.id]:
            assert joint.range[0] <= value[0] <= joint.range[1]
    patterns = [pattern for group in cfg.actuators.values() for pattern in group.joint_names_expr]
    driven = {j.name for j in hinges if any(re.fullmatch(pattern, j.name) for pattern in patterns)}
    passive = {"cart_to_pole"} if robot == "cartpole" else set()
    assert driven == {j.name for j in hinges} - passive
