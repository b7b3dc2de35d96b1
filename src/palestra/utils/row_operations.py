"""The operations of PyTorch that :mod:`palestra.utils.row_fusion` knows: what each means for one row, in C++."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from palestra.utils.row_fusion import (
    MOST_COLUMNS,
    TYPES,
    CannotFuseError,
    Place,
    RowFusion,
    arguments,
    cast,
    written_arguments,
)

Operation = Callable[[RowFusion, Any, tuple, dict], Tensor]
"""Puts an operator's call off, or raises :class:`CannotFuseError`; gets the operator and its arguments."""


def _pointwise(expression: Callable[..., str], compute: Callable[[torch.dtype, torch.dtype], torch.dtype]) -> Operation:
    """Return an operation on each number by itself.

    Args:
        expression: gets C expressions of the operands, and ``alpha`` or ``value`` if it is given.
        compute: type of the arithmetic, from the operands' common type and the result's.
    """

    def apply(fusion: RowFusion, func: Any, args: tuple, kwargs: dict) -> Tensor:
        written = written_arguments(func, args, kwargs)
        keywords = {k: v for k, v in kwargs.items() if k != "out"}
        if keywords.keys() - {"alpha", "value"} or not all(isinstance(a, Tensor | int | float | bool) for a in args):
            raise CannotFuseError
        like = fusion.meta(func, args, kwargs)
        axis = fusion.axis_of(like.shape)
        if axis is None and any(x.untyped_storage().data_ptr() not in fusion.created for x in written):
            raise CannotFuseError  # all rows would write it
        work = compute(_result_type(list(args)), like.dtype)
        return put_off(fusion, like, _first(written), axis, list(args), expression, work, keywords)

    return apply


def put_off(
    fusion: RowFusion,
    like: Tensor,
    target: Tensor | None,
    axis: int | None,
    operands: list[Any],
    expression: Callable[..., str],
    work: torch.dtype,
    keywords: dict[str, Any] | None = None,
) -> Tensor:
    """Put off ``target = expression(operands)``, number by number.

    Args:
        fusion: where to.
        like: has the shape, strides and type of the result.
        target: tensor to write; None makes one.
        axis: axis of ``like`` that counts the rows, or None.
        operands: tensors that broadcast to ``like``, and numbers.
        expression: gets C expressions of the type ``work`` and returns one, of that type or, of a predicate, a bool.
        work: type of the arithmetic.
        keywords: further arguments of ``expression``.
    """
    shape, kind = tuple(like.shape), TYPES.get(work)
    if kind is None or like.dtype not in TYPES:
        raise CannotFuseError
    read = [(x, fusion.places(x, shape, axis)) for x in operands if isinstance(x, Tensor)]
    out = _output(fusion, like, target, axis, read)
    places = fusion.places(out, shape, axis)
    columns: list[list[str]] = []
    tensors = iter(read)
    for operand in operands:
        if isinstance(operand, Tensor):
            columns.append([cast(name, TYPES[operand.dtype], kind) for name in fusion.read(*next(tensors))])
        else:
            columns.append([_literal(operand, work)] * len(places))
    values = [expression(*(column[i] for column in columns), **(keywords or {})) for i in range(len(places))]
    fusion.write(out, places, values, "bool" if expression in _PREDICATES else kind)
    return out


def _output(
    fusion: RowFusion, like: Tensor, target: Tensor | None, axis: int | None, read: list[tuple[Tensor, list[Place]]]
) -> Tensor:
    """Return the tensor to write, a new one unless there is a target; ends the kernel where rows might meet."""
    if target is None:
        fusion.check(read)
        return fusion.create(like.shape, like.stride(), like.dtype)
    if target.shape != like.shape:
        raise CannotFuseError
    fusion.check(read, (target, fusion.places(target, like.shape, axis)))
    return target


def _first(written: list[Tensor]) -> Tensor | None:
    return written[0] if written else None


