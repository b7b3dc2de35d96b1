"""What is audited: a run's policy, its task, and recordings of the policy that several checks share."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from palestra.deploy.audit.legs import GroundContacts, Legs, find_legs, ground_contacts
from palestra.deploy.audit.recording import Policy, Recording, record, robot_of
from palestra.envs.base import RLEnv

if TYPE_CHECKING:
    from palestra.deploy.verify import Finding

LONGER = 10
"""The endurance rollout is as many times as long as an episode."""

STANDING = 0.2
"""Share of the robots that are told to stand in recordings, where the task tells any to."""

NEW_COMMAND_S = 4.0
"""A recording's velocity commands last this long, or as long as in training if that is shorter (s)."""

MOST_STEPS = 2000
"""A recording has at most as many control steps; the endurance rollout has ``LONGER`` episodes whatever they last."""

WATCHED = 12
"""Environments whose contacts are detected again."""

VERIFIED = 20
"""Environments whose observations go through the exported files."""

EXPORTED, SIM2SIM = "exported", "sim2sim/result.json"
"""Where a run has its exported files, and the verdict of the comparison of simulators."""


@dataclass
class Options:
    """How thorough an audit is, and what it is given from outside."""

    num_envs: int = 32
    """Environments of the recordings."""

    endurance_envs: int = 8
    """Environments of the endurance rollout."""

    seed: int = 1
    measured: Path | None = None
    """Measured parameters of the hardware, as ``palestra sysid`` writes them."""

    limits: Path | None = None
    """Safety limits that the robot is run with, besides those of ``policy.json``."""

    success_distance: float | None = None
    """Distance (m) within which a goal counts as reached, whatever the task says."""


