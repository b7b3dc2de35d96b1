"""A single free or fixed rigid body."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import torch
from torch import Tensor

from palestra.assets.asset import body_range, free_joint
from palestra.assets.asset_cfg import RigidObjectCfg
from palestra.assets.body_data import BodyData, find_free_joint
from palestra.assets.root_writer import RootWriter
from palestra.physics import Engine
from palestra.utils.string import resolve_matching_names


class RigidObjectData(BodyData):
    """State of a rigid object."""


class RigidObject(RootWriter):
    """One rigid body, e.g. a cube to lift."""

    cfg: RigidObjectCfg
    data: RigidObjectData

    def bind(self, engine: Engine) -> None:
        super().bind(engine)
        bodies, self.body_names = body_range(engine.model, self.prefix)
        joint = find_free_joint(engine.model, bodies)
        self._bind_root(engine.model, joint)
        self.data = RigidObjectData(engine, bodies, joint)
        start = self.cfg.init_state
        state = (*start.pos, *start.rot, *start.lin_vel, *start.ang_vel)
        self.data.default_root_state[:] = torch.tensor(state, device=self.device)

    @property
    def num_bodies(self) -> int:
        """Number of bodies."""
        return len(self.body_names)

    def find_bodies(self, name_keys: str | Sequence[str], preserve_order: bool = False) -> tuple[list[int], list[str]]:
        """Return indices and names of bodies by regular expression."""
        return resolve_matching_names(name_keys, self.body_names, preserve_order, f"bodies of {self.name!r}")

    def reset_to_default(self, env_mask: Tensor | None) -> None:
        """Write the default state."""
        self._restart(env_mask)
        if not self.is_fixed_base:
            self.write_root_state_to_sim(self.data.default_root_state, env_mask)

    def begin_step(self, dt: float) -> None:
        """Remember what finite differences need."""
        self.data.begin_step(dt)

    def _frame_places_asset(self, spec: mujoco.MjSpec) -> bool:
        return not free_joint(spec)
