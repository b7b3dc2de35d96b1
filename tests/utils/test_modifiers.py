"""Modifiers against sequences worked out by hand."""

import pytest
import torch

from palestra.errors import ConfigError
from palestra.utils import modifiers


def test_functions() -> None:
    data = torch.tensor([[-2.0, 0.5, 4.0]])
    assert modifiers.scale(data, 2.0).tolist() == [[-4.0, 1.0, 8.0]]
    assert modifiers.clip(data, (-1.0, 1.0)).tolist() == [[-1.0, 0.5, 1.0]]
    assert modifiers.clip(data, (None, 1.0)).tolist() == [[-2.0, 0.5, 1.0]]
    assert modifiers.bias(data, -1.0).tolist() == [[-3.0, -0.5, 3.0]]
    assert modifiers.quantize(torch.tensor([[-0.3, 0.24, 0.26]]), 0.5).tolist() == [[-0.5, 0.0, 0.5]]


def run(modifier: modifiers.ModifierBase, values: list[float]) -> list[float]:
    return [float(modifier(torch.full((2, 1), value))[0]) for value in values]


def test_moving_average() -> None:
    cfg = modifiers.DigitalFilterCfg(A=[0.0], B=[0.5, 0.5])
    assert run(cfg.class_type(cfg, (2, 1), "cpu"), [1.0, 3.0, 5.0]) == [0.5, 2.0, 4.0]


def test_low_pass() -> None:
    # y_t = 0.75 y_{t-1} + 0.25 x_t
    cfg = modifiers.DigitalFilterCfg(A=[-0.75], B=[0.25])
    assert run(cfg.class_type(cfg, (2, 1), "cpu"), [4.0, 0.0, 0.0]) == [1.0, 0.75, 0.5625]


def test_second_order_feedback_uses_the_newest_output_first() -> None:
    # y_t = x_t - 0.5 y_{t-1} - 0.25 y_{t-2}
    cfg = modifiers.DigitalFilterCfg(A=[0.5, 0.25], B=[1.0])
    assert run(cfg.class_type(cfg, (2, 1), "cpu"), [8.0, 0.0, 0.0]) == [8.0, -4.0, 0.0]


def test_integrator_is_the_trapezoid_rule() -> None:
    cfg = modifiers.IntegratorCfg(dt=0.5)
    assert run(cfg.class_type(cfg, (2, 1), "cpu"), [2.0, 4.0, 0.0]) == [0.5, 2.0, 3.0]


@pytest.mark.parametrize(
    "cfg",
    [modifiers.DigitalFilterCfg(A=[-0.5], B=[0.5, 0.5]), modifiers.IntegratorCfg(dt=1.0)],
    ids=["filter", "integral"],
)
def test_reset_starts_the_masked_rows_anew(cfg: modifiers.StatefulModifierCfg) -> None:
    modifier = cfg.class_type(cfg, (2, 1), "cpu")
    first = modifier(torch.ones(2, 1)).flatten().tolist()
    second = modifier(torch.ones(2, 1)).flatten().tolist()
    modifier.reset(torch.tensor([True, False]))
    third = modifier(torch.ones(2, 1)).flatten().tolist()
    assert third[0] == first[0] != second[0]
    assert third[1] > second[1]
    modifier.reset()
    assert modifier(torch.ones(2, 1)).flatten().tolist() == first


def test_a_look_without_push_changes_nothing() -> None:
    for cfg in (modifiers.DigitalFilterCfg(A=[-0.5], B=[0.5, 0.5]), modifiers.IntegratorCfg(dt=1.0)):
        modifier = cfg.class_type(cfg, (1, 1), "cpu")
        modifier(torch.ones(1, 1))
        looked = modifier(torch.full((1, 1), 3.0), push=False)
        assert torch.equal(modifier(torch.full((1, 1), 3.0)), looked)


def test_a_filter_needs_coefficients() -> None:
    cfg = modifiers.DigitalFilterCfg(A=[], B=[1.0])
    with pytest.raises(ConfigError, match="at least one coefficient"):
        cfg.class_type(cfg, (1, 1), "cpu")
