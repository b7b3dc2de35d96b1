"""Histories and delays: order, fill after a reset, masks, stable addresses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palestra.errors import ConfigError
from palestra.utils.buffers import CircularBuffer, DelayBuffer


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values).unsqueeze(-1)


def test_history_is_oldest_first_and_filled_by_the_first_value() -> None:
    history = CircularBuffer(3, 2, "cpu")
    history.append(column(1.0, 10.0))
    assert history.buffer.squeeze(-1).tolist() == [[1, 1, 1], [10, 10, 10]]
    history.append(column(2.0, 20.0))
    history.append(column(3.0, 30.0))
    history.append(column(4.0, 40.0))
    assert history.buffer.squeeze(-1).tolist() == [[2, 3, 4], [20, 30, 40]]
    assert history.newest.tolist() == [[4], [40]]
    assert history.current_length.tolist() == [3, 3]


def test_reset_touches_only_the_masked_rows_and_keeps_the_storage() -> None:
    history = CircularBuffer(2, 2, "cpu")
    history.append(column(1.0, 10.0))
    history.append(column(2.0, 20.0))
    address = history.buffer.data_ptr()
    history.reset(torch.tensor([False, True]))
    assert history.buffer.squeeze(-1).tolist() == [[1, 2], [0, 0]]
    assert history.current_length.tolist() == [2, 0]
    history.append(column(3.0, 30.0))
    assert history.buffer.squeeze(-1).tolist() == [[2, 3], [30, 30]]
    assert history.buffer.data_ptr() == address


def test_values_by_age_are_clamped_to_what_was_appended() -> None:
    history = CircularBuffer(4, 2, "cpu")
    for value in (1.0, 2.0, 3.0):
        history.append(column(value, 10 * value))
    assert history[0].tolist() == [[3], [30]]
    assert history[torch.tensor([1, 2])].tolist() == [[2], [10]]
    assert history[3].tolist() == [[1], [10]]  # only three were appended


def test_preview_does_not_change_the_history() -> None:
    history = CircularBuffer(2, 1, "cpu")
    assert history.appended(column(5.0)).squeeze(-1).tolist() == [[5, 5]]
    history.append(column(1.0))
    assert history.appended(column(5.0)).squeeze(-1).tolist() == [[1, 5]]
    assert history.buffer.squeeze(-1).tolist() == [[1, 1]]


def test_signals_of_several_dimensions() -> None:
    history = CircularBuffer(2, 3, "cpu")
    history.append(torch.ones(3, 4, 5))
    history.append(torch.full((3, 4, 5), 2.0))
    assert history.buffer.shape == (3, 2, 4, 5)
    assert torch.equal(history[torch.tensor([0, 1, 0])][:, 0, 0], torch.tensor([2.0, 1.0, 2.0]))


def test_delay_by_hand() -> None:
    delay = DelayBuffer(2, 3, "cpu")
    delay.set_time_lag(torch.tensor([0, 1, 2]))
    outputs = [delay.compute(column(*[float(step)] * 3)).flatten().tolist() for step in range(4)]
    assert outputs == [[0, 0, 0], [1, 0, 0], [2, 1, 0], [3, 2, 1]]
    delay.reset(torch.tensor([False, False, True]))
    assert delay.compute(column(9.0, 9.0, 9.0)).flatten().tolist() == [9, 3, 9]
    delay.set_time_lag(1, torch.tensor([True, False, False]))
    assert delay.time_lags.tolist() == [1, 1, 2]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5), st.integers(0, 5), st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=12))
def test_delay_is_a_shift(length: int, lag: int, signal: list[float]) -> None:
    delay = DelayBuffer(length, 1, "cpu")
    delay.set_time_lag(torch.tensor([lag]))
    lag = min(lag, length)
    for step, value in enumerate(signal):
        assert float(delay.compute(column(value))) == signal[max(step - lag, 0)]


def test_bad_sizes_and_lags() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        CircularBuffer(0, 1, "cpu")
    with pytest.raises(ConfigError, match="must not be negative"):
        DelayBuffer(-1, 1, "cpu")
    with pytest.raises(ConfigError, match="allowed: 0 to 2"):
        DelayBuffer(2, 1, "cpu").set_time_lag(3)
    with pytest.raises(RuntimeError, match="nothing was appended"):
        _ = CircularBuffer(1, 1, "cpu").buffer


def test_without_fill_zeros_come_first_after_a_start_and_a_reset() -> None:
    delay = DelayBuffer(2, 2, "cpu", fill=False)
    delay.set_time_lag(torch.tensor([1, 2]))
    seen = []
    for k in range(1, 5):
        assert torch.equal(delay.peek(torch.full((2, 1), float(k))), delay.compute(torch.full((2, 1), float(k))))
        seen.append(delay.peek(torch.full((2, 1), float(k + 1))).flatten().tolist())
    assert seen == [[1.0, 0.0], [2.0, 1.0], [3.0, 2.0], [4.0, 3.0]]  # one call further
    delay.reset(torch.tensor([True, False]))
    assert delay.compute(torch.full((2, 1), 9.0)).flatten().tolist() == [0.0, 3.0]
    assert delay.compute(torch.full((2, 1), 10.0)).flatten().tolist() == [9.0, 4.0]


def test_a_peek_is_a_compute_that_leaves_no_trace() -> None:
    delay = DelayBuffer(3, 2, "cpu")
    delay.set_time_lag(torch.tensor([0, 3]))
    for k in range(6):
        value = torch.full((2, 1), float(k))
        peeked = delay.peek(value)
        assert torch.equal(delay.peek(value), peeked)
        assert torch.equal(delay.compute(value), peeked)
