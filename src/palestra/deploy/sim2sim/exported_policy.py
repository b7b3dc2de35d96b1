"""An exported control step in the loop of an environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palestra.deploy.control_step import ControlStep
from palestra.deploy.step_check import Arrays, StepFile


class ExportedPolicy:
    """``policy.onnx`` as a policy: it reads the simulation's sensors, keeps its own memory, and returns actions.

    Args:
        path: the file.
        step: what it computes, with the way to each sensor of the environment.
        num_envs: environments; each has a memory of its own.
    """

    def __init__(self, path: Path, step: ControlStep, num_envs: int) -> None:
        self._file, self._step = StepFile(path), step
        self._fresh = np.ones(num_envs, dtype=bool)
        self._states: list[Arrays] = [{} for _ in range(num_envs)]

    def __call__(self, obs: Any) -> Tensor:
        """Return actions ``(num_envs, num_actions)``; the observation is the file's own business."""
        sensors = {s.name: _array(s.read()) for s in self._step.sources}
        drawn = {f"{s.name}_in": _array(s.read()) for s in self._step.states if s.read is not None}
        initial = {f"{s.name}_in": s.initial.numpy() for s in self._step.states}
        actions = []
        for i, fresh in enumerate(self._fresh):
            if fresh:
                self._states[i] = {**initial, **{name: value[i : i + 1] for name, value in drawn.items()}}
            out = self._file({**{name: value[i : i + 1] for name, value in sensors.items()}, **self._states[i]})
            self._states[i] = {f"{s.name}_in": out[f"{s.name}_out"] for s in self._step.states}
            actions.append(out["actions"])
        self._fresh[:] = False
        return torch.from_numpy(np.concatenate(actions))

    def reset(self, done: Tensor | None = None) -> None:
        """Forget the episodes that ended, ``(num_envs,)``; None forgets all."""
        self._fresh |= True if done is None else done.cpu().numpy()


def _array(value: Tensor) -> np.ndarray:
    return value.detach().to("cpu", torch.float32).numpy().copy()
