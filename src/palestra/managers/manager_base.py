"""Base of managers and of class terms; binding of terms to their parameters."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palestra.errors import ConfigError, PalestraError, did_you_mean
from palestra.managers.scene_entity_cfg import SceneEntityCfg

if TYPE_CHECKING:
    from palestra.envs.base import BaseEnv
    from palestra.managers.term_cfg import ManagerTermBaseCfg


class ManagerTermBase:
    """A term with a memory of its own; ``__call__`` has the signature of a term function."""

    def __init__(self, cfg: Any, env: Any) -> None:
        self.cfg = cfg
        self._env = env

    @property
    def num_envs(self) -> int:
        """Number of environments."""
        return self._env.num_envs

    @property
    def device(self) -> torch.device:
        """Device of all tensors."""
        return self._env.device

    def reset(self, env_mask: Tensor) -> None:
        """Forget the past of the masked environments."""

    def rebind(self, cfg: Any) -> None:
        """Take from a changed configuration what :meth:`__call__` is not given anyway."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the term."""
        raise NotImplementedError


class BoundTerm:
    """A term function with its resolved parameters.

    Attributes:
        name: name of the term.
        label: its kind and name, for messages.
        params: resolved keyword arguments, the function's defaults included.
    """

    def __init__(self, kind: str, name: str, cfg: ManagerTermBaseCfg, env: BaseEnv, masked: bool) -> None:
        self.kind, self.name, self.cfg, self._env = kind, name, cfg, env
        self.label = where = f"{kind} term {name!r}"
        func = cfg.func
        if inspect.isclass(func):
            if not issubclass(func, ManagerTermBase):
                raise ConfigError(f"{where}: class {func.__name__} must derive from ManagerTermBase")
            cfg.params = self._resolve(cfg.params, where)
            with _named(where):
                func = func(cfg, env)
        elif not callable(func):
            raise ConfigError(f"{where}: func is {func!r}; it must be a function or a class of terms")
        self.func: Callable[..., Any] = func
        signature = inspect.signature(func)
        leading = list(signature.parameters)[: 2 if masked else 1]
        self.takes_ids = masked and len(leading) == 2 and leading[1] == "env_ids"
        self.params = self._bind(signature, leading, where)
        if self.takes_ids:
            env.note_eager_term(where)

    def __call__(self) -> Any:
        """Call ``func(env, **params)``."""
        return self.func(self._env, **self.params)

    def call_masked(self, env_mask: Tensor) -> Any:
        """Call ``func(env, env_mask, **params)``, or with ids where the function asks for them."""
        if not self.takes_ids:
            return self.func(self._env, env_mask, **self.params)
        ids = env_mask.nonzero().flatten()
        return self.func(self._env, ids, **self.params) if len(ids) else None

    def reset(self, env_mask: Tensor) -> None:
        """Reset a class term."""
        if isinstance(self.func, ManagerTermBase):
            self.func.reset(env_mask)

    def rebind(self, cfg: ManagerTermBaseCfg) -> None:
        """Take the parameters of a changed configuration."""
        self._check_names(cfg.params, self.label)
        if isinstance(self.func, ManagerTermBase):
            with _named(self.label):
                self.func.rebind(cfg)
        self.cfg = cfg
        self.params = {**self.params, **self._resolve(cfg.params, self.label)}

    def _bind(self, signature: inspect.Signature, leading: list[str], where: str) -> dict[str, Any]:
        accepted = {n: p for n, p in signature.parameters.items() if n not in leading}
        named = {n: p for n, p in accepted.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        open_ended = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
        self._known = None if open_ended else list(named)
        self._check_names(self.cfg.params, where)
        params = {n: p.default for n, p in named.items() if p.default is not p.empty} | self.cfg.params
        missing = [n for n in named if n not in params]
        if missing:
            raise ConfigError(f"{where}: parameter {missing[0]!r} is missing; it takes {', '.join(named)}")
        return self._resolve(params, where)

    def _check_names(self, params: dict[str, Any], where: str) -> None:
        for key in params:
            if self._known is not None and key not in self._known:
                raise ConfigError(f"{where}: no parameter {key!r}; {did_you_mean(key, self._known)}")

    def _resolve(self, params: dict[str, Any], where: str) -> dict[str, Any]:
        resolved = {}
        for key, value in params.items():
            if isinstance(value, SceneEntityCfg):
                value = copy.copy(value)
                try:
                    value.resolve(self._env.scene)
                except PalestraError as error:
                    raise ConfigError(f"{where}, {key}: {error}") from None
            resolved[key] = value
        return resolved


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Let complaints about a configuration begin with the term's name."""
    try:
        yield
    except ConfigError as error:
        text = str(error)
        raise ConfigError(text if text.startswith(where) else f"{where}: {text}") from None


class ManagerBase:
    """A manager owns the terms of one configuration object.

    Attributes:
        kind: what its terms are, for messages.
    """

    kind = "manager"

    def __init__(self, cfg: object, env: Any) -> None:
        self.cfg, self._env = cfg, env
        self.num_envs, self.device = env.num_envs, env.device

    @property
    def active_terms(self) -> list[str]:
        """Names of the terms, in order."""
        raise NotImplementedError

    def _term_cfgs(self, kind: type, cfg: object | None = None) -> Iterator[tuple[str, Any]]:
        """Iterate over the attributes of a configuration that are terms; ``None`` removes a term."""
        source = self.cfg if cfg is None else cfg
        if source is None:
            return
        items = source if isinstance(source, dict) else vars(source)  # also what was added after its making
        for name, value in items.items():
            if value is None or name.startswith("_"):
                continue
            if not isinstance(value, kind):
                if dataclasses.is_dataclass(source) and name in _own_fields(source):
                    continue
                found = type(value).__name__
                raise ConfigError(f"{self.kind} term {name!r} is a {found}; it must be a {kind.__name__}")
            yield name, copy.copy(value)

    def _unknown(self, name: str) -> ConfigError:
        return ConfigError(f"no {self.kind} term {name!r}: {did_you_mean(name, self.active_terms)}")


def _own_fields(source: object) -> set[str]:
    """Fields that a base class of Palestra declares, such as a group's settings, which are no terms."""
    return {
        name
        for cls in type(source).__mro__
        if cls.__module__.startswith("palestra.managers.")
        for name in getattr(cls, "__dataclass_fields__", {})
    }


def with_defaults(term: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a class of masked terms, with the defaults of its ``__call__``.

    Raises:
        ConfigError: one is missing.
    """
    parameters = list(inspect.signature(term.__call__).parameters.items())[3:]  # after self, env, env_mask
    known = dict(given)
    for name, parameter in parameters:
        if name not in known:
            if parameter.default is parameter.empty:
                allowed = ", ".join(name for name, _ in parameters)
                raise ConfigError(f"parameter {name!r} is missing; it takes {allowed}")
            known[name] = parameter.default
    return known


def warn_eager(where: str) -> None:
    """Tell once that a term takes ids instead of a mask."""
    warnings.warn(
        f"{where} takes env_ids: its environment steps eagerly (a host sync each step, no CUDA graph); "
        "name the parameter env_mask and write with torch.where to avoid it",
        stacklevel=2,
    )
