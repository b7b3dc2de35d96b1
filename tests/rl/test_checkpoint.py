"""Checkpoint files: written whole, read safely, refused with one line when they do not fit."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_env import PointMassEnv

from palestra.errors import ConfigError
from palestra.rl import OnPolicyRunner, PPORunnerCfg, load_checkpoint, load_policy, save_checkpoint
from palestra.rl.console import TrainingConsole

Quiet = Callable[[], TrainingConsole]


@pytest.fixture
def trained(small_cfg: PPORunnerCfg, tmp_path: Path, quiet: Quiet) -> OnPolicyRunner:
    """A runner of the task ``Point-Mass`` after one iteration, its checkpoint in ``tmp_path/nn``."""
    runner = OnPolicyRunner(PointMassEnv(8), small_cfg, tmp_path, quiet(), task="Point-Mass")
    runner.learn(1)
    return runner


def refused(path: Path, runner: OnPolicyRunner) -> str:
    before = [p.detach().clone() for p in runner.ppo.parameters]
    with pytest.raises(ConfigError) as error:
        runner.load(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    assert all(torch.equal(a, b) for a, b in zip(before, runner.ppo.parameters, strict=True))
    return str(error.value)


def test_content(trained: OnPolicyRunner, tmp_path: Path) -> None:
    content = load_checkpoint(tmp_path / "nn" / "last.pth")
    assert content["library"] == "palestra" and content["task"] == "Point-Mass" and content["iter"] == 1
    assert content["config"]["algorithm"]["num_mini_batches"] == 2
    assert content["observation_dims"] == {"policy": 4, "critic": 5} and content["num_actions"] == 2
    assert content["versions"]["torch"] == torch.__version__
    assert "obs_normalizer._mean" in content["actor_state_dict"]
    assert torch.equal(content["env_state"]["position"], trained.env.position)  # type: ignore[attr-defined]


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
def test_truncated(trained: OnPolicyRunner, tmp_path: Path, part: float) -> None:
    path = tmp_path / "nn" / "last.pth"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    message = refused(path, trained)
    assert "truncated" in message and "beside it: model_1.pth" in message


def test_damaged_missing_and_foreign_files(trained: OnPolicyRunner, tmp_path: Path) -> None:
    path = tmp_path / "nn" / "other.pth"
    path.write_bytes(b"not a checkpoint at all")
    assert "no checkpoint" in refused(path, trained)
    torch.save({"actor_state_dict": {}}, path)
    assert "no checkpoint of Palestra" in refused(path, trained)
    torch.save({"library": "palestra", "attack": os.system}, path)
    assert "damaged" in refused(path, trained)  # it would have to run code
    path.unlink()
    assert "no checkpoint at" in refused(path, trained)


def test_other_task(trained: OnPolicyRunner, small_cfg: PPORunnerCfg, tmp_path: Path, quiet: Quiet) -> None:
    path = tmp_path / "nn" / "last.pth"
    other = OnPolicyRunner(PointMassEnv(8), small_cfg, console=quiet(), task="Double-Mass")
    message = refused(path, other)
    assert "'Point-Mass'" in message and "'Double-Mass'" in message
    play = OnPolicyRunner(PointMassEnv(2), small_cfg, console=quiet(), task="Point-Mass-Play")
    play.load(path, {"actor": True})


def test_other_dimensions(trained: OnPolicyRunner, small_cfg: PPORunnerCfg, tmp_path: Path, quiet: Quiet) -> None:
    path = tmp_path / "nn" / "last.pth"

    class Wider(PointMassEnv):
        def __init__(self) -> None:
            super().__init__(8)
            self.observation_dims = {"policy": 6, "critic": 5}

    message = refused(path, OnPolicyRunner(Wider(), small_cfg, console=quiet()))
    assert "'policy' with 4 numbers" in message and "one with 6" in message
    env = PointMassEnv(8)
    env.num_actions = 3
    message = refused(path, OnPolicyRunner(env, small_cfg, console=quiet()))
    assert "2 actions" in message and "has 3" in message


def test_other_networks(trained: OnPolicyRunner, small_cfg: PPORunnerCfg, tmp_path: Path, quiet: Quiet) -> None:
    small_cfg.actor.hidden_dims = [32]
    runner = OnPolicyRunner(PointMassEnv(8), small_cfg, console=quiet())
    message = refused(tmp_path / "nn" / "last.pth", runner)
    assert "actor.mlp.2.weight has shape (32, 32) in the checkpoint and shape (2, 32)" in message


def test_policy_without_an_environment(trained: OnPolicyRunner, tmp_path: Path) -> None:
    obs = torch.randn(7, 4)
    policy = load_policy(tmp_path / "nn" / "model_1.pth")
    assert torch.equal(policy({"policy": obs}), trained.get_inference_policy()(obs))


def test_values_that_need_code_to_load_are_refused_when_saving(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    with pytest.raises(ConfigError, match=r"checkpoint\['env'\]\['terms'\]\[1\] is a object"):
        save_checkpoint(path, {"env": {"terms": [1, object()]}})
    assert list(tmp_path.iterdir()) == []
    save_checkpoint(path, {"a": np.arange(3), "b": np.float64(0.5), "c": (1, None, "x")})
    content = load_checkpoint(path)
    assert content["a"].tolist() == [0, 1, 2] and content["b"] == 0.5 and content["c"] == (1, None, "x")


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.pth"
    save_checkpoint(path, {"n": 1})

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(path, {"n": 2})
    assert load_checkpoint(path)["n"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["x.pth"]
