"""Typed access to the scene for terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from torch import Tensor

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


def select(values: Tensor, ids: slice | Sequence[int] | Tensor, dim: int = 1) -> Tensor:
    """Return the entries of a dimension that a resolved ``SceneEntityCfg`` names.

    The same as indexing, but several times as fast where the ids are a tensor.
    """
    if isinstance(ids, Tensor):
        return values.index_select(dim, ids)
    return values[(slice(None),) * dim + (ids,)]
