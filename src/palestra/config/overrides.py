"""Change a tree of configs by dotted overrides (``env.scene.num_envs=64``) and by YAML overlays."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from palestra.config.configclass import is_config, walk
from palestra.config.hints import TermGroup, TermParameters, UnknownType, field_hint
from palestra.config.values import Incoming, convert, field_name, item_hint, new_key
from palestra.config.yaml_io import Overlay, parse_value
from palestra.errors import ConfigError, did_you_mean


def apply_overrides(configs: Mapping[str, object], overrides: Sequence[str]) -> None:
    """Apply ``key=value`` overrides in order, in place.

    A key is a dotted path, e.g. ``env.rewards.track.params.std``; hyphens may stand for underscores, a
    number picks an entry of a list, and what follows a dictionary may be a key with dots in it, such as a
    regular expression. A value is YAML: ``3e-4``, ``[-1, 1]``, ``{".*_hip": 0.1}``, ``true``; ``null``
    removes a term; functions and classes are ``module:name``. A mapping is merged into a term, its
    ``params`` or a group of configs; it replaces any other dictionary, such as ``{regex: number}``.

    Args:
        configs: the roots, e.g. ``{"env": env_cfg, "agent": agent_cfg}``.
        overrides: arguments of the command line.

    Raises:
        ConfigError: no ``key=value``, an unknown key, or a value that the field does not take.
    """
    for override in overrides:
        key, separator, text = override.partition("=")
        key = key.strip()
        if not separator or not key or key.startswith("-"):
            raise ConfigError(f"{override!r} is no override: expected key=value, such as env.scene.num_envs=64")
        set_value(configs, key, _parse(key, text, configs), raw=text)


def set_value(configs: Mapping[str, object], key: str, value: Any, raw: str | None = None) -> None:
    """Set the leaf, term or dictionary at a dotted path; checks as ``apply_overrides`` does.

    Args:
        configs: the roots, e.g. ``{"env": env_cfg, "agent": agent_cfg}``.
        key: dotted path that starts with the name of a root.
        value: the new value.
        raw: what the user typed, taken literally by string fields.
    """
    root, *rest = key.split(".")
    if root not in configs:
        raise ConfigError(f"{key}: unknown key {root!r}: {_elsewhere(configs, key)}{did_you_mean(root, configs)}")
    if not rest:
        raise ConfigError(f"{key}: names a whole config: set a field below it, such as {key}.{_first(configs[root])}=…")
    try:
        _store(configs[root], _set(configs[root], UnknownType, rest, Incoming(value, root, raw)))
    except ConfigError as error:
        marker = f"unknown key {rest[-1]!r}: "
        if marker not in str(error):
            raise
        message = str(error).replace(marker, marker + _elsewhere(configs, rest[-1]), 1)
        raise ConfigError(message) from error


def apply_overlay(configs: Mapping[str, object], overlay: Mapping[str, Any]) -> None:
    """Apply nested values, such as ``load_overlay`` returns, in place; checks as ``apply_overrides`` does.

    Dictionaries are merged key by key. Those of a dumped configuration (``load_yaml_config``) replace, so
    that the same task ends with exactly the dumped values; its other entries (task, versions) are ignored.

    Raises:
        ConfigError: an unknown key, or a value that the field does not take; the message names file and path.
    """
    source = overlay.source if isinstance(overlay, Overlay) else ""
    whole = isinstance(overlay, Overlay) and overlay.resolved
    prefix = f"{source}: " if source else ""
    for root, values in overlay.items():
        if root not in configs:
            if whole:
                continue
            hint = _elsewhere(configs, str(root))
            raise ConfigError(f"{prefix}{root}: unknown key {root!r}: {hint}{did_you_mean(str(root), configs)}")
        if not isinstance(values, Mapping):
            raise ConfigError(f"{prefix}{root}: expected a mapping, got {values!r}")
        _store(configs[root], convert(Incoming(values, root, None, whole, prefix), UnknownType, configs[root]))


def _parse(key: str, text: str, configs: Mapping[str, object]) -> Any:
    try:
        return parse_value(text)
    except ConfigError as error:
        try:  # a string field takes any text as it is
            if isinstance(get_value(configs, key), str):
                return text
        except ConfigError:
            pass
        raise ConfigError(f"{key}: {error}") from error


def get_value(configs: Mapping[str, object], key: str) -> Any:
    """Return what stands at a dotted path.

    Raises:
        ConfigError: nothing stands there.
    """
    for path, value in walk(dict(configs)):
        if path and path.replace("-", "_") == key.replace("-", "_"):
            return value
    last = key.split(".")[-1]
    raise ConfigError(f"{key}: unknown key {last!r}: {_elsewhere(configs, last)}known: {', '.join(configs)}")


def _set(current: Any, hint: Any, rest: list[str], new: Incoming) -> Any:
    """Return what stands at ``new.path`` once ``new.value`` has been put at ``rest`` below it."""
    if not rest:
        return convert(dataclasses.replace(new, whole=_is_data(current, hint)), hint, current)
    if isinstance(hint, TermGroup) and len(rest) == 1 and isinstance(new.value, Mapping):
        return convert(dataclasses.replace(new, value={rest[0]: new.value}), hint, current)
    if is_config(current):
        name = field_name(new, current, rest[0])
        below = _below(new, name)
        setattr(current, name, _set(getattr(current, name), field_hint(current, name), rest[1:], below))
        return current
    if isinstance(current, dict):
        return _set_in_dict(current, hint, rest, new)
    if isinstance(current, list | tuple):
        return _set_in_sequence(current, hint, rest, new)
    shown = "null" if current is None else f"{current!r}"
    raise ConfigError(f"{new.path}.{'.'.join(rest)}: unknown key {rest[-1]!r}: {new.path} is {shown}, it has no keys")


def _set_in_dict(current: dict, hint: Any, rest: list[str], new: Incoming) -> dict:
    """Set below a dictionary; the longest known key wins, since keys may contain dots."""
    spelled = {str(key): key for key in current}
    for count in range(len(rest), 0, -1):
        text = ".".join(rest[:count])
        for candidate in (text, text.replace("-", "_")):
            if candidate in spelled:
                key = spelled[candidate]
                below = _below(new, key)
                return {
                    **current,
                    key: _set(current[key], item_hint(hint, current, key), rest[count:], below),
                }
    text = rest[0] if any(is_config(value) for value in current.values()) else ".".join(rest)
    below = _below(new, text)
    key = new_key(below, hint, current, text)
    return {**current, key: convert(below, item_hint(hint, current, key), None)}


def _set_in_sequence(current: list | tuple, hint: Any, rest: list[str], new: Incoming) -> list | tuple:
    if not rest[0].isdigit() or int(rest[0]) >= len(current):
        allowed = f"0 to {len(current) - 1}" if current else "nothing: it is empty"
        raise ConfigError(f"{new.path}.{rest[0]}: unknown key {rest[0]!r}: {new.path} is a list, allowed: {allowed}")
    index = int(rest[0])
    args = [a for a in getattr(hint, "__args__", ()) if a is not Ellipsis]
    inner = (
        args[min(index, len(args) - 1)] if args and getattr(hint, "__origin__", None) in (list, tuple) else UnknownType
    )
    items = list(current)
    items[index] = _set(items[index], inner, rest[1:], _below(new, index))
    return type(current)(items)


def _is_data(current: Any, hint: Any) -> bool:
    """Return whether a mapping given for ``current`` is a value of its own, such as ``{regex: number}``."""
    if is_config(current) or isinstance(hint, TermParameters | TermGroup):
        return False
    return not (isinstance(current, dict) and any(is_config(value) for value in current.values()))


def _below(new: Incoming, key: object) -> Incoming:
    return Incoming(new.value, f"{new.path}.{key}", new.raw, new.whole, new.prefix)


def _elsewhere(configs: Mapping[str, object], key: str) -> str:
    """Return a hint when the key exists at other places of the tree."""
    name = f".{key.replace('-', '_')}"
    found = [path for path, _ in walk(dict(configs)) if path.endswith(name)][:3]
    return f"there is {', '.join(repr(p) for p in found)}; " if found else ""


def _store(root: object, changed: Any) -> None:
    """Put changed values back into a root that is a plain dictionary (configs change in place)."""
    if isinstance(root, dict) and changed is not root:
        root.clear()
        root.update(changed)


def _first(config: object) -> str:
    return str(next(iter(config if isinstance(config, dict) else vars(config)), "name"))
