"""Run an exported policy on the robot's computer, one control step a call. Needs numpy and onnxruntime only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from palestra.deploy.bundle import (
    METADATA_KEY,
    POLICY,
    ControlStep,
    Description,
    Port,
    control_step,
    open_bundle,
)
from palestra.deploy.bundle import step_dt as _step_dt
from palestra.deploy.golden import replay
from palestra.deploy.session import BoundSession, open_session
from palestra.errors import ConfigError, PalestraError, did_you_mean

_RETURNED = ("target", "action", "observation")
"""Roles of the outputs that a step returns; states stay inside."""


class PolicyRunner:
    """An exported policy, whole control step (``step``) or network alone (``compute_action``).

    Inputs are checked and copied into memory that is allocated once; what the policy remembers is carried from step to
    step until ``reset``. Nothing is carried on from a step that failed.

    Args:
        path: an exported folder, or the ``policy.onnx`` in it.
        providers: what to run on, the preferred first: ``"cpu"`` (the default, and the fastest for a batch of one),
            ``"cuda"``, ``"tensorrt"`` or ONNX Runtime's full names.

    Raises:
        ConfigError: a file is missing or not the one that ``policy.json`` describes, or a provider is not there.
    """

    description: Description
    """What ``policy.json`` holds."""

    def __init__(self, path: Path | str, providers: Sequence[str] | None = None) -> None:
        self.bundle = open_bundle(path)
        self._providers = providers
        self._step: _Step | None = None
        self._network: _Network | None = None
        session = None
        if self.bundle.policy is not None:
            session = open_session(self.bundle.policy, providers)
        if self.bundle.description is not None:
            self.description = self.bundle.description
        elif session is not None and self.bundle.policy is not None:
            self.description = _from_metadata(session.get_modelmeta().custom_metadata_map, self.bundle.policy)
        if session is not None and self.bundle.policy is not None:
            described = control_step(self.description, self.bundle.policy)
            shapes = ({p.name: p.shape for p in described.inputs}, {p.name: p.shape for p in described.outputs})
            bound = BoundSession(self.bundle.policy, *shapes, session=session)
            self._step = _Step(bound, described)

    @property
    def control_step(self) -> ControlStep:
        """What goes in and out of ``step``.

        Raises:
            ConfigError: the folder has only the network.
        """
        return self._whole().described

    @property
    def step_dt(self) -> float:
        """Control period for which the policy was trained (s)."""
        return _step_dt(self.description)

    def reset(self) -> None:
        """Begin an episode: forget what was carried."""
        if self._step is not None:
            self._step.reset()
        if self._network is not None:
            self._network.reset()

    def step(
        self, sensors: Mapping[str, ArrayLike], commands: Mapping[str, ArrayLike] | None = None
    ) -> dict[str, np.ndarray]:
        """Run one control step.

        Args:
            sensors: readings by the name of the input, without the batch axis: ``joint_pos`` ``(num_joints,)`` …;
                names that the policy does not take are ignored.
            commands: commands by their name (``base_velocity``), or by the name of the input.

        Returns:
            The targets (``joint_pos_target`` …), ``actions`` and ``obs``, without the batch axis. The arrays are the
            caller's own.

        Raises:
            PalestraError: an input is missing, of another shape, NaN or infinite, or an output is not finite.
        """
        return self._whole().run(sensors, commands or {})

    def compute_action(self, obs: ArrayLike) -> np.ndarray:
        """Return what the network alone (``actor.onnx``) says to an observation.

        Args:
            obs: ``(obs_dim,)``, or ``(batch, obs_dim)`` for a policy without memory.

        Returns:
            Actions ``(num_actions,)``, or ``(batch, num_actions)``.

        Raises:
            ConfigError: the folder has no ``actor.onnx``.
            PalestraError: the observation has another shape, or is not finite.
        """
        if self._network is None:
            if self.bundle.actor is None:
                raise ConfigError(f"{self.bundle.folder} has no actor.onnx: only step() can be called")
            self._network = _Network(self.bundle.actor, self.description, self._providers)
        return self._network(obs)

    def check_golden(self) -> float:
        """Replay the golden vectors and begin an episode.

        Returns:
            The largest difference, of a number greater than 1 as a fraction of it.

        Raises:
            ConfigError: there are none, or they do not fit the policy.
            PalestraError: the policy computes something else on this machine.
        """
        whole = self._whole()
        if self.bundle.golden is None:
            raise ConfigError(f"{self.bundle.folder} has no golden.npz: copy the whole exported folder")
        try:
            return replay(self.bundle.golden, whole.session, whole.described)
        finally:
            self.reset()

    def _whole(self) -> _Step:
        if self._step is None:
            raise ConfigError(
                f"{self.bundle.folder} has no {POLICY}, only the network: export the run again with this version of "
                "palestra, or build the observations yourself and call compute_action"
            )
        return self._step


class _Step:
    """The whole control step, with its inputs in the order in which they are filled."""

    def __init__(self, session: BoundSession, described: ControlStep) -> None:
        self.session, self.described = session, described
        sensors = [port.name for port in described.inputs if port.role == "sensor"]
        self._sensors = [(name, session.inputs[name][0]) for name in sensors]  # views without the batch axis
        commands = described.commands()
        self._commands = [(name, port, session.inputs[port.name][0]) for name, port in commands.items()]
        self._state = [(session.inputs[s.input], session.outputs[s.output], s.initial) for s in described.state]
        self._results = [
            (port.name, session.outputs[port.name][0]) for port in described.outputs if port.role in _RETURNED
        ]
        self.reset()

    def reset(self) -> None:
        for before, _, initial in self._state:
            before[...] = initial

    def run(self, sensors: Mapping[str, ArrayLike], commands: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
        with np.errstate(over="ignore"):  # beyond float32 it becomes infinite, which is refused below
            for name, row in self._sensors:
                if name not in sensors:
                    raise PalestraError(f"sensor {name!r} is missing: {did_you_mean(name, sensors)}")
                _fill(row, sensors[name], "sensor", name)
            for name, port, row in self._commands:
                value = commands.get(name)
                if value is None:
                    value = commands.get(port.name)
                if value is None:
                    raise PalestraError(f"command {name!r} is missing: {did_you_mean(name, commands)}")
                _fill(row, value, "command", name)
        if not self.session.inputs_finite():
            self._refuse()
        self.session.run()
        for before, after, _ in self._state:
            np.copyto(before, after)
        return {name: row.copy() for name, row in self._results}

    def _refuse(self) -> None:
        ports: dict[str, Port] = {port.name: port for port in self.described.inputs}
        for name, tensor in self.session.inputs.items():
            bad = np.flatnonzero(~np.isfinite(tensor))
            if bad.size:
                port, at = ports[name], int(bad[0])
                known = port.entries if port.entries is not None and at < len(port.entries) else None
                entry = f" ({known[at]})" if known is not None else ""
                raise PalestraError(
                    f"{port.role} {name!r} is {tensor.flat[at]} at index {at}{entry}; it must be finite"
                )


def _fill(row: np.ndarray, value: ArrayLike, kind: str, name: str) -> None:
    given = np.asarray(value)
    if given.shape != row.shape:
        raise PalestraError(f"{kind} {name!r} has shape {given.shape}; it must be {row.shape}")
    if given.dtype.kind not in "fiub":
        raise PalestraError(f"{kind} {name!r} is {given.dtype}; it must be numbers")
    row[...] = given


class _Network:
    """``actor.onnx`` with a batch of one and its memory."""

    def __init__(self, path: Path, description: Description, providers: Sequence[str] | None) -> None:
        try:
            policy = description["policy"]
            inputs = {entry["name"]: _alone(entry["shape"]) for entry in policy["inputs"]}
            outputs = {entry["name"]: _alone(entry["shape"]) for entry in policy["outputs"]}
            memory = [(entry["input"], entry["output"], float(entry["initial"])) for entry in policy["memory"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path}: the description's 'policy' is incomplete: {type(error).__name__} {error}"
            ) from None
        self._bound = BoundSession(path, inputs, outputs, providers)
        self._obs, self._actions = self._bound.inputs["obs"][0], self._bound.outputs["actions"][0]
        self._memory = [(self._bound.inputs[i], self._bound.outputs[o], initial) for i, o, initial in memory]
        self.reset()

    def reset(self) -> None:
        for before, _, initial in self._memory:
            before[...] = initial

    def __call__(self, obs: ArrayLike) -> np.ndarray:
        given = np.asarray(obs)
        if given.ndim == 2 and given.shape[1:] == self._obs.shape and (not self._memory or len(given) == 1):
            return (
                np.stack([self(row) for row in given])
                if len(given)
                else np.zeros((0, *self._actions.shape), np.float32)
            )
        with np.errstate(over="ignore"):
            _fill(self._obs, given, "observation", "obs")
        if not self._bound.inputs_finite():
            at = int(np.flatnonzero(~np.isfinite(self._obs))[0])
            raise PalestraError(f"observation 'obs' is {self._obs[at]} at index {at}; it must be finite")
        self._bound.run()
        for before, after, _ in self._memory:
            np.copyto(before, after)
        return self._actions.copy()


def _alone(shape: Sequence[Any]) -> tuple[int, ...]:
    """Return a shape whose free batch size is one."""
    return tuple(1 if size == "batch" else int(size) for size in shape)


def _from_metadata(metadata: Mapping[str, str], path: Path) -> Description:
    if METADATA_KEY not in metadata:
        raise ConfigError(
            f"{path} has no description inside (metadata key {METADATA_KEY!r}): it is not of palestra export"
        )
    try:
        content = json.loads(metadata[METADATA_KEY])
    except ValueError as error:
        raise ConfigError(f"{path}: its description is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: its description must be an object, not {type(content).__name__}")
    return content
