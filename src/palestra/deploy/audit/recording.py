"""What an audit looks at, recorded while a policy acts: state, targets, rewards, commands, ends of episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palestra.assets import Articulation
from palestra.envs.base import RLEnv
from palestra.envs.mdp import Source
from palestra.envs.memory import forget

Policy = Callable[[dict[str, Any]], Tensor]

SENSOR = "sensor/"
"""Prefix of what a control step is given."""


@dataclass
class Recording:
    """Steps of several environments; arrays are ``(steps, num_envs, …)``, taken after the physics, before any reset.

    Units as in :class:`palestra.assets.ArticulationData`; joints in the order of ``joint_names``.
    """

    step_dt: float
    joint_names: list[str]
    reward_names: list[str]
    series: dict[str, np.ndarray] = field(default_factory=dict)

    def __getattr__(self, name: str) -> np.ndarray:
        """Return a recorded quantity: ``qpos``, ``joint_vel``, ``actions``, ``reward``, ``failed`` …"""
        series = self.__dict__.get("series", {})
        if name in series:
            return series[name]
        raise AttributeError(f"nothing was recorded as {name!r}; there is {', '.join(series)}")

    def has(self, name: str) -> bool:
        """Whether a quantity was recorded."""
        return name in self.series

    @property
    def num_steps(self) -> int:
        """Recorded control steps."""
        return self.reward.shape[0]

    @property
    def num_envs(self) -> int:
        """Recorded environments."""
        return self.reward.shape[1]

    @cached_property
    def ended(self) -> np.ndarray:
        """Where an episode ended, for whatever reason, ``(steps, num_envs)``."""
        return self.failed | self.succeeded | self.timed_out

    @cached_property
    def in_first(self) -> np.ndarray:
        """Steps of the first episode of each environment, its last one included, ``(steps, num_envs)``."""
        before = np.cumsum(self.ended, axis=0) - self.ended
        return before == 0

    @cached_property
    def first_returns(self) -> np.ndarray:
        """Sum of the rewards over the first episode of each environment, ``(num_envs,)``."""
        return (self.reward * self.in_first).sum(axis=0)

    @cached_property
    def first_lengths(self) -> np.ndarray:
        """Steps in the first episode of each environment, ``(num_envs,)``."""
        return self.in_first.sum(axis=0)

    @cached_property
    def age(self) -> np.ndarray:
        """Steps since the start of the episode, from 1, ``(steps, num_envs)``."""
        age = np.zeros(self.reward.shape, np.int64)
        present = np.zeros(self.num_envs, np.int64)
        for step in range(self.num_steps):
            present += 1
            age[step] = present
            present[self.ended[step]] = 0
        return age

    def episodes(self, env: int) -> list[slice]:
        """Return the steps of each episode of an environment, an unfinished last one included."""
        ends = (np.flatnonzero(self.ended[:, env]) + 1).tolist()
        starts = [0, *ends]
        stops = [*ends, self.num_steps]
        return [slice(a, b) for a, b in zip(starts, stops, strict=True) if b > a]


class _Recorder:
    """Takes a row after each step, before the environments that ended are reset."""

    def __init__(self, env: RLEnv, groups: Sequence[str], sources: Sequence[Source]) -> None:
        self.env, self.groups, self.sources = env, list(groups), list(sources)
        self.robot = robot_of(env)
        self.rows: dict[str, list[np.ndarray]] = {}
        self.action = torch.zeros(0)
        compute_rewards = env._compute_rewards

        def compute_and_record(finite: Tensor) -> None:
            compute_rewards(finite)
            self._record()

        # Both kinds of environment compute rewards on the state that a reset then overwrites; only there is it seen.
        self._detach = lambda: vars(env).pop("_compute_rewards", None)
        vars(env)["_compute_rewards"] = compute_and_record
        if self.robot is not None:
            self.robot.data.applied_torque  # noqa: B018 - registers the field, so that the first step fills it

    def before_step(self, obs: dict[str, Any], action: Tensor) -> None:
        """Note what the policy saw and did, and what the control step would have been given."""
        self._add("obs", torch.cat([obs[name] for name in self.groups], dim=-1))
        self._add("actions", action)
        for source in self.sources:
            self._add(f"{SENSOR}{source.name}", source.read())

    def close(self) -> None:
        """Give the environment back as it was."""
        self._detach()

    def result(self) -> Recording:
        """Return what was recorded."""
        manager = getattr(self.env, "reward_manager", None)
        return Recording(
            self.env.step_dt,
            [] if self.robot is None else list(self.robot.joint_names),
            [] if manager is None else list(manager.active_terms),
            {name: np.stack(rows) for name, rows in self.rows.items()},
        )

    def _record(self) -> None:
        env = self.env
        for name in ("qpos", "qvel"):
            self._add(name, env.engine.field(name))
        self._add("reward", env.reward_buf)
        succeeded = env.succeeded if env.has_success else torch.zeros_like(env.reset_terminated)
        self._add("succeeded", succeeded)
        self._add("failed", env.reset_terminated & ~succeeded)
        self._add("timed_out", env.reset_time_outs)
        manager: Any = getattr(env, "reward_manager", None)
        if manager is not None and manager.active_terms:
            self._add("reward_terms", (manager.step_values * manager.weights.unsqueeze(-1) * env.step_dt).T)
        commands: Any = getattr(env, "command_manager", None)
        if commands is not None:
            for name in commands.active_terms:
                self._add(f"command/{name}", commands.get_command(name))
        if self.robot is not None:
            self._record_robot(self.robot)

    def _record_robot(self, robot: Articulation) -> None:
        data = robot.data
        for name in (
            "joint_pos",
            "joint_vel",
            "applied_torque",
            "joint_pos_target",
            "joint_vel_target",
            "joint_effort_target",
        ) + ("root_pos_w", "root_quat_w", "root_lin_vel_b", "root_ang_vel_b", "projected_gravity_b"):
            self._add(name, getattr(data, name))

    def _add(self, name: str, value: Tensor) -> None:
        self.rows.setdefault(name, []).append(value.detach().cpu().numpy().copy())


@torch.no_grad()
def record(
    env: RLEnv,
    policy: Policy,
    groups: Sequence[str],
    num_steps: int,
    seed: int | None,
    *,
    endless: bool = False,
    sources: Sequence[Source] = (),
) -> Recording:
    """Let a policy act from a reset on and record every step.

    Args:
        env: the environment; it is reset.
        policy: observation groups to actions ``(num_envs, num_actions)``.
        groups: observation groups that are recorded as ``obs``, concatenated.
        num_steps: control steps.
        seed: seed of the episodes.
        endless: whether a curriculum that shortens episodes is overruled.
        sources: inputs of a control step that are recorded too, as ``sensor/<name>``.
    """
    obs, _ = env.reset(seed=seed)
    forget(policy)
    recorder = _Recorder(env, groups, sources)
    try:
        for _ in range(num_steps):
            if endless:
                env.episode_length_limit.fill_(env.max_episode_length)
            action = policy(obs)
            recorder.before_step(obs, action)
            obs, _, terminated, time_outs, _ = env.step_in_place(action.to(env.device))
            forget(policy, terminated | time_outs)
    finally:
        recorder.close()
    return recorder.result()


def robot_of(env: RLEnv) -> Articulation | None:
    """Return the articulation that the task controls: ``robot`` if there is one of this name, else the first."""
    articulations = env.scene.articulations
    return articulations.get("robot") or next(iter(articulations.values()), None)
