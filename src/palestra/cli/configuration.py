"""From a task and a command line to configs: defaults < ``--config`` or the run's own < overrides < flags."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palestra.cli.arguments import is_path
from palestra.cli.run_folder import Run, latest_run, open_run
from palestra.config import (
    apply_overlay,
    apply_overrides,
    is_config,
    load_agent_cfg,
    load_env_cfg,
    load_overlay,
    set_value,
    spec,
    task_ids,
    validate,
)
from palestra.config.plain import plain_key, plain_value
from palestra.config.registry import PLAY_SUFFIX
from palestra.config.yaml_io import Overlay
from palestra.errors import ConfigError, did_you_mean
from palestra.integrations import OTHERS, OURS, check_library, load_library

FLAGS = {
    "num_envs": "env.scene.num_envs",
    "device": "env.sim.device",
    "threads": "env.sim.threads",
    "max_iterations": "agent.max_iterations",
    "run_name": "agent.run_name",
    "logger": "agent.logger",
}
"""Flags that set a field."""

_OF_THE_MACHINE = ("scene.num_envs", "sim.device", "sim.threads", "seed", "first_env", "check_terms")
"""What a run's environment config says of how it was run rather than of the task."""


@dataclass
class Configs:
    """A task's resolved configuration."""

    task: str
    env: Any
    agent: Any
    library: str = OURS

    @property
    def roots(self) -> dict[str, object]:
        """The trees that overrides address."""
        return {"env": self.env, "agent": self.agent}


def task_configs(task: str, args: argparse.Namespace, run: Run | None = None) -> Configs:
    """Resolve a task's configs; with a run, its own ``config.yaml`` takes the place of the defaults.

    Raises:
        ConfigError: unknown task, key, value, file or library.
    """
    library = _library(args, run)
    configs = Configs(spec(task).id, load_env_cfg(task), load_agent_cfg(task, library), library)
    if run is not None:
        apply_overlay(configs.roots, run.config)
    return finish(configs, args)


def play_configs(task: str, args: argparse.Namespace, run: Run | None = None) -> Configs:
    """Resolve the configs of a task's ``-Play`` variant; what the run's own config changed of the task stays.

    Raises:
        ConfigError: as for :func:`task_configs`.
    """
    library = _library(args, run)
    base = spec(task).id.removesuffix(PLAY_SUFFIX)
    variant = base + PLAY_SUFFIX if base + PLAY_SUFFIX in task_ids(play=True) else base
    configs = Configs(variant, load_env_cfg(variant), load_agent_cfg(base, library), library)
    if run is not None:
        for path, value in changes(load_env_cfg(base), run.config.get("env", {})):
            if path not in _OF_THE_MACHINE:
                with contextlib.suppress(ConfigError):  # a term that the -Play variant does not have
                    set_value({"env": configs.env}, f"env.{path}", value)
        apply_overlay({"agent": configs.agent}, run.config)
    return finish(configs, args)


def finish(configs: Configs, args: argparse.Namespace) -> Configs:
    """Apply ``--config``, overrides and flags, in this order, and check the whole."""
    if args.config is not None:
        overlay = _read_overlay(args.config, configs.library)
        of_task = overlay.get("task") if overlay.resolved else None
        if of_task is not None and str(of_task).removesuffix(PLAY_SUFFIX) != configs.task.removesuffix(PLAY_SUFFIX):
            raise ConfigError(f"{args.config}: is the configuration of the task {of_task!r}, not of {configs.task!r}")
        apply_overlay(configs.roots, overlay)
    apply_overrides(configs.roots, args.overrides)
    for flag, key in FLAGS.items():
        value = getattr(args, flag, None)
        if value is None:
            continue
        if flag == "max_iterations" and hasattr(configs.agent, "set_iterations"):
            configs.agent.set_iterations(value)
        else:
            _set_by_flag(configs, flag, key, value)
    if args.check:
        configs.env.check_terms = True
    if args.seed is not None:
        configs.agent.seed = configs.env.seed = args.seed
    if configs.env.seed is None:
        configs.env.seed = configs.agent.seed
    validate(configs.env, "env")
    validate(configs.agent, "agent")
    return configs


