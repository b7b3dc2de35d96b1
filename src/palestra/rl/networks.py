"""The actor and the critic: multilayer perceptrons, and the Gaussian from which actions are drawn.

The modules have the same parameter names as RSL-RL's, so that weights move between the two.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from palestra.rl.config import ModelCfg
from palestra.rl.distributed import ALONE, World
from palestra.rl.normalizer import EmpiricalNormalization

# Where an activation can overwrite its input it does: the layer before it needs only its own input for the
# gradient, and ELU's gradient then comes from its result, without a second exponential.
_ACTIVATIONS: dict[str, nn.Module] = {
    "elu": nn.ELU(inplace=True),
    "relu": nn.ReLU(inplace=True),
    "selu": nn.SELU(),
    "lrelu": nn.LeakyReLU(inplace=True),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "softplus": nn.Softplus(),
    "gelu": nn.GELU(),
    "swish": nn.SiLU(),
    "mish": nn.Mish(),
    "identity": nn.Identity(),
}

MIN_STD = 1e-6
"""Smallest standard deviation of an action, which keeps log-probabilities finite."""


class _Affine(torch.autograd.Function):
    """x Wᵀ + b, whose bias gradient is a matrix product too: PyTorch's sum over many rows is slower on a GPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
        x, weight = x.to(dtype), weight.to(dtype)
        ctx.save_for_backward(x, weight)
        return torch.addmm(bias.to(dtype), x, weight.t())

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = grad_outputs
        x, weight = ctx.saved_tensors
        ones = gradient.new_ones(1, len(gradient))
        to_input = gradient @ weight if ctx.needs_input_grad[0] else None
        return to_input, gradient.t() @ x, (ones @ gradient).squeeze(0), None


class Linear(nn.Linear):
    """A linear layer that learns faster from large batches on a GPU."""

    def forward(self, input: Tensor) -> Tensor:
        if input.is_cuda and input.dim() == 2 and torch.is_grad_enabled():
            reduced = torch.is_autocast_enabled("cuda")
            dtype = torch.get_autocast_dtype("cuda") if reduced else self.weight.dtype
            return _Affine.apply(input, self.weight, self.bias, dtype)  # type: ignore[return-value]
        return super().forward(input)


class MLP(nn.Sequential):
    """Linear layers with an activation between them; the output layer, ``mlp[-1]``, is linear."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)

    @staticmethod
    def build(input_dim: int, output_dim: int, cfg: ModelCfg) -> "MLP":
        """Return a new network whose output layer is scaled by ``cfg.output_gain``."""
        layers: list[nn.Module] = []
        width = input_dim
        for hidden_dim in cfg.hidden_dims:
            layers += [Linear(width, hidden_dim), _ACTIVATIONS[cfg.activation]]
            width = hidden_dim
        return MLP(*layers, _output_layer(width, output_dim, cfg.output_gain))

    def features(self, x: Tensor) -> Tensor:
        """Return what enters the output layer."""
        for layer in list(self)[:-1]:
            x = layer(x)
        return x


def _output_layer(input_dim: int, output_dim: int, gain: float) -> nn.Linear:
    layer = Linear(input_dim, output_dim)
    with torch.no_grad():
        layer.weight.mul_(gain)
        layer.bias.mul_(gain)
    return layer


class Gaussian(nn.Module):
    """A diagonal Gaussian whose standard deviation is a parameter, the same in every state."""

    def __init__(self, num_actions: int, cfg: ModelCfg) -> None:
        super().__init__()
        self.std_type = cfg.std_type
        if cfg.std_type == "log":
            self.log_std_param = nn.Parameter(torch.full((num_actions,), math.log(cfg.init_std)))
        else:
            self.std_param = nn.Parameter(torch.full((num_actions,), cfg.init_std))

    @property
    def std(self) -> Tensor:
        """Standard deviation of each action, ``(num_actions,)``."""
        if self.std_type == "log":
            return self.log_std_param.clamp(min=math.log(MIN_STD)).exp()
        return self.std_param.clamp(min=MIN_STD)


def log_prob(actions: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return log N(a; μ, σ²) summed over the actions, ``(...,)`` for ``actions`` and ``mean`` ``(...,
    num_actions)``.
    """
    squared = ((actions - mean) / std).square().sum(dim=-1)
    return -0.5 * squared - std.log().sum() - 0.5 * mean.shape[-1] * math.log(2.0 * math.pi)


def entropy(std: Tensor) -> Tensor:
    """Return the entropy (nats) of a diagonal Gaussian with standard deviations ``std`` ``(num_actions,)``."""
    return std.log().sum() + 0.5 * std.shape[-1] * (1.0 + math.log(2.0 * math.pi))


