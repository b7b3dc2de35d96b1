"""Noise configurations and models, drawn from a stream of known numbers."""

import pytest
import torch

from palestra.envs.rng import RandomStream
from palestra.errors import ConfigError
from palestra.utils.noise import (
    AdditiveGaussianNoiseCfg,
    AdditiveUniformNoiseCfg,
    ConstantNoiseCfg,
    GaussianNoiseCfg,
    NoiseModel,
    NoiseModelCfg,
    NoiseModelWithAdditiveBias,
    NoiseModelWithAdditiveBiasCfg,
    SensorNoiseModel,
    SensorNoiseModelCfg,
    UniformNoiseCfg,
)


def stream(num_envs: int) -> RandomStream:
    return RandomStream(0, num_envs, torch.device("cpu"))


def test_constant_noise_by_operation() -> None:
    data, rng = torch.tensor([[1.0, 2.0]]), stream(1)
    for operation, expected in (("add", [1.5, 2.5]), ("scale", [0.5, 1.0]), ("abs", [0.5, 0.5])):
        cfg = ConstantNoiseCfg(bias=0.5, operation=operation)  # type: ignore[arg-type]
        assert cfg.func(data, cfg, rng).tolist() == [expected]


def test_uniform_noise_is_the_stream_scaled_and_added() -> None:
    data = torch.arange(12.0).view(4, 3)
    cfg = UniformNoiseCfg(n_min=-0.2, n_max=0.6)
    expected = data + (-0.2 + 0.8 * stream(4).uniform(0.0, 1.0, (3,)))
    torch.testing.assert_close(cfg.func(data, cfg, stream(4)), expected)


def test_gaussian_noise_has_its_moments() -> None:
    cfg = GaussianNoiseCfg(mean=2.0, std=0.5, operation="abs")
    drawn = cfg.func(torch.full((20000, 2), 9.0), cfg, stream(20000))
    assert drawn.mean() == pytest.approx(2.0, abs=0.02)
    assert drawn.std() == pytest.approx(0.5, abs=0.02)


def test_per_entry_bounds() -> None:
    cfg = UniformNoiseCfg(n_min=torch.tensor([-1.0, 5.0]), n_max=torch.tensor([1.0, 6.0]), operation="abs")
    drawn = cfg.func(torch.zeros(500, 2), cfg, stream(500))
    assert drawn[:, 0].abs().max() <= 1.0 and drawn[:, 1].min() >= 5.0 and drawn[:, 1].max() <= 6.0


def test_aliases_and_unknown_operation() -> None:
    assert AdditiveUniformNoiseCfg is UniformNoiseCfg and AdditiveGaussianNoiseCfg is GaussianNoiseCfg
    cfg = ConstantNoiseCfg(operation="subtract")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="allowed: 'add', 'scale', 'abs'"):
        cfg.func(torch.zeros(1, 1), cfg, stream(1))


def test_plain_model_applies_its_noise() -> None:
    cfg = NoiseModelCfg(noise_cfg=ConstantNoiseCfg(bias=1.0))
    model, rng = cfg.class_type(cfg, 2, "cpu", 1), stream(2)
    model.reset(torch.tensor([True, False]), rng)
    assert model(torch.zeros(2, 1), rng).tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize(("per_component", "width"), [(True, 3), (False, 1)])
