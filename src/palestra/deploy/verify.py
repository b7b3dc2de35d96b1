"""Check an exported folder again: against its own sums, its checkpoint and the environment that it is for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from palestra.deploy.check import OBSERVATIONS, round_trip
from palestra.deploy.control_step import ControlStep
from palestra.deploy.description import sha256
from palestra.deploy.export import (
    CONTROL_STEP,
    DESCRIPTION,
    GOLDEN,
    ONNX,
    TORCHSCRIPT,
    control_step,
    description,
    open_files,
)
from palestra.deploy.formats import METADATA_KEY
from palestra.deploy.graph import PolicyGraph
from palestra.deploy.step_check import TOLERANCE, StepFile, replay_golden
from palestra.envs.base import RLEnv
from palestra.errors import PalestraError
from palestra.integrations import TrainedPolicy

DESCRIBED = ("task", "policy", "control_step", "observations", "control", "actions", "articulations", "commands")
"""Parts of ``policy.json`` that must be what the environment says now."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    name: str
    """Which check, such as ``"description/control"`` or ``"round_trip"``."""

    passed: bool
    detail: str
    """Figures, or what is wrong."""


def verify(
    folder: Path,
    env: RLEnv,
    policy: TrainedPolicy,
    content: dict[str, Any],
    *,
    task: str,
    checkpoint: Path,
    seed: int | None = None,
    count: int = OBSERVATIONS,
) -> list[Finding]:
    """Return what each check of an exported folder found, in order; a missing file fails and ends them.

    Checks: ``files`` (all there), ``checksums`` (as ``policy.json`` has them), ``checkpoint`` (this one was exported),
    ``metadata`` (the files' own description is that of ``policy.json``), ``description/<part>`` (what the environment
    says now), ``privileged`` (no input that only a simulation knows), ``golden`` (the vectors replay), ``round_trip``
    (the files compute along real episodes what checkpoint and simulation do) and ``normalizer`` (its output is near
    mean zero there).

    Args:
        folder: what ``palestra export`` wrote.
        env: the environment; it is reset.
        policy: the checkpoint's policy, on the host.
        content: what the checkpoint holds.
        task: name of the task.
        checkpoint: the checkpoint's file.
        seed: seed of the episodes.
        count: observations to compare at least.

    Raises:
        ConfigError: the environment's observations do not fit the checkpoint's policy.
    """
    try:
        told = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        names = [TORCHSCRIPT, ONNX, *([CONTROL_STEP, GOLDEN] if told["control_step"] is not None else [])]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [Finding("files", False, f"{folder / DESCRIPTION} cannot be read: {error}")]
    missing = [name for name in names if not (folder / name).is_file()]
    findings = [Finding("files", not missing, f"missing: {', '.join(missing)}" if missing else ", ".join(names))]
    if missing:
        return findings
    findings += [_checksums(folder, told, names), _checkpoint(told, checkpoint)]
    findings.append(_attempt("metadata", lambda: _metadata(folder, told)))
    graph = policy.graph()
    step, wanted = _described_now(env, graph, content, task, checkpoint)
    findings += [_same(part, told.get(part), wanted.get(part)) for part in DESCRIBED]
    findings.append(_privileged(told))
    if told["control_step"] is not None:
        findings.append(_attempt("golden", lambda: _golden(folder)))
    return findings + _round_trip(folder, env, policy, graph, step if CONTROL_STEP in names else None, seed, count)


def _checksums(folder: Path, told: dict[str, Any], names: list[str]) -> Finding:
    changed = [name for name in names if told["files"].get(name, {}).get("sha256") != sha256(folder / name)]
    return Finding(
        "checksums", not changed, f"changed since the export: {', '.join(changed)}" if changed else "as told"
    )


def _checkpoint(told: dict[str, Any], checkpoint: Path) -> Finding:
    same = told["checkpoint"]["sha256"] == sha256(checkpoint)
    return Finding("checkpoint", same, str(checkpoint) if same else f"the folder was not exported from {checkpoint}")


