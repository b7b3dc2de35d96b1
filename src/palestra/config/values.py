"""Check values from the command line and from YAML against what a config field takes, and convert them."""

import collections.abc
import enum
import functools
import importlib
import inspect
import pathlib
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from palestra.config.configclass import MISSING, callable_name, is_config
from palestra.errors import ConfigError, did_you_mean


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
class Incoming:
    """A value on its way into a config."""

    value: Any
    path: str
    """Where it goes, for messages, e.g. ``env.scene.num_envs``."""

    raw: str | None = None
    """What the user typed, when the value is a whole override: a string field takes it literally."""

    whole: bool = False
    """Whether dictionaries replace those that stand there instead of merging."""

    prefix: str = field(default="", compare=False)
    """What a message starts with, such as the file the value comes from."""

    def child(self, key: object, value: Any) -> "Incoming":
        return Incoming(value, f"{self.path}.{key}", None, self.whole, self.prefix)

    def fail(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prefix}{self.path}: {message}")

    def expected(self, what: str) -> NoReturn:
        self.fail(f"expected {what}, got {_shown(self.value)}")


def convert(new: Incoming, hint: Any, current: Any) -> Any:
    """Return ``new.value`` as the field takes it; mappings are merged into a config that stands there.

    Args:
        new: the value and where it goes.
        hint: the annotation of the field, or ``UnknownType``.
        current: what stands there now; decides where the annotation does not.

    Raises:
        ConfigError: a wrong type or an unknown key; the message has the path, the value and what is allowed.
    """
    value = new.value
    if is_config(current):
        if value is None:  # None removes a term
            return None
        if isinstance(value, Mapping):
            return _merge_config(new, current)
    if isinstance(value, str) and value == plain_value(current):
        return current
    if isinstance(hint, TermParameters):
        return _convert_mapping(new, hint, current)
    if _says_nothing(hint):
        hint = hint_of_value(current)
    if _says_nothing(hint):
        return value
    return _convert_by_hint(new, hint, current)


def _convert_by_hint(new: Incoming, hint: Any, current: Any) -> Any:
    origin = get_origin(hint)
    if origin is typing.Annotated:
        return convert(new, get_args(hint)[0], current)
    if origin in (Union, types.UnionType):
        return _convert_union(new, hint, current)
    if origin is Literal:
        return _convert_literal(new, hint)
    if hint in (None, type(None)):
        return None if new.value is None else new.expected("null")
    if hint in _SCALARS:
        return _convert_scalar(new, hint)
    if hint is slice:
        return _convert_slice(new)
    if hint in (Callable, collections.abc.Callable, type) or origin in (collections.abc.Callable, type):
        return _convert_callable(new, hint)
    base = origin or hint
    if not isinstance(base, type):
        return convert(new, UnknownType, current)
    if issubclass(base, enum.Enum):
        return _convert_enum(new, base)
    if issubclass(base, pathlib.PurePath) and isinstance(new.value, str):
        return base(new.value)
    if isinstance(new.value, Mapping) and hasattr(base, "__dataclass_fields__"):
        return _merge_config(new, base())
    if issubclass(base, collections.abc.Mapping):
        return _convert_mapping(new, hint, current)
    if issubclass(base, collections.abc.Iterable) and base is not str and _array_kind(base) is None:
        return _convert_sequence(new, hint, base, current)
    return _convert_object(new, base, current)


def _convert_union(new: Incoming, hint: Any, current: Any) -> Any:
    """Take the first member that fits; a member of exactly the value's type comes first."""
    members = sorted(get_args(hint), key=lambda member: (get_origin(member) or member) is not type(new.value))
    inner: ConfigError | None = None
    for member in members:
        try:
            return new.value if _says_nothing(member) else convert(new, member, current)
        except ConfigError as error:
            if not str(error).startswith(f"{new.prefix}{new.path}: "):
                inner = inner or error  # about an entry of a container that fits as a whole
    if inner is not None:
        raise inner
    new.expected(describe(hint))


def _convert_literal(new: Incoming, hint: Any) -> Any:
    for allowed in get_args(hint):
        if type(allowed) is type(new.value) and allowed == new.value:
            return allowed
        if isinstance(allowed, str) and new.raw == allowed:
            return allowed
    new.expected(describe(hint))


