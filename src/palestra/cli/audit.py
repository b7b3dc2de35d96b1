"""``palestra audit``: the checklist before a policy moves a robot, executed."""

from __future__ import annotations

import argparse
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from palestra.cli.arguments import CommandParser, add_environment_flags, positive_number, require_target, whole_number
from palestra.cli.configuration import find_trained, task_configs
from palestra.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from palestra.deploy.audit.checks import Checker
    from palestra.deploy.audit.subject import Subject

FAILED = 1
"""Exit code if a check fails."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's flags."""
    parser.target = "RUN_OR_TASK"
    add_environment_flags(parser)
    parser.add_argument("--checkpoint", metavar="FILE", help="checkpoint file, or its name in the run")
    parser.add_argument(
        "--measured", metavar="FILE", help="hardware parameters measured by palestra sysid, to hold the ranges against"
    )
    parser.add_argument("--limits", metavar="FILE", help="safety limits that the robot is run with (palestra deploy)")
    parser.add_argument(
        "--success_distance",
        type=positive_number("--success_distance"),
        metavar="M",
        help="distance within which a goal counts as reached, whatever the task says",
    )
    parser.add_argument(
        "--endurance_envs",
        type=whole_number("--endurance_envs", 1),
        metavar="N",
        help="robots of the rollout of ten episodes' length (default: 8)",
    )
    parser.add_argument("--only", metavar="ID,…", help="only these checks")
    parser.add_argument("--headless", action="store_true", help="accepted; nothing is drawn")


def run(args: argparse.Namespace) -> int:
    """Check, print, and write ``audit/report.html`` and ``audit/report.json``; 1 if a check fails."""
    checks = chosen(args.only)
    subject = open_subject(args)
    from palestra.deploy.audit.report import FOLDER, Report
    from palestra.deploy.description import sha256

    began = time.monotonic()
    try:
        results = tuple(check(subject) for check in checks)
    finally:
        subject.close()
    report = Report(
        task=subject.task,
        run="" if subject.run is None else str(subject.run),
        checkpoint=str(subject.checkpoint),
        sha256=sha256(subject.checkpoint),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        versions=_versions(),
        seconds=time.monotonic() - began,
        checks=results,
        complete=args.only is None,
    )
    paths = report.write((subject.checkpoint.parent if subject.run is None else subject.run) / FOLDER)
    report.print()
    for path in paths:
        print(path)
    return FAILED if report.failed else 0


def open_subject(args: argparse.Namespace) -> Subject:
    """Return what a command line asks to audit.

    Raises:
        ConfigError: there is no such run or checkpoint, or a file cannot be read.
    """
    target = require_target(args, "run", "palestra audit runs/cartpole/2026-01-31_12-00-00")
    trained = find_trained(target, args)
    if args.device not in (None, "cpu"):
        raise ConfigError(f"--device is {args.device!r}; an audit runs on the cpu, whatever the run was trained on")
    given = args.num_envs
    configs = task_configs(trained.task, args, trained.run)

    from palestra.deploy.audit.subject import Options, Subject
    from palestra.integrations import policy_of
    from palestra.rl.checkpoint import load_checkpoint

    checkpoint = Path(trained.checkpoint)
    content = load_checkpoint(checkpoint)
    options = Options(
        num_envs=given or Options.num_envs,
        endurance_envs=args.endurance_envs or Options.endurance_envs,
        seed=Options.seed if args.seed is None else args.seed,
        measured=_file("--measured", args.measured),
        limits=_file("--limits", args.limits),
        success_distance=args.success_distance,
    )
    run = None if trained.run is None else trained.run.path
    return Subject(configs.task, configs.env, content, policy_of(content, "cpu"), checkpoint, run, options)


def chosen(only: str | None) -> tuple[Checker, ...]:
    """Return the checks that ``--only`` names; all without it.

    Raises:
        ConfigError: an unknown name.
    """
    from palestra.deploy.audit.checks import CHECKS

    if only is None:
        return tuple(CHECKS.values())
    names = [name.strip() for name in only.split(",") if name.strip()]
    for name in names:
        if name not in CHECKS:
            raise ConfigError(f"--only: no check {name!r}: {did_you_mean(name, CHECKS)}")
    return tuple(check for name, check in CHECKS.items() if name in names)


def _file(flag: str, value: str | None) -> Path | None:
    if value is None:
        return None
    path = Path(value)
    if not path.is_file():
        raise ConfigError(f"{flag}: no file {value}")
    return path


def _versions() -> dict[str, str]:
    from palestra.rl.checkpoint import versions

    return versions()
