"""ONNX Runtime for control: one thread, a batch of one, inputs and outputs in memory that is allocated once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from palestra.errors import ConfigError, PalestraError, did_you_mean

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
"""What a network can run on, by the short name."""

_ALIGNMENT = 64
"""Bytes: each tensor starts at a cache line, where vector instructions load fastest."""

_ERRORS_ONLY = 3


def open_session(path: Path, providers: Sequence[str] | None = None) -> onnxruntime.InferenceSession:
    """Open an ONNX file for steps of low latency.

    Args:
        path: the file.
        providers: short or full names, the preferred first; the CPU if None, which is the fastest for a batch of one
            through a policy's small network.

    Raises:
        ConfigError: the file cannot be read as ONNX, or a provider is not there.
    """
    wanted = _known(providers)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=wanted)
    except Exception as error:  # onnxruntime's exceptions have no common base but this one
        raise ConfigError(f"{path}: ONNX Runtime cannot open it: {str(error).strip().splitlines()[0]}") from error
    if session.get_providers()[0] != wanted[0]:  # it falls back to the CPU with a log line where libraries are missing
        raise ConfigError(f"{wanted[0]} could not start (its libraries are missing?); use providers=['cpu']")
    return session


def _known(providers: Sequence[str] | None) -> list[str]:
    available = onnxruntime.get_available_providers()
    wanted = [
        PROVIDERS.get(name.lower(), name)
        for name in ([providers] if isinstance(providers, str) else providers or ["cpu"])
    ]
    for name in wanted:
        if name not in available:
            there = [short for short, full in PROVIDERS.items() if full in available]
            raise ConfigError(f"provider {name!r} is not in this ONNX Runtime: {did_you_mean(name, there)}")
    cpu = PROVIDERS["cpu"]
    return wanted if cpu in wanted else [*wanted, cpu]


class Arena:
    """Named float32 tensors in one piece of memory, so that all can be checked at once.

    Args:
        shapes: shape of each tensor.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        per_line = _ALIGNMENT // 4
        sizes = {name: -(-int(np.prod(shape)) // per_line) * per_line for name, shape in shapes.items()}
        spare = np.zeros(sum(sizes.values()) + per_line, np.float32)
        start = (-spare.ctypes.data // 4) % per_line
        self.all = spare[start : start + sum(sizes.values())]
        """Every number, and zeros between the tensors."""
        self.tensors: dict[str, np.ndarray] = {}
        """Views by name."""
        at = 0
        for name, shape in shapes.items():
            self.tensors[name] = self.all[at : at + int(np.prod(shape))].reshape(shape)
            at += sizes[name]

    def finite(self) -> bool:
        """Return whether no number is NaN or infinite."""
        return bool(np.isfinite(self.all).all())

    def not_finite(self) -> list[str]:
        """Return the names of the tensors that hold a NaN or an infinity."""
        return [name for name, tensor in self.tensors.items() if not np.isfinite(tensor).all()]


class BoundSession:
    """A session with fixed shapes that reads and writes the same memory in each run.

    Args:
        path: the ONNX file.
        inputs: shapes of the inputs as they should be; must equal the file's where it fixes them.
        outputs: shapes of the outputs.
        providers: see :func:`open_session`.

    Raises:
        ConfigError: names, shapes or types are not those of the file.
    """

    def __init__(
        self,
        path: Path,
        inputs: Mapping[str, tuple[int, ...]],
        outputs: Mapping[str, tuple[int, ...]],
        providers: Sequence[str] | None = None,
        session: onnxruntime.InferenceSession | None = None,
    ) -> None:
        self.session = open_session(path, providers) if session is None else session
        _check(path, "input", self.session.get_inputs(), inputs)
        _check(path, "output", self.session.get_outputs(), outputs)
        self._inputs, self._outputs = Arena(inputs), Arena(outputs)
        self.inputs, self.outputs = self._inputs.tensors, self._outputs.tensors
        self._names = list(outputs)
        self._binding = None
        if (
            self.session.get_providers()[0] == PROVIDERS["cpu"]
        ):  # others copy an input when it is bound, not when it runs
            self._binding = self.session.io_binding()
            for name, tensor in self.inputs.items():
                self._binding.bind_input(name, "cpu", 0, np.float32, tensor.shape, tensor.ctypes.data)
            for name, tensor in self.outputs.items():
                self._binding.bind_output(name, "cpu", 0, np.float32, tensor.shape, tensor.ctypes.data)

    def run(self) -> None:
        """Compute ``outputs`` from ``inputs``.

        Raises:
            PalestraError: an output is NaN or infinite although the inputs are not.
        """
        if self._binding is not None:
            self.session.run_with_iobinding(self._binding)
        else:
            for name, value in zip(self._names, self.session.run(self._names, dict(self.inputs)), strict=True):
                np.copyto(self.outputs[name], np.asarray(value))
        if not self._outputs.finite():
            named = ", ".join(map(repr, self._outputs.not_finite()))
            raise PalestraError(f"the policy's output {named} is NaN or infinite")

    def inputs_finite(self) -> bool:
        """Return whether no input is NaN or infinite."""
        return self._inputs.finite()


def _check(path: Path, kind: str, found: Sequence[onnxruntime.NodeArg], wanted: Mapping[str, tuple[int, ...]]) -> None:
    names = [entry.name for entry in found]
    if set(names) != set(wanted):
        raise ConfigError(f"{path}: its {kind}s are {sorted(names)}, but its description says {sorted(wanted)}")
    for entry in found:
        if entry.type != "tensor(float)":
            raise ConfigError(f"{path}: {kind} {entry.name!r} is {entry.type}; it must be float32")
        shape = wanted[entry.name]
        fits = len(shape) == len(entry.shape) and all(
            not isinstance(a, int) or a == b for a, b in zip(entry.shape, shape, strict=True)
        )
        if not fits:
            raise ConfigError(f"{path}: {kind} {entry.name!r} is {entry.shape}, but its description says {list(shape)}")
