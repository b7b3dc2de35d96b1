"""``palestra eval``: measure a trained policy over many episodes."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from palestra.cli.arguments import CommandParser, add_environment_flags, require_target, whole_number
from palestra.cli.configuration import find_trained, task_configs
from palestra.errors import ConfigError

if TYPE_CHECKING:
    from palestra.envs.evaluation import Evaluation

MOST_ENVIRONMENTS = 100
"""Environments that share the episodes unless ``--num_envs`` says otherwise."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's flags."""
    parser.target = "RUN_OR_TASK"
    add_environment_flags(parser)
    parser.add_argument("--checkpoint", metavar="FILE", help="checkpoint file, or its name in the run")
    parser.add_argument(
        "--num_episodes",
        type=whole_number("--num_episodes", 1),
        default=100,
        metavar="N",
        help="episodes to measure (default: 100)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--headless", action="store_true", help="accepted; nothing is drawn")


def run(args: argparse.Namespace) -> int:
    """Measure, print, and write ``eval.json`` into the run folder."""
    target = require_target(args, "run", "palestra eval runs/cartpole/2026-01-31_12-00-00")
    trained = find_trained(target, args)
    if args.num_envs is None:
        args.num_envs = min(args.num_episodes, MOST_ENVIRONMENTS)
    if args.num_envs > args.num_episodes:
        raise ConfigError(f"--num_envs is {args.num_envs}; it must not exceed --num_episodes {args.num_episodes}")
    configs = task_configs(trained.task, args, trained.run)

    from palestra.cli.play import build
    from palestra.envs.evaluation import evaluate
    from palestra.rl.checkpoint import write_atomically

    checkpoint = Path(trained.checkpoint)
    env, policy = build(configs, checkpoint)
    try:
        result = evaluate(env, policy, args.num_episodes, seed=configs.env.seed)
    finally:
        env.close()
    report = {"task": configs.task, "checkpoint": str(checkpoint), "seed": configs.env.seed, **result.to_dict()}
    text = json.dumps(report, indent=2, ensure_ascii=False)
    if trained.run is not None:
        write_atomically(trained.run.path / "eval.json", f"{text}\n".encode())
    if args.json:
        print(text)
    else:
        print_table(configs.task, checkpoint, result)
        if trained.run is not None:
            print(f"written to {trained.run.path / 'eval.json'}")
    return 0


def print_table(task: str, checkpoint: Path, result: Evaluation) -> None:
    """Print the result as tables."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{task} · {checkpoint}", box=box.SIMPLE_HEAD, show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(justify="right")

    def section(name: str, rows: list[tuple[str, str]]) -> None:
        if rows:
            table.add_row(f"[bold]{name}[/bold]", "")
            for label, value in rows:
                table.add_row(f"  {label}", value)

    section(
        f"{result.episodes} episodes, deterministic policy",
        [
            *([("success rate", f"{result.success_rate:.1%}")] if result.success_rate is not None else []),
            ("return", f"{result.return_mean:.4g} ± {result.return_std:.3g}"),
            ("episode length", f"{result.length_mean:.1f} ± {result.length_std:.1f} steps"),
            ("", f"{result.length_seconds:.2f} s"),
        ],
    )
    section("reward terms, mean a step before weighting", _numbers(result.step_values))
    section("command metrics, mean over episodes", _numbers(result.metrics))
    section("ended by", [(name, f"{share:.1%}") for name, share in result.terminations.items()])
    Console(width=max(80, len(str(checkpoint)) + 20)).print(table)
    if result.unfinished:
        print(f"warning: {result.unfinished} episodes were cut off: the task has no time limit that ends them")


def _numbers(values: dict[str, float]) -> list[tuple[str, str]]:
    return [(name, "–" if math.isnan(value) else f"{value:.4f}") for name, value in values.items()]
