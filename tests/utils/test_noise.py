"""Noise configurations and models, drawn from a stream of known numbers."""

import pytest
import torch
from torch import Tensor

from palestra.errors import ConfigError
from palestra.utils.noise import (
    AdditiveGaussianNoiseCfg,
    AdditiveUniformNoiseCfg,
    ConstantNoiseCfg,
    GaussianNoiseCfg,
    NoiseModelCfg,
    NoiseModelWithAdditiveBias,
    NoiseModelWithAdditiveBiasCfg,
    UniformNoiseCfg,
)


class TorchStream:
    """A random stream over a torch generator; the environment's own has the same two methods."""

    def __init__(self, num_envs: int, seed: int = 0) -> None:
        self.num_envs = num_envs
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float | Tensor, high: float | Tensor, shape: tuple[int, ...]) -> Tensor:
        return low + (high - low) * torch.rand(self.num_envs, *shape, generator=self.generator)

    def normal(self, mean: float | Tensor, std: float | Tensor, shape: tuple[int, ...]) -> Tensor:
        return mean + std * torch.randn(self.num_envs, *shape, generator=self.generator)


def test_constant_noise_by_operation() -> None:
    data, rng = torch.tensor([[1.0, 2.0]]), TorchStream(1)
    for operation, expected in (("add", [1.5, 2.5]), ("scale", [0.5, 1.0]), ("abs", [0.5, 0.5])):
        cfg = ConstantNoiseCfg(bias=0.5, operation=operation)  # type: ignore[arg-type]
        assert cfg.func(data, cfg, rng).tolist() == [expected]


def test_uniform_noise_is_the_stream_scaled_and_added() -> None:
    data = torch.arange(12.0).view(4, 3)
    cfg = UniformNoiseCfg(n_min=-0.2, n_max=0.6)
    expected = data + (-0.2 + 0.8 * torch.rand(4, 3, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(cfg.func(data, cfg, TorchStream(4)), expected)


def test_gaussian_noise_has_its_moments() -> None:
    cfg = GaussianNoiseCfg(mean=2.0, std=0.5, operation="abs")
    drawn = cfg.func(torch.full((20000, 2), 9.0), cfg, TorchStream(20000))
    assert drawn.mean() == pytest.approx(2.0, abs=0.02)
    assert drawn.std() == pytest.approx(0.5, abs=0.02)


def test_per_entry_bounds() -> None:
    cfg = UniformNoiseCfg(n_min=torch.tensor([-1.0, 5.0]), n_max=torch.tensor([1.0, 6.0]), operation="abs")
    drawn = cfg.func(torch.zeros(500, 2), cfg, TorchStream(500))
    assert drawn[:, 0].abs().max() <= 1.0 and drawn[:, 1].min() >= 5.0 and drawn[:, 1].max() <= 6.0


def test_aliases_and_unknown_operation() -> None:
    assert AdditiveUniformNoiseCfg is UniformNoiseCfg and AdditiveGaussianNoiseCfg is GaussianNoiseCfg
    cfg = ConstantNoiseCfg(operation="subtract")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="allowed: 'add', 'scale', 'abs'"):
        cfg.func(torch.zeros(1, 1), cfg, TorchStream(1))


def test_plain_model_applies_its_noise() -> None:
    cfg = NoiseModelCfg(noise_cfg=ConstantNoiseCfg(bias=1.0))
    model = cfg.class_type(cfg, 2, "cpu", TorchStream(2))
    model.reset(torch.tensor([True, False]))
    assert model(torch.zeros(2, 1)).tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize(("per_component", "width"), [(True, 3), (False, 1)])
def test_bias_is_constant_within_an_episode_and_new_after_a_reset(per_component: bool, width: int) -> None:
    cfg = NoiseModelWithAdditiveBiasCfg(
        noise_cfg=ConstantNoiseCfg(bias=10.0),
        bias_noise_cfg=UniformNoiseCfg(n_min=-1.0, n_max=1.0),
        sample_bias_per_component=per_component,
    )
    model = cfg.class_type(cfg, 2, "cpu", TorchStream(2))
    assert isinstance(model, NoiseModelWithAdditiveBias)
    model.reset()  # nothing to do before the shape is known
    first = model(torch.zeros(2, 3))
    assert model.bias is not None and model.bias.shape == (2, width)
    assert first.shape == (2, 3) and (first - 10.0).abs().max() <= 1.0
    assert (first[:, 0] == first[:, 1]).all() == (not per_component)
    address = model.bias.data_ptr()
    torch.testing.assert_close(model(torch.zeros(2, 3)), first)
    model.reset(torch.tensor([False, True]))
    second = model(torch.zeros(2, 3))
    torch.testing.assert_close(second[0], first[0])
    assert not torch.equal(second[1], first[1])
    assert model.bias.data_ptr() == address
