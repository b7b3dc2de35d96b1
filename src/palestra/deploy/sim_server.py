"""A simulated robot that listens on a UDP port, in real time or in lock-step with its controller."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from palestra.deploy.packets import (
    ADVANCE,
    BYE,
    COMMAND,
    DESCRIBE,
    DONE,
    HELLO,
    LARGEST,
    RELEASE,
    RESET,
    Packet,
    pack,
    pack_state,
    unpack,
    unpack_command,
)
from palestra.deploy.sim_robot import NetworkedRobot
from palestra.errors import ConfigError, PalestraError

READY = "listening on"
"""What the command prints before the address, once the robot can be reached."""

_BUFFER = 1 << 20


class SimServer:
    """Serves one client at a time: the last that said ``HELLO``.

    Args:
        networked: the robot.
        host, port: where to listen; port 0 takes a free one.
        lockstep: let time go on only as the client says.
        speed: simulated seconds a second, in real time.

    Raises:
        ConfigError: the port cannot be had.
    """

    def __init__(
        self, networked: NetworkedRobot, host: str, port: int, lockstep: bool = False, speed: float = 1.0
    ) -> None:
        if not 0.0 < speed <= 100.0:
            raise ConfigError(f"speed is {speed}; it must be above 0 and at most 100")
        self.networked, self.lockstep, self.speed = networked, lockstep, speed
        self.layout = networked.robot.layout(lockstep, networked.state_rate)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._socket.bind((host, port))
        except (OSError, OverflowError) as error:
            self._socket.close()
            raise ConfigError(f"cannot listen on udp://{host}:{port}: {error}") from error
        self._socket.setblocking(False)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self.malformed = 0
        """Packets that were damaged or did not fit the robot."""
        self.behind = 0.0
        """How far the simulation has fallen behind the wall clock, at most (s)."""
        self.stopped = False
        self._client: tuple[str, int] | None = None
        self._sequence = 0
        self._done = -1
        self._offset = 0
        self._goal = networked.robot.time

    def serve(self, on_idle: Callable[[], None] | None = None) -> None:
        """Serve until ``stop``; in real time the robot lives whether anybody listens or not."""
        started, origin = time.monotonic(), self.networked.robot.time
        period = 1.0 / self.networked.state_rate / self.speed
        while not self.stopped:
            if self.lockstep:
                select.select([self._socket], [], [], 0.1)
                self._receive()
                continue
            now = origin + (time.monotonic() - started) * self.speed
            self._receive()
            self.networked.advance(now)
            self._deliver()
            late = (origin + (time.monotonic() - started) * self.speed) - now
            self.behind = max(self.behind, late - period)
            if on_idle is not None:
                on_idle()
            select.select([self._socket], [], [], max(0.0, period - late / self.speed))

    def stop(self) -> None:
        """End ``serve``; may be called by a signal handler."""
        self.stopped = True

    def close(self) -> None:
        """Free the port."""
        self._socket.close()

    def _receive(self) -> None:
        while True:
            try:
                data, sender = self._socket.recvfrom(LARGEST)
            except (BlockingIOError, ConnectionError):
                return
            packet = unpack(data)
            if packet is None or not self._take(packet, sender):
                self.malformed += 1

    def _take(self, packet: Packet, sender: tuple[str, int]) -> bool:
        if packet.kind == HELLO:
            self._client = sender
            self._offset = (
                self._sequence + 3 - round(self.networked.robot.time / self.networked.robot.model.opt.timestep)
            )
            self._send(pack(DESCRIBE, self._next(), self.networked.robot.time, self.layout.to_json()))
            self._send(pack_state(self.networked.robot.state(), self.layout, self._next()))
            return True
        if sender != self._client:
            return False
        if packet.kind == COMMAND:
            command = unpack_command(packet, self.layout)
            if command is not None:
                self.networked.commands.send(command, self.networked.robot.time)
            return command is not None
        if packet.kind == BYE:
            self._client = None
            return True
        if packet.kind in (ADVANCE, RESET, RELEASE):
            return self._do_once(packet)
        return False

    def _do_once(self, packet: Packet) -> bool:
        """Do what is asked for unless it has been done, and say that it is done."""
        if packet.kind == ADVANCE and not self.lockstep:
            return False
        numbers = 0 if packet.kind == RELEASE else 1
        if len(packet.body) != 8 * numbers:
            return False
        value = np.frombuffer(packet.body, "<f8")
        if not all(0.0 <= x < 2.0**53 for x in value):
            return False
        if packet.sequence != self._done:
            if packet.kind == RELEASE:
                self.networked.robot.release()
            elif packet.kind == RESET:
                self.networked.reset(int(value[0]))
                self._goal = self.networked.robot.time
                self._send(pack_state(self.networked.robot.state(), self.layout, self._next()))
            else:
                self._goal += min(float(value[0]), 10.0)
                self.networked.advance(self._goal)
                self._deliver()
            self._done = packet.sequence
        self._send(pack(DONE, packet.sequence, self.networked.robot.time))
        return True

    def _deliver(self) -> None:
        for _, state in self.networked.states.receive(self.networked.robot.time):
            self._send(pack_state(state, self.layout, self._sequence_of(state.stamp)))

    def _sequence_of(self, stamp: float) -> int:
        """Number states by when they were read, so that a client can tell which of two is newer."""
        number = round(stamp / self.networked.robot.model.opt.timestep) + self._offset
        self._sequence = max(self._sequence, number)
        return number

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _send(self, data: bytes) -> None:
        if self._client is not None:
            with contextlib.suppress(OSError):  # a client that has gone is no reason to stop
                self._socket.sendto(data, self._client)


class SimRobotProcess:
    """``palestra sim-robot`` as a process of its own, for as long as the ``with`` block lasts.

    Args:
        target: an exported folder, a run or a task.
        flags: further words of the command line.
        start_timeout: how long it may take to come up (s).

    Attributes:
        host, port: where it listens, once entered.
    """

    def __init__(self, target: Path | str, flags: Sequence[str] = (), start_timeout: float = 60.0) -> None:
        self.command = [sys.executable, "-m", "palestra", "sim-robot", str(target), "--port", "0", *flags]
        self.start_timeout = start_timeout
        self.host, self.port = "", 0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> SimRobotProcess:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        lines, end = [], time.monotonic() + self.start_timeout
        assert self._process.stdout is not None
        while time.monotonic() < end:
            line = self._process.stdout.readline()
            if not line:
                break
            lines.append(line.strip())
            if READY in line:
                self.host, port = line.rsplit("udp://", 1)[1].split()[0].rsplit(":", 1)
                self.port = int(port)
                return self
        self.__exit__(None, None, None)
        raise PalestraError(f"palestra sim-robot did not start: {' '.join(lines[-3:]) or 'it said nothing'}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
