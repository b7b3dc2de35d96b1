"""The hand-written gradient of PPO's loss against automatic differentiation of the same formulas."""

import pytest
import torch
from torch import Tensor

from palestra.rl.loss import Loss, ppo_loss
from palestra.rl.networks import entropy, log_prob, mean_kl
from palestra.rl.storage import MiniBatch

ROWS, ACTIONS = 200, 3


def batch_and_policy() -> tuple[MiniBatch, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    old_mean, old_std = normal(ROWS, ACTIONS), torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    actions = old_mean + old_std * normal(ROWS, ACTIONS)
    batch = MiniBatch(
        normal(ROWS, 2),
        normal(ROWS, 2),
        actions,
        old_mean,
        log_prob(actions, old_mean, old_std),
        normal(ROWS),
        normal(ROWS),
        normal(ROWS),
    )
    mean = (old_mean + 0.2 * normal(ROWS, ACTIONS)).requires_grad_()
    std = (old_std * 1.1).requires_grad_()
    values = (batch.values + 0.3 * normal(ROWS)).requires_grad_()
    return batch, mean, std, values


@pytest.mark.parametrize("clip_values", [True, False])
def test_the_gradient_is_that_of_the_loss(clip_values: bool) -> None:
    batch, mean, std, values = batch_and_policy()
    clip, value_coef, entropy_coef = (torch.tensor(x, dtype=torch.float64) for x in (0.2, 0.7, 0.01))
    ratio = torch.exp(log_prob(batch.actions, mean, std) - batch.log_prob)
    clipped = ratio.clamp(1.0 - clip, 1.0 + clip)
    surrogate = -torch.minimum(batch.advantages * ratio, batch.advantages * clipped).mean()
    error = (values - batch.returns).square()
    if clip_values:
        near = batch.values + (values - batch.values).clamp(-clip, clip)
        error = torch.maximum(error, (near - batch.returns).square())
    bonus = entropy(std)
    whole = surrogate + value_coef * error.mean() - entropy_coef * bonus
    wanted = torch.autograd.grad(whole, (mean, std, values))

    old_std = std.detach() / 1.1
    loss = ppo_loss(batch, batch.advantages, mean, std, old_std, values, clip, value_coef, entropy_coef, clip_values)
    for ours, theirs in zip((loss.mean_gradient, loss.std_gradient, loss.values_gradient), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
        assert theirs.abs().max() > 0.0
    clipped_share = (ratio != clipped).double().mean()
    parts = torch.stack((surrogate, error.mean(), bonus, mean_kl(batch.mean, old_std, mean, std), clipped_share))
    torch.testing.assert_close(loss.parts, parts, rtol=1e-12, atol=0.0)
    assert 0.1 < float(clipped_share) < 0.9 and float(loss.kl) > 0.01


def assert_kernels_agree(device: str, clip_values: bool) -> None:
    from palestra.rl import loss_warp

    batch, mean, std, values = batch_and_policy()
    coefficients = [torch.tensor(x, dtype=torch.float64) for x in (0.2, 0.7, 0.01)]
    policy = (mean.detach(), std.detach(), std.detach() / 1.1, values.detach())
    wanted = ppo_loss(batch, batch.advantages, *policy, *coefficients, clip_values)

    def there(x: Tensor) -> Tensor:
        return x.to(device, torch.float32)

    single, *rest = MiniBatch(*map(there, batch)), *map(there, policy), *map(there, coefficients)
    got = Loss(*loss_warp.ppo_loss(single, single.advantages, *rest, clip_values))
    for ours, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(ours.cpu().double(), theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("clip_values", [True, False])
def test_warp_kernels_agree_with_torch(clip_values: bool) -> None:
    pytest.importorskip("warp", reason="Warp comes with the cuda extra")
    if torch.cuda.is_available():
        pytest.skip("the GPU test covers it")
    assert_kernels_agree("cpu", clip_values)


@pytest.mark.gpu
@pytest.mark.parametrize("clip_values", [True, False])
def test_kernels_on_a_gpu_agree_with_torch(clip_values: bool) -> None:
    assert_kernels_agree("cuda:0", clip_values)