@dataclass
class Subject:
    """A policy and everything that its checks look at; recordings are made when first asked for.

    Attributes:
        task: name of the task.
        env_cfg: configuration that the policy was trained with, overrides of the command line included.
        content: what the checkpoint holds.
        policy: the checkpoint's policy, on the host.
        checkpoint: its file.
        run: the run folder, or None for a checkpoint on its own.
    """

    task: str
    env_cfg: Any
    content: dict[str, Any]
    policy: Any
    checkpoint: Path
    run: Path | None
    options: Options = field(default_factory=Options)

    @cached_property
    def groups(self) -> list[str]:
        """Observation groups of which the policy's input consists."""
        return list(self.graph.groups)

    @cached_property
    def graph(self) -> Any:
        """The policy as a function of tensors."""
        return self.policy.graph()

    @cached_property
    def env(self) -> RLEnv:
        """The task without observation noise and without pushes, at the curriculum's stage; closed by :meth:`close`."""
        return self.make(nominal(self.env_cfg), self.options.num_envs)

    def make(self, cfg: Any, num_envs: int) -> RLEnv:
        """Build an environment on the host as it was at the end of the training."""
        from palestra.config.registry import make

        cfg.scene.num_envs = num_envs
        cfg.sim.device = "cpu"
        env = make(self.task, cfg=cfg)
        state = self.content.get("env_state") or {}
        env.load_curriculum(state)
        env.common_step_counter.fill_(int(state.get("steps", 0)))
        return env

    @cached_property
    def described(self) -> dict[str, Any]:
        """The environment's description, as ``palestra info --json`` prints it."""
        from palestra.envs.descriptor import describe

        return describe(self.env, self.task)

    @property
    def steps(self) -> int:
        """Control steps of a recording."""
        return min(self.env.max_episode_length, MOST_STEPS)

    @cached_property
    def acting(self) -> Recording:
        """The policy at its task, for the length of an episode."""
        return self.rollout(self.policy)

    @cached_property
    def idle(self) -> Recording:
        """Nobody at the task: actions of zero, from the same starts with the same commands."""
        env = self.env
        return self.rollout(lambda obs: torch.zeros(env.num_envs, env.num_actions))

    def rollout(self, policy: Policy) -> Recording:
        """Record a policy in the nominal environment."""
        return record(self.env, policy, self.groups, self.steps, self.options.seed)

    def endless(self) -> Recording:
        """Record the policy in an environment whose episodes are ``LONGER`` times as long."""
        cfg = nominal(self.env_cfg, busy=False)
        cfg.episode_length_s *= LONGER
        env = self.make(cfg, self.options.endurance_envs)
        steps = LONGER * self.env.max_episode_length
        try:
            return record(env, self.policy, self.groups, steps, self.options.seed + 1, endless=True)
        finally:
            env.close()

    @cached_property
    def legs(self) -> Legs | None:
        """The robot's feet, if it walks."""
        return find_legs(self.env)

    @cached_property
    def contacts(self) -> GroundContacts:
        """What touched the ground while the policy acted; only for a robot with legs."""
        assert self.legs is not None
        return ground_contacts(self.env, self.legs, self.acting, WATCHED)

    @cached_property
    def velocity_commands(self) -> dict[str, dict[str, int]]:
        """Columns of each velocity command, by ``lin_vel_x``, ``lin_vel_y`` and ``ang_vel_z`` (base frame)."""
        robot, found = robot_of(self.env), {}
        manager: Any = getattr(self.env, "command_manager", None)
        if manager is None or robot is None or robot.is_fixed_base:
            return {}
        for name in manager.active_terms:
            io = getattr(manager.get_term(name), "io", None)
            entries = getattr(io, "entries", ())
            if not isinstance(entries, tuple) or getattr(io, "frame", "") not in ("base", "yaw"):
                continue
            columns = {e: k for k, e in enumerate(entries) if e in ("lin_vel_x", "lin_vel_y", "ang_vel_z")}
            if columns:
                found[name] = columns
        return found

    @cached_property
    def metrics(self) -> list[dict[str, float]]:
        """Rows of ``metrics.csv``, without the cells that are empty; none if the run has none."""
        import csv

        path = None if self.run is None else self.run / "metrics.csv"
        if path is None or not path.is_file():
            return []
        with open(path, newline="", encoding="utf-8") as file:
            return [
                {k: v for k, v in ((k, _number(v)) for k, v in row.items()) if v is not None}
                for row in csv.DictReader(file)
            ]

    @property
    def exported(self) -> Path | None:
        """The folder of exported files, if there is one."""
        folder = (self.checkpoint.parent if self.run is None else self.run) / EXPORTED
        return folder if folder.is_dir() else None

    @cached_property
    def exported_description(self) -> dict[str, Any]:
        """What ``policy.json`` holds; empty without."""
        path = None if self.exported is None else self.exported / "policy.json"
        if path is None or not path.is_file():
            return {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}

    @cached_property
    def verified(self) -> list[Finding]:
        """What the exporter's own verification finds in the exported folder; nothing without one."""
        from palestra.deploy.verify import verify

        if self.exported is None:
            return []
        env = self.make(copy.deepcopy(self.env_cfg), VERIFIED)
        try:
            where = {"task": self.task, "checkpoint": self.checkpoint, "seed": self.options.seed}
            return verify(self.exported, env, self.policy, self.content, **where)
        finally:
            env.close()

    def close(self) -> None:
        """Free the environment."""
        if "env" in vars(self):
            self.env.close()


def nominal(cfg: Any, busy: bool = True) -> Any:
    """Return a copy of a task's configuration for looking at a policy by itself.

    Observations have no noise and nobody pushes. Randomized robots stay: the policy must do on each of them.

    Args:
        cfg: the configuration of the training.
        busy: whether velocity commands change, and are zero, more often than in training.
    """
    cfg = copy.deepcopy(cfg)
    for group in _terms(getattr(cfg, "observations", None)).values():
        if hasattr(group, "enable_corruption"):
            group.enable_corruption = False
    for name, term in _terms(getattr(cfg, "events", None)).items():
        if getattr(term, "mode", None) == "interval":
            _remove(cfg.events, name)
    for term in _terms(getattr(cfg, "commands", None)).values():
        if busy and getattr(term, "rel_standing_envs", 0.0) > 0.0:
            term.rel_standing_envs = max(term.rel_standing_envs, STANDING)
            low, high = term.resampling_time_range
            term.resampling_time_range = (min(low, NEW_COMMAND_S), min(high, NEW_COMMAND_S))
    return cfg


def _terms(group: Any) -> dict[str, Any]:
    """Return the terms of a group of a configuration, by name."""
    items = group if isinstance(group, dict) else vars(group) if hasattr(group, "__dict__") else {}
    return {name: term for name, term in items.items() if term is not None}


def _remove(group: Any, name: str) -> None:
    if isinstance(group, dict):
        del group[name]
    else:
        setattr(group, name, None)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
