"""Reward terms made of other terms: the exponential of an error, and products."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palestra.errors import ConfigError
from palestra.managers import ManagerTermBase, ManagerTermBaseCfg, RewardTermCfg
from palestra.managers.manager_base import BoundTerm

if TYPE_CHECKING:
    from palestra.envs.manager_based import ManagerBasedRLEnv

__all__ = ["exp_kernel", "product"]


class exp_kernel(ManagerTermBase):  # noqa: N801 - a term, named like the functions
    """Reward in (0, 1] for a small error: exp(-value / std²) of another term's value.

    The other term is a squared error, such as ``base_height_l2``, and ``std`` has the unit of the error itself: at an
    error of ``std`` the reward is 1/e. Of a term that can be negative the reward exceeds 1.
    """

    def __init__(self, cfg: RewardTermCfg, env: ManagerBasedRLEnv) -> None:
        super().__init__(cfg, env)
        _check_std(cfg.params)
        self._term = _bind("kernel of", self._inner(cfg), env)

    def __call__(
        self,
        env: ManagerBasedRLEnv,
        std: float,
        func: Callable[..., Any],
        params: dict[str, Any] | None = None,
    ) -> Tensor:
        """Compute the reward.

        Args:
            env: the environment.
            std: width of the kernel, in the unit of the error.
            func: the other term: a function or class whose value is a squared error, ``(num_envs,)``.
            params: its parameters; ``SceneEntityCfg`` values are resolved at start.

        Returns:
            The reward, ``(num_envs,)``.
        """
        return torch.exp(self._term() / -(std**2))

    def reset(self, env_mask: Tensor) -> None:
        self._term.reset(env_mask)

    def rebind(self, cfg: RewardTermCfg) -> None:
        _check_std(cfg.params)
        _rebind(self._term, self._inner(cfg))

    @staticmethod
    def _inner(cfg: RewardTermCfg) -> ManagerTermBaseCfg:
        func = _required(cfg.params, "func", "func, params, std")
        params = cfg.params.get("params") or {}
        if not isinstance(params, Mapping):
            raise ConfigError(f"params is {params!r}; it must be a dictionary, {{parameter: value}}")
        return ManagerTermBaseCfg(func=func, params=dict(params))


class product(ManagerTermBase):  # noqa: N801 - a term, named like the functions
    """Product of other terms, so that each counts only as far as the others do: tracking × upright, say."""

    def __init__(self, cfg: RewardTermCfg, env: ManagerBasedRLEnv) -> None:
        super().__init__(cfg, env)
        factors = _factors(cfg.params)
        self._terms = {name: _bind(f"factor {name!r},", factor, env) for name, factor in factors.items()}

    def __call__(self, env: ManagerBasedRLEnv, factors: Mapping[str, ManagerTermBaseCfg]) -> Tensor:
        """Compute the product.

        Args:
            env: the environment.
            factors: terms by a name of your choice, each ``(num_envs,)``; ``None`` removes one.

        Returns:
            The product, ``(num_envs,)``.
        """
        first, *others = self._terms.values()
        value = first()
        for term in others:
            value = value * term()
        return value

    def reset(self, env_mask: Tensor) -> None:
        for term in self._terms.values():
            term.reset(env_mask)

    def rebind(self, cfg: RewardTermCfg) -> None:
        factors = _factors(cfg.params)
        if list(factors) != list(self._terms):
            raise ConfigError(f"factors are {list(factors)}; a running environment keeps {list(self._terms)}")
        for name, factor in factors.items():
            _rebind(self._terms[name], copy.copy(factor))


def _bind(what: str, cfg: ManagerTermBaseCfg, env: ManagerBasedRLEnv) -> BoundTerm:
    name = getattr(cfg.func, "__name__", repr(cfg.func))
    return BoundTerm(what, name, copy.copy(cfg), env, masked=False)


def _rebind(term: BoundTerm, cfg: ManagerTermBaseCfg) -> None:
    if cfg.func is not term.cfg.func:
        raise ConfigError(f"{term.label}: func cannot change in a running environment")
    term.rebind(cfg)


def _factors(params: Mapping[str, Any]) -> dict[str, ManagerTermBaseCfg]:
    given = _required(params, "factors", "factors")
    factors = {n: f for n, f in given.items() if f is not None} if isinstance(given, Mapping) else {}
    if not factors:
        raise ConfigError(f"factors is {given!r}; it must be {{name: ManagerTermBaseCfg}} with one or more")
    for name, factor in factors.items():
        if isinstance(factor, RewardTermCfg):
            raise ConfigError(
                f"factor {name!r} is a RewardTermCfg, whose weight would not count; use ManagerTermBaseCfg"
            )
        if not isinstance(factor, ManagerTermBaseCfg):
            raise ConfigError(f"factor {name!r} is a {type(factor).__name__}; it must be a ManagerTermBaseCfg")
    return factors


def _check_std(params: Mapping[str, Any]) -> None:
    std = _required(params, "std", "func, params, std")
    number = isinstance(std, int | float) and not isinstance(std, bool)
    if not number or not 0.0 < std < math.inf:
        raise ConfigError(f"std is {std!r}; it must be a positive number")


def _required(params: Mapping[str, Any], name: str, allowed: str) -> Any:
    if name not in params:
        raise ConfigError(f"parameter {name!r} is missing; it takes {allowed}")
    return params[name]
