"""RSL-RL's PPO with another answer to time limits."""

from typing import Any

import torch
from rsl_rl.algorithms import PPO
from tensordict import TensorDict
from torch import Tensor


class TerminalObservationPPO(PPO):
    """PPO that adds γV of an episode's true last observation where a time limit cut it off.

    RSL-RL's own PPO adds γV of the observation before the last step. Select this one with
    ``algorithm.class_name="palestra.integrations.rsl_rl:TerminalObservationPPO"``; the environment must keep terminal
    observations (``keep_terminal_observations``).
    """

    def process_env_step(self, obs: TensorDict, rewards: Tensor, dones: Tensor, extras: dict[str, Any]) -> None:
        """Record one environment step."""
        if "time_outs" in extras:
            memory = self.critic.get_hidden_state()  # of a recurrent critic, after the step's observation
            values = self.critic(extras["terminal_observation"].to(self.device)).detach().squeeze(-1)
            self.critic.reset(hidden_state=memory)
            rewards = rewards + torch.where(extras["time_outs"].to(self.device), self.gamma * values, 0.0)
            extras = {name: value for name, value in extras.items() if name != "time_outs"}
        super().process_env_step(obs, rewards, dones, extras)
