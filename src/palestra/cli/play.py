"""``palestra play``: watch a trained policy, in MuJoCo's viewer or as a video."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palestra.cli.arguments import CommandParser, add_environment_flags, require_target, whole_number
from palestra.cli.configuration import Configs, find_trained, play_configs
from palestra.cli.run_folder import Run
from palestra.errors import PalestraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

SECONDS = 10.0
"""Length of a video (s) unless ``--video_length`` says otherwise."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's flags."""
    parser.target = "RUN_OR_TASK"
    add_environment_flags(parser)
    parser.add_argument("--checkpoint", metavar="FILE", help="checkpoint file, or its name in the run")
    parser.add_argument("--headless", action="store_true", help="make a video instead of opening a window")
    parser.add_argument("--video", action="store_true", help="make a video even where a window could be opened")
    parser.add_argument(
        "--video_length", type=whole_number("--video_length", 1), metavar="STEPS", help="length in control steps"
    )


def run(args: argparse.Namespace) -> int:
    """Show or film the policy."""
    from palestra.view.offscreen import has_display, why_unavailable

    target = require_target(args, "run or task", "palestra play runs/cartpole/2026-01-31_12-00-00")
    trained = find_trained(target, args)
    to_video = args.headless or args.video or not has_display()
    if to_video:
        reason = why_unavailable()
        if reason is not None:
            raise PalestraError(reason)
    configs = play_configs(trained.task, args, trained.run)
    checkpoint = Path(trained.checkpoint)
    env, policy = build(configs, checkpoint)
    try:
        print(f"{configs.task}: {checkpoint}", flush=True)
        if not to_video:
            from palestra.view.viewer import watch

            watch(env, policy, seed=video_seed(configs))
            return 0
        from palestra.view.video import record_video

        seconds = SECONDS if args.video_length is None else args.video_length * env.step_dt
        folder = trained.run.path if trained.run is not None else checkpoint.parent
        path = folder / "videos" / f"{configs.task}-{checkpoint.stem}.mp4"
        print(record_video(env, policy, path, seconds, seed=video_seed(configs)))
    finally:
        env.close()
    return 0


def film(task: str, run: Run, checkpoint: Path, path: Path, seconds: float, threads: int | None = None) -> Path:
    """Film a run's policy in its task's ``-Play`` variant on the CPU, and return ``path``."""
    from palestra.view.video import record_video

    flags = {"library": None, "config": None, "overrides": [], "check": False, "seed": None}
    args = argparse.Namespace(**flags, num_envs=1, threads=threads)
    configs = play_configs(task, args, run)
    env, policy = build(configs, checkpoint)
    try:
        return record_video(env, policy, path, seconds, seed=video_seed(configs))
    finally:
        env.close()


def video_seed(configs: Configs) -> int:
    """Return the seed of the episodes that are shown: not the one that training began with."""
    return configs.env.seed + 1


def build(configs: Configs, checkpoint: Path) -> tuple[Any, Callable[[Any], Tensor]]:
    """Return an environment and the policy of a checkpoint that fits it.

    A curriculum stands where it did in training: whoever learned to walk is not asked to stand still.

    Raises:
        ConfigError: the checkpoint is damaged or of another task.
    """
    from palestra.config.registry import make
    from palestra.integrations import policy_of
    from palestra.rl.checkpoint import check_compatible, load_checkpoint

    content = load_checkpoint(checkpoint)
    env = make(configs.task, cfg=configs.env)
    try:
        check_compatible(content, checkpoint, configs.task, env.observation_dims, env.num_actions)
        env.load_curriculum(content.get("env_state", {}))
        return env, policy_of(content, env.device)
    except BaseException:
        env.close()
        raise
