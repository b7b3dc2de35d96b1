"""Unitree's Go2 and G1 by their low-level interface (``unitree_sdk2py``, which is imported when a robot is opened).

Motor numbers, topics and the fixed bytes of a command are those of the manufacturer's SDK. This module has been checked
against the messages' layout only: not with the SDK, and not on a robot.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from palestra.deploy.robot import RobotCommand, RobotState
from palestra.errors import ConfigError, did_you_mean

_LEG = ("hip", "thigh", "calf")
_G1_LEG = ("hip_pitch", "hip_roll", "hip_yaw", "knee", "ankle_pitch", "ankle_roll")
_G1_ARM = ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow", "wrist_roll", "wrist_pitch", "wrist_yaw")


@dataclass(frozen=True)
class Model:
    """How a robot is addressed."""

    motors: tuple[str, ...]
    """Joint of each motor, in the order of ``motor_cmd`` and ``motor_state``."""

    family: str
    """Part of the SDK that has its messages: ``go`` or ``hg``."""

    motor_mode: int = 1
    """``mode`` of a motor that follows its command."""


MODELS = {
    "go2": Model(tuple(f"{leg}_{part}_joint" for leg in ("FR", "FL", "RR", "RL") for part in _LEG), "go"),
    "g1": Model(
        (
            *(f"{side}_{part}_joint" for side in ("left", "right") for part in _G1_LEG),
            *(f"waist_{part}_joint" for part in ("yaw", "roll", "pitch")),
            *(f"{side}_{part}_joint" for side in ("left", "right") for part in _G1_ARM),
        ),
        "hg",
    ),
}
"""Robots by the name in the URL."""

_RELEASE_TRIES = 5


def open_robot(url: str, joint_names: Sequence[str]) -> UnitreeRobot:
    """Return the robot that ``unitree://INTERFACE/MODEL`` names, such as ``unitree://eth0/go2``; not yet connected.

    Raises:
        ConfigError: the URL is none, the model is unknown, its joints are not the policy's, or the SDK is missing.
    """
    parts = urlsplit(url)
    name = parts.path.strip("/")
    if not parts.netloc or not name:
        raise ConfigError(f"robot {url!r} must name network interface and model, as in unitree://eth0/go2")
    if name not in MODELS:
        raise ConfigError(f"robot {url!r}: no model {name!r}: {did_you_mean(name, MODELS)}")
    model = MODELS[name]
    order = motor_order(model, joint_names)
    try:
        import_module("unitree_sdk2py.core.channel")
    except ImportError:
        raise ConfigError(
            f"robot {url!r} needs unitree_sdk2py, which is not installed: install it from the manufacturer's repository"
        ) from None
    return UnitreeRobot(parts.netloc, model, tuple(joint_names), order)


def motor_order(model: Model, joint_names: Sequence[str]) -> np.ndarray:
    """Return the number of each joint's motor.

    Raises:
        ConfigError: a joint that the robot does not have.
    """
    missing = [name for name in joint_names if name not in model.motors]
    if missing:
        raise ConfigError(f"the robot has no joint {missing[0]!r}: {did_you_mean(missing[0], model.motors)}")
    return np.array([model.motors.index(name) for name in joint_names])


def fill_command(message: Any, command: RobotCommand, model: Model, order: np.ndarray) -> None:
    """Write a command into a ``LowCmd`` message; its checksum comes afterwards.

    In damping stiffness and torque are zero, off means no gains at all. Motors that are not among the joints get
    damping of the mean of the others.
    """
    rest = float(command.damping.mean()) if len(command.damping) and command.mode != "off" else 0.0
    for motor in message.motor_cmd[: len(model.motors)]:
        motor.mode, motor.q, motor.dq, motor.tau, motor.kp, motor.kd = model.motor_mode, 0.0, 0.0, 0.0, 0.0, rest
    for joint, number in enumerate(order):
        motor = message.motor_cmd[number]
        if command.mode == "control":
            motor.q, motor.dq = float(command.joint_pos_target[joint]), float(command.joint_vel_target[joint])
            motor.tau, motor.kp = float(command.joint_effort[joint]), float(command.stiffness[joint])
        motor.kd = 0.0 if command.mode == "off" else float(command.damping[joint])


def state_of(message: Any, order: np.ndarray) -> RobotState:
    """Return a ``LowState`` message as a state; its stamp is the robot's tick (ms)."""
    motors = [message.motor_state[number] for number in order]
    return RobotState(
        stamp=1e-3 * float(message.tick),
        joint_pos=np.array([motor.q for motor in motors], float),
        joint_vel=np.array([motor.dq for motor in motors], float),
        joint_effort=np.array([motor.tau_est for motor in motors], float),
        base_ang_vel=np.array(message.imu_state.gyroscope, float),
        base_quat=np.array(message.imu_state.quaternion, float),
    )


