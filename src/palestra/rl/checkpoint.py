"""Checkpoint files: written whole or not at all, read without running code from them, checked before use."""

import io
import os
import pickle
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from palestra.errors import ConfigError
from palestra.integrations import LIBRARIES, OURS

FORMAT = 1
"""Version of the checkpoint's layout."""

UNREADABLE = (RuntimeError, EOFError, OSError, KeyError, ValueError, TypeError, pickle.UnpicklingError)
"""What ``torch.load`` raises for a file that is cut short, damaged or something else."""


def save_checkpoint(paths: Path | list[Path], content: dict[str, Any]) -> None:
    """Write ``content`` to one or more files, each of them atomically.

    A reader, or a crash at any moment, sees the old file or the new one, never a part.

    Args:
        paths: files to write; their folders are made.
        content: tensors, numbers, strings, None, and lists, tuples and dictionaries of these; ``"library"`` names
            the learner if it is another one.

    Raises:
        ConfigError: ``content`` holds something else; the message gives its place.
    """
    buffer = io.BytesIO()
    torch.save({"library": OURS, "format": FORMAT, "versions": versions(), **plain(content)}, buffer)
    for path in [paths] if isinstance(paths, Path) else paths:
        write_atomically(path, buffer.getbuffer())


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write ``data`` to ``path`` by way of a temporary file beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint; its tensors are on the host.

    Raises:
        ConfigError: the file is missing, truncated, damaged or no checkpoint of this library.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"no checkpoint at {path}{_beside(path)}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        what = f"checkpoint {path} is truncated, damaged or no checkpoint ({type(error).__name__})"
        raise ConfigError(what + _beside(path)) from error
    if not isinstance(content, dict) or content.get("library") not in LIBRARIES:
        raise ConfigError(f"{path} is a torch file but no checkpoint of Palestra")
    if content["format"] > FORMAT:
        newer = content["versions"].get("palestra", "a later version")
        raise ConfigError(f"checkpoint {path} was written by Palestra {newer}: update Palestra to read it")
    return content


def check_compatible(
    content: dict[str, Any],
    path: Path | str,
    task: str,
    observation_dims: Mapping[str, int],
    num_actions: int,
) -> None:
    """Refuse a checkpoint that was trained on another task or with other dimensions.

    A task and its ``-Play`` variant are the same task; an empty task name is not compared.

    Raises:
        ConfigError: names what the checkpoint has and what the environment has.
    """
    saved_task = str(content["task"])
    if task and saved_task and task.removesuffix("-Play") != saved_task.removesuffix("-Play"):
        raise ConfigError(f"checkpoint {path} is of the task {saved_task!r}, not of {task!r}")
    used = {name for groups in content["obs_groups"].values() for name in groups}
    saved_dims = {name: width for name, width in content["observation_dims"].items() if name in used}
    for name, width in saved_dims.items():
        if observation_dims.get(name) != width:
            here = f"one with {observation_dims[name]}" if name in observation_dims else "no such group"
            raise ConfigError(
                f"checkpoint {path} has an observation group {name!r} with {width} numbers, the environment has {here}"
            )
    saved_actions = content["num_actions"]
    if saved_actions != num_actions:
        raise ConfigError(f"checkpoint {path} has {saved_actions} actions, the environment has {num_actions}")


def plain(value: Any, place: str = "checkpoint") -> Any:
    """Return ``value`` with only types that load without running code; tensors are detached.

    Raises:
        ConfigError: a value of another type; the message gives its place.
    """
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {plain(k, f"{place} key"): plain(v, f"{place}[{k!r}]") for k, v in value.items()}
    if isinstance(value, list | tuple):
        items = [plain(v, f"{place}[{i}]") for i, v in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    raise ConfigError(
        f"{place} is a {type(value).__name__}: a checkpoint holds only tensors, numbers, strings "
        "and containers of these"
    )


def versions() -> dict[str, str]:
    """Return the versions that a run depends on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__}
    for name in ("palestra", "mujoco", "mujoco-warp", "warp-lang"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _beside(path: Path) -> str:
    """Return a hint that lists the other checkpoints in the folder."""
    others = sorted(p.name for p in path.parent.glob("*.pth") if p.name != path.name)
    return f"; beside it: {', '.join(others[-5:])}" if others else ""
