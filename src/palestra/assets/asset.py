"""What all assets share: their place in the spec, binding to the engine, masks."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import torch
from torch import Tensor

from palestra.assets.asset_cfg import AssetBaseCfg
from palestra.errors import ConfigError
from palestra.physics import Engine

Ids = Sequence[int] | Tensor | slice


class Asset:
    """One entity of the scene; unusable until :meth:`bind` has connected it to an engine."""

    cfg: AssetBaseCfg
    name: str = ""

    def __init__(self, cfg: AssetBaseCfg) -> None:
        self.cfg = cfg

    @property
    def prefix(self) -> str:
        """Prefix of the asset's elements in the scene's model, ``"name/"``."""
        return f"{self.name}/"

    def add_to(self, scene: mujoco.MjSpec) -> None:
        """Attach the asset's spec to the scene's."""
        if self.cfg.spawn is None:
            raise ConfigError(f"asset {self.name!r} has no spawn configuration")
        spec = self.cfg.spawn.build(self.name)
        name_elements(spec)
        self.edit_spec(spec)
        frame = scene.worldbody.add_frame()
        if self._frame_places_asset(spec):
            frame.pos, frame.quat = list(self.cfg.init_state.pos), list(self.cfg.init_state.rot)
        scene.attach(spec, prefix=self.prefix, frame=frame)

    def edit_spec(self, spec: mujoco.MjSpec) -> None:
        """Change the asset's own spec before it is attached."""

    def bind(self, engine: Engine) -> None:
        """Look up the asset's entries in the compiled model."""
        self._engine = engine
        self.num_envs, self.device = engine.num_envs, engine.device

    def begin_step(self, dt: float) -> None:
        """Remember what a difference over the coming control step of ``dt`` seconds needs."""

    def _frame_places_asset(self, spec: mujoco.MjSpec) -> bool:
        return True

    def _masked(self, values: Tensor, selection: Tensor | Sequence[int] | None) -> tuple[Tensor, Tensor | None]:
        """Return full-batch values and a mask, from a mask or from Isaac Lab's ``env_ids`` with packed rows."""
        if selection is None:
            return values, None
        if isinstance(selection, Tensor) and selection.dtype == torch.bool:
            return values, selection
        ids = torch.as_tensor(selection, dtype=torch.int64, device=self.device)
        mask = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        mask[ids] = True
        if values.shape[0] == self.num_envs and len(ids) != self.num_envs:
            return values, mask
        full = values.new_zeros(self.num_envs, *values.shape[1:])
        full[ids] = values
        return full, mask


def name_elements(spec: mujoco.MjSpec) -> None:
    """Name the bodies and joints that have no name, so that indices and names of the scene's model agree."""
    for kind, elements in (("body", spec.bodies[1:]), ("joint", spec.joints)):
        taken = {element.name for element in elements}
        for i, element in enumerate(elements):
            if element.name:
                continue
            name = f"{kind}_{i}"
            while name in taken:
                name += "_"
            element.name = name
            taken.add(name)


def free_joint(spec: mujoco.MjSpec) -> bool:
    """Whether the first body of a spec floats on a free joint."""
    first = spec.worldbody.first_body()
    return first is not None and any(j.type == mujoco.mjtJoint.mjJNT_FREE for j in first.joints)


def body_range(model: mujoco.MjModel, prefix: str) -> tuple[slice, list[str]]:
    """Return the contiguous ids and the unprefixed names of an asset's bodies."""
    ids = [i for i in range(model.nbody) if model.body(i).name.startswith(prefix)]
    if not ids:
        raise ConfigError(f"asset {prefix[:-1]!r} has no body")
    return slice(ids[0], ids[-1] + 1), [model.body(i).name[len(prefix) :] for i in ids]
