"""Many small operations on one row an environment become a few kernels.

A step of an environment is hundreds of operations of PyTorch on tensors with one row an environment, and on a GPU each
of them costs the launch of a kernel. Nearly all are *row-local*: row i of the result depends on row i of the inputs, or
on values that all rows share. :class:`RowFusion` sees the operations while a step is recorded. It puts off those that
are row-local and, before one that is not, writes a kernel that does all that was put off, one thread a row. Results
that nobody holds any more are never stored.

The order of reads and writes within a row is the order of the program, so views, slices and in-place operations mean
what they always do; where another row's value could be at stake, the kernel ends before it is read.
"""

from __future__ import annotations

import functools
import itertools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

MOST_COLUMNS = 64
"""Numbers of a row that one operation may have; wider ones fill a GPU by themselves."""

MOST_STATEMENTS = 6000
"""Statements after which a kernel ends, for the compiler's sake."""

TYPES = {
    torch.float32: "float",
    torch.float64: "double",
    torch.int64: "long long",
    torch.int32: "int",
    torch.uint8: "unsigned char",
    torch.bool: "bool",
}

HELPERS = """
#define PL_INF (1.0f / 0.0f)
#define PL_MAX(a, b) ((a) != (a) ? (a) : (b) != (b) ? (b) : (a) > (b) ? (a) : (b))
#define PL_MIN(a, b) ((a) != (a) ? (a) : (b) != (b) ? (b) : (a) < (b) ? (a) : (b))
"""

_active: list[RowFusion] = []
_unrelated: list[bool] = []


def fusing() -> bool:
    """Whether operations are being put off: then they are cheaper than a kernel of one's own."""
    return bool(_active)


def flush() -> None:
    """Do now what has been put off; to be called before a kernel that PyTorch does not launch."""
    if not _unrelated:
        for fusion in _active:
            fusion.flush()


@contextmanager
def unrelated() -> Iterator[None]:
    """Let kernels pass that neither read nor write what the operations that were put off do."""
    _unrelated.append(True)
    try:
        yield
    finally:
        _unrelated.pop()


@dataclass
class Program:
    """What a kernel does for one row."""

    source: str
    """C++ statements in terms of ``row`` and of ``pointers``, one address a tensor."""

    pointers: list[int]
    rows: int

    tensors: list[Tensor] = field(default_factory=list)
    """Keeps what the pointers mean alive."""


class Place(NamedTuple):
    """Where a number of each row lies (bytes); stride 0 means that all rows share it."""

    address: int
    stride: int
    dtype: torch.dtype


class CannotFuseError(Exception):
    """An operation is not row-local, or not known."""


