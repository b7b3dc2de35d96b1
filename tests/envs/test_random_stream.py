"""The counter-based random numbers: statistics, independence, and what they depend on."""

import math

import pytest
import torch

from palestra.envs.rng import RandomStream

CPU = torch.device("cpu")


def kolmogorov_distance(sample: torch.Tensor) -> float:
    """Return the largest distance of the empirical distribution from the uniform one."""
    values, n = sample.flatten().double().sort().values, sample.numel()
    steps = torch.arange(n + 1, dtype=torch.float64) / n
    return float(torch.maximum((values - steps[:-1]).abs(), (values - steps[1:]).abs()).max())


@pytest.fixture(scope="module")
def draws() -> torch.Tensor:
    """Uniform numbers, (steps, calls, environments, columns)."""
    stream = RandomStream(0, 256, CPU)
    rows = []
    for _ in range(20):
        stream.advance()
        rows.append(torch.stack([stream.uniform(0.0, 1.0, (8,)) for _ in range(5)]))
    return torch.stack(rows)


def test_uniform_numbers_are_uniform(draws: torch.Tensor) -> None:
    n = draws.numel()
    assert draws.min() >= 0.0 and draws.max() < 1.0
    assert draws.mean().item() == pytest.approx(0.5, abs=4 * math.sqrt(1 / 12 / n))
    assert draws.var().item() == pytest.approx(1 / 12, abs=4 * math.sqrt(1 / 180 / n))
    # The 99.9 % quantile of the Kolmogorov distribution is 1.95.
    assert kolmogorov_distance(draws) < 1.95 / math.sqrt(n)


@pytest.mark.parametrize("dim", [0, 1, 2, 3])
def test_neighbours_are_uncorrelated(draws: torch.Tensor, dim: int) -> None:
    size = draws.shape[dim]
    a, b = draws.narrow(dim, 0, size - 1).flatten(), draws.narrow(dim, 1, size - 1).flatten()
    correlation = torch.corrcoef(torch.stack((a, b)))[0, 1].item()
    assert abs(correlation) < 4 / math.sqrt(a.numel())
    # Not even the order of neighbours shows anything, nor their differences.
    assert kolmogorov_distance((a - b) % 1.0) < 1.95 / math.sqrt(a.numel())


def test_no_number_repeats() -> None:
    stream = RandomStream(0, 1000, CPU)
    stream.advance()
    bits = torch.cat([stream.bits((10,)).flatten() for _ in range(5)])
    # 50,000 draws from 2³² values: about 0.3 pairs are expected to collide.
    assert len(bits) - len(bits.unique()) <= 4


def test_every_bit_is_fair() -> None:
    stream = RandomStream(5, 4096, CPU)
    bits = stream.bits((16,)).flatten()
    assert bits.min() >= 0 and bits.max() < 2**32
    for k in range(32):
        share = ((bits >> k) & 1).double().mean().item()
        assert share == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(len(bits))), k


def test_normal_numbers() -> None:
    stream = RandomStream(1, 20_000, CPU)
    sample = stream.normal(2.0, 3.0, (2,))
    standard = (sample - 2.0) / 3.0
    n = standard.numel()
    assert standard.mean().item() == pytest.approx(0.0, abs=4 / math.sqrt(n))
    assert standard.var().item() == pytest.approx(1.0, abs=4 * math.sqrt(2 / n))
    assert standard.pow(4).mean().item() == pytest.approx(3.0, abs=4 * math.sqrt(96 / n))
    assert kolmogorov_distance(0.5 * (1 + torch.erf(standard / math.sqrt(2)))) < 1.95 / math.sqrt(n)
    assert torch.isfinite(standard).all()


def test_integers_and_coins() -> None:
    stream = RandomStream(2, 30_000, CPU)
    dice = stream.integers(1, 6)
    assert dice.dtype == torch.int64
    counts = torch.bincount(dice, minlength=7)[1:]
    assert counts.sum() == 30_000
    chi2 = ((counts - 5000.0) ** 2 / 5000.0).sum().item()
    assert chi2 < 20.5  # the 99.9 % quantile with five degrees of freedom
    assert stream.integers(3, 3).unique().tolist() == [3]
    coins = stream.bernoulli(0.3, (2,))
    assert coins.dtype == torch.bool and coins.shape == (30_000, 2)
    assert coins.double().mean().item() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 60_000))
    assert not stream.bernoulli(0.0).any() and stream.bernoulli(1.0).all()


