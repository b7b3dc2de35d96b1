"""The gymnasium view: spaces, numpy at the border, autoreset with the final observation."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

import palestra
from palestra.envs.vector import VectorEnv
from palestra.errors import ConfigError


@pytest.fixture
def view():
    env = VectorEnv(palestra.make("Cartpole", num_envs=5, seed=3))
    yield env
    env.close()


def push(view, force: float) -> np.ndarray:
    return np.full((view.num_envs, 1), force, dtype=np.float32)


def test_gymnasium_makes_the_view_by_name():
    import palestra.tasks  # noqa: F401 - registers

    env = gymnasium.make_vec("Palestra/Cartpole", num_envs=3)
    assert isinstance(env, VectorEnv)
    assert env.num_envs == 3
    assert env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    env.close()


def test_spaces_contain_what_reset_and_step_return(view):
    obs, infos = view.reset(seed=1)
    assert infos == {}
    assert view.observation_space.contains(obs)
    assert view.single_observation_space["policy"].shape == (4,)
    assert view.observation_space["policy"].shape == (5, 4)
    assert view.action_space.shape == (5, 1)
    obs, reward, terminated, truncated, infos = view.step(push(view, 0.5))
    assert view.observation_space.contains(obs)
    assert reward.shape == terminated.shape == truncated.shape == (5,)
    assert reward.dtype == np.float32
    assert terminated.dtype == truncated.dtype == np.bool_


def test_the_same_seed_starts_the_same_episodes(view):
    first, _ = view.reset(seed=7)
    other, _ = view.reset(seed=8)
    again, _ = view.reset(seed=7)
    np.testing.assert_array_equal(first["policy"], again["policy"])
    assert not np.array_equal(first["policy"], other["policy"])


def test_later_steps_do_not_change_what_was_returned(view):
    obs, _ = view.reset(seed=0)
    kept = obs["policy"].copy()
    stepped = view.step(push(view, 1.0))
    reward = stepped[1].copy()
    for _ in range(100):  # long enough for episodes to end
        view.step(push(view, 1.0))
    np.testing.assert_array_equal(obs["policy"], kept)
    np.testing.assert_array_equal(stepped[1], reward)


def test_an_ended_episode_leaves_its_final_observation(view):
    view.reset(seed=0)
    before = None
    for _ in range(200):
        obs, _, terminated, truncated, infos = view.step(push(view, 1.0))
        ended = terminated | truncated
        if ended.any():
            break
        assert infos == {}
        before = obs
    assert ended.any() and not truncated.any()
    np.testing.assert_array_equal(infos["_final_obs"], ended)
    limit = np.radians(12.0)
    for i in range(view.num_envs):
        if ended[i]:
            final = infos["final_obs"][i]["policy"]
            assert view.single_observation_space["policy"].contains(final)
            # pushed to the right, the pole falls to the left: beyond its limit, and further than a step before
            assert abs(final[2]) > limit
            assert abs(final[2]) > abs(before["policy"][i, 2])
            assert abs(obs["policy"][i, 2]) <= 0.05  # the new episode
        else:
            assert infos["final_obs"][i] is None


def test_actions_reach_the_environment_as_they_are(view):
    view.reset(seed=0)
    actions = np.linspace(-1.0, 1.0, 5, dtype=np.float32).reshape(5, 1)
    view.step(actions)
    torch.testing.assert_close(view.unwrapped.action_manager.action, torch.from_numpy(actions))


def test_a_list_of_seeds_is_refused_in_one_line(view):
    with pytest.raises(ConfigError, match=r"^seed is \[1, 2\]; give one whole number"):
        view.reset(seed=[1, 2])
