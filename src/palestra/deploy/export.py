"""Write a policy's files into a folder: checked before anybody can see them, all of them or none."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from palestra.deploy.check import open_onnx, open_torchscript, round_trip
from palestra.deploy.description import FORMAT, describe_policy, sha256
from palestra.deploy.formats import write_onnx, write_torchscript
from palestra.envs.base import RLEnv
from palestra.errors import ConfigError
from palestra.integrations import TrainedPolicy

TORCHSCRIPT, ONNX, DESCRIPTION = "policy.pt", "actor.onnx", "policy.json"
"""Names of the files."""


def export(
    env: RLEnv,
    policy: TrainedPolicy,
    content: dict[str, Any],
    folder: Path,
    *,
    task: str,
    checkpoint: Path,
    run: Path | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Write ``policy.pt``, ``actor.onnx`` and ``policy.json`` into ``folder``, which is replaced as a whole.

    Args:
        env: the environment of the run, on which the files are checked.
        policy: the checkpoint's policy, on the host.
        content: what the checkpoint holds.
        folder: where to write.
        task: name of the task.
        checkpoint: the checkpoint's file.
        run: the run folder; None for a checkpoint on its own.
        seed: seed of the episodes of the check.

    Returns:
        What ``policy.json`` holds.

    Raises:
        ConfigError: the folder cannot be written.
        PalestraError: the policy cannot be expressed, or the files compute something else.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"cannot write {folder}: it is a file, not a folder")
    graph = policy.graph()
    described = {
        "format": FORMAT,
        "task": task,
        "library": content["library"],
        "run": None if run is None else str(run),
        "checkpoint": {"file": str(checkpoint), "sha256": sha256(checkpoint)},
        **describe_policy(env, graph, task, content),
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise ConfigError(f"cannot write {folder}: {error.strerror}") from error
    try:
        inside = json.dumps(described, ensure_ascii=False)
        write_torchscript(graph, partial / TORCHSCRIPT, inside)
        write_onnx(graph, partial / ONNX, inside)
        runs = {"TorchScript": open_torchscript(partial / TORCHSCRIPT), "ONNX": open_onnx(partial / ONNX)}
        described["files"] = {name: {"sha256": sha256(partial / name)} for name in (TORCHSCRIPT, ONNX)}
        described["check"] = round_trip(env, policy, graph, runs, seed)
        text = json.dumps(described, indent=2, ensure_ascii=False)
        (partial / DESCRIPTION).write_text(f"{text}\n", encoding="utf-8")
        partial.chmod(0o755)  # mkdtemp's is for its owner alone
        _put(partial, folder)
    except OSError as error:
        raise ConfigError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return described


def _put(partial: Path, folder: Path) -> None:
    """Let a folder take the place of another, which is deleted."""
    if not folder.exists():
        os.rename(partial, folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        os.rename(folder, old / folder.name)
        try:
            os.rename(partial, folder)
        except BaseException:
            os.rename(old / folder.name, folder)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
