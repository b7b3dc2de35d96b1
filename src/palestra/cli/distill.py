"""``palestra distill``: a student that sees what the robot measures learns to act as a teacher that sees more."""

from __future__ import annotations

import argparse
import shlex
import shutil
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palestra.cli.arguments import CommandParser, add_environment_flags, require_target, whole_number
from palestra.cli.configuration import Configs, Trained, find_trained, finish, task_configs
from palestra.cli.run_folder import CONFIG_FILE, check_folder_name, create_run_folder

if TYPE_CHECKING:
    from palestra.envs.evaluation import Evaluation
    from palestra.rl.distillation import DistillationCfg, Distiller

_SIGNAL_EXIT = 128


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's flags."""
    parser.target = "TEACHER_RUN"
    add_environment_flags(parser)
    parser.add_argument("--checkpoint", metavar="FILE", help="the teacher's checkpoint file, or its name in the run")
    parser.add_argument("--groups", nargs="+", metavar="GROUP", help="what the student sees (default: policy)")
    parser.add_argument("--rnn", type=whole_number("--rnn", 1), metavar="WIDTH", help="give it a GRU of this width")
    parser.add_argument("--max_iterations", type=whole_number("--max_iterations", 1), metavar="N", help="rollouts")
    parser.add_argument("--run_name", metavar="NAME", default="student", help="word appended to the run folder's name")
    parser.add_argument(
        "--num_episodes",
        type=whole_number("--num_episodes", 1),
        default=100,
        metavar="N",
        help="episodes in which the two are compared at the end (default: 100)",
    )
    parser.add_argument("--headless", action="store_true", help="accepted; nothing is drawn")


def run(args: argparse.Namespace) -> int:
    """Distil, compare, print the gap, and say where the student is."""
    target = require_target(args, "teacher's run", "palestra distill runs/velocity_flat_go2/2026-01-31_12-00-00")
    check_folder_name("run_name", args.run_name)
    trained = find_trained(target, args)
    configs, agent = _configs(trained, args)

    from palestra.config.registry import make
    from palestra.integrations import policy_of
    from palestra.rl.checkpoint import check_compatible, load_checkpoint
    from palestra.rl.distillation import Distiller

    content = load_checkpoint(Path(trained.checkpoint))
    env = make(configs.task, cfg=configs.env)
    try:
        check_compatible(content, trained.checkpoint, configs.task, env.observation_dims, env.num_actions)
        env.load_curriculum(content.get("env_state", {}))
        teacher = policy_of(content, env.device)
        clip = content["config"].get("clip_actions")
        bound = float(clip) if isinstance(clip, int | float) and not isinstance(clip, bool) else None
        distiller = Distiller(env, teacher, configs.agent, None, configs.task, bound, _of_the_teacher(content))
        folder = create_run_folder(agent.experiment_name, args.run_name)
        _learn(distiller, folder, configs, agent, trained, args)
        if distiller.stop_signal is None:
            _compare(env, teacher, distiller, folder, args)
    finally:
        env.close()
    print(f"run folder  {folder}\nnext        palestra export {shlex.quote(str(folder))}")
    return 0 if distiller.stop_signal is None else _SIGNAL_EXIT + int(distiller.stop_signal)


def _configs(trained: Trained, args: argparse.Namespace) -> tuple[Configs, Any]:
    """Return the configs of the distillation, and the agent's that the student's run is played with."""
    from palestra.config.registry import load_agent_cfg
    from palestra.rl.distillation import DistillationCfg

    overrides, args.overrides = args.overrides, [o for o in args.overrides if not o.startswith("agent.")]
    run_name, iterations, args.run_name, args.max_iterations = args.run_name, args.max_iterations, None, None
    of_run = task_configs(trained.task, args, trained.run)
    args.overrides, args.run_name, args.max_iterations = overrides, run_name, iterations
    cfg: DistillationCfg = DistillationCfg(seed=of_run.env.seed)
    if args.groups is not None:
        cfg.groups = list(args.groups)
    if args.rnn is not None:
        cfg.rnn_hidden_dim = args.rnn
    configs = Configs(of_run.task, of_run.env, cfg)
    args.run_name, config, args.config = None, args.config, None  # both have been applied
    try:
        finish(configs, args)
    finally:
        args.run_name, args.config = run_name, config
    agent = load_agent_cfg(trained.task.removesuffix("-Play"), "palestra")
    agent.experiment_name = of_run.agent.experiment_name
    agent.obs_groups = {"actor": list(cfg.groups), "critic": agent.obs_groups["critic"]}
    agent.actor = cfg.student
    return configs, agent


