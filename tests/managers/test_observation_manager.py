"""The pipeline of observations: func, modifiers, noise, clip, scale, history, concatenation."""

import pytest
import torch
from tiny import given, run, step_count, tiny

from palestra.envs import mdp
from palestra.errors import ConfigError, PalestraError
from palestra.managers import ObservationGroupCfg, ObservationTermCfg
from palestra.utils.modifiers import IntegratorCfg, ModifierCfg, bias
from palestra.utils.noise import ConstantNoiseCfg, NoiseModelWithAdditiveBiasCfg, SensorNoiseModelCfg, UniformNoiseCfg


def signal(env, name: str = "signal"):
    return given(env, name).view(env.num_envs, -1)


def pair(env):
    return torch.cat((signal(env), 10.0 * signal(env)), dim=-1)


def make(num_envs: int = 2, settings: dict | None = None, **terms):
    from palestra.utils import configclass

    namespace = {"__annotations__": {}, **terms}
    policy = configclass(type("PolicyCfg", (ObservationGroupCfg,), namespace))
    holder = configclass(type("ObservationsCfg", (), {"policy": policy(**(settings or {}))}))
    return tiny(num_envs, observations=holder())


def compute(env, value: float | list[float], push: bool = True) -> list:
    env.signal = torch.tensor(value) if isinstance(value, list) else torch.full((env.num_envs,), value)
    return env.observation_manager.compute_group("policy", push).tolist()


def test_the_order_is_modifier_noise_clip_scale() -> None:
    env = make(
        x=ObservationTermCfg(
            func=signal,
            modifiers=[ModifierCfg(func=bias, params={"value": 1.0})],
            noise=ConstantNoiseCfg(bias=3.0, operation="scale"),
            clip=(-5.0, 10.0),
            scale=2.0,
        ),
        settings={"enable_corruption": True},
    )
    # 0.5 → +1 → ×3 = 4.5 → ×2 = 9;  3 → 4 → 12 → clipped to 10 → 20. Any other order gives other numbers.
    assert compute(env, [0.5, 3.0]) == [[9.0], [20.0]]


def test_modifiers_run_in_order() -> None:
    from palestra.utils.modifiers import scale

    modifiers = [ModifierCfg(func=bias, params={"value": 1.0}), ModifierCfg(func=scale, params={"multiplier": 2.0})]
    assert compute(make(x=ObservationTermCfg(func=signal, modifiers=modifiers)), 3.0) == [[8.0], [8.0]]
    assert compute(make(x=ObservationTermCfg(func=signal, modifiers=modifiers[::-1])), 3.0) == [[7.0], [7.0]]


def test_noise_needs_corruption() -> None:
    term = ObservationTermCfg(func=signal, noise=UniformNoiseCfg(n_min=1.0, n_max=2.0))
    assert compute(make(x=term), 0.0) == [[0.0], [0.0]]
    noisy = compute(make(x=term, settings={"enable_corruption": True}), 0.0)
    assert all(1.0 <= row[0] < 2.0 for row in noisy)
    assert noisy[0] != noisy[1]


def test_noise_models_keep_their_bias_through_an_episode() -> None:
    noise = NoiseModelWithAdditiveBiasCfg(
        noise_cfg=ConstantNoiseCfg(bias=0.0), bias_noise_cfg=UniformNoiseCfg(n_min=1.0, n_max=2.0)
    )
    env = make(x=ObservationTermCfg(func=signal, noise=noise), settings={"enable_corruption": True})
    env.reset(seed=1)
    first = compute(env, 0.0)
    assert compute(env, 0.0) == first
    assert all(1.0 <= row[0] < 2.0 for row in first)
    env.rng.advance()
    env.observation_manager.reset(torch.tensor([True, False]))
    second = compute(env, 0.0)
    assert second[1] == first[1]
    assert second[0] != first[0]


def test_scale_per_entry_and_concatenation() -> None:
    env = make(
        a=ObservationTermCfg(func=pair, scale=(2.0, 0.5)),
        b=ObservationTermCfg(func=signal),
    )
    assert compute(env, [1.0, 3.0]) == [[2.0, 5.0, 1.0], [6.0, 15.0, 3.0]]
    assert env.observation_manager.group_obs_dim == {"policy": 3}
    assert env.observation_manager.active_terms == {"policy": ["a", "b"]}
    assert env.observation_dims == {"policy": 3}
    assert env.single_observation_space["policy"].shape == (3,)


