"""Resolve names by regular expression, as every configuration of joints, bodies and terms does."""

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from palestra.errors import ConfigError, did_you_mean

Value = TypeVar("Value")


def resolve_matching_names(
    patterns: str | Sequence[str], names: Sequence[str], preserve_order: bool = False, where: str = "names"
) -> tuple[list[int], list[str]]:
    """Return indices and names that match any of the regular expressions in full.

    Args:
        patterns: one regular expression or several.
        names: what exists.
        preserve_order: order by the patterns instead of by ``names``.
        where: what the names are, for the error message, e.g. ``"joints of 'robot'"``.

    Raises:
        ConfigError: a pattern is no regular expression or matches nothing.
    """
    listed = [patterns] if isinstance(patterns, str) else list(patterns)
    found: list[int] = []
    for pattern in listed:
        hits = [i for i, name in enumerate(names) if _fullmatch(pattern, name, where)]
        if not hits:
            raise ConfigError(f"{where}: no match for {pattern!r}; {did_you_mean(pattern, names)}")
        found += [i for i in hits if i not in found]
    if not preserve_order:
        found.sort()
    return found, [names[i] for i in found]


def resolve_matching_values(
    values: Mapping[str, Value], names: Sequence[str], where: str = "names"
) -> tuple[list[int], list[str], list[Value]]:
    """Return indices, names and values of ``{pattern: value}``, ordered by ``names``.

    Raises:
        ConfigError: a pattern matches nothing, or two patterns match one name.
    """
    picked: dict[int, tuple[str, Value]] = {}
    for pattern, value in values.items():
        indices, _ = resolve_matching_names(pattern, names, where=where)
        for i in indices:
            if i in picked:
                raise ConfigError(f"{where}: {names[i]!r} matches both {picked[i][0]!r} and {pattern!r}")
            picked[i] = (pattern, value)
    order = sorted(picked)
    return order, [names[i] for i in order], [picked[i][1] for i in order]


def _fullmatch(pattern: str, name: str, where: str) -> bool:
    try:
        return re.fullmatch(pattern, name) is not None
    except re.error as error:
        raise ConfigError(f"{where}: {pattern!r} is no regular expression ({error})") from None
