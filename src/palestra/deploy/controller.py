"""A policy on a robot: init → stand → run → damp → stop, with a monitor between the two."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from palestra.deploy.blackbox import BlackBox
from palestra.deploy.bundle import robot_of
from palestra.deploy.commands import OperatorCommands
from palestra.deploy.loop import FixedRateLoop, LoopStatistics
from palestra.deploy.recording import PHASES, Phase, record_for, row_of
from palestra.deploy.robot import RobotCommand, RobotInterface, RobotState
from palestra.deploy.runtime import PolicyRunner
from palestra.deploy.safety import Posture, SafetyMonitor, Trip
from palestra.deploy.stand import StandMotion
from palestra.deploy.startup import check_joints, check_policy, check_sensors, first_state, sensors_of
from palestra.errors import PalestraError

__all__ = ["PHASES", "Controller", "ControllerSettings", "Outcome", "Phase", "record_for"]

_LOG = logging.getLogger("palestra.deploy")

_POSTURES: dict[Phase, Posture] = {"init": "free", "stand": "upright", "run": "clear", "damp": "free", "stop": "free"}


@dataclass(frozen=True)
class ControllerSettings:
    """Times of the phases."""

    connect_timeout: float = 5.0
    """Wait for the first sensor reading (s)."""

    healthy_states: int = 5
    """New, sane readings in a row before anything moves."""

    stand_time: float = 2.0
    """Least time of the motion to the default pose (s)."""

    gain_ramp: float = 1.0
    """Time in which stiffness rises while standing up (s)."""

    stand_timeout: float = 2.0
    """How much later than planned the pose may be reached (s)."""

    blend_time: float = 0.2
    """Time in which targets change from standing to the policy's (s)."""

    damp_time: float = 1.0
    """How long to brake before the connection is closed (s)."""

    hold_fault: bool = False
    """Brake after a fault until ``reset`` or ``request_stop``, instead of for ``damp_time``."""


@dataclass(frozen=True)
class Outcome:
    """How a deployment ended."""

    trips: tuple[Trip, ...]
    loop: LoopStatistics
    run_time: float
    """How long the policy had the robot (s)."""


