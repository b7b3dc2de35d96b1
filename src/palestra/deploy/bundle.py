"""An exported folder as a robot's computer reads it: found, whole, unchanged, and described. Needs numpy only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from palestra.errors import ConfigError, did_you_mean

POLICY, ACTOR, DESCRIPTION, GOLDEN = "policy.onnx", "actor.onnx", "policy.json", "golden.npz"
"""Names of the files: the whole control step, the network alone, their description, vectors to check them with."""

METADATA_KEY = "palestra"
"""Key of the description among ONNX' metadata."""

Role = Literal["sensor", "command", "state", "target", "action", "observation"]

Description = dict[str, Any]
"""What ``policy.json`` holds."""


@dataclass(frozen=True)
class Port:
    """An input or output of the control step."""

    name: str
    shape: tuple[int, ...]
    """With the leading batch of 1."""

    role: Role
    target: str | None = None
    """What a target output drives: ``joint_position``, ``joint_velocity`` or ``joint_effort``."""

    command: str | None = None
    """Name of the command that an input takes."""

    entries: tuple[str, ...] | None = None
    """Names of the numbers."""

    joint_names: tuple[str, ...] | None = None
    """Joints that the numbers belong to, where they differ from the robot's."""


@dataclass(frozen=True)
class Carried:
    """A state of the control step: what comes out is what goes in at the next step."""

    input: str
    output: str
    initial: np.ndarray
    """At the start of an episode, with the leading batch of 1, float32."""


