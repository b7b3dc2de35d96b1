"""``palestra sim2sim``: the same policy in other simulations, down to the deployed process on a simulated robot."""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palestra.cli.arguments import CommandParser, add_environment_flags, require_target, whole_number
from palestra.cli.configuration import Configs, Trained, find_trained, play_configs
from palestra.errors import ConfigError, PalestraError

if TYPE_CHECKING:
    from palestra.deploy.sim2sim.result import Row
    from palestra.deploy.sim2sim.variants import Variant

FOLDER = "sim2sim"
FAILED = 1
"""Exit code where a simulation's result is not as good as training's."""

_EXPORT_ENVIRONMENTS = 16
"""Environments in which the exported files are checked."""
_SCORED_AT_ONCE = 250
_ROBOT = ("--lockstep", "--threads", "1", "--harness", "60")
"""Robots with a floating base hang in a harness until the policy has them."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's flags."""
    parser.target = "RUN_OR_TASK"
    add_environment_flags(parser)
    parser.add_argument("--checkpoint", metavar="FILE", help="checkpoint file, or its name in the run")
    count = whole_number("--num_episodes", 1)
    parser.add_argument("--num_episodes", type=count, default=100, metavar="N", help="episodes of each (default: 100)")
    robot = whole_number("--robot_episodes", 0)
    parser.add_argument(
        "--robot_episodes", type=robot, default=20, metavar="N", help="episodes on simulated robots (default: 20)"
    )
    parser.add_argument("--tolerance", type=float, default=0.1, metavar="SHARE", help="score that may be lost")
    parser.add_argument(
        "--variant", action="append", default=[], metavar="NAME:FIELD=VALUE", help="one more simulation"
    )
    parser.add_argument("--menagerie", metavar="NAME", help="one more: the robot's model in MuJoCo Menagerie")
    parser.add_argument("--latency_ms", type=float, default=10.0, metavar="MS", help="of the simulated robot's network")
    parser.add_argument("--loss", type=float, default=0.05, metavar="SHARE", help="of its packets")
    parser.add_argument("--allow_privileged", action="store_true", help="as for export")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--headless", action="store_true", help="accepted; nothing is drawn")


def run(args: argparse.Namespace) -> int:
    """Try the policy everywhere, print the table, and write ``sim2sim/result.json``."""
    target = require_target(args, "run", "palestra sim2sim runs/velocity_flat_go2/2026-01-31_12-00-00")
    if not 0.0 <= args.tolerance < 1.0:
        raise ConfigError(f"--tolerance is {args.tolerance}; it must be from 0 to less than 1")

    from palestra.deploy.sim2sim.result import judge
    from palestra.deploy.sim2sim.table import print_table
    from palestra.deploy.sim2sim.variants import named, standard
    from palestra.rl.checkpoint import write_atomically

    further = [named(text) for text in args.variant]
    trained = find_trained(target, args)
    args.num_envs = min(args.num_episodes, args.num_envs or 100)
    configs, engine = _settings(trained, args)
    variants = [*standard(configs.env), *further]
    if args.menagerie is not None:
        variants.append(_menagerie(configs, args.menagerie))
    changed = [_changed(configs, variant) for variant in variants]  # what is wrong is said before anything runs
    rows = [_evaluated(configs, trained, args, "training", f"{engine}, the task's own settings")]
    rows.append(_other_engine(configs, trained, args))
    for variant, settings in zip(variants, changed, strict=True):
        rows.append(_evaluated(settings, trained, args, variant.name, variant.what, variant.edit))
    rows += _exported(configs, trained, args)
    passed = judge(rows, args.tolerance)
    report = {
        "task": configs.task,
        "checkpoint": trained.checkpoint,
        "seed": configs.env.seed,
        "tolerance": args.tolerance,
        "passed": passed,
        "rows": [row.to_dict() for row in rows],
    }
    text = json.dumps(report, indent=2, ensure_ascii=False)
    place = trained.run.path if trained.run is not None else Path(trained.checkpoint).parent
    write_atomically(place / FOLDER / "result.json", f"{text}\n".encode())
    if args.json:
        print(text)
    else:
        print_table(f"{configs.task} · {trained.checkpoint}", rows, passed)
        print(f"written to {place / FOLDER / 'result.json'}")
    return 0 if passed else FAILED


# --- in environments --------------------------------------------------------------------------------------------------


