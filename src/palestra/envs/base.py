"""What manager-based and direct environments share: the order of a step, resets, counters, logs, spaces."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from palestra.envs.env_cfg import BaseEnvCfg
from palestra.envs.episode_log import EpisodeLog
from palestra.envs.model_edits import ModelEdits
from palestra.envs.rng import RandomStream
from palestra.errors import ConfigError, PalestraError
from palestra.managers import EventManager
from palestra.managers.event_manager import event_spec_edits
from palestra.managers.manager_base import warn_eager
from palestra.physics import Engine
from palestra.scene import InteractiveScene
from palestra.utils.buffers import DelayBuffer

Observations = dict[str, Any]
"""Group name to tensor ``(num_envs, width)``, or to a dictionary of tensors for a group that is not concatenated."""


class BaseEnv:
    """Scene, engine, random numbers and logs of ``num_envs`` environments.

    Attributes:
        num_envs: number of environments.
        device: device of every tensor.
        rng: random numbers that do not depend on the number of environments.
        log: sums and counts of finished episodes.
        common_step_counter: environment steps so far, int64 on the device.
        all_envs: a mask that is true everywhere.
        model_edits: through which randomization terms change the environments' model parameters.
        action_delay: holds actions back, if an event randomizes their delay.
        capture: ``"auto"`` records the step as a CUDA graph on a GPU; ``"off"`` if the configuration says so or a
            term needs the host.
    """

    cfg: BaseEnvCfg

    def __init__(self, cfg: BaseEnvCfg, render_mode: str | None = None) -> None:
        if not isinstance(cfg.decimation, int) or cfg.decimation < 1:
            raise ConfigError(f"decimation is {cfg.decimation!r}; it must be a whole number of 1 or more")
        cfg.resolve()
        if cfg.sim.threads:
            torch.set_num_threads(cfg.sim.threads)
        self.cfg, self.render_mode = cfg, render_mode
        self.seed_value = 0 if cfg.seed is None else int(cfg.seed)
        self._seed_torch()
        self.capture: str = "off" if cfg.check_terms else cfg.capture
        self.fuse_operations = cfg.fuse_operations
        self.check_terms = cfg.check_terms
        self.scene = InteractiveScene(cfg.scene, cfg.sim)
        self._setup_scene()
        self.scene.spec_edits += event_spec_edits(getattr(cfg, "events", None))
        self.engine: Engine = self.scene.build()
        self.num_envs, self.device = self.scene.num_envs, self.engine.device
        self.rng = RandomStream(self.seed_value, self.num_envs, self.device, cfg.first_env)
        self.log = EpisodeLog(self.device, self.num_envs)
        self.all_envs = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        self.common_step_counter: Tensor = torch.zeros((), dtype=torch.int64, device=self.device)
        self.extras: dict[str, Any] = {}
        self.model_edits = ModelEdits(self.engine)
        self.action_delay: DelayBuffer | None = None
        self._renderer: Any = None

    def _seed_torch(self) -> None:
        """Seed torch's own stream, for terms that draw from it; processes that train together get one each."""
        torch.manual_seed(self.seed_value + self.cfg.first_env)

    @property
    def common_step_count(self) -> int:
        """``common_step_counter`` on the host (a sync on CUDA)."""
        return int(self.common_step_counter)

    @property
    def physics_dt(self) -> float:
        """Physics time step (s)."""
        return self.cfg.sim.dt

    @property
    def step_dt(self) -> float:
        """Duration of a control step (s)."""
        return self.cfg.sim.dt * self.cfg.decimation

    @property
    def unwrapped(self) -> BaseEnv:
        """The environment itself, for code that expects wrappers."""
        return self

    @property
    def num_actions(self) -> int:
        """Width of the action."""
        raise NotImplementedError

    def note_eager_term(self, where: str, warn: bool = True) -> None:
        """Remember that a term needs the host, so that the step cannot be captured."""
        self.capture = "off"
        if warn:
            warn_eager(where)

    def check_finite(self, value: Tensor, where: str) -> None:
        """Raise if a value of a term is not finite in an environment whose state is (host sync).

        Raises:
            PalestraError: names the term and the first environment.
        """
        bad = ~torch.isfinite(value.flatten(1) if value.dim() > 1 else value.unsqueeze(1)).all(dim=1)
        bad &= self.engine.finite()
        if bool(bad.any()):
            first = int(bad.nonzero()[0, 0])
            raise PalestraError(f"{where} is not finite in environment {first} at step {self.common_step_count}")

    def render(self) -> np.ndarray | None:
        """Return a picture of one environment, uint8 ``(height, width, 3)``, if ``render_mode`` is ``rgb_array``."""
        if self.render_mode != "rgb_array":
            return None
        if self._renderer is None:
            from palestra.view.renderer import EnvRenderer

            self._renderer = EnvRenderer(self)
        return self._renderer.frame()

    def check_health(self) -> list[str]:
        """Fetch what went wrong on the device since the last call, one line each."""
        return self.engine.overflow().lines()

    def close(self) -> None:
        """Free the renderer and the engine."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        self.engine.close()

    def _setup_scene(self) -> None:
        """Add entities to ``self.scene`` before it is compiled (direct environments)."""

    def _apply_action(self) -> None:
        """Set targets of assets."""
        raise NotImplementedError

    def _run_physics(self, action_every_substep: bool) -> None:
        """Advance the physics by one control step."""
        self.scene.begin_step(self.step_dt)
        if not (action_every_substep or self.scene.needs_substeps):
            self._apply_action()
            self.scene.write_data_to_sim()
            self.engine.step(self.cfg.decimation)
        else:
            for _ in range(self.cfg.decimation):
                self._apply_action()
                self.scene.write_data_to_sim()
                self.engine.step(1)
        self.scene.update(self.step_dt)


class RLEnv(BaseEnv, gymnasium.Env):  # pyright: ignore[reportIncompatibleMethodOverride]  (batched)
    """Episodes: the order of a step, autoreset, terminal observations.

    A step runs: action → physics → terminations → rewards → masked reset → commands and interval events →
    observations. Everything has fixed shapes; subclasses fill in the parts.

    Attributes:
        episode_length_limit: steps after which an episode ends, int64 0-dim on the device; a curriculum may lower it
            below ``max_episode_length``.
        episode_length_buf: steps in the present episode, int64 ``(num_envs,)``.
        reward_buf: reward of the last step.
        reset_terminated, reset_time_outs: why environments ended in the last step.
        keep_terminal_observations: whether observations before the autoreset are computed.
    """

    is_finite_horizon: bool
    event_manager: EventManager

    def __init__(self, cfg: BaseEnvCfg, render_mode: str | None = None) -> None:
        super().__init__(cfg, render_mode)
        n, device = self.num_envs, self.device
        self.max_episode_length_s = float(cfg.episode_length_s)  # type: ignore[attr-defined]
        if self.max_episode_length_s <= 0.0:
            raise ConfigError(f"episode_length_s is {self.max_episode_length_s}; it must be positive")
        self.max_episode_length = math.ceil(self.max_episode_length_s / self.step_dt - 1e-9)
        self.is_finite_horizon = bool(cfg.is_finite_horizon)  # type: ignore[attr-defined]
        self.episode_length_limit = torch.full((), self.max_episode_length, dtype=torch.int64, device=device)
        self.episode_length_buf = torch.zeros(n, dtype=torch.int64, device=device)
        self.episode_return_buf = torch.zeros(n, device=device)
        self.reward_buf = torch.zeros(n, device=device)
        self.reset_terminated: Tensor = torch.zeros(n, dtype=torch.bool, device=device)
        self.reset_time_outs: Tensor = torch.zeros(n, dtype=torch.bool, device=device)
        self.reset_buf = torch.zeros(n, dtype=torch.bool, device=device)
        self.succeeded = torch.zeros(n, dtype=torch.bool, device=device)
        self.keep_terminal_observations = True
        self._episode_log = self.log.add_episode_group(["Episode/return", "Episode/length", "Metrics/success_rate"])
        self._obs: Observations = {}
        self._terminal_obs: Observations = {}

    # -- the parts of a step, filled in by subclasses ------------------------------------------------------

    def _process_action(self, action: Tensor) -> None:
        raise NotImplementedError

    def _compute_dones(self, finite: Tensor) -> None:
        """Fill ``reset_terminated``, ``reset_time_outs`` and ``succeeded``."""
        raise NotImplementedError

    def _compute_rewards(self, finite: Tensor) -> None:
        """Fill ``reward_buf``."""
        raise NotImplementedError

    def _reset_envs(self, env_mask: Tensor) -> None:
        """Reset managers, scene and buffers of the masked environments; log their episodes."""
        raise NotImplementedError

    def _advance_commands(self) -> None:
        """Commands and interval events."""

    def _compute_observations(self, push_history: bool = True) -> Observations:
        raise NotImplementedError

    @property
    def has_success(self) -> bool:
        """Whether the task defines success."""
        return False

    @property
    def reward_groups(self) -> dict[str, str]:
        """Group of each reward term that has one."""
        return {}

    # -- what users call -----------------------------------------------------------------------------------

    def reset(  # pyright: ignore[reportIncompatibleMethodOverride]  (positional too)
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Reset all environments.

        Args:
            seed: starts the random numbers over.
            options: accepted for gymnasium's interface.

        Returns:
            Observations and extras; copies that later steps do not change.
        """
        if seed is not None:
            self.seed_value = int(seed)
            self.rng.seed(self.seed_value)
            self._seed_torch()
            self.rng.begin("interval")
            self.event_manager.start()
        self.rng.advance()  # two resets in a row start differently
        self.episode_return_buf.zero_()
        self._reset_and_refresh(self.all_envs)
        self.log.fetch()  # the episodes that were cut off say nothing
        self.rng.begin("observation")
        self._store(self._obs, self._compute_observations())
        self._store(self._terminal_obs, self._obs)
        self.extras = {}
        return _clone(self._obs), self.extras

    def step(  # pyright: ignore[reportIncompatibleMethodOverride]  (batched)
        self, action: Tensor
    ) -> tuple[Observations, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Take one control step in every environment; environments that end are reset at once.

        Args:
            action: ``(num_envs, num_actions)``.

        Returns:
            Observations (of the new episode where one ended), rewards, terminated, truncated, extras with
            ``terminal_observation``: the observations before the reset. All are copies.
        """
        obs, reward, terminated, time_outs, extras = self.step_in_place(action)
        return _clone(obs), reward.clone(), terminated.clone(), time_outs.clone(), _clone(extras)

    def step_in_place(self, action: Tensor) -> tuple[Observations, Tensor, Tensor, Tensor, dict[str, Any]]:
        """As :meth:`step`, but returns buffers that the next step overwrites.

        On CUDA the third call records the step as one graph (see :mod:`palestra.physics.capture`), which later calls
        replay, unless ``capture`` is ``"off"``. Inside somebody else's recording it is part of that.
        """
        if self.capture == "off" or self.device.type == "cpu" or torch.cuda.is_current_stream_capturing():
            self._step(action)
        else:
            if action.shape != self._action_in.shape:
                allowed = tuple(self._action_in.shape)
                raise ConfigError(f"the action has shape {tuple(action.shape)}; it must be {allowed}")
            self._action_in.copy_(action)
            self._captured_step()
        return self._obs, self.reward_buf, self.reset_terminated, self.reset_time_outs, self.extras

    @cached_property
    def _action_in(self) -> Tensor:
        return torch.zeros(self.num_envs, self.num_actions, device=self.device)

    @cached_property
    def _captured_step(self) -> Callable[[], None]:
        from palestra.physics.capture import CapturedCall

        return CapturedCall(
            lambda: self._step(self._action_in),
            self.device,
            "the environment's step",
            key=self.capture_key,
            rows=self.num_envs if self.fuse_operations else None,
        )

    def capture_key(self) -> tuple[object, ...]:
        """What a recording of the step depends on; another value asks for a new one."""
        return (self.engine.layout, self.keep_terminal_observations)

    def _step(self, action: Tensor) -> None:
        self.rng.advance()
        self.rng.begin("user")
        self._process_action(action)
        self._run_physics(self._action_every_substep)
        self.episode_length_buf += 1
        self.common_step_counter += 1
        finite = self.engine.finite()
        self._compute_dones(finite)
        torch.logical_or(self.reset_terminated, self.reset_time_outs, out=self.reset_buf)
        self._compute_rewards(finite)
        self.episode_return_buf += self.reward_buf
        done = self.reset_buf
        before: Observations = {}
        if not self._known_idle(done):
            if self.keep_terminal_observations:
                self.rng.begin("terminal")
                before = self._compute_observations(push_history=False)
            self._reset_and_refresh(done)
        self._advance_commands()
        self.rng.begin("observation")
        self._store(self._obs, self._compute_observations())
        self.extras["time_outs"] = self.reset_time_outs
        if self.keep_terminal_observations:
            self._store(self._terminal_obs, _where(done, before, self._obs) if before else self._obs)
            self.extras["terminal_observation"] = self._terminal_obs

    def fetch_log(self) -> dict[str, float]:
        """Return means over the episodes that ended since the last call, and curriculum values (one host sync)."""
        log = self.log.fetch()
        if not self.has_success:
            log.pop("Metrics/success_rate", None)
        return log

    @cached_property
    def observation_dims(self) -> dict[str, int]:
        """Width of each concatenated observation group."""
        raise NotImplementedError

    @cached_property
    def single_observation_space(self) -> gymnasium.Space:
        """Space of one environment's observations."""
        boxes: dict[str, gymnasium.Space[Any]] = {
            name: gymnasium.spaces.Box(-np.inf, np.inf, (width,), np.float32)
            for name, width in self.observation_dims.items()
        }
        return gymnasium.spaces.Dict(boxes)

    @cached_property
    def single_action_space(self) -> gymnasium.Space:
        """Space of one environment's action."""
        return gymnasium.spaces.Box(-np.inf, np.inf, (self.num_actions,), np.float32)

    @cached_property
    def observation_space(self) -> gymnasium.Space:
        """Space of all environments' observations."""
        return gymnasium.vector.utils.batch_space(self.single_observation_space, self.num_envs)

    @cached_property
    def action_space(self) -> gymnasium.Space:
        """Space of all environments' actions."""
        return gymnasium.vector.utils.batch_space(self.single_action_space, self.num_envs)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: counters, random numbers, and what curricula changed."""
        return {"steps": self.common_step_count, "seed": self.seed_value, "rng_step": int(self.rng.step)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken; episodes start anew."""
        self.seed_value = int(state["seed"])
        self.rng.seed(self.seed_value)
        self.rng.step.copy_(torch.as_tensor(state["rng_step"]))
        self.common_step_counter.fill_(int(state["steps"]))

    def load_curriculum(self, state: dict[str, Any]) -> None:
        """Take over from :meth:`state_dict` only how far the curriculum has come; without one nothing happens."""

    @property
    def _action_every_substep(self) -> bool:
        return False

    def _known_idle(self, done: Tensor) -> bool:
        """Whether the resets can be skipped. On a GPU nobody looks; on the CPU looking at the mask costs nothing."""
        return self.device.type == "cpu" and not bool(done.any())

    def _reset_and_refresh(self, env_mask: Tensor) -> None:
        self.rng.begin("reset")
        lengths, succeeded = self.episode_length_buf.to(torch.float32), self.succeeded.to(torch.float32)
        torch.stack((self.episode_return_buf, lengths, succeeded), out=self.log.episode_rows(self._episode_log))
        self._reset_envs(env_mask)
        self.log.count_episodes(env_mask)
        self.episode_length_buf.masked_fill_(env_mask, 0)
        self.episode_return_buf.masked_fill_(env_mask, 0.0)
        self.engine.refresh(env_mask)

    @staticmethod
    def _store(buffers: Observations, values: Observations) -> None:
        """Write observations into buffers whose addresses stay the same."""
        for name, value in values.items():
            if isinstance(value, dict):
                RLEnv._store(buffers.setdefault(name, {}), value)
            elif name in buffers:
                buffers[name].copy_(value)
            else:
                buffers[name] = value.clone()


def _clone(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _clone(v) for k, v in value.items()}
    return value.clone() if isinstance(value, Tensor) else value


def _where(mask: Tensor, on: Observations, off: Observations) -> Observations:
    """Choose per environment; observations of diverged environments become finite."""
    out: Observations = {}
    for name, value in on.items():
        if isinstance(value, dict):
            out[name] = _where(mask, value, off[name])
        else:
            row_mask = mask.view(-1, *([1] * (value.dim() - 1)))
            out[name] = torch.where(row_mask, torch.nan_to_num(value, posinf=0.0, neginf=0.0), off[name])
    return out
