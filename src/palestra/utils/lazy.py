"""A property that is computed once for each version of the simulation state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar, overload

Value = TypeVar("Value")

_epoch = 0


def forget_computed() -> None:
    """Let every cached property be computed anew, whatever the engine's version says.

    A captured graph changes the state without the host's knowledge.
    """
    global _epoch
    _epoch += 1


class once_per_state(Generic[Value]):  # noqa: N801 - reads as a decorator
    """Cache a property until ``self._engine.version`` changes.

    The engine's version grows with every step, refresh and write, so that a value is never stale and never
    computed twice between two changes.
    """

    def __init__(self, compute: Callable[..., Value]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._slot = f"_once_{name}"

    @overload
    def __get__(self, instance: None, owner: type) -> once_per_state[Value]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Value: ...
    def __get__(self, instance: object | None, owner: type) -> Value | once_per_state[Value]:
        if instance is None:
            return self
        version = (instance._engine.version, _epoch)  # type: ignore[attr-defined]
        cached = instance.__dict__.get(self._slot)
        if cached is not None and cached[0] == version:
            return cached[1]
        value = self._compute(instance)
        instance.__dict__[self._slot] = (version, value)
        return value
