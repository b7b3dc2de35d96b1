"""Unitree's robots: motors by name, commands and states in their messages' layout. The SDK is not among the packages."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from palestra.deploy.robot import RobotCommand
from palestra.deploy.robots import open_robot
from palestra.deploy.unitree import MODELS, fill_command, motor_order, state_of
from palestra.errors import ConfigError
from palestra.robots import resolve

GO2 = [f"{leg}_{part}_joint" for leg in ("FL", "FR", "RL", "RR") for part in ("hip", "thigh", "calf")]


@dataclass
class Motor:
    """Fields of the manufacturer's ``MotorCmd`` and ``MotorState``."""

    mode: int = 0
    q: float = 0.0
    dq: float = 0.0
    tau: float = 0.0
    kp: float = 0.0
    kd: float = 0.0
    tau_est: float = 0.0


@dataclass
class Imu:
    quaternion: list[float] = field(default_factory=lambda: [1.0, 0.0, 0.0, 0.0])
    gyroscope: list[float] = field(default_factory=lambda: [0.1, 0.2, 0.3])


@dataclass
class Message:
    motor_cmd: list[Motor] = field(default_factory=lambda: [Motor() for _ in range(20)])
    motor_state: list[Motor] = field(default_factory=lambda: [Motor() for _ in range(20)])
    imu_state: Imu = field(default_factory=Imu)
    tick: int = 1500


def test_motors_are_found_by_name():
    # the SDK numbers FR, FL, RR, RL; the policy's joints come FL, FR, RL, RR
    assert motor_order(MODELS["go2"], GO2).tolist() == [3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]
    assert len(MODELS["g1"].motors) == 29 and MODELS["g1"].motors[12:15] == (
        "waist_yaw_joint",
        "waist_roll_joint",
        "waist_pitch_joint",
    )
    with pytest.raises(ConfigError, match="the robot has no joint 'FL_hip'"):
        motor_order(MODELS["go2"], ["FL_hip"])


@pytest.mark.parametrize(("name", "robot"), [("go2", "unitree_go2"), ("g1", "unitree_g1")])
def test_the_robots_models_have_these_joints(name, robot):
    import mujoco

    model = mujoco.MjModel.from_xml_path(str(resolve(robot).path))
    joints = [model.joint(i).name for i in range(model.njnt) if model.jnt_type[i] != mujoco.mjtJoint.mjJNT_FREE]
    assert sorted(joints) == sorted(MODELS[name].motors)


def test_a_command_reaches_its_motors():
    message, order = Message(), motor_order(MODELS["go2"], GO2)
    values = np.arange(12.0)
    fill_command(
        message, RobotCommand(values, values + 20, values + 40, values + 60, values + 80), MODELS["go2"], order
    )
    first = message.motor_cmd[3]  # FL_hip
    assert (first.mode, first.q, first.dq, first.tau, first.kp, first.kd) == (1, 0.0, 20.0, 40.0, 60.0, 80.0)
    assert message.motor_cmd[0].q == 3.0 and message.motor_cmd[8].kp == 71.0  # FR_hip, RR_calf
    assert message.motor_cmd[12].mode == 0  # not one of the robot's


@pytest.mark.parametrize(("mode", "kd"), [("damping", 2.0), ("off", 0.0)])
def test_damping_and_off_ask_for_no_position(mode, kd):
    message, order, ones = Message(), motor_order(MODELS["go2"], GO2), np.ones(12)
    fill_command(message, RobotCommand(ones, ones, ones, ones, 2 * ones, mode=mode), MODELS["go2"], order)
    for motor in message.motor_cmd[:12]:
        assert (motor.kp, motor.tau, motor.q, motor.dq, motor.kd) == (0.0, 0.0, 0.0, 0.0, kd)


def test_a_state_comes_in_the_policys_order():
    message, order = Message(), motor_order(MODELS["go2"], GO2)
    for number, motor in enumerate(message.motor_state):
        motor.q, motor.dq, motor.tau_est = number, number + 0.5, -number
    state = state_of(message, order)
    assert state.stamp == 1.5 and state.joint_pos.tolist() == order.tolist()
    assert state.joint_vel[0] == 3.5 and state.joint_effort is not None and state.joint_effort[0] == -3.0
    assert state.base_ang_vel is not None and state.base_ang_vel.tolist() == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("unitree://eth0", "must name network interface and model"),
        ("unitree://eth0/go3", "no model 'go3': did you mean 'go2'"),
        ("unitree://eth0/go2", "needs unitree_sdk2py, which is not installed"),
    ],
)
def test_what_cannot_be_opened_is_said_in_one_line(url, message):
    with pytest.raises(ConfigError, match=message):
        open_robot(url, GO2)
