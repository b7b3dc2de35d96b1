"""Check values from the command line and from YAML against what a config field takes, and convert them."""

import collections.abc
import dataclasses
import enum
import pathlib
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from palestra.config.configclass import MISSING, is_config
from palestra.config.hints import (
    TermGroup,
    TermParameters,
    UnknownType,
    array_kind,
    describe,
    element_hint,
    field_hint,
    hint_of_value,
    says_nothing,
)
from palestra.config.plain import SCALARS, import_name, plain_key, plain_value
from palestra.errors import ConfigError, did_you_mean


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
    if isinstance(hint, TermGroup):
        if isinstance(value, Mapping):
            return _merge_group(new, hint, current)
        hint = UnknownType
    if is_config(current):
        if value is None:  # None removes a term
            return None
        if isinstance(value, Mapping):
            return _merge_config(new, current)
    if isinstance(value, str) and value == plain_value(current):
        return current
    if isinstance(hint, TermParameters):
        return _convert_mapping(new, hint, current)
    if says_nothing(hint):
        hint = hint_of_value(current)
    if says_nothing(hint):
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
    if hint in SCALARS:
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
    if issubclass(base, collections.abc.Iterable) and base is not str and array_kind(base) is None:
        return _convert_sequence(new, hint, base, current)
    return _convert_object(new, base, current)


def _convert_union(new: Incoming, hint: Any, current: Any) -> Any:
    """Take the first member that fits; a member of exactly the value's type comes first."""
    members = sorted(get_args(hint), key=lambda member: (get_origin(member) or member) is not type(new.value))
    inner: ConfigError | None = None
    for member in members:
        try:
            return new.value if says_nothing(member) else convert(new, member, current)
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
        hints = [args[0] if args else element_hint(current)] * len(value)
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
    keys = {plain_key(key): key for key in old}
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
    open_ended = not old or new.whole or (len(args) == 2 and not says_nothing(args[1]))
    if not open_ended or any(is_config(v) for v in old.values()):
        new.fail(f"unknown key {key!r}: {did_you_mean(str(key), [str(plain_key(k)) for k in old])}")
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
    return UnknownType if key in old else element_hint(list(old.values()))


def _convert_object(new: Incoming, base: type, current: Any) -> Any:
    """Take an instance of any other class as it is, and lists and numbers for arrays."""
    if isinstance(new.value, base):
        return new.value
    kind = array_kind(base)
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


def _merge_config(new: Incoming, config: Any) -> Any:
    for key, item in new.value.items():
        name = field_name(new, config, key)
        child = new.child(name, item)
        setattr(config, name, convert(child, field_hint(config, name), getattr(config, name)))
    return config


def _merge_group(new: Incoming, hint: TermGroup, current: Any) -> Any:
    """Merge a mapping into a group of terms; an entry that is not there, and has a ``func``, becomes a term."""
    group: Any = {} if current is None or current is MISSING else current
    terms = vars(group) if is_config(group) else group
    merged: dict[str, Any] = {}
    for key, item in new.value.items():
        child = new.child(key, item)
        if isinstance(item, Mapping) and "func" in item and terms.get(key) is None:
            if not (isinstance(key, str) and key.isidentifier() and not key.startswith("_")):
                child.fail("a term's name must be a word of letters, digits and underscores")
            function_first = {"func": item["func"], **item}  # which decides what params there are
            merged[key] = _merge_config(dataclasses.replace(child, value=function_first), hint.kind())
        else:
            name = field_name(new, group, key) if is_config(group) else _known_key(child, group, key)
            merged[name] = convert(child, UnknownType, terms[name])
    terms.update(merged)
    return group


def _known_key(new: Incoming, group: Mapping[str, Any], key: Any) -> Any:
    if key in group:
        return key
    new.fail(f"unknown key {key!r}: {did_you_mean(str(key), group)}; a new term needs 'func: module:name'")


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


def _shown(value: Any) -> str:
    return "null" if value is None else f"{value!r} ({type(value).__name__})"
