"""The machine-readable description of an environment: what every number of an observation and an action means.

``palestra info`` prints it; export and deployment build on it. All values are plain types that JSON can hold; what
has no limit is None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from palestra.actuators.actuator import make_actuator
from palestra.assets import Articulation
from palestra.config.plain import plain_value
from palestra.envs.base import BaseEnv
from palestra.managers.manager_base import BoundTerm

FORMAT = 1
"""Version of the description's layout."""

Description = dict[str, Any]


def describe(env: BaseEnv, task: str = "") -> Description:
    """Describe an environment.

    The top level has ``format``, ``task``, ``control`` (periods and lengths), ``observations`` (by group),
    ``actions``, ``articulations`` (joints in the simulation's order with defaults, gains and limits as configured,
    whatever events do to them), ``commands``, ``rewards``, ``terminations``, ``events`` and ``curriculum``. Direct
    environments have no terms; those that define ``io_descriptor()``, which returns ``{"observations": {group:
    [names]}, "actions": [names]}``, have names, the others indices. A name may also be a mapping with ``name``,
    ``units``, ``frame`` and ``scale`` (what the quantity in these units is multiplied by).

    Args:
        env: the environment.
        task: name to put in.
    """
    direct = not hasattr(env, "observation_manager")
    names: Mapping[str, Any] = env.io_descriptor() if hasattr(env, "io_descriptor") else {}  # type: ignore[attr-defined]
    description = {
        "format": FORMAT,
        "task": task,
        "control": _control(env),
        "observations": _direct_observations(env, names) if direct else _observations(env),
        "actions": _direct_actions(env, names) if direct else _actions(env),
        "articulations": {name: _articulation(env, asset) for name, asset in env.scene.articulations.items()},
        "commands": _commands(env),
        "rewards": _rewards(env),
        "terminations": _terminations(env),
        "events": _events(env),
        "curriculum": _curriculum(env),
    }
    return _plain(description)


def _control(env: BaseEnv) -> Description:
    return {
        "step_dt": env.step_dt,
        "physics_dt": env.physics_dt,
        "decimation": env.cfg.decimation,
        "rate": 1.0 / env.step_dt,
        "episode_length_s": getattr(env, "max_episode_length_s", None),
        "max_episode_length": getattr(env, "max_episode_length", None),
        "action_delay": _action_delay(env),
    }


def _action_delay(env: BaseEnv) -> list[int]:
    """Return least and largest delay of an action in the simulation (control steps)."""
    from palestra.envs.mdp.randomizations import randomize_action_delay

    manager = getattr(env, "event_manager", None)
    terms = [] if manager is None else [name for names in manager.active_terms.values() for name in names]
    for cfg in (manager.get_term_cfg(name) for name in terms):  # type: ignore[union-attr]
        if cfg.func is randomize_action_delay:
            return [int(x) for x in cfg.params.get("delay_range", (1, 3))]
    return [0, 0]


def _observations(env: Any) -> Description:
    groups = {}
    manager = env.observation_manager
    for group in manager.active_terms:
        terms, start = [], 0
        for term in manager.terms(group):
            terms.append(_observation_term(env, term, start))
            start += term.dim
        groups[group] = {
            "width": start,
            "concatenated": manager.group_obs_concatenate[group],
            "terms": terms,
        }
    return groups


def _observation_term(env: Any, term: Any, start: int) -> Description:
    from palestra.envs.mdp.io import describe_observation

    # A class of terms carries its meaning on the class; its bound function is the instance.
    entries = describe_observation(env, term.bound.func, term.bound.params, term.width)
    frames = max(term.history, 1)
    cfg = term.cfg
    listed = [
        {
            "index": start + frame * term.width + k,
            "name": f"{term.name}/{entry.name}",
            "units": entry.units,
            "frame": entry.frame,
            "age": frames - 1 - frame,
        }
        for frame in range(frames)
        for k, entry in enumerate(entries)
    ]
    return {
        "name": term.name,
        "func": plain_value(cfg.func),
        "slice": [start, start + term.dim],
        "width": term.width,
        "history": frames,
        "flattened": term.flatten,
        "scale": cfg.scale,
        "clip": cfg.clip,
        "noise": _settings(cfg.noise) if term.corrupt else None,
        "latency": list(getattr(cfg.noise, "delay_range", (0, 0))) if term.corrupt else [0, 0],
        "modifiers": [_settings(m) for m in cfg.modifiers or []],
        "joint_names": _joints_of(env, term.bound),
        "entries": listed,
    }


