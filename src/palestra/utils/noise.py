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
from palestra.utils.buffers import DelayBuffer
from palestra.utils.modifiers import quantize

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

    has_memory = False
    """Whether it remembers past data; it is then called with ``push`` too."""

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


class SensorNoiseModel(NoiseModel):
    """A sensor as it reaches a policy: late, with a bias and noise, quantized, and now and then lost.

    Attributes:
        bias: the bias of this episode, ``(num_envs, width)``.
        delay: holds readings back; ``None`` without latency.
    """

    _noise_model_cfg: SensorNoiseModelCfg
    has_memory = True

    def __init__(
        self, noise_model_cfg: SensorNoiseModelCfg, num_envs: int, device: torch.device | str, width: int
    ) -> None:
        super().__init__(noise_model_cfg, num_envs, device, width)
        low, high = noise_model_cfg.delay_range
        if not (isinstance(low, int) and isinstance(high, int) and 0 <= low <= high):
            raise ConfigError(f"delay_range is {(low, high)}; it must be two whole numbers, 0 <= low <= high")
        if not 0.0 <= noise_model_cfg.dropout < 1.0:
            raise ConfigError(f"dropout is {noise_model_cfg.dropout}; it must be a probability below 1")
        if noise_model_cfg.resolution < 0.0:
            raise ConfigError(f"resolution is {noise_model_cfg.resolution}; it must be 0 or more")
        self.bias = torch.zeros(num_envs, width, device=device)
        self.delay = DelayBuffer(high, num_envs, device) if high else None
        self._held = torch.zeros(num_envs, width, device=device)
        self._fresh = torch.ones(num_envs, 1, dtype=torch.bool, device=device)

    def reset(self, env_mask: Tensor, rng: RandomStream) -> None:
        """Start a new episode in the masked environments: new bias, new latency, no past."""
        cfg = self._noise_model_cfg
        if cfg.bias_noise_cfg is not None:
            fresh = cfg.bias_noise_cfg.func(torch.zeros_like(self.bias), cfg.bias_noise_cfg, rng)
            torch.where(env_mask.unsqueeze(-1), fresh, self.bias, out=self.bias)
        if self.delay is not None:
            low, high = cfg.delay_range
            self.delay.set_time_lag(torch.floor(rng.uniform(float(low), high + 1.0, ())).to(torch.int64), env_mask)
            self.delay.reset(env_mask)
        self._fresh.logical_or_(env_mask.unsqueeze(-1))

    def __call__(self, data: Tensor, rng: RandomStream, push: bool = True) -> Tensor:
        """Return what the policy gets of ``data``, ``(num_envs, width)``.

        Args:
            data: the present value.
            rng: random numbers.
            push: whether to remember it; off for a look at a state that is about to be reset.
        """
        cfg = self._noise_model_cfg
        if self.delay is not None:
            data = self.delay.compute(data) if push else self.delay.peek(data)
        if cfg.noise_cfg is not None:
            data = cfg.noise_cfg.func(data, cfg.noise_cfg, rng)
        if cfg.bias_noise_cfg is not None:
            data = data + self.bias
        if cfg.resolution:
            data = quantize(data, cfg.resolution)
        if cfg.dropout:
            lost = (rng.uniform(0.0, 1.0, (1,)) < cfg.dropout) & ~self._fresh
            data = torch.where(lost, self._held, data)
            if push:
                self._held.copy_(data)
                self._fresh.zero_()
        return data


@configclass
class SensorNoiseModelCfg(NoiseModelCfg):
    """Errors of a real sensor, in this order: latency, noise, bias, quantization, dropout. All are off by default."""

    class_type: type[NoiseModel] = SensorNoiseModel

    noise_cfg: NoiseCfg | None = None
    """Noise of every reading."""

    bias_noise_cfg: NoiseCfg | None = None
    """Distribution of a bias that is drawn once an episode, for each entry."""

    delay_range: tuple[int, int] = (0, 0)
    """Least and largest latency (control steps), drawn once an episode. The first reading is there at once."""

    resolution: float = 0.0
    """Step of the quantization, in the unit of the data; 0 is none."""

    dropout: float = 0.0
    """Probability that a reading of all entries is lost; the last one then stays."""
