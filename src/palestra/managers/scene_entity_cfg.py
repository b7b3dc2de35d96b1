"""Which entity of the scene a term looks at, and which of its joints and bodies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from palestra.config.configclass import MISSING, configclass
from palestra.errors import ConfigError

if TYPE_CHECKING:
    from palestra.scene import InteractiveScene


@configclass
class SceneEntityCfg:
    """Names are regular expressions; managers resolve them to ids once, at start.

    Afterwards ``joint_ids`` and ``body_ids`` are a slice (``slice(None)`` for everything) or, where the ids are not
    contiguous, an int64 tensor on the device, which indexes without a host sync.
    """

    name: str = MISSING
    """Name of the entity in the scene."""

    joint_names: str | list[str] | None = None
    """Joints, by regular expression; ``None`` is all."""

    joint_ids: slice | list[int] | Tensor = slice(None)
    """Filled from ``joint_names``."""

    body_names: str | list[str] | None = None
    """Bodies (or elements of a contact sensor), by regular expression; ``None`` is all."""

    body_ids: slice | list[int] | Tensor = slice(None)
    """Filled from ``body_names``."""

    preserve_order: bool = False
    """Whether ids follow the order of the expressions instead of the model's."""

    def resolve(self, scene: InteractiveScene) -> None:
        """Turn names into ids.

        Raises:
            ConfigError: no such entity, joint or body; the message lists what exists.
        """
        entity = scene[self.name]
        for what in ("joint", "body"):
            names = getattr(self, f"{what}_names")
            ids = getattr(self, f"{what}_ids")
            if names is not None:
                find = getattr(entity, {"joint": "find_joints", "body": "find_bodies"}[what], None)
                if find is None:
                    raise ConfigError(f"entity {self.name!r} has no {what} names to match {names!r}")
                found, _ = find(names, preserve_order=self.preserve_order)
                total = len(getattr(entity, f"{what}_names"))
                ids = slice(None) if found == list(range(total)) else found
            if isinstance(ids, Sequence) and list(ids) == list(range(ids[0], ids[0] + len(ids))):
                ids = slice(ids[0], ids[0] + len(ids))  # a view: many times cheaper than a gather
            elif isinstance(ids, Sequence):
                ids = torch.tensor(list(ids), dtype=torch.int64, device=scene.device)
            setattr(self, f"{what}_ids", ids)
