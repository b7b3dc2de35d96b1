"""Noise on observations and actions: a draw a call (``NoiseCfg``) or a model with memory (``NoiseModelCfg``).

``cfg.func(data, cfg, rng)`` returns the noisy data; ``rng`` is the environment's random stream, so that one
environment's noise does not depend on how many others there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor

from palestra.config.configclass import MISSING, configclass
from palestra.errors import ConfigError

Operation = Literal["add", "scale", "abs"]


class RandomStream(Protocol):
    """What noise needs of ``env.rng``: draws of shape ``(num_envs, *shape)``."""

    def uniform(self, low: float | Tensor, high: float | Tensor, shape: tuple[int, ...]) -> Tensor:
        """Draw uniformly from ``[low, high)``."""
        ...

    def normal(self, mean: float | Tensor, std: float | Tensor, shape: tuple[int, ...]) -> Tensor:
        """Draw from a normal distribution."""
        ...


def combine(data: Tensor, noise: Tensor | float, operation: Operation) -> Tensor:
    """Add noise to the data, scale the data by it, or put it in the data's place (``"abs"``)."""
    if operation == "add":
        return data + noise
    if operation == "scale":
        return data * noise
    if operation == "abs":
        return torch.zeros_like(data) + noise
    raise ConfigError(f"noise operation is {operation!r}; allowed: 'add', 'scale', 'abs'")


def constant_noise(data: Tensor, cfg: ConstantNoiseCfg, rng: RandomStream) -> Tensor:
    """Apply the same number always."""
    return combine(data, cfg.bias, cfg.operation)


def uniform_noise(data: Tensor, cfg: UniformNoiseCfg, rng: RandomStream) -> Tensor:
    """Apply numbers drawn uniformly from ``[n_min, n_max)``."""
    return combine(data, rng.uniform(cfg.n_min, cfg.n_max, tuple(data.shape[1:])), cfg.operation)


def gaussian_noise(data: Tensor, cfg: GaussianNoiseCfg, rng: RandomStream) -> Tensor:
    """Apply normally distributed numbers."""
    return combine(data, rng.normal(cfg.mean, cfg.std, tuple(data.shape[1:])), cfg.operation)


@configclass
class NoiseCfg:
    """Base of all noise configurations."""

    func: Callable[..., Tensor] = MISSING
    """Function ``(data, cfg, rng) -> Tensor`` that applies the noise; the subclasses set it."""

    operation: Operation = "add"
    """``"add"`` the draw to the data, ``"scale"`` the data by it, or let it replace the data (``"abs"``)."""


@configclass
class ConstantNoiseCfg(NoiseCfg):
    """A constant offset or factor."""

    func: Callable[..., Tensor] = constant_noise

    bias: float | Tensor = 0.0
    """The number, in the unit of the data (a tensor must broadcast against ``(num_envs, *shape)``)."""


@configclass
class UniformNoiseCfg(NoiseCfg):
    """Uniform noise, e.g. ``UniformNoiseCfg(n_min=-0.01, n_max=0.01)``."""

    func: Callable[..., Tensor] = uniform_noise

    n_min: float | Tensor = -1.0
    """Smallest value, in the unit of the data."""

    n_max: float | Tensor = 1.0
    """Largest value, in the unit of the data."""


@configclass
class GaussianNoiseCfg(NoiseCfg):
    """Normally distributed noise, e.g. ``GaussianNoiseCfg(std=0.01)``."""

    func: Callable[..., Tensor] = gaussian_noise

    mean: float | Tensor = 0.0
    """Mean, in the unit of the data."""

    std: float | Tensor = 1.0
    """Standard deviation, in the unit of the data."""


AdditiveUniformNoiseCfg = UniformNoiseCfg
AdditiveGaussianNoiseCfg = GaussianNoiseCfg


class NoiseModel:
    """Noise that one configuration describes, with a ``reset`` for subclasses that remember something.

    Args:
        noise_model_cfg: configuration.
        num_envs: number of environments.
        device: where the noise is made.
        width: number of entries of the data.
    """

    def __init__(self, noise_model_cfg: NoiseModelCfg, num_envs: int, device: torch.device | str, width: int) -> None:
        self._noise_model_cfg = noise_model_cfg

    def reset(self, env_mask: Tensor, rng: RandomStream) -> None:
        """Start a new episode in the masked environments."""

    def __call__(self, data: Tensor, rng: RandomStream) -> Tensor:
        """Return noisy data, ``(num_envs, width)``."""
        cfg = self._noise_model_cfg.noise_cfg
        return cfg.func(data, cfg, rng)


class NoiseModelWithAdditiveBias(NoiseModel):
    """Noise plus a bias that is drawn once an episode, like the offset of an uncalibrated encoder.

    Attributes:
        bias: the bias of this episode, ``(num_envs, width)`` or ``(num_envs, 1)``; 0 before a reset.
    """

    _noise_model_cfg: NoiseModelWithAdditiveBiasCfg

    def __init__(
        self,
        noise_model_cfg: NoiseModelWithAdditiveBiasCfg,
        num_envs: int,
        device: torch.device | str,
        width: int,
    ) -> None:
        super().__init__(noise_model_cfg, num_envs, device, width)
        columns = width if noise_model_cfg.sample_bias_per_component else 1
        self.bias = torch.zeros(num_envs, columns, device=device)

    def reset(self, env_mask: Tensor, rng: RandomStream) -> None:
        """Draw a new bias in the masked environments."""
        cfg = self._noise_model_cfg.bias_noise_cfg
        fresh = cfg.func(torch.zeros_like(self.bias), cfg, rng)
        torch.where(env_mask.unsqueeze(-1), fresh, self.bias, out=self.bias)

    def __call__(self, data: Tensor, rng: RandomStream) -> Tensor:
        return super().__call__(data, rng) + self.bias


@configclass
class NoiseModelCfg:
    """A noise model: what to draw, and the class that draws it."""

    class_type: type[NoiseModel] = NoiseModel
    """Class of the model, called as ``class_type(cfg, num_envs, device, width)``."""

    noise_cfg: NoiseCfg = MISSING
    """Noise of every call."""


@configclass
class NoiseModelWithAdditiveBiasCfg(NoiseModelCfg):
    """Noise of every call plus a bias of every episode."""

    class_type: type[NoiseModel] = NoiseModelWithAdditiveBias

    bias_noise_cfg: NoiseCfg = MISSING
    """Distribution of the bias."""

    sample_bias_per_component: bool = True
    """Whether each entry of the data has its own bias; otherwise all entries share one."""
