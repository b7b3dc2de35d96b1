"""A small environment with real dynamics for the learner's tests: a point mass that is pushed to the origin."""

from typing import Any

import torch
from torch import Tensor

DT = 0.1
ARENA = 4.0


class PointMassEnv:
    """A unit mass in the plane; actions are forces (N), the episode ends outside the arena or after its time.

    Observation groups: ``policy`` is the noisy position and velocity, ``critic`` also the age of the episode.
    The reward is the negative distance to the origin with a small price on force. Everything is written in place.
    """

    def __init__(self, num_envs: int = 64, max_episode_length: int = 40, observation_noise: float = 0.0) -> None:
        self.num_envs, self.num_actions = num_envs, 2
        self.device = torch.device("cpu")
        self.step_dt = DT
        self.max_episode_length = max_episode_length
        self.observation_noise = observation_noise
        self.observation_dims = {"policy": 4, "critic": 5}
        self.generator = torch.Generator()
        self.position, self.velocity = torch.zeros(num_envs, 2), torch.zeros(num_envs, 2)
        self.episode_length_buf = torch.zeros(num_envs, dtype=torch.int64)
        self.obs = {name: torch.zeros(num_envs, width) for name, width in self.observation_dims.items()}
        self.terminal_obs = {name: torch.zeros_like(tensor) for name, tensor in self.obs.items()}
        self.reward = torch.zeros(num_envs)
        self.terminated = torch.zeros(num_envs, dtype=torch.bool)
        self.time_outs = torch.zeros(num_envs, dtype=torch.bool)
        self.log_sum = torch.zeros(3)
        self.steps = torch.zeros((), dtype=torch.int64)
        self.broken_from_step: int | None = None

    def reset(self, seed: int | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
        if seed is not None:
            self.generator.manual_seed(seed)
        self.episode_length_buf.zero_()
        self._restart(torch.ones(self.num_envs, dtype=torch.bool))
        self._observe(self.obs)
        return self.obs, {}

    def step_in_place(self, actions: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor, dict[str, Any]]:
        force = actions.clamp(-3.0, 3.0)
        self.velocity += DT * (force - 0.1 * self.velocity)
        self.position += DT * self.velocity
        self.episode_length_buf += 1
        self.steps += 1
        distance = self.position.norm(dim=-1)
        self.reward.copy_(-distance - 0.01 * force.square().sum(dim=-1))
        if self.broken_from_step is not None:
            self.reward.copy_(torch.where(self.steps > self.broken_from_step, torch.nan, self.reward))
        torch.gt(distance, ARENA, out=self.terminated)
        torch.ge(self.episode_length_buf, self.max_episode_length, out=self.time_outs)
        self._observe(self.terminal_obs)
        self.log_sum += torch.stack((self.reward.mean(), distance.mean(), torch.ones(())))
        done = self.terminated | self.time_outs
        self.episode_length_buf.mul_(~done)
        self._restart(done)
        self._observe(self.obs)
        return (
            self.obs,
            self.reward,
            self.terminated,
            self.time_outs,
            {"terminal_observation": self.terminal_obs},
        )

    def fetch_log(self) -> dict[str, float]:
        reward, distance, steps = self.log_sum.tolist()
        self.log_sum.zero_()
        return {
            "Episode_Reward/total": reward / max(1.0, steps),
            "Metrics/distance": distance / max(1.0, steps),
        }

    def check_health(self) -> list[str]:
        return []

    def close(self) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        tensors = {name: getattr(self, name).clone() for name in self._SAVED}
        obs = {name: tensor.clone() for name, tensor in self.obs.items()}
        return {**tensors, "obs": obs, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in self._SAVED:
            getattr(self, name).copy_(state[name])
        for name, tensor in self.obs.items():
            tensor.copy_(state["obs"][name])
        self.generator.set_state(state["generator"])

    _SAVED = ("position", "velocity", "episode_length_buf", "log_sum", "steps")

    def _restart(self, mask: Tensor) -> None:
        start = torch.rand(self.num_envs, 2, generator=self.generator) * 4.0 - 2.0
        self.position.copy_(torch.where(mask.unsqueeze(-1), start, self.position))
        self.velocity.mul_(~mask.unsqueeze(-1))

    def _observe(self, out: dict[str, Tensor]) -> None:
        noise = torch.randn(self.num_envs, 4, generator=self.generator) * self.observation_noise
        state = torch.cat((self.position, self.velocity), dim=-1)
        out["policy"].copy_(state + noise)
        out["critic"][:, :4].copy_(state)
        out["critic"][:, 4].copy_(self.episode_length_buf / self.max_episode_length)