def _settings(trained: Trained, args: argparse.Namespace) -> tuple[Configs, str]:
    """Return the baseline's settings, on the device of training where there is one like it, and the engine's name."""
    import torch

    trained_on = "cpu"
    if trained.run is not None:
        trained_on = str(trained.run.config.get("env", {}).get("sim", {}).get("device", "cpu"))
    if args.device is None and trained_on.startswith("cuda") and torch.cuda.is_available():
        args.device = "cuda:0"
    configs = play_configs(trained.task, args, trained.run)
    engine = "CUDA" if configs.env.sim.device.startswith("cuda") else "CPU"
    elsewhere = trained_on.startswith("cuda") and engine == "CPU"
    return configs, f"{engine} engine" + (" (trained on the CUDA engine)" if elsewhere else "")


def _other_engine(configs: Configs, trained: Trained, args: argparse.Namespace) -> Row:
    import torch

    from palestra.deploy.sim2sim.result import Row

    other = "cpu" if configs.env.sim.device.startswith("cuda") else "cuda:0"
    name = f"the other engine ({'CPU' if other == 'cpu' else 'CUDA'})"
    if other != "cpu" and not torch.cuda.is_available():
        return Row(name, "MuJoCo Warp", reason="no GPU")
    changed = _with(configs, f"env.sim.device={other}")
    return _evaluated(changed, trained, args, name, "the same settings")


def _menagerie(configs: Configs, name: str) -> Variant:
    """Return the variant with MuJoCo Menagerie's model in the place of the robot's.

    Raises:
        ConfigError: there is no such model, or it does not fit the task.
    """
    from palestra.config.registry import make
    from palestra.deploy.sim2sim.other_model import OtherModelCfg
    from palestra.deploy.sim2sim.variants import Variant
    from palestra.robots.menagerie import menagerie

    robot = getattr(configs.env.scene, "robot", None)
    if robot is None:
        raise ConfigError(f"--menagerie {name}: the scene of {configs.task} has no 'robot'")
    spawn = OtherModelCfg(own=robot.spawn, other=menagerie(name).spawn())

    def replace(env_cfg: Any) -> None:
        env_cfg.scene.robot.spawn = spawn

    variant = Variant(f"Menagerie's {name}", "its masses, shapes and passive joint forces", configure=replace)
    trial = _changed(_with(configs, "env.scene.num_envs=1", "env.sim.device=cpu"), variant)
    try:
        make(trial.task, cfg=trial.env).close()
    except ConfigError as error:
        raise ConfigError(f"--menagerie {name}: the model does not fit {configs.task}: {error}") from error
    return variant


def _with(configs: Configs, *overrides: str) -> Configs:
    from palestra.deploy.sim2sim.variants import Variant

    return _changed(configs, Variant("", "", overrides))


def _changed(configs: Configs, variant: Variant) -> Configs:
    from palestra.config import apply_overrides, validate

    changed = Configs(configs.task, copy.deepcopy(configs.env), configs.agent, configs.library)
    try:
        apply_overrides({"env": changed.env}, list(variant.overrides))
        if variant.configure is not None:
            variant.configure(changed.env)
        validate(changed.env, "env")
    except ConfigError as error:
        raise ConfigError(f"simulation {variant.name!r}: {error}" if variant.name else str(error)) from error
    return changed


def _evaluated(
    configs: Configs, trained: Trained, args: argparse.Namespace, name: str, what: str, edit: Any = None
) -> Row:
    from palestra.cli.play import build
    from palestra.deploy.sim2sim.result import row_of
    from palestra.envs.evaluation import evaluate

    env, policy = build(configs, Path(trained.checkpoint))
    try:
        if edit is not None:
            edit(env)
        result = evaluate(env, policy, args.num_episodes, seed=configs.env.seed)
        return row_of(name, what, result, env)
    finally:
        env.close()


# --- as exported ------------------------------------------------------------------------------------------------------


def _exported(configs: Configs, trained: Trained, args: argparse.Namespace) -> list[Row]:
    """Return the rows of the exported control step: in an environment, and on simulated robots."""
    from palestra.deploy.sim2sim.result import Row

    names = ("policy.onnx", "plain MuJoCo, finer step", "deployed over UDP")
    with tempfile.TemporaryDirectory() as folder:
        try:
            exported = _export(configs, trained, args, Path(folder))
        except PalestraError as error:
            reasons = [str(error), *(f"as {names[0]}" for _ in names[1:])]
            pairs = zip(names, reasons, strict=True)
            return [Row(name, "the exported control step", reason=reason) for name, reason in pairs]
        rows = [_step_in_environment(configs, trained, args, exported, names[0])]
        if args.robot_episodes:
            finer = (f"--physics_dt={configs.env.sim.dt / 4!r}",)
            rows.append(_on_robot(configs, trained, args, exported, names[1], "mj_step, perfect network", finer))
            network = (f"--latency_ms={args.latency_ms}", f"--loss={args.loss}")
            what = f"{args.latency_ms:g} ms latency each way, {args.loss:.0%} of the packets lost"
            rows.append(_on_robot(configs, trained, args, exported, names[2], what, network))
        return rows