def _library(args: argparse.Namespace, run: Run | None = None) -> str:
    """Return the learner that the command line or the run names."""
    library = args.library or (OURS if run is None else run.library)
    check_library(library)
    if run is not None and library != run.library:
        raise ConfigError(f"run {run.path} was trained with {run.library}, not with {library}")
    return library


def changes(default: object, dumped: Any, path: str = "") -> list[tuple[str, Any]]:
    """Return the dotted paths, with values, at which a dumped config differs from a default one."""
    groups = is_config(default) or (isinstance(default, dict) and any(is_config(v) for v in default.values()))
    if not groups or not isinstance(dumped, dict):
        return [(path, dumped)] if plain_value(default) != dumped else []
    items = {plain_key(k): v for k, v in (default if isinstance(default, dict) else vars(default)).items()}
    out: list[tuple[str, Any]] = []
    for name, value in dumped.items():
        below = f"{path}.{name}" if path else str(name)
        if name in items:
            out += changes(items[name], value, below)
        elif isinstance(value, dict) and "func" in value:
            out.append((below, value))  # a term that was added
    return out


@dataclass
class Trained:
    """A policy on disk: where it is, and the run that it belongs to, if there is one."""

    task: str
    checkpoint: str
    run: Run | None


def find_trained(target: str, args: argparse.Namespace) -> Trained:
    """Return the policy that a command's word and ``--checkpoint`` mean.

    The word is a run folder, a checkpoint file, or a task: then the checkpoint, or the task's latest run, counts.

    Raises:
        ConfigError: neither a run nor a task, or no checkpoint.
    """
    wanted = args.checkpoint
    if is_path(target):
        file = Path(target)
        if file.is_file() and _run_around(file) is None:
            example = f"{' '.join(args.command_line[:2])} TASK --checkpoint {target}"
            raise ConfigError(f"{target} lies in no run folder: name its task too ({example})")
        run = open_run(file)
        chosen = target if target.endswith(".pth") and wanted is None else str(run.checkpoint(wanted))
        return Trained(run.task, chosen, run)
    if target.removeprefix("Palestra/") not in task_ids(play=True):
        raise ConfigError(f"{target!r} is neither a run folder nor a task: {did_you_mean(target, task_ids())}")
    task = spec(target).id
    if wanted is not None and is_path(wanted):
        run = _run_around(Path(wanted))
        if run is not None and run.task.removesuffix(PLAY_SUFFIX) != task.removesuffix(PLAY_SUFFIX):
            raise ConfigError(f"checkpoint {wanted} is of the task {run.task!r}, not of {task!r}")
        return Trained(task, wanted, run)
    run = latest_run(load_agent_cfg(task, _library(args)).experiment_name, task, library=args.library)
    return Trained(task, str(run.checkpoint(wanted)), run)


def _read_overlay(path: str, library: str) -> Overlay:
    """Read a config file; one in the form of the chosen library is put below ``agent``."""
    overlay = load_overlay(path)
    if library in OTHERS and not overlay.resolved:
        native = load_library(library).native_overlay(dict(overlay))
        if native is not None:
            return Overlay(native, overlay.source)
    return overlay


def _run_around(checkpoint: Path) -> Run | None:
    """Return the run whose folder holds a checkpoint, or None for a file on its own."""
    try:
        return open_run(checkpoint)
    except ConfigError:
        return None


def _set_by_flag(configs: Configs, flag: str, key: str, value: Any) -> None:
    try:
        set_value(configs.roots, key, value, raw=str(value))
    except ConfigError as error:
        raise ConfigError(f"--{flag}: {str(error).removeprefix(f'{key}: ')}") from error
