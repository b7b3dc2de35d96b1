"""Environments on the GPU: no host syncs in a step, finite scores, the same meaning as on the CPU."""

from collections.abc import Iterator

import pytest
import torch

from palestra.config import make

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def default_sync_mode() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode(0)
    yield
    torch.cuda.set_sync_debug_mode(0)


TASKS = (
    "Velocity-Flat-Go2",
    "Velocity-Flat-Go2-DR",
    "Velocity-Flat-AnymalC",
    "Velocity-Flat-G1",
    "Velocity-Flat-H1",
    "Velocity-Rough-Go2",
    "Velocity-Rough-AnymalC",
    "Reach-Franka",
    "Cartpole",
    "Cartpole-Direct",
    "Reach-Franka-Direct",
    "Reach-Franka-DR",
    "Ant",
)


@pytest.mark.parametrize("task", TASKS)
def test_a_step_has_no_host_sync(task: str) -> None:
    env = make(task, num_envs=64, device="cuda:0", seed=0)
    env.reset()
    assert env.capture == "auto"
    env.capture = "off"  # a replay would have none anyway
    generator = torch.Generator(device=env.device).manual_seed(0)
    actions = torch.rand(30, 64, env.num_actions, generator=generator, device=env.device) * 2 - 1
    for action in actions[:3]:  # kernels, graphs and tables that are made once
        env.step_in_place(action)
    env.episode_length_buf[::2] = env.max_episode_length - 10  # half of the episodes end on the way
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for action in actions[3:]:
            obs, reward, _, _, extras = env.step_in_place(action)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for tensor in (obs["policy"], reward, extras["terminal_observation"]["policy"]):
        assert torch.isfinite(tensor).all()
    log = env.fetch_log()
    assert log["Episode/length"] > 0
    assert log.get("Episode_Termination/diverged", 0.0) == 0.0
    assert env.check_health() == []
    env.close()


def test_the_first_steps_agree_with_the_cpu() -> None:
    """Random numbers, resets, observations and rewards are the same; physics differs by rounding only."""
    results = {}
    for device in ("cpu", "cuda:0"):
        env = make("Cartpole", num_envs=16, device=device, seed=3)
        obs, _ = env.reset()
        rows = [obs["policy"].cpu()]
        for k in range(20):
            obs, reward, terminated, _, _ = env.step(torch.full((16, 1), 0.3 * (-1) ** k, device=env.device))
            rows += [obs["policy"].cpu(), reward.cpu(), terminated.float().cpu()]
        results[device] = rows
    for a, b in zip(*results.values(), strict=True):
        torch.testing.assert_close(b, a, atol=1e-4, rtol=0)


def test_noise_and_commands_are_the_same_numbers_on_both_devices() -> None:
    draws = []
    for device in ("cpu", "cuda:0"):
        env = make("Velocity-Flat-Go2", num_envs=8, device=device, seed=1)
        obs, _ = env.reset()
        draws.append((obs["policy"].cpu(), env.command_manager.get_command("base_velocity").cpu()))
    for a, b in zip(*draws, strict=True):
        torch.testing.assert_close(b, a, atol=1e-4, rtol=0)


def test_a_diverged_environment_is_ended_and_counted() -> None:
    env = make("Velocity-Flat-Go2", num_envs=8, device="cuda:0", seed=2)
    env.reset()
    env.fetch_log()
    mask = torch.zeros(8, dtype=torch.bool, device=env.device)
    mask[5] = True
    env.engine.write("qvel", torch.full((8, env.engine.model.nv), float("nan"), device=env.device), mask)
    obs, reward, terminated, _, extras = env.step(torch.zeros(8, 12, device=env.device))
    assert terminated[5] and reward[5] == 0.0
    for tensor in (obs["policy"], reward, extras["terminal_observation"]["policy"]):
        assert torch.isfinite(tensor).all()
    assert env.fetch_log()["Episode_Termination/diverged"] > 0.0
    for _ in range(20):
        obs, *_ = env.step(torch.zeros(8, 12, device=env.device))
    assert torch.isfinite(obs["policy"]).all()