class Controller:
    """Steps through the phases of a deployment, one control period a call of ``step``.

    Each phase follows from the one before; a fault leads from any of them to ``damp`` within the same step, and back to
    ``init`` by ``reset`` alone.

    Args:
        runner: the policy.
        robot: what it acts on; ``start_up`` connects it.
        monitor: what stands between.
        operator: commands; without them all are zero.
        black_box: where each step and event is recorded; see :func:`record_for`.
        dump_to: file that the black box is written to after a fault; None for nowhere.
        dump_always: write it at the end without a fault, too.
        settings: times.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        runner: PolicyRunner,
        robot: RobotInterface,
        monitor: SafetyMonitor,
        operator: OperatorCommands | None = None,
        black_box: BlackBox | None = None,
        dump_to: Path | None = None,
        dump_always: bool = False,
        settings: ControllerSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.runner, self.robot, self.monitor = runner, robot, monitor
        self.settings = settings or ControllerSettings()
        step = runner.control_step
        self.operator = operator or OperatorCommands(runner.description, step, monitor.limits.command_timeout)
        self.black_box, self._dump_to, self._clock = black_box, dump_to, clock
        self._dump_always = dump_always
        self.dumped: tuple[Path, Path] | None = None
        """Files that the black box was written to."""
        self.phase: Phase = "init"
        self.faults: list[Trip] = []
        """All faults so far, cleared ones included."""
        self._entered = clock()
        described = robot_of(runner.description)
        self._motion = StandMotion(described, monitor.limits, self.settings.stand_time, self.settings.gain_ramp)
        self._sensors = step.named("sensor")
        self._drives = [_driven(port, monitor.limits.joint_names) for port in step.outputs if port.role == "target"]
        self._healthy = 0
        self._stop_requested = False
        self._old_commands: list[str] = []
        self._outputs: dict[str, np.ndarray] = {}
        self._last: RobotState | None = None
        self.run_time = 0.0
        """How long the policy has had the robot (s)."""

    def start_up(self) -> float:
        """Check the policy, connect the robot, and check its joints and sensors.

        Returns:
            The largest difference of the golden vectors.

        Raises:
            PalestraError: what is not as it must be; the robot has not been moved.
        """
        error = check_policy(self.runner)
        missing = self.operator.missing()
        if missing:
            raise PalestraError(f"the policy needs the command {missing[0]!r}, and zero is not among its values")
        try:
            self.robot.connect()
        except OSError as failure:  # ConnectionError is one
            raise PalestraError(f"the robot does not answer: {failure}") from failure
        try:
            check_joints(self.runner, self.robot)
            state = first_state(self.robot, self.settings.connect_timeout, self._clock)
            check_sensors(self.runner.control_step, state, self.monitor, self._clock())
            self.monitor.reset()  # the wait until the first step is nobody's silence
        except BaseException:
            self.robot.close()
            raise
        self._enter("init", self._clock())
        return error

    def request_stop(self) -> None:
        """Brake and end, from whatever phase; may be called by a signal handler."""
        self._stop_requested = True

    def reset(self) -> None:
        """Clear latched faults and begin anew with ``init``.

        Raises:
            PalestraError: there is no fault to clear.
        """
        if self.phase != "damp" or not self.monitor.tripped:
            raise PalestraError(f"nothing to reset: the controller is in {self.phase!r} without a fault")
        self.monitor.reset()
        self._last, self.dumped = None, None
        self._event(self._clock(), "reset")
        self._enter("init", self._clock())

    def step(self, missed: int = 0) -> RobotCommand:
        """Run one control period: read, check, decide, bound, write.

        Args:
            missed: deadlines that the loop missed before.

        Returns:
            What was sent.
        """
        now = self._clock()
        known = len(self.monitor.trips)
        state = self._read(now)
        if self.phase in ("stand", "run"):
            self.monitor.note_deadlines(missed, now)
        healthy = self.monitor.check(state, now, _POSTURES[self.phase])
        self._transition(state, healthy, now)
        wanted = self._wanted(state, now)
        command = self.monitor.bound(wanted, now)
        self._write(command, now)
        if self.monitor.tripped and self.phase not in ("damp", "stop"):  # the policy, its targets or the writing
            self._enter("damp", now)
        for trip in self.monitor.trips[known:]:
            self.faults.append(trip)
            self._event(now, "trip", **{k: v for k, v in trip.as_dict().items() if k != "time"})
        self._record(now, state, wanted, command)
        return command

    def run(
        self,
        duration: float | None = None,
        on_step: Callable[[Controller, FixedRateLoop], None] | None = None,
        loop: FixedRateLoop | None = None,
    ) -> Outcome:
        """Step at the control rate until all is over; call ``start_up`` first.

        Args:
            duration: how long the policy runs (s); until ``request_stop`` or a fault if None.
            on_step: called after each step.
            loop: what waits; one of the policy's control period by default.
        """
        loop = loop or FixedRateLoop(self.runner.step_dt)
        try:
            while self.phase != "stop":
                loop.wait()
                if duration is not None and self.run_time >= duration - 1e-9:
                    self.request_stop()
                self.step(loop.missed_now)
                if on_step is not None:
                    on_step(self, loop)
        finally:
            self._leave()
        return Outcome(tuple(self.faults), loop.statistics(), self.run_time)

    # Phases

    def _transition(self, state: RobotState | None, healthy: bool, now: float) -> None:
        if self.phase == "stop":
            return
        if self.phase == "damp":
            held = self.monitor.tripped and self.settings.hold_fault and not self._stop_requested
            if now - self._entered < self.settings.damp_time:
                return
            if not held:
                self._enter("stop", now)
            elif self.dumped is None:
                self._dump()
        elif not healthy or self._stop_requested:
            self._enter("damp", now)
        elif self.phase == "init" and state is not None:
            self._healthy += self.monitor.freshness.fresh
            if self._healthy >= self.settings.healthy_states:
                self._motion.begin(np.asarray(state.joint_pos, float))
                self._enter("stand", now)
        elif self.phase == "stand" and state is not None:
            self._end_of_stand(state, now)

    def _end_of_stand(self, state: RobotState, now: float) -> None:
        late = now - self._entered - self._motion.duration
        if late < 0.0:
            return
        farthest = self._motion.farthest(np.asarray(state.joint_pos, float))
        if farthest is None:
            self.runner.reset()
            self._enter("run", now)
        elif late > self.settings.stand_timeout:
            index, error, tolerance = farthest
            name = self.monitor.limits.joint_names[index]
            message = f"{name!r} did not reach the default pose: it is {error:.3f} away, more than {tolerance:.3f}"
            self.monitor.trip(now, "stand", message, name, error, tolerance)
            self._enter("damp", now)

    def _enter(self, phase: Phase, now: float) -> None:
        self._event(now, "phase", phase=phase, before=self.phase)
        self.phase, self._entered = phase, now
        self._healthy = 0

    # One period

    def _read(self, now: float) -> RobotState | None:
        """Return the newest state, or the last one again, whose age the monitor watches."""
        try:
            self._last = self.robot.read() or self._last
        except OSError as error:
            if not self.monitor.tripped:
                self.monitor.trip(now, "communication", f"reading the robot failed: {error}")
        return self._last

    def _write(self, command: RobotCommand, now: float) -> None:
        try:
            self.robot.write(command)
        except OSError as error:
            if not self.monitor.tripped:
                self.monitor.trip(now, "communication", f"writing to the robot failed: {error}")

    def _wanted(self, state: RobotState | None, now: float) -> RobotCommand:
        """Return what the phase asks for, not yet bounded."""
        self._outputs = {}
        if self.phase not in ("stand", "run") or state is None:
            return self.monitor.damping_command()
        elapsed = now - self._entered
        position = np.asarray(state.joint_pos, float)
        if self.phase == "stand":
            return self._motion.command(elapsed, position)
        standing = self._motion.command(self._motion.duration + self.settings.gain_ramp, position)
        try:
            self._outputs = self.runner.step(sensors_of(state, self._sensors), self._commands(now))
        except Exception as error:  # whatever a policy's process fails with, the robot must brake
            what = str(error) if isinstance(error, PalestraError) else f"{type(error).__name__}: {error}"
            self.monitor.trip(now, "policy", what)
            return self.monitor.damping_command()
        self.run_time = elapsed + self.runner.step_dt
        return self._blended(standing, elapsed)

    def _commands(self, now: float) -> dict[str, np.ndarray]:
        old = self.operator.old(now)
        if old != self._old_commands:
            self._event(now, "old_commands", names=old)
            self._old_commands = old
        return self.operator.read(now)

    def _blended(self, command: RobotCommand, elapsed: float) -> RobotCommand:
        """Return the policy's targets, at the beginning mixed with those of standing."""
        share = 1.0 if self.settings.blend_time <= 0.0 else min(elapsed / self.settings.blend_time, 1.0)
        position, effort = command.joint_pos_target.copy(), np.zeros_like(command.joint_effort)
        velocity = np.where(command.stiffness > 0.0, 0.0, command.joint_vel_target * (1.0 - share))
        for name, kind, joints in self._drives:
            values = self._outputs[name].astype(float).ravel()
            if kind == "joint_position":
                position[joints] += share * (values - position[joints])
            elif kind == "joint_velocity":
                velocity[joints] += share * values
            else:
                effort[joints] += share * values
        return RobotCommand(position, velocity, effort, command.stiffness, command.damping)

    def _record(self, now: float, state: RobotState | None, wanted: RobotCommand, sent: RobotCommand) -> None:
        if self.black_box is None:
            return
        commands = self.operator.read(now)
        row = row_of(self.phase, self.monitor, state, wanted, sent, commands, self._outputs)
        self.black_box.record(now, {**row, "work": self._clock() - now})

    def _event(self, now: float, kind: str, **details: Any) -> None:
        if self.black_box is not None:
            self.black_box.event(now, kind, **details)

    def _leave(self) -> None:
        """Brake once more, whatever has happened, close the connection, and write the black box."""
        try:
            self._write(self.monitor.damping_command(), self._clock())
        finally:
            try:
                self.robot.close()
            finally:
                self._dump()

    def _dump(self) -> None:
        if self.black_box is None or self._dump_to is None or not (self.faults or self._dump_always):
            return
        try:
            self.dumped = self.black_box.dump(self._dump_to)
        except PalestraError as error:  # a full disk must not end the braking
            _LOG.error("%s", error)


def _driven(port: Any, joint_names: tuple[str, ...]) -> tuple[str, str, np.ndarray]:
    names = port.joint_names or joint_names
    kind = port.target or {"joint_pos_target": "joint_position", "joint_vel_target": "joint_velocity"}.get(port.name)
    return port.name, kind or "joint_effort", np.array([joint_names.index(name) for name in names])
