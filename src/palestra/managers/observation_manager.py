"""Compute groups of observations: func, modifiers, noise, clip, scale, history, concatenation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from palestra.errors import ConfigError, PalestraError
from palestra.managers.manager_base import BoundTerm, ManagerBase, ManagerTermBase
from palestra.managers.term_cfg import ObservationGroupCfg, ObservationTermCfg
from palestra.utils.modifiers import models_hardware
from palestra.utils.noise import NoiseModelCfg, UniformNoiseCfg

Observations = dict[str, "Tensor | dict[str, Tensor]"]


class _Term:
    """One bound observation term with its pipeline and buffers."""

    def __init__(self, name: str, cfg: ObservationTermCfg, group: ObservationGroupCfg, env: Any) -> None:
        self.name, self.cfg = name, cfg
        self.bound = BoundTerm("observation", name, cfg, env, masked=False)
        value = self.call(env)
        self.width = value.shape[1]
        self.history = cfg.history_length if group.history_length is None else group.history_length
        self.flatten = cfg.flatten_history_dim and group.flatten_history_dim
        self.corrupt = group.enable_corruption and cfg.noise is not None
        self.noise_model = (
            cfg.noise.class_type(cfg.noise, env.num_envs, env.device, self.width)
            if self.corrupt and isinstance(cfg.noise, NoiseModelCfg)
            else None
        )
        self.modifiers = [
            m.class_type(m, (env.num_envs, self.width), env.device) if hasattr(m, "class_type") else m
            for m in cfg.modifiers or []
        ]
        self.scale = self._scale(env.device)
        self.buffer = torch.zeros(env.num_envs, self.history, self.width, device=env.device) if self.history else None
        self.fresh = torch.ones(env.num_envs, 1, 1, dtype=torch.bool, device=env.device)
        self.raw = value
        """What the function returned last, ``(num_envs, width)``."""
        self.same_as: _Term | None = None
        """A term of an earlier group with the same function and parameters, such as the actor's for the critic's."""

    def is_like(self, other: _Term) -> bool:
        """Whether both call the same function with the same parameters; a class term has a state of its own."""
        if self.bound.func is not other.bound.func or isinstance(self.bound.func, ManagerTermBase):
            return False
        try:
            return bool(self.bound.params == other.bound.params)
        except (RuntimeError, ValueError):  # tensors or arrays, which do not compare to one truth
            return False

    @property
    def dim(self) -> int:
        """Width in the concatenated group."""
        return self.width * max(self.history, 1)

    def call(self, env: Any) -> Tensor:
        value = self.bound()
        if not isinstance(value, Tensor) or value.dim() < 2 or value.shape[0] != env.num_envs:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ConfigError(f"observation term {self.name!r} returned {shape}; it must be a tensor (num_envs, width)")
        return value.flatten(1)

    @property
    def noise_joins(self) -> bool:
        """Whether the noise may be added to the whole group instead: plain numbers, nothing nonlinear after them."""
        noise = self.cfg.noise
        plain = (
            type(noise) is UniformNoiseCfg
            and noise.operation == "add"
            and isinstance(noise.n_min, int | float)
            and isinstance(noise.n_max, int | float)
        )
        return not self.corrupt or (plain and self.cfg.clip is None and self.buffer is None)

    def noise_limits(self) -> tuple[float, float]:
        """Limits of a noise that joins, before the scale."""
        noise = self.cfg.noise
        return (noise.n_min, noise.n_max) if self.corrupt and isinstance(noise, UniformNoiseCfg) else (0.0, 0.0)  # type: ignore[return-value]

    def compute(
        self, env: Any, push: bool, with_noise: bool, called: dict[_Term, Tensor], clean: bool = False
    ) -> Tensor:
        """Run the pipeline; ``called`` collects what the functions returned, for equal terms of other groups.

        ``clean`` leaves out noise and the modifiers that imitate hardware.
        """
        first = self.same_as
        shared = first is not None and first in called and self.is_like(first)
        value = called[self] = self.raw = called[first] if shared else self.call(env)  # type: ignore[index]
        for modifier in self.modifiers:
            if clean and models_hardware(modifier):
                continue
            value = modifier(value, push) if not hasattr(modifier, "func") else modifier.func(value, **modifier.params)
        if self.noise_model is not None and not clean:
            # Models of a user's own may take two arguments.
            more = (push,) if getattr(self.noise_model, "has_memory", False) else ()
            value = self.noise_model(value, env.rng, *more)
        elif self.corrupt and with_noise and not clean:
            value = self.cfg.noise.func(value, self.cfg.noise, env.rng)
        if self.cfg.clip is not None:
            value = value.clamp(*self.cfg.clip)
        if self.scale is not None:
            value = value * self.scale
        if self.buffer is None:
            return value
        return self._with_history(value, push)

    def reset(self, env_mask: Tensor, env: Any) -> None:
        self.bound.reset(env_mask)
        if self.buffer is not None:
            self.fresh.logical_or_(env_mask.view(-1, 1, 1))
        if self.noise_model is not None:
            self.noise_model.reset(env_mask, env.rng)
        for modifier in self.modifiers:
            if hasattr(modifier, "reset"):
                modifier.reset(env_mask)

    def _with_history(self, value: Tensor, push: bool) -> Tensor:
        """Append the newest value at the end; after a reset the first value fills the whole history."""
        assert self.buffer is not None
        newest = value.unsqueeze(1)
        stacked = torch.cat((self.buffer[:, 1:], newest), dim=1)
        stacked = torch.where(self.fresh, newest.expand_as(stacked), stacked)
        if push:
            self.buffer.copy_(stacked)
            self.fresh.zero_()
        return stacked.flatten(1) if self.flatten else stacked

    def _scale(self, device: torch.device) -> float | Tensor | None:
        scale = self.cfg.scale
        if scale is None or isinstance(scale, (int, float)):
            return scale
        if len(scale) != self.width:
            raise ConfigError(
                f"observation term {self.name!r}: scale has {len(scale)} numbers; it must have 1 or {self.width}"
            )
        return torch.tensor(scale, dtype=torch.float32, device=device)


class _GroupNoise:
    """Uniform noise of all terms of a concatenated group, added in one operation."""

    def __init__(self, terms: list[_Term], env: Any) -> None:
        self._terms, self._env = terms, env
        self._limits: list[tuple[float, float]] = []
        self._low = torch.zeros(sum(term.dim for term in terms), device=env.device)
        self._high = torch.zeros_like(self._low)

    @staticmethod
    def serves(group: ObservationGroupCfg, terms: list[_Term]) -> bool:
        corrupted = sum(term.corrupt for term in terms)
        return group.concatenate_terms and corrupted > 1 and all(term.noise_joins for term in terms)

    def add_to(self, values: Tensor) -> None:
        limits = [term.noise_limits() for term in self._terms]
        if limits != self._limits:  # at first, and where a curriculum changed a configuration
            self._limits = limits
            for low_or_high, k in ((self._low, 0), (self._high, 1)):
                parts = [
                    torch.full((term.dim,), float(pair[k]), device=values.device)
                    * (1.0 if term.scale is None else term.scale)
                    for term, pair in zip(self._terms, limits, strict=True)
                ]
                low_or_high.copy_(torch.cat(parts))
        values += self._env.rng.uniform(self._low, self._high, self._low.shape)


class ObservationManager(ManagerBase):
    """All observation groups of an environment.

    Attributes:
        clean: whether noise, and modifiers that imitate hardware, are left out.
    """

    kind = "observation"

    def __init__(self, cfg: object, env: Any) -> None:
        super().__init__(cfg, env)
        self._groups: dict[str, tuple[ObservationGroupCfg, list[_Term]]] = {}
        self._noises: dict[str, _GroupNoise] = {}
        self.clean = False
        for group_name, group in self._term_cfgs(ObservationGroupCfg):
            if group.concatenate_dim != -1:
                raise ConfigError(f"observation group {group_name!r}: concatenate_dim must be -1")
            terms = []
            for name, term_cfg in self._term_cfgs(ObservationTermCfg, group):
                try:
                    terms.append(_Term(name, term_cfg, group, env))
                except PalestraError as error:
                    raise ConfigError(f"observation group {group_name!r}: {error}") from None
            if not terms:
                raise ConfigError(f"observation group {group_name!r} has no term")
            earlier = [term for _, others in self._groups.values() for term in others]
            for term in terms:
                term.same_as = next((other for other in earlier if term.is_like(other)), None)
            self._groups[group_name] = (group, terms)
            if _GroupNoise.serves(group, terms):
                self._noises[group_name] = _GroupNoise(terms, env)
        if not self._groups:
            raise ConfigError("the task has no observation group")

    @property
    def active_terms(self) -> dict[str, list[str]]:  # type: ignore[override]
        """Names of the terms of each group."""
        return {group: [t.name for t in terms] for group, (_, terms) in self._groups.items()}

    @property
    def group_obs_dim(self) -> dict[str, int]:
        """Width of each group when concatenated."""
        return {group: sum(t.dim for t in terms) for group, (_, terms) in self._groups.items()}

    @property
    def group_obs_concatenate(self) -> dict[str, bool]:
        """Whether each group is one tensor."""
        return {group: cfg.concatenate_terms for group, (cfg, _) in self._groups.items()}

    def terms(self, group: str) -> list[_Term]:
        """Terms of a group, for descriptions."""
        return self._groups[group][1]

    def compute(self, push_history: bool = True) -> Observations:
        """Compute all groups.

        Args:
            push_history: whether histories advance; off for a look at a state that is about to be reset.
        """
        called: dict[_Term, Tensor] = {}
        return {name: self.compute_group(name, push_history, called) for name in self._groups}

    def compute_group(
        self, name: str, push_history: bool = True, called: dict[_Term, Tensor] | None = None
    ) -> Tensor | dict[str, Tensor]:
        """Compute one group; ``called`` holds what terms of other groups got in this step."""
        cfg, terms = self._groups[name]
        noise = None if self.clean else self._noises.get(name)
        called = {} if called is None else called
        values = {term.name: term.compute(self._env, push_history, noise is None, called, self.clean) for term in terms}
        if self._env.check_terms:
            for term_name, value in values.items():
                self._env.check_finite(value, f"observation term {term_name!r} of group {name!r}")
        if not cfg.concatenate_terms:
            return values
        whole = torch.cat([v.flatten(1) for v in values.values()], dim=-1)
        if noise is not None:
            noise.add_to(whole)
        return whole

    def reset(self, env_mask: Tensor) -> None:
        """Forget histories and noise of the masked environments."""
        for _, terms in self._groups.values():
            for term in terms:
                term.reset(env_mask, self._env)