def test_without_concatenation_a_group_is_a_dictionary() -> None:
    env = make(
        a=ObservationTermCfg(func=pair, history_length=2, flatten_history_dim=False),
        b=ObservationTermCfg(func=signal),
        settings={"concatenate_terms": False},
    )
    obs, _ = env.reset()
    assert {k: tuple(v.shape) for k, v in obs["policy"].items()} == {"a": (2, 2, 2), "b": (2, 1)}
    assert env.observation_dims == {}
    obs, *_, extras = run(env, 1)
    assert set(extras["terminal_observation"]["policy"]) == {"a", "b"}


def test_history_is_filled_after_a_reset_and_has_the_newest_last() -> None:
    env = make(x=ObservationTermCfg(func=pair, history_length=3))
    assert env.observation_manager.group_obs_dim == {"policy": 6}
    env.observation_manager.reset(env.all_envs)
    assert compute(env, 1.0)[0] == [1.0, 10.0] * 3
    assert compute(env, 2.0)[0] == [1.0, 10.0, 1.0, 10.0, 2.0, 20.0]
    assert compute(env, 3.0, push=False)[0] == [1.0, 10.0, 2.0, 20.0, 3.0, 30.0]  # a look that is not kept
    assert compute(env, 4.0)[0] == [1.0, 10.0, 2.0, 20.0, 4.0, 40.0]
    env.observation_manager.reset(torch.tensor([True, False]))
    both = compute(env, 5.0)
    assert both[0] == [5.0, 50.0] * 3
    assert both[1] == [2.0, 20.0, 4.0, 40.0, 5.0, 50.0]


def test_histories_of_episodes_that_end_at_different_times() -> None:
    """Oldest first, newest last; an environment's history starts anew with its own episode, and only then."""
    env = make(
        3,
        x=ObservationTermCfg(func=step_count, history_length=3),
        y=ObservationTermCfg(func=step_count, scale=10.0, history_length=2),
    )
    obs, _ = env.reset(seed=0)
    assert obs["policy"].tolist() == [[0, 0, 0, 0, 0]] * 3
    env.episode_length_buf[1] = 7  # episodes last 10 steps: this one ends after 3
    action = torch.zeros(3, 1)
    rows, last = [], []
    for _ in range(5):
        obs, *_, extras = env.step(action)
        rows.append(obs["policy"].tolist())
        last.append(extras["terminal_observation"]["policy"].tolist())
    assert [row[0] for row in rows] == [
        [0, 0, 1, 0, 10],
        [0, 1, 2, 10, 20],
        [1, 2, 3, 20, 30],
        [2, 3, 4, 30, 40],
        [3, 4, 5, 40, 50],
    ]
    assert [row[1] for row in rows] == [
        [0, 0, 8, 0, 80],
        [0, 8, 9, 80, 90],
        [0, 0, 0, 0, 0],
        [0, 0, 1, 0, 10],
        [0, 1, 2, 10, 20],
    ]
    assert last[2][1] == [8, 9, 10, 90, 100]  # the old episode's
    assert last[2][0] == rows[2][0]


def test_sensor_errors_need_corruption_and_a_look_does_not_advance_them() -> None:
    noise = SensorNoiseModelCfg(delay_range=(2, 2))
    term = ObservationTermCfg(func=step_count, noise=noise)
    assert [row[0] for row in _run(make(x=term))] == [1, 2, 3, 4, 0, 1]
    late = make(x=term, settings={"enable_corruption": True})
    # Two steps late within an episode; the look at the terminal state in the fifth step leaves no trace.
    assert [row[0] for row in _run(late)] == [0, 0, 1, 2, 0, 0]


def _run(env) -> list:
    env.episode_length_limit.fill_(5)
    env.reset(seed=0)
    return [env.step(torch.zeros(2, 1))[0]["policy"][0].tolist() for _ in range(6)]


def test_the_history_of_a_group_overrides_its_terms() -> None:
    env = make(
        a=ObservationTermCfg(func=signal, history_length=5),
        b=ObservationTermCfg(func=pair),
        settings={"history_length": 2},
    )
    env.observation_manager.reset(env.all_envs)
    compute(env, 1.0)
    # Each term's own history in turn.
    assert compute(env, 2.0)[0] == [1.0, 2.0, 1.0, 10.0, 2.0, 20.0]


