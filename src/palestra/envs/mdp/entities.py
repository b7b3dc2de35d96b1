"""Typed access to the scene for terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from palestra.errors import ConfigError

if TYPE_CHECKING:
    from palestra.envs.base import BaseEnv

Entity = TypeVar("Entity")


def entity(env: BaseEnv, name: str, kind: type[Entity]) -> Entity:
    """Return an entity of the scene.

    Raises:
        ConfigError: the scene has no such entity, or it is not a ``kind``.
    """
    found = env.scene[name]
    if not isinstance(found, kind):
        raise ConfigError(f"entity {name!r} is a {type(found).__name__}; the term needs a {kind.__name__}")
    return found
