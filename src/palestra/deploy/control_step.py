"""The whole control step as a function of tensors: sensors, commands and what is remembered in, joint targets out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from palestra.deploy.graph import PolicyGraph
from palestra.envs.mdp import Computation, JointTargets, Source, StepState

OUTPUT_OF = {
    "joint_position": "joint_pos_target",
    "joint_velocity": "joint_vel_target",
    "joint_effort": "joint_effort_target",
}
"""Output of each quantity that can be commanded."""

LAST_ACTION, STARTED = "last_action", "started"
"""States: the action before, and 1 from the second step of an episode on."""


@dataclass(frozen=True)
class Stage:
    """A part of a term's way from the raw value to the observation, with what it remembers."""

    compute: Callable[..., Any]
    """``compute(value, *states)`` returns the value, and with states the new states too."""

    states: tuple[StepState, ...] = ()


@dataclass(frozen=True)
class ObservationTerm:
    """One term of the observation: how the robot computes it, and what it passes through, the history last."""

    name: str
    computation: Computation
    stages: tuple[Stage, ...]
    history: StepState | None
    """Past values ``(1, history, width)``, the newest last."""


@dataclass(frozen=True)
class Drive:
    """An action term: where its slice of the action is, and what it commands."""

    first: int
    width: int
    targets: JointTargets


class ControlStep(nn.Module):
    """Sensors, commands and states to targets, action, observation and new states; all ``(1, …)``, float32.

    The inputs stand in the order of ``inputs``, the outputs in that of ``outputs``. Any other batch works in PyTorch.

    Args:
        graph: the policy.
        terms: what the observation consists of, in order.
        drives: the action terms.
        default_joint_pos: position targets of joints that nothing drives, ``(1, num_joints)``.
        joint_names: joints in the order of all vectors over joints.
        joint_units: unit of each joint's position (rad or m).
        step_dt: control period (s).
    """

    default_joint_pos: Tensor

    def __init__(
        self,
        graph: PolicyGraph,
        terms: Sequence[ObservationTerm],
        drives: Sequence[Drive],
        default_joint_pos: Tensor,
        joint_names: list[str],
        joint_units: list[str],
        step_dt: float,
    ) -> None:
        super().__init__()
        self.policy, self.terms, self.drives = graph, tuple(terms), tuple(drives)
        self.joint_names, self.joint_units, self.step_dt = joint_names, joint_units, step_dt
        self.register_buffer("default_joint_pos", default_joint_pos.detach().cpu().clone())
        sources = [s for term in self.terms for s in term.computation.sources]
        sources += [s for drive in self.drives for s in drive.targets.sources]
        self.sources = list({s.name: s for s in sources if s.role != "last_action"}.values())
        self.sources.sort(key=lambda source: source.role == "command")  # sensors first
        states = [s for term in self.terms for s in (*term.computation.states, *_stage_states(term))]
        if any(term.history is not None for term in self.terms):
            states.append(StepState(STARTED, torch.zeros(1, 1)))
        if any(s.role == "last_action" for s in sources):
            states.append(StepState(LAST_ACTION, torch.zeros(1, graph.num_actions)))
        states += [StepState(name, torch.zeros(layers, 1, width)) for name, (layers, width) in graph.memory.items()]
        self.states = list({s.name: s for s in states}.values())
        self.targets = list(dict.fromkeys(drive.targets.target for drive in self.drives))
        self.eval()

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in order."""
        return [s.name for s in self.sources] + [f"{s.name}_in" for s in self.states]

    def widths(self) -> list[tuple[str, int]]:
        """Return name and width of each observation term, history included."""
        given, widths = dict(zip(self.input_names, self.example(), strict=True)), []
        for term in self.terms:
            widths.append((term.name, self._observe(term, given, {}).shape[1]))
        return widths

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in order."""
        return [OUTPUT_OF[t] for t in self.targets] + ["actions", "obs"] + [f"{s.name}_out" for s in self.states]

    def example(self) -> tuple[Tensor, ...]:
        """Return inputs of the right shapes: zeros, and initial states."""
        return (*(torch.zeros(1, len(s.entries)) for s in self.sources), *(s.initial.clone() for s in self.states))

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(self.input_names, values, strict=True))
        new: dict[str, Tensor] = {}
        obs = torch.cat([self._observe(term, given, new) for term in self.terms], dim=-1)
        output = self.policy(obs, *(given[f"{name}_in"] for name in self.policy.memory))
        actions, *memory = output if isinstance(output, tuple) else (output,)
        new.update(zip(self.policy.memory, memory, strict=True))
        new[LAST_ACTION], new[STARTED] = actions, torch.ones(1, 1)
        targets = [self._targets(target, actions, given) for target in self.targets]
        # An output of its own for each: the same number may be an action, a target and a state.
        return (*targets, actions.clone(), obs.clone(), *(new[s.name].clone() for s in self.states))

    def _observe(self, term: ObservationTerm, given: dict[str, Tensor], new: dict[str, Tensor]) -> Tensor:
        computation = term.computation
        arguments = [_given(source, given) for source in computation.sources]
        value = _call(computation.compute, arguments, computation.states, given, new)
        for stage in term.stages:
            value = _call(stage.compute, [value], stage.states, given, new)
        if term.history is None:
            return value
        past, newest = given[f"{term.history.name}_in"], value.unsqueeze(1)
        moved = torch.cat((past[:, 1:], newest), dim=1)
        fresh = given[f"{STARTED}_in"].unsqueeze(-1) < 0.5  # the first value fills the whole history
        stacked = torch.where(fresh, newest.expand_as(moved), moved)
        new[term.history.name] = stacked
        return stacked.flatten(1)

    def _targets(self, target: str, actions: Tensor, given: dict[str, Tensor]) -> Tensor:
        default = self.default_joint_pos if target == "joint_position" else torch.zeros_like(self.default_joint_pos)
        pieces, places = [default.expand(actions.shape[0], -1)], list(range(len(self.joint_names)))
        width = len(self.joint_names)
        for drive in self.drives:
            if drive.targets.target != target:
                continue
            part = actions[:, drive.first : drive.first + drive.width]
            pieces.append(drive.targets.compute(part, *(_given(s, given) for s in drive.targets.sources)))
            for k, joint in enumerate(drive.targets.joint_ids):
                places[joint] = width + k
            width += len(drive.targets.joint_ids)
        return torch.cat(pieces, dim=-1)[:, places]

    def describe(self) -> dict[str, Any]:
        """Return names, shapes, meanings and initial states, as plain types: ``control_step`` of ``policy.json``."""
        inputs = [_described_source(source) for source in self.sources]
        of_state: dict[str, Any] = {"frame": "", "entries": None, "command": None, "privileged": False}
        inputs += [_described_state(f"{s.name}_in", s, **of_state) for s in self.states]
        no_target: dict[str, Any] = {"target": None, "joint_names": None}
        outputs = [self._described_target(target) for target in self.targets]
        for name, role, width in (
            ("actions", "action", self.policy.num_actions),
            ("obs", "observation", self.policy.obs_dim),
        ):
            outputs.append(_tensor(name, [1, width], role, **no_target))
        outputs += [_described_state(f"{s.name}_out", s, **no_target) for s in self.states]
        return {
            "inputs": inputs,
            "outputs": outputs,
            "state": [
                {"input": f"{s.name}_in", "output": f"{s.name}_out", "initial": s.initial.tolist()} for s in self.states
            ],
            "sample_rate_hz": 1.0 / self.step_dt,
        }

    def _described_target(self, target: str) -> dict[str, Any]:
        suffix = {"joint_position": "", "joint_velocity": "/s", "joint_effort": ""}[target]
        units = [f"{unit}{suffix}" for unit in self.joint_units]
        if target == "joint_effort":
            units = ["N" if unit == "m" else "N·m" for unit in self.joint_units]
        shape, names = [1, len(self.joint_names)], list(self.joint_names)
        return _tensor(OUTPUT_OF[target], shape, "target", units=units, target=target, joint_names=names)


