"""Run what happens to environments: at start-up, at reset, and from time to time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import mujoco
import torch
from torch import Tensor

from palestra.errors import ConfigError, did_you_mean
from palestra.managers.manager_base import BoundTerm, ManagerBase
from palestra.managers.term_cfg import EventTermCfg
from palestra.utils.distributions import check_range, check_ranges


class EventManager(ManagerBase):
    """All event terms of an environment, by mode.

    Attributes:
        paused: names of terms that do not run.
    """

    kind = "event"

    def __init__(self, cfg: object, env: Any) -> None:
        super().__init__(cfg, env)
        self._modes: dict[str, list[BoundTerm]] = {}
        self._time_left: dict[str, Tensor] = {}
        self._steps_since: dict[str, Tensor] = {}
        self._adjustable: dict[tuple[str, str], Tensor] = {}
        self.paused: frozenset[str] = frozenset()
        for name, term_cfg in self._term_cfgs(EventTermCfg):
            term = BoundTerm("event", name, term_cfg, env, masked=True)
            self._check_params(term)
            self._modes.setdefault(term_cfg.mode, []).append(term)
            if term_cfg.mode == "interval":
                self._time_left[name] = torch.zeros(self.num_envs, device=self.device)
                self._check_interval(name, term_cfg)
            if term_cfg.mode == "reset" and term_cfg.min_step_count_between_reset:
                self._steps_since[name] = torch.full((self.num_envs,), 2**31, dtype=torch.int64, device=self.device)

    @property
    def active_terms(self) -> dict[str, list[str]]:  # type: ignore[override]
        """Names of the terms of each mode."""
        return {mode: [t.name for t in terms] for mode, terms in self._modes.items()}

    @property
    def available_modes(self) -> list[str]:
        """Modes that have a term."""
        return list(self._modes)

    def hardware_terms(self) -> list[str]:
        """Names of terms that imitate a robot's electronics (``models_hardware``), such as encoders with a bias."""
        return [t.name for terms in self._modes.values() for t in terms if getattr(t.func, "models_hardware", False)]

    def start(self) -> None:
        """Draw the first intervals, and forget when terms last ran."""
        for steps in self._steps_since.values():
            steps.fill_(2**31)
        for term in self._modes.get("interval", []):
            self._time_left[term.name].copy_(self._draw_interval(term.cfg))

    def apply(self, mode: str, env_mask: Tensor | None = None, dt: float | None = None) -> None:
        """Run the terms of a mode.

        Args:
            mode: ``"startup"``, ``"reset"``, ``"interval"`` or a mode of the task's own.
            env_mask: environments that it concerns; all if ``None``. Ignored for ``"interval"``.
            dt: for ``"interval"``, the time since the last call (s).
        """
        mask = self._env.all_envs if env_mask is None else env_mask
        with self._env.model_edits:  # what follows from masses is recomputed once, at the end
            for term in self._modes.get(mode, []):
                if term.name in self.paused:
                    continue
                if mode == "interval":
                    self._apply_interval(term, dt or 0.0)
                elif term.name in self._steps_since:
                    self._apply_spaced(term, mask)
                else:
                    term.call_masked(mask)

    def reset(self, env_mask: Tensor) -> None:
        """Restart the clocks and class terms of the masked environments."""
        for terms in self._modes.values():
            for term in terms:
                term.reset(env_mask)
        for term in self._modes.get("interval", []):
            if not term.cfg.is_global_time:  # type: ignore[attr-defined]
                left = self._time_left[term.name]
                torch.where(env_mask, self._draw_interval(term.cfg), left, out=left)

    def count_step(self) -> None:
        """Count an environment step for ``min_step_count_between_reset``."""
        for steps in self._steps_since.values():
            steps += 1

    def get_term_cfg(self, name: str) -> EventTermCfg:
        """Return the configuration of a term."""
        return self._find(name).cfg  # type: ignore[return-value]

    def set_term_cfg(self, name: str, cfg: EventTermCfg) -> None:
        """Change the parameters of a term."""
        term = self._find(name)
        term.rebind(cfg)
        self._check_params(term)
        for (owner, parameter), tensor in self._adjustable.items():
            if owner == name:
                key, _, part = parameter.partition(".")
                value = term.params[key][part] if part else term.params[key]
                if value is not tensor:
                    tensor.copy_(torch.as_tensor(value, dtype=torch.float32).expand_as(tensor))
                    self._install(term, parameter, tensor)

    def adjustable_range(self, name: str, parameter: str, per_env: bool = False) -> Tensor:
        """Return a range of a term as a device tensor, which all later draws read, those of a captured step too.

        Args:
            name: the term.
            parameter: the range, e.g. ``"mass_distribution_params"`` or ``"velocity_range.x"``.
            per_env: whether each environment has a range of its own, ``(num_envs, 2)`` instead of ``(2,)``.

        Raises:
            ConfigError: no such term or range, or it is already adjustable in the other form.
        """
        term = self._find(name)
        key, _, part = parameter.partition(".")
        if key not in term.params:
            raise ConfigError(f"{term.label}: no parameter {key!r}; {did_you_mean(key, term.params)}")
        value = term.params[key]
        if part:
            if not isinstance(value, dict) or part not in value:
                known = value if isinstance(value, dict) else ()
                raise ConfigError(f"{term.label}: {key} has no range {part!r}; {did_you_mean(part, known)}")
            value = value[part]
        tensor = self._adjustable.get((name, parameter))
        shape = (self.num_envs, 2) if per_env else (2,)
        if tensor is None:
            try:
                check_range(parameter, value, term.params.get("distribution", "uniform"))
            except ConfigError as error:
                raise ConfigError(f"{term.label}: {error}") from None
            tensor = torch.as_tensor(value, dtype=torch.float32, device=self.device).expand(shape).clone()
            self._adjustable[(name, parameter)] = tensor
            self._install(term, parameter, tensor)
        if tensor.shape != shape:
            raise ConfigError(f"{term.label}: {parameter} is already adjusted by another curriculum term")
        return tensor

    @staticmethod
    def _install(term: BoundTerm, parameter: str, tensor: Tensor) -> None:
        key, _, part = parameter.partition(".")
        term.params = {**term.params, key: {**term.params[key], part: tensor} if part else tensor}

    @staticmethod
    def _check_params(term: BoundTerm) -> None:
        try:
            check_ranges(term.params)
        except ConfigError as error:
            raise ConfigError(f"{term.label}: {error}") from None

    def state(self) -> dict[str, Tensor]:
        """Clocks, for checkpoints."""
        return {**{f"left/{k}": v for k, v in self._time_left.items()}, **self._steps_since}

    def _find(self, name: str) -> BoundTerm:
        for terms in self._modes.values():
            for term in terms:
                if term.name == name:
                    return term
        raise ConfigError(f"no event term {name!r}; known: {self.active_terms}")

    def _apply_interval(self, term: BoundTerm, dt: float) -> None:
        left = self._time_left[term.name]
        left -= dt
        due = left <= 1e-6
        torch.where(due, self._draw_interval(term.cfg), left, out=left)
        term.call_masked(due)

    def _apply_spaced(self, term: BoundTerm, env_mask: Tensor) -> None:
        steps = self._steps_since[term.name]
        due = env_mask & (steps >= term.cfg.min_step_count_between_reset)  # type: ignore[attr-defined]
        steps.masked_fill_(due, 0)
        term.call_masked(due)

    def _draw_interval(self, cfg: Any) -> Tensor:
        low, high = cfg.interval_range_s
        if cfg.is_global_time:
            return self._env.rng.uniform(low, high, ())[:1].expand(self.num_envs)
        return self._env.rng.uniform(low, high, ())

    @staticmethod
    def _check_interval(name: str, cfg: EventTermCfg) -> None:
        limits = cfg.interval_range_s
        if limits is None or not 0.0 < limits[0] <= limits[1]:
            allowed = "(low, high), 0 < low <= high"
            raise ConfigError(f"event term {name!r}: interval_range_s is {limits}; it must be {allowed}")


def event_spec_edits(events: object) -> list[Callable[[mujoco.MjSpec], None]]:
    """Return what event terms need of the scene's spec before it is compiled.

    A class of terms may have a static method ``edit_spec(spec, params)``, for what cannot differ between environments,
    such as the priority of a geom's friction.
    """
    items = events if isinstance(events, dict) else vars(events) if events is not None else {}
    return [
        functools.partial(_edit_spec, edit, term.params)
        for term in items.values()
        if isinstance(term, EventTermCfg) and (edit := getattr(term.func, "edit_spec", None)) is not None
    ]


def _edit_spec(edit: Callable[..., None], params: dict[str, Any], spec: mujoco.MjSpec) -> None:
    edit(spec, params)
