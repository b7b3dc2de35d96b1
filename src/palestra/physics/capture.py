"""Record host-free work, torch and Warp mixed, as one CUDA graph and replay it with a single launch.

A recorded call runs no Python: what it reads and writes are fixed addresses, and what Python decided while it was
recorded stays decided. So the work must not wait for the GPU (``.item()``, ``nonzero``, boolean indexing, ``.cpu()``)
and must write its results in place. Warm-up calls are ordinary calls: they load kernels and create lazy state (the
optimizer's, cuBLAS workspaces), one of them watched for calls that wait.
"""

from __future__ import annotations

import gc
import linecache
import os
import site
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from palestra.errors import PalestraError
from palestra.utils import row_fusion
from palestra.utils.lazy import forget_computed
from palestra.utils.row_fusion import RowFusion, flush


class CaptureError(PalestraError):
    """Work that was to be recorded waits for the GPU, or cannot be recorded for another reason."""


class CapturedCall:
    """A callable without arguments and results that becomes one CUDA graph.

    The first ``warm_up`` calls run eagerly, the next one is recorded and replayed, and so are all that follow. From the
    second on, an eager call fails where the work waits for the GPU.

    Args:
        function: the work.
        device: the CUDA device.
        what: name of the work in messages.
        generators: random generators that it draws from, besides the device's default one.
        key: what the recording depends on besides tensors' contents; another value records anew.
        warm_up: number of eager calls.
        rows: number of environments, if operations on their rows are to be fused
            (:mod:`palestra.utils.row_fusion`); None leaves all operations as they are.

    Raises:
        CaptureError: by a call, if the work waits for the GPU; names the line, and the term where there is one.
    """

    def __init__(
        self,
        function: Callable[[], object],
        device: torch.device,
        what: str,
        generators: Iterable[torch.Generator] = (),
        key: Callable[[], object] = lambda: None,
        warm_up: int = 2,
        rows: int | None = None,
    ) -> None:
        self.function, self.device, self.what = function, device, what
        self._generators, self._key, self._warm_up = list(generators), key, warm_up
        self._rows = rows
        self._runner: Any = None
        self._stream = torch.cuda.Stream(device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._warp_graph: object = None
        self._recorded_key: object = None
        self._calls = 0

    @property
    def is_recorded(self) -> bool:
        """Whether the next call is a replay."""
        return self._graph is not None and self._recorded_key == self._key()

    def __call__(self) -> None:
        """Do the work."""
        if not self.is_recorded:
            if self._graph is not None:  # something that it depends on has changed
                self._graph, self._warp_graph, self._calls = None, None, 0
            self._calls += 1
            if self._calls <= self._warm_up:
                self._run_eagerly(watch=self._calls > 1)
                return
            self._record()
        assert self._graph is not None
        self._graph.replay()
        forget_computed()

    def _run_eagerly(self, watch: bool) -> None:
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream), _error_on_wait(watch):
            try:
                self.function()
            except RuntimeError as error:
                if "synchronizing CUDA operation" not in str(error):
                    raise
                raise CaptureError(f"{self.what} cannot be captured: {_culprit(error)} waits for the GPU") from error
        torch.cuda.current_stream(self.device).wait_stream(self._stream)

    def _record(self) -> None:
        import warp as wp

        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        stream = warp_stream(self._stream)
        torch.cuda.synchronize(self.device)
        forget_computed()  # what was computed before lies at addresses that a replay does not refresh
        key = self._key()
        try:
            with (
                _no_garbage_collection(),
                wp.ScopedStream(stream, sync_enter=False),
                # Other threads may use CUDA meanwhile, as NCCL's watchdog does.
                torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"),
            ):
                wp.capture_begin(stream=stream, external=True)
                try:
                    with self._fusion():
                        self.function()
                finally:
                    self._warp_graph = wp.capture_end(stream=stream)  # must live as long as the graph
        except RuntimeError as error:
            raise CaptureError(f"{self.what} cannot be captured: {_culprit(error)}: {error}") from error
        forget_computed()
        if self._runner is not None:
            self._runner.upload()
        self._graph, self._recorded_key = graph, key

    def _fusion(self) -> AbstractContextManager[object]:
        """Return what fuses operations on rows while it is active."""
        if self._rows is None:
            return nullcontext()
        from palestra.utils.row_fusion_warp import ProgramRunner

        self._runner = ProgramRunner(self.device)
        return _fusing(RowFusion(self._rows, self.device, self._runner))


def current_warp_stream(device: torch.device) -> Any:
    """Return Warp's object for torch's current stream; None, Warp's own default, for the CPU."""
    return warp_stream(torch.cuda.current_stream(device)) if device.type == "cuda" else None


def launch(
    kernel: Any,
    threads: int | tuple[int, ...],
    device: torch.device,
    *arguments: Tensor | float,
    block_dim: int = 256,
) -> None:
    """Run a Warp kernel on torch's current stream.

    Args:
        kernel: the kernel.
        threads: number of threads, or one for each dimension.
        device: where the tensors are.
        arguments: the kernel's; tensors become arrays with their strides, 0-dim ones arrays of one number.
        block_dim: threads of a block.
    """
    import warp as wp

    flush()
    wp.init()  # does nothing if an engine did
    arrays = [
        wp.from_torch(x.detach().reshape(1) if x.dim() == 0 else x.detach()) if isinstance(x, Tensor) else x
        for x in arguments
    ]
    stream = current_warp_stream(device)
    wp.launch(kernel, threads, arrays, device=wp.device_from_torch(device), stream=stream, block_dim=block_dim)


def warp_stream(stream: torch.cuda.Stream) -> Any:
    """Return Warp's object for a stream of torch's, always the same one."""
    import warp as wp

    handle = (stream.device_index, stream.cuda_stream)
    if handle not in _WARP_STREAMS:
        wp.init()
        _WARP_STREAMS[handle] = wp.stream_from_torch(stream)
    return _WARP_STREAMS[handle]


_WARP_STREAMS: dict[tuple[int, int], Any] = {}


@contextmanager
def _fusing(fusion: RowFusion) -> Iterator[None]:
    """Let ``fusion`` put operations off, but for what a kernel of Warp may read."""
    import warp as wp

    names = ("launch", "launch_tiled", "copy")
    before = {name: getattr(wp, name) for name in names}
    try:
        for name, function in before.items():
            setattr(wp, name, _after_flush(function))
        with fusion:
            yield
    finally:
        for name, function in before.items():
            setattr(wp, name, function)


def _after_flush(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        flush()
        return function(*args, **kwargs)

    return call


@contextmanager
def _error_on_wait(watch: bool) -> Iterator[None]:
    if not watch:
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Synchronization debug mode")  # is a prototype, says PyTorch
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Freeing a tensor or a stream during a recording would invalidate it."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _culprit(error: BaseException) -> str:
    """Name the term, if one runs, and the line outside of installed packages where an error was raised."""
    term, line = "", "a call"
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for frame, number in _frames(error):
        label = getattr(frame.f_locals.get("self"), "label", None)
        if isinstance(label, str):
            term = f"{label}, "
        file = frame.f_code.co_filename
        if file == row_fusion.__file__:
            continue
        if file.startswith(own) or not file.startswith(_INSTALLED):
            code = linecache.getline(file, number).strip()
            line = f"`{code}` ({file}:{number})"
    return term + line


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


_INSTALLED = (*site.getsitepackages(), site.getusersitepackages(), os.path.dirname(torch.__path__[0]), sys.prefix)
