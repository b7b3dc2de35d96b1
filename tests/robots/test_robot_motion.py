"""Robots on a ground plane: they come to rest, stand, carry their weight and follow commands."""

from __future__ import annotations

import copy
import re

import mujoco
import numpy as np
import pytest

from palestra import robots
from palestra.assets import ArticulationCfg
from palestra.robots.ant import ANT_CFG
from palestra.robots.anymal_c import ANYMAL_C_CFG
from palestra.robots.franka_panda import FRANKA_PANDA_CFG, FRANKA_PANDA_VELOCITY_CFG
from palestra.robots.unitree_g1 import UNITREE_G1_CFG
from palestra.robots.unitree_go2 import UNITREE_GO2_CFG
from palestra.robots.unitree_h1 import UNITREE_H1_CFG


def build_model(name: str, cfg: ArticulationCfg | None = None) -> mujoco.MjModel:
    """Compile a robot on a ground plane, with the servos of a configuration."""
    spec = robots.get(name).spec()
    spec.option.timestep = 0.005
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.worldbody.add_geom(name="ground", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 0.1])
    if cfg is not None:
        add_servos(spec, cfg)
    return spec.compile()


def matching(table: float | dict[str, float], name: str) -> float:
    """Return the entry of a number or ``{regex: number}`` that matches ``name``; exactly one must."""
    if not isinstance(table, dict):
        return table
    hits = [value for pattern, value in table.items() if re.fullmatch(pattern, name)]
    assert len(hits) == 1, f"{name}: {len(hits)} patterns match"
    return hits[0]


def default_qpos(model: mujoco.MjModel, cfg: ArticulationCfg) -> list[float]:
    """Return ``qpos`` of the configuration's initial state."""
    qpos: list[float] = []
    for i in range(model.njnt):
        joint = model.joint(i)
        if joint.type[0] == mujoco.mjtJoint.mjJNT_FREE:
            qpos += [*cfg.init_state.pos, *cfg.init_state.rot]
        else:
            qpos.append(matching(cfg.init_state.joint_pos, joint.name))
    return qpos


