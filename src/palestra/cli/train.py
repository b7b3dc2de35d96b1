"""``palestra train``: train a policy; leaves a run folder with checkpoints, curves and a video."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
from datetime import datetime
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING

from palestra.cli.arguments import CommandParser, add_environment_flags, is_path, require_target, whole_number
from palestra.cli.configuration import Configs, task_configs
from palestra.cli.run_folder import CONFIG_FILE, Run, check_folder_name, create_run_folder, latest_run, open_run
from palestra.errors import ConfigError, PalestraError

if TYPE_CHECKING:
    from palestra.integrations.trainer import Trainer
    from palestra.rl.distributed import World

LAST_SECONDS = 8.0
"""Length of the video at the end of a run (s)."""
_SIGNAL_EXIT = 128
_START_PARTS = {"actor": True, "critic": True}
"""What a new run takes from the checkpoint that it starts from."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's flags."""
    parser.target = "TASK"
    add_environment_flags(parser)
    parser.add_argument(
        "--max_iterations", type=whole_number("--max_iterations", 1), metavar="N", help="iterations of the whole run"
    )
    parser.add_argument("--run_name", metavar="NAME", help="word appended to the run folder's name")
    parser.add_argument("--logger", metavar="NAME", help="tensorboard, wandb or none; metrics.csv is always written")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="RUN",
        help="continue a run folder, or the task's latest run, where it stopped",
    )
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="with --resume: checkpoint to continue from; else: start a new run from these networks",
    )
    parser.add_argument("--video", dest="video", action="store_true", default=None, help="end with a video (default)")
    parser.add_argument("--no_video", dest="video", action="store_false", default=None, help="end without a video")
    parser.add_argument(
        "--video_interval",
        type=whole_number("--video_interval", 1),
        metavar="N",
        help="film the policy every N iterations while training goes on",
    )
    text = "train with the processes that torchrun starts, which is done without the flag too; see docs/gpu.md"
    parser.add_argument("--distributed", action="store_true", help=text)
    parser.add_argument("--headless", action="store_true", help="accepted; training never opens a window")


def run(args: argparse.Namespace) -> int:
    """Train; the run folder appears only once everything is built."""
    continued, configs = _what_to_train(args)
    check_folder_name("run_name", configs.agent.run_name)
    for flag in ("video", "video_interval"):
        if getattr(args, flag) and _why_no_video() is not None:
            raise PalestraError(f"--{flag}: {_why_no_video()}")

    from palestra.rl.distributed import COMMAND, connected, world_from_environment

    world = world_from_environment()
    if args.distributed and world.size == 1:
        raise ConfigError(f"--distributed: start the processes with torchrun, for example {COMMAND}")
    _take_place(configs, world)
    with connected(world, configs.env.sim.device):
        folder, signal = _train(configs, args, continued, world)
    if signal is not None:
        if world.is_main:
            print(f"run folder  {folder}\nnext        palestra train --resume {shlex.quote(str(folder))}")
        return _SIGNAL_EXIT + int(signal)
    if world.is_main:
        _finish(folder, configs, args)
    return 0


def _take_place(configs: Configs, world: World) -> None:
    """Give this process its device, its share of the cores, and environments of its own."""
    if world.size == 1:
        return
    import torch

    env, agent = configs.env, configs.agent
    env.sim.device = world.place(env.sim.device)
    agent.device = None if agent.device is None else world.place(agent.device)
    env.first_env = world.rank * env.scene.num_envs
    if env.sim.threads is None:  # and stays so: a run that is resumed may have other cores
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // world.local_size))


def _train(
    configs: Configs, args: argparse.Namespace, continued: Run | None, world: World
) -> tuple[Path, Signals | None]:
    """Build everything and train; return the run folder, and the signal on which it ended early."""
    from palestra.config.registry import make
    from palestra.integrations import make_trainer

    env = make(configs.task, cfg=configs.env)
    try:
        runner = make_trainer(configs.library, env, configs.agent, configs.task, world)
        if continued is not None:
            runner.load(continued.checkpoint(args.checkpoint or configs.agent.load_checkpoint))
            _check_iterations_left(runner, continued)
        elif args.checkpoint is not None:
            runner.load(args.checkpoint, _START_PARTS)
        folder = Path()
        try:
            if world.is_main:
                folder = continued.path if continued is not None else _new_folder(configs)
                _learn(runner, folder, configs, args, continued)
            else:
                runner.learn()
        finally:
            runner.release()  # before the processes part
    finally:
        env.close()
    return folder, runner.stop_signal


