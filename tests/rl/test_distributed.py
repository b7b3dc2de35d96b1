"""Several processes learn what one with all their environments would."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from torch import Tensor

from palestra.errors import ConfigError
from palestra.rl import PPO, PPORunnerCfg
from palestra.rl.distributed import ALONE, World, connected, world_from_environment

NUM_ENVS, NUM_ACTIONS = 12, 2
DIMS = {"policy": 4, "critic": 5}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def join(rank: int, size: int, port: int) -> World:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": str(size)}
    return world_from_environment()


def learn(cfg: PPORunnerCfg, world: World, rollout: dict[str, Any]) -> dict[str, Any]:
    """Learn twice from this process's share of a rollout; return the learner's state and losses."""
    share = NUM_ENVS // world.size
    mine = slice(world.rank * share, (world.rank + 1) * share)
    ppo = PPO(cfg, DIMS, share, NUM_ACTIONS, dtype=torch.float64, world=world)
    s = ppo.storage
    for name, tensor in rollout["observations"].items():
        s.observations[name].copy_(tensor[:, mine])
    for name in ("actions", "mean", "rewards", "terminated", "time_outs"):
        getattr(s, name).copy_(rollout[name][:, mine])
    s.std.fill_(1.0)
    for _ in range(2):
        ppo.compute_returns()
        ppo.update()
    return {**ppo.state_dict(), "rate": ppo.learning_rate, "summary": ppo.summary}


def in_process(rank: int, size: int, port: int, cfg: PPORunnerCfg, rollout: dict[str, Any], folder: Path) -> None:
    world = join(rank, size, port)
    with connected(world, "cpu"):
        torch.save(learn(cfg, world, rollout), folder / f"{rank}.pth")


def random_rollout(steps: int) -> dict[str, Any]:
    g = torch.Generator().manual_seed(5)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    mean = 0.1 * normal(steps, NUM_ENVS, NUM_ACTIONS)
    return {
        "observations": {name: 2.0 * normal(steps + 1, NUM_ENVS, width) + 1.0 for name, width in DIMS.items()},
        "mean": mean,
        "actions": mean + normal(steps, NUM_ENVS, NUM_ACTIONS),
        "rewards": normal(steps, NUM_ENVS) * torch.arange(NUM_ENVS),  # processes have unlike advantages
        "terminated": normal(steps, NUM_ENVS) > 1.5,
        "time_outs": normal(steps, NUM_ENVS) > 1.5,
    }


@pytest.mark.parametrize("per_mini_batch", [False, True])
def test_three_processes_learn_what_one_would(small_cfg: PPORunnerCfg, tmp_path: Path, per_mini_batch: bool) -> None:
    small_cfg.algorithm.num_mini_batches = 1  # then all see the same minibatch, in another order
    small_cfg.algorithm.num_learning_epochs = 5
    small_cfg.algorithm.normalize_advantage_per_mini_batch = per_mini_batch
    small_cfg.obs_groups = {"actor": ["policy"], "critic": ["critic"]}
    rollout = random_rollout(small_cfg.num_steps_per_env)
    alone = learn(small_cfg, ALONE, rollout)
    start = PPO(small_cfg, DIMS, NUM_ENVS, NUM_ACTIONS, dtype=torch.float64).state_dict()
    arguments = (3, free_port(), small_cfg, rollout, tmp_path)
    torch.multiprocessing.start_processes(in_process, arguments, nprocs=3, start_method="spawn")
    together = [torch.load(tmp_path / f"{rank}.pth") for rank in range(3)]
    for network in ("actor_state_dict", "critic_state_dict"):
        for name, tensor in alone[network].items():
            torch.testing.assert_close(together[0][network][name], tensor, rtol=1e-9, atol=1e-9)
            assert all(torch.equal(state[network][name], together[0][network][name]) for state in together)
            if "weight" in name:
                assert not torch.allclose(tensor, start[network][name])
    torch.testing.assert_close(together[0]["rate"], alone["rate"])
    assert float(alone["rate"]) != small_cfg.algorithm.learning_rate
    torch.testing.assert_close(together[1]["summary"][:5], alone["summary"][:5])
    noise = {bytes(state["generator_state"].numpy()) for state in together}
    assert len(noise) == 3


def say(rank: int, size: int, port: int, folder: Path) -> None:
    world = join(rank, size, port)
    with connected(world, "cpu"):
        shared = torch.full((2,), float(rank))
        world.share_([shared])
        answers = [world.any(False), world.any(rank == 1)]
        torch.save((shared, answers), folder / f"{rank}.pth")


def test_sharing_and_asking(tmp_path: Path) -> None:
    torch.multiprocessing.start_processes(say, (2, free_port(), tmp_path), nprocs=2, start_method="spawn")
    for rank in range(2):
        shared, answers = torch.load(tmp_path / f"{rank}.pth")
        assert shared.tolist() == [0.0, 0.0] and answers == [False, True]


def test_alone_nothing_is_connected() -> None:
    x = torch.tensor([1.0, 3.0])
    ALONE.average_([x])
    ALONE.share_([x])
    with connected(ALONE, "cuda:0"):
        assert ALONE.any(True) and not ALONE.any(False)
    assert x.tolist() == [1.0, 3.0] and ALONE.place("cuda:0") == "cuda:0"
    variance, mean = ALONE.var_mean(x)
    assert float(variance) == 1.0 and float(mean) == 2.0


def test_place_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert world_from_environment() == ALONE
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    world = world_from_environment()
    assert world == World(5, 8, 1, 4) and not world.is_main
    assert world.place("cuda:0") == world.place("cuda") == "cuda:1" and world.place("cpu") == "cpu"
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(ConfigError, match="RANK='first', WORLD_SIZE='8'.* must be whole numbers"):
        world_from_environment()


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(ConfigError, match="2 processes on this machine need 2 GPUs, but PyTorch sees 1"),
        connected(World(1, 2, 1, 2), "cuda:1"),
    ):
        pass
