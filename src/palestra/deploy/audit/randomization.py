"""Checks of domain randomization: what environments really differ in, held against what was measured on the robot."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from palestra.assets import Articulation
from palestra.deploy.audit.measured import Interval, read_measured
from palestra.deploy.audit.recording import robot_of
from palestra.deploy.audit.result import Check, Measure, Plot, Series, Status, judged, skipped, told
from palestra.deploy.audit.subject import Subject
from palestra.envs.base import RLEnv

DRAWN_ENVS = 256
"""Environments whose parameters are read; the ends of a uniform range are then known to about 1 % of its width."""

ENDS = 0.02
"""Share of the width that the ends of a range of draws may be short of the configured ones."""


@dataclass(frozen=True)
class Drawn:
    """A parameter over many environments."""

    nominal: float
    low: float
    high: float

    @property
    def varies(self) -> bool:
        """Whether environments differ in it."""
        return self.high - self.low > 1e-6 * max(abs(self.nominal), 1e-3)

    def holds(self, measured: Interval) -> bool:
        """Whether the measured interval is inside; a parameter that does not vary must be in the interval itself."""
        if not self.varies:
            return measured.low <= self.nominal <= measured.high
        slack = ENDS * (self.high - self.low)
        return self.low - slack <= measured.low and measured.high <= self.high + slack


def randomization(subject: Subject) -> Check:
    """Every measured parameter of the hardware is inside what the policy was trained on."""
    id, title = "randomization", "Randomization covers the robot as it was measured"
    if robot_of(subject.env) is None:
        return skipped(id, title, "the task has no articulation")
    drawn = draws(subject)
    varying = {name: d for name, d in drawn.items() if d.varies}
    kinds = sorted({_kind(name) for name in varying})
    measures = [told("randomized quantities", ", ".join(kinds) or "none")]
    advice = "measure the robot (palestra sysid) and widen the ranges of the events until they contain the intervals"
    if subject.options.measured is None:
        status: Status = "pass" if varying else "warn"
        text = f"{len(varying)} parameters" if varying else "nothing"
        measures.append(Measure("varies between environments", text, "", "something; give --measured", status))
        measures += [told(name, f"{d.low:.4g} to {d.high:.4g}") for name, d in list(varying.items())[:60]]
        return judged(
            id,
            title,
            measures,
            good=f"{', '.join(kinds)} vary; nothing was measured (--measured) to hold them against",
            bad="the policy knows one robot only",
            advice="randomize what differs between robots (docs/randomization.md), and give measured parameters "
            "with --measured",
        )
    compared = [(interval, drawn[interval.key]) for interval in read_measured(subject.options.measured, list(drawn))]
    for interval, range_ in compared:
        allowed = f"contains {interval.low:.4g} to {interval.high:.4g} {interval.units}".rstrip()
        text = f"{range_.low:.4g} to {range_.high:.4g}" if range_.varies else f"{range_.nominal:.4g}, not randomized"
        held: Status = "pass" if range_.holds(interval) else "fail"
        measures.append(Measure(interval.key, text, interval.units, allowed, held))
    fixed = [interval.key for interval, range_ in compared if not range_.varies]
    if fixed and not varying:
        measures.append(Measure("varies between environments", "nothing", "", "what was measured", "warn"))
    return judged(
        id,
        title,
        measures,
        good=f"{len(compared)} measured parameters are inside the ranges of the training",
        bad="the robot is not among those that the policy was trained on",
        advice=advice,
        plots=[_plot(compared)],
    )


def draws(subject: Subject) -> dict[str, Drawn]:
    """Return each parameter of the robot over environments that were built and reset as in training.

    What counts is what environments got, whichever terms gave it to them.
    """
    cfg = copy.deepcopy(subject.env_cfg)
    env = subject.make(cfg, DRAWN_ENVS)
    try:
        env.reset(seed=subject.options.seed)
        return parameters(env)
    finally:
        env.close()


def parameters(env: RLEnv) -> dict[str, Drawn]:
    """Return the robot's parameters by ``joint/<name>/<quantity>``, ``body/<name>/<quantity>`` and ``action_delay``."""
    robot = robot_of(env)
    assert robot is not None
    found: dict[str, Drawn] = {}
    found |= _joint_parameters(env, robot)
    found |= _body_parameters(env, robot)
    if env.action_delay is not None:
        seconds = env.action_delay.time_lags.double() * env.step_dt
        found["action_delay"] = Drawn(0.0, float(seconds.min()), float(seconds.max()))
    else:
        found["action_delay"] = Drawn(0.0, 0.0, 0.0)
    return found