def _metadata(folder: Path, told: dict[str, Any]) -> str:
    import onnx
    import torch

    outside = {name: value for name, value in told.items() if name not in ("files", "check")}
    inside = {TORCHSCRIPT: {METADATA_KEY: ""}}
    torch.jit.load(str(folder / TORCHSCRIPT), map_location="cpu", _extra_files=inside[TORCHSCRIPT])
    for name in (ONNX, CONTROL_STEP):
        if (folder / name).is_file():
            model = onnx.load(str(folder / name))
            inside[name] = {entry.key: entry.value for entry in model.metadata_props}
    for name, found in inside.items():
        text = found.get(METADATA_KEY) or "null"
        where = _difference(json.loads(text), outside)
        if where is not None:
            raise PalestraError(f"{name} describes itself otherwise than {DESCRIPTION}: {where}")
    return f"the same in {', '.join(inside)}"


def _described_now(
    env: RLEnv, graph: PolicyGraph, content: dict[str, Any], task: str, checkpoint: Path
) -> tuple[ControlStep | None, dict[str, Any]]:
    """Return the control step and the description that an export would have now, as JSON gives it back."""
    step, _ = control_step(env, graph, allow_privileged=True)
    described = description(env, graph, step, content, task=task, checkpoint=checkpoint)
    return step, json.loads(json.dumps(described))


def _same(part: str, found: Any, wanted: Any) -> Finding:
    where = _difference(found, wanted, part)
    return Finding(f"description/{part}", where is None, "as in the environment" if where is None else where)


def _difference(found: Any, wanted: Any, path: str = "") -> str | None:
    """Return the first place where two JSON values differ, with both; None if they are the same."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in [*wanted, *(k for k in found if k not in wanted)]:
            if key not in found or key not in wanted:
                return f"{path}.{key} is {'missing' if key not in found else 'unknown here'}".lstrip(".")
            where = _difference(found[key], wanted[key], f"{path}.{key}".lstrip("."))
            if where is not None:
                return where
        return None
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = enumerate(zip(found, wanted, strict=True))
        places = (_difference(f, w, f"{path}[{k}]") for k, (f, w) in pairs)
        return next((place for place in places if place is not None), None)
    return None if found == wanted else f"{path} is {_short(found)}, not {_short(wanted)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _privileged(told: dict[str, Any]) -> Finding:
    if told["control_step"] is None:
        return Finding("privileged", True, f"no control step: {told.get('no_control_step')}")
    hidden = [entry["name"] for entry in told["control_step"]["inputs"] if entry["privileged"]]
    return Finding("privileged", not hidden, f"no sensor gives {', '.join(hidden)}" if hidden else "none")


def _golden(folder: Path) -> str:
    with np.load(folder / GOLDEN) as golden:
        error = replay_golden({name: golden[name] for name in golden.files}, StepFile(folder / CONTROL_STEP))
    if not error <= TOLERANCE:
        raise PalestraError(f"{CONTROL_STEP} does not give the golden vectors: largest difference {error:.2g}")
    return f"largest difference {error:.1e}"


def _round_trip(
    folder: Path,
    env: RLEnv,
    policy: TrainedPolicy,
    graph: PolicyGraph,
    step: ControlStep | None,
    seed: int | None,
    count: int,
) -> list[Finding]:
    try:
        runs, step_file = open_files(folder, step)
        check = round_trip(env, policy, graph, runs, seed, count, step, step_file).check
    except Exception as error:  # a runtime may refuse an altered file in any way
        return [Finding("round_trip", False, _line(error))]
    errors = {**check["max_error"], **check.get("control_step", {}).get("max_error", {})}
    shown = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
    found = [Finding("round_trip", True, f"{check['observations']} observations: {shown}")]
    centred = check["normalizer"]
    if centred is not None:
        near = centred["mean"] <= centred["expected_below"]
        found.append(Finding("normalizer", near, f"mean |z| {centred['mean']:.2g} averaged over the entries"))
    return found


def _attempt(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except Exception as error:  # a runtime may refuse an altered file in any way
        return Finding(name, False, _line(error))


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
