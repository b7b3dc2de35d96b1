"""Environments written as one class: override the hooks, keep the arithmetic in view."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palestra.envs.base import Observations, RLEnv
from palestra.envs.env_cfg import DirectRLEnvCfg
from palestra.errors import ConfigError
from palestra.managers import EventManager

if TYPE_CHECKING:
    from palestra.envs.mdp.sensing import Computation, JointTargets


class DirectRLEnv(RLEnv):
    """Reinforcement learning from overridden methods.

    Hooks: ``_setup_scene``, ``_pre_physics_step``, ``_apply_action``, ``_get_observations``, ``_get_states``,
    ``_get_rewards``, ``_get_dones``, and ``_reset_mask`` (or Isaac Lab's ``_reset_idx``, which needs the host).

    Attributes:
        actions: the last actions, ``(num_envs, action_space)``.
    """

    cfg: DirectRLEnvCfg

    def __init__(self, cfg: DirectRLEnvCfg, render_mode: str | None = None) -> None:
        super().__init__(cfg, render_mode)
        self.actions = torch.zeros(self.num_envs, cfg.action_space, device=self.device)
        self._takes_ids = type(self)._reset_idx is not DirectRLEnv._reset_idx
        if self._takes_ids:
            self.note_eager_term(f"{type(self).__name__}._reset_idx")
        self.event_manager = EventManager(cfg.events, self)
        self.event_manager.apply("prestartup")
        self.event_manager.apply("startup")
        self.event_manager.start()
        self.engine.refresh()
        self._termination_log = self.log.add_episode_group(
            [f"Episode_Termination/{name}" for name in ("terminated", "time_out", "diverged")]
        )
        self._diverged = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        self._gauges: dict[str, int] = {}

    # -- hooks ---------------------------------------------------------------------------------------------

    def _pre_physics_step(self, actions: Tensor) -> None:
        """Take the actions of a control step."""

    def _get_observations(self) -> dict[str, Tensor]:
        """Return observation groups, ``{"policy": (num_envs, observation_space)}``."""
        raise NotImplementedError

    def observations_from_sensors(self) -> dict[str, Computation]:
        """Return how a robot computes observation groups from its sensors, for export; by default none is declared."""
        return {}

    def targets(self) -> list[JointTargets]:
        """Return what the whole action commands as functions of tensors, for export; by default none is declared."""
        return []

    def _get_states(self) -> Tensor | None:
        """Return what only the critic sees, ``(num_envs, state_space)``."""
        return None

    def _get_rewards(self) -> Tensor:
        """Return the rewards, ``(num_envs,)``."""
        raise NotImplementedError

    def _get_dones(self) -> tuple[Tensor, Tensor]:
        """Return which environments terminate and which time out, bool ``(num_envs,)`` each."""
        raise NotImplementedError

    def _get_success(self) -> Tensor | None:
        """Return which environments end with success, bool ``(num_envs,)``, if the task defines it."""
        return None

    def _reset_mask(self, env_mask: Tensor) -> None:
        """Reset the masked environments; call the base method first, then write states."""
        self.scene.reset(env_mask, self.rng.integers)
        self.event_manager.apply("reset", env_mask)
        self.event_manager.reset(env_mask)
        self.actions.masked_fill_(env_mask.unsqueeze(-1), 0.0)

    def _reset_idx(self, env_ids: Sequence[int] | Tensor | None) -> None:
        """Reset environments by index, as Isaac Lab's tasks do; call the base method first."""
        if env_ids is None:
            DirectRLEnv._reset_mask(self, self.all_envs)
            return
        mask = torch.zeros_like(self.all_envs)
        mask[torch.as_tensor(env_ids, device=self.device)] = True
        DirectRLEnv._reset_mask(self, mask)

    # -- the parts of a step -------------------------------------------------------------------------------

    @property
    def num_actions(self) -> int:
        return self.cfg.action_space

    @property
    def has_success(self) -> bool:
        return type(self)._get_success is not DirectRLEnv._get_success

    @cached_property
    def observation_dims(self) -> dict[str, int]:
        dims = {"policy": self.cfg.observation_space}
        if self.cfg.state_space:
            dims["critic"] = self.cfg.state_space
        return dims

    @property
    def _action_every_substep(self) -> bool:
        return self.cfg.action_every_substep

    def _process_action(self, action: Tensor) -> None:
        if action.shape != self.actions.shape:
            raise ConfigError(f"the action has shape {tuple(action.shape)}; it must be {tuple(self.actions.shape)}")
        self.actions.copy_(action if self.action_delay is None else self.action_delay.compute(action))
        self._pre_physics_step(self.actions)

    def _compute_dones(self, finite: Tensor) -> None:
        terminated, time_outs = self._get_dones()
        torch.logical_not(finite, out=self._diverged)
        self.reset_terminated.copy_(terminated | self._diverged)
        self.reset_time_outs.copy_(time_outs & ~self.reset_terminated)
        if self.is_finite_horizon:
            self.reset_terminated |= self.reset_time_outs
            self.reset_time_outs.zero_()
        success = self._get_success()
        if success is not None:
            self.succeeded.copy_(success)

    def _compute_rewards(self, finite: Tensor) -> None:
        reward = self._get_rewards()
        if self.check_terms:
            self.check_finite(reward, f"{type(self).__name__}._get_rewards")
        self.reward_buf.copy_(torch.where(finite, reward, 0.0))

    def _reset_envs(self, env_mask: Tensor) -> None:
        causes = torch.stack((self.reset_terminated & ~self._diverged, self.reset_time_outs, self._diverged))
        self.log.episode_rows(self._termination_log).copy_(causes)
        for name, value in self.extras.get("log", {}).items():
            if name not in self._gauges:
                self._gauges[name] = self.log.add_gauge(name)
            self.log.set_gauge(self._gauges[name], torch.as_tensor(value, device=self.device).float().mean())
        if self._takes_ids:
            ids = env_mask.nonzero().flatten()
            if len(ids):
                self._reset_idx(ids)
        else:
            self._reset_mask(env_mask)

    def _advance_commands(self) -> None:
        self.event_manager.count_step()
        self.rng.begin("interval")
        self.event_manager.apply("interval", dt=self.step_dt)

    def _compute_observations(self, push_history: bool = True) -> Observations:
        observations: dict[str, Any] = dict(self._get_observations())
        states = self._get_states()
        if states is not None:
            observations["critic"] = states
        if self.check_terms:
            for name, value in observations.items():
                self.check_finite(value, f"{type(self).__name__} observation {name!r}")
        for name, width in self.observation_dims.items():
            if observations[name].shape[1:] != (width,):
                raise ConfigError(
                    f"{type(self).__name__} observation {name!r} has width {tuple(observations[name].shape[1:])}; "
                    f"the configuration says {width}"
                )
        return observations