def _of_the_teacher(content: dict[str, Any]) -> dict[str, Any]:
    """Return what lets PPO train the student further: the value function of a teacher of our own."""
    if content["library"] != "palestra" or "critic_state_dict" not in content:
        return {}
    return {
        "obs_groups": {"critic": content["obs_groups"]["critic"]},
        "critic_state_dict": content["critic_state_dict"],
    }


def _learn(
    distiller: Distiller, folder: Path, configs: Configs, agent: Any, trained: Trained, args: argparse.Namespace
) -> None:
    """Train into the folder; it goes away again if not one iteration worked."""
    distiller.run_dir = folder
    try:
        _write_config(folder, configs, agent, trained, args)
        env, seen = distiller.env, "+".join(configs.agent.groups)
        memory = f", a GRU of {configs.agent.rnn_hidden_dim}" if configs.agent.rnn_hidden_dim else ""
        print(f"{configs.task}: teacher {trained.checkpoint}; the student sees {seen}{memory}", flush=True)
        print(f"{env.num_envs} environments on {env.device}, {configs.agent.max_iterations} iterations, {folder}")
        distiller.learn()
    except BaseException:
        if distiller.iteration == 0:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _write_config(folder: Path, configs: Configs, agent: Any, trained: Trained, args: argparse.Namespace) -> None:
    from palestra import __version__
    from palestra.config.yaml_io import dump_yaml
    from palestra.rl.checkpoint import versions

    dump_yaml(
        folder / CONFIG_FILE,
        {
            "task": configs.task.removesuffix("-Play"),
            "library": "palestra",
            "command": shlex.join(args.command_line),
            "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            "versions": {**versions(), "palestra": __version__},
            "teacher": str(trained.checkpoint),
            "distillation": configs.agent,
            "env": configs.env,
            "agent": agent,
        },
    )


def _compare(env: Any, teacher: Any, distiller: Distiller, folder: Path, args: argparse.Namespace) -> None:
    """Evaluate both in the same episodes, print the gap and keep it in ``distillation.json``."""
    import json

    from palestra.envs.evaluation import evaluate
    from palestra.rl.checkpoint import write_atomically

    episodes = max(args.num_episodes, min(env.num_envs, 1024))
    seed = distiller.cfg.seed + 1
    results = {name: evaluate(env, policy, episodes, seed) for name, policy in _both(teacher, distiller)}
    rows = gap(results["teacher"], results["student"])
    report = {name: result.to_dict() for name, result in results.items()}
    text = json.dumps({"seed": seed, "gap": {label: row[2] for label, row in rows.items()}, **report}, indent=2)
    write_atomically(folder / "distillation.json", f"{text}\n".encode())
    _print(rows, results["teacher"].episodes)


def _both(teacher: Any, distiller: Distiller) -> list[tuple[str, Any]]:
    return [("teacher", teacher), ("student", distiller.policy())]


def gap(teacher: Evaluation, student: Evaluation) -> dict[str, tuple[float, float, float | None]]:
    """Return, for each figure, the teacher's, the student's, and the share by which the student falls short.

    Figures are the return, the success rate if the task has one, the episode's length and
    terms of the reward before weighting. A share of a figure that is about zero means nothing, and is None.
    """
    figures = {"return": (teacher.return_mean, student.return_mean)}
    if teacher.success_rate is not None and student.success_rate is not None:
        figures["success rate"] = (teacher.success_rate, student.success_rate)
    figures["episode length"] = (teacher.length_mean, student.length_mean)
    figures |= {
        name: (value, student.step_values[name])
        for name, value in teacher.step_values.items()
        if name in student.step_values
    }
    return {name: (a, b, (a - b) / abs(a) if abs(a) > 1e-9 else None) for name, (a, b) in figures.items()}


def _print(rows: dict[str, tuple[float, float, float | None]], episodes: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{episodes} episodes each, the same starts", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("", no_wrap=True)
    for name in ("teacher", "student", "gap"):
        table.add_column(name, justify="right")
    for name, (a, b, share) in rows.items():
        table.add_row(name, f"{a:.4g}", f"{b:.4g}", "–" if share is None else f"{share:+.1%}")
    Console(width=100).print(table)
