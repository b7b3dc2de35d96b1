"""Write a policy's files into a folder: checked before anybody can see them, all of them or none."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from palestra.deploy.assembly import UndeclaredError, assemble
from palestra.deploy.check import Run, open_onnx, open_torchscript, round_trip
from palestra.deploy.control_step import ControlStep
from palestra.deploy.description import FORMAT, describe_policy, sha256
from palestra.deploy.formats import METADATA_KEY, write_control_step, write_onnx, write_torchscript
from palestra.deploy.graph import PolicyGraph
from palestra.deploy.metadata import onnx_metadata
from palestra.deploy.step_check import StepFile
from palestra.envs.base import RLEnv
from palestra.errors import ConfigError
from palestra.integrations import TrainedPolicy

TORCHSCRIPT, ONNX, DESCRIPTION = "policy.pt", "actor.onnx", "policy.json"
"""Names of the files that are always there."""

CONTROL_STEP, GOLDEN = "policy.onnx", "golden.npz"
"""Names of the files of the whole control step."""


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
    allow_privileged: bool = False,
) -> dict[str, Any]:
    """Write a policy's files into ``folder``, which is replaced as a whole.

    These are the actor (``policy.pt``, ``actor.onnx``), the control step (``policy.onnx``, ``golden.npz``; not of a
    direct environment that declares none) and the description (``policy.json``).

    Args:
        env: the environment of the run, on which the files are checked.
        policy: the checkpoint's policy, on the host.
        content: what the checkpoint holds.
        folder: where to write.
        task: name of the task.
        checkpoint: the checkpoint's file.
        run: the run folder; None for a checkpoint on its own.
        seed: seed of the episodes of the check.
        allow_privileged: whether what no sensor gives becomes an input of ``policy.onnx``.

    Returns:
        What ``policy.json`` holds.

    Raises:
        ConfigError: the folder cannot be written, or the policy sees what a robot does not know.
        PalestraError: the policy cannot be expressed, or the files compute something else.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"cannot write {folder}: it is a file, not a folder")
    graph = policy.graph()
    step, reason = control_step(env, graph, allow_privileged)
    described = description(env, graph, step, content, task=task, checkpoint=checkpoint, run=run)
    if step is None:
        described["no_control_step"] = reason
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise ConfigError(f"cannot write {folder}: {error.strerror}") from error
    try:
        files = _write(partial, graph, step, described)
        runs, step_file = open_files(partial, step)
        found = round_trip(env, policy, graph, runs, seed, step=step, step_file=step_file)
        if step is not None:
            np.savez(partial / GOLDEN, **found.golden)  # type: ignore[arg-type]
            files.append(GOLDEN)
        described["files"] = {name: {"sha256": sha256(partial / name)} for name in files}
        described["check"] = found.check
        text = json.dumps(described, indent=2, ensure_ascii=False)
        (partial / DESCRIPTION).write_text(f"{text}\n", encoding="utf-8")
        partial.chmod(0o755)  # mkdtemp's is for its owner alone
        _put(partial, folder)
    except OSError as error:
        raise ConfigError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return described


def control_step(env: RLEnv, graph: PolicyGraph, allow_privileged: bool) -> tuple[ControlStep | None, str | None]:
    """Return the control step of a policy; for a direct environment that declares none, None and what it lacks.

    Raises:
        ConfigError: the policy sees what a robot does not know, or a term cannot be expressed.
    """
    try:
        return assemble(env, graph, allow_privileged), None
    except UndeclaredError as error:
        return None, str(error)


def description(
    env: RLEnv,
    graph: PolicyGraph,
    step: ControlStep | None,
    content: dict[str, Any],
    *,
    task: str,
    checkpoint: Path,
    run: Path | None = None,
) -> dict[str, Any]:
    """Return what ``policy.json`` holds, less ``files`` and ``check``."""
    return {
        "format": FORMAT,
        "task": task,
        "library": content["library"],
        "run": None if run is None else str(run),
        "checkpoint": {"file": str(checkpoint), "sha256": sha256(checkpoint)},
        **describe_policy(env, graph, task, content, step),
    }


def open_files(folder: Path, step: ControlStep | None) -> tuple[dict[str, Run], StepFile | None]:
    """Return what runs the files of the actor, by format, and that of the control step."""
    runs = {"TorchScript": open_torchscript(folder / TORCHSCRIPT), "ONNX": open_onnx(folder / ONNX)}
    return runs, None if step is None else StepFile(folder / CONTROL_STEP)


def _write(folder: Path, graph: PolicyGraph, step: ControlStep | None, described: dict[str, Any]) -> list[str]:
    """Write the graphs and return their names."""
    metadata = onnx_metadata(described)
    write_torchscript(graph, folder / TORCHSCRIPT, metadata[METADATA_KEY])
    write_onnx(graph, folder / ONNX, metadata)
    if step is None:
        return [TORCHSCRIPT, ONNX]
    write_control_step(step, folder / CONTROL_STEP, metadata)
    return [TORCHSCRIPT, ONNX, CONTROL_STEP]


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