def _reduction(
    start: str,
    step: Callable[[str, str], str],
    finish: Callable[[str, int], str],
    kind_of: Callable[[torch.dtype], torch.dtype],
) -> Operation:
    """A reduction over axes that do not count rows."""

    def apply(fusion: RowFusion, func: Any, args: tuple, kwargs: dict) -> Tensor:
        bound = arguments(func, args, kwargs)
        x = bound["self"]
        if bound.get("ord", 2) != 2:
            raise CannotFuseError
        dims = bound.get("dim")
        dims = [dims] if isinstance(dims, int) else list(dims or range(x.dim()))
        dims = [d % x.dim() for d in dims]
        axis = fusion.axis_of(x.shape)
        if axis is None or axis in dims:
            raise CannotFuseError
        like = fusion.meta(func, args, kwargs)
        out_axis = fusion.axis_of(like.shape)
        if out_axis is None or fusion.axis_of([x.shape[d] for d in range(x.dim()) if d not in dims]) is None:
            raise CannotFuseError
        work = kind_of(x.dtype)
        kind = TYPES[work]
        read = fusion.places(x, x.shape, axis)
        out = _output(fusion, like, bound.get("out"), out_axis, [(x, read)])
        names = fusion.read(x, read)
        inner = [d for d in range(x.dim()) if d != axis]
        groups: dict[tuple[int, ...], list[str]] = {}
        for index, name in zip(itertools.product(*(range(x.shape[d]) for d in inner)), names, strict=True):
            key = tuple(i for i, d in zip(index, inner, strict=True) if d not in dims)
            groups.setdefault(key, []).append(cast(name, TYPES[x.dtype], kind))
        values = []
        for group in groups.values():
            total = start
            for name in group:
                total = step(total, name) if total else name
                if len(total) > 200:
                    partial = f"v{next(fusion.names)}"
                    fusion.statements.append(f"const {kind} {partial} = {total};")
                    total = partial
            values.append(finish(total, len(group)))
        fusion.write(out, fusion.places(out, like.shape, out_axis), values, kind)
        return out

    return apply


def _copy(fusion: RowFusion, func: Any, args: tuple, kwargs: dict) -> Tensor:
    """``copy_(self, source)``: the source is converted to the target's type."""
    return _copy_to(fusion, args[0], args[1])


def _copy_to(fusion: RowFusion, target: Tensor, source: Tensor) -> Tensor:
    axis = fusion.axis_of(target.shape)
    if axis is None:
        raise CannotFuseError
    return put_off(fusion, target, target, axis, [source], _simple("{0}"), source.dtype)


def _join(stack: bool) -> Operation:
    """``cat`` and ``stack``: copies into parts of the result."""

    def apply(fusion: RowFusion, func: Any, args: tuple, kwargs: dict) -> Tensor:
        bound = arguments(func, args, kwargs)
        like = fusion.meta(func, args, kwargs)
        parts, dim, out = bound["tensors"], bound.get("dim", 0) % like.dim(), bound.get("out")
        axis = fusion.axis_of(like.shape)
        if axis is None or axis == dim or (out is not None and out.shape != like.shape):
            raise CannotFuseError
        fusion.check([(x, fusion.places(x, x.shape, fusion.axis_of(x.shape))) for x in parts])  # each can be copied
        if any(fusion.axis_of(x.shape) is None for x in parts):
            raise CannotFuseError
        if out is None:
            out = fusion.create(like.shape, like.stride(), like.dtype)
        start = 0
        for x in parts:
            width = 1 if stack else x.shape[dim]
            part = out.select(dim, start) if stack else out.narrow(dim, start, width)
            if width:
                _copy_to(fusion, part, x)
            start += width
        return out

    return apply


def _index_select(fusion: RowFusion, func: Any, args: tuple, kwargs: dict) -> Tensor:
    """Pick columns whose numbers lie in a tensor."""
    x, dim, index = args[0], args[1] % args[0].dim(), args[2]
    like = fusion.meta(func, args, kwargs)
    axis = fusion.axis_of(x.shape)
    if axis is None or dim == axis or index.dim() != 1 or index.dtype not in (torch.int64, torch.int32) or kwargs:
        raise CannotFuseError
    shape = like.shape
    picked = fusion.places(x.narrow(dim, 0, 1).expand(shape), shape, axis)
    chosen = fusion.places(index.view([-1 if i == dim else 1 for i in range(x.dim())]), shape, axis)
    key = x.untyped_storage().data_ptr()
    if key in fusion.dirty:
        fusion.flush()  # which column it is is not known here, so the numbers must be in memory
    out = _output(fusion, like, None, axis, [(x, picked), (index, chosen)])
    fusion.note(x, picked)
    numbers = fusion.read(index, chosen)
    step = x.stride(dim)
    values = []
    for place, number in zip(picked, numbers, strict=True):
        base = fusion.reference(place, key)
        values.append(f"{base[:-1]} + {number} * {step}LL]")
    fusion.write(out, fusion.places(out, shape, axis), values, TYPES[x.dtype])
    return out


