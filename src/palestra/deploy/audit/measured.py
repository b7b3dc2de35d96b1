"""Parameters that were measured on a robot, as ``palestra sysid`` writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palestra.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Interval:
    """Where a parameter of the robot lies."""

    key: str
    """``joint/<name>/<quantity>``, ``body/<name>/<quantity>``, ``total_mass`` or ``action_delay``."""

    low: float
    high: float
    units: str = ""


DEVIATIONS = 2.0
"""Half the width of the interval of a value that is given with its standard deviation."""


def read_measured(path: Path, known: Sequence[str]) -> list[Interval]:
    """Read measured parameters.

    The file is YAML with ``joints`` and ``bodies``, mappings of names to quantities, and with quantities of the whole
    robot beside them. A quantity is ``{low, high}``, ``{value, std}`` (two deviations count) or ``[low, high]``,
    with ``units`` if one likes::

        joints:
          FL_hip_joint:
            friction: {value: 0.21, low: 0.18, high: 0.24, units: N·m}
        bodies:
          base_link:
            mass: [6.9, 7.3]
        action_delay: {value: 0.012, std: 0.002, units: s}

    Args:
        path: the file.
        known: keys of parameters that the simulation has.

    Raises:
        ConfigError: it cannot be read, holds no parameters, or one that the simulation does not have.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot read measured parameters: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping with 'joints', 'bodies' or quantities of the robot")
    flat: dict[str, Any] = {}
    for kind, prefix in (("joints", "joint"), ("bodies", "body")):
        for name, quantities in _mapping(path, kind, content.pop(kind, {})).items():
            for quantity, value in _mapping(path, f"{kind}.{name}", quantities).items():
                flat[f"{prefix}/{name}/{quantity}"] = value
    flat |= {str(name): value for name, value in content.items() if str(name) in known or _interval_like(value)}
    if not flat:
        raise ConfigError(f"{path} holds no measured parameter: it needs 'joints', 'bodies', or one of the robot")
    for key in flat:
        if key not in known:
            raise ConfigError(f"{path}: the simulation has no parameter {key!r}: {did_you_mean(key, known)}")
    return [_interval(path, key, value) for key, value in flat.items()]


def _mapping(path: Path, where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {where} is {value!r}; it must map names to quantities")
    return value


def _interval_like(value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, dict) and ({"low", "high"} <= set(value) or "std" in value))


def _interval(path: Path, key: str, value: Any) -> Interval:
    units = str(value.get("units", "")) if isinstance(value, dict) else ""
    try:
        if isinstance(value, dict) and "low" in value:
            low, high = float(value["low"]), float(value["high"])
        elif isinstance(value, dict):
            middle, half = float(value["value"]), DEVIATIONS * float(value["std"])
            low, high = middle - half, middle + half
        else:
            low, high = (float(x) for x in value)
    except (KeyError, TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ConfigError(f"{path}: {key} is {value!r}; it must be {{low, high}}, {{value, std}} or [low, high]")
    return Interval(key, low, high, units)
