"""The packets of a robot that is reached by UDP: little-endian, 8-byte numbers, a checksum at the end. Numpy only.

A packet is a header – ``PLST``, version and kind (one byte each), two bytes of flags, the sender's sequence number
(4 bytes), a time stamp (s, 8 bytes) –, a body that depends on the kind, and the CRC-32 of all before it.

=========== ================== ===============================================================================
kind        direction          body
=========== ================== ===============================================================================
``HELLO``   client → robot     nothing
``DESCRIBE`` robot → client    JSON: ``joint_names``, ``extra`` (name → width), ``floating_base``, ``lockstep``,
                               ``state_rate``
``STATE``   robot → client     position, velocity, torque of each joint; with a floating base quaternion (4) and
                               angular velocity (3); extra sensors in the order of ``DESCRIBE``. Flag 1: something
                               touches the base
``COMMAND`` client → robot     q*, q̇*, torque, stiffness, damping of each joint. Flags: 0 control, 1 damping, 2 off
``ADVANCE`` client → robot     time to simulate (s); lock-step only
``DONE``    robot → client     nothing; its sequence number is that of the request that is done
``RESET``   client → robot     seed (8 bytes, a float64)
``RELEASE`` client → robot     nothing: lets a robot down that hangs in a harness
``BYE``     client → robot     nothing
=========== ================== ===============================================================================
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from palestra.deploy.robot import Mode, RobotCommand, RobotState

VERSION = 1
HELLO, DESCRIBE, STATE, COMMAND, ADVANCE, DONE, RESET, RELEASE, BYE = range(1, 10)
MODES: tuple[Mode, ...] = ("control", "damping", "off")
LARGEST = 65_507
"""Bytes of the largest UDP packet."""

_HEADER = struct.Struct("<4sBBHId")
_MAGIC = b"PLST"
_CRC = struct.Struct("<I")
_BASE_CONTACT = 1


@dataclass(frozen=True)
class Packet:
    """A packet whose checksum is right."""

    kind: int
    flags: int
    sequence: int
    stamp: float
    body: bytes


@dataclass(frozen=True)
class Layout:
    """What the bodies of states and commands hold."""

    joint_names: tuple[str, ...]
    extra: dict[str, int]
    """Further sensors and their widths."""

    floating_base: bool
    lockstep: bool
    state_rate: float
    """States a second."""

    @property
    def state_width(self) -> int:
        """Numbers of a state."""
        return 3 * len(self.joint_names) + 7 * self.floating_base + sum(self.extra.values())

    @property
    def command_width(self) -> int:
        """Numbers of a command."""
        return 5 * len(self.joint_names)

    def to_json(self) -> bytes:
        """Return the body of a ``DESCRIBE`` packet."""
        return json.dumps({**vars(self), "joint_names": list(self.joint_names)}).encode()

    @staticmethod
    def from_json(body: bytes) -> Layout | None:
        """Read the body of a ``DESCRIBE`` packet; None if it is none."""
        try:
            told: Any = json.loads(body)
            names, extra = tuple(map(str, told["joint_names"])), {str(k): int(v) for k, v in told["extra"].items()}
            return Layout(names, extra, bool(told["floating_base"]), bool(told["lockstep"]), float(told["state_rate"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def pack(kind: int, sequence: int, stamp: float, body: bytes = b"", flags: int = 0) -> bytes:
    """Return a packet's bytes."""
    data = _HEADER.pack(_MAGIC, VERSION, kind, flags, sequence & 0xFFFFFFFF, stamp) + body
    return data + _CRC.pack(zlib.crc32(data))


def unpack(data: bytes) -> Packet | None:
    """Read a packet; None if it is damaged, of another version, or none at all."""
    if len(data) < _HEADER.size + _CRC.size or data[:4] != _MAGIC:
        return None
    content = data[: -_CRC.size]
    if _CRC.unpack(data[-_CRC.size :])[0] != zlib.crc32(content):
        return None
    _, version, kind, flags, sequence, stamp = _HEADER.unpack(content[: _HEADER.size])
    if version != VERSION or not HELLO <= kind <= BYE:
        return None
    return Packet(kind, flags, sequence, stamp, content[_HEADER.size :])


def pack_state(state: RobotState, layout: Layout, sequence: int) -> bytes:
    """Return the packet of a state."""
    effort = np.zeros(len(layout.joint_names)) if state.joint_effort is None else state.joint_effort
    parts = [state.joint_pos, state.joint_vel, effort]
    if layout.floating_base:
        assert state.base_quat is not None
        assert state.base_ang_vel is not None
        parts += [state.base_quat, state.base_ang_vel]
    parts += [state.extra[name] for name in layout.extra]
    body = np.concatenate([np.asarray(part, np.float64).ravel() for part in parts]).astype("<f8").tobytes()
    return pack(STATE, sequence, state.stamp, body, _BASE_CONTACT if state.base_contact else 0)


def unpack_state(packet: Packet, layout: Layout) -> RobotState | None:
    """Read a state; None if its length is not that of the layout."""
    values = _numbers(packet.body, layout.state_width)
    if values is None:
        return None
    count = len(layout.joint_names)
    joints, rest = values[: 3 * count].reshape(3, count), values[3 * count :]
    quat = ang_vel = None
    if layout.floating_base:
        quat, ang_vel, rest = rest[:4], rest[4:7], rest[7:]
    extra, start = {}, 0
    for name, width in layout.extra.items():
        extra[name] = rest[start : start + width]
        start += width
    return RobotState(
        packet.stamp, joints[0], joints[1], joints[2], ang_vel, quat, bool(packet.flags & _BASE_CONTACT), extra
    )


def pack_command(command: RobotCommand, sequence: int, stamp: float) -> bytes:
    """Return the packet of a command."""
    parts = (
        command.joint_pos_target,
        command.joint_vel_target,
        command.joint_effort,
        command.stiffness,
        command.damping,
    )
    body = np.concatenate([np.asarray(part, np.float64) for part in parts]).astype("<f8").tobytes()
    return pack(COMMAND, sequence, stamp, body, MODES.index(command.mode))


def unpack_command(packet: Packet, layout: Layout) -> RobotCommand | None:
    """Read a command; None if its length is not that of the layout, or a number is not finite."""
    values = _numbers(packet.body, layout.command_width)
    if values is None or packet.flags >= len(MODES) or not np.isfinite(values).all():
        return None
    return RobotCommand(*values.reshape(5, -1), mode=MODES[packet.flags])


def _numbers(body: bytes, count: int) -> np.ndarray | None:
    return np.frombuffer(body, "<f8").astype(float) if len(body) == 8 * count else None
