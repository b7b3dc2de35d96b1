"""A robot at the other end of a UDP connection. Needs numpy only."""

from __future__ import annotations

import contextlib
import socket
import time

import numpy as np

from palestra.deploy.packets import (
    ADVANCE,
    BYE,
    DESCRIBE,
    DONE,
    HELLO,
    LARGEST,
    RELEASE,
    RESET,
    STATE,
    Layout,
    Packet,
    pack,
    pack_command,
    unpack,
    unpack_state,
)
from palestra.deploy.robot import RobotCommand, RobotState

_RETRY_S = 0.2
_BUFFER = 1 << 20


class UdpRobot:
    """A robot, such as one of ``palestra sim-robot``, as a :class:`~palestra.deploy.robot.RobotInterface`.

    Where the robot runs in lock-step, its time stands still until :meth:`wait` lets it go on; ``time`` is then the
    clock to give to a controller.

    Args:
        host: name or address.
        port: UDP port.
        timeout: how long ``connect``, ``reset`` and ``wait`` try (s).

    Attributes:
        dropped: packets that were damaged, of another sender's version, or older than one that had come before.
        lockstep: whether the robot waits for ``wait``.
    """

    def __init__(self, host: str, port: int, timeout: float = 10.0) -> None:
        self.host, self.port, self.timeout = host, port, timeout
        self.joint_names: tuple[str, ...] = ()
        self.dropped = 0
        self.lockstep = False
        self.layout: Layout | None = None
        self._socket: socket.socket | None = None
        self._sequence = 0
        self._newest = -1
        self._state: RobotState | None = None
        self._done = -1
        self._time = 0.0
        self._damping: np.ndarray | None = None

    @property
    def time(self) -> float:
        """The robot's clock (s): in lock-step how long it was let go, else the host's."""
        return self._time if self.lockstep else time.monotonic()

    def connect(self) -> None:
        """Ask the robot what it is.

        Raises:
            ConnectionError: it does not answer, or not in this protocol.
        """
        self._close_socket()
        try:
            family, _, _, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._socket.connect(address)
        except OSError as error:
            self._close_socket()
            raise ConnectionError(f"{self.host}:{self.port}: {error.strerror or error}") from error
        self.layout, self._newest, self._state = None, -1, None
        end = time.monotonic() + self.timeout
        while self.layout is None:
            if time.monotonic() > end:
                self._close_socket()
                raise ConnectionError(f"nothing answers at udp://{self.host}:{self.port}")
            self._request(HELLO)
            self._receive(_RETRY_S)
        self.joint_names, self.lockstep = self.layout.joint_names, self.layout.lockstep

    def read(self) -> RobotState | None:
        """Return the newest state that has come; None before the first."""
        self._receive(0.0)
        return self._state

    def write(self, command: RobotCommand) -> None:
        """Send a command; it may be lost on the way."""
        self._damping = command.damping
        self._send(pack_command(command, self._next(), self.time))

    def wait(self, period: float) -> None:
        """Let a robot in lock-step go on for a time (s); any other robot does so by itself, and this sleeps.

        Raises:
            ConnectionError: it does not answer.
        """
        if not self.lockstep:
            time.sleep(period)
            return
        self._until_done(ADVANCE, np.array([period], "<f8").tobytes())
        self._time += period

    def reset(self, seed: int = 0) -> None:
        """Put a simulated robot back to where it started.

        Args:
            seed: of the direction it faces, and of what the network does from here on.

        Raises:
            ConnectionError: it does not answer.
        """
        self._until_done(RESET, np.array([seed], "<f8").tobytes())

    def release(self) -> None:
        """Let a simulated robot down that hangs in a harness; nothing happens to any other.

        Raises:
            ConnectionError: it does not answer.
        """
        self._until_done(RELEASE, b"")

    def close(self) -> None:
        """Brake and part."""
        if self._socket is None:
            return
        with contextlib.suppress(OSError):
            if self.joint_names:
                zeros = np.zeros(len(self.joint_names))
                damping = zeros if self._damping is None else self._damping
                self.write(RobotCommand(zeros, zeros, zeros, zeros, damping, mode="damping"))
            self._request(BYE)
        self._close_socket()

    # --- packets ------------------------------------------------------------------------------------------------------

    def _until_done(self, kind: int, body: bytes) -> None:
        """Send a request until it is done; it is done once, however often it arrives."""
        sequence, end = self._next(), time.monotonic() + self.timeout
        while self._done != sequence:
            if time.monotonic() > end:
                raise ConnectionError(f"udp://{self.host}:{self.port} no longer answers")
            self._send(pack(kind, sequence, self.time, body))
            waited = time.monotonic() + max(_RETRY_S, 1.0)
            while self._done != sequence and time.monotonic() < waited:
                self._receive(_RETRY_S)

    def _request(self, kind: int) -> None:
        self._send(pack(kind, self._next(), self.time))

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _send(self, data: bytes) -> None:
        if self._socket is None:
            raise ConnectionError("not connected")
        with contextlib.suppress(ConnectionRefusedError, BlockingIOError):  # nobody there now: silence will tell
            self._socket.send(data)

    def _receive(self, timeout: float) -> None:
        """Take all packets that are there; wait for the first one at most ``timeout`` (s)."""
        if self._socket is None:
            raise ConnectionError("not connected")
        self._socket.settimeout(timeout)
        while True:
            try:
                data = self._socket.recv(LARGEST)
            except (TimeoutError, BlockingIOError, ConnectionRefusedError):
                return
            packet = unpack(data)
            if packet is None or not self._take(packet):
                self.dropped += 1
            self._socket.settimeout(0.0)

    def _take(self, packet: Packet) -> bool:
        if packet.kind == DESCRIBE:
            self.layout = Layout.from_json(packet.body) or self.layout
            return self.layout is not None
        if packet.kind == DONE:
            self._done = packet.sequence
            return True
        if packet.kind != STATE or self.layout is None or packet.sequence <= self._newest:
            return False
        state = unpack_state(packet, self.layout)
        if state is None:
            return False
        self._newest, self._state = packet.sequence, state
        return True

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
