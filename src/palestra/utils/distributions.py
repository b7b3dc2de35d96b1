"""Distributions of randomization terms: ranges as numbers or device tensors, draws, operations, and their checks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from palestra.errors import ConfigError
from palestra.utils.noise import Operation, RandomStream, combine

Distribution = Literal["uniform", "log_uniform", "gaussian"]
Range = tuple[float, float] | Tensor
"""Least and largest value (mean and standard deviation of ``"gaussian"``): two numbers, or a tensor ``(2,)`` or
``(num_envs, 2)`` that a curriculum writes."""

_DISTRIBUTIONS = ("uniform", "log_uniform", "gaussian")
_OPERATIONS = ("add", "scale", "abs")


def limits(bounds: Range, dims: int) -> tuple[float | Tensor, float | Tensor]:
    """Return the two ends of a range, to broadcast against ``(num_envs, *shape)`` with ``dims`` dimensions of shape."""
    if not isinstance(bounds, Tensor):
        return bounds[0], bounds[1]
    if bounds.dim() == 1:
        return bounds[0], bounds[1]
    rows = [-1] + [1] * dims
    return bounds[:, 0].view(rows), bounds[:, 1].view(rows)


def draw(rng: RandomStream, bounds: Range, shape: tuple[int, ...], distribution: Distribution = "uniform") -> Tensor:
    """Draw ``(num_envs, *shape)`` from a random stream.

    ``"uniform"`` and ``"log_uniform"`` take the least and the largest value, ``"gaussian"`` the mean and the standard
    deviation.
    """
    low, high = limits(bounds, len(shape))
    if distribution == "gaussian":
        return rng.normal(low, high, shape)
    if distribution == "log_uniform":
        return rng.uniform(_log(low), _log(high), shape).exp()
    return rng.uniform(low, high, shape)


def draw_integers(rng: RandomStream, bounds: Range, shape: tuple[int, ...] = ()) -> Tensor:
    """Draw integers in ``[low, high]``, both included, int64 ``(num_envs, *shape)``."""
    low, high = limits(bounds, len(shape))
    return torch.floor(rng.uniform(low, high + 1.0, shape)).to(torch.int64)


def randomized(
    rng: RandomStream, default: Tensor, bounds: Range, operation: Operation, distribution: Distribution
) -> Tensor:
    """Return default values with a draw added to them, scaled by it, or replaced by it (``"abs"``).

    Args:
        rng: the environment's random numbers.
        default: compiled values, ``(1 or num_envs, *shape)``.
        bounds: parameters of the distribution.
        operation: ``"add"``, ``"scale"`` or ``"abs"``.
        distribution: what is drawn.

    Returns:
        ``(num_envs, *shape)``.
    """
    drawn = draw(rng, bounds, tuple(default.shape[1:]), distribution)
    return drawn if operation == "abs" else combine(default, drawn, operation)


def check_choices(operation: str, distribution: str) -> None:
    """Refuse an unknown operation or distribution."""
    for what, value, allowed in (
        ("operation", operation, _OPERATIONS),
        ("distribution", distribution, _DISTRIBUTIONS),
    ):
        if value not in allowed:
            raise ConfigError(f"{what} is {value!r}; allowed: {', '.join(map(repr, allowed))}")


def check_range(what: str, bounds: Any, distribution: str = "uniform") -> None:
    """Refuse what is no range: two finite numbers in ascending order (a mean and a deviation of 0 or more)."""
    if isinstance(bounds, Tensor):
        return
    try:
        low, high = (float(x) for x in bounds)
    except (TypeError, ValueError):
        raise ConfigError(f"{what} is {bounds!r}; it must be (low, high)") from None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigError(f"{what} is {(low, high)}; both must be finite")
    if distribution == "gaussian":
        if high < 0.0:
            raise ConfigError(f"{what} is {(low, high)}; a gaussian takes (mean, std) with std >= 0")
        return
    if low > high:
        raise ConfigError(f"{what} is {(low, high)}; low must not exceed high")
    if distribution == "log_uniform" and low <= 0.0:
        raise ConfigError(f"{what} is {(low, high)}; log_uniform needs low > 0")


def check_ranges(params: Mapping[str, Any]) -> None:
    """Check every parameter of a term whose name says that it is a range, or a mapping of names to ranges."""
    distribution = params.get("distribution", "uniform")
    for name, value in params.items():
        if value is None or not name.endswith(("_range", "_distribution_params")):
            continue
        if isinstance(value, Mapping):
            for key, part in value.items():
                check_range(f"{name}: {key!r}", part, distribution)
        elif not _of_vectors(value):
            check_range(name, value, distribution)


def check_result(
    what: str,
    default: Tensor,
    bounds: Range,
    operation: Operation,
    distribution: Distribution,
    least: float,
    strict: bool = False,
) -> None:
    """Refuse a distribution that leads below ``least`` (or to it, if ``strict``) from some default value.

    Nothing is said about a gaussian, whose values have no bound: terms clamp it.
    """
    if distribution == "gaussian" or isinstance(bounds, Tensor) or default.numel() == 0:
        return
    low = float(bounds[0])
    smallest = float(default.min())
    if operation == "scale" and low < 0.0:
        raise ConfigError(f"{what} is {tuple(bounds)}; a factor must not be negative")
    result = {"abs": low, "add": smallest + low, "scale": smallest * low}[operation]
    if result < least or (strict and result <= least):
        sign = ">" if strict else ">="
        raise ConfigError(
            f"{what} is {tuple(bounds)} with operation {operation!r}: {result:.4g}; must be {sign} {least:g}"
        )


def _of_vectors(value: Any) -> bool:
    return isinstance(value, tuple | list) and bool(value) and isinstance(value[0], tuple | list)


def _log(value: float | Tensor) -> float | Tensor:
    return value.log() if isinstance(value, Tensor) else math.log(value)
