"""What a robot computes itself: observations from its sensors, targets of its joints from the actions.

``palestra export`` joins these into ``policy.onnx``, the whole control step. An observation term declares its form with
:func:`from_sensors` beside its function of the simulation, an action term overrides ``ActionTerm.targets``. The forms
are functions of tensors with a leading batch; ``read`` of what goes in gives the simulation's value, by which the
exported file is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import Tensor

from palestra.assets import Articulation
from palestra.assets.root_writer import RootWriter
from palestra.envs.mdp.entities import entity
from palestra.envs.mdp.io import ObservationIO, joint_units

if TYPE_CHECKING:
    from palestra.envs.base import BaseEnv

__all__ = [
    "Computation",
    "JointTargets",
    "Source",
    "StepState",
    "command_source",
    "external_sensor",
    "from_sensors",
    "joint_columns",
    "joint_source",
    "last_action_source",
    "only_source",
    "root_source",
]

Term = TypeVar("Term", bound=Callable[..., Any])
Target = Literal["joint_position", "joint_velocity", "joint_effort"]
JointQuantity = Literal["joint_pos", "joint_vel", "joint_effort"]
RootQuantity = Literal["base_quat", "base_ang_vel", "base_lin_vel"]


@dataclass(frozen=True)
class Source:
    """Something that the control step is given, ``(batch, width)``; equal names are the same thing."""

    name: str
    """Name of the input, such as ``"joint_pos"``."""

    role: Literal["sensor", "command", "last_action"]
    """Who gives it: the robot, the operator, or the step before."""

    entries: tuple[str, ...]
    """Name of each number."""

    units: tuple[str, ...]
    """Unit of each number."""

    frame: str
    """As in :class:`~palestra.envs.mdp.ObservationIO`."""

    read: Callable[[], Tensor] = field(compare=False, repr=False)
    """The simulation's present value, ``(num_envs, width)``."""

    command: str | None = None
    """Name of the command that it belongs to."""

    privileged: bool = False
    """Whether only a simulation knows it."""


@dataclass(frozen=True)
class StepState:
    """What is carried from one control step to the next; equal names are the same thing."""

    name: str
    """Its input is ``<name>_in``, its output ``<name>_out``."""

    initial: Tensor = field(compare=False)
    """Value at the first step of an episode, ``(1, …)``."""

    read: Callable[[], Tensor] | None = field(default=None, compare=False, repr=False)
    """The simulation's value for the present step, ``(num_envs, …)``, where it starts an episode at random; read at the
    first step of an episode."""


@dataclass(frozen=True)
class Computation:
    """``compute(*sources, *states)`` returns the value ``(batch, width)``; with states, it and the new states."""

    compute: Callable[..., Any]
    """Function of tensors, without Python branches on their values. Tensors that it closes over become constants."""

    sources: tuple[Source, ...] = ()
    """What it is given."""

    states: tuple[StepState, ...] = ()
    """What it remembers."""


@dataclass(frozen=True)
class JointTargets:
    """What an action term commands."""

    asset: str
    """Articulation in the scene."""

    target: Target
    """Which quantity."""

    joint_ids: tuple[int, ...]
    """Joints that are driven, in the order of the computation's columns."""

    compute: Callable[..., Tensor]
    """``compute(actions, *sources)``: the term's slice ``(batch, action_dim)`` to targets ``(batch, num_joints)``."""

    sources: tuple[Source, ...] = ()
    """What it is given besides the actions."""


def from_sensors(builder: Callable[..., Computation]) -> Callable[[Term], Term]:
    """Attach to an observation term how a robot computes it, as its attribute ``from_sensors``.

    ``builder(env, **params)`` takes the term's own parameters, resolved, and is called once when a policy is exported.
    """

    def attach(term: Term) -> Term:
        term.from_sensors = builder  # type: ignore[attr-defined]
        return term

    return attach


def external_sensor(term: Term) -> Term:
    """Mark an observation term as a sensor of its own, such as a height scan: an input of the term's name."""
    term.external_sensor = True  # type: ignore[attr-defined]
    return term


def only_source(source: Source) -> Computation:
    """Return the computation of a term that is a source as it is."""
    return Computation(lambda value: value, (source,))


