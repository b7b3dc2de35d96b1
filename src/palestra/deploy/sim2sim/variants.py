"""Simulations that differ from a task's own in their time step, solver, contacts or friction."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from palestra.errors import ConfigError

FINER = 4
"""How many physics steps take the place of one in the variant with a finer time step."""


@dataclass(frozen=True)
class Variant:
    """A change of the environment's configuration, of its model, or of both."""

    name: str
    what: str
    overrides: tuple[str, ...] = ()
    """``env.…=…``, as on the command line."""

    edit: Callable[[Any], None] | None = field(default=None, compare=False)
    """Changes the model of an environment that was built."""

    configure: Callable[[Any], None] | None = field(default=None, compare=False)
    """Changes a configuration that overrides cannot express."""


def standard(env_cfg: Any) -> list[Variant]:
    """Return the variants that every policy is tried in.

    Args:
        env_cfg: the task's configuration.
    """
    sim = env_cfg.sim
    cone = "pyramidal" if sim.cone == "elliptic" else "elliptic"
    other = "implicitfast" if sim.integrator == "euler" else "euler"
    converged = ("env.sim.iterations=100", "env.sim.ls_iterations=50", "env.sim.tolerance=1e-10")
    # Motors' damping is explicit in Euler's method and needs the smaller step; no contact's time constant can be below
    # two steps.
    return [
        Variant("finer time step", f"{1e3 * sim.dt / FINER:.3g} ms instead of {1e3 * sim.dt:.3g} ms", _finer(env_cfg)),
        # What a few iterations leave of elliptic cones is another physics, of which a policy learns nothing.
        Variant(f"{cone} cones", f"instead of {sim.cone}, converged", (f"env.sim.cone={cone}", *converged)),
        Variant("converged solver", "100 iterations, tolerance 1e-10", converged),
        Variant(
            f"{other} integrator",
            f"instead of {sim.integrator}; finer time step",
            (*_finer(env_cfg), f"env.sim.integrator={other}"),
        ),
        Variant("softer contacts", "twice the time constant of contacts", (), _scale("geom_solref", 2.0, slice(0, 1))),
        Variant(
            "stiffer contacts",
            "half the time constant of contacts; finer time step",
            _finer(env_cfg),
            _scale("geom_solref", 0.5, slice(0, 1)),
        ),
        Variant("less friction", "0.7 of the sliding friction", (), _scale("geom_friction", 0.7, slice(0, 1))),
    ]


def _finer(env_cfg: Any) -> tuple[str, ...]:
    return f"env.sim.dt={env_cfg.sim.dt / FINER!r}", f"env.decimation={env_cfg.decimation * FINER}"


def named(text: str) -> Variant:
    """Return the variant that ``--variant NAME:key=value[,key=value]`` means.

    Raises:
        ConfigError: the text is none.
    """
    name, _, rest = text.partition(":")
    overrides = tuple(part.strip() for part in re.split(r",(?=\s*[\w.]+=)", rest) if part.strip())
    if not name or not overrides or not all("=" in part for part in overrides):
        raise ConfigError(f"--variant is {text!r}; it must be NAME:field=value, such as 'slow:sim.dt=0.002'")
    full = tuple(part if part.startswith("env.") else f"env.{part}" for part in overrides)
    return Variant(name, ", ".join(part.removeprefix("env.") for part in full), full)


def _scale(name: str, factor: float, entries: slice) -> Callable[[Any], None]:
    def edit(env: Any) -> None:
        field_ = env.engine.model_field(name)
        values = field_.clone()
        part = values[..., entries]
        values[..., entries] = torch.where(part > 0.0, part * factor, part)  # negative: stiffness, not a time constant
        env.engine.write_model(name, values, torch.ones(env.num_envs, dtype=torch.bool, device=env.device))

    return edit
