"""The whole control step beside the simulation: the same sensors in, the same observations, actions and targets out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palestra.deploy.control_step import OUTPUT_OF, ControlStep
from palestra.envs.base import RLEnv
from palestra.errors import PalestraError

TOLERANCE = 1e-5
"""Largest difference of a number; of one greater than 1, its fraction."""

GOLDEN_STEPS = 64
"""Consecutive control steps of the golden vectors."""

Arrays = dict[str, np.ndarray]


class StepFile:
    """``policy.onnx`` as a function of named arrays, on one thread."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.input_names = [entry.name for entry in self._session.get_inputs()]
        self.output_names = [entry.name for entry in self._session.get_outputs()]

    def __call__(self, inputs: Arrays) -> Arrays:
        given = {name: np.ascontiguousarray(inputs[name], dtype=np.float32) for name in self.input_names}
        return dict(zip(self.output_names, self._session.run(None, given), strict=True))  # type: ignore[arg-type]


class StepReplay:
    """Runs ``policy.onnx`` for each environment with the simulation's sensors, and compares.

    Call :meth:`observe` with each observation, :meth:`compare_targets` after the step that follows it; :meth:`record`
    adds to the golden vectors.

    Args:
        env: the environment, with ideal hardware.
        step: what was exported.
        file: what runs the file.
    """

    def __init__(self, env: RLEnv, step: ControlStep, file: StepFile) -> None:
        wanted = (step.input_names, step.output_names)
        for what, found, names in zip(
            ("inputs", "outputs"), (file.input_names, file.output_names), wanted, strict=True
        ):
            if found != names:
                raise PalestraError(f"policy.onnx has the {what} {', '.join(found)}; the task's are {', '.join(names)}")
        self._env, self._step, self._file = env, step, file
        self._asset = env.scene.articulations[step.drives[0].targets.asset]
        self._fresh = np.ones(env.num_envs, dtype=bool)
        self._states: list[Arrays] = [{} for _ in range(env.num_envs)]
        self._golden_state = self._initial()
        self._golden: list[tuple[Arrays, Arrays]] = []
        self._found: Arrays = {}
        self._applied: dict[str, Tensor] | None = None
        self.max_error = dict.fromkeys(("obs", "actions", *(OUTPUT_OF[t] for t in step.targets)), 0.0)
        """Largest difference so far, of each kind of output."""

    def observe(self, obs: Tensor, actions: Tensor) -> None:
        """Run the file on the present sensors and compare observations and actions, on the host."""
        sensors = {s.name: _array(s.read()) for s in self._step.sources}
        self._start_episodes()
        found = []
        for i, state in enumerate(self._states):
            out = self._file({**{name: value[i : i + 1] for name, value in sensors.items()}, **state})
            self._states[i] = self._carried(out)
            found.append(out)
        self._found = {name: np.concatenate([out[name] for out in found]) for name in self.max_error}
        self._compare("obs", _array(obs))
        self._compare("actions", _array(actions))
        self._applied = None

    def compare_targets(self) -> None:
        """Compare the targets with those that the simulation set."""
        assert self._applied is not None
        for target in self._step.targets:
            self._compare(OUTPUT_OF[target], _array(self._applied[target]))

    def note_targets(self) -> None:
        """Remember what the simulation set first in this step: before physics, and before a reset."""
        if self._applied is None:
            data = self._asset.data
            present = {
                "joint_position": data.joint_pos_target,
                "joint_velocity": data.joint_vel_target,
                "joint_effort": data.joint_effort_target,
            }
            self._applied = {target: present[target].clone() for target in self._step.targets}

    def reset(self, done: Tensor) -> None:
        """Start new episodes where ``done`` ``(num_envs,)``."""
        self._fresh |= done.numpy()
        if bool(done[0]):
            self._golden_state = self._initial()

    def golden(self) -> Arrays:
        """Return the golden vectors of the first environment: ``in/<input>`` and ``out/<output>``, steps first."""
        out: Arrays = {}
        for prefix, side in (("in", 0), ("out", 1)):
            for name in self._golden[0][side]:
                out[f"{prefix}/{name}"] = np.stack([pair[side][name] for pair in self._golden])
        return out

    def _initial(self) -> Arrays:
        return {f"{s.name}_in": s.initial.numpy() for s in self._step.states}

    def _carried(self, out: Arrays) -> Arrays:
        return {f"{s.name}_in": out[f"{s.name}_out"] for s in self._step.states}

    def _start_episodes(self) -> None:
        """Give fresh environments their initial states, those that the simulation drew included."""
        drawn = {f"{s.name}_in": _array(s.read()) for s in self._step.states if s.read is not None}
        for i in np.flatnonzero(self._fresh):
            self._states[i] = {**self._initial(), **{name: value[i : i + 1] for name, value in drawn.items()}}
        self._fresh[:] = False

    def record(self) -> None:
        """Add a step to the golden vectors until they are long enough; episodes start in the state of deployment."""
        if len(self._golden) < GOLDEN_STEPS:
            inputs = {**{s.name: _array(s.read())[:1] for s in self._step.sources}, **self._golden_state}
            outputs = self._file(inputs)
            self._golden.append((inputs, outputs))
            self._golden_state = self._carried(outputs)

    def _compare(self, name: str, wanted: np.ndarray) -> None:
        # Torques span orders of magnitude: they are compared to the largest at the time.
        at_least = max(1.0, float(np.abs(wanted).max())) if name == OUTPUT_OF["joint_effort"] else 1.0
        error = difference(self._found[name], wanted, at_least)
        if not error <= TOLERANCE:
            raise PalestraError(
                f"policy.onnx does not compute what the simulation does: {self._place(name, wanted)} differs by "
                f"{error:.2g}, more than {TOLERANCE:g}"
            )
        self.max_error[name] = max(self.max_error[name], error)

    def _place(self, name: str, wanted: np.ndarray) -> str:
        """Name the number that differs most."""
        found = self._found[name]
        if found.shape != wanted.shape:
            return f"{name} (width {found.shape[-1]} instead of {wanted.shape[-1]})"
        column = int(np.nanargmax(_differences(found, wanted).max(axis=0)))
        if name != "obs":
            return f"{name}[{column}]"
        start = 0
        for term, width in self._step.widths():
            if column < start + width:
                return f"obs[{column}] ({term})"
            start += width
        return f"obs[{column}]"


def difference(found: np.ndarray, wanted: np.ndarray, at_least: float = 1.0) -> float:
    """Return the largest difference as a fraction of the number, or of ``at_least``; infinite if the shapes differ."""
    if found.shape != wanted.shape:
        return float("inf")
    return float(_differences(found, wanted, at_least).max(initial=0.0))


def _differences(found: np.ndarray, wanted: np.ndarray, at_least: float = 1.0) -> np.ndarray:
    same = found == wanted  # infinities too
    with np.errstate(invalid="ignore"):
        relative = np.abs(found - wanted) / np.maximum(np.abs(wanted), at_least)
    relative = np.where(np.isnan(relative), np.inf, relative)
    return np.where(same, 0.0, relative)


def replay_golden(golden: Any, file: StepFile) -> float:
    """Return the largest difference between golden vectors and what the file computes of their inputs."""
    count = len(next(iter(golden.values())))
    worst = 0.0
    for k in range(count):
        out = file({name: golden[f"in/{name}"][k] for name in file.input_names})
        worst = max(worst, *(difference(out[name], golden[f"out/{name}"][k]) for name in file.output_names))
    return worst


def _array(value: Tensor) -> np.ndarray:
    return value.detach().to("cpu", torch.float32).numpy().copy()