def _cross(fusion: RowFusion, func: Any, args: tuple, kwargs: dict) -> Tensor:
    """The cross product over the last axis."""
    a, b = args[0], args[1]
    like = fusion.meta(func, args, kwargs)
    axis, last, shape = fusion.axis_of(like.shape), like.dim() - 1, like.shape
    if axis is None or axis == last or arguments(func, args, kwargs).get("dim", -1) % like.dim() != last:
        raise CannotFuseError
    read = [(x, fusion.places(x, shape, axis)) for x in (a, b)]
    out = _output(fusion, like, None, axis, read)
    u, v = (fusion.read(x, places) for x, places in read)
    values = []
    for k in range(0, len(u), 3):
        for i in range(3):
            j, n = k + (i + 1) % 3, k + (i + 2) % 3
            values.append(f"{u[j]} * {v[n]} - {u[n]} * {v[j]}")
    fusion.write(out, fusion.places(out, shape, axis), values, TYPES[a.dtype])
    return out


def _arange(fusion: RowFusion, func: Any, args: tuple, kwargs: dict) -> Tensor:
    """``arange`` of few numbers: constants."""
    like = fusion.meta(func, args, kwargs)
    bound = arguments(func, args, kwargs)
    start, step = bound.get("start", 0), bound.get("step", 1)
    if like.dtype not in TYPES or len(like) > MOST_COLUMNS or len(like) == fusion.rows or not _here(fusion, kwargs):
        raise CannotFuseError
    out = fusion.create(like.shape, like.stride(), like.dtype)
    values = [_literal(start + k * step, like.dtype) for k in range(len(like))]
    fusion.write(out, fusion.places(out, like.shape, None), values, TYPES[like.dtype])
    return out


def _fill(value_of: Callable[[dict[str, Any]], Any]) -> Operation:
    """``full`` and its kin: a new tensor of one value."""

    def apply(fusion: RowFusion, func: Any, args: tuple, kwargs: dict) -> Tensor:
        like = fusion.meta(func, args, kwargs)
        value = value_of(arguments(func, args, kwargs))
        sources = [a for a in args if isinstance(a, Tensor)]
        here = sources[0].device == fusion.device if sources and "device" not in kwargs else _here(fusion, kwargs)
        axis = fusion.axis_of(like.shape)
        if isinstance(value, Tensor) or not here:
            raise CannotFuseError
        if math.prod(like.shape) // (fusion.rows if axis is not None else 1) > MOST_COLUMNS:
            raise CannotFuseError
        return put_off(fusion, like, None, axis, [value], _simple("{0}"), like.dtype)

    return apply


def _here(fusion: RowFusion, kwargs: dict) -> bool:
    device = kwargs.get("device")
    return device is not None and torch.device(device) == fusion.device


def _result_type(operands: list[Any]) -> torch.dtype:
    """Return the common type of operands, by PyTorch's rules of promotion."""
    tensors = [x for x in operands if isinstance(x, Tensor)]
    like: list[Any] = [x.new_empty((1,) * x.dim(), device="meta") for x in tensors]
    like += [x for x in operands if not isinstance(x, Tensor)]
    first, *others = like
    if not others:
        return first.dtype
    for other in others:
        kind = torch.result_type(first, other)
        sized = (isinstance(first, Tensor) and first.dim()) or (isinstance(other, Tensor) and other.dim())
        first = torch.empty((1,) if sized else (), dtype=kind, device="meta")
    return first.dtype


def _literal(value: Any, dtype: torch.dtype) -> str:
    if dtype == torch.bool:
        return "true" if value else "false"
    if not dtype.is_floating_point:
        return f"(({TYPES[dtype]}){int(value)}LL)"
    number = float(value)
    if math.isnan(number):
        return "(0.0f * PL_INF)"
    if math.isinf(number):
        return f"({'-' if number < 0 else ''}PL_INF)"
    return f"(({TYPES[dtype]}){number!r})"


def _same(inputs: torch.dtype, result: torch.dtype) -> torch.dtype:
    return inputs


def _floating(inputs: torch.dtype, result: torch.dtype) -> torch.dtype:
    return inputs if inputs.is_floating_point else torch.float32


