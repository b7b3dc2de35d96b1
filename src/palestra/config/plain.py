"""The YAML form of config values, and the names by which functions and classes are written and found."""

import enum
import importlib
import pathlib
from collections.abc import Mapping
from typing import Any

from palestra.config.configclass import MISSING, callable_name, is_config
from palestra.errors import ConfigError, did_you_mean

SCALARS = (bool, int, float, str)


def plain_value(value: Any) -> Any:
    """Return a config value as YAML can hold it: mappings, lists, strings, numbers, true, false and null.

    Functions and classes become ``"module:name"``, enums their names, tuples and arrays lists, slices
    ``"slice(start, stop, step)"``.
    """
    if value is None or type(value) in SCALARS:
        return value
    if value is MISSING:
        return "MISSING"
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, Mapping):
        return {plain_key(k): plain_value(v) for k, v in value.items()}
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


def plain_key(key: Any) -> Any:
    """Return the YAML form of a dictionary key: a scalar as it is, anything else as text."""
    return key if key is None or type(key) in SCALARS else str(plain_value(key))


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
