"""Golden vectors: recorded control steps that a policy must compute again, before it may move a robot."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from palestra.deploy.bundle import ControlStep, Port
from palestra.deploy.session import BoundSession
from palestra.errors import ConfigError, PalestraError

TOLERANCE = 1e-5
"""Largest difference of an output; of one greater than 1, its fraction."""

MINIMUM_STEPS = 64
"""Fewer steps say too little of what a policy remembers."""


def replay(path: Path, session: BoundSession, described: ControlStep) -> float:
    """Feed recorded inputs to a control step and compare what comes out, the carried state included.

    Where the file holds the state that went in, the carried state must equal it; where it holds the initial value
    again, an episode begins there.

    Args:
        path: ``golden.npz`` with ``in/<input>`` and ``out/<output>``, the steps along the first axis.
        session: the control step.
        described: what goes in and out of it.

    Returns:
        The largest difference found, as ``TOLERANCE`` counts it.

    Raises:
        ConfigError: the file is not readable, or does not fit the policy.
        PalestraError: an output differs by more than ``TOLERANCE``.
    """
    inputs, recorded, outputs = _vectors(path, described)
    steps = _count(path, (*inputs.values(), *recorded.values(), *outputs.values()))
    carried = {part.input: part.initial for part in described.state}
    worst = 0.0
    for step in range(steps):
        for name, values in inputs.items():
            session.inputs[name][...] = values[step]
        for part in described.state:
            before = recorded[part.input][step] if part.input in recorded else carried[part.input]
            if not np.array_equal(before, part.initial):
                worst = max(worst, _compare(f"carried state {part.input!r}", carried[part.input], before, step))
            session.inputs[part.input][...] = before
        session.run()
        for name, values in outputs.items():
            worst = max(worst, _compare(f"output {name!r}", session.outputs[name], values[step], step))
        carried = {part.input: session.outputs[part.output].copy() for part in described.state}
    return worst


def _compare(what: str, found: np.ndarray, wanted: np.ndarray, step: int) -> float:
    error = float((np.abs(found - wanted) / np.maximum(np.abs(wanted), 1.0)).max(initial=0.0))
    if not error <= TOLERANCE:
        raise PalestraError(
            f"the policy does not compute its golden vectors on this machine: {what} differs by {error:.2g} at step "
            f"{step}, more than {TOLERANCE:g}; do not run it"
        )
    return error


def _vectors(path: Path, described: ControlStep) -> tuple[dict[str, np.ndarray], ...]:
    """Return the recorded inputs, the recorded state (as far as there is any) and the outputs, by name."""
    arrays = _read(path)
    ports = {port.name: port for port in described.inputs}
    carried = [part.input for part in described.state if f"in/{part.input}" in arrays]
    given = [port.name for port in described.inputs if port.role != "state"]
    return (
        {name: _steps(path, arrays, f"in/{name}", ports[name]) for name in given},
        {name: _steps(path, arrays, f"in/{name}", ports[name]) for name in carried},
        {port.name: _steps(path, arrays, f"out/{port.name}", port) for port in described.outputs},
    )


def _count(path: Path, arrays: Iterable[np.ndarray]) -> int:
    counts = {len(values) for values in arrays}
    if len(counts) != 1 or min(counts) < MINIMUM_STEPS:
        found = sorted(counts)
        raise ConfigError(f"{path}: its arrays have {found} steps; all must have the same, {MINIMUM_STEPS} or more")
    return min(counts)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path}: cannot read the golden vectors: {error}") from error


def _steps(path: Path, arrays: dict[str, np.ndarray], name: str, port: Port) -> np.ndarray:
    """Return the recorded values of an input or output, ``(steps, 1, …)``."""
    if name not in arrays:
        raise ConfigError(f"{path} has no {name!r}: it belongs to another export")
    values = arrays[name]
    if values.ndim == 0 or values[0].size != int(np.prod(port.shape)) or values.dtype.kind != "f":
        raise ConfigError(f"{path}: {name!r} is {values.dtype} {values.shape}; a step of it must be float {port.shape}")
    return values.reshape(len(values), *port.shape)
