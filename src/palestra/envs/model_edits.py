"""Model parameters that differ between environments, always told from the values that were compiled.

Randomization terms write through one :class:`ModelEdits` an environment, so that terms that touch the same quantity
add up (a scaled mass and a payload), nothing compounds over resets, and what MuJoCo derives from masses is recomputed
once after all terms of a mode instead of once a term.
"""

from __future__ import annotations

import torch
from torch import Tensor

from palestra.physics import Columns, Engine


class ModelEdits:
    """Writes model fields of the masked environments.

    Args:
        engine: the engine, whose compiled model gives the defaults.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._defaults: dict[str, Tensor] = {}
        self._mass: Tensor | None = None
        self._compensates_gravity = bool(engine.model.body_gravcomp.any())
        self._collecting = False
        self._dirty = False
        self._pending = torch.zeros(engine.num_envs, dtype=torch.bool, device=engine.device)

    def default(self, name: str) -> Tensor:
        """Return the compiled values of a model field, ``(1, *shape)``, and give each environment its own.

        Raises:
            ConfigError: the engine cannot vary the field.
        """
        if name not in self._defaults:
            self._engine.model_field(name)  # refused here, at the start, where the engine has no such field
            owner = self._engine.model
            for part in name.split("."):
                owner = getattr(owner, part)
            values = torch.as_tensor(owner, dtype=torch.float32, device=self._engine.device)
            self._defaults[name] = values.unsqueeze(0).clone()
        return self._defaults[name]

    def write(self, name: str, values: Tensor, env_mask: Tensor, columns: Columns = slice(None)) -> None:
        """Write ``values`` ``(num_envs, k, …)`` into ``columns`` of a model field where the mask is set."""
        self._engine.write_model(name, values.contiguous(), env_mask, columns)

    def set_mass(self, mass: Tensor, env_mask: Tensor, bodies: Columns, scale_inertia: bool) -> None:
        """Set masses without payloads (kg), ``(num_envs, k)``; the inertia follows in proportion if asked to."""
        state = self._mass_state()
        _where(env_mask, mass, state[0], bodies)
        if scale_inertia:
            _where(env_mask, mass / self.default("body_mass")[:, bodies], state[2], bodies)
        self._write_masses(env_mask, bodies)

    def set_payload(self, payload: Tensor, env_mask: Tensor, bodies: Columns) -> None:
        """Set point masses at the bodies' centres of mass (kg), ``(num_envs, k)``."""
        _where(env_mask, payload, self._mass_state()[1], bodies)
        self._write_masses(env_mask, bodies)

    def set_inertia(self, inertia: Tensor, env_mask: Tensor, bodies: Columns) -> None:
        """Set principal moments of inertia at the compiled mass (kg·m²), ``(num_envs, k, 3)``."""
        _where(env_mask, inertia, self._mass_state()[3:6].permute(1, 2, 0), bodies)
        self._write_masses(env_mask, bodies)

    def changed(self, env_mask: Tensor) -> None:
        """Tell that something was written from which MuJoCo derives constants."""
        if self._collecting:
            self._pending.logical_or_(env_mask)
            self._dirty = True
        else:
            self._engine.set_const(env_mask)

    def __enter__(self) -> ModelEdits:
        self._collecting = True
        return self

    def __exit__(self, *_: object) -> None:
        self._collecting = False
        if self._dirty:
            self._dirty = False
            self._engine.set_const(self._pending)
            self._pending.zero_()

    def _mass_state(self) -> Tensor:
        """Mass without payload, payload, factor of the inertia, three principal moments: ``(6, num_envs, nbody)``."""
        if self._mass is None:
            mass, inertia = self.default("body_mass"), self.default("body_inertia")
            rows = torch.stack((mass[0], torch.zeros_like(mass[0]), torch.ones_like(mass[0]), *inertia[0].unbind(-1)))
            self._mass = rows.unsqueeze(1).repeat(1, self._engine.num_envs, 1)
            if self._compensates_gravity:
                self.default("body_gravcomp")
        return self._mass

    def _write_masses(self, env_mask: Tensor, bodies: Columns) -> None:
        mass, payload, factor, *inertia = self._mass_state()[:, :, bodies]
        self.write("body_mass", mass + payload, env_mask, bodies)
        if self._compensates_gravity:  # a controller carries the weight that it knows of
            known = self.default("body_gravcomp")[:, bodies] * self.default("body_mass")[:, bodies]
            self.write("body_gravcomp", known / (mass + payload), env_mask, bodies)
        self.write("body_inertia", torch.stack(inertia, dim=-1) * factor.unsqueeze(-1), env_mask, bodies)
        self.changed(env_mask)


def _where(env_mask: Tensor, values: Tensor, target: Tensor, columns: Columns) -> None:
    """Write ``values`` into columns of ``target`` where the mask is set, in place."""
    mask = env_mask.view(-1, *[1] * (target.dim() - 1))
    target[:, columns] = torch.where(mask, values, target[:, columns])