def _of_result(inputs: torch.dtype, result: torch.dtype) -> torch.dtype:
    return result


def _times(b: str, alpha: float) -> str:
    return b if alpha == 1 else f"{b} * ({alpha!r}f)" if isinstance(alpha, float) else f"{b} * {alpha}"


def _add(a: str, b: str, alpha: float = 1) -> str:
    return f"{a} + {_times(b, alpha)}"


def _sub(a: str, b: str, alpha: float = 1) -> str:
    return f"{a} - {_times(b, alpha)}"


_PREDICATES: set[Any] = set()


def _predicate(expression: Callable[..., str]) -> Callable[..., str]:
    _PREDICATES.add(expression)
    return expression


def _simple(form: str) -> Callable[..., str]:
    return lambda *operands, **_: form.format(*operands)


def _power(fusion: RowFusion, func: Any, args: tuple, kwargs: dict) -> Tensor:
    exponent = args[1]
    if isinstance(exponent, Tensor) or exponent not in (2, 3, 0.5, -1, 1):
        raise CannotFuseError
    form = {2: "({0}) * ({0})", 3: "({0}) * ({0}) * ({0})", 0.5: "sqrtf({0})", -1: "1.0f / ({0})", 1: "{0}"}[exponent]
    if exponent in (0.5, -1) and args[0].dtype != torch.float32:
        raise CannotFuseError
    return _pointwise(_simple(form), _of_result)(fusion, func, args, kwargs)


def _clamp(fusion: RowFusion, func: Any, args: tuple, kwargs: dict) -> Tensor:
    bound = arguments(func, args, kwargs)
    low, high = bound.get("min"), bound.get("max")
    operands = [x for x in (bound["self"], low, high) if x is not None]
    form = "{0}"
    if low is not None:
        form = "PL_MAX({0}, {1})"
    if high is not None:
        form = f"PL_MIN({form}, {{{2 if low is not None else 1}}})"
    return _choose(fusion, func, args, kwargs, operands, form)


def _choose(fusion: RowFusion, func: Any, args: tuple, kwargs: dict, operands: list[Any], form: str) -> Tensor:
    """Put off a form that computes in the type of its result."""
    like = fusion.meta(func, args, kwargs)
    axis = fusion.axis_of(like.shape)
    if axis is None:
        raise CannotFuseError
    target = _first(written_arguments(func, args, kwargs))
    return put_off(fusion, like, target, axis, operands, _simple(form), like.dtype)


def _where(fusion: RowFusion, func: Any, args: tuple, kwargs: dict) -> Tensor:
    if len(args) != 3 or args[0].dtype != torch.bool:
        raise CannotFuseError
    return _choose(fusion, func, args, kwargs, list(args), _SELECT)


def _masked_fill(fusion: RowFusion, func: Any, args: tuple, kwargs: dict) -> Tensor:
    x, mask, value = args
    if mask.dtype != torch.bool:
        raise CannotFuseError
    return _choose(fusion, func, args, kwargs, [mask, value, x], _SELECT)


_SELECT = "({0}) != 0 ? {1} : {2}"
"""The condition is converted to the type of the others before it is compared: free for the compiler."""


def _nan_to_num(fusion: RowFusion, func: Any, args: tuple, kwargs: dict) -> Tensor:
    bound = arguments(func, args, kwargs)
    if bound["self"].dtype != torch.float32:
        raise CannotFuseError
    largest = torch.finfo(torch.float32).max
    limits = {"nan": 0.0, "posinf": largest, "neginf": -largest}
    limits |= {name: bound[name] for name in limits if bound.get(name) is not None}
    nan, high, low = (_literal(value, torch.float32) for value in limits.values())
    form = f"({{0}}) != ({{0}}) ? {nan} : ({{0}}) == PL_INF ? {high} : ({{0}}) == -PL_INF ? {low} : ({{0}})"
    return _choose(fusion, func, args, kwargs, [bound["self"]], form)


def _addc(form: str) -> Operation:
    return _pointwise(lambda a, b, c, value=1: form.format(a, b, c, f"(({float(value)!r}f))"), _of_result)


