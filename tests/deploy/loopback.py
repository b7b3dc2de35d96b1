"""A robot in this process: three joints of unit inertia under the commanded PD law, a clock that the test turns."""

import numpy as np
from exported_leg import DEFAULT, JOINTS

from palestra.deploy.robot import RobotCommand, RobotState

INERTIA = np.array([0.05, 0.05, 1.0])
SUBSTEPS = 20


class Clock:
    """Seconds that only the test advances."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class LoopbackRobot:
    """Follows commands between two reads; ``spoil`` may change what a read returns."""

    def __init__(
        self, clock: Clock, joint_pos: np.ndarray | None = None, joint_names: tuple[str, ...] = JOINTS
    ) -> None:
        self.joint_names = joint_names
        self.clock = clock
        self.pos = np.array(DEFAULT if joint_pos is None else joint_pos, float)
        self.vel = np.zeros(len(JOINTS))
        self.sent: list[RobotCommand] = []
        self.connected = self.closed = False
        self.frozen = False
        self.spoil = lambda state: state
        self._at = clock()

    def connect(self) -> None:
        self.connected = True

    def read(self) -> RobotState | None:
        self._move()
        return self.spoil(self.state())

    def state(self) -> RobotState:
        return RobotState(
            stamp=self._at - 90.0,
            joint_pos=self.pos.copy(),
            joint_vel=self.vel.copy(),
            joint_effort=np.zeros(len(JOINTS)),
            base_ang_vel=np.zeros(3),
            base_quat=np.array([1.0, 0.0, 0.0, 0.0]),
        )

    def write(self, command: RobotCommand) -> None:
        self.sent.append(command)

    def close(self) -> None:
        self.closed = True

    def _move(self) -> None:
        if self.frozen:
            return
        dt = (self.clock() - self._at) / SUBSTEPS
        self._at = self.clock()
        if not self.sent or dt <= 0.0:
            return
        command = self.sent[-1]
        for _ in range(SUBSTEPS):
            servo = (
                0.0
                if command.mode != "control"
                else command.stiffness * (command.joint_pos_target - self.pos) + command.joint_effort
            )
            wanted = 0.0 if command.mode != "control" else command.joint_vel_target
            # damping is integrated implicitly, as an engine does
            pushed = self.vel + dt * (servo + command.damping * wanted) / INERTIA
            self.vel = pushed / (1.0 + dt * command.damping / INERTIA)
            self.pos = self.pos + dt * self.vel
