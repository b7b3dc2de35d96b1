"""``palestra export``: a trained policy as TorchScript and ONNX, with a description of all that goes in and out."""

from __future__ import annotations

import argparse
from pathlib import Path

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
    from palestra.deploy.export import DESCRIPTION, ONNX, TORCHSCRIPT, export
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
        )
    finally:
        env.close()
    check = described["check"]
    errors = ", ".join(f"{form} {error:.1e}" for form, error in check["max_error"].items())
    print(f"{configs.task}: {checkpoint} ({content['library']})")
    print(f"checked on {check['observations']} observations, largest difference of an action: {errors}")
    for name in (TORCHSCRIPT, ONNX, DESCRIPTION):
        print(folder / name)
    return 0