class UnitreeRobot:
    """A Go2 or a G1 as a :class:`~palestra.deploy.robot.RobotInterface`.

    ``connect`` ends the robot's own motion service, which would command the motors, too: hang or lay the robot down
    first.
    """

    def __init__(self, interface: str, model: Model, joint_names: tuple[str, ...], order: np.ndarray) -> None:
        self.joint_names = joint_names
        self._interface, self._model, self._order = interface, model, order
        self._newest: Any = None
        self._publisher: Any = None
        self._command: Any = None
        self._crc: Any = None
        self._damping = np.zeros(len(joint_names))

    def connect(self) -> None:
        """Open the channels and end the robot's own control.

        Raises:
            ConnectionError: no state arrives, or the robot's own service does not end.
        """
        channel = import_module("unitree_sdk2py.core.channel")
        messages = import_module(f"unitree_sdk2py.idl.unitree_{self._model.family}.msg.dds_")
        defaults = import_module("unitree_sdk2py.idl.default")
        channel.ChannelFactoryInitialize(0, self._interface)
        _end_own_service()
        self._crc = import_module("unitree_sdk2py.utils.crc").CRC()
        self._command = getattr(defaults, f"unitree_{self._model.family}_msg_dds__LowCmd_")()
        if self._model.family == "go":
            self._command.head[0], self._command.head[1], self._command.level_flag = 0xFE, 0xEF, 0xFF
        subscriber = channel.ChannelSubscriber("rt/lowstate", messages.LowState_)
        subscriber.Init(self._take, 10)
        self._publisher = channel.ChannelPublisher("rt/lowcmd", messages.LowCmd_)
        self._publisher.Init()
        end = time.monotonic() + 5.0
        while self._newest is None:
            if time.monotonic() > end:
                raise ConnectionError(f"no rt/lowstate on {self._interface}")
            time.sleep(0.01)
        if self._model.family == "hg":
            self._command.mode_pr, self._command.mode_machine = 0, self._newest.mode_machine

    def read(self) -> RobotState | None:
        """Return the newest state."""
        message = self._newest
        return None if message is None else state_of(message, self._order)

    def write(self, command: RobotCommand) -> None:
        """Send a command.

        Raises:
            ConnectionError: ``connect`` has not been called.
        """
        if self._publisher is None:
            raise ConnectionError("not connected")
        self._damping = command.damping
        fill_command(self._command, command, self._model, self._order)
        self._command.crc = self._crc.Crc(self._command)
        self._publisher.Write(self._command)

    def close(self) -> None:
        """Leave the motors in damping."""
        if self._publisher is not None:
            zero = np.zeros(len(self.joint_names))
            self.write(RobotCommand(zero, zero, zero, zero, self._damping, mode="damping"))
            self._publisher = None

    def _take(self, message: Any) -> None:
        self._newest = message


def _end_own_service() -> None:
    client = import_module("unitree_sdk2py.comm.motion_switcher.motion_switcher_client").MotionSwitcherClient()
    client.SetTimeout(5.0)
    client.Init()
    for _ in range(_RELEASE_TRIES):
        _, result = client.CheckMode()
        if not (isinstance(result, Mapping) and result.get("name")):
            return
        client.ReleaseMode()
        time.sleep(1.0)
    raise ConnectionError("the robot's own motion service did not end")
