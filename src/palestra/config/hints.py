"""What a config field takes: from its annotation, from the term function, or from the value that stands there."""

import collections.abc
import enum
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from palestra.config.configclass import MISSING, is_config


class UnknownType:
    """Hint of a field that no annotation describes: the type of its current value counts."""


@dataclass(frozen=True)
class TermParameters:
    """Hint of the ``params`` of a term: the parameters of its function, by name."""

    hints: dict[str, Any]
    """Parameter name to annotation (``UnknownType`` where there is none)."""

    open: bool
    """Whether the function takes any keyword."""


@dataclass(frozen=True)
class TermGroup:
    """Hint of a group of terms, to which terms can be added: ``TERM_CLASSES`` of its owner names it."""

    kind: type
    """Config class of a term."""


def field_hint(config: object, name: str) -> Any:
    """Return the resolved annotation of a field, the parameters of a term, or ``UnknownType``."""
    kind = getattr(type(config), "TERM_CLASSES", {}).get(name)
    if kind is not None:
        return TermGroup(kind)
    if name == "params" and callable(getattr(config, "func", None)):
        return term_parameters(getattr(config, "func"))  # noqa: B009 - a protocol of two attributes
    return _annotation(type(config), name)


@functools.cache
def _annotation(kind: type, name: str) -> Any:
    owner = getattr(kind, "__config_owners__", {}).get(name)
    if owner is None:
        owner = next((base for base in kind.__mro__ if name in inspect.get_annotations(base)), None)
    if owner is None:
        return UnknownType
    module = sys.modules.get(owner.__module__)
    return _resolve(inspect.get_annotations(owner)[name], vars(module) if module else {}, dict(vars(owner)))


def _resolve(hint: Any, global_names: dict[str, Any], local_names: dict[str, Any]) -> Any:
    if not isinstance(hint, str):
        return hint
    try:
        return eval(hint, global_names, local_names)
    except Exception:  # e.g. a name known to the type checker alone: the current value decides
        return UnknownType


@functools.cache
def term_parameters(func: Callable[..., Any]) -> TermParameters:
    """Return the keyword parameters that a term function, or the ``__call__`` of a term class, takes."""
    target: Any = getattr(func, "__call__", func) if isinstance(func, type) else func  # noqa: B004
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return TermParameters({}, open=True)
    leading = {"self", "env", "env_mask", "env_ids"}
    names = getattr(inspect.unwrap(target), "__globals__", {})
    hints: dict[str, Any] = {}
    is_open = False
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            is_open = True
        elif parameter.kind is not parameter.VAR_POSITIONAL and name not in leading:
            empty = parameter.annotation is parameter.empty
            hints[name] = UnknownType if empty else _resolve(parameter.annotation, names, {})
    return TermParameters(hints, is_open)


def hint_of_value(value: Any) -> Any:
    """Return what a field without annotation takes, judged by the value that stands there."""
    if value is None or value is MISSING:
        return UnknownType
    if type(value) is int:
        return int | float
    if isinstance(value, type) or (callable(value) and not is_config(value)):
        return Callable
    return type(value)


def element_hint(values: Any) -> Any:
    """Return the hint that all ``values`` share, or ``UnknownType``."""
    if not isinstance(values, list | tuple) or not values:
        return UnknownType
    hints = [hint_of_value(v) for v in values]
    return hints[0] if all(h == hints[0] for h in hints) else UnknownType


def says_nothing(hint: Any) -> bool:
    """Return whether a hint leaves it to the current value what a field takes."""
    return hint in (UnknownType, Any, object) or isinstance(hint, typing.TypeVar | typing.ForwardRef)


def array_kind(base: type) -> str | None:
    """Return the library of an array class, ``"numpy"`` or ``"torch"``, or ``None``."""
    names = {("numpy", "ndarray"): "numpy", ("torch", "Tensor"): "torch"}
    return names.get((base.__module__, base.__name__))


def describe(hint: Any) -> str:
    """Return what a hint allows, as a user types it."""
    if isinstance(hint, TermParameters):
        return f"a mapping of parameters ({', '.join(hint.hints)})"
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(a) for a in args)
    if origin is Literal:
        return " or ".join(repr(a) for a in args)
    if hint in _WORDS:
        return _WORDS[hint]
    if hint in (Callable, collections.abc.Callable) or origin is collections.abc.Callable:
        return "a callable as 'module:name'"
    if hint is type or origin is type:
        kind = getattr(args[0], "__name__", "") if args else ""
        return f"a class{f' derived from {kind}' if kind and kind != 'Any' else ''} as 'module:name'"
    base = origin or hint
    if not isinstance(base, type):
        return str(hint)
    if issubclass(base, enum.Enum):
        return " or ".join(repr(m.name) for m in base)
    if hasattr(base, "__dataclass_fields__"):
        return f"a mapping of {base.__name__} fields or null"
    if args:
        inner = ", ".join("..." if a is Ellipsis else describe(a) for a in args)
        return f"{base.__name__}[{inner}]"
    return base.__name__


_WORDS: dict[Any, str] = {
    bool: "true or false", int: "int", float: "float", str: "str", type(None): "null", None: "null",
    slice: "'slice(start, stop, step)'",
}  # fmt: skip
