"""A policy as a pure function of tensors, the form in which it is exported: no memory inside, no groups, no learner."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

Memory = dict[str, tuple[int, int]]
"""What a recurrent policy remembers: layers and width of each tensor, by its name (``h``, and ``c`` of an LSTM)."""


class Normalizer(nn.Module):
    """``clip((x - mean) / denominator, -clip, clip)``, in the precision of ``mean``; the result is float32.

    All learners' normalisers have this form. They differ in how the denominator follows from the running moments, which
    ``denominator_is`` says.

    Args:
        mean: mean of each entry, ``(width,)``.
        denominator: what each entry is divided by, ``(width,)``.
        clip: bound on each normalised entry; None for none.
        denominator_is: formula of the denominator, such as ``"std + epsilon"``.
        epsilon: the number in that formula.
    """

    mean: Tensor
    denominator: Tensor

    def __init__(
        self, mean: Tensor, denominator: Tensor, clip: float | None, denominator_is: str, epsilon: float
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean.detach().clone().flatten())
        self.register_buffer("denominator", denominator.detach().clone().flatten())
        self.clip = clip
        self.denominator_is = denominator_is
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        y = (x - self.mean) / self.denominator
        if self.clip is not None:
            y = y.clamp(-self.clip, self.clip)
        return y.to(torch.float32)

    def describe(self) -> dict[str, Any]:
        """Return the formula and its numbers."""
        plain = "(obs - mean) / denominator"
        return {
            "formula": plain if self.clip is None else f"clip({plain}, -clip, clip)",
            "denominator_is": self.denominator_is,
            "epsilon": self.epsilon,
            "clip": self.clip,
            "precision": str(self.mean.dtype).removeprefix("torch."),
            "mean": numbers(self.mean),
            "denominator": numbers(self.denominator),
        }


class SideBySide(nn.Module):
    """Parts of a vector through a normaliser each; None passes a part on as it is.

    Args:
        widths: width of each part.
        parts: a normaliser or None for each.
    """

    def __init__(self, widths: list[int], parts: list[Normalizer | None]) -> None:
        super().__init__()
        self.widths = widths
        self.parts = nn.ModuleList([nn.Identity() if part is None else part for part in parts])

    def forward(self, x: Tensor) -> Tensor:
        pieces = x.split(self.widths, dim=-1)
        return torch.cat([part(piece) for part, piece in zip(self.parts, pieces, strict=True)], dim=-1)

    def describe(self) -> dict[str, Any]:
        """Return the formulas of the parts, with the slice of the observation that each takes."""
        out, start = [], 0
        for width, part in zip(self.widths, self.parts, strict=True):
            formula = part.describe() if isinstance(part, Normalizer) else {"formula": "obs"}
            out.append({"slice": [start, start + width], **formula})
            start += width
        return {"parts": out}


class PolicyGraph(nn.Module):
    """Observations and memory in, bounded mean actions and new memory out.

    ``graph(obs, *memory)`` takes observations ``(batch, obs_dim)`` as the environment gives them, and each tensor of
    the memory ``(layers, batch, width)``, which is zero at the start of an episode. It returns actions ``(batch,
    num_actions)`` as the environment took them in training; with memory, a tuple of these and the new memory.

    Args:
        network: normalised observations and memory to actions, or to a tuple of actions and memory.
        groups: observation groups of which ``obs`` consists, concatenated in this order.
        obs_dim: width of an observation.
        num_actions: width of an action.
        normalizer: what observations pass through first.
        obs_limit: bound on each entry of an observation, before the normaliser.
        action_limit: bound on each action.
        memory: what a recurrent network remembers.
    """

    def __init__(
        self,
        network: nn.Module,
        groups: list[str],
        obs_dim: int,
        num_actions: int,
        *,
        normalizer: Normalizer | SideBySide | None = None,
        obs_limit: float | None = None,
        action_limit: float | None = None,
        memory: Memory | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.groups = list(groups)
        self.obs_dim = obs_dim
        self.num_actions = num_actions
        self.normalizer = normalizer
        self.obs_limit = _bound(obs_limit)
        self.action_limit = _bound(action_limit)
        self.memory = dict(memory or {})
        self.eval()

    def forward(self, obs: Tensor, *memory: Tensor) -> Tensor | tuple[Tensor, ...]:
        x = obs if self.obs_limit is None else obs.clamp(-self.obs_limit, self.obs_limit)
        if self.normalizer is not None:
            x = self.normalizer(x)
        output = self.network(x, *memory)
        actions, *after = output if isinstance(output, tuple) else (output,)
        if self.action_limit is not None:
            actions = actions.clamp(-self.action_limit, self.action_limit)
        return (actions, *(part for part in after if part is not None)) if self.memory else actions

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in order: ``obs``, ``h_in``, ``c_in``."""
        return ["obs", *(f"{name}_in" for name in self.memory)]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in order: ``actions``, ``h_out``, ``c_out``."""
        return ["actions", *(f"{name}_out" for name in self.memory)]

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """Return inputs of the right shapes, all zero."""
        blank = [torch.zeros(layers, batch, width) for layers, width in self.memory.values()]
        return torch.zeros(batch, self.obs_dim), *blank

    def describe(self) -> dict[str, Any]:
        """Return names, shapes, bounds and the normaliser, as plain types."""
        memory_shapes = [[layers, "batch", width] for layers, width in self.memory.values()]
        shapes_in, shapes_out = [["batch", self.obs_dim], *memory_shapes], [["batch", self.num_actions], *memory_shapes]
        return {
            "inputs": _tensors(self.input_names, shapes_in),
            "outputs": _tensors(self.output_names, shapes_out),
            "memory": [
                {"input": before, "output": after, "initial": 0.0}
                for before, after in zip(self.input_names[1:], self.output_names[1:], strict=True)
            ],
            "obs_limit": self.obs_limit,
            "action_limit": self.action_limit,
            "normalizer": None if self.normalizer is None else self.normalizer.describe(),
        }


def memory_of(rnn: nn.Module) -> Memory:
    """Return what a GRU or an LSTM remembers.

    Raises:
        TypeError: it is neither.
    """
    if not isinstance(rnn, nn.GRU | nn.LSTM):
        raise TypeError(f"a {type(rnn).__name__} is neither a GRU nor an LSTM")
    shape = (rnn.num_layers, rnn.hidden_size)
    return {"h": shape} if isinstance(rnn, nn.GRU) else {"h": shape, "c": shape}


def numbers(values: Tensor) -> list[float]:
    """Return a vector as numbers; a float32 becomes the shortest decimal that means it."""
    return [float(str(value)) for value in values.detach().cpu().numpy()]


def _bound(limit: float | None) -> float | None:
    return None if limit is None or math.isinf(limit) else float(limit)


def _tensors(names: list[str], shapes: list[list[Any]]) -> list[dict[str, Any]]:
    return [{"name": n, "shape": s, "dtype": "float32"} for n, s in zip(names, shapes, strict=True)]
