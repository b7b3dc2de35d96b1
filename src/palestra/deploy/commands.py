"""What the operator asks for: checked, within the ranges of training, and forgotten when it grows old."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from palestra.deploy.bundle import ControlStep, Description, Port
from palestra.errors import ConfigError, PalestraError, did_you_mean


@dataclass
class _Command:
    low: np.ndarray
    high: np.ndarray
    at_rest: bool
    """Whether zero is allowed: then an old command becomes zero, else the last one stays."""
    value: np.ndarray | None
    until: float = -math.inf
    """When the value grows old (s)."""


class OperatorCommands:
    """The commands that a policy takes.

    A command counts for ``timeout`` seconds after it was given. Then it is zero, which for velocities means to stop;
    where zero lies outside the ranges of training (a point to reach, say), the last one stays.

    Args:
        description: what ``policy.json`` holds.
        step: what the policy takes.
        timeout: age from which a command is old (s).
    """

    def __init__(self, description: Description, step: ControlStep, timeout: float) -> None:
        self._timeout = timeout
        described = description.get("commands") or {}
        self._commands = {name: _command(port, described.get(name, {})) for name, port in step.commands().items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the commands."""
        return tuple(self._commands)

    @property
    def widths(self) -> dict[str, int]:
        """Numbers of each command."""
        return {name: command.low.size for name, command in self._commands.items()}

    def missing(self) -> list[str]:
        """Return the commands that must be given before the policy may run, since zero is not one of them."""
        return [name for name, command in self._commands.items() if command.value is None and not command.at_rest]

    def set(self, name: str, values: ArrayLike, now: float, *, hold: bool = False) -> np.ndarray:
        """Give a command.

        Args:
            name: which.
            values: ``(width,)``, in the units of ``policy.json``.
            now: the controller's clock (s).
            hold: let it never grow old, as one from a command line.

        Returns:
            What is taken: the values within the ranges of training.

        Raises:
            ConfigError: the policy takes no such command.
            PalestraError: it has another width or is not finite; the former command stays.
        """
        if name not in self._commands:
            raise ConfigError(f"the policy takes no command {name!r}: {did_you_mean(name, self._commands)}")
        command = self._commands[name]
        try:
            given = np.asarray(values, np.float64)
        except (TypeError, ValueError):
            raise PalestraError(f"command {name!r} is {values!r}; it must be numbers") from None
        if given.shape != command.low.shape:
            raise PalestraError(f"command {name!r} has {given.size} numbers; it must have {command.low.size}")
        if not np.isfinite(given).all():
            raise PalestraError(f"command {name!r} is {given.tolist()}; it must be finite")
        command.value = np.clip(given, command.low, command.high)
        command.until = math.inf if hold else now + self._timeout
        return command.value.copy()

    def read(self, now: float) -> dict[str, np.ndarray]:
        """Return the commands that count now, by name."""
        return {name: _now(command, now) for name, command in self._commands.items()}

    def old(self, now: float) -> list[str]:
        """Return the names of the commands that were given and have grown old."""
        return [name for name, c in self._commands.items() if c.value is not None and now > c.until]


def _now(command: _Command, now: float) -> np.ndarray:
    if command.value is not None and (now <= command.until or not command.at_rest):
        return command.value.copy()
    return np.clip(np.zeros_like(command.low), command.low, command.high)


def _command(port: Port, described: Mapping[str, object]) -> _Command:
    width = int(np.prod(port.shape[1:]))
    low, high = np.full(width, -math.inf), np.full(width, math.inf)
    ranges = described.get("ranges")
    if isinstance(ranges, Mapping):
        for index, key in enumerate(_range_names(port, list(ranges), width)):
            pair = ranges.get(key) if key is not None else None
            if isinstance(pair, list) and len(pair) == 2:
                low[index] = -math.inf if pair[0] is None else float(pair[0])
                high[index] = math.inf if pair[1] is None else float(pair[1])
    return _Command(low, high, at_rest=bool((low <= 0.0).all() and (high >= 0.0).all()), value=None)


def _range_names(port: Port, names: list[str], width: int) -> list[str | None]:
    """Return which range bounds each number: by the entries' names, else in order where there are as many."""
    if port.entries is not None:
        return [(key if (key := entry.rpartition("/")[2]) in names else None) for entry in port.entries[:width]]
    return [*names] if len(names) == width else [None] * width
