"""``palestra export``: a trained policy and its whole control step as files, with a description of all in and out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palestra.cli.arguments import CommandParser, add_environment_flags, require_target
from palestra.cli.configuration import find_trained, task_configs

FOLDER = "exported"
"""Where the files go, in the run folder or beside a checkpoint that has none."""

ENVIRONMENTS = 20
"""Environments that give the observations of the check unless ``--num_envs`` says otherwise."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's flags."""
    parser.target = "RUN_OR_TASK"
    add_environment_flags(parser)
    parser.add_argument("--checkpoint", metavar="FILE", help="checkpoint file, or its name in the run")
    parser.add_argument(
        "--allow_privileged",
        action="store_true",
        help="make what no sensor gives (ground truth of the simulation) inputs of policy.onnx instead of refusing it",
    )
    parser.add_argument("--headless", action="store_true", help="accepted; nothing is drawn")


def run(args: argparse.Namespace) -> int:
    """Write the files, check them, and say where they are."""
    target = require_target(args, "run", "palestra export runs/cartpole/2026-01-31_12-00-00")
    trained = find_trained(target, args)
    args.num_envs = args.num_envs or ENVIRONMENTS
    configs = task_configs(trained.task, args, trained.run)
    if args.device is None:
        configs.env.sim.device = "cpu"  # whatever the run had: the files are compared on the host

    from palestra.config.registry import make
    from palestra.deploy.export import DESCRIPTION, export
    from palestra.integrations import policy_of
    from palestra.rl.checkpoint import check_compatible, load_checkpoint

    checkpoint = Path(trained.checkpoint)
    content = load_checkpoint(checkpoint)
    folder = (trained.run.path if trained.run is not None else checkpoint.parent) / FOLDER
    env = make(configs.task, cfg=configs.env)
    try:
        check_compatible(content, checkpoint, configs.task, env.observation_dims, env.num_actions)
        described = export(
            env,
            policy_of(content, "cpu"),
            content,
            folder,
            task=configs.task,
            checkpoint=checkpoint,
            run=None if trained.run is None else trained.run.path,
            seed=configs.env.seed,
            allow_privileged=args.allow_privileged,
        )
    finally:
        env.close()
    for line in _report(described, checkpoint):
        print(line)
    for name in (*described["files"], DESCRIPTION):
        print(folder / name)
    return 0


def _report(described: dict[str, Any], checkpoint: Path) -> Iterator[str]:
    """Yield what was exported and what the check found."""
    check, step = described["check"], described["control_step"]
    yield f"{described['task']}: {checkpoint} ({described['library']})"
    errors = ", ".join(f"{form} {error:.1e}" for form, error in check["max_error"].items())
    yield f"checked on {check['observations']} observations, largest difference of an action: {errors}"
    if step is None:
        yield f"no policy.onnx: {described['no_control_step']}"
    else:
        errors = ", ".join(f"{name} {error:.1e}" for name, error in check["control_step"]["max_error"].items())
        yield f"control step, largest difference to the simulation: {errors}"
        hidden = [entry["name"] for entry in step["inputs"] if entry["privileged"]]
        if hidden:
            yield f"warning: no sensor of a robot gives these inputs: {', '.join(hidden)}"
    centred = check["normalizer"]
    if centred is not None and centred["mean"] > centred["expected_below"]:
        yield (
            f"warning: normalised observations are {centred['mean']:.2g} standard deviations from mean zero, averaged "
            f"over the entries; below {centred['expected_below']:g} is usual"
        )
