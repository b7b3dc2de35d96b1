"""``palestra info``: describe every observation and action entry of a task or a run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from palestra.cli.arguments import CommandParser, add_environment_flags, is_path, require_target
from palestra.cli.configuration import task_configs
from palestra.cli.run_folder import open_run
from palestra.config import spec, task_ids
from palestra.errors import ConfigError, did_you_mean

Row = tuple[str, ...]


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's flags."""
    parser.target = "TASK_OR_RUN"
    add_environment_flags(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def run(args: argparse.Namespace) -> int:
    """Build one environment and describe it."""
    target = require_target(args, "task or run", "palestra info Reach-Franka")
    if is_path(target):
        found = open_run(Path(target))
        task = found.task
    elif target.removeprefix("Palestra/") in task_ids(play=True):
        found, task = None, spec(target).id
    else:
        raise ConfigError(f"{target!r} is neither a task nor a run folder: {did_you_mean(target, task_ids())}")
    args.num_envs = args.num_envs or 1
    configs = task_configs(task, args, found)
    if args.device is None:
        configs.env.sim.device = "cpu"  # a description needs no GPU, whatever the run had

    from palestra.config.registry import make
    from palestra.envs.descriptor import describe

    env = make(configs.task, cfg=configs.env)
    try:
        description = describe(env, configs.task)
    finally:
        env.close()
    if args.json:
        print(json.dumps(description, indent=2, ensure_ascii=False))
    else:
        print_tables(description)
    return 0


def print_tables(description: dict[str, Any]) -> None:
    """Print a description as tables."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=150)
    control = description["control"]
    console.print(
        f"[bold]{description['task']}[/bold]  {control['rate']:.4g} Hz "
        f"({control['decimation']} physics steps of {_number(control['physics_dt'])} s), "
        f"episodes of {_number(control['episode_length_s'])} s ({control['max_episode_length']} steps)\n",
        highlight=False,
    )
    for group, content in description["observations"].items():
        title = f"observations · {group} · {content['width']} numbers"
        rows = [row for term in content["terms"] for row in _observation_rows(term)]
        _table(console, title, ("index", "entry", "units", "frame", "scale", "clip", "noise", "history"), rows)
    action_rows = [row for term in description["actions"]["terms"] for row in _action_rows(term)]
    title = f"actions · {description['actions']['width']} numbers"
    _table(console, title, ("index", "entry", "units", "target", "scale", "offset", "clip"), action_rows)
    for name, robot in description["articulations"].items():
        _table(console, f"joints of {name!r}", _JOINT_COLUMNS, _joint_rows(robot))
    commands = [
        (name, str(c["width"]), _shown(c["resampling_time_range"]), _pairs(c["ranges"]))
        for name, c in description["commands"].items()
    ]
    _table(console, "commands", ("name", "width", "resampled after (s)", "ranges"), commands)
    rewards = [
        (r["name"], r["group"], _number(r["weight"]), _short(r["func"]), _pairs(r["params"]))
        for r in description["rewards"]
    ]
    _table(console, "rewards", ("name", "group", "weight", "function", "parameters"), rewards)
    ends = [(t["name"], _kind(t), _short(t["func"]), _pairs(t["params"])) for t in description["terminations"]]
    _table(console, "terminations", ("name", "counts as", "function", "parameters"), ends)
    events = [
        (e["name"], e["mode"], _shown(e["interval_range_s"]), _short(e["func"]), _pairs(e["params"]))
        for e in description["events"]
    ]
    _table(console, "events", ("name", "mode", "interval (s)", "function", "parameters"), events)
    curriculum = [(c["name"], _short(c["func"]), _pairs(c["params"])) for c in description["curriculum"]]
    _table(console, "curriculum", ("name", "function", "parameters"), curriculum)


_JOINT_COLUMNS = (
    "index",
    "joint",
    "default",
    "limits",
    "stiffness",
    "damping",
    "effort limit",
    "velocity limit",
    "armature",
)


def _table(console: Any, title: str, columns: tuple[str, ...], rows: list[Row]) -> None:
    if not rows:
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    used = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    for i in used:
        table.add_column(columns[i], overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[i]) for i in used))
    console.print(table)


def _observation_rows(term: dict[str, Any]) -> list[Row]:
    rows = []
    for entry in term["entries"]:
        within = (entry["index"] - term["slice"][0]) % term["width"]
        scale = term.get("scale")
        scale = scale[within] if isinstance(scale, list) else scale
        history = f"{-entry['age']}" if term.get("history", 1) > 1 else ""
        cells = (entry["units"], entry["frame"], _shown(scale), _shown(term.get("clip")), _noise(term.get("noise")))
        rows.append((str(entry["index"]), entry["name"], *cells, history))
    return rows


def _action_rows(term: dict[str, Any]) -> list[Row]:
    rows = []
    for k, entry in enumerate(term["entries"]):
        per_entry = [_shown(_at(term.get(key), k)) for key in ("scale", "offset", "clip")]
        rows.append((str(entry["index"]), entry["name"], entry["units"], term.get("target", ""), *per_entry))
    return rows


def _joint_rows(robot: dict[str, Any]) -> list[Row]:
    keys = (
        "default_joint_pos",
        "position_limits",
        "stiffness",
        "damping",
        "effort_limits",
        "velocity_limits",
        "armature",
    )
    return [
        (str(i), name, *(_shown(robot[key][i], missing="∞") for key in keys))
        for i, name in enumerate(robot["joint_names"])
    ]


def _noise(noise: dict[str, Any] | None) -> str:
    if noise is None:
        return ""
    parts = {k: v for k, v in noise.items() if k not in ("class", "func", "class_type", "operation")}
    return _pairs(parts) or str(noise.get("class", ""))


def _kind(term: dict[str, Any]) -> str:
    return "success" if term["success"] else "time limit" if term["time_out"] else "failure"


def _at(value: Any, index: int) -> Any:
    return value[index] if isinstance(value, list) and index < len(value) else value


def _pairs(values: Any) -> str:
    if not isinstance(values, dict):
        return "" if values is None else str(values)
    return ", ".join(f"{k}={_value(v)}" for k, v in values.items())


def _value(value: Any) -> str:
    if _is_entity(value):
        names = [n for key in ("joint_names", "body_names") for n in _listed(value.get(key))]
        return f"{value['name']}[{', '.join(names)}]" if names else str(value["name"])
    if isinstance(value, dict):
        return "{" + _pairs(value) + "}"
    return _shown(value)


def _is_entity(value: Any) -> bool:
    return isinstance(value, dict) and {"name", "joint_ids", "body_ids"} <= value.keys()


def _listed(names: Any) -> list[str]:
    return [] if names is None else [names] if isinstance(names, str) else list(names)


def _shown(value: Any, missing: str = "") -> str:
    if value is None:
        return missing
    if isinstance(value, list):
        return "[" + ", ".join(_shown(v, "∞") for v in value) + "]"
    if isinstance(value, dict):
        return _pairs(value)
    return _number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.5g}"


def _short(name: Any) -> str:
    """Return the name of a function without its module."""
    return str(name).rpartition(":")[2]
