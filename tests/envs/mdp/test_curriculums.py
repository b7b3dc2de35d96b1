"""Curriculum terms change weights and configurations when they should, and not before."""

from typing import Any

import pytest
import torch
from torch import Tensor

from palestra.envs import ManagerBasedRLEnv, mdp
from palestra.errors import ConfigError
from palestra.managers import CurriculumTermCfg
from palestra.utils import configclass

from .conftest import MakeEnv, place, same


def end_all_episodes(env: ManagerBasedRLEnv) -> None:
    env.episode_length_buf.fill_(env.max_episode_length - 1)
    place(env)
    env.step(torch.zeros(env.num_envs, env.num_actions))


def test_weight_changes_after_its_step(env: ManagerBasedRLEnv) -> None:
    for steps, expected in ((0, 2.0), (100, 2.0), (101, -0.5), (500, -0.5)):
        env.common_step_counter.fill_(steps)
        returned = mdp.modify_reward_weight(env, env.all_envs, "track", weight=-0.5, num_steps=100)
        assert float(returned) == float(env.reward_manager.get_weight("track")) == expected
    assert float(env.reward_manager.get_weight("alive")) == 1.0


def test_weight_within_an_environment(make_env: MakeEnv) -> None:
    @configclass
    class CurriculumCfg:
        later = CurriculumTermCfg(
            func=mdp.modify_reward_weight, params={"term_name": "track", "weight": 7.0, "num_steps": 1}
        )

    env = make_env(curriculum=CurriculumCfg())
    assert env.capture == "auto"
    end_all_episodes(env)
    assert float(env.reward_manager.get_weight("track")) == 2.0
    end_all_episodes(env)
    assert float(env.reward_manager.get_weight("track")) == 7.0
    assert env.fetch_log()["Curriculum/later"] == 7.0


def add(env: ManagerBasedRLEnv, env_mask: Tensor, old: Any, amount: float) -> Any:
    assert env_mask.dtype == torch.bool
    return old + amount


def change(address: str, modify_fn: Any, **modify_params: Any) -> object:
    """A curriculum configuration with one ``modify_term_cfg``."""
    params = {"address": address, "modify_fn": modify_fn, "modify_params": modify_params}

    @configclass
    class CurriculumCfg:
        change = CurriculumTermCfg(func=mdp.modify_term_cfg, params=params)

    return CurriculumCfg()


def test_parameter_of_a_reward(make_env: MakeEnv) -> None:
    env = make_env(curriculum=change("rewards.track.params.std", add, amount=0.25))
    assert env.capture == "off"  # it runs on the host
    assert env.reward_manager.get_term_cfg("track").params["std"] == pytest.approx(0.75)
    end_all_episodes(env)
    assert env.reward_manager.get_term_cfg("track").params["std"] == pytest.approx(1.0)
    env.command_manager.get_command("velocity").zero_()
    place(env, lin_vel=(1.0, 0.0, 0.0))
    env.reward_manager.compute(1.0, env.all_envs)
    same(env.reward_manager.step_values[1], torch.exp(torch.tensor(-1.0)))


def test_parameter_of_a_termination(make_env: MakeEnv) -> None:
    env = make_env(curriculum=change("terminations.fallen.params.minimum_height", add, amount=5.0))
    place(env)  # at 5 m, below the new minimum of 5.5 m
    _, _, terminated, _, _ = env.step(torch.zeros(3, 4))
    assert terminated.all()


def test_range_of_a_command_reaches_the_device(make_env: MakeEnv) -> None:
    env = make_env(
        curriculum=change("commands.velocity.ranges.lin_vel_x", lambda env, mask, old: (old[1], old[1] + 1.0))
    )
    same(env.command_manager.get_term("velocity").ranges["lin_vel_x"], torch.tensor([1.0, 2.0]))  # type: ignore[attr-defined]
    command = env.command_manager.get_command("velocity")
    assert ((command[:, 0] >= 1.0) & (command[:, 0] <= 2.0)).all()


def test_clip_of_an_observation(make_env: MakeEnv) -> None:
    env = make_env(curriculum=change("observations.policy.joint_pos.clip", lambda env, mask, old: (-0.1, 0.1)))
    place(env, joint_pos=(0.8, 0.0))
    obs, *_ = env.step(torch.zeros(3, 4))
    same(obs["policy"][:, :2], [0.1, 0.1], tol=1e-6)


def test_no_change_leaves_the_value(make_env: MakeEnv) -> None:
    env = make_env(curriculum=change("rewards.track.params.std", lambda env, mask, old: mdp.modify_term_cfg.NO_CHANGE))
    assert env.reward_manager.get_term_cfg("track").params["std"] == 0.5
    assert env.state_dict()["curriculum"]["change"] == {}


def test_a_resumed_environment_has_the_changed_value(make_env: MakeEnv) -> None:
    env = make_env(curriculum=change("rewards.track.params.std", add, amount=0.25))
    state = env.state_dict()
    other = make_env()
    resumed = make_env(
        curriculum=change("rewards.track.params.std", lambda env, mask, old: mdp.modify_term_cfg.NO_CHANGE)
    )
    assert other.reward_manager.get_term_cfg("track").params["std"] == 0.5
    resumed.load_state_dict(state)
    assert resumed.reward_manager.get_term_cfg("track").params["std"] == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("reward.track.params.std", "no manager 'reward'; did you mean 'rewards'"),
        ("rewards.trac.params.std", "no reward term 'trac': did you mean 'track'"),
        ("rewards.track.params.sdt", "no field 'sdt'; did you mean 'std'"),
        ("rewards.track", "must go on to a field"),
        ("rewards", "must go on to a term"),
        ("observations.policy.joint_pos.scale", "'params', 'noise' and 'clip' can change"),
        ("observations.polic.joint_pos.clip", "no observation group 'polic'"),
        ("observations.policy.joint.clip", "no observation term 'joint'"),
    ],
)
def test_bad_addresses(make_env: MakeEnv, address: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_env(curriculum=change(address, add, amount=1.0))