def test_bias_is_constant_within_an_episode_and_new_after_a_reset(per_component: bool, width: int) -> None:
    cfg = NoiseModelWithAdditiveBiasCfg(
        noise_cfg=ConstantNoiseCfg(bias=10.0),
        bias_noise_cfg=UniformNoiseCfg(n_min=-1.0, n_max=1.0),
        sample_bias_per_component=per_component,
    )
    model, rng, data = cfg.class_type(cfg, 2, "cpu", 3), stream(2), torch.zeros(2, 3)
    assert isinstance(model, NoiseModelWithAdditiveBias)
    assert model.bias.shape == (2, width)
    address = model.bias.data_ptr()
    model.reset(torch.tensor([True, True]), rng)
    first = model(data, rng)
    assert first.shape == (2, 3) and (first - 10.0).abs().max() <= 1.0
    assert not torch.equal(first[0], first[1])
    assert bool((first[:, 0] == first[:, 1]).all()) == (not per_component)
    torch.testing.assert_close(model(data, rng), first)
    model.reset(torch.tensor([False, True]), rng)
    second = model(data, rng)
    torch.testing.assert_close(second[0], first[0])
    assert not torch.equal(second[1], first[1])
    assert model.bias.data_ptr() == address


def reading(model: NoiseModel, value: float, rng: RandomStream, push: bool = True) -> list[float]:
    assert isinstance(model, SensorNoiseModel)
    return model(torch.full((model.bias.shape[0], 1), value), rng, push).flatten().tolist()


def sensor(num_envs: int = 2, **settings: object) -> tuple[NoiseModel, RandomStream]:
    cfg, rng = SensorNoiseModelCfg(**settings), stream(num_envs)  # type: ignore[arg-type]
    model = cfg.class_type(cfg, num_envs, "cpu", 1)
    model.reset(torch.ones(num_envs, dtype=torch.bool), rng)
    return model, rng


def test_a_sensor_without_errors_says_the_truth() -> None:
    model, rng = sensor()
    assert reading(model, 1.25, rng) == [1.25, 1.25]


def test_latency_is_that_of_the_episode() -> None:
    model, rng = sensor(60, delay_range=(1, 3))
    assert isinstance(model, SensorNoiseModel) and model.delay is not None
    lag = model.delay.time_lags.clone()
    assert sorted(lag.unique().tolist()) == [1, 2, 3]
    for k in range(8):
        expected = (k - lag).clamp_min(0).float().tolist()  # the first reading is there at once
        assert reading(model, float(k), rng, push=False) == expected  # a look changes nothing
        assert reading(model, float(k), rng) == expected
    first = torch.arange(60) == 0
    model.reset(first, rng)
    assert torch.equal(model.delay.time_lags[1:], lag[1:])
    after = reading(model, 8.0, rng)
    assert after[0] == 8.0
    assert after[1:] == (8 - lag[1:]).float().tolist()


def test_quantization_rounds_what_noise_and_bias_leave() -> None:
    model, rng = sensor(
        2,
        noise_cfg=ConstantNoiseCfg(bias=0.04),
        bias_noise_cfg=ConstantNoiseCfg(bias=0.03),
        resolution=0.1,
    )
    assert reading(model, 0.2, rng) == pytest.approx([0.3, 0.3])  # 0.27; without one of them 0.2


def test_dropout_keeps_the_last_reading() -> None:
    model, rng = sensor(4000, dropout=0.3)
    assert reading(model, 1.0, rng) == [1.0] * 4000  # the first is never lost: there is nothing to keep
    second = torch.tensor(reading(model, 2.0, rng))
    assert set(second.tolist()) == {1.0, 2.0}
    assert (second == 1.0).float().mean() == pytest.approx(0.3, abs=0.03)
    third = torch.tensor(reading(model, 3.0, rng))
    assert (third == 1.0).float().mean() == pytest.approx(0.09, abs=0.02)  # lost twice
    assert not (third[second == 2.0] == 1.0).any()
    model.reset(torch.arange(4000) < 2000, rng)
    fourth = torch.tensor(reading(model, 4.0, rng))
    assert (fourth[:2000] == 4.0).all() and (fourth[2000:] < 4.0).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"delay_range": (3, 1)}, "0 <= low <= high"),
        ({"delay_range": (0.5, 1)}, "whole numbers"),
        ({"dropout": 1.0}, "probability below 1"),
        ({"resolution": -1.0}, "0 or more"),
    ],
)
def test_bad_sensors(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sensor(**settings)
