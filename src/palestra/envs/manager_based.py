"""Environments made of managers."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from torch import Tensor

from palestra.envs.base import BaseEnv, Observations, RLEnv
from palestra.envs.env_cfg import ManagerBasedEnvCfg, ManagerBasedRLEnvCfg
from palestra.managers import (
    ActionManager,
    CommandManager,
    CurriculumManager,
    EventManager,
    ObservationManager,
    RecorderManager,
    RewardManager,
    TerminationManager,
)


class ManagerBasedEnv(BaseEnv):
    """Scene, actions, observations and events without episodes, e.g. for scripted control."""

    cfg: ManagerBasedEnvCfg

    def __init__(self, cfg: ManagerBasedEnvCfg, render_mode: str | None = None) -> None:
        super().__init__(cfg, render_mode)
        self.event_manager = EventManager(cfg.events, self)
        self.event_manager.apply("prestartup")
        self.event_manager.apply("startup")
        self.engine.refresh()
        self.action_manager = ActionManager(cfg.actions, self)
        self.observation_manager = ObservationManager(cfg.observations, self)
        self.recorder_manager = RecorderManager(cfg.recorders, self)
        self.event_manager.start()

    @property
    def num_actions(self) -> int:
        return self.action_manager.total_action_dim

    def reset(self, seed: int | None = None, env_mask: Tensor | None = None) -> tuple[Observations, dict[str, Any]]:
        """Reset the masked environments (all by default) and return observations and extras."""
        if seed is not None:
            self.rng.seed(seed)
            self.rng.begin("interval")
            self.event_manager.start()
        self.rng.advance()  # two resets in a row start differently
        mask = self.all_envs if env_mask is None else env_mask
        self.rng.begin("reset")
        self.scene.reset(mask, self.rng.integers)
        self.event_manager.apply("reset", mask)
        self.event_manager.reset(mask)
        self.action_manager.reset(mask)
        self.observation_manager.reset(mask)
        self.engine.refresh(mask)
        self.rng.begin("observation")
        return self.observation_manager.compute(), self.extras

    def step(self, action: Tensor) -> tuple[Observations, dict[str, Any]]:
        """Take one control step and return observations and extras."""
        self.rng.advance()
        self.action_manager.process_action(action)
        self.recorder_manager.record_pre_step()
        self._run_physics(False)
        self.common_step_counter += 1
        self.rng.begin("interval")
        self.event_manager.apply("interval", dt=self.step_dt)
        self.recorder_manager.record_post_step()
        self.rng.begin("observation")
        return self.observation_manager.compute(), self.extras

    def close(self) -> None:
        self.recorder_manager.close()
        super().close()

    def _apply_action(self) -> None:
        self.action_manager.apply_action()


class ManagerBasedRLEnv(RLEnv):
    """Reinforcement learning from configured terms.

    Attributes:
        event_manager, command_manager, action_manager, observation_manager, termination_manager,
            reward_manager, curriculum_manager, recorder_manager: the managers.
    """

    cfg: ManagerBasedRLEnvCfg

    def __init__(self, cfg: ManagerBasedRLEnvCfg, render_mode: str | None = None) -> None:
        super().__init__(cfg, render_mode)
        self.load_managers()

    def load_managers(self) -> None:
        """Build the managers, in the order in which they depend on each other."""
        cfg = self.cfg
        self.event_manager = EventManager(cfg.events, self)
        self.event_manager.apply("prestartup")
        self.event_manager.apply("startup")
        self.engine.refresh()
        self.command_manager = CommandManager(cfg.commands, self)
        self.action_manager = ActionManager(cfg.actions, self)
        self.observation_manager = ObservationManager(cfg.observations, self)
        self.termination_manager = TerminationManager(cfg.terminations, self)
        self.reward_manager = RewardManager(cfg.rewards, self)
        self.curriculum_manager = CurriculumManager(cfg.curriculum, self)
        self.recorder_manager = RecorderManager(cfg.recorders, self)
        manager = self.termination_manager
        self.reset_terminated, self.reset_time_outs = manager.terminated, manager.time_outs
        self.succeeded = manager.succeeded
        self.reward_buf = self.reward_manager.reward
        self.event_manager.start()

    @property
    def num_actions(self) -> int:
        return self.action_manager.total_action_dim

    @property
    def has_success(self) -> bool:
        return self.termination_manager.has_success

    @property
    def reward_groups(self) -> dict[str, str]:
        return self.reward_manager.groups

    @cached_property
    def observation_dims(self) -> dict[str, int]:
        manager = self.observation_manager
        return {g: d for g, d in manager.group_obs_dim.items() if manager.group_obs_concatenate[g]}

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        names = self.reward_manager.active_terms
        state["reward_weights"] = dict(zip(names, self.reward_manager.weights.tolist(), strict=True))
        state["commands"] = self._command_states()
        state["curriculum"] = {n: t.state_dict() for n, t in self.curriculum_manager.class_terms().items()}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        for name, weight in state.get("reward_weights", {}).items():
            if name in self.reward_manager.active_terms:
                self.reward_manager.set_weight(name, weight)
        for name, saved in state.get("commands", {}).items():
            for key, tensor in self._command_states().get(name, {}).items():
                if key in saved and saved[key].shape == tensor.shape:
                    tensor.copy_(saved[key])
        self.load_curriculum(state)

    def load_curriculum(self, state: dict[str, Any]) -> None:
        for name, saved in state.get("curriculum", {}).items():
            term = self.curriculum_manager.class_terms().get(name)
            if term is not None:
                term.load_state_dict(saved)

    def close(self) -> None:
        self.recorder_manager.close()
        super().close()

    def _command_states(self) -> dict[str, dict[str, Tensor]]:
        """Tensors of command terms that are not one row an environment: ranges that a curriculum widens."""
        manager = self.command_manager
        return {n: getattr(manager.get_term(n), "ranges_state", dict)() for n in manager.active_terms}

    def _process_action(self, action: Tensor) -> None:
        self.action_manager.process_action(action)
        self.recorder_manager.record_pre_step()

    def _apply_action(self) -> None:
        self.action_manager.apply_action()

    def _compute_dones(self, finite: Tensor) -> None:
        self.termination_manager.compute(finite)
        if self.is_finite_horizon:
            self.reset_terminated |= self.reset_time_outs
            self.reset_time_outs.zero_()

    def _compute_rewards(self, finite: Tensor) -> None:
        self.reward_manager.compute(self.step_dt, finite)
        self.recorder_manager.record_post_step()

    def _reset_envs(self, env_mask: Tensor) -> None:
        self.recorder_manager.record_pre_reset(env_mask)
        self.curriculum_manager.compute(env_mask)
        self.scene.reset(env_mask, self.rng.integers)
        self.event_manager.apply("reset", env_mask)
        for manager in (
            self.observation_manager,
            self.action_manager,
            self.reward_manager,
            self.curriculum_manager,
            self.command_manager,
            self.event_manager,
            self.termination_manager,
        ):
            manager.reset(env_mask)
        self.recorder_manager.record_post_reset(env_mask)

    def _advance_commands(self) -> None:
        self.event_manager.count_step()
        self.rng.begin("command")
        self.command_manager.compute(self.step_dt)
        self.rng.begin("interval")
        self.event_manager.apply("interval", dt=self.step_dt)

    def _compute_observations(self, push_history: bool = True) -> Observations:
        return self.observation_manager.compute(push_history)
