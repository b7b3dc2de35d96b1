"""Curriculum terms ``(env, env_mask, …)``: they run at reset, and what they return is logged."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palestra.errors import ConfigError, did_you_mean
from palestra.managers import CurriculumTermCfg, ManagerTermBase

if TYPE_CHECKING:
    from palestra.envs.manager_based import ManagerBasedRLEnv

__all__ = ["modify_reward_weight", "modify_term_cfg"]


def modify_reward_weight(
    env: ManagerBasedRLEnv, env_mask: Tensor, term_name: str, weight: float, num_steps: int
) -> Tensor:
    """Give a reward term another weight once the environment has taken more than ``num_steps`` steps.

    Runs on the device: counter and weight are tensors, so a captured step needs no new capture.

    Args:
        env: the environment.
        env_mask: environments that are reset (not used: the weight is common to all).
        term_name: the reward term.
        weight: its weight from then on.
        num_steps: environment steps, each counted once for all environments.

    Returns:
        The weight that holds, 0-dim.
    """
    manager = env.reward_manager
    present = manager.get_weight(term_name)
    reached = torch.gt(env.common_step_counter, num_steps)
    manager.set_weight(term_name, torch.where(reached, weight, present))
    return present


class modify_term_cfg(ManagerTermBase):  # noqa: N801 - a term, named like the functions
    """Change one value in the configuration of a term, by a function of the user's.

    The function runs on the host at every reset; an environment that has this term is not captured. For a
    change inside a captured step write device tensors instead (``RewardManager.set_weight``, the ``ranges``
    of a command term).
    """

    class NoChange:
        """Type of ``modify_term_cfg.NO_CHANGE``."""

    NO_CHANGE = NoChange()
    """Returned by ``modify_fn`` to leave the value as it is."""

    def __init__(self, cfg: CurriculumTermCfg, env: ManagerBasedRLEnv) -> None:
        super().__init__(cfg, env)
        env.note_eager_term(f"curriculum modify_term_cfg of {cfg.params.get('address')!r}", warn=False)
        self._found: _Target | None = None
        self._changed = False

    def __call__(
        self,
        env: ManagerBasedRLEnv,
        env_mask: Tensor,
        address: str,
        modify_fn: Callable[..., Any],
        modify_params: dict[str, Any] | None = None,
    ) -> None:
        """Call ``modify_fn(env, env_mask, old_value, **modify_params)`` and store what it returns.

        Args:
            env: the environment.
            env_mask: environments that are reset, bool ``(num_envs,)``.
            address: ``"<manager>.<term>.<field>…"``, e.g. ``"rewards.track.params.std"``,
                ``"events.push.params.velocity_range"``, ``"commands.base_velocity.ranges.lin_vel_x"`` or
                ``"observations.policy.joint_pos.noise.n_max"``.
            modify_fn: returns the new value, or ``modify_term_cfg.NO_CHANGE``.
            modify_params: further arguments of ``modify_fn``.
        """
        target = self._target(address)
        new = modify_fn(env, env_mask, target.value, **(modify_params or {}))
        if new is not self.NO_CHANGE:
            target.assign(new)
            self._changed = True

    def state_dict(self) -> dict[str, Any]:
        """Return the value that holds, if it was ever changed."""
        return {"value": self._target(self.cfg.params["address"]).value} if self._changed else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the value that held when :meth:`state_dict` was taken."""
        if "value" in state:
            self._target(self.cfg.params["address"]).assign(state["value"])
            self._changed = True

    def _target(self, address: str) -> _Target:
        """Look the address up at first use, when all managers exist."""
        if self._found is None:
            self._found = _Target(self._env, address)
        return self._found


class _Target:
    """A field in the configuration of a manager's term, and how the term learns of a change."""

    def __init__(self, env: ManagerBasedRLEnv, address: str) -> None:
        self._where = f"address {address!r}"
        manager, *path = address.split(".")
        finders: dict[str, Callable[[list[str]], tuple[object, Callable[[], None], list[str]]]] = {
            "rewards": lambda rest: self._plain(env.reward_manager, rest),
            "terminations": lambda rest: self._plain(env.termination_manager, rest),
            "events": lambda rest: self._plain(env.event_manager, rest),
            "curriculum": lambda rest: self._plain(env.curriculum_manager, rest),
            "commands": lambda rest: self._command(env, rest),
            "observations": lambda rest: self._observation(env, rest),
        }
        if manager not in finders:
            raise ConfigError(f"{self._where}: no manager {manager!r}; {did_you_mean(manager, finders)}")
        holder, self._announce, fields = finders[manager](path)
        if not fields:
            raise ConfigError(f"{self._where} names a term; it must go on to a field, such as '.params.std'")
        for name in fields[:-1]:
            holder = self._get(holder, name)
        self._holder, self._field = holder, fields[-1]
        self._get(holder, self._field)

    @property
    def value(self) -> Any:
        """The present value."""
        return self._get(self._holder, self._field)

    def assign(self, value: Any) -> None:
        """Store a value and tell the term."""
        if isinstance(self._holder, dict):
            self._holder[self._field] = value
        else:
            setattr(self._holder, self._field, value)
        self._announce()

    def _get(self, holder: Any, name: str) -> Any:
        fields = holder if isinstance(holder, dict) else vars(holder)
        if name not in fields:
            raise ConfigError(f"{self._where}: no field {name!r}; {did_you_mean(name, fields)}")
        return fields[name]

    def _plain(self, manager: Any, rest: list[str]) -> tuple[object, Callable[[], None], list[str]]:
        name = self._next(rest, "a term")
        cfg = manager.get_term_cfg(name)
        return cfg, lambda: manager.set_term_cfg(name, cfg), rest[1:]

    def _command(self, env: ManagerBasedRLEnv, rest: list[str]) -> tuple[object, Callable[[], None], list[str]]:
        term = env.command_manager.get_term(self._next(rest, "a term"))
        return term.cfg, getattr(term, "apply_cfg", lambda: None), rest[1:]

    def _observation(self, env: ManagerBasedRLEnv, rest: list[str]) -> tuple[object, Callable[[], None], list[str]]:
        group = self._next(rest, "a group and a term")
        groups = env.observation_manager.active_terms
        if group not in groups:
            raise ConfigError(f"{self._where}: no observation group {group!r}; {did_you_mean(group, groups)}")
        name = self._next(rest[1:], "a term")
        terms = {term.name: term for term in env.observation_manager.terms(group)}
        if name not in terms:
            raise ConfigError(f"{self._where}: no observation term {name!r}; {did_you_mean(name, terms)}")
        if rest[2:3] not in (["params"], ["noise"], ["clip"]):
            raise ConfigError(f"{self._where}: of an observation, 'params', 'noise' and 'clip' can change")
        term = terms[name]
        return term.cfg, lambda: term.bound.rebind(term.cfg), rest[2:]

    def _next(self, rest: list[str], what: str) -> str:
        if not rest or not rest[0]:
            raise ConfigError(f"{self._where} must go on to {what}")
        return rest[0]