def _convert(fusion: RowFusion, func: Any, args: tuple, kwargs: dict) -> Tensor:
    if kwargs.get("device") is not None and torch.device(kwargs["device"]) != fusion.device:
        raise CannotFuseError
    like = fusion.meta(func, args[:1], {k: v for k, v in kwargs.items() if k != "device"})
    axis = fusion.axis_of(like.shape)
    source = args[0]
    if axis is None and math.prod(like.shape) > MOST_COLUMNS:
        raise CannotFuseError
    return put_off(fusion, like, None, axis, [source], _simple("{0}"), source.dtype)


def _fill_in_place(fusion: RowFusion, func: Any, args: tuple, kwargs: dict) -> Tensor:
    x, value = args[0], args[1] if len(args) > 1 else 0
    axis = fusion.axis_of(x.shape)
    if axis is None or isinstance(value, Tensor):
        raise CannotFuseError
    return put_off(fusion, x, x, axis, [value], _simple("{0}"), x.dtype)


_FLOAT_FUNCTIONS = {
    "exp": "expf({0})", "log": "logf({0})", "sqrt": "sqrtf({0})", "rsqrt": "(1.0f / sqrtf({0}))", "sin": "sinf({0})",
    "cos": "cosf({0})", "tan": "tanf({0})", "asin": "asinf({0})", "acos": "acosf({0})", "atan": "atanf({0})",
    "tanh": "tanhf({0})", "sigmoid": "(1.0f / (1.0f + expf(-({0}))))", "reciprocal": "(1.0f / ({0}))",
    "round": "rintf({0})", "floor": "floorf({0})", "ceil": "ceilf({0})", "trunc": "truncf({0})",
    "atan2": "atan2f({0}, {1})", "log1p": "log1pf({0})", "expm1": "expm1f({0})",
}  # fmt: skip


def _float_function(form: str) -> Operation:
    inner = _pointwise(_simple(form), _of_result)

    def apply(fusion: RowFusion, func: Any, args: tuple, kwargs: dict) -> Tensor:
        if any(isinstance(x, Tensor) and x.dtype != torch.float32 for x in args) or len(args) > 2:
            raise CannotFuseError
        return inner(fusion, func, args, kwargs)

    return apply


def _integers_only(form: str) -> Operation:
    inner = _pointwise(_simple(form), _same)

    def apply(fusion: RowFusion, func: Any, args: tuple, kwargs: dict) -> Tensor:
        if any(isinstance(x, Tensor) and x.dtype.is_floating_point for x in args):
            raise CannotFuseError
        return inner(fusion, func, args, kwargs)

    return apply


_MULTIPLY = _pointwise(_simple("({0}) * ({1})"), _same)
_MULTIPLY_AROUND = _pointwise(_simple("(long long)((unsigned long long)({0}) * (unsigned long long)({1}))"), _same)


def _multiply(fusion: RowFusion, func: Any, args: tuple, kwargs: dict) -> Tensor:
    wraps = fusion.meta(func, args, kwargs).dtype == torch.int64
    return (_MULTIPLY_AROUND if wraps else _MULTIPLY)(fusion, func, args, kwargs)


def _only_float(dtype: torch.dtype) -> torch.dtype:
    if dtype != torch.float32:
        raise CannotFuseError
    return dtype