def _joints_of(env: Any, bound: BoundTerm) -> list[str] | None:
    """Return the joints that a term with joint entries reads, in order."""
    io = getattr(bound.func, "io", None)
    if io is None or io.entries != "joints":
        return None
    cfg = bound.params["asset_cfg"]
    names = env.scene[cfg.name].joint_names
    ids = cfg.joint_ids
    return list(names[ids]) if isinstance(ids, slice) else [names[i] for i in torch.as_tensor(ids).tolist()]


def _actions(env: Any) -> Description:
    manager = env.action_manager
    terms = []
    for name, where in manager.slices().items():
        term = manager.get_term(name)
        io = dict(term.io_descriptor())
        width = where.stop - where.start
        units = io.pop("units", "1")
        units = [units] * width if isinstance(units, str) else list(units)
        entries = [
            {"index": where.start + k, "name": f"{name}/{entry}", "units": units[k]}
            for k, entry in enumerate(io.pop("entries"))
        ]
        common = {"name": name, "class": plain_value(type(term)), "slice": [where.start, where.stop], "width": width}
        terms.append({**common, **io, "entries": entries})
    return {"width": manager.total_action_dim, "terms": terms}


def _direct_observations(env: Any, names: Mapping[str, Any]) -> Description:
    return {
        group: {
            "width": width,
            "concatenated": True,
            "terms": [_direct_term(group, names.get("observations", {}).get(group), width, frame=True)],
        }
        for group, width in env.observation_dims.items()
    }


def _direct_actions(env: Any, names: Mapping[str, Any]) -> Description:
    width = env.num_actions
    return {"width": width, "terms": [_direct_term("action", names.get("actions"), width, frame=False)]}


def _direct_term(name: str, given: Any, width: int, frame: bool) -> Description:
    listed = [str(i) for i in range(width)] if given is None else list(given)
    entries = []
    for index, entry in enumerate(listed):
        known = dict(entry) if isinstance(entry, Mapping) else {"name": str(entry)}
        line = {"index": index, "name": known["name"], "units": known.get("units", ""), "scale": known.get("scale")}
        entries.append({**line, "frame": known.get("frame", ""), "age": 0} if frame else line)
    return {"name": name, "slice": [0, width], "width": width, "entries": entries}


def _articulation(env: BaseEnv, asset: Articulation) -> Description:
    data, model = asset.data, env.scene.model
    joints = [model.joint(asset.prefix + name) for name in asset.joint_names]
    dofs = [int(joint.dofadr[0]) for joint in joints]
    return {
        "joint_names": asset.joint_names,
        "joint_types": ["slide" if int(joint.type[0]) == 2 else "hinge" for joint in joints],
        "body_names": asset.body_names,
        "is_fixed_base": asset.is_fixed_base,
        "default_root_pos": asset.cfg.init_state.pos,
        "default_root_quat": asset.cfg.init_state.rot,
        "default_joint_pos": data.default_joint_pos[0],
        "default_joint_vel": data.default_joint_vel[0],
        **_configured_gains(asset),
        **_compiled_limits(joints, asset.cfg.soft_joint_pos_limit_factor),
        "armature": [float(model.dof_armature[i]) for i in dofs],
        "friction": [float(model.dof_frictionloss[i]) for i in dofs],
        "actuators": {
            group: {"kind": cfg.kind, "joint_names": asset.actuators[group].joint_names}
            for group, cfg in asset.cfg.actuators.items()
        },
    }


def _configured_gains(asset: Articulation) -> Description:
    """Return gains and limits of the actuators as configured: events may have changed those of an environment."""
    data = asset.data
    fields = {
        "stiffness": ("stiffness", data.joint_stiffness),
        "damping": ("damping", data.joint_damping),
        "effort_limits": ("effort_limit", data.joint_effort_limits),
        "velocity_limits": ("velocity_limit", data.joint_vel_limits),
    }
    rows = {name: present[0].clone() for name, (_, present) in fields.items()}
    for group, cfg in asset.cfg.actuators.items():
        bound = asset.actuators[group]
        fresh = make_actuator(cfg, group, bound.joint_names, bound.joint_ids, 1, asset.device)
        for name, (field, _) in fields.items():
            rows[name][bound.joint_ids] = getattr(fresh, field)[0]
    return rows