def _convert_scalar(new: Incoming, hint: type) -> Any:
    value = new.value
    if type(value) is hint:
        return value
    if hint is float:
        if type(value) is int:
            return float(value)
        if isinstance(value, str) and value.lower() in ("inf", "+inf", "-inf", "nan"):
            return float(value)
    if hint is str and new.raw is not None and isinstance(value, bool | int | float):
        return new.raw
    new.expected(describe(hint))


_SCALARS = (bool, int, float, str)
_SLICE = re.compile(r"slice\(\s*(None|-?\d+)\s*(?:,\s*(None|-?\d+)\s*(?:,\s*(None|-?\d+)\s*)?)?\)")


def _convert_slice(new: Incoming) -> slice:
    match = _SLICE.fullmatch(new.value) if isinstance(new.value, str) else None
    if match is None:
        new.expected(describe(slice))
    return slice(*[None if part == "None" else int(part) for part in match.groups() if part is not None])


def _convert_callable(new: Incoming, hint: Any) -> Any:
    value = new.value
    if isinstance(value, str):
        if ":" not in value:
            new.expected(describe(hint))
        try:
            value = import_name(value)
        except ConfigError as error:
            new.fail(str(error))
    wanted = get_args(hint)[0] if get_origin(hint) is type else object
    if hint is type or get_origin(hint) is type:
        ok = isinstance(value, type) and (not isinstance(wanted, type) or issubclass(value, wanted))
    else:
        ok = callable(value)
    return value if ok else new.expected(describe(hint))


def _convert_enum(new: Incoming, kind: type[enum.Enum]) -> enum.Enum:
    for member in kind:
        if new.value == member.name or new.value is member:
            return member
    for member in kind:
        if type(new.value) is type(member.value) and new.value == member.value:
            return member
    new.expected(describe(kind))


def _convert_sequence(new: Incoming, hint: Any, base: type, current: Any) -> Any:
    value = new.value
    if not isinstance(value, list | tuple):
        new.expected(describe(hint))
    args = get_args(hint)
    same_length = isinstance(current, list | tuple) and len(current) == len(value)
    old = list(current) if same_length else [MISSING] * len(value)
    if base is tuple and args and args[-1] is not Ellipsis:
        if len(args) != len(value) and args != ((),):
            new.expected(describe(hint))
        hints = list(args)
    else:
        hints = [args[0] if args else _element_hint(current)] * len(value)
        if not args and same_length:
            hints = [hint_of_value(item) for item in current]
    items = [convert(new.child(i, item), hints[i], old[i]) for i, item in enumerate(value)]
    if base in (list, tuple, set, frozenset):
        return base(items)
    return tuple(items) if isinstance(current, tuple) else items


def _convert_mapping(new: Incoming, hint: Any, current: Any) -> dict:
    value = new.value
    if not isinstance(value, Mapping):
        new.expected(describe(hint))
    old: dict = current if isinstance(current, dict) else {}
    keys = {_plain_key(key): key for key in old}
    result = {} if new.whole else dict(old)
    for given, item in value.items():
        key = keys.get(given, given)
        child = new.child(given, item)
        if key not in old:
            key = new_key(child, hint, old, given)
        result[key] = convert(child, item_hint(hint, old, key), old.get(key, MISSING))
    return result


def new_key(new: Incoming, hint: Any, old: dict, key: Any) -> Any:
    """Return ``key`` as a key to add to a dictionary.

    Raises:
        ConfigError: this dictionary takes no keys but those it has, or not one of this type.
    """
    if isinstance(hint, TermParameters):
        if key in hint.hints or hint.open:
            return key
        new.fail(f"unknown parameter {key!r}: {did_you_mean(str(key), dict.fromkeys([*hint.hints, *old]))}")
    args = get_args(hint)
    open_ended = not old or new.whole or (len(args) == 2 and not _says_nothing(args[1]))
    if not open_ended or any(is_config(v) for v in old.values()):
        new.fail(f"unknown key {key!r}: {did_you_mean(str(key), [str(_plain_key(k)) for k in old])}")
    if len(args) == 2:
        return convert(Incoming(key, new.path, str(key), False, new.prefix), args[0], MISSING)
    return key


def item_hint(hint: Any, old: dict, key: Any) -> Any:
    """Return the hint for one entry of a dictionary."""
    if isinstance(hint, TermParameters):
        return hint.hints.get(key, UnknownType)
    args = get_args(hint)
    if len(args) == 2:
        return args[1]
    return UnknownType if key in old else _element_hint(list(old.values()))