def _sum_type(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype.is_floating_point else torch.int64


_LERP = "({2}) < 0.5f ? ({0}) + ({2}) * (({1}) - ({0})) : ({1}) - (({1}) - ({0})) * (1.0f - ({2}))"

OPERATIONS: dict[str, Operation] = {
    "add": _pointwise(_add, _same),
    "sub": _pointwise(_sub, _same),
    "rsub": _pointwise(lambda a, b, alpha=1: _sub(b, a, alpha), _same),
    "mul": _multiply,
    "div": _pointwise(_simple("({0}) / ({1})"), _floating),
    "neg": _pointwise(_simple("-({0})"), _same),
    "abs": _pointwise(_simple("(({0}) < 0 ? -({0}) : ({0}))"), _same),
    "sign": _pointwise(_simple("(({0}) > 0) - (({0}) < 0)"), _same),
    "maximum": _pointwise(_simple("PL_MAX({0}, {1})"), _same),
    "minimum": _pointwise(_simple("PL_MIN({0}, {1})"), _same),
    "relu": _pointwise(_simple("PL_MAX({0}, 0)"), _same),
    "lerp": _pointwise(_simple(_LERP), _of_result),
    "addcmul": _addc("({0}) + {3} * ({1}) * ({2})"),
    "addcdiv": _addc("({0}) + {3} * ({1}) / ({2})"),
    "where": _where,
    "masked_fill": _masked_fill,
    "clamp": _clamp,
    "clamp_min": _clamp,
    "clamp_max": _clamp,
    "pow": _power,
    "nan_to_num": _nan_to_num,
    "copy": _copy,
    "fill": _fill_in_place,
    "zero": _fill_in_place,
    "_to_copy": _convert,
    "clone": _convert,
    "eq": _pointwise(_predicate(_simple("({0}) == ({1})")), _same),
    "ne": _pointwise(_predicate(_simple("({0}) != ({1})")), _same),
    "lt": _pointwise(_predicate(_simple("({0}) < ({1})")), _same),
    "le": _pointwise(_predicate(_simple("({0}) <= ({1})")), _same),
    "gt": _pointwise(_predicate(_simple("({0}) > ({1})")), _same),
    "ge": _pointwise(_predicate(_simple("({0}) >= ({1})")), _same),
    "logical_and": _pointwise(_predicate(_simple("(({0}) != 0) && (({1}) != 0)")), _same),
    "logical_or": _pointwise(_predicate(_simple("(({0}) != 0) || (({1}) != 0)")), _same),
    "logical_xor": _pointwise(_predicate(_simple("(({0}) != 0) != (({1}) != 0)")), _same),
    "logical_not": _pointwise(_predicate(_simple("({0}) == 0")), _same),
    "isnan": _pointwise(_predicate(_simple("({0}) != ({0})")), _same),
    "bitwise_and": _integers_only("({0}) & ({1})"),
    "bitwise_or": _integers_only("({0}) | ({1})"),
    "bitwise_xor": _integers_only("({0}) ^ ({1})"),
    "__rshift__": _integers_only("({0}) >> ({1})"),
    "__lshift__": _integers_only("({0}) << ({1})"),
    "sum": _reduction("", lambda a, b: f"{a} + {b}", lambda total, _: total, _sum_type),
    "mean": _reduction("", lambda a, b: f"{a} + {b}", lambda total, n: f"({total}) / {n}", _only_float),
    "any": _reduction("", lambda a, b: f"{a} || {b}", lambda total, _: total, lambda dtype: torch.bool),
    "all": _reduction("", lambda a, b: f"{a} && {b}", lambda total, _: total, lambda dtype: torch.bool),
    "amax": _reduction("", lambda a, b: f"PL_MAX({a}, {b})", lambda total, _: total, lambda dtype: dtype),
    "amin": _reduction("", lambda a, b: f"PL_MIN({a}, {b})", lambda total, _: total, lambda dtype: dtype),
    "linalg_vector_norm": _reduction(
        "0.0f", lambda a, b: f"{a} + {b} * {b}", lambda total, _: f"sqrtf({total})", _only_float
    ),
    "linalg_cross": _cross,
    "cat": _join(stack=False),
    "stack": _join(stack=True),
    "index_select": _index_select,
    "arange": _arange,
    "zeros": _fill(lambda bound: 0),
    "ones": _fill(lambda bound: 1),
    "zeros_like": _fill(lambda bound: 0),
    "ones_like": _fill(lambda bound: 1),
    "new_zeros": _fill(lambda bound: 0),
    "new_ones": _fill(lambda bound: 1),
    "full": _fill(lambda bound: bound["fill_value"]),
    "full_like": _fill(lambda bound: bound["fill_value"]),
    "new_full": _fill(lambda bound: bound["fill_value"]),
    "scalar_tensor": _fill(lambda bound: bound["s"]),
    **{name: _float_function(form) for name, form in _FLOAT_FUNCTIONS.items()},
}
"""Operators by their names in PyTorch's schemas, each with its form that writes in place."""

for _name in tuple(OPERATIONS):
    OPERATIONS[f"{_name}_"] = OPERATIONS[_name]
_BITWISE_NOT_BOOL = _pointwise(_predicate(_simple("!({0})")), _same)
_BITWISE_NOT = _pointwise(_simple("~({0})"), _same)


def _bitwise_not(fusion: RowFusion, func: Any, args: tuple, kwargs: dict) -> Tensor:
    return (_BITWISE_NOT_BOOL if args[0].dtype == torch.bool else _BITWISE_NOT)(fusion, func, args, kwargs)


OPERATIONS["bitwise_not"] = OPERATIONS["bitwise_not_"] = _bitwise_not
