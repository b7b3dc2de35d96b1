"""Detectors of success that is none: the goal is not reached, or was reached before the policy did anything."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from palestra.assets import Articulation
from palestra.config.registry import load_env_cfg
from palestra.deploy.audit.recording import Recording, robot_of
from palestra.deploy.audit.result import Check, Measure, Plot, Series, at_most, judged, skipped, told
from palestra.deploy.audit.subject import Subject
from palestra.envs.base import RLEnv
from palestra.sensors import FrameTransformer

AT_ONCE = 2
"""An episode that succeeds within as many steps was won by its start."""

SLACK = 1.2
"""A goal that is farther than this multiple of the allowed distance is not reached."""

_POSITIONS = (("x", "y", "z"), ("pos_x", "pos_y", "pos_z"))
_DISTANCES = ("radius", "threshold", "distance", "tolerance", "position_threshold")


def success(subject: Subject) -> Check:
    """Where the task says success, the robot is at the goal, by distances computed anew, and it had to go there."""
    id, title = "success", "Success means that the goal was reached"
    if not subject.env.has_success:
        return skipped(id, title, "the task defines no success")
    acting, idle = subject.acting, subject.idle
    won = acting.succeeded
    episodes = max(int(acting.ended.sum()), 1)
    at_once = float((won & (acting.age <= AT_ONCE)).sum() / episodes)
    lucky = float((idle.succeeded & idle.in_first).any(axis=0).mean())
    measures = [
        told("episodes", episodes),
        told("success rate", float(won.sum()) / episodes),
        at_most(f"share of the episodes won within {AT_ONCE} steps", at_once, 0.1, 0.02),
        at_most("success rate of zero actions", lucky, 0.5, 0.2),
    ]
    if not won.any():
        measures.append(Measure("successes", 0, "", "at least 1", "fail"))
    plots: list[Plot] = []
    distances = goal_distances(subject.env, acting)
    allowed, source = _allowed(subject)
    if won.any() and distances is not None and allowed is not None:
        final = distances[won]
        beyond = float((final > SLACK * allowed).mean())
        measures += [
            told("distance that counts as reached", allowed, f"m ({source})"),
            told("true distance at success, 95 %", float(np.quantile(final, 0.95)), "m"),
            at_most(f"share of the successes farther than {SLACK:g} × that", beyond, 0.05, 0.01),
        ]
        plots.append(_distance_plot(distances, won, allowed))
    else:
        measures.append(told("true distance to the goal", "unknown: no command is a position, or no distance is given"))
    return judged(
        id,
        title,
        measures,
        good=f"{float(won.sum()) / episodes:.1%} of {episodes} episodes succeed, at the goal",
        bad="success does not mean that the task was done",
        advice="compute success from the state, not from a reward; draw goals away from the start; give the true "
        "distance with --success-distance if the task's own is too wide",
        plots=plots,
    )


def goal_distances(env: RLEnv, recording: Recording) -> np.ndarray | None:
    """Return the distance (m) from each step's goal to what is to be brought there, ``(steps, num_envs)``.

    The goal is the first command that is a position. What is brought there is the frame of the scene's frame
    transformer, the command's own body, or, if there are none, whichever body of the scene is nearest: then no success
    is called false that is one of any body.

    Returns:
        None if no command is a position.
    """
    goal = _goal(env)
    if goal is None:
        return None
    name, columns, frame = goal
    target = recording.series[f"command/{name}"][..., columns]
    model, data = env.scene.model, mujoco.MjData(env.scene.model)
    robot = robot_of(env)
    points = _points(env, name)
    out = np.zeros(recording.reward.shape)
    for t in range(recording.num_steps):
        for e in range(recording.num_envs):
            data.qpos[:] = recording.qpos[t, e]
            mujoco.mj_kinematics(model, data)
            where = target[t, e]
            if frame == "base" and robot is not None:
                root = robot.data.body_columns.start
                where = data.xpos[root] + data.xmat[root].reshape(3, 3) @ where
            out[t, e] = min(
                float(np.linalg.norm(data.xpos[body] + data.xmat[body].reshape(3, 3) @ offset - where))
                for body, offset in points
            )
    return out


def _goal(env: RLEnv) -> tuple[str, list[int], str] | None:
    """Return name, columns and frame of the first command that is a position in the world or in the base frame."""
    manager: Any = getattr(env, "command_manager", None)
    if manager is None:
        return None
    for name in manager.active_terms:
        io = getattr(manager.get_term(name), "io", None)
        entries = getattr(io, "entries", ())
        for wanted in _POSITIONS:
            if isinstance(entries, tuple) and set(wanted) <= set(entries) and io.frame in ("world", "base"):  # type: ignore[union-attr]
                return name, [entries.index(entry) for entry in wanted], io.frame  # type: ignore[union-attr]
    return None


def _points(env: RLEnv, command: str) -> list[tuple[int, np.ndarray]]:
    """Return bodies and offsets in their frames (m) of what may be brought to the goal."""
    model = env.scene.model
    for sensor in env.scene.sensors.values():
        if isinstance(sensor, FrameTransformer):
            found = _frames(env, sensor)
            if found:
                return found
    cfg = env.command_manager.get_term(command).cfg  # type: ignore[attr-defined]
    robot = robot_of(env)
    wanted = getattr(cfg, "body_name", None)
    if isinstance(robot, Articulation) and isinstance(wanted, str):
        ids, _ = robot.find_bodies(wanted)
        return [(robot.data.body_columns.start + i, np.zeros(3)) for i in ids]
    return [(body, np.zeros(3)) for body in range(1, model.nbody)]


def _frames(env: RLEnv, sensor: FrameTransformer) -> list[tuple[int, np.ndarray]]:
    found = []
    for frame in sensor.cfg.target_frames:
        name = frame.prim_path.rsplit("/", 1)[-1]
        for articulation in env.scene.articulations.values():
            if name in articulation.body_names:
                body = articulation.data.body_columns.start + articulation.body_names.index(name)
                found.append((body, np.array(frame.offset.pos, float)))
    return found


def _allowed(subject: Subject) -> tuple[float | None, str]:
    """Return the distance (m) that counts as reached, and where it is from.

    The option comes first. Then the smallest of what the success term says here and in the task as it is registered: a
    run that was trained with a wider radius is judged by the task's.
    """
    if subject.options.success_distance is not None:
        return subject.options.success_distance, "--success-distance"
    found = [v for v in (_radius(load_env_cfg(subject.task)), _radius(subject.env_cfg)) if v is not None]
    return (min(found), "of the task") if found else (None, "")


def _radius(cfg: Any) -> float | None:
    terms = getattr(cfg, "terminations", None)
    for term in vars(terms).values() if hasattr(terms, "__dict__") else ():
        if getattr(term, "success", False):
            for name in _DISTANCES:
                value = term.params.get(name)
                if isinstance(value, int | float) and value > 0.0:
                    return float(value)
    return None


def _distance_plot(distances: np.ndarray, won: np.ndarray, allowed: float) -> Plot:
    curves = []
    for label, values in (("at success", distances[won]), ("all steps", distances.ravel())):
        ordered = np.quantile(values, np.linspace(0.0, 1.0, 101))
        curves.append(Series(label, ordered.tolist(), np.linspace(0.0, 100.0, 101).tolist()))
    return Plot("True distance to the goal", "distance (m)", "% below", tuple(curves), limit_x=allowed)
