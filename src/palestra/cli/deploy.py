"""``palestra deploy``: an exported policy on a robot. Imports neither PyTorch nor MuJoCo."""

from __future__ import annotations

import argparse
import contextlib
import gc
import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from palestra.cli.arguments import CommandParser, require_target
from palestra.errors import ConfigError

if TYPE_CHECKING:
    from palestra.deploy.commands import OperatorCommands
    from palestra.deploy.controller import Controller, Outcome
    from palestra.deploy.loop import FixedRateLoop

TRIPPED = 1
"""Exit code after a safety trip."""

_REMEMBERED_S = 60.0
"""How much of the past the black box keeps."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's flags."""
    parser.target = "EXPORTED"
    parser.add_argument("--robot", metavar="URL", help="robot, such as udp://127.0.0.1:9000")
    parser.add_argument("--duration", metavar="S", help="seconds that the policy runs; until Ctrl-C if not given")
    parser.add_argument(
        "--command",
        metavar="NAME=V,V,V",
        action="append",
        default=[],
        help="what the policy is to do, held all the time",
    )
    parser.add_argument("--limits", metavar="FILE", help="JSON or YAML file that changes safety limits")
    parser.add_argument(
        "--black_box",
        metavar="FILE",
        help="where to write the last minute (.npz and .json); after a fault if not given",
    )
    parser.add_argument("--provider", metavar="NAME", default="cpu", help="cpu (default), cuda or tensorrt")


def run(args: argparse.Namespace) -> int:
    """Check everything, then control the robot until the end."""
    folder = require_target(args, "exported folder", "palestra deploy runs/x/exported --robot udp://127.0.0.1:9000")
    if args.robot is None:
        raise ConfigError("which robot? for example: --robot udp://127.0.0.1:9000")
    duration = _seconds("--duration", args.duration)

    import numpy as np

    from palestra.deploy.bundle import robot_of
    from palestra.deploy.commands import OperatorCommands
    from palestra.deploy.controller import Controller, record_for
    from palestra.deploy.limits import SafetyLimits, read_overrides
    from palestra.deploy.robots import open_robot
    from palestra.deploy.runtime import PolicyRunner
    from palestra.deploy.safety import SafetyMonitor

    runner = PolicyRunner(folder, providers=[args.provider])
    overrides = read_overrides(args.limits) if args.limits else None
    limits = SafetyLimits.from_description(runner.description, overrides)
    described = robot_of(runner.description)
    monitor = SafetyMonitor(limits, np.array(described["default_joint_pos"], float))
    operator = OperatorCommands(runner.description, runner.control_step, limits.command_timeout)
    for text in args.command:
        _give(operator, text)
    robot = open_robot(args.robot, limits.joint_names)
    dump_to = Path(args.black_box or time.strftime("black_box_%Y-%m-%d_%H-%M-%S.npz"))
    controller = Controller(
        runner, robot, monitor, operator, record_for(runner, monitor, _REMEMBERED_S), dump_to=dump_to,
        dump_always=args.black_box is not None,
    )  # fmt: skip
    error = controller.start_up()
    print(
        f"{runner.description.get('task', folder)} on {args.robot}: {len(limits.joint_names)} joints, "
        f"{1.0 / runner.step_dt:.4g} Hz, golden vectors within {error:.1e}"
    )
    gc.freeze()  # what is loaded need not be searched for garbage while the robot moves
    try:
        with _signals(controller):
            outcome = controller.run(duration, on_step=_Status())
    finally:
        gc.unfreeze()
    _report(controller, outcome)
    return TRIPPED if outcome.trips else 0


class _Status:
    """Prints a line a second, and one for each change of phase."""

    def __init__(self) -> None:
        self._phase, self._next = "", -math.inf

    def __call__(self, controller: Controller, loop: FixedRateLoop) -> None:
        now = time.monotonic()
        if controller.phase == self._phase and now < self._next:
            return
        self._phase, self._next = controller.phase, now + 1.0
        monitor = controller.monitor
        commands = ", ".join(
            f"{name} [{', '.join(f'{v:.3g}' for v in values)}]"
            for name, values in controller.operator.read(now).items()
        )
        words = [
            f"{controller.phase:<5} {controller.run_time:7.2f} s",
            f"sensors {monitor.freshness.age * 1e3:.1f} ms old",
            f"{monitor.clipped_steps} steps bounded",
            f"{loop.missed_deadlines} deadlines missed",
        ]
        print(" | ".join([*words, commands] if commands else words), flush=True)


def _report(controller: Controller, outcome: Outcome) -> None:
    print(f"loop: {outcome.loop}")
    if controller.dumped is not None:
        print(f"black box: {controller.dumped[0]}, events in {controller.dumped[1].name}")
    if not outcome.trips:
        print(f"finished after {outcome.run_time:.2f} s of the policy, no faults")
        return
    print(f"{len(outcome.trips)} fault{'s' if len(outcome.trips) > 1 else ''}; the robot was braked:")
    for trip in outcome.trips:
        print(f"  {trip.cause}: {trip.message}")


@contextlib.contextmanager
def _signals(controller: Controller) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM brake the robot and end; a second one ends at once, which also brakes."""

    def stop(number: int, frame: object) -> None:
        controller.request_stop()
        signal.signal(number, signal.default_int_handler)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _seconds(flag: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise ConfigError(f"{flag} is {text!r}; it must be a number of seconds above 0")
    return value


def _give(operator: OperatorCommands, text: str) -> None:
    name, separator, numbers = text.partition("=")
    try:
        values = [float(number) for number in numbers.split(",")] if separator else []
    except ValueError:
        values = []
    if not values:
        raise ConfigError(f"--command is {text!r}; it must be NAME=number,number,…")
    taken = operator.set(name, values, 0.0, hold=True).tolist()
    if taken != values:
        print(f"command {name!r} is bounded to the ranges of training: {taken}")