@dataclass(frozen=True)
class ControlStep:
    """What goes in and out of ``policy.onnx``."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    state: tuple[Carried, ...]

    def named(self, role: Role) -> list[str]:
        """Return the names of the inputs and outputs of a role."""
        return [port.name for port in (*self.inputs, *self.outputs) if port.role == role]

    def commands(self) -> dict[str, Port]:
        """Return the command inputs by the name of their command."""
        return {port.command or port.name: port for port in self.inputs if port.role == "command"}


@dataclass
class Bundle:
    """The files of an exported folder, whose checksums agree with ``policy.json``."""

    folder: Path
    policy: Path | None
    """The control step; None if the folder has only the network."""

    actor: Path | None
    golden: Path | None
    description: Description | None
    """None if only the ONNX file is there: then the description is in its metadata."""

    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def open_bundle(path: Path | str) -> Bundle:
    """Find an exported folder's files and compare them with ``policy.json``.

    Args:
        path: the folder, or its ``policy.onnx``.

    Raises:
        ConfigError: a file is missing, not readable, or not the one that ``policy.json`` describes.
    """
    path = Path(path)
    if not path.exists():
        raise ConfigError(f"no exported policy at {path}: no such file or folder; palestra export RUN makes one")
    if path.is_file() and path.suffix != ".onnx":
        raise ConfigError(f"{path} is no exported policy: give the exported folder, or its {POLICY}")
    folder = path if path.is_dir() else path.parent
    policy = folder / POLICY if path.is_dir() else path
    described = _read_description(folder / DESCRIPTION) if (folder / DESCRIPTION).exists() else None
    if path.is_dir() and described is None:
        raise ConfigError(f"{folder} has no {DESCRIPTION}: it is no exported folder, or not all of it was copied")
    bundle = Bundle(
        folder=folder,
        policy=policy if policy.exists() else None,
        actor=folder / ACTOR if (folder / ACTOR).exists() else None,
        golden=folder / GOLDEN if (folder / GOLDEN).exists() else None,
        description=described,
        files=(described or {}).get("files", {}),
    )
    if bundle.policy is None and bundle.actor is None:
        raise ConfigError(f"{folder} has neither {POLICY} nor {ACTOR}: export the run again, or copy all of its files")
    for file in (bundle.policy, bundle.actor, bundle.golden):
        if file is not None and described is not None:
            check_sha256(file, bundle.files)
    return bundle


def check_sha256(file: Path, files: Mapping[str, Mapping[str, str]]) -> None:
    """Compare a file with its checksum.

    Raises:
        ConfigError: it differs, or none is known of a file with the control step or the network.
    """
    wanted = files.get(file.name, {}).get("sha256")
    if wanted is None:
        if file.suffix == ".onnx":
            raise ConfigError(
                f"{file.parent / DESCRIPTION} has no checksum of {file.name}: the files are of two exports"
            )
        return
    try:
        with open(file, "rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    if found != wanted:
        raise ConfigError(
            f"{file} is not the file that {DESCRIPTION} describes (sha256 {found[:12]}…, not {wanted[:12]}…): "
            "copy the whole exported folder again"
        )


def _read_description(path: Path) -> Description:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold an object, not {type(content).__name__}")
    return content


def control_step(description: Description, where: Path) -> ControlStep:
    """Return the control step that a description describes.

    Raises:
        ConfigError: it describes none, or not one whose state and shapes are complete.
    """
    content = description.get("control_step")
    if not isinstance(content, dict):
        raise ConfigError(f"{where} describes no control step: export the run again with this version of palestra")
    try:
        inputs = tuple(_port(entry) for entry in content["inputs"])
        outputs = tuple(_port(entry) for entry in content["outputs"])
        shapes = {port.name: port.shape for port in inputs}
        state = tuple(
            Carried(entry["input"], entry["output"], _initial(entry["initial"], shapes[entry["input"]]))
            for entry in content.get("state", [])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{where}: control_step is incomplete: {type(error).__name__} {error}") from error
    step = ControlStep(inputs, outputs, state)
    _check(step, where)
    return step


def _port(entry: Mapping[str, Any]) -> Port:
    entries, joints = entry.get("entries"), entry.get("joint_names")
    return Port(
        name=str(entry["name"]),
        shape=tuple(int(size) for size in entry["shape"]),
        role=entry["role"],
        target=entry.get("target"),
        command=entry.get("command"),
        entries=None if entries is None else tuple(map(str, entries)),
        joint_names=None if joints is None else tuple(map(str, joints)),
    )


def _initial(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(np.asarray(values, np.float32), shape).copy()


def _check(step: ControlStep, where: Path) -> None:
    shapes = {port.name: port.shape for port in (*step.inputs, *step.outputs)}
    for port in (*step.inputs, *step.outputs):
        if port.role != "state" and (len(port.shape) < 2 or port.shape[0] != 1):
            raise ConfigError(f"{where}: {port.role} {port.name!r} is {list(port.shape)}; it must be [1, width]")
    carried = {part.input for part in step.state}
    for name in step.named("state"):
        if name not in carried and name not in {part.output for part in step.state}:
            raise ConfigError(f"{where}: control_step says nothing of the initial value of the state {name!r}")
    for part in step.state:
        if shapes.get(part.output) != shapes[part.input]:
            raise ConfigError(
                f"{where}: the state {part.output!r} is {shapes.get(part.output)}, but {part.input!r} takes "
                f"{shapes[part.input]}"
            )


def robot_of(description: Description, where: Path | str = DESCRIPTION) -> dict[str, Any]:
    """Return what a description says of the robot: joints, gains, limits.

    Raises:
        ConfigError: it describes no robot.
    """
    articulations = description.get("articulations")
    robot = articulations.get("robot") if isinstance(articulations, dict) else None
    if not isinstance(robot, dict) or not robot.get("joint_names"):
        known: Iterable[str] = articulations if isinstance(articulations, dict) else ()
        raise ConfigError(f"{where} describes no articulation 'robot' with joints: {did_you_mean('robot', known)}")
    return robot


def step_dt(description: Description, where: Path | str = DESCRIPTION) -> float:
    """Return the control period (s).

    Raises:
        ConfigError: there is none, or it is not positive.
    """
    control = description.get("control")
    value = control.get("step_dt") if isinstance(control, dict) else None
    if not isinstance(value, int | float) or not 0.0 < value < 10.0:
        raise ConfigError(f"{where}: control.step_dt is {value!r}; it must be a period between 0 and 10 s")
    return float(value)
