"""The round trip: what was written computes what the checkpoint's policy computes, along real episodes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palestra.deploy.control_step import ControlStep
from palestra.deploy.graph import Memory, PolicyGraph
from palestra.deploy.step_check import GOLDEN_STEPS, TOLERANCE, StepFile, StepReplay
from palestra.envs.base import RLEnv
from palestra.envs.ideal_hardware import ideal_hardware
from palestra.envs.memory import forget
from palestra.errors import PalestraError
from palestra.integrations import TrainedPolicy

OBSERVATIONS = 1000
"""Observations of the environment, at least, on which the files are compared with the policy."""

CENTRED_WITHIN, REFUSED_BEYOND = 3.0, 30.0
"""Standard deviations that the normaliser's output may be from mean zero, averaged over its entries, before it is said,
and before nothing is exported.

A policy without exploration noise visits other states than the training did, and a curriculum's early stages are in the
normaliser too, so that a mean of 1 is nothing special; that of other units or of another task is off by far more.
"""

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


@dataclass(frozen=True)
class RoundTrip:
    """What a round trip found."""

    check: dict[str, Any]
    """``observations``, ``tolerance``, ``max_error`` by file and output, and ``normalizer`` (:class:`Centred`)."""

    golden: dict[str, np.ndarray]
    """Golden vectors of the control step; empty without one."""


class Centred:
    """How far the normaliser's output is from mean zero, over the observations seen.

    Args:
        graph: the policy.
    """

    def __init__(self, graph: PolicyGraph) -> None:
        self._graph = graph
        self._sum, self._count = torch.zeros(graph.obs_dim, dtype=torch.float64), 0

    def add(self, obs: Tensor) -> None:
        """Take observations into account, ``(count, obs_dim)``."""
        limit, normalizer = self._graph.obs_limit, self._graph.normalizer
        if normalizer is not None:
            x = obs if limit is None else obs.clamp(-limit, limit)
            self._sum += normalizer(x).double().sum(dim=0)
            self._count += len(obs)

    def describe(self) -> dict[str, Any] | None:
        """Return mean and largest of |mean| over the entries, and the bound on the former; None without normaliser."""
        if self._graph.normalizer is None:
            return None
        means = (self._sum / self._count).abs()
        return {"mean": float(means.mean()), "max": float(means.max()), "expected_below": CENTRED_WITHIN}


@torch.no_grad()
def round_trip(
    env: RLEnv,
    policy: TrainedPolicy,
    graph: PolicyGraph,
    files: dict[str, Run],
    seed: int | None,
    count: int = OBSERVATIONS,
    step: ControlStep | None = None,
    step_file: StepFile | None = None,
) -> RoundTrip:
    """Let a policy act and compare what the exported files say to the same observations.

    The hardware is ideal meanwhile (:func:`~palestra.envs.ideal_hardware.ideal_hardware`). The files carry their own
    memory, which starts anew where an episode ends. Once, each file of the actor also gets the first observation
    alone, a batch of one. ``policy.onnx`` gets the simulation's sensors, and its targets are compared too.

    Args:
        env: the environment; it is reset.
        policy: observation groups to actions, on the host.
        graph: what was exported.
        files: what runs each file of the actor, by its format.
        seed: seed of the episodes.
        count: observations to compare at least.
        step: the control step that was exported, if any.
        step_file: what runs its file.

    Raises:
        PalestraError: a difference beyond ``TOLERANCE``, an action that is not finite, or observations that the
            normaliser cannot be for.
    """
    replay = None if step is None or step_file is None else StepReplay(env, step, step_file)
    with ideal_hardware(env), _noting(env, replay):
        groups, _ = env.reset(seed=seed)
        forget(policy)
        steppers = {name: Stepper(run, graph.memory, env.num_envs) for name, run in files.items()}
        worst, centred = dict.fromkeys(files, 0.0), Centred(graph)
        compared = -(-count // env.num_envs)
        for k in range(compared if replay is None else max(compared, GOLDEN_STEPS)):
            on_host = {name: groups[name].cpu() for name in env.observation_dims}
            obs = torch.cat([on_host[name] for name in graph.groups], dim=-1)
            actions = policy(on_host)
            if not bool(actions.isfinite().all()):
                raise PalestraError(f"the policy's actions are not finite at step {k}")
            if k < compared:
                centred.add(obs)
            for name, stepper in steppers.items():
                _compare(name, stepper(obs), actions, worst)
                if k == 0:
                    alone = Stepper(files[name], graph.memory, 1)
                    _compare(name, alone(obs[:1]), actions[:1], worst)
            if replay is not None and k < compared:
                replay.observe(obs, actions)
            if replay is not None:
                replay.record()
            groups, _, terminated, time_outs, _ = env.step(actions.to(env.device))
            done = (terminated | time_outs).cpu()
            forget(policy, done)
            for stepper in steppers.values():
                stepper.reset(done)
            if replay is not None and k < compared:
                replay.compare_targets()
            if replay is not None:
                replay.reset(done)
    return _result(compared * env.num_envs, worst, centred, replay)


@contextlib.contextmanager
def _noting(env: Any, replay: StepReplay | None) -> Iterator[None]:
    """Let the replay look at the targets whenever the environment has set them."""
    if replay is None:
        yield
        return
    apply = env._apply_action

    def apply_and_note() -> None:
        apply()
        replay.note_targets()

    env._apply_action = apply_and_note
    try:
        yield
    finally:
        del env._apply_action


def _result(count: int, worst: dict[str, float], centred: Centred, replay: StepReplay | None) -> RoundTrip:
    check: dict[str, Any] = {"observations": count, "tolerance": TOLERANCE, "max_error": worst}
    check["normalizer"] = centred.describe()
    if check["normalizer"] is not None and not check["normalizer"]["mean"] <= REFUSED_BEYOND:
        raise PalestraError(
            f"the normaliser is not for these observations: their mean is {check['normalizer']['mean']:.3g} standard "
            f"deviations from its own, averaged over the entries; up to {REFUSED_BEYOND:g} is accepted"
        )
    if replay is None:
        return RoundTrip(check, {})
    check["control_step"] = {"max_error": replay.max_error, "golden_steps": GOLDEN_STEPS}
    return RoundTrip(check, replay.golden())


def _compare(name: str, found: Tensor, wanted: Tensor, worst: dict[str, float]) -> None:
    error = float(((found - wanted).abs() / wanted.abs().clamp(min=1.0)).max())
    if not error <= TOLERANCE:
        raise PalestraError(
            f"the {name} file does not compute what the checkpoint's policy does: an action differs by {error:.2g}, "
            f"more than {TOLERANCE:g}"
        )
    worst[name] = max(worst[name], error)
