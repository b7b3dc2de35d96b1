"""The running normaliser against numpy over all data at once."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palestra.rl.normalizer import EmpiricalNormalization


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), seed=st.integers(0, 1000))
def test_merged_batches_are_one_batch(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = rng.normal(loc=[3.0, -50.0], scale=[0.1, 20.0], size=(sum(sizes), 2))
    normalizer = EmpiricalNormalization(2).double()
    for batch in np.split(data, np.cumsum(sizes)[:-1]):
        normalizer.update(torch.from_numpy(batch))
    np.testing.assert_allclose(normalizer.mean, data.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(normalizer.std, data.std(axis=0), rtol=1e-6, atol=1e-9)
    assert int(normalizer.count) == len(data)
    expected = (data - data.mean(axis=0)) / (data.std(axis=0) + 1e-2)
    np.testing.assert_allclose(normalizer(torch.from_numpy(data)), expected, rtol=1e-6, atol=1e-6)


def test_update_writes_in_place() -> None:
    normalizer = EmpiricalNormalization(3)
    addresses = {name: buffer.data_ptr() for name, buffer in normalizer.named_buffers()}
    x = torch.randn(10, 3)
    normalizer.update(x)
    assert {name: buffer.data_ptr() for name, buffer in normalizer.named_buffers()} == addresses
    assert torch.equal(normalizer.normalize_(x.clone()), normalizer(x))


def test_before_the_first_update_observations_pass() -> None:
    x = torch.tensor([[2.0, -3.0]])
    torch.testing.assert_close(EmpiricalNormalization(2)(x), x / 1.01)