def _what_to_train(args: argparse.Namespace) -> tuple[Run | None, Configs]:
    """Return the run to continue, if one, and the resolved configs."""
    if args.resume:
        continued = open_run(Path(args.resume))
        if args.target is not None and args.target != continued.task:
            raise ConfigError(f"run {continued.path} is of the task {continued.task!r}, not of {args.target!r}")
        return continued, _configs_to_continue(continued, args)
    task = require_target(args, "task", "palestra train Reach-Franka (palestra tasks lists them)")
    if is_path(task):
        raise ConfigError(f"{task!r} is a path, not a task: to continue a run, type palestra train --resume {task}")
    configs = task_configs(task, args)
    if args.resume is None and not configs.agent.resume:
        return None, configs
    agent = configs.agent
    continued = latest_run(agent.experiment_name, configs.task, agent.load_run, args.library)
    return continued, _configs_to_continue(continued, args)


def _configs_to_continue(continued: Run, args: argparse.Namespace) -> Configs:
    if args.run_name is not None:
        raise ConfigError(f"--run_name cannot rename {continued.path}, which --resume continues: leave it out")
    return task_configs(continued.task, args, continued)


def _check_iterations_left(runner: Trainer, continued: Run) -> None:
    done, wanted = runner.current_learning_iteration, runner.cfg.max_iterations
    if done >= wanted:
        raise ConfigError(
            f"run {continued.path} has done all its {wanted} iterations: give --max_iterations more than {done}"
        )


def _new_folder(configs: Configs) -> Path:
    return create_run_folder(configs.agent.experiment_name, configs.agent.run_name)


def _learn(runner: Trainer, folder: Path, configs: Configs, args: argparse.Namespace, continued: Run | None) -> None:
    """Train into the folder; a new folder goes away again if not one iteration worked."""
    first = runner.current_learning_iteration
    runner.run_dir = folder
    try:
        _write_config(folder, configs, args, continued)
        if args.video_interval is not None:
            from palestra.cli.training_videos import TrainingVideos

            show = runner.console.message
            runner.observer = TrainingVideos(folder, configs.task, args.video_interval, LAST_SECONDS, show)
        where = f"{runner.env.num_envs} environments on {runner.env.device}"
        if runner.world.size > 1:
            where = f"{runner.world.size} processes of {where.replace('cuda:0', 'a GPU each')}"
        print(f"{configs.task}: {where}, iterations {first + 1} to {runner.cfg.max_iterations}, {folder}", flush=True)
        runner.learn()
    except BaseException:
        if continued is None and runner.current_learning_iteration == first:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _write_config(folder: Path, configs: Configs, args: argparse.Namespace, continued: Run | None) -> None:
    """Write the resolved whole; a continued run keeps the record of how it began."""
    from palestra import __version__
    from palestra.config.yaml_io import dump_yaml
    from palestra.rl.checkpoint import versions

    command, now = shlex.join(args.command_line), datetime.now().astimezone().isoformat(timespec="seconds")
    records: dict[str, object] = {"command": command, "started": now}
    if continued is not None:
        kept = {name: continued.config[name] for name in ("command", "started") if name in continued.config}
        resumed = [*continued.config.get("resumed", []), {"command": command, "at": now}]
        records = {**kept, "resumed": resumed}
    dump_yaml(
        folder / CONFIG_FILE,
        {
            "task": configs.task,
            "library": configs.library,
            **records,
            "versions": {**versions(), "palestra": __version__},
            "env": configs.env,
            "agent": configs.agent,
        },
    )


def _finish(folder: Path, configs: Configs, args: argparse.Namespace) -> None:
    """Draw the curves, film the policy, and say where everything is and what to type next."""
    from palestra.view.plots import plot_curves

    lines = [("run folder", str(folder)), ("checkpoint", str(folder / "nn" / "last.pth"))]
    curves = plot_curves(folder / "metrics.csv", folder / "curves.png", title=f"{configs.task} · {folder.name}")
    lines.append(("curves", str(curves)))
    if args.video is not False:
        video = _film(folder, configs, args)
        if video is not None:
            lines.append(("video", str(video)))
    lines.append(("next", f"palestra play {shlex.quote(str(folder))}"))
    print("\n" + "\n".join(f"{label:<12}{text}" for label, text in lines), flush=True)


def _film(folder: Path, configs: Configs, args: argparse.Namespace) -> Path | None:
    """Film the final policy on the CPU; without OpenGL, warn and go on."""
    reason = _why_no_video()
    if reason is not None:
        print(f"warning: no video: {reason}")
        return None
    from palestra.cli.play import film

    trained_run = open_run(folder)
    name = f"{configs.task}-{trained_run.checkpoint().stem}.mp4"
    try:
        return film(trained_run.task, trained_run, trained_run.checkpoint(), folder / "videos" / name, LAST_SECONDS)
    except PalestraError as error:
        if args.video:
            raise
        print(f"warning: no video: {error}")
        return None


def _why_no_video() -> str | None:
    """Return why this machine cannot draw, or None if it can."""
    from palestra.view.offscreen import why_unavailable

    return why_unavailable()
