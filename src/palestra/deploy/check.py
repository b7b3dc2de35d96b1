"""The round trip: what was written computes what the checkpoint's policy computes, along real episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palestra.deploy.graph import Memory, PolicyGraph
from palestra.envs.base import RLEnv
from palestra.envs.memory import forget
from palestra.errors import PalestraError
from palestra.integrations import TrainedPolicy

OBSERVATIONS = 1000
"""Observations of the environment, at least, on which the files are compared with the policy."""

TOLERANCE = 1e-5
"""Largest difference of an action; of one greater than 1, its fraction."""

Run = Callable[[Sequence[Tensor]], list[Tensor]]
"""Inputs of a graph to its outputs."""


class Stepper:
    """Steps a graph and carries its memory from call to call.

    Args:
        run: the graph.
        memory: what it remembers.
        num_envs: rows of a step.
    """

    def __init__(self, run: Run, memory: Memory, num_envs: int) -> None:
        self._run = run
        self._memory = [torch.zeros(layers, num_envs, width) for layers, width in memory.values()]

    def __call__(self, obs: Tensor) -> Tensor:
        """Return actions ``(num_envs, num_actions)`` for observations ``(num_envs, obs_dim)``."""
        actions, *self._memory = self._run([obs, *self._memory])
        return actions

    def reset(self, done: Tensor) -> None:
        """Forget where ``done`` ``(num_envs,)`` is true."""
        self._memory = [part.masked_fill(done.view(1, -1, 1), 0.0) for part in self._memory]


def open_torchscript(path: Path) -> Run:
    """Return what runs a TorchScript file."""
    module = torch.jit.load(str(path), map_location="cpu")

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        outputs = module(*inputs)
        return list(outputs) if isinstance(outputs, tuple) else [outputs]

    return run


def open_onnx(path: Path) -> Run:
    """Return what runs an ONNX file with ONNX Runtime, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        given = {name: np.ascontiguousarray(value.numpy()) for name, value in zip(names, inputs, strict=True)}
        return [torch.from_numpy(np.asarray(value)) for value in session.run(None, given)]

    return run


@torch.no_grad()
def round_trip(
    env: RLEnv,
    policy: TrainedPolicy,
    graph: PolicyGraph,
    files: dict[str, Run],
    seed: int | None,
    count: int = OBSERVATIONS,
) -> dict[str, Any]:
    """Let a policy act and compare what the exported files say to the same observations.

    The files carry their own memory, which starts anew where an episode ends. Once, each file also gets the first
    observation alone, a batch of one.

    Args:
        env: the environment; it is reset.
        policy: observation groups to actions, on the host.
        graph: what was exported.
        files: what runs each file, by its format.
        seed: seed of the episodes.
        count: observations to compare at least.

    Returns:
        ``observations``, ``tolerance`` and, by format, the largest difference, ``max_error``.

    Raises:
        PalestraError: a difference beyond ``TOLERANCE``, or an action that is not finite.
    """
    groups, _ = env.reset(seed=seed)
    forget(policy)
    steppers = {name: Stepper(run, graph.memory, env.num_envs) for name, run in files.items()}
    worst = dict.fromkeys(files, 0.0)
    steps = -(-count // env.num_envs)
    for step in range(steps):
        on_host = {name: groups[name].cpu() for name in env.observation_dims}
        obs = torch.cat([on_host[name] for name in graph.groups], dim=-1)
        actions = policy(on_host)
        if not bool(actions.isfinite().all()):
            raise PalestraError(f"the policy's actions are not finite at step {step}: nothing was exported")
        for name, stepper in steppers.items():
            _compare(name, stepper(obs), actions, worst)
            if step == 0:
                alone = Stepper(files[name], graph.memory, 1)
                _compare(name, alone(obs[:1]), actions[:1], worst)
        groups, _, terminated, time_outs, _ = env.step(actions.to(env.device))
        done = (terminated | time_outs).cpu()
        forget(policy, done)
        for stepper in steppers.values():
            stepper.reset(done)
    return {"observations": steps * env.num_envs, "tolerance": TOLERANCE, "max_error": worst}


def _compare(name: str, found: Tensor, wanted: Tensor, worst: dict[str, float]) -> None:
    error = float(((found - wanted).abs() / wanted.abs().clamp(min=1.0)).max())
    if not error <= TOLERANCE:
        raise PalestraError(
            f"the {name} file does not compute what the checkpoint's policy does: an action differs by {error:.2g}, "
            f"more than {TOLERANCE:g}; nothing was exported"
        )
    worst[name] = max(worst[name], error)
