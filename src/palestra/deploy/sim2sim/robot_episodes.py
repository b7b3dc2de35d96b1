"""Episodes of the deployed process: controller, monitor and ``policy.onnx`` against a simulated robot behind UDP.

What the robot really did is put back, state by state, into the task's environment, whose own terms give the score: the
definitions are those of training.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palestra.deploy.bundle import robot_of
from palestra.deploy.control_step import ControlStep
from palestra.deploy.controller import Controller
from palestra.deploy.limits import SafetyLimits
from palestra.deploy.runtime import PolicyRunner
from palestra.deploy.safety import SafetyMonitor
from palestra.deploy.sim2sim.result import Row
from palestra.deploy.udp import UdpRobot
from palestra.errors import ConfigError

_STAND_LIMIT_S = 15.0
"""How long an episode may take until the policy has the robot."""


@dataclass
class Commands:
    """What an operator asks for in an episode: drawn as the task draws it, anew as often."""

    values: dict[str, np.ndarray]
    """Command to its values, one row for each part of the episode ``(parts, width)``."""

    seen: dict[str, np.ndarray]
    """The same as the environment's terms see them, ``(parts, term's width)``."""

    period: float
    """Duration of a part (s)."""

    headings: np.ndarray | None = None
    """Headings to steer to (rad), ``(parts,)``; NaN where the yaw rate counts."""

    def part(self, time: float) -> int:
        """Return which part of the episode a time (s) lies in."""
        return min(int(time / self.period), len(next(iter(self.values.values()))) - 1) if self.values else 0


@dataclass
class Episode:
    """What the robot did while the policy had it."""

    rows: list[int]
    """Which rows of the truth."""

    commands: list[dict[str, np.ndarray]]
    """What the environment's terms are to see in each of them."""

    trip: str
    """Why the monitor took the robot away; empty if it did not."""


def drawn_commands(env: Any, step: ControlStep, seed: int, length: float) -> Callable[[int], Commands]:
    """Return what gives the commands of an episode by its number.

    Args:
        env: the environment; it is reset.
        step: the control step, which knows the command inputs.
        seed: of the draws.
        length: of an episode (s).
    """
    sources = [source for source in step.sources if source.role == "command" and source.command is not None]
    terms = {str(s.command): env.command_manager.get_term(s.command) for s in sources}
    periods = [term.cfg.resampling_time_range[0] for term in terms.values()]
    period = min([*periods, length])
    parts = max(1, math.ceil(length / period - 1e-9))
    draws: list[tuple[dict[str, Tensor], dict[str, Tensor], Tensor | None]] = []
    for k in range(parts):
        env.reset(seed=seed + k)
        heading = None
        for term in terms.values():
            if getattr(term.cfg, "heading_command", False):
                heading = torch.where(term.is_heading_env, term.heading_target, torch.nan)
        draws.append(
            (
                {str(s.command): s.read().clone() for s in sources},
                {name: term.command.clone() for name, term in terms.items()},
                heading,
            )
        )

    def of_episode(number: int) -> Commands:
        index = number % env.num_envs
        values = {name: np.stack([_numpy(d[0][name][index]) for d in draws]) for name in terms}
        seen = {name: np.stack([_numpy(d[1][name][index]) for d in draws]) for name in terms}
        headings = [math.nan if d[2] is None else float(d[2][index]) for d in draws]
        return Commands(values, seen, period, np.array(headings) if np.isfinite(headings).any() else None)

    return of_episode


def run_episode(
    exported: Path, robot: UdpRobot, commands: Commands, length: float, seed: int, velocity: Any, control_dt: float
) -> Episode:
    """Let the deployed process run one episode in lock-step.

    Args:
        exported: what ``palestra export`` wrote.
        robot: the connection; the robot is reset.
        commands: what the operator asks for.
        length: how long the policy has the robot (s).
        seed: of the start and of the network.
        velocity: configuration of a velocity command with headings; None without.
        control_dt: control period (s).

    Returns:
        What happened; with a trip, and no rows, if the robot did not come to stand.
    """
    runner = PolicyRunner(exported)
    limits = SafetyLimits.from_description(runner.description, None)
    default = np.array(robot_of(runner.description)["default_joint_pos"], float)
    monitor = SafetyMonitor(limits, default)
    controller = Controller(runner, robot, monitor, clock=lambda: robot.time)
    for name, values in commands.values.items():
        controller.operator.set(name, values[0], 0.0, hold=True)
    robot.connect()
    robot.reset(seed)
    controller.start_up()
    start, rows, seen = robot.time, [], []
    while controller.phase in ("init", "stand", "run"):
        if controller.phase == "run":
            if not rows:
                robot.release()
            elapsed = controller.run_time
            if elapsed >= length - 1e-9:
                break
            part = commands.part(elapsed)
            told = {name: values[part].copy() for name, values in commands.seen.items()}
            for name, values in commands.values.items():
                given = values[part].copy()
                if commands.headings is not None and velocity is not None and name in told and len(given) == 3:
                    given[2] = told[name][2] = _yaw_rate(robot, commands.headings[part], given[2], velocity)
                controller.operator.set(name, given, robot.time, hold=True)
            rows.append(round(robot.time / control_dt) + 1)  # a reward is for what follows the step
            seen.append(told)
        elif robot.time - start > _STAND_LIMIT_S:
            robot.close()
            return Episode([], [], f"stand: still in {controller.phase!r} after {_STAND_LIMIT_S:g} s")
        controller.step()
        robot.wait(control_dt)
    robot.wait(control_dt)  # the truth of a moment is noted when time goes on from it
    trip = controller.faults[0] if controller.faults else None
    robot.close()
    return Episode(rows, seen, "" if trip is None else f"{trip.cause}: {trip.message}")


