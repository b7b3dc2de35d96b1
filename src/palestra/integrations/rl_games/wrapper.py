"""Palestra's environments as RL-Games' vectorised environment.

Register it under a name and RL-Games' own runner trains on it::

    from rl_games.torch_runner import Runner
    from palestra.integrations.rl_games import RlGamesAlgoObserver, RlGamesVecEnvWrapper, register_env

    env = RlGamesVecEnvWrapper(make("Cartpole"), clip_obs=10.0, clip_actions=1.0)
    register_env(env, "rlgpu")
    runner = Runner(RlGamesAlgoObserver())
    runner.load(params)  # with config.env_name "rlgpu" and config.num_actors env.num_envs
    runner.run({"train": True, "play": False})
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import torch
from rl_games.common import env_configurations, vecenv
from rl_games.common.algo_observer import IsaacAlgoObserver
from rl_games.common.ivecenv import IVecEnv
from torch import Tensor

from palestra.envs.base import Observations, RLEnv
from palestra.errors import ConfigError, did_you_mean

VECENV_TYPE = "PALESTRA"
"""Name under which RL-Games finds :class:`RlGamesGpuEnv`."""


class RlGamesVecEnvWrapper(IVecEnv):
    """An environment as RL-Games takes it.

    ``reset`` and ``step`` return ``{"obs": (num_envs, width)}``, with a central value network also ``"states"``. Every
    tensor is a copy on ``rl_device``. ``infos["time_outs"]`` marks episodes that their time limit alone cut off, for
    RL-Games' ``value_bootstrap``; tasks with a finite horizon have none. RL-Games bootstraps with the value of the
    observation before the step, so that observations before the automatic reset are not computed.

    Args:
        env: the environment.
        rl_device: device of the learner; empty for the environment's.
        clip_obs: bound on each entry of an observation.
        clip_actions: bound on actions, which is also that of ``action_space``; None leaves actions alone, and
            ``action_space`` is ±1, to which RL-Games' own ``clip_actions`` scales.
        obs_groups: observation groups of ``"obs"`` and ``"states"``, concatenated in this order. Without groups for
            ``"states"`` these are ``critic`` where the environment has it, else those of ``"obs"``.
        use_states: whether states are computed and returned; None if ``obs_groups`` names some or the environment has
            the group ``critic``.
        log_episodes: whether the last step of a rollout hands the episodes' statistics to RL-Games' observer, as
            ``infos["episode"]``. A rollout is as long as the agent says that calls ``set_train_info``.

    Raises:
        ConfigError: the environment lacks a group, or a bound is not positive.
    """

    def __init__(
        self,
        env: RLEnv,
        rl_device: str | torch.device = "",
        clip_obs: float = math.inf,
        clip_actions: float | None = None,
        obs_groups: dict[str, list[str]] | None = None,
        use_states: bool | None = None,
        log_episodes: bool = True,
    ) -> None:
        for name, bound in (("clip_obs", clip_obs), ("clip_actions", clip_actions)):
            if bound is not None and not bound > 0.0:
                raise ConfigError(f"{name} is {bound}: it must be greater than 0")
        self.env = env
        self.rl_device = torch.device(rl_device or env.device)
        self.clip_obs = clip_obs
        self.clip_actions = None if clip_actions is None or math.isinf(clip_actions) else clip_actions
        self.obs_groups = complete_groups(env, obs_groups)
        given = bool((obs_groups or {}).get("states")) or "critic" in env.observation_dims
        self.use_states = given if use_states is None else use_states
        self.log_episodes = log_episodes
        env.keep_terminal_observations = False
        self._steps_left: int | None = None

    # --- what RL-Games calls ------------------------------------------------------------------------------------------

    def reset(self) -> dict[str, Tensor]:
        """Start all episodes anew and return the observations."""
        return self._observations(self.env.reset()[0])

    def step(self, actions: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor, dict[str, Any]]:
        """Take one step.

        Args:
            actions: ``(num_envs, num_actions)``.

        Returns:
            Observations, rewards ``(num_envs,)``, uint8 ``(num_envs,)`` where an episode ended, and infos.
        """
        actions = actions.detach().to(self.env.device)
        if self.clip_actions is not None:
            actions = actions.clamp(-self.clip_actions, self.clip_actions)
        obs, reward, terminated, time_outs, _ = self.env.step_in_place(actions)
        infos: dict[str, Any] = {}
        if not self.env.is_finite_horizon:
            infos["time_outs"] = self._copied(time_outs & ~terminated)
        self._add_episode_log(infos)
        dones = (terminated | time_outs).to(torch.uint8)
        return self._observations(obs), self._copied(reward.clone()), self._copied(dones), infos

    def get_env_info(self) -> Any:
        """Return the spaces of one environment, by the names that RL-Games reads."""
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "state_space": self.state_space,
            "agents": 1,
            "value_size": 1,
        }

    def set_train_info(self, env_frames: int, *args: Any, **kwargs: Any) -> None:
        """Note how long a rollout is: an RL-Games agent calls this before each, and gives itself."""
        self._steps_left = getattr(args[0], "horizon_length", None) if args and self.log_episodes else None

    def get_env_state(self) -> Any:
        """Return the environment's counters, random numbers and curricula, for the checkpoint."""
        return self.env.state_dict()

    def set_env_state(self, env_state: dict[str, Any] | None) -> None:
        """Restore :meth:`get_env_state`."""
        if env_state is not None:
            self.env.load_state_dict(env_state)

    def seed(self, seed: int) -> None:
        """Start the environment's random numbers over."""
        self.env.reset(seed=seed)

    def render(self, mode: str = "rgb_array") -> np.ndarray | None:
        """Return a picture of one environment, if it was made to render."""
        return self.env.render()

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    # --- spaces -------------------------------------------------------------------------------------------------------

    @property
    def num_envs(self) -> int:
        """Number of environments."""
        return self.env.num_envs

    @property
    def device(self) -> torch.device:
        """Device of the environment."""
        return self.env.device

    @property
    def unwrapped(self) -> RLEnv:
        """The environment itself."""
        return self.env

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        """Space of one actor's observation."""
        return self._box("obs")

    @property
    def state_space(self) -> gymnasium.spaces.Box | None:
        """Space of what the central value network sees; None if states are not returned."""
        return self._box("states") if self.use_states else None

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        """Space of one action; its bounds are finite, since RL-Games scales to them."""
        bound = 1.0 if self.clip_actions is None else self.clip_actions
        return gymnasium.spaces.Box(-bound, bound, (self.env.num_actions,), np.float32)

    def fetch_log(self) -> dict[str, float]:
        """Return means over the episodes that ended since the last call (one host sync)."""
        return self.env.fetch_log()

    # --- parts --------------------------------------------------------------------------------------------------------

    def _box(self, name: str) -> gymnasium.spaces.Box:
        width = sum(self.env.observation_dims[group] for group in self.obs_groups[name])
        return gymnasium.spaces.Box(-self.clip_obs, self.clip_obs, (width,), np.float32)

    def _observations(self, groups: Observations) -> dict[str, Tensor]:
        names = ("obs", "states") if self.use_states else ("obs",)
        return {name: self._copied(gather(groups, self.obs_groups[name], self.clip_obs)) for name in names}

    def _copied(self, value: Tensor) -> Tensor:
        return value.to(self.rl_device)

    def _add_episode_log(self, infos: dict[str, Any]) -> None:
        """Hand the log over with a rollout's last step, so that it costs one look at the device a rollout."""
        if self._steps_left is not None:
            self._steps_left -= 1
            if self._steps_left == 0:
                infos["episode"] = dict(self.fetch_log())


