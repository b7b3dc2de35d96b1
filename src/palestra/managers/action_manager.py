"""Split the policy's action among action terms and remember the last two."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palestra.errors import ConfigError
from palestra.managers.manager_base import ManagerBase, ManagerTermBase
from palestra.managers.term_cfg import ActionTermCfg

if TYPE_CHECKING:
    from palestra.envs.mdp.sensing import JointTargets


class ActionTerm(ManagerTermBase, ABC):
    """Turns a slice of the action into targets of an asset."""

    def __init__(self, cfg: ActionTermCfg, env: Any) -> None:
        super().__init__(cfg, env)
        self._asset = env.scene[cfg.asset_name]

    @property
    @abstractmethod
    def action_dim(self) -> int:
        """Width of the slice."""

    @property
    @abstractmethod
    def raw_actions(self) -> Tensor:
        """What the policy sent, ``(num_envs, action_dim)``."""

    @property
    @abstractmethod
    def processed_actions(self) -> Tensor:
        """What is applied, in the units of the targets."""

    @abstractmethod
    def process_actions(self, actions: Tensor) -> None:
        """Take the actions of a control step."""

    @abstractmethod
    def apply_actions(self) -> None:
        """Set targets; called before each call of the engine."""

    def io_descriptor(self) -> dict[str, Any]:
        """Describe the slice for export and deployment."""
        return {"entries": [str(i) for i in range(self.action_dim)], "units": "1"}

    def targets(self) -> JointTargets | None:
        """Return what the term commands as a function of tensors, for export; None if it has none."""
        return None

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Action terms are not called."""
        raise TypeError("an action term is driven by process_actions and apply_actions")


class ActionManager(ManagerBase):
    """All action terms of an environment."""

    kind = "action"

    def __init__(self, cfg: object, env: Any) -> None:
        super().__init__(cfg, env)
        self._terms: dict[str, ActionTerm] = {
            name: term_cfg.class_type(term_cfg, env) for name, term_cfg in self._term_cfgs(ActionTermCfg)
        }
        self._slices: dict[str, slice] = {}
        start = 0
        for name, term in self._terms.items():
            self._slices[name] = slice(start, start + term.action_dim)
            start += term.action_dim
        if start == 0:
            raise ConfigError("the task has no action term")
        self._action = torch.zeros(self.num_envs, start, device=self.device)
        self._prev_action = torch.zeros_like(self._action)

    @property
    def active_terms(self) -> list[str]:
        return list(self._terms)

    @property
    def total_action_dim(self) -> int:
        """Width of the whole action."""
        return self._action.shape[1]

    @property
    def action_term_dim(self) -> list[int]:
        """Width of each term."""
        return [term.action_dim for term in self._terms.values()]

    @property
    def action(self) -> Tensor:
        """The last action, ``(num_envs, total_action_dim)``."""
        return self._action

    @property
    def prev_action(self) -> Tensor:
        """The one before."""
        return self._prev_action

    def get_term(self, name: str) -> ActionTerm:
        """Return a term by name."""
        if name not in self._terms:
            raise self._unknown(name)
        return self._terms[name]

    def slices(self) -> dict[str, slice]:
        """Where each term lies in the action."""
        return dict(self._slices)

    def process_action(self, action: Tensor) -> None:
        """Take the action of a control step, ``(num_envs, total_action_dim)``.

        Raises:
            ConfigError: the shape is wrong.
        """
        if action.shape != self._action.shape:
            raise ConfigError(f"the action has shape {tuple(action.shape)}; it must be {tuple(self._action.shape)}")
        self._prev_action.copy_(self._action)
        self._action.copy_(action)
        delay = self._env.action_delay
        arrived = self._action if delay is None else delay.compute(self._action)
        for name, term in self._terms.items():
            term.process_actions(arrived[:, self._slices[name]])

    def apply_action(self) -> None:
        """Set the targets of all terms."""
        for term in self._terms.values():
            term.apply_actions()

    def reset(self, env_mask: Tensor) -> None:
        """Zero the remembered actions of the masked environments."""
        mask = env_mask.unsqueeze(-1)
        self._action.masked_fill_(mask, 0.0)
        self._prev_action.masked_fill_(mask, 0.0)
        for term in self._terms.values():
            term.reset(env_mask)
