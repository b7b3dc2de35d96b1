"""A clock for gaits: when each foot is to stand and when to swing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from palestra.envs.mdp.commands.uniform_ranges import UniformRanges
from palestra.envs.mdp.io import ObservationIO
from palestra.envs.mdp.sensing import Computation, Source, StepState
from palestra.errors import ConfigError
from palestra.managers import CommandTerm

if TYPE_CHECKING:
    from palestra.envs.manager_based import ManagerBasedRLEnv
    from palestra.envs.mdp.commands.commands_cfg import GaitPhaseCommandCfg

_PARTS = ("frequency", "duty_factor")


class GaitPhaseCommand(CommandTerm):
    """Commands, for each foot: sine and cosine of its phase, and 1 where it is to be on the ground.

    A clock runs through cycles with the drawn frequency f; the phase of foot i is φᵢ = (∫ f dt + offsetᵢ) mod 1. It is
    to stand while φᵢ is below the drawn duty factor, and to swing for the rest of the cycle. The clock starts anywhere
    in a cycle with an episode, and goes on without a jump when frequency and duty factor are drawn anew.

    Attributes:
        feet: their names, in the order of the entries.
        ranges: limits of the draws, on the device; a curriculum may write them.
        phase: of the clock, in [0, 1), ``(num_envs,)``.
        frequency: cycles a second (Hz), ``(num_envs,)``.
        duty_factor: share of the cycle on the ground, ``(num_envs,)``.
        desired_contact: which feet are to be on the ground, bool ``(num_envs, num_feet)``.
        gait_command: the command, ``(num_envs, 3 · num_feet)``.
    """

    cfg: GaitPhaseCommandCfg

    def __init__(self, cfg: GaitPhaseCommandCfg, env: ManagerBasedRLEnv) -> None:
        super().__init__(cfg, env)
        self.feet = list(cfg.offsets)
        offsets = [self._offset(foot) for foot in self.feet]
        if not offsets:
            raise ConfigError("gait command: offsets is empty; it must be {foot: share of the cycle}")
        self._offsets = torch.tensor(offsets, device=self.device)
        self.ranges = UniformRanges(cfg.ranges, _PARTS, self.device, "gait command: ranges")
        self._check_ranges()
        self.phase = torch.zeros(self.num_envs, device=self.device)
        self.frequency = torch.zeros_like(self.phase)
        self.duty_factor = torch.zeros_like(self.phase)
        self.desired_contact = torch.zeros(self.num_envs, len(offsets), dtype=torch.bool, device=self.device)
        self.gait_command = torch.zeros(self.num_envs, 3 * len(offsets), device=self.device)
        kinds = ("phase_sin", "phase_cos", "contact")
        entries = tuple(f"{foot}/{kind}" for kind in kinds for foot in self.feet)
        self.io = ObservationIO(units="1", frame="", entries=entries)

    @property
    def command(self) -> Tensor:
        """Sines of all feet, their cosines, then their contacts, ``(num_envs, 3 · num_feet)``."""
        return self.gait_command

    def from_sensors(self, command_name: str) -> Computation:
        """Return the clock as a robot runs it: frequency (Hz) and duty factor are the command, the phase is kept.

        In deployment an episode starts at phase 0.
        """
        source = Source(
            name=f"command_{command_name}",
            role="command",
            entries=_PARTS,
            units=("Hz", "1"),
            frame="",
            read=lambda: torch.stack((self.frequency, self.duty_factor), dim=-1),
            command=command_name,
        )
        offsets, dt = self._offsets.cpu().clone(), self._env.step_dt

        def compute(command: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
            feet = (phase + offsets).remainder(1.0)
            angle, contact = feet * (2.0 * math.pi), (feet < command[:, 1:]).float()
            value = torch.cat((angle.sin(), angle.cos(), contact), dim=-1)
            return value, (phase + command[:, :1] * dt).remainder(1.0)

        state = StepState(f"{command_name}_phase", torch.zeros(1, 1), lambda: self.phase.unsqueeze(-1))
        return Computation(compute, (source,), (state,))

    def reset(self, env_mask: Tensor) -> None:
        super().reset(env_mask)
        torch.where(env_mask, self._env.rng.uniform(0.0, 1.0, ()), self.phase, out=self.phase)
        self._update_command()

    def compute(self, dt: float) -> None:
        self.phase.add_(self.frequency * dt).remainder_(1.0)  # with the frequency of the step that is over
        super().compute(dt)

    def apply_cfg(self) -> None:
        """Take changed ranges from the configuration."""
        self.ranges.update(self.cfg.ranges)
        self._check_ranges()

    def ranges_state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of the ranges."""
        return {"ranges": self.ranges.table}

    def state(self) -> dict[str, Tensor]:
        return {
            **super().state(),
            "phase": self.phase,
            "frequency": self.frequency,
            "duty_factor": self.duty_factor,
        }

    def _resample_command(self, env_mask: Tensor) -> None:
        frequency, duty_factor = self.ranges.at(self._env.rng.uniform(0.0, 1.0, (len(_PARTS),))).unbind(dim=-1)
        torch.where(env_mask, frequency, self.frequency, out=self.frequency)
        torch.where(env_mask, duty_factor, self.duty_factor, out=self.duty_factor)

    def _update_command(self) -> None:
        phase = (self.phase.unsqueeze(-1) + self._offsets).remainder(1.0)
        torch.lt(phase, self.duty_factor.unsqueeze(-1), out=self.desired_contact)
        angle = phase * (2.0 * math.pi)
        contact = self.desired_contact.to(torch.float32)
        torch.cat((angle.sin(), angle.cos(), contact), dim=-1, out=self.gait_command)

    def _update_metrics(self) -> None:
        """Nothing: what the feet do is measured by the reward."""

    def _offset(self, foot: str) -> float:
        offset = self.cfg.offsets[foot]
        if isinstance(offset, bool) or not isinstance(offset, int | float) or not math.isfinite(offset):
            raise ConfigError(f"gait command: offsets[{foot!r}] is {offset!r}; it must be a share of the cycle")
        return float(offset)

    def _check_ranges(self) -> None:
        low, high = self.cfg.ranges.frequency
        fastest = 0.5 / self._env.step_dt
        if not 0.0 < low <= high <= fastest:
            raise ConfigError(
                f"gait command: ranges.frequency is {(low, high)}; it must be above 0 and at most {fastest:g} Hz, "
                "half the control rate"
            )
        low, high = self.cfg.ranges.duty_factor
        if not 0.0 <= low <= high <= 1.0:
            raise ConfigError(f"gait command: ranges.duty_factor is {(low, high)}; it must be within [0, 1]")