def test_shapes_and_tensor_limits() -> None:
    stream = RandomStream(0, 4, CPU)
    assert stream.uniform(0.0, 1.0, ()).shape == (4,)
    assert stream.normal(shape=(2, 3)).shape == (4, 2, 3)
    low, high = torch.tensor([0.0, 10.0, -5.0]), torch.tensor([1.0, 11.0, -4.0])
    drawn = stream.uniform(low, high, (3,))
    assert ((drawn >= low) & (drawn <= high)).all()


def test_one_environments_numbers_do_not_depend_on_the_others() -> None:
    few, many = RandomStream(7, 4, CPU), RandomStream(7, 64, CPU)
    for _ in range(3):
        few.advance()
        many.advance()
        assert torch.equal(few.uniform(0, 1, (5,)), many.uniform(0, 1, (5,))[:4])
        assert torch.equal(few.normal(), many.normal()[:4])


def test_seed_step_call_and_phase_all_matter() -> None:
    def first(seed: int, steps: int = 1, calls: int = 0, phase: str | None = None) -> float:
        stream = RandomStream(seed, 1, CPU)
        for _ in range(steps):
            stream.advance()
        if phase is not None:
            stream.begin(phase)
        for _ in range(calls):
            stream.uniform(0, 1)
        return stream.uniform(0, 1).item()

    base = first(0)
    others = [first(1), first(2**32), first(2**40 + 1), first(0, 2), first(0, 1, 1), first(0, phase="reset")]
    assert first(0) == base
    assert len({base, *others}) == 7


def test_skipped_phases_do_not_shift_the_others() -> None:
    a, b = RandomStream(0, 2, CPU), RandomStream(0, 2, CPU)
    for stream, resets in ((a, 0), (b, 3)):
        stream.advance()
        stream.begin("reset")
        for _ in range(resets):
            stream.uniform(0, 1)
        stream.begin("command")
    assert torch.equal(a.uniform(0, 1), b.uniform(0, 1))


def test_seeding_starts_over() -> None:
    stream = RandomStream(3, 2, CPU)
    first = stream.uniform(0, 1, (4,))
    stream.advance()
    stream.seed(3)
    assert stream.step.item() == 0
    assert torch.equal(stream.uniform(0, 1, (4,)), first)
    stream.seed(4)
    assert not torch.equal(stream.uniform(0, 1, (4,)), first)


def mixed(x: int) -> int:
    """Wellons' low-bias mixer in plain integers."""
    x ^= x >> 16
    x = x * 0x7FEB352D % 2**32
    x ^= x >> 15
    x = x * 0x846CA68B % 2**32
    return x ^ (x >> 16)


def test_the_numbers_are_the_documented_hash() -> None:
    seed, env, step, call, column = 123, 2, 4, 3, 5
    env_key = mixed(mixed((env * 0x9E3779B1 + seed * 0x85EBCA6B + 0x27D4EB2F) % 2**32) + (seed >> 32))
    key = mixed((step * 0xC2B2AE35 + call * 0x165667B1 % 2**32) % 2**32)
    by_hand = mixed(((env_key ^ key) + column * 0x9E3779B1) % 2**32)
    stream = RandomStream(seed, 3, CPU)
    for _ in range(step):
        stream.advance()
    drawn = [stream.bits((6,)) for _ in range(call)][-1]
    assert drawn[env, column].item() == by_hand


def test_processes_that_share_a_seed_have_environments_of_their_own() -> None:
    whole, second = RandomStream(7, 6, CPU), RandomStream(7, 2, CPU, first_env=4)
    for _ in range(3):
        whole.advance()
        second.advance()
        assert torch.equal(second.uniform(-1.0, 1.0, (5,)), whole.uniform(-1.0, 1.0, (5,))[4:])


def test_numpy_draws_the_numbers_that_tensor_operations_draw() -> None:
    here, there = (RandomStream(2**40 + 3, 50, CPU, first_env=7) for _ in range(2))
    there._host_key = None
    for _ in range(3):
        for stream in (here, there):
            stream.advance()
            stream.begin("reset")
        for shape in ((), (1,), (3, 4), (0,)):
            assert torch.equal(here.bits(shape), there.bits(shape))
            assert torch.equal(here.uniform(-1.0, 2.0, shape), there.uniform(-1.0, 2.0, shape))
            assert torch.equal(here.normal(0.5, 2.0, shape), there.normal(0.5, 2.0, shape))
            assert torch.equal(here.integers(-3, 9, shape), there.integers(-3, 9, shape))
    assert here.bits((100,)).unique().numel() == 5000
