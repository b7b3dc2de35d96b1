"""Put the control step of an environment together from what its terms declare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from palestra.assets import Articulation
from palestra.config.plain import plain_value
from palestra.deploy.control_step import LAST_ACTION, STARTED, ControlStep, Drive, ObservationTerm, Stage
from palestra.deploy.graph import PolicyGraph
from palestra.envs.base import RLEnv
from palestra.envs.mdp import Computation, JointTargets, Source, StepState, only_source
from palestra.envs.mdp.io import describe_observation, joint_units
from palestra.errors import ConfigError
from palestra.utils.modifiers import models_hardware


class UndeclaredError(ConfigError):
    """A direct environment that does not say how a robot computes what it does."""


def assemble(env: RLEnv, graph: PolicyGraph, allow_privileged: bool = False) -> ControlStep:
    """Return the control step of a policy in an environment.

    Args:
        env: the environment.
        graph: the policy.
        allow_privileged: whether what no sensor gives becomes an input.

    Raises:
        UndeclaredError: a direct environment declares no control step.
        ConfigError: the policy sees something that a robot does not know, or a term cannot be expressed.
    """
    if hasattr(env, "observation_manager"):
        terms = _Observations(env, graph).terms()
        drives = _drives(env)
    else:
        terms, drives = _of_direct(env, graph)
    hidden = [t.name for t in terms if any(s.privileged for s in t.computation.sources)]
    if hidden and not allow_privileged:
        raise ConfigError(
            f"the policy sees what a robot does not know: {', '.join(hidden)}; show it to the critic alone, "
            "declare how it follows from sensors (docs/export.md), or make it an input with --allow-privileged"
        )
    robot = _robot(env, [drive.targets for drive in drives])
    _check_sources(terms, drives)
    units = joint_units(env, robot, robot.joint_names, "rad")
    default = robot.data.default_joint_pos[:1]
    step = ControlStep(graph, terms, drives, default, list(robot.joint_names), units, env.step_dt)
    _check_widths(env, graph, step)
    return step


@dataclass
class _Observations:
    """The terms of the groups that a policy sees, each with states of its own."""

    env: Any
    graph: PolicyGraph
    used: set[str] = field(default_factory=lambda: {STARTED, LAST_ACTION})

    def terms(self) -> list[ObservationTerm]:
        manager = self.env.observation_manager
        self.used.update(self.graph.memory)
        return [self._term(group, term) for group in self.graph.groups for term in manager.terms(group)]

    def _term(self, group: str, term: Any) -> ObservationTerm:
        stages = [self._modifier(group, term, modifier) for modifier in term.modifiers if not models_hardware(modifier)]
        if term.cfg.clip is not None:
            low, high = (float(limit) for limit in term.cfg.clip)
            stages.append(Stage(lambda value: value.clamp(low, high)))
        if term.scale is not None:
            scale = term.scale.cpu().clone() if isinstance(term.scale, Tensor) else float(term.scale)
            stages.append(Stage(lambda value: value * scale))
        history = None
        if term.history:
            name = self._name(group, term.name, "history")
            history = StepState(name, torch.zeros(1, term.history, term.width))
        return ObservationTerm(term.name, self._computation(group, term), tuple(stages), history)

    def _computation(self, group: str, term: Any) -> Computation:
        func = term.bound.func
        builder: Callable[..., Computation] | None = getattr(func, "from_sensors", None)
        if builder is not None:
            return builder(self.env, **term.bound.params)
        entries = describe_observation(self.env, func, term.bound.params, term.width)
        frames = {entry.frame for entry in entries}
        return only_source(
            Source(
                name=self._source_name(group, term),
                role="sensor",
                entries=tuple(entry.name for entry in entries),
                units=tuple(entry.units for entry in entries),
                frame=frames.pop() if len(frames) == 1 else "",
                read=lambda: term.raw,
                privileged=not getattr(func, "external_sensor", False),
            )
        )

    def _source_name(self, group: str, term: Any) -> str:
        """Return the term's name, or with its group's where that means something else already."""
        taken = {"joint_pos", "joint_vel", "joint_effort", "base_quat", "base_ang_vel", "base_lin_vel"}
        manager = self.env.observation_manager
        others = [t for g in self.graph.groups for t in manager.terms(g) if t.name == term.name and t is not term]
        return term.name if term.name not in taken and all(map(term.is_like, others)) else f"{group}_{term.name}"

    def _modifier(self, group: str, term: Any, modifier: Any) -> Stage:
        if hasattr(modifier, "func"):
            func, params = modifier.func, dict(modifier.params)
            return Stage(lambda value: func(value, **params))
        kind = type(modifier).__name__
        memory = modifier.initial_memory() if hasattr(modifier, "initial_memory") else None
        if memory is None:
            raise ConfigError(
                f"observation term {term.name!r}: modifier {kind} cannot be exported; give it initial_memory() and "
                "step(data, *memory), or models_hardware = True if it imitates a sensor"
            )
        prefix = self._name(group, term.name, kind.lower())
        states = tuple(StepState(f"{prefix}_{name}", value) for name, value in memory.items())
        return Stage(modifier.step, states)

    def _name(self, group: str, term: str, what: str) -> str:
        """Return a name for a state that is not taken yet."""
        tries = [f"{term}_{what}", f"{group}_{term}_{what}"]
        tries += [f"{tries[1]}_{k}" for k in range(2, len(self.used) + 3)]
        name = next(t for t in tries if t not in self.used)
        self.used.add(name)
        return name


def _drives(env: Any) -> list[Drive]:
    manager = env.action_manager
    drives = []
    for name, where in manager.slices().items():
        term = manager.get_term(name)
        targets = term.targets()
        if targets is None:
            raise ConfigError(
                f"action term {name!r} ({plain_value(type(term))}) does not say what it commands: override targets(), "
                "see docs/export.md"
            )
        drives.append(Drive(where.start, where.stop - where.start, targets))
    return drives


def _of_direct(env: Any, graph: PolicyGraph) -> tuple[list[ObservationTerm], list[Drive]]:
    groups: dict[str, Computation] = env.observations_from_sensors()
    targets: list[JointTargets] = env.targets()
    missing = [group for group in graph.groups if group not in groups]
    if missing or not targets:
        what = f"observations_from_sensors() for {', '.join(missing)}" if missing else "targets()"
        raise UndeclaredError(f"{type(env).__name__} is a direct environment without {what}, see docs/export.md")
    terms = [ObservationTerm(group, groups[group], (), None) for group in graph.groups]
    return terms, [Drive(0, env.num_actions, target) for target in targets]


def _robot(env: RLEnv, targets: list[JointTargets]) -> Articulation:
    """Return the articulation that the actions drive.

    Raises:
        ConfigError: they drive several.
    """
    names = sorted({target.asset for target in targets})
    if len(names) > 1:
        raise ConfigError(f"the actions drive {' and '.join(names)}; a control step drives one articulation")
    return env.scene.articulations[names[0]]


def _check_widths(env: Any, graph: PolicyGraph, step: ControlStep) -> None:
    """Refuse a form of a term that gives another width than the term does."""
    if hasattr(env, "observation_manager"):
        wanted = [term.dim for group in graph.groups for term in env.observation_manager.terms(group)]
    else:
        wanted = [env.observation_dims[group] for group in graph.groups]
    for (name, width), dim in zip(step.widths(), wanted, strict=True):
        if width != dim:
            raise ConfigError(f"observation term {name!r} has {dim} numbers, from sensors (from_sensors) {width}")


def _check_sources(terms: list[ObservationTerm], drives: list[Drive]) -> None:
    """Refuse different things of one name."""
    known: dict[str, Source] = {}
    for where, sources in [(t.name, t.computation.sources) for t in terms] + [
        (d.targets.asset, d.targets.sources) for d in drives
    ]:
        for source in sources:
            if known.setdefault(source.name, source) != source:
                raise ConfigError(f"{where!r} takes an input {source.name!r} that differs from another of this name")
