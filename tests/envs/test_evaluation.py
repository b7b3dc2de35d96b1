"""Measuring a policy: exact numbers where they can be worked out, and no favour to short episodes."""

import pytest
import torch

import palestra
from palestra.config import load_env_cfg
from palestra.envs.evaluation import evaluate


def environment(task: str, num_envs: int, change=None):
    cfg = load_env_cfg(task)
    if change is not None:
        change(cfg)
    return palestra.make(task, num_envs=num_envs, seed=0, cfg=cfg)


def still(env):
    return lambda obs: torch.zeros(env.num_envs, env.num_actions)


def never_fail(cfg):
    cfg.terminations.pole_down = cfg.terminations.off_rail = None
    cfg.episode_length_s = 0.2  # 10 steps


def test_episodes_that_only_time_out_have_the_length_of_the_limit():
    env = environment("Cartpole", 3, never_fail)
    result = evaluate(env, still(env), 7, seed=0)
    env.close()
    assert (result.episodes, result.unfinished) == (7, 0)
    assert (result.length_mean, result.length_std) == (10.0, 0.0)
    assert result.length_seconds == pytest.approx(0.2)
    assert result.terminations == {"time_out": 1.0, "diverged": 0.0}
    assert result.success_rate is None
    # +1 a step while upright, and the pole stays within 12° for 10 steps
    assert result.step_values["upright"] == 1.0 and result.step_values["fallen"] == 0.0
    assert result.return_mean == pytest.approx(10.0, rel=1e-5)


def test_every_environment_gives_its_share_however_short_its_episodes():
    """Pushed to one side, poles fall at different times; the longer episodes must count as often as the short ones."""
    env = environment("Cartpole", 8)
    push = torch.ones(8, 1)
    one_each = evaluate(env, lambda obs: push, 8, seed=5)
    env.reset(seed=5)
    lengths = torch.zeros(8)
    for step in range(1, 200):
        _, _, terminated, truncated, _ = env.step(push)
        lengths = torch.where((lengths == 0) & (terminated | truncated), float(step), lengths)
        if bool((lengths > 0).all()):
            break
    env.close()
    assert len(lengths.unique()) > 1
    assert one_each.length_mean == pytest.approx(float(lengths.mean()))
    assert one_each.length_std == pytest.approx(float(lengths.std(correction=0)))
    assert one_each.terminations["pole_down"] == 1.0


def test_command_metrics_are_those_at_the_end_of_the_episode():
    def short(cfg):
        cfg.episode_length_s = 5.0 / 60.0
        cfg.events.reset_arm = None

    env = environment("Reach-Franka", 4, short)
    result = evaluate(env, still(env), 4, seed=2)
    env.reset(seed=2)
    for _ in range(4):  # the metric of the fifth and last step is cleared by the reset within it
        env.step(torch.zeros(4, 7))
    distance = env.command_manager.get_term("target").metrics["distance"].mean()
    env.close()
    assert result.metrics["target/distance"] == pytest.approx(float(distance), rel=1e-5)
    assert result.success_rate == 0.0


def test_episodes_without_an_end_are_reported_and_do_not_hang():
    def endless(cfg):
        never_fail(cfg)
        cfg.terminations.time_out = None

    env = environment("Cartpole", 2, endless)
    result = evaluate(env, still(env), 2, seed=0)
    env.close()
    assert (result.episodes, result.unfinished) == (0, 2)
    assert result.to_dict()["length_mean"] != result.to_dict()["length_mean"]  # NaN: nothing was measured


def test_single_episodes_add_up_to_the_whole():
    env = environment("Cartpole", 4)
    push = torch.ones(4, 1)
    result = evaluate(env, lambda obs: push, 6, seed=5)
    again = evaluate(env, lambda obs: push, 4, seed=5)
    env.close()
    each = result.each
    # two of the four environments give a second episode
    assert sorted(zip(each.env.tolist(), each.ordinal.tolist(), strict=True)) == [
        (0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (3, 0)
    ]  # fmt: skip
    assert float(each.returns.mean()) == pytest.approx(result.return_mean)
    # 1 in every step but the last, in which the pole is down: the mean is 1 − 1/length
    lengths = 1.0 / (1.0 - each.step_values["upright"])
    assert lengths.shape == (6,) and torch.allclose(lengths, lengths.round(), atol=1e-4)
    assert float(lengths.mean()) == pytest.approx(result.length_mean, rel=1e-5)
    assert not each.succeeded.any() and "each" not in result.to_dict()
    first = {int(e): float(r) for e, o, r in zip(each.env, each.ordinal, each.returns, strict=True) if o == 0}
    assert {int(e): float(r) for e, r in zip(again.each.env, again.each.returns, strict=True)} == first
