"""skrl's PPO agents, with what comes after an episode's end taken from where it belongs.

An environment that ends is reset in the same step, so that the observation after an end is the next episode's. skrl
would take V of that for the value of what a time limit cut off. These agents hand skrl the true last observation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from skrl.agents.torch.ppo import PPO as _PPO
from skrl.agents.torch.ppo import PPO_RNN as _PPO_RNN
from torch import Tensor

from palestra.integrations.skrl.wrapper import TERMINAL_OBSERVATIONS, TERMINAL_STATES


class PPO(_PPO):
    """skrl's PPO on environments that reset themselves.

    Attributes:
        after_update: called after each update, with the agent's step count as skrl's trackers have it.
    """

    after_update: Callable[[int], None] | None = None

    def record_transition(self, **transition: Any) -> None:
        """Record a step; see skrl's :meth:`Agent.record_transition`."""
        transition = with_true_next(transition)
        if not self.cfg.time_limit_bootstrap:  # or skrl takes a time-out for no end at all
            transition["terminated"] = transition["terminated"] | transition["truncated"]
        super().record_transition(**transition)

    def post_interaction(self, *, timestep: int, timesteps: int) -> None:
        """Update if the rollout is complete, and report it."""
        super().post_interaction(timestep=timestep, timesteps=timesteps)
        _report(self, timestep)


class PPO_RNN(_PPO_RNN):  # noqa: N801 - skrl's name
    """skrl's PPO for recurrent models, on environments that reset themselves.

    Three things differ from skrl 2.1's: the memory gets the policy's state from before a step, not from after it; a
    time-out ends an episode in the advantages, too; and what would have come after it is V of the true last
    observation with the recurrent state that led there, not V of the one before.
    """

    after_update: Callable[[int], None] | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._bootstraps, self.cfg.time_limit_bootstrap = self.cfg.time_limit_bootstrap, False
        self._shape_rewards, self.cfg.rewards_shaper = self.cfg.rewards_shaper, self._shape_and_bootstrap
        self._beyond: Tensor | None = None

    def act(self, observations: Tensor, states: Tensor | None, **steps: Any) -> tuple[Tensor, dict[str, Any]]:
        """Act; see skrl's :meth:`Agent.act`."""
        self._rnn_final_states = dict(self._rnn_final_states)  # skrl lets it be the initial states' own dictionary
        return super().act(observations, states, **steps)

    def record_transition(self, **transition: Any) -> None:
        """Record a step; see skrl's :meth:`Agent.record_transition`."""
        transition = with_true_next(transition)
        self._beyond = None
        truncated = transition["truncated"]
        if self.training and self._bootstraps and truncated.any():
            self._beyond = self.cfg.discount_factor * self._value_after(transition) * truncated
        transition["terminated"] = transition["terminated"] | truncated
        super().record_transition(**transition)

    def post_interaction(self, *, timestep: int, timesteps: int) -> None:
        """Update if the rollout is complete, and report it."""
        super().post_interaction(timestep=timestep, timesteps=timesteps)
        _report(self, timestep)

    def forget(self) -> None:
        """Let the recurrent states start anew."""
        for states in self._rnn_initial_states.values():
            for state in states:
                state.zero_()

    def _shape_and_bootstrap(self, rewards: Tensor, timestep: int, timesteps: int) -> Tensor:
        if self._shape_rewards is not None:
            rewards = self._shape_rewards(rewards, timestep, timesteps)
        return rewards if self._beyond is None else rewards + self._beyond

    def _value_after(self, transition: dict[str, Any]) -> Tensor:
        """Return V of what a step led to, ``(num_envs, 1)``."""
        _, outputs = self._value(transition["observations"], transition["states"], self._rnn_initial_states["value"])
        values, _ = self._value(transition["next_observations"], transition["next_states"], outputs.get("rnn", []))
        return self._value_preprocessor(values, inverse=True)

    @torch.no_grad()
    def _value(
        self, observations: Tensor, states: Tensor | None, memory: list[Tensor]
    ) -> tuple[Tensor, dict[str, Any]]:
        inputs = {
            "observations": self._observation_preprocessor(observations),
            "states": self._state_preprocessor(states),
            "rnn": memory,
        }
        with torch.autocast(device_type=self._device_type, enabled=self.cfg.mixed_precision):
            return self.models["value"].act(inputs, role="value")


def with_true_next(transition: dict[str, Any]) -> dict[str, Any]:
    """Return a transition whose next observations and states are those that the step led to."""
    infos = transition["infos"]
    changed = {
        "next_observations": infos.get(TERMINAL_OBSERVATIONS, transition["next_observations"]),
        "next_states": infos.get(TERMINAL_STATES, transition["next_states"]),
    }
    return {**transition, **changed}


def _report(agent: PPO | PPO_RNN, timestep: int) -> None:
    if agent.training and agent.after_update is not None and agent._rollout % agent.cfg.rollouts == 0:
        agent.after_update(timestep + 1)
