"""Write a graph of tensors as TorchScript and as ONNX, one file each, for any batch size."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from palestra.deploy.graph import PolicyGraph
from palestra.errors import PalestraError

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
    with _quiet(), torch.no_grad(), _refused("TorchScript"):
        traced = torch.jit.trace(graph, graph.example(_EXAMPLE_BATCH), check_trace=False)
        frozen = torch.jit.freeze(traced, optimize_numerics=False)
        torch.jit.save(frozen, str(path), _extra_files={METADATA_KEY: metadata})


def write_onnx(graph: PolicyGraph, path: Path, metadata: str) -> None:
    """Write ONNX with the graph's input and output names, weights inside.

    Args:
        graph: the function.
        path: the file.
        metadata: JSON to put into the file's metadata.

    Raises:
        PalestraError: PyTorch cannot express it in ONNX.
    """
    import onnx

    batch = torch.export.Dim("batch", min=1)
    of_memory = tuple({1: batch} for _ in graph.memory)
    shapes = ({0: batch}, of_memory) if of_memory else ({0: batch},)
    with _quiet(), torch.no_grad(), _refused("ONNX"):
        program = torch.onnx.export(
            graph,
            graph.example(_EXAMPLE_BATCH),
            dynamo=True,
            opset_version=OPSET,
            input_names=graph.input_names,
            output_names=graph.output_names,
            dynamic_shapes=shapes,
            external_data=False,
            verbose=False,
        )
        assert program is not None
        model = program.model_proto
        entry = model.metadata_props.add()
        entry.key, entry.value = METADATA_KEY, metadata
        onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, str(path))


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
