"""PPO's loss of a minibatch and its gradient by hand.

The formulas are short and need half the operations that automatic differentiation launches for them, which is most of
the time that small networks take to learn on a GPU; the networks themselves are differentiated by PyTorch.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from palestra.rl.networks import entropy, mean_kl
from palestra.rl.storage import MiniBatch
from palestra.utils.fused import on_gpu

LOSSES = ("Loss/surrogate", "Loss/value", "Loss/entropy", "Policy/kl", "Policy/clip_fraction")
"""What ``Loss.parts`` holds:

- surrogate: −E[min(r Â, clip(r, 1 − ε, 1 + ε) Â)] with r = π(a|s) / π_old(a|s);
- value: E[(V − R)²], or of the two errors that clipping V to within ±ε of its old value leaves the larger;
- entropy of the policy (nats);
- KL divergence of the policy from the old one (nats), a mean over the rows;
- clip fraction: share of the rows with r outside of 1 ± ε.
"""


class Loss(NamedTuple):
    """Parts of the loss and the whole's gradient."""

    parts: Tensor
    """``LOSSES``, ``(5,)``."""
    mean_gradient: Tensor
    """∂L/∂μ, ``(rows, num_actions)``."""
    std_gradient: Tensor
    """∂L/∂σ, ``(num_actions,)``."""
    values_gradient: Tensor
    """∂L/∂V, ``(rows,)``."""

    @property
    def kl(self) -> Tensor:
        """KL divergence from the old policy (0-dim)."""
        return self.parts[3]

    def backward(self, mean: Tensor, std: Tensor, values: Tensor) -> None:
        """Hand the gradient on to what ``mean``, ``std`` and ``values`` were computed from."""
        gradient = (self.mean_gradient, self.std_gradient, self.values_gradient)
        _Loss.apply(mean, std, values, gradient).backward()  # type: ignore[union-attr]


class _Loss(torch.autograd.Function):
    """A loss of which only the gradient is known.

    ``torch.autograd.backward`` with given gradients would import PyTorch's compiler, which takes a second.
    """

    @staticmethod
    def forward(ctx: Any, mean: Tensor, std: Tensor, values: Tensor, gradient: tuple[Tensor, ...]) -> Tensor:
        ctx.gradient = gradient
        return mean.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return (*ctx.gradient, None)


@torch.no_grad()
def ppo_loss(
    batch: MiniBatch,
    advantages: Tensor,
    mean: Tensor,
    std: Tensor,
    old_std: Tensor,
    values: Tensor,
    clip_param: Tensor,
    value_loss_coef: Tensor,
    entropy_coef: Tensor,
    clip_values: bool,
) -> Loss:
    """Return L = surrogate + c_v · value − c_e · entropy in parts, and its gradient.

    Schulman et al. 2017, arXiv:1707.06347, eq. 7 and 9. With z = (a − μ)/σ:

    ∂L/∂log π = −r Â / rows, or 0 where the clipped term is the smaller; ∂log π/∂μ = z/σ; ∂log π/∂σ = (z² − 1)/σ;
    ∂L/∂V = 2 c_v (V − R) / rows, or 0 where the clipped error is the larger.

    Args:
        batch: what the old policy did.
        advantages: Â, ``(rows,)``.
        mean: μ of the present policy, ``(rows, num_actions)``.
        std: its σ, ``(num_actions,)``.
        old_std: σ of the old policy.
        values: V, ``(rows,)``.
        clip_param: ε (0-dim).
        value_loss_coef: c_v (0-dim).
        entropy_coef: c_e (0-dim).
        clip_values: whether the value loss is clipped.
    """
    if on_gpu(mean, std, values, batch.actions):
        from palestra.rl import loss_warp

        coefficients = (clip_param, value_loss_coef, entropy_coef)
        return Loss(*loss_warp.ppo_loss(batch, advantages, mean, std, old_std, values, *coefficients, clip_values))
    rows = len(values)
    inverse_std = std.reciprocal()
    z = (batch.actions - mean) * inverse_std
    squared = z.square()
    constant = std.log().sum() + 0.5 * len(std) * math.log(2.0 * math.pi)
    ratio = torch.exp(-0.5 * squared.sum(dim=-1) - constant - batch.log_prob)
    clipped_ratio = ratio.clamp(1.0 - clip_param, 1.0 + clip_param)
    gain, clipped_gain = advantages * ratio, advantages * clipped_ratio
    weight = torch.where(gain <= clipped_gain, gain, 0.0) * (-1.0 / rows)

    error = values - batch.returns
    squared_error = error.square()
    values_gradient = error * (2.0 / rows * value_loss_coef)
    if clip_values:
        change = values - batch.values
        small_change = change.clamp(-clip_param, clip_param)
        clipped_error = (batch.values + small_change - batch.returns).square()
        counts = (squared_error >= clipped_error) | (change == small_change)
        values_gradient = torch.where(counts, values_gradient, 0.0)
        squared_error = torch.maximum(squared_error, clipped_error)

    std_score = torch.mv(squared.T, weight) - weight.sum()
    parts = (
        -torch.minimum(gain, clipped_gain).mean(),
        squared_error.mean(),
        entropy(std),
        mean_kl(batch.mean, old_std, mean, std),
        (ratio != clipped_ratio).to(ratio.dtype).mean(),
    )
    return Loss(
        parts=torch.stack(parts),
        mean_gradient=z * (weight.unsqueeze(-1) * inverse_std),
        std_gradient=(std_score - entropy_coef) * inverse_std,
        values_gradient=values_gradient,
    )
