"""Modifiers: operations on an observation before noise, clip and scale.

A modifier is a function ``func(data, **params)``, or a class with memory that is built as
``class_type(cfg, data_dim, device)`` and then called with the data; ``data_dim`` is ``(num_envs, *shape)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from palestra.config.configclass import MISSING, configclass
from palestra.errors import ConfigError


def scale(data: Tensor, multiplier: float | Tensor) -> Tensor:
    """Multiply by a factor."""
    return data * multiplier


def clip(data: Tensor, bounds: tuple[float | None, float | None]) -> Tensor:
    """Clamp to ``bounds``; None leaves that side open."""
    return data.clamp(min=bounds[0], max=bounds[1])


def bias(data: Tensor, value: float | Tensor) -> Tensor:
    """Add a constant."""
    return data + value


def quantize(data: Tensor, resolution: float) -> Tensor:
    """Round to multiples of a sensor's resolution, in the unit of the data."""
    return torch.round(data / resolution) * resolution


quantize.models_hardware = True  # type: ignore[attr-defined]  # a robot's sensor already does: no part of its policy


def models_hardware(modifier: object) -> bool:
    """Whether a modifier (its configuration or its bound form) imitates a sensor rather than prepare its reading.

    Functions and classes say so by an attribute ``models_hardware``. Such modifiers are left out of exported policies.
    """
    kind = getattr(modifier, "func", None) or getattr(modifier, "class_type", None) or type(modifier)
    return bool(getattr(kind, "models_hardware", False))


class ModifierBase(ABC):
    """A modifier with memory."""

    def __init__(self, cfg: StatefulModifierCfg, data_dim: tuple[int, ...], device: torch.device | str) -> None:
        self._cfg = cfg
        self._data_dim = data_dim
        self._device = device

    @abstractmethod
    def reset(self, env_mask: Tensor | None = None) -> None:
        """Forget the past of the masked environments (``None``: of all)."""

    def initial_memory(self) -> dict[str, Tensor] | None:
        """Return what :meth:`step` remembers before the first value, ``(1, …)`` each; None if there is no ``step``."""
        return None

    def step(self, data: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        """Return the modified data and the new memory, as a function of tensors alone; for export."""
        raise NotImplementedError

    @abstractmethod
    def __call__(self, data: Tensor, push: bool = True) -> Tensor:
        """Return the modified data.

        Args:
            data: the present value, ``(num_envs, *shape)``.
            push: whether to remember it; off for a look at a state that is about to be reset.
        """

    def _rows(self, env_mask: Tensor, dims: int) -> Tensor:
        return env_mask.view(-1, *[1] * (dims - 1))


class DigitalFilter(ModifierBase):
    r"""Linear filter :math:`y_t = \sum_{k \ge 0} b_k x_{t-k} - \sum_{k \ge 1} a_k y_{t-k}` on every entry.

    Before the first value all past inputs and outputs are zero. Examples: a moving average over two steps is
    ``B=[0.5, 0.5], A=[0.0]``; a low-pass ``y_t = alpha y_{t-1} + (1 - alpha) x_t`` is
    ``B=[1 - alpha], A=[-alpha]``.
    """

    _cfg: DigitalFilterCfg

    def __init__(self, cfg: DigitalFilterCfg, data_dim: tuple[int, ...], device: torch.device | str) -> None:
        super().__init__(cfg, data_dim, device)
        if not cfg.A or not cfg.B:
            raise ConfigError("DigitalFilter: A and B need at least one coefficient each (A=[0.0] for no feedback)")
        self._a = torch.tensor(cfg.A, dtype=torch.float32, device=device)
        self._b = torch.tensor(cfg.B, dtype=torch.float32, device=device)
        # Newest first along the last dimension, in the order of the coefficients.
        self._inputs = torch.zeros(*data_dim, len(cfg.B), device=device)
        self._outputs = torch.zeros(*data_dim, len(cfg.A), device=device)

    def reset(self, env_mask: Tensor | None = None) -> None:
        for memory in (self._inputs, self._outputs):
            if env_mask is None:
                memory.zero_()
            else:
                memory.masked_fill_(self._rows(env_mask, memory.dim()), 0.0)

    def __call__(self, data: Tensor, push: bool = True) -> Tensor:
        filtered, inputs, outputs = self._filtered(data, self._inputs, self._outputs, self._a, self._b)
        if push:
            self._inputs.copy_(inputs)
            self._outputs.copy_(outputs)
        return filtered

    def initial_memory(self) -> dict[str, Tensor]:
        return {n: torch.zeros(1, *m.shape[1:]) for n, m in (("inputs", self._inputs), ("outputs", self._outputs))}

    def step(self, data: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        inputs, outputs = memory
        return self._filtered(data, inputs, outputs, self._a.cpu(), self._b.cpu())

    def _filtered(self, data: Tensor, inputs: Tensor, outputs: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        inputs = self._shifted(inputs, data)
        filtered = inputs @ b - outputs @ a
        return filtered, inputs, self._shifted(outputs, filtered)

    @staticmethod
    def _shifted(memory: Tensor, newest: Tensor) -> Tensor:
        return torch.cat((newest.unsqueeze(-1), memory[..., :-1]), dim=-1)


class Integrator(ModifierBase):
    """Integral over time by the trapezoid rule; zero before the first value."""

    _cfg: IntegratorCfg

    def __init__(self, cfg: IntegratorCfg, data_dim: tuple[int, ...], device: torch.device | str) -> None:
        super().__init__(cfg, data_dim, device)
        self._integral = torch.zeros(data_dim, device=device)
        self._previous = torch.zeros(data_dim, device=device)

    def reset(self, env_mask: Tensor | None = None) -> None:
        for memory in (self._integral, self._previous):
            if env_mask is None:
                memory.zero_()
            else:
                memory.masked_fill_(self._rows(env_mask, memory.dim()), 0.0)

    def __call__(self, data: Tensor, push: bool = True) -> Tensor:
        integral, *_ = self.step(data, self._integral, self._previous)
        if push:
            self._integral.copy_(integral)
            self._previous.copy_(data)
        return integral

    def initial_memory(self) -> dict[str, Tensor]:
        zero = torch.zeros(1, *self._integral.shape[1:])
        return {"integral": zero, "previous": zero}

    def step(self, data: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        integral = torch.add(memory[0], data + memory[1], alpha=0.5 * self._cfg.dt)
        return integral, integral, data


@configclass
class ModifierCfg:
    """A function as modifier, e.g. ``ModifierCfg(func=scale, params={"multiplier": 2.0})``."""

    func: Callable[..., Tensor] = MISSING
    """Function ``(data, **params) -> Tensor``."""

    params: dict[str, Any] = {}
    """Arguments of the function."""


@configclass
class StatefulModifierCfg:
    """A modifier with memory."""

    class_type: type[ModifierBase] = MISSING
    """Class of the modifier, called as ``class_type(cfg, data_dim, device)``."""


@configclass
class DigitalFilterCfg(StatefulModifierCfg):
    """Linear filter with feed-forward and feedback coefficients."""

    class_type: type[ModifierBase] = DigitalFilter

    A: list[float] = MISSING
    """Coefficients of the past outputs, the newest first."""

    B: list[float] = MISSING
    """Coefficients of the inputs, the present first."""


@configclass
class IntegratorCfg(StatefulModifierCfg):
    """Integral of the signal."""

    class_type: type[ModifierBase] = Integrator

    dt: float = MISSING
    """Time between two values (s)."""
