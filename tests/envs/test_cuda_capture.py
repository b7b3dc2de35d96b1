"""Recorded steps, rollouts and updates: the same numbers as launched from Python, and errors that name the culprit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from palestra.config import load_agent_cfg, load_env_cfg, make
from palestra.managers import EventTermCfg, ObservationTermCfg, RewardTermCfg
from palestra.physics.capture import CapturedCall, CaptureError
from palestra.rl.networks import Linear
from palestra.rl.runner import OnPolicyRunner

pytestmark = pytest.mark.gpu

NUM_ENVS = 128
RECORDED_AT = 2
"""The step, counted from 0, that is recorded."""


def env_of(task: str, capture: str = "auto", **kwargs: Any) -> Any:
    env = make(task, num_envs=NUM_ENVS, device="cuda:0", seed=0, **kwargs)
    env.capture = capture if env.capture == "auto" else env.capture
    return env


def actions_of(env: Any, steps: int) -> Tensor:
    generator = torch.Generator(device=env.device).manual_seed(0)
    return torch.rand(steps, NUM_ENVS, env.num_actions, generator=generator, device=env.device) * 2 - 1


@pytest.mark.parametrize(
    ("task", "steps", "tolerance"),
    [
        ("Cartpole", 200, 0.0),
        ("Cartpole-Direct", 200, 0.0),
        ("Reach-Franka", 200, 1e-4),
        ("Reach-Franka-Direct", 200, 1e-4),
        ("Velocity-Flat-Go2", 20, 1e-2),
        ("Velocity-Rough-Go2", 20, 1e-2),
        ("Ant", 20, 1e-2),
    ],
)
def test_recorded_steps_are_those_launched_from_python(task: str, steps: int, tolerance: float) -> None:
    histories = []
    for capture in ("off", "auto"):
        env = env_of(task, capture)
        env.reset(seed=3)
        env.episode_length_buf[::2] = env.max_episode_length - steps // 2  # half of the episodes end on the way
        rows = []
        for action in actions_of(env, steps):
            obs, reward, terminated, time_outs, extras = env.step(action)
            rows.append((obs["policy"], reward, terminated, time_outs, extras["terminal_observation"]["policy"]))
        histories.append([torch.stack([row[k].float() for row in rows]) for k in range(5)])
        env.close()
    for eager, recorded in zip(*histories, strict=True):
        close = torch.isclose(recorded, eager, atol=tolerance, rtol=tolerance)
        # Contacts are summed in any order, and to fall is chaotic: one environment in a hundred may go astray.
        assert close.all() if tolerance < 1e-3 else close.float().mean() > 0.99
    assert (histories[0][2] + histories[0][3]).any()


def test_every_output_is_rewritten_by_a_replay() -> None:
    env = env_of("Velocity-Flat-Go2")
    env.reset(seed=0)
    actions = actions_of(env, RECORDED_AT + 2)
    for action in actions[:-1]:
        obs, reward, terminated, time_outs, extras = env.step_in_place(action)
    for tensor in (obs["policy"], reward, extras["terminal_observation"]["policy"]):
        tensor.fill_(float("nan"))
    terminated.fill_(True)
    time_outs.fill_(True)
    env.step_in_place(actions[-1])
    for tensor in (obs["policy"], reward, extras["terminal_observation"]["policy"]):
        assert torch.isfinite(tensor).all()
    assert not terminated.all() and not time_outs.all()


def test_each_replay_draws_new_numbers_and_a_seed_repeats_them() -> None:
    env = env_of("Velocity-Flat-Go2")
    zero = torch.zeros(NUM_ENVS, env.num_actions, device=env.device)
    runs = []
    for _ in range(2):
        env.reset(seed=5)
        env.rng.step.fill_(100)
        runs.append(torch.stack([env.step(zero)[0]["policy"][:, 0] for _ in range(6)]))
    assert (runs[0][3:] - runs[0][2:-1]).abs().mean() > 1e-3
    torch.testing.assert_close(runs[0], runs[1], atol=1e-3, rtol=0)


def waits(env: Any) -> Tensor:
    if float(env.episode_length_buf.sum()) < 0.0:  # needs the host
        raise AssertionError
    return torch.zeros(env.num_envs, device=env.device)


def waits_as_observation(env: Any) -> Tensor:
    return waits(env).unsqueeze(-1) if hasattr(env, "episode_length_buf") else torch.zeros(env.num_envs, 1)


@pytest.mark.parametrize("kind", ["reward", "observation"])
def test_a_term_that_waits_is_named(kind: str) -> None:
    cfg = load_env_cfg("Cartpole")
    cfg.scene.num_envs, cfg.sim.device = NUM_ENVS, "cuda:0"
    if kind == "reward":
        cfg.rewards.slow = RewardTermCfg(func=waits, weight=1.0)
    else:
        cfg.observations.policy.slow = ObservationTermCfg(func=waits_as_observation)
    env = make("Cartpole", cfg=cfg)
    env.reset()
    env.step(actions_of(env, 1)[0])
    with pytest.raises(CaptureError, match=rf"{kind} term 'slow'.*float\(env.episode_length_buf.sum\(\)\).*waits"):
        env.step(actions_of(env, 1)[0])
    env.capture = "off"
    env.step(actions_of(env, 1)[0])


def push_by_ids(env: Any, env_ids: Tensor) -> None:
    """An event in Isaac Lab's form."""