def mean_kl(old_mean: Tensor, old_std: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return KL(old ‖ new) of two diagonal Gaussians, averaged over the rows of the means (0-dim).

    Means ``(rows, num_actions)``, standard deviations ``(num_actions,)``.
    """
    ratio = (old_std / std).square()
    shift = (old_mean - mean).square().mean(dim=0) / std.square()
    return 0.5 * (ratio + shift - 1.0 - ratio.log()).sum()


class Model(nn.Module):
    """Observations, normalised if the configuration says so, through a multilayer perceptron."""

    def __init__(self, obs_dim: int, output_dim: int, cfg: ModelCfg) -> None:
        super().__init__()
        self.obs_dim = obs_dim
        self.obs_normalizer = EmpiricalNormalization(obs_dim) if cfg.obs_normalization else nn.Identity()
        self.mlp = MLP.build(obs_dim, output_dim, cfg)

    def forward(self, obs: Tensor) -> Tensor:
        """Return the output ``(..., output_dim)`` for raw observations ``(..., obs_dim)``."""
        return self.mlp(self.obs_normalizer(obs))

    def normalize_(self, obs: Tensor) -> Tensor:
        """Normalise ``obs`` in place where this model normalises, and return it."""
        if isinstance(self.obs_normalizer, EmpiricalNormalization):
            return self.obs_normalizer.normalize_(obs)
        return obs

    def update_normalization(self, obs: Tensor, world: World = ALONE) -> None:
        """Merge raw observations ``(rows, obs_dim)``, those of all processes, into the normaliser's statistics."""
        if isinstance(self.obs_normalizer, EmpiricalNormalization):
            self.obs_normalizer.update(obs, world)


class Actor(Model):
    """The policy: ``forward`` gives the mean action μ(s), ``distribution`` holds σ."""

    def __init__(self, obs_dim: int, num_actions: int, cfg: ModelCfg) -> None:
        super().__init__(obs_dim, num_actions, cfg)
        self.num_actions = num_actions
        self.distribution = Gaussian(num_actions, cfg)

    @property
    def std(self) -> Tensor:
        """Standard deviation of each action, ``(num_actions,)``."""
        return self.distribution.std


class RecurrentActor(nn.Module):
    """A policy with a memory: normaliser, GRU, multilayer perceptron; for students of a distillation."""

    def __init__(self, obs_dim: int, num_actions: int, cfg: ModelCfg, hidden_dim: int, num_layers: int) -> None:
        super().__init__()
        self.obs_dim = obs_dim
        self.num_actions = num_actions
        self.obs_normalizer = EmpiricalNormalization(obs_dim) if cfg.obs_normalization else nn.Identity()
        self.core = RecurrentCore(obs_dim, num_actions, cfg, hidden_dim, num_layers)

    def blank(self, num_envs: int) -> Tensor:
        """Return the memory at the start of an episode, ``(layers, num_envs, hidden_dim)``."""
        rnn = self.core.rnn
        return next(rnn.parameters()).new_zeros(rnn.num_layers, num_envs, rnn.hidden_size)

    def forward(self, obs: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean actions ``(num_envs, num_actions)`` and the new memory for one step."""
        return self.core(self.obs_normalizer(obs), memory)

    def update_normalization(self, obs: Tensor) -> None:
        """Merge raw observations ``(rows, obs_dim)`` into the normaliser's statistics."""
        if isinstance(self.obs_normalizer, EmpiricalNormalization):
            self.obs_normalizer.update(obs)


class RecurrentCore(nn.Module):
    """A GRU and a multilayer perceptron behind it."""

    def __init__(self, obs_dim: int, num_actions: int, cfg: ModelCfg, hidden_dim: int, num_layers: int) -> None:
        super().__init__()
        self.rnn = nn.GRU(obs_dim, hidden_dim, num_layers)
        self.mlp = MLP.build(hidden_dim, num_actions, cfg)

    def forward(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return actions and memory for normalised observations ``(num_envs, obs_dim)``."""
        features, memory = self.rnn(x.unsqueeze(0), memory)
        return self.mlp(features.squeeze(0)), memory


class Critic(Model):
    """The value function V(s); ``forward`` gives ``(..., 1)``."""

    def __init__(self, obs_dim: int, cfg: ModelCfg) -> None:
        super().__init__(obs_dim, 1, cfg)

    def share_trunk(self, actor: Actor, output_gain: float) -> None:
        """Replace everything but the output layer by the actor's layers and normaliser."""
        width = actor.mlp[-1].in_features
        assert isinstance(width, int)
        self.obs_normalizer = actor.obs_normalizer
        self.mlp = MLP(*list(actor.mlp)[:-1], _output_layer(width, 1, output_gain))