def _export(configs: Configs, trained: Trained, args: argparse.Namespace, folder: Path) -> Path:
    """Export the policy as ``palestra export`` does, into a temporary folder."""
    from palestra.cli.play import build
    from palestra.deploy.export import export
    from palestra.rl.checkpoint import load_checkpoint

    changed = _with(configs, f"env.scene.num_envs={_EXPORT_ENVIRONMENTS}", "env.sim.device=cpu")
    env, policy = build(changed, Path(trained.checkpoint))
    try:
        export(
            env,
            policy,  # type: ignore[arg-type]
            load_checkpoint(trained.checkpoint),
            folder / "exported",
            task=configs.task.removesuffix("-Play"),
            checkpoint=Path(trained.checkpoint),
            seed=configs.env.seed,
            allow_privileged=args.allow_privileged,
        )
    finally:
        env.close()
    return folder / "exported"


def _step_in_environment(
    configs: Configs, trained: Trained, args: argparse.Namespace, exported: Path, name: str
) -> Row:
    from palestra.cli.play import build
    from palestra.deploy.export import control_step
    from palestra.deploy.sim2sim.exported_policy import ExportedPolicy
    from palestra.deploy.sim2sim.result import row_of
    from palestra.envs.evaluation import evaluate

    changed = _with(configs, "env.sim.device=cpu")
    env, policy = build(changed, Path(trained.checkpoint))
    try:
        step, _ = control_step(env, policy.graph(), allow_privileged=args.allow_privileged)  # type: ignore[attr-defined]
        assert step is not None
        exported_policy = ExportedPolicy(exported / "policy.onnx", step, env.num_envs)
        result = evaluate(env, exported_policy, args.num_episodes, seed=configs.env.seed)
        return row_of(name, "the exported control step in the CPU engine", result, env)
    finally:
        env.close()


def _on_robot(
    configs: Configs,
    trained: Trained,
    args: argparse.Namespace,
    exported: Path,
    name: str,
    what: str,
    flags: tuple[str, ...],
) -> Row:
    import numpy as np

    from palestra.cli.play import build
    from palestra.deploy.export import control_step
    from palestra.deploy.sim2sim.result import Row, score_names
    from palestra.deploy.sim2sim.robot_episodes import TruthScorer, drawn_commands, row_of_episodes, run_episode
    from palestra.deploy.sim_server import SimRobotProcess
    from palestra.deploy.udp import UdpRobot

    changed = _with(configs, f"env.scene.num_envs={_SCORED_AT_ONCE}", "env.sim.device=cpu")
    env, policy = build(changed, Path(trained.checkpoint))
    try:
        if not hasattr(env, "reward_manager"):
            return Row(name, what, reason="a direct environment has no terms that could score what a robot did")
        step, _ = control_step(env, policy.graph(), allow_privileged=args.allow_privileged)  # type: ignore[attr-defined]
        assert step is not None
        length = env.max_episode_length * env.step_dt
        of_episode = drawn_commands(env, step, configs.env.seed, length)
        commands_cfg = getattr(env.cfg, "commands", None)
        terms = [] if commands_cfg is None else vars(commands_cfg).values()
        velocity = next((c for c in terms if getattr(c, "heading_command", False)), None)
        log = exported / f"{name.split()[0]}.npz"
        episodes = []
        place = str(trained.run.path) if trained.run is not None else configs.task
        settings = [] if args.config is None else ["--config", args.config]
        words = [*_ROBOT, *flags, "--log", str(log), *settings, *args.overrides]
        try:
            with SimRobotProcess(place, words) as process:
                robot = UdpRobot(process.host, process.port)
                for number in range(args.robot_episodes):
                    commands = of_episode(number)
                    seed = configs.env.seed + number + 1
                    episodes.append(run_episode(exported, robot, commands, length, seed, velocity, env.step_dt))
        except ConnectionError as error:  # its simulation has diverged, and its log is lost
            return Row(name, f"{what}; the robot is gone: {error}", len(episodes) + 1, score=0.0, falls=1.0)
        except PalestraError as error:
            return Row(name, what, reason=str(error))
        scorer, outcomes = TruthScorer(env, score_names(env)), []
        with np.load(log) as truth:
            qpos, qvel = truth["qpos"], truth["qvel"]
        for episode in episodes:
            rows = np.minimum(np.array(episode.rows, dtype=int), len(qpos) - 1)
            outcomes.append(scorer(qpos[rows], qvel[rows], episode))
        return row_of_episodes(name, what, outcomes, [episode.trip for episode in episodes])
    finally:
        env.close()