def joint_source(env: BaseEnv, asset_name: str, quantity: JointQuantity, true: bool = False) -> Source:
    """Return what the encoders of all joints of an articulation read, or its torque sensors.

    Args:
        env: the environment.
        asset_name: the articulation; unless it is ``robot`` or the only one, its name stands before the quantity's.
        quantity: ``"joint_pos"`` (rad, m), ``"joint_vel"`` (rad/s, m/s) or ``"joint_effort"`` (N·m, N).
        true: where the joints are rather than what the encoders read; privileged if the task gives those a bias.
    """
    asset = entity(env, asset_name, Articulation)
    data, names = asset.data, tuple(asset.joint_names)
    reads: dict[str, Callable[[], Tensor]] = {
        "joint_pos": lambda: data.joint_pos if true else data.joint_pos_biased,
        "joint_vel": lambda: data.joint_vel,
        "joint_effort": lambda: data.applied_torque,
    }
    unit = {"joint_pos": "rad", "joint_vel": "rad/s", "joint_effort": "N·m"}[quantity]
    hidden = true and quantity == "joint_pos" and data.encoder_bias is not None
    plain = _is_robot(env, asset_name)
    name = f"true_{quantity}" if hidden else quantity
    return Source(
        name=name if plain else f"{asset_name}_{name}",
        role="sensor",
        entries=names,
        units=tuple(joint_units(env, asset, names, unit)),
        frame="joint",
        read=reads[quantity],
        privileged=hidden or not (plain or _is_driven(env, asset_name)),
    )


def root_source(env: BaseEnv, asset_name: str, quantity: RootQuantity) -> Source:
    """Return orientation (w, x, y, z, world), angular or linear velocity (base frame) of an asset's root.

    The linear velocity is privileged: no sensor measures it.
    """
    data = entity(env, asset_name, RootWriter).data
    read, entries, unit, frame = {
        "base_quat": (lambda: data.root_quat_w, ("qw", "qx", "qy", "qz"), "1", "world"),
        "base_ang_vel": (lambda: data.root_ang_vel_b, ("x", "y", "z"), "rad/s", "base"),
        "base_lin_vel": (lambda: data.root_lin_vel_b, ("x", "y", "z"), "m/s", "base"),
    }[quantity]
    plain = _is_robot(env, asset_name)
    return Source(
        name=quantity if plain else f"{asset_name}_{quantity}",
        role="sensor",
        entries=entries,
        units=(unit,) * len(entries),
        frame=frame,
        read=read,
        privileged=quantity == "base_lin_vel" or not (plain or _is_driven(env, asset_name)),
    )


def command_source(env: BaseEnv, command_name: str) -> Source:
    """Return a command as the operator gives it: input ``command_<name>``."""
    term = env.command_manager.get_term(command_name)  # type: ignore[attr-defined]
    width = term.command.shape[1]
    io: ObservationIO = getattr(term, "io", ObservationIO("", "", tuple(str(i) for i in range(width))))
    units = (io.units,) * width if isinstance(io.units, str) else tuple(io.units)
    name = f"command_{command_name}"
    return Source(name, "command", tuple(io.entries), units, io.frame, lambda: term.command, command=command_name)


def last_action_source(env: BaseEnv) -> Source:
    """Return what the policy sent last, the whole action; zero at the start of an episode."""
    width = env.num_actions
    names = tuple(str(i) for i in range(width))
    return Source("last_action", "last_action", names, ("1",) * width, "", lambda: torch.zeros(env.num_envs, width))


def joint_columns(ids: slice | Sequence[int] | Tensor, count: int) -> list[int]:
    """Return resolved joint ids, of ``count`` joints, as numbers."""
    if isinstance(ids, slice):
        return list(range(count)[ids])
    return ids.tolist() if isinstance(ids, Tensor) else list(ids)


def _is_robot(env: BaseEnv, asset_name: str) -> bool:
    """Whether an asset's sensors go without its name: it is called ``robot`` or is the only articulation."""
    articulations = env.scene.articulations
    return asset_name == "robot" or (asset_name in articulations and len(articulations) == 1)


def _is_driven(env: BaseEnv, asset_name: str) -> bool:
    """Whether an action term drives an asset, which then is a robot and has sensors of its own."""
    manager = getattr(env, "action_manager", None)
    terms = [] if manager is None else [manager.get_term(name) for name in manager.active_terms]
    return any(term.cfg.asset_name == asset_name for term in terms)
