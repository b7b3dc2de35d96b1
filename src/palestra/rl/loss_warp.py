"""PPO's loss and its gradient (:mod:`palestra.rl.loss`) as two Warp kernels instead of some sixty operations.

The first works on rows and leaves what is summed over them in a table; the second, on one thread, makes numbers of the
sums. Sums over rows are PyTorch's, so that they come out the same each time.
"""

# Warp annotates with values.
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

import math

import warp as wp
from torch import Tensor

from palestra.physics.capture import launch
from palestra.rl.storage import MiniBatch

LOG_2PI = math.log(2.0 * math.pi)
SURROGATE, VALUE, KL, CLIPPED, STD = 0, 1, 2, 3, 4
"""Columns of the table; from STD on one for each action."""


@wp.kernel
def _rows(
    actions: wp.array2d(dtype=float),
    old_mean: wp.array2d(dtype=float),
    mean: wp.array2d(dtype=float),
    std: wp.array(dtype=float),
    old_log_prob: wp.array(dtype=float),
    advantages: wp.array(dtype=float),
    returns: wp.array(dtype=float),
    old_values: wp.array(dtype=float),
    values: wp.array(dtype=float),
    clip_param: wp.array(dtype=float),
    value_loss_coef: wp.array(dtype=float),
    clip_values: bool,
    mean_gradient: wp.array2d(dtype=float),
    values_gradient: wp.array(dtype=float),
    table: wp.array2d(dtype=float),
):
    row = wp.tid()
    share = 1.0 / float(values.shape[0])
    clip = clip_param[0]

    log_prob = float(0.0)
    kl = float(0.0)
    for a in range(std.shape[0]):
        z = (actions[row, a] - mean[row, a]) / std[a]
        shift = (old_mean[row, a] - mean[row, a]) / std[a]
        log_prob -= 0.5 * z * z + wp.log(std[a]) + 0.5 * wp.static(LOG_2PI)
        kl += 0.5 * shift * shift
    ratio = wp.exp(log_prob - old_log_prob[row])
    clipped_ratio = wp.clamp(ratio, 1.0 - clip, 1.0 + clip)
    gain = advantages[row] * ratio
    clipped_gain = advantages[row] * clipped_ratio
    weight = float(0.0)
    if gain <= clipped_gain:
        weight = -gain * share
    for a in range(std.shape[0]):
        z = (actions[row, a] - mean[row, a]) / std[a]
        mean_gradient[row, a] = z * weight / std[a]
        table[row, wp.static(STD) + a] = weight * (z * z - 1.0)

    error = values[row] - returns[row]
    squared = error * error
    slope = 2.0 * value_loss_coef[0] * share * error
    if clip_values:
        change = values[row] - old_values[row]
        small_change = wp.clamp(change, -clip, clip)
        clipped_error = old_values[row] + small_change - returns[row]
        if squared < clipped_error * clipped_error and change != small_change:
            slope = 0.0
        squared = wp.max(squared, clipped_error * clipped_error)
    values_gradient[row] = slope

    table[row, wp.static(SURROGATE)] = -wp.min(gain, clipped_gain) * share
    table[row, wp.static(VALUE)] = squared * share
    table[row, wp.static(KL)] = kl * share
    table[row, wp.static(CLIPPED)] = wp.where(ratio == clipped_ratio, 0.0, share)


@wp.kernel
def _finish(
    sums: wp.array(dtype=float),
    std: wp.array(dtype=float),
    old_std: wp.array(dtype=float),
    entropy_coef: wp.array(dtype=float),
    std_gradient: wp.array(dtype=float),
    parts: wp.array(dtype=float),
):
    entropy = float(0.0)
    kl = sums[wp.static(KL)]
    for a in range(std.shape[0]):
        entropy += wp.log(std[a]) + 0.5 * (1.0 + wp.static(LOG_2PI))
        spread = (old_std[a] / std[a]) * (old_std[a] / std[a])
        kl += 0.5 * (spread - 1.0 - wp.log(spread))
        std_gradient[a] = (sums[wp.static(STD) + a] - entropy_coef[0]) / std[a]
    parts[0] = sums[wp.static(SURROGATE)]
    parts[1] = sums[wp.static(VALUE)]
    parts[2] = entropy
    parts[3] = kl
    parts[4] = sums[wp.static(CLIPPED)]


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
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the fields of :class:`palestra.rl.loss.Loss`; arguments as there, float32."""
    rows, num_actions = mean.shape
    mean_gradient, values_gradient = mean.new_empty(rows, num_actions), mean.new_empty(rows)
    table = mean.new_empty(rows, STD + num_actions)
    std_gradient, parts = mean.new_empty(num_actions), mean.new_empty(STD + 1)

    launch(
        _rows,
        rows,
        mean.device,
        batch.actions,
        batch.mean,
        mean,
        std,
        batch.log_prob,
        advantages,
        batch.returns,
        batch.values,
        values,
        clip_param,
        value_loss_coef,
        clip_values,
        mean_gradient,
        values_gradient,
        table,
    )
    launch(_finish, 1, mean.device, table.sum(dim=0), std, old_std, entropy_coef, std_gradient, parts)
    return parts, mean_gradient, std_gradient, values_gradient