def _joint_parameters(env: RLEnv, robot: Articulation) -> dict[str, Drawn]:
    model, data = env.scene.model, robot.data
    ones = torch.ones_like(data.joint_stiffness)
    dofs = robot.dof_columns
    compiled = {
        "friction": ("dof_frictionloss", model.dof_frictionloss),
        "armature": ("dof_armature", model.dof_armature),
        "passive_damping": ("dof_damping", model.dof_damping),
    }
    columns: dict[str, tuple[Any, Any]] = {
        quantity: (env.engine.model_field(field)[:, dofs], torch.as_tensor(values)[dofs])
        for quantity, (field, values) in compiled.items()
    }
    from palestra.envs.descriptor import _configured_gains

    gains = _configured_gains(robot)
    columns["stiffness"] = data.joint_stiffness, gains["stiffness"]
    columns["damping"] = data.joint_damping, gains["damping"]
    columns["strength"] = (ones if data.joint_strength is None else data.joint_strength), ones[0]
    columns["encoder_bias"] = (0.0 * ones if data.encoder_bias is None else data.encoder_bias), 0.0 * ones[0]
    return {
        f"joint/{name}/{quantity}": _drawn(values[:, k], nominal[k])
        for quantity, (values, nominal) in columns.items()
        for k, name in enumerate(robot.joint_names)
    }


def _body_parameters(env: RLEnv, robot: Articulation) -> dict[str, Drawn]:
    model, bodies = env.scene.model, robot.data.body_columns
    mass, com = env.engine.model_field("body_mass")[:, bodies], env.engine.model_field("body_ipos")[:, bodies]
    friction = env.engine.model_field("geom_friction")[..., 0]
    found: dict[str, Drawn] = {}
    for k, name in enumerate(robot.body_names):
        body = bodies.start + k
        found[f"body/{name}/mass"] = _drawn(mass[:, k], model.body_mass[body])
        for axis, letter in enumerate("xyz"):
            found[f"body/{name}/com_{letter}"] = _drawn(com[:, k, axis], model.body_ipos[body, axis])
        geoms = [g for g in range(model.ngeom) if model.geom_bodyid[g] == body and model.geom_contype[g]]
        if geoms:
            found[f"body/{name}/friction"] = _drawn(friction[:, geoms[-1]], model.geom_friction[geoms[-1], 0])
    total = float(model.body_mass[bodies].sum())
    found["total_mass"] = _drawn(mass.sum(dim=1), total)
    return found


def _drawn(values: torch.Tensor, nominal: Any) -> Drawn:
    return Drawn(float(nominal), float(values.min()), float(values.max()))


def _kind(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _plot(compared: list[tuple[Interval, Drawn]]) -> Plot:
    """Draw measured intervals in the ranges of the training: 0 is the lower end, 1 the upper one."""
    at, low, high = [], [], []
    for k, (interval, drawn) in enumerate(compared):
        width = max(drawn.high - drawn.low, 1e-9)
        if drawn.varies:
            at.append(float(k))
            low.append(float(np.clip((interval.low - drawn.low) / width, -0.5, 1.5)))
            high.append(float(np.clip((interval.high - drawn.low) / width, -0.5, 1.5)))
    curves = (Series("measured, lower", at, low, "points"), Series("measured, upper", at, high, "points"))
    return Plot("Measured intervals in the trained ranges", "parameter", "place in the range", curves, limit=1.0)