def _stage_states(term: ObservationTerm) -> list[StepState]:
    states = [state for stage in term.stages for state in stage.states]
    return states if term.history is None else [*states, term.history]


def _given(source: Source, given: dict[str, Tensor]) -> Tensor:
    return given[f"{LAST_ACTION}_in" if source.role == "last_action" else source.name]


def _call(
    compute: Callable[..., Any],
    arguments: list[Tensor],
    states: tuple[StepState, ...],
    given: dict[str, Tensor],
    new: dict[str, Tensor],
) -> Tensor:
    """Call a function with its states and put the new ones away."""
    result = compute(*arguments, *(given[f"{s.name}_in"] for s in states))
    if not states:
        return result
    value, *after = result
    new.update(zip((s.name for s in states), after, strict=True))
    return value


def _tensor(name: str, shape: list[int], role: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "dtype": "float32", "role": role, "units": None, **more}


def _described_source(source: Source) -> dict[str, Any]:
    return _tensor(
        source.name,
        [1, len(source.entries)],
        source.role,
        units=list(source.units),
        frame=source.frame,
        entries=list(source.entries),
        command=source.command,
        privileged=source.privileged,
    )


def _described_state(name: str, state: StepState, **more: Any) -> dict[str, Any]:
    return _tensor(name, list(state.initial.shape), "state", **more)