def _yaw_rate(robot: UdpRobot, heading: float, drawn: float, velocity: Any) -> float:
    """Steer to a heading as the task's command does; the drawn yaw rate where there is none."""
    state = robot.read()
    if math.isnan(heading) or state is None or state.base_quat is None:
        return drawn
    w, x, y, z = state.base_quat
    yaw = math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    error = math.remainder(heading - yaw, 2.0 * math.pi)
    low, high = velocity.ranges.ang_vel_z
    return min(max(velocity.heading_control_stiffness * error, low), high)


class TruthScorer:
    """Puts what a robot did into an environment and asks the environment's terms.

    Args:
        env: of the task; its environments take a state each.
        tracking: reward terms of the score; without them success counts, or else the sum of the rewards, in which terms
            that look at actions or at the past count as little as the states alone can tell.
    """

    def __init__(self, env: Any, tracking: list[str]) -> None:
        self.env, self.tracking = env, tracking

    def __call__(self, qpos: np.ndarray, qvel: np.ndarray, episode: Episode) -> tuple[float, bool, float | None]:
        """Score an episode.

        Args:
            qpos: the robot's positions in the episode, ``(steps, nq)``.
            qvel: its velocities, ``(steps, nv)``.
            episode: what it was told.

        Returns:
            The score, whether the robot fell, and its planar velocity error (m/s).
        """
        if not len(qpos):  # the monitor stepped in before the policy had the robot
            return 0.0, True, None
        scores, fell, succeeded, errors = [], [], [], []
        for first in range(0, len(qpos), self.env.num_envs):
            part = slice(first, first + self.env.num_envs)
            values = self._ask(qpos[part], qvel[part], episode.commands[part])
            for out, value in zip((scores, fell, succeeded, errors), values, strict=True):
                out.append(value)
        score, down, done = np.concatenate(scores), np.concatenate(fell), np.concatenate(succeeded)
        error = np.concatenate(errors)
        first_fall = int(np.argmax(down)) if down.any() else len(down)
        first_success = int(np.argmax(done)) if done.any() else len(done)
        lost = down.any() and first_fall < first_success
        total = len(down) if self.env.has_success else max(first_fall, 1)
        if self.env.has_success:
            value = float(done.any() and not lost)
        else:
            value = float(score[:total].mean() if self.tracking else score[:total].sum())
        return value, bool(lost), None if np.isnan(error).all() else float(np.nanmean(error[:total]))

    def _ask(self, qpos: np.ndarray, qvel: np.ndarray, told: list[dict[str, np.ndarray]]) -> tuple[np.ndarray, ...]:
        env, count = self.env, len(qpos)
        rows = np.minimum(np.arange(env.num_envs), count - 1)  # what is left over repeats the last state
        for name, values in (("qpos", qpos), ("qvel", qvel)):
            env.engine.write(name, torch.as_tensor(values[rows], dtype=torch.float32, device=env.device))
        env.engine.forward()
        for name in told[0]:
            command = env.command_manager.get_command(name)
            command.copy_(torch.as_tensor(np.stack([told[r][name] for r in rows]), dtype=torch.float32))
        env.scene.update(env.step_dt)
        everyone = torch.ones(env.num_envs, dtype=torch.bool, device=env.device)
        env.episode_length_buf.zero_()
        reward = env.reward_manager.compute(env.step_dt, everyone)
        env.termination_manager.compute(everyone)
        names = env.reward_manager.active_terms
        values = env.reward_manager.step_values[[names.index(name) for name in self.tracking]]
        score = values.mean(dim=0) if self.tracking else reward.clone()
        manager, down, done = env.termination_manager, torch.zeros_like(everyone), torch.zeros_like(everyone)
        for name in manager.active_terms:
            if name == "diverged":  # has no configuration; the robot's process ends on that
                continue
            cfg = manager.get_term_cfg(name)
            if cfg.success:
                done |= manager.get_term(name)
            elif not cfg.time_out:
                down |= manager.get_term(name)
        return tuple(_numpy(x)[:count] for x in (score, down, done, self._velocity_error()))

    def _velocity_error(self) -> Tensor:
        env = self.env
        for name in env.command_manager.active_terms:
            if "error_vel_xy" in env.command_manager.get_term(name).metrics:
                wanted = env.command_manager.get_command(name)[:, :2]
                return torch.linalg.vector_norm(wanted - env.scene["robot"].data.root_lin_vel_b[:, :2], dim=-1)
        return torch.full((env.num_envs,), math.nan)


def row_of_episodes(name: str, what: str, outcomes: list[tuple[float, bool, float | None]], trips: list[str]) -> Row:
    """Return the row of episodes on a simulated robot; one in which the monitor stepped in counts as a fall."""
    if not outcomes:
        raise ConfigError(f"{name}: there were no episodes")
    falls = [fell or bool(trip) for (_, fell, _), trip in zip(outcomes, trips, strict=True)]
    errors = [error for _, _, error in outcomes if error is not None]
    scores = {(-1, number): score for number, (score, _, _) in enumerate(outcomes)}  # in no environment of training's
    row = Row(name, what, len(outcomes), float(np.mean(list(scores.values()))), scores=scores)
    row.falls, row.tracking_error = float(np.mean(falls)), float(np.mean(errors)) if errors else None
    tripped = [trip for trip in trips if trip]
    if tripped:
        row.what += f"; {len(tripped)} trips of the monitor, first: {tripped[0]}"
    return row


def described(exported: Path) -> dict[str, Any]:
    """Return what ``policy.json`` holds."""
    return json.loads((exported / "policy.json").read_text())


def _numpy(value: Tensor) -> np.ndarray:
    return value.detach().cpu().numpy()
