"""What the numbers of an observation mean: units, frame and a name for each entry.

Export and deployment read these; ``palestra info`` prints them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import mujoco
import torch
from torch import Tensor

from palestra.assets import Articulation
from palestra.assets.root_writer import RootWriter
from palestra.envs.mdp.entities import entity
from palestra.sensors import RayCaster

if TYPE_CHECKING:
    from palestra.envs.base import BaseEnv

__all__ = ["EntryIO", "ObservationIO", "describe_observation", "observation_io"]

Kind = Literal["xyz", "joints", "body_poses", "actions", "command", "rays"]
Term = TypeVar("Term", bound=Callable[..., Tensor])

_POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")
_POSE_UNITS: tuple[str, ...] = ("m", "m", "m", "1", "1", "1", "1")
_SLIDE_UNITS = {"rad": "m", "rad/s": "m/s", "N·m": "N"}


@dataclass(frozen=True)
class ObservationIO:
    """Meaning of an observation, as far as the term itself knows it."""

    units: str | tuple[str, ...]
    """Unit of all entries or of each; ``"1"`` is none. Where it differs, that of a hinge (rad, not m)."""

    frame: str
    """``"world"``, ``"base"``, ``"yaw"`` (the base turned upright), ``"sensor"`` or ``"joint"``; empty where there is
    none."""

    entries: Kind | tuple[str, ...]
    """Names, or where they come from: ``"joints"`` and ``"body_poses"`` from the term's ``asset_cfg``,
    ``"actions"`` from the action terms, ``"command"`` (then with units and frame) from the command term, ``"rays"``
    from the starts of the rays of the term's ``sensor_cfg``."""


@dataclass(frozen=True)
class EntryIO:
    """One number of an observation."""

    name: str
    units: str
    frame: str


def observation_io(units: str | tuple[str, ...], frame: str, entries: Kind | tuple[str, ...]) -> Callable[[Term], Term]:
    """Attach an :class:`ObservationIO` to an observation function, as its attribute ``io``."""

    def attach(term: Term) -> Term:
        term.io = ObservationIO(units, frame, entries)  # type: ignore[attr-defined]
        return term

    return attach


def describe_observation(
    env: BaseEnv, func: Callable[..., Any], params: Mapping[str, Any], width: int
) -> list[EntryIO]:
    """Describe each entry of an observation term.

    Args:
        env: the environment.
        func: the term's function or class.
        params: its resolved parameters, defaults included.
        width: number of entries; a term without ``io`` gets their indices as names and empty units.
    """
    unknown = ObservationIO("", "", tuple(str(i) for i in range(width)))
    io: ObservationIO = getattr(func, "io", unknown)
    if io.entries == "command":
        command = env.command_manager.get_term(params["command_name"])  # type: ignore[attr-defined]
        io = getattr(command, "io", unknown)
    names, units = _names_and_units(env, io, params)
    return [EntryIO(name, unit, io.frame) for name, unit in zip(names, units, strict=True)]


def joint_units(env: BaseEnv, asset: Articulation, names: Sequence[str], units: str) -> list[str]:
    """Return the unit of each joint's quantity: ``units`` for a hinge, the linear counterpart for a slide."""
    model = env.scene.model
    slides = [model.joint(asset.prefix + name).type[0] == mujoco.mjtJoint.mjJNT_SLIDE for name in names]
    return [_SLIDE_UNITS.get(units, units) if slide else units for slide in slides]


def _names_and_units(env: BaseEnv, io: ObservationIO, params: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    units = io.units
    if io.entries == "joints":
        asset = entity(env, params["asset_cfg"].name, Articulation)
        names = _selected(asset.joint_names, params["asset_cfg"].joint_ids)
        if isinstance(units, str):
            return names, joint_units(env, asset, names, units)
    elif io.entries == "body_poses":
        asset = entity(env, params["asset_cfg"].name, RootWriter)
        bodies = _selected(asset.body_names, params["asset_cfg"].body_ids)  # type: ignore[attr-defined]
        return [f"{body}/{part}" for body in bodies for part in _POSE], list(_POSE_UNITS) * len(bodies)
    elif io.entries == "rays":
        names = entity(env, params["sensor_cfg"].name, RayCaster).ray_names
    elif io.entries == "actions":
        names = _action_names(env, params.get("action_name"))
    elif io.entries == "xyz":
        names = ["x", "y", "z"]
    else:
        names = list(io.entries)
    return names, [units] * len(names) if isinstance(units, str) else list(units)


def _action_names(env: BaseEnv, action_name: str | None) -> list[str]:
    manager = env.action_manager  # type: ignore[attr-defined]
    terms = manager.active_terms if action_name is None else [action_name]
    return [f"{term}/{entry}" for term in terms for entry in manager.get_term(term).io_descriptor()["entries"]]


def _selected(names: Sequence[str], ids: slice | Sequence[int] | Tensor) -> list[str]:
    if isinstance(ids, slice):
        return list(names[ids])
    return [names[i] for i in (ids.tolist() if isinstance(ids, torch.Tensor) else ids)]