def test_terms_with_ids_run_eagerly() -> None:
    cfg = load_env_cfg("Cartpole")
    cfg.scene.num_envs, cfg.sim.device = NUM_ENVS, "cuda:0"
    cfg.events.push = EventTermCfg(func=push_by_ids, mode="reset")
    with pytest.warns(UserWarning, match="'push'.*env_ids"):
        env = make("Cartpole", cfg=cfg)
    assert env.capture == "off"
    env.reset()
    for action in actions_of(env, 4):
        env.step(action)


def test_a_model_field_that_is_widened_later_is_recorded_anew() -> None:
    env = env_of("Cartpole")
    env.reset(seed=0)
    zero = torch.zeros(NUM_ENVS, 1, device=env.device)
    for _ in range(RECORDED_AT + 2):
        env.step(zero)
    assert env._captured_step.is_recorded
    gravity_free = env.engine.model_field("body_mass").clone() * 1e3
    env.engine.write_model("body_mass", gravity_free)
    env.engine.model_field("dof_damping")
    env.engine.write_model("dof_damping", torch.full((NUM_ENVS, env.engine.model.nv), 1e9, device=env.device))
    assert not env._captured_step.is_recorded
    for _ in range(RECORDED_AT + 2):
        env.step(zero)
    assert env._captured_step.is_recorded
    assert env.engine.field("qvel").abs().max() < 1e-3  # nothing moves against that damping


def test_derived_quantities_are_fresh_after_a_replay() -> None:
    env = env_of("Velocity-Flat-Go2")
    env.reset(seed=0)
    data = env.scene["robot"].data
    for action in actions_of(env, 6):
        env.step_in_place(action)
        before = data.root_lin_vel_b
        env.engine.version += 1
        torch.testing.assert_close(before, data.root_lin_vel_b)


def test_random_generators_advance_between_replays() -> None:
    device = torch.device("cuda:0")
    generator = torch.Generator(device=device).manual_seed(0)
    out = torch.zeros(4, device=device)
    call = CapturedCall(lambda: out.normal_(generator=generator), device, "a draw", [generator], warm_up=1)
    draws, offsets = [], []
    for _ in range(4):
        call()
        draws.append(out.clone())
        offsets.append(generator.get_offset())
    assert call.is_recorded
    numbers = [tuple(draw.tolist()) for draw in draws]
    assert len(set(numbers)) == 4, f"{numbers}, offsets {offsets}, at {[draw.data_ptr() for draw in draws]}"


@pytest.mark.parametrize("task", ["Cartpole", "Velocity-Flat-Go2"])
def test_recorded_training_is_training(task: str, tmp_path: Path) -> None:
    scores = {}
    for capture in ("off", "auto"):
        env = env_of(task, capture)
        cfg = load_agent_cfg(task)
        cfg.seed, cfg.capture = 1, capture
        runner = OnPolicyRunner(env, cfg, tmp_path / capture, task=task)
        runner.learn(12)
        scores[capture] = runner.last_metrics
        runner.save(tmp_path / capture / "again.pth")
        runner.load(tmp_path / capture / "again.pth")
        runner.learn(2)
        assert runner.current_learning_iteration == 14
        env.close()
    for name in ("Train/mean_reward", "Loss/entropy"):
        assert scores["auto"][name] == pytest.approx(scores["off"][name], rel=0.1, abs=0.02), name
    assert scores["auto"]["Train/env_steps"] == scores["off"]["Train/env_steps"]


@pytest.mark.parametrize("setting", ["mixed_precision", "compile", "allow_tf32"])
def test_faster_arithmetic_learns_the_same(setting: str) -> None:
    """One update from the same rollout moves the networks the same way, and training gets as far."""
    changes, lengths = [], []
    for value in (False, True):
        env = env_of("Cartpole")
        cfg = load_agent_cfg("Cartpole").replace(seed=1, **{"allow_tf32": setting != "allow_tf32", setting: value})
        runner = OnPolicyRunner(env, cfg, task="Cartpole")
        before = parameters_to_vector(runner.ppo.parameters).detach().clone()
        runner._begin_episodes()
        runner._collect()
        runner._update()
        changes.append(parameters_to_vector(runner.ppo.parameters).detach() - before)
        runner.learn(60)
        lengths.append(runner.last_metrics["Episode/length"])
        env.close()
    assert float(torch.cosine_similarity(*changes, dim=0)) > (0.7 if setting == "mixed_precision" else 0.9)
    assert min(lengths) > 200


@pytest.mark.parametrize("rows", [1, 1000])
def test_the_gradient_of_a_linear_layer(rows: int) -> None:
    torch.manual_seed(0)
    layer = Linear(5, 3).to("cuda:0", torch.float64)
    x = torch.randn(rows, 5, device="cuda:0", dtype=torch.float64, requires_grad=True)
    out = layer(x)
    weight = torch.randn_like(out)
    ours = torch.autograd.grad(out, (x, layer.weight, layer.bias), weight)
    theirs = torch.autograd.grad(
        torch.nn.functional.linear(x, layer.weight, layer.bias), (x, layer.weight, layer.bias), weight
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
