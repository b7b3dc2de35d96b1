"""Run folders: ``runs/<experiment>/<time>[_<name>]/`` with ``config.yaml`` and ``nn/*.pth``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from palestra.config.registry import PLAY_SUFFIX
from palestra.config.yaml_io import Overlay, load_yaml_config
from palestra.errors import ConfigError
from palestra.integrations import OURS

RUNS = Path("runs")
"""Where runs go, below the working directory."""
CONFIG_FILE = "config.yaml"


@dataclass(frozen=True)
class Run:
    """A run that exists on disk."""

    path: Path
    task: str
    config: Overlay
    """What ``config.yaml`` holds."""

    @property
    def library(self) -> str:
        """The learner that trained it."""
        return str(self.config.get("library", OURS))

    def checkpoint(self, wanted: str | None = None) -> Path:
        """Return the path of a checkpoint: by path, by name or regular expression in ``nn/``, or the last one.

        Raises:
            ConfigError: there is none.
        """
        folder = self.path / "nn"
        files = sorted((p for p in folder.glob("*.pth") if not p.name.startswith(".")), key=_natural)
        if wanted is None:
            last = folder / "last.pth"
            if last.is_file():
                return last
            if not files:
                raise ConfigError(f"run {self.path} has no checkpoint in {folder}: it ended before the first one")
            return files[-1]
        if Path(wanted).is_file():
            return Path(wanted)
        matching = [p for p in files if _matches(wanted, p.name)]
        if not matching:
            listed = ", ".join(p.name for p in files) or "nothing"
            raise ConfigError(f"run {self.path} has no checkpoint {wanted!r}; there is {listed}")
        return matching[-1]


def open_run(path: Path) -> Run:
    """Return the run at a folder, the run of a checkpoint file, or the latest run in an experiment's folder.

    Raises:
        ConfigError: there is no run, or its ``config.yaml`` cannot be read.
    """
    folder = path
    if path.suffix == ".pth":
        folder = path.parent.parent
    elif not (path / CONFIG_FILE).is_file() and path.is_dir():
        runs = _runs_in(path)
        if runs:
            folder = runs[-1]
    if not (folder / CONFIG_FILE).is_file():
        reason = f"it has no {CONFIG_FILE}" if path.exists() else "no such file or folder"
        raise ConfigError(f"no run at {path}: {reason}{_existing_runs()}")
    config = load_yaml_config(folder / CONFIG_FILE)
    task = config.get("task")
    if not isinstance(task, str):
        raise ConfigError(f"{folder / CONFIG_FILE}: no 'task' entry, so this is no run of palestra train")
    return Run(folder, task, config)


def latest_run(experiment: str, task: str, pattern: str = ".*", library: str | None = None) -> Run:
    """Return the latest run of an experiment whose folder name matches a regular expression.

    With ``library``, only runs that were trained with it count.

    Raises:
        ConfigError: there is none.
    """
    folder = RUNS / experiment
    runs = [p for p in _runs_in(folder) if _matches(pattern, p.name)]
    for path in reversed(runs):
        run = open_run(path)
        of_task = run.task.removesuffix(PLAY_SUFFIX) == task.removesuffix(PLAY_SUFFIX)  # others may share the folder
        if of_task and library in (None, run.library):
            return run
    which = "" if pattern == ".*" else f" that matches {pattern!r}"
    flag = "" if library is None else f" --library {library}"
    which += "" if library is None else f" of {library}"
    raise ConfigError(f"task {task!r} has no run{which} in {folder}: train it first (palestra train {task}{flag})")


def create_run_folder(experiment: str, run_name: str, now: datetime | None = None) -> Path:
    """Make and return a new folder for a run.

    Raises:
        ConfigError: the experiment or the name is no folder name, or the folder cannot be made.
    """
    for what, name in (("experiment_name", experiment), ("run_name", run_name)):
        check_folder_name(what, name)
    stem = (now or datetime.now()).strftime("%Y-%m-%d_%H-%M-%S") + (f"_{run_name}" if run_name else "")
    for attempt in range(1, 1000):
        folder = RUNS / experiment / (stem if attempt == 1 else f"{stem}_{attempt}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:  # two runs in the same second
            continue
        except OSError as error:
            raise ConfigError(f"cannot make the run folder {folder}: {error.strerror}") from error
        return folder
    raise ConfigError(f"cannot find a free name for a run folder like {RUNS / experiment / stem}")


def check_folder_name(what: str, name: str) -> None:
    """Refuse a name that would leave its folder.

    Raises:
        ConfigError: it holds a path separator or is a relative step.
    """
    if os.sep in name or "/" in name or name in (".", ".."):
        raise ConfigError(f"{what} is {name!r}; it must be one folder name, without '/'")


def _runs_in(folder: Path) -> list[Path]:
    """Return the runs of an experiment, oldest first."""
    if not folder.is_dir():
        return []
    return sorted((p.parent for p in folder.glob(f"*/{CONFIG_FILE}")), key=_natural)


def _existing_runs() -> str:
    runs = sorted((p.parent for p in RUNS.glob(f"*/*/{CONFIG_FILE}")), key=lambda p: p.name)[-3:]
    return f"; there is {', '.join(map(str, reversed(runs)))}" if runs else f"; {RUNS}/ has no runs yet"


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key by which ``model_50`` comes before ``model_100``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name) if part]


def _matches(pattern: str, name: str) -> bool:
    try:
        return name == pattern or re.fullmatch(pattern, name) is not None
    except re.error as error:
        raise ConfigError(f"{pattern!r} is no regular expression: {error}") from error