def _compiled_limits(joints: list[Any], soft_factor: float) -> Description:
    """Return the joints' ranges as compiled, and the share of them around the middle that is kept."""
    ranges = torch.tensor([joint.range.tolist() for joint in joints], dtype=torch.float32).reshape(-1, 2)
    limited = torch.tensor([bool(joint.limited[0]) for joint in joints], dtype=torch.bool).unsqueeze(-1)
    middle, half = ranges.mean(dim=-1, keepdim=True), 0.5 * (ranges[:, 1:] - ranges[:, :1])
    soft = torch.cat((middle - soft_factor * half, middle + soft_factor * half), dim=-1)
    free = torch.tensor((-float("inf"), float("inf")))
    return {
        "position_limits": torch.where(limited, ranges, free),
        "soft_position_limits": torch.where(limited, soft, free),
    }


def _commands(env: Any) -> Description:
    if not hasattr(env, "command_manager"):
        return {}
    manager = env.command_manager
    return {
        name: {
            "class": plain_value(type(manager.get_term(name))),
            "width": manager.get_command(name).shape[1],
            "resampling_time_range": manager.get_term(name).cfg.resampling_time_range,
            "ranges": _ranges(manager.get_term(name).cfg),
            "settings": _settings(manager.get_term(name).cfg),
        }
        for name in manager.active_terms
    }


def _ranges(cfg: object) -> Description:
    """Return the ranges of a command: the fields of its ``ranges``, or its own fields that are pairs of numbers."""
    ranges = getattr(cfg, "ranges", None)
    fields = plain_value(ranges if ranges is not None else cfg)
    return {
        name: value
        for name, value in (fields.items() if isinstance(fields, dict) else ())
        if name != "resampling_time_range"
        and isinstance(value, list)
        and len(value) == 2
        and all(isinstance(v, int | float) for v in value)
    }


def _rewards(env: Any) -> list[Description]:
    if not hasattr(env, "reward_manager"):
        return []
    manager = env.reward_manager
    return [
        {
            "name": name,
            "group": manager.groups.get(name, ""),
            "weight": manager.get_weight(name),
            **_function(manager.get_term_cfg(name)),
        }
        for name in manager.active_terms
    ]


def _terminations(env: Any) -> list[Description]:
    if not hasattr(env, "termination_manager"):
        return []
    manager = env.termination_manager
    known = [name for name in manager.active_terms if name != "diverged"]
    cfgs = {name: manager.get_term_cfg(name) for name in known}
    return [
        {"name": name, "time_out": cfg.time_out, "success": cfg.success, **_function(cfg)} for name, cfg in cfgs.items()
    ]


def _events(env: Any) -> list[Description]:
    manager = getattr(env, "event_manager", None)
    if manager is None:
        return []
    return [
        {
            "name": name,
            "mode": mode,
            "interval_range_s": manager.get_term_cfg(name).interval_range_s,
            **_function(manager.get_term_cfg(name)),
        }
        for mode, names in manager.active_terms.items()
        for name in names
    ]


def _curriculum(env: Any) -> list[Description]:
    manager = getattr(env, "curriculum_manager", None)
    if manager is None:
        return []
    return [{"name": name, **_function(manager.get_term_cfg(name))} for name in manager.active_terms]


def _function(cfg: Any) -> Description:
    return {"func": plain_value(cfg.func), "params": _settings(cfg.params)}


def _settings(cfg: object) -> Any:
    """Return a configuration as plain types, with the name of its class."""
    plain = plain_value(cfg)
    if isinstance(plain, dict) and not isinstance(cfg, Mapping):
        return {"class": type(cfg).__name__, **plain}
    return plain


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold: lists for tensors and tuples, None for infinity and NaN."""
    if isinstance(value, Tensor):
        return _plain(_shortest(value))
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _shortest(value: Tensor) -> Any:
    """Return a tensor as numbers; a float32 becomes the shortest decimal that means it (0.8, not 0.800000011920929)."""
    if not value.is_floating_point():
        return value.tolist()
    if value.dim() == 0:
        return float(str(value.detach().cpu().numpy()))
    return [_shortest(part) for part in value]