def _convert_object(new: Incoming, base: type, current: Any) -> Any:
    """Take an instance of any other class as it is, and lists and numbers for arrays."""
    if isinstance(new.value, base):
        return new.value
    kind = _array_kind(base)
    try:
        if base.__module__ == "numpy" and kind is None and isinstance(new.value, int | float):
            return base(new.value)  # a numpy scalar
        if kind == "numpy" and isinstance(new.value, list | int | float):
            return sys.modules["numpy"].asarray(new.value, dtype=getattr(current, "dtype", None))
        if kind == "torch" and isinstance(new.value, list | int | float):
            options = {k: getattr(current, k) for k in ("dtype", "device") if hasattr(current, k)}
            return sys.modules["torch"].tensor(new.value, **options)
        if base.__module__ == "torch" and base.__name__ == "device" and isinstance(new.value, str):
            return base(new.value)
    except (ValueError, TypeError, RuntimeError) as error:
        new.fail(f"expected {describe(base)}, got {_shown(new.value)} ({error})")
    new.expected(describe(base))


def _array_kind(base: type) -> str | None:
    names = {("numpy", "ndarray"): "numpy", ("torch", "Tensor"): "torch"}
    return names.get((base.__module__, base.__name__))


def _merge_config(new: Incoming, config: Any) -> Any:
    for key, item in new.value.items():
        name = field_name(new, config, key)
        child = new.child(name, item)
        setattr(config, name, convert(child, field_hint(config, name), getattr(config, name)))
    return config


def field_name(new: Incoming, config: object, key: Any) -> str:
    """Return the field of ``config`` that ``key`` names; hyphens may stand for underscores.

    Raises:
        ConfigError: there is no such field; the message lists the nearest.
    """
    names = [name for name in vars(config) if not name.startswith("_")]
    for candidate in (key, str(key).replace("-", "_")):
        if candidate in names:
            return candidate
    raise ConfigError(f"{new.prefix}{new.path}.{key}: unknown key {key!r}: {did_you_mean(str(key), names)}")


def field_hint(config: object, name: str) -> Any:
    """Return the resolved annotation of a field, the parameters of a term, or ``UnknownType``."""
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


def _element_hint(values: Any) -> Any:
    """Return the hint that all ``values`` share, or ``UnknownType``."""
    if not isinstance(values, list | tuple) or not values:
        return UnknownType
    hints = [hint_of_value(v) for v in values]
    return hints[0] if all(h == hints[0] for h in hints) else UnknownType


def _says_nothing(hint: Any) -> bool:
    return hint in (UnknownType, Any, object) or isinstance(hint, typing.TypeVar | typing.ForwardRef)


def import_name(name: str) -> Any:
    """Return the object that ``"module:qualified.name"`` names.

    Raises:
        ConfigError: the module cannot be imported or has no such name.
    """
    module_name, _, qualified = name.partition(":")
    try:
        target: Any = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"cannot import {name!r}: {error}") from error
    for part in qualified.split("."):
        if not hasattr(target, part):
            known = [n for n in vars(target) if not n.startswith("_")] if hasattr(target, "__dict__") else []
            raise ConfigError(f"cannot import {name!r}: no {part!r} there; {did_you_mean(part, known)}")
        target = getattr(target, part)
    return target


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


def _shown(value: Any) -> str:
    return "null" if value is None else f"{value!r} ({type(value).__name__})"


def plain_value(value: Any) -> Any:
    """Return a config value as YAML can hold it: mappings, lists, strings, numbers, true, false and null.

    Functions and classes become ``"module:name"``, enums their names, tuples and arrays lists, slices
    ``"slice(start, stop, step)"``.
    """
    if value is None or type(value) in _SCALARS:
        return value
    if value is MISSING:
        return "MISSING"
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, Mapping):
        return {_plain_key(k): plain_value(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted((plain_value(v) for v in value), key=repr)
    if isinstance(value, type):
        return callable_name(value)
    if is_config(value):
        return {k: plain_value(v) for k, v in vars(value).items() if not k.startswith("_")}
    if hasattr(value, "tolist"):  # numpy and torch, scalars included
        return plain_value(value.tolist())
    if callable(value):
        return callable_name(value)
    if isinstance(value, int | float | str):  # subclasses
        return next(kind(value) for kind in (int, float, str) if isinstance(value, kind))
    if isinstance(value, slice | pathlib.PurePath) or type(value).__module__ == "torch":
        return str(value)
    return f"{type(value).__module__}:{type(value).__qualname__}()"


def _plain_key(key: Any) -> Any:
    return key if key is None or type(key) in _SCALARS else str(plain_value(key))