def add_servos(spec: mujoco.MjSpec, cfg: ArticulationCfg) -> None:
    for group in cfg.actuators.values():
        for joint in spec.joints:
            if not any(re.fullmatch(pattern, joint.name) for pattern in group.joint_names_expr):
                continue
            servo = spec.add_actuator(name=joint.name, target=joint.name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
            damping, stiffness = matching(group.damping, joint.name), matching(group.stiffness, joint.name)
            if stiffness == 0.0:
                servo.set_to_velocity(kv=damping)
            else:
                servo.set_to_position(kp=stiffness, kv=damping)
            assert group.effort_limit is not None
            limit = matching(group.effort_limit, joint.name)
            servo.forcelimited, servo.forcerange = True, [-limit, limit]


def simulate(model: mujoco.MjModel, data: mujoco.MjData, seconds: float) -> None:
    for _ in range(round(seconds / model.opt.timestep)):
        mujoco.mj_step(model, data)
    assert not any(warning.number for warning in data.warning), "the simulation diverged"


def penetration(data: mujoco.MjData) -> float:
    return -min((contact.dist for contact in data.contact), default=0.0)


@pytest.mark.parametrize("robot", robots.names())
def test_two_seconds_without_motors_stay_finite(robot: str) -> None:
    model = build_model(robot)
    data = mujoco.MjData(model)
    if model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE:
        data.qpos[2] = 0.8
        data.qpos[3:7] = [0.9, 0.3, 0.2, 0.1]
    simulate(model, data, 2.0)
    assert np.isfinite(data.qpos).all() and np.abs(data.qvel).max() < 30.0
    if model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE:
        assert data.ncon > 0 and 0.02 < data.qpos[2] < 0.6
        assert penetration(data) < 0.01
        assert np.abs(data.qvel[:3]).max() < 0.5


@pytest.mark.parametrize("pyramidal", [True, False], ids=["pyramidal", "elliptic"])
def test_go2_stands_on_its_feet(pyramidal: bool) -> None:
    model = build_model("unitree_go2", UNITREE_GO2_CFG)
    cones = mujoco.mjtCone
    model.opt.cone = cones.mjCONE_PYRAMIDAL if pyramidal else cones.mjCONE_ELLIPTIC
    data = mujoco.MjData(model)
    data.qpos[:] = default_qpos(model, UNITREE_GO2_CFG)
    data.ctrl[:] = [data.joint(model.actuator(i).name).qpos[0] for i in range(model.nu)]
    simulate(model, data, 2.0)
    assert 0.22 < data.qpos[2] < 0.34
    up = data.body("base_link").xmat.reshape(3, 3)[2, 2]
    assert up > 0.99 and np.abs(data.qvel).max() < 0.1
    touching = {model.geom(g).name for contact in data.contact for g in contact.geom} - {"ground"}
    assert touching == {f"{leg}_foot" for leg in ("FL", "FR", "RL", "RR")}
    weight = sum(_normal_force(model, data, i) for i in range(data.ncon))
    assert weight == pytest.approx(model.body_mass.sum() * 9.81, rel=0.02)


LEGS = ("LF", "RF", "LH", "RH")
SOLES = {f"{side}_foot_{k}" for side in ("left", "right") for k in (1, 2, 3, 4)}


@pytest.mark.parametrize(
    ("robot", "cfg", "root", "lowest", "feet"),
    [
        ("anymal_c", ANYMAL_C_CFG, "base", 0.46, {f"{leg}_FOOT" for leg in LEGS}),
        ("unitree_g1", UNITREE_G1_CFG, "pelvis", 0.73, SOLES),
        ("unitree_h1", UNITREE_H1_CFG, "pelvis", 0.97, SOLES),
    ],
    ids=["anymal_c", "unitree_g1", "unitree_h1"],
)
def test_five_seconds_of_standing(robot: str, cfg: ArticulationCfg, root: str, lowest: float, feet: set[str]) -> None:
    model = build_model(robot, cfg)
    data = mujoco.MjData(model)
    data.qpos[:] = default_qpos(model, cfg)
    data.ctrl[:] = [data.joint(model.actuator(i).name).qpos[0] for i in range(model.nu)]
    simulate(model, data, 5.0)
    assert lowest < data.qpos[2] < cfg.init_state.pos[2] + 0.01
    assert data.body(root).xmat.reshape(3, 3)[2, 2] > 0.99 and np.abs(data.qvel).max() < 0.1
    touching = {model.geom(g).name for contact in data.contact for g in contact.geom} - {"ground"}
    assert touching <= feet and len(touching) >= 4
    weight = sum(_normal_force(model, data, i) for i in range(data.ncon))
    assert weight == pytest.approx(model.body_mass.sum() * 9.81, rel=0.02)


def test_soft_ankles_would_let_the_g1_fall() -> None:
    cfg = copy.deepcopy(UNITREE_G1_CFG)
    cfg.actuators["feet"].stiffness = 20.0
    model = build_model("unitree_g1", cfg)
    data = mujoco.MjData(model)
    data.qpos[:] = default_qpos(model, cfg)
    data.ctrl[:] = [data.joint(model.actuator(i).name).qpos[0] for i in range(model.nu)]
    simulate(model, data, 5.0)
    assert data.qpos[2] < 0.5


def _normal_force(model: mujoco.MjModel, data: mujoco.MjData, contact: int) -> float:
    force = np.zeros(6)
    mujoco.mj_contactForce(model, data, contact, force)
    return force[0]


def test_ant_starts_just_above_the_ground() -> None:
    model = build_model("ant")
    data = mujoco.MjData(model)
    data.qpos[:] = default_qpos(model, ANT_CFG)
    mujoco.mj_forward(model, data)
    lowest = min(data.site(f"foot_{k}").xpos[2] for k in range(1, 5)) - 0.08
    assert 0.0 < lowest < 0.05


def test_franka_holds_its_pose_without_motors() -> None:
    model = build_model("franka_panda")
    data = mujoco.MjData(model)
    data.qpos[:] = default_qpos(model, FRANKA_PANDA_CFG)
    start = data.qpos.copy()
    simulate(model, data, 1.0)
    np.testing.assert_allclose(data.qpos[:7], start[:7], atol=1e-3)


def test_franka_hand_points_down_in_the_default_pose() -> None:
    model = build_model("franka_panda")
    data = mujoco.MjData(model)
    data.qpos[:] = default_qpos(model, FRANKA_PANDA_CFG)
    mujoco.mj_forward(model, data)
    tcp = data.site("tcp")
    assert 0.3 < tcp.xpos[0] < 0.6 and abs(tcp.xpos[1]) < 0.02 and 0.2 < tcp.xpos[2] < 0.6
    assert tcp.xmat.reshape(3, 3)[2, 2] < -0.5


@pytest.mark.parametrize("joint", range(7))
def test_franka_velocity_command_of_one_joint_is_reached(joint: int) -> None:
    model = build_model("franka_panda", FRANKA_PANDA_VELOCITY_CFG)
    data = mujoco.MjData(model)
    data.qpos[:] = default_qpos(model, FRANKA_PANDA_VELOCITY_CFG)
    data.joint("joint4").qpos[0], data.joint("joint6").qpos[0] = -1.57, 1.57
    data.ctrl[joint], data.ctrl[7:] = 0.5, 0.04
    simulate(model, data, 0.5)
    assert data.qvel[joint] == pytest.approx(0.5, rel=0.05)


def test_franka_position_commands_do_not_overshoot() -> None:
    model = build_model("franka_panda", FRANKA_PANDA_CFG)
    data = mujoco.MjData(model)
    data.qpos[:] = default_qpos(model, FRANKA_PANDA_CFG)
    start = data.qpos[:7].copy()
    step = 0.3 * np.array([1, 1, 1, 1, 1, -1, 1])
    data.ctrl[:7], data.ctrl[7:] = start + step, 0.04
    peak = np.zeros(7)
    for _ in range(400):
        mujoco.mj_step(model, data)
        peak = np.maximum(peak, (data.qpos[:7] - start) / step)
    np.testing.assert_allclose(data.qpos[:7], start + step, atol=0.01)
    assert peak.max() < 1.02


def test_gripper_fingers_move_together_and_hold_a_box() -> None:
    spec = robots.get("franka_panda").spec()
    spec.option.timestep = 0.002
    servo = spec.add_actuator(target="finger_joint1", trntype=mujoco.mjtTrn.mjTRN_JOINT)
    servo.set_to_position(kp=2000, kv=100)
    spec.worldbody.add_geom(name="ground", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 0.1], pos=[0, 0, -1])
    hand = spec.compile()
    data = mujoco.MjData(hand)
    data.qpos[:7] = [0, 0, 0, -1.5708, 0, 1.5708, 0.7853]
    data.qpos[7:] = 0.04
    mujoco.mj_forward(hand, data)
    tcp = data.site("tcp").xpos.copy()
    box = spec.worldbody.add_body(name="box", pos=tcp)
    box.add_freejoint(name="box")
    box.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.02, 0.02, 0.02], mass=0.05)
    model = spec.compile()
    data = mujoco.MjData(model)
    data.qpos[:7] = [0, 0, 0, -1.5708, 0, 1.5708, 0.7853]
    data.qpos[7:9] = 0.0205
    data.ctrl[0] = 0.0
    for _ in range(500):
        mujoco.mj_step(model, data)
    assert data.joint("finger_joint1").qpos[0] == pytest.approx(0.02, abs=3e-3)
    assert data.joint("finger_joint2").qpos[0] == pytest.approx(data.joint("finger_joint1").qpos[0], abs=1e-3)
    np.testing.assert_allclose(data.body("box").xpos, data.site("tcp").xpos, atol=5e-3)  # the limp arm sinks with it


def test_legs_pass_through_each_other_but_not_through_the_ground() -> None:
    model = build_model("unitree_go2")
    data = mujoco.MjData(model)
    data.qpos[2] = 1.0
    data.joint("FL_hip_joint").qpos[0], data.joint("FR_hip_joint").qpos[0] = -1.0, 1.0
    mujoco.mj_forward(model, data)
    assert data.ncon == 0
    data.qpos[2] = 0.1
    mujoco.mj_forward(model, data)
    assert data.ncon > 0