class RlGamesGpuEnv(IVecEnv):
    """What RL-Games makes from a registered name: the environment that its creator returns.

    Args:
        config_name: name given to ``env_configurations.register``.
        num_actors: number of environments that the learner expects; −1 takes what there is.
        kwargs: arguments of the creator.

    Raises:
        ConfigError: the environment has another number.
    """

    def __init__(self, config_name: str, num_actors: int, **kwargs: Any) -> None:
        kwargs.pop("seed", None)  # RL-Games adds it; the environment has its own
        self.env = env_configurations.configurations[config_name]["env_creator"](**kwargs)
        if num_actors not in (-1, self.env.num_envs):
            raise ConfigError(
                f"config.num_actors is {num_actors}: the environment {config_name!r} has {self.env.num_envs}"
            )

    def reset(self) -> dict[str, Tensor]:
        return self.env.reset()

    def step(self, actions: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor, dict[str, Any]]:
        return self.env.step(actions)

    def get_env_info(self) -> Any:
        return self.env.get_env_info()

    def seed(self, seed: int) -> None:
        self.env.seed(seed)

    def set_train_info(self, env_frames: int, *args: Any, **kwargs: Any) -> None:
        self.env.set_train_info(env_frames, *args, **kwargs)

    def get_env_state(self) -> Any:
        return self.env.get_env_state()

    def set_env_state(self, env_state: dict[str, Any] | None) -> None:
        self.env.set_env_state(env_state)


class RlGamesAlgoObserver(IsaacAlgoObserver):
    """Logs the episodes' statistics under their own names, without ``Episode/`` in front."""

    def after_print_stats(self, frame: int, epoch_num: int, total_time: float) -> None:
        for values in self.ep_infos:
            for name, value in values.items():
                self.writer.add_scalar(name, value, epoch_num)
        self.ep_infos.clear()
        super().after_print_stats(frame, epoch_num, total_time)


def register_env(env: RlGamesVecEnvWrapper, name: str = "rlgpu") -> None:
    """Make a wrapped environment known to RL-Games under ``config.env_name``."""
    vecenv.register(VECENV_TYPE, RlGamesGpuEnv)
    env_configurations.register(name, {"vecenv_type": VECENV_TYPE, "env_creator": lambda **kwargs: env})


def unregister_env(name: str = "rlgpu") -> None:
    """Forget a name, so that RL-Games does not keep the environment alive."""
    env_configurations.configurations.pop(name, None)


def complete_groups(env: RLEnv, obs_groups: dict[str, list[str]] | None) -> dict[str, list[str]]:
    """Return the groups of ``obs`` and ``states``, both of which the environment has.

    Raises:
        ConfigError: a group that the environment lacks; the message lists those that it has.
    """
    given = obs_groups or {}
    obs = list(given.get("obs") or ["policy"])
    states = list(given.get("states") or (["critic"] if "critic" in env.observation_dims else obs))
    for where, names in (("obs", obs), ("states", states)):
        for name in names:
            if name not in env.observation_dims:
                known = did_you_mean(name, env.observation_dims)
                raise ConfigError(f"obs_groups: {where} asks for the observation group {name!r}: {known}")
    return {"obs": obs, "states": states}


def gather(groups: Observations, names: list[str], clip: float) -> Tensor:
    """Return the named groups side by side, clamped to ±``clip``, in a new tensor ``(num_envs, width)``."""
    joined = torch.cat([groups[name] for name in names], dim=-1)
    return joined if math.isinf(clip) else joined.clamp_(-clip, clip)