class RowFusion(TorchDispatchMode):
    """While active, puts row-local operations off and hands them to ``run`` as programs.

    Args:
        rows: number of environments.
        device: operations on tensors elsewhere are left alone.
        run: executes a program; its effects must come in the order of the calls.
    """

    def __init__(self, rows: int, device: torch.device, run: Callable[[Program], None]) -> None:
        from palestra.utils.row_operations import OPERATIONS  # which needs this class

        super().__init__()
        self.rows, self.device, self.run, self._operations = rows, device, run, OPERATIONS
        self.programs = 0
        self._shapes: dict[Any, Any] = {}
        self._clear()

    def __enter__(self) -> RowFusion:
        _active.append(self)
        return super().__enter__()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        _active.remove(self)
        super().__exit__(kind, error, trace)
        if kind is None:
            self.flush()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func.is_view:
            return func(*args, **kwargs)
        inputs = [x for x in _flat((args, kwargs)) if isinstance(x, Tensor)]
        name = func._schema.name.removeprefix("aten::")
        operation = self._operations.get(name)
        if operation is not None:
            try:
                return operation(self, func, args, kwargs)
            except CannotFuseError:
                pass
        if self._touches_pending(func, inputs, args, kwargs):
            self.flush()
        return func(*args, **kwargs)

    def flush(self) -> None:
        """Do what has been put off."""
        if not self.statements:
            self._clear()
            return
        stores = self._stores()
        source = "\n".join((*self._loads, *self.statements, *stores))
        program = Program(source, self._pointers, self.rows, [*self._keep, *self.created.values()])
        self._clear()
        if stores:
            self.programs += 1
            self.run(program)

    # --- what is pending ----------------------------------------------------------------------------------------------

    def _clear(self) -> None:
        self._loads: list[str] = []
        self.statements: list[str] = []
        self._values: dict[Place, str] = {}
        self._written: dict[Place, int] = {}
        self._slots: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self._pointers: list[int] = []
        self._strides_of: dict[int, set[int]] = {}
        self.dirty: set[int] = set()
        self._dtypes: dict[int, torch.dtype] = {}
        self.created: dict[int, Tensor] = {}
        self._keep: list[Tensor] = []
        self._kept: set[int] = set()
        self.names = itertools.count()

    def _touches_pending(self, func: Any, inputs: list[Tensor], args: tuple, kwargs: dict) -> bool:
        """Whether an operation that is done at once would see, or spoil, what has been put off."""
        if not self.statements:
            return False
        written = {id(x) for x in written_arguments(func, args, kwargs)}
        for x in inputs:
            key = x.untyped_storage().data_ptr()
            if key in self.dirty or (id(x) in written and key in self._strides_of):
                return True
        return func._schema.name in ("aten::set_", "aten::resize_")

    def _stores(self) -> list[str]:
        references, users = _holders({0: torch.empty(0)})[0]  # of a tensor that nobody else holds
        dead = {key for key, (n, m) in _holders(self.created).items() if n <= references and m <= users}
        out = []
        for place, key in self._written.items():
            if key not in dead:
                guard = "if (row == 0) " if place.stride == 0 else ""
                out.append(f"{guard}{self.reference(place, key)} = {self._values[place]};")
        return out

    def hold(self, x: Tensor) -> int:
        """Keep a tensor's memory until the kernel is launched; returns what identifies its storage."""
        key = x.untyped_storage().data_ptr()
        if key not in self._kept and key not in self.created:
            self._kept.add(key)
            self._keep.append(x)
        return key

    def reference(self, place: Place, key: int) -> str:
        """Return the C expression of a number in memory."""
        address, stride, dtype = place
        slots = self._slots.setdefault((key, stride), [])
        reach = stride or 4096
        near = [(address - anchor, number) for anchor, number in slots if -reach < address - anchor < reach]
        if near:
            offset, number = near[0]
        else:
            offset, number = 0, len(self._pointers)
            self._pointers.append(address)
            slots.append((address, number))
        size = dtype.itemsize
        row = f"row * {stride // size}LL + " if stride else ""
        return f"(({TYPES[dtype]}*)pointers[{number}])[{row}{offset // size}]"

    # --- reading and writing ------------------------------------------------------------------------------------------

    def places(self, x: Tensor, shape: Sequence[int], axis: int | None) -> list[Place]:
        """Return where the numbers of a row of ``x``, broadcast to ``shape``, lie; ``axis`` counts the rows."""
        if x.device != self.device or x.dtype not in TYPES or x.is_conj() or x.is_neg():
            raise CannotFuseError
        shape = tuple(shape)
        strides = x.stride() if x.shape == shape else x.expand(shape).stride()
        offsets = _offsets(shape, strides, axis)
        if offsets is None:
            raise CannotFuseError
        start, size, dtype = x.data_ptr(), x.element_size(), x.dtype
        row = strides[axis] * size if axis is not None else 0
        return [Place(start + size * offset, row, dtype) for offset in offsets]

    def read(self, x: Tensor, places: list[Place]) -> list[str]:
        """Return the names of the values at places of ``x``."""
        self.note(x, places)
        key = self.hold(x)
        out = []
        for place in places:
            value = self._values.get(place)
            if value is None:
                value = f"v{next(self.names)}"
                self._loads.append(f"const {TYPES[place.dtype]} {value} = {self.reference(place, key)};")
                self._values[place] = value
            out.append(value)
        return out

    def check(self, read: list[tuple[Tensor, list[Place]]], written: tuple[Tensor, list[Place]] | None = None) -> None:
        """End the kernel if rows might meet, which would make the order of threads matter.

        Raises:
            CannotFuseError: the operation writes what all rows share.
        """
        for x, places in (*read, *([written] if written is not None else [])):
            if not places:
                continue
            key, stride = x.untyped_storage().data_ptr(), places[0].stride
            is_written = written is not None and x is written[0]
            if stride == 0 and is_written and key not in self.created:
                raise CannotFuseError
            known = self._strides_of.get(key)
            if known and (is_written or key in self.dirty) and (known != {stride} or self._dtypes[key] != x.dtype):
                self.flush()
                return
        if len(self.statements) > MOST_STATEMENTS:
            self.flush()

    def note(self, x: Tensor, places: list[Place]) -> None:
        """Remember how a tensor's memory is used."""
        if places:
            key = self.hold(x)
            self._strides_of.setdefault(key, set()).add(places[0].stride)
            self._dtypes[key] = x.dtype

    def write(self, x: Tensor, places: list[Place], expressions: list[str], kind: str) -> None:
        """Let places of ``x`` have values of the C type ``kind`` from now on."""
        self.note(x, places)
        key = self.hold(x)
        target = TYPES[x.dtype]
        for place, expression in zip(places, expressions, strict=True):
            name = f"v{next(self.names)}"
            self.statements.append(f"const {target} {name} = {cast(expression, kind, target)};")
            self._values[place] = name
            self._written[place] = key
        self.dirty.add(key)

    def create(self, shape: Sequence[int], strides: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return a new tensor for a result."""
        x = torch.empty_strided(shape, strides, dtype=dtype, device=self.device)
        self.created[x.untyped_storage().data_ptr()] = x
        return x

    def axis_of(self, shape: Sequence[int]) -> int | None:
        """Return the axis that counts the rows, or None if there is none.

        Raises:
            CannotFuseError: it is not clear which.
        """
        axes = [i for i, size in enumerate(shape) if size == self.rows]
        if len(axes) > 1:
            raise CannotFuseError
        return axes[0] if axes else None

    def meta(self, func: Any, args: tuple, kwargs: dict) -> Tensor:
        """Return a tensor without memory that has the shape, strides and type of an operation's result."""
        key = (func, _signature(args), _signature(kwargs))
        try:
            found = self._shapes.get(key)
        except TypeError:
            raise CannotFuseError from None
        if found is None:

            def to_meta(x: Any) -> Any:
                if isinstance(x, Tensor):
                    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")
                if isinstance(x, list | tuple):
                    return type(x)(to_meta(y) for y in x)
                return x

            changed = {k: to_meta(v) for k, v in kwargs.items()}
            if "device" in changed:
                changed["device"] = torch.device("meta")
            found = func(*to_meta(args), **changed)
            if not isinstance(found, Tensor):
                raise CannotFuseError
            self._shapes[key] = found
        return found


# --- helpers ----------------------------------------------------------------------------------------------------------


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def _signature(value: Any) -> Any:
    if isinstance(value, Tensor):
        return (tuple(value.shape), value.stride(), value.dtype)
    if isinstance(value, list | tuple):
        return (type(value), *(_signature(x) for x in value))
    if isinstance(value, dict):
        return tuple((k, _signature(v)) for k, v in value.items())
    return (type(value), value)


def arguments(func: Any, args: tuple, kwargs: dict) -> dict[str, Any]:
    """Return arguments by their names in the operation's schema."""
    names = [a.name for a in func._schema.arguments]
    return {**dict(zip(names, args, strict=False)), **kwargs}


def written_arguments(func: Any, args: tuple, kwargs: dict) -> list[Tensor]:
    """Return the tensors that an operation changes."""
    bound = arguments(func, args, kwargs)
    out = []
    for argument in func._schema.arguments:
        if argument.alias_info is not None and argument.alias_info.is_write:
            out += [x for x in _flat(bound.get(argument.name)) if isinstance(x, Tensor)]
    return out


def _holders(tensors: dict[int, Tensor]) -> dict[int, tuple[int, int]]:
    """Return how many references each tensor has, those of this function included, and its storage users."""
    return {
        key: (sys.getrefcount(x), torch._C._storage_Use_Count(x.untyped_storage()._cdata)) for key, x in tensors.items()
    }


def cast(value: str, source: str, target: str) -> str:
    """Return a C expression of the type ``source`` as one of the type ``target``."""
    if source == target:
        return value
    return f"(({value}) != 0)" if target == "bool" else f"({target})({value})"


@functools.lru_cache(maxsize=4096)
def _offsets(shape: tuple[int, ...], strides: tuple[int, ...], axis: int | None) -> list[int] | None:
    """Return where the numbers of a row lie, counted in numbers; None if there are too many."""
    inner = [i for i in range(len(shape)) if i != axis]
    if math.prod(shape[i] for i in inner) > MOST_COLUMNS:
        return None
    steps = [strides[i] for i in inner]
    ranges = (range(shape[i]) for i in inner)
    return [sum(k * step for k, step in zip(index, steps, strict=True)) for index in itertools.product(*ranges)]
