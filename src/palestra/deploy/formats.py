"""Write a graph of tensors as TorchScript and as ONNX, one file each, for any batch size."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from palestra.deploy.graph import PolicyGraph
from palestra.errors import PalestraError

if TYPE_CHECKING:
    import onnx

    from palestra.deploy.control_step import ControlStep

OPSET = 18
"""ONNX operator set: the one that PyTorch's exporter writes without converting."""

METADATA_KEY = "palestra"
"""Key of the description (JSON) among ONNX' metadata, and name of the extra file in TorchScript."""

_EXAMPLE_BATCH = 3
"""Rows of the example; the batch size stays free."""


def write_torchscript(graph: PolicyGraph, path: Path, metadata: str) -> None:
    """Write TorchScript that is called as the graph is: positional inputs, the same outputs.

    Only what the outputs depend on is in the file, with the weights as constants.

    Args:
        graph: the function.
        path: the file.
        metadata: JSON to put in; ``torch.jit.load(path, _extra_files={"palestra": ""})`` reads it.

    Raises:
        PalestraError: PyTorch cannot trace it.
    """
    with _quiet(), torch.no_grad(), _refused("TorchScript"), _names_from_scratch():
        traced = torch.jit.trace(graph, graph.example(_EXAMPLE_BATCH), check_trace=False)
        frozen = torch.jit.freeze(traced, optimize_numerics=False)
        archive = io.BytesIO()
        torch.jit.save(frozen, archive, _extra_files={METADATA_KEY: metadata})
    _rewrite(archive, path)


def _rewrite(archive: io.BytesIO, path: Path) -> None:
    """Write an archive without the stack of the calls that traced it, which holds paths of this machine."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as new:
        for record in old.infolist():
            if not record.filename.endswith((".debug_pkl", "/.data/serialization_id")):
                new.writestr(zipfile.ZipInfo(record.filename), old.read(record))


def write_onnx(graph: PolicyGraph, path: Path, metadata: Mapping[str, str]) -> None:
    """Write the actor as ONNX with the graph's input and output names, weights inside.

    Args:
        graph: the function.
        path: the file.
        metadata: what to put into the file's metadata.

    Raises:
        PalestraError: PyTorch cannot express it in ONNX.
    """
    batch = torch.export.Dim("batch", min=1)
    of_memory = tuple({1: batch} for _ in graph.memory)
    shapes = ({0: batch}, of_memory) if of_memory else ({0: batch},)
    names = (graph.input_names, graph.output_names)
    _write_onnx(graph, graph.example(_EXAMPLE_BATCH), names, shapes, path, metadata)


def write_control_step(step: ControlStep, path: Path, metadata: Mapping[str, str]) -> None:
    """Write the whole control step as ONNX, for a batch of one.

    Args:
        step: the function.
        path: the file.
        metadata: what to put into the file's metadata.

    Raises:
        PalestraError: PyTorch cannot express it in ONNX.
    """
    _write_onnx(step, step.example(), (step.input_names, step.output_names), None, path, metadata)


def _write_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    names: tuple[list[str], list[str]],
    dynamic_shapes: Any,
    path: Path,
    metadata: Mapping[str, str],
) -> None:
    import onnx

    with _quiet(), torch.no_grad(), _refused("ONNX"):
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=names[0],
            output_names=names[1],
            dynamic_shapes=dynamic_shapes,
            external_data=False,
            verbose=False,
        )
        assert program is not None
        model = program.model_proto
        _strip(model)
        onnx.helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _strip(model: onnx.ModelProto) -> None:
    """Remove where in the exporting program each operation comes from: paths, line numbers, names of objects."""
    for holder in (model, model.graph, *model.functions):
        holder.doc_string = ""
        del holder.metadata_props[:]
    for function in model.functions:
        for part in (*function.node, *function.value_info):
            part.doc_string = ""
            del part.metadata_props[:]
    graph = model.graph
    for part in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what PyTorch logs, warns and prints about its own exporter off the terminal: errors are raised anyway."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    hidden = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(hidden), contextlib.redirect_stdout(hidden):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@contextlib.contextmanager
def _names_from_scratch() -> Iterator[None]:
    """Let TorchScript name classes as if none had been traced in this process, so that equal policies are equal files.

    A class that was traced before would have a number appended.
    """
    state: Any = importlib.import_module("torch.jit._state")
    known = state._python_cu
    state._python_cu = torch.jit.CompilationUnit()
    try:
        yield
    finally:
        state._python_cu = known


@contextlib.contextmanager
def _refused(form: str) -> Iterator[None]:
    """Say in one line what an exporter does not take: it may fail in any of PyTorch's ways on a network of a user's."""
    try:
        yield
    except PalestraError:
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        lines = str(cause).strip().splitlines() or [""]
        raise PalestraError(f"the policy cannot be written as {form}: {type(cause).__name__}: {lines[0]}") from error