def test_stateful_modifiers_are_advanced_once_a_step() -> None:
    """Computing terminal observations must not count as a step: then episodes of others would matter."""
    rows = []
    for ends in (False, True):
        env = make(x=ObservationTermCfg(func=signal, modifiers=[IntegratorCfg(dt=1.0)]))
        env.reset(seed=0)
        env.signal = torch.ones(2)
        for step in range(4):
            if ends:
                env.episode_length_buf[1] = 100 if step == 2 else 0  # the second environment times out once
            obs, *_ = run(env, 1)
        rows.append(obs["policy"][:, 0].tolist())
    assert rows[0][0] == rows[1][0] == 3.5  # trapezoids over 0 (at the reset), 1, 1, 1, 1
    assert rows[1][1] < rows[0][1]


@pytest.mark.parametrize(
    ("terms", "settings", "message"),
    [
        (
            {"x": ObservationTermCfg(func=given, params={"name": "signal"})},
            {},
            "observation group 'policy': observation term 'x' returned (2,); it must be a tensor (num_envs, width)",
        ),
        (
            {"x": ObservationTermCfg(func=pair, scale=(1.0, 2.0, 3.0))},
            {},
            "observation group 'policy': observation term 'x': scale has 3 numbers; it must have 1 or 2",
        ),
        ({}, {}, "observation group 'policy' has no term"),
        (
            {"x": ObservationTermCfg(func=signal)},
            {"concatenate_dim": 1},
            "observation group 'policy': concatenate_dim must be -1",
        ),
        (
            {"x": ObservationTermCfg(func=mdp.joint_pos, params={"asset": None})},
            {},
            "observation group 'policy': observation term 'x': no parameter 'asset'; did you mean 'asset_cfg', "
            "'biased'? known: 'asset_cfg', 'biased'",
        ),
    ],
)
def test_bad_terms(terms: dict, settings: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        make(settings=settings, **terms)
    assert str(error.value) == message


def test_nan_is_named_when_checks_are_on() -> None:
    env = make(x=ObservationTermCfg(func=signal), y=ObservationTermCfg(func=signal, params={"name": "other"}))
    env.check_terms = True
    env.reset()
    env.other = torch.tensor([0.0, float("nan")])
    with pytest.raises(PalestraError) as error:
        run(env, 1)
    assert str(error.value) == ("observation term 'y' of group 'policy' is not finite in environment 1 at step 1")


def test_equal_terms_of_two_groups_are_called_once() -> None:
    calls = []

    def counted(env, name: str = "signal", gain: float = 1.0):
        calls.append((name, gain))
        return gain * signal(env, name)

    from palestra.utils import configclass

    noisy = ObservationTermCfg(func=counted, noise=ConstantNoiseCfg(bias=100.0))
    policy = configclass(type("PolicyCfg", (ObservationGroupCfg,), {"__annotations__": {}, "x": noisy}))
    terms = {
        "same": ObservationTermCfg(func=counted, params={"name": "signal"}, scale=2.0),
        "other": ObservationTermCfg(func=counted, params={"gain": 3.0}),
        "again": ObservationTermCfg(func=counted, params={"gain": 3.0}),
    }
    critic = configclass(type("CriticCfg", (ObservationGroupCfg,), {"__annotations__": {}, **terms}))
    groups = {"policy": policy(enable_corruption=True), "critic": critic()}
    env = tiny(1, observations=configclass(type("ObservationsCfg", (), groups))())
    env.signal = torch.tensor([1.0])
    calls.clear()
    observed = env.observation_manager.compute()
    assert observed["policy"].tolist() == [[101.0]]  # noise of one group does not reach the other
    assert observed["critic"].tolist() == [[2.0, 3.0, 3.0]]
    assert calls == [("signal", 1.0), ("signal", 3.0), ("signal", 3.0)]  # within a group all are called
    env.observation_manager.terms("critic")[0].bound.params["gain"] = 5.0
    assert env.observation_manager.compute()["critic"].tolist() == [[10.0, 3.0, 3.0]]
    assert env.observation_manager.compute_group("critic").tolist() == [[10.0, 3.0, 3.0]]
