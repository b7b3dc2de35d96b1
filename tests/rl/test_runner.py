"""The training loop: same seeds, resuming, signals, broken rewards, curves and the console."""

import csv
import io
import math
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from toy_env import PointMassEnv

from palestra.errors import ConfigError, PalestraError
from palestra.rl import OnPolicyRunner, PPORunnerCfg, load_checkpoint
from palestra.rl.console import TrainingConsole

Quiet = Callable[[], TrainingConsole]
TIMES = ("Perf/", "Train/time")


def rows_of(run_dir: Path) -> list[dict[str, str]]:
    """Return the rows of a run's ``metrics.csv`` without the columns that hold wall-clock times."""
    with open(run_dir / "metrics.csv", newline="") as file:
        return [{k: v for k, v in row.items() if not k.startswith(TIMES)} for row in csv.DictReader(file)]


def weights(runner: OnPolicyRunner) -> list[torch.Tensor]:
    return [p.detach().clone() for p in runner.ppo.parameters]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_same_seed_same_metrics(small_cfg: PPORunnerCfg, tmp_path: Path, quiet: Quiet) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        env = PointMassEnv(16, observation_noise=0.1)
        OnPolicyRunner(env, small_cfg.replace(seed=seed), tmp_path / name, quiet()).learn(20)
        torch.rand(5)  # what others draw in between must not matter
    a, b, c = (rows_of(tmp_path / name) for name in "abc")
    assert len(a) == 20 and a == b
    assert a[5]["Loss/surrogate"] != c[5]["Loss/surrogate"]


def test_resumed_training_is_uninterrupted_training(small_cfg: PPORunnerCfg, tmp_path: Path, quiet: Quiet) -> None:
    def runner(folder: str) -> OnPolicyRunner:
        return OnPolicyRunner(PointMassEnv(16, observation_noise=0.1), small_cfg, tmp_path / folder, quiet())

    whole = runner("whole")
    whole.learn(6)
    first = runner("parts")
    first.learn(3)
    second = runner("parts")
    second.load(tmp_path / "parts" / "nn" / "last.pth")
    assert second.current_learning_iteration == 3
    second.learn(3)
    assert same(weights(whole), weights(second))
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "parts")
    assert whole.env_steps == second.env_steps == 6 * 16 * 16
    assert sorted(p.name for p in (tmp_path / "parts" / "nn").iterdir()) == [
        "last.pth",
        "model_3.pth",
        "model_6.pth",
    ]


def test_resume_from_an_earlier_checkpoint_replaces_the_rows_after_it(
    small_cfg: PPORunnerCfg, tmp_path: Path, quiet: Quiet
) -> None:
    cfg = small_cfg.replace(save_interval=2)
    OnPolicyRunner(PointMassEnv(8), cfg, tmp_path, quiet()).learn(5)
    before = rows_of(tmp_path)
    with open(tmp_path / "metrics.csv", "a") as file:
        file.write("5,torn")  # a crash in the middle of a line
    again = OnPolicyRunner(PointMassEnv(8), cfg, tmp_path, quiet())
    again.load(tmp_path / "nn" / "model_2.pth")
    again.learn(3)
    assert rows_of(tmp_path) == before


def test_learn_without_a_number_completes_max_iterations(small_cfg: PPORunnerCfg, quiet: Quiet) -> None:
    runner = OnPolicyRunner(PointMassEnv(4), small_cfg.replace(max_iterations=3), console=quiet())
    runner.learn(1)
    runner.learn()
    assert runner.current_learning_iteration == 3


def test_random_initial_ages(small_cfg: PPORunnerCfg, quiet: Quiet) -> None:
    def time_outs_in_first_steps(random_ages: bool) -> bool:
        env = PointMassEnv(32, max_episode_length=40)
        runner = OnPolicyRunner(env, small_cfg.replace(init_at_random_ep_len=random_ages), console=quiet())
        runner.learn(1)
        return bool(runner.ppo.storage.time_outs.any())

    assert time_outs_in_first_steps(True) and not time_outs_in_first_steps(False)


def test_parts_of_a_checkpoint(small_cfg: PPORunnerCfg, tmp_path: Path, quiet: Quiet) -> None:
    trained = OnPolicyRunner(PointMassEnv(4), small_cfg, tmp_path, quiet())
    trained.learn(2)
    other = OnPolicyRunner(PointMassEnv(4), small_cfg.replace(seed=9), console=quiet())
    critic_before = [p.detach().clone() for p in other.ppo.critic_parameters]
    other.load(tmp_path / "nn" / "last.pth", {"actor": True})
    assert same([*trained.ppo.actor_parameters], [*other.ppo.actor_parameters])
    assert same(critic_before, [*other.ppo.critic_parameters])
    assert other.current_learning_iteration == 0
    with pytest.raises(ConfigError, match="did you mean 'actor'"):
        other.load(tmp_path / "nn" / "last.pth", {"acter": True})


def test_nan_reward_stops_in_one_line_and_spares_the_checkpoint(
    small_cfg: PPORunnerCfg, tmp_path: Path, quiet: Quiet
) -> None:
    env = PointMassEnv(8)
    env.broken_from_step = 40  # in the third iteration of sixteen steps
    runner = OnPolicyRunner(env, small_cfg.replace(save_interval=2), tmp_path, quiet())
    with pytest.raises(PalestraError, match="iteration 2: the rewards are not finite") as error:
        runner.learn(10)
    assert "\n" not in str(error.value)
    content = load_checkpoint(tmp_path / "nn" / "last.pth")
    assert content["iter"] == 2 and len(rows_of(tmp_path)) == 2
    assert all(tensor.isfinite().all() for tensor in content["actor_state_dict"].values())
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_exploding_loss_is_named(small_cfg: PPORunnerCfg, quiet: Quiet) -> None:
    runner = OnPolicyRunner(PointMassEnv(8), small_cfg, console=quiet())
    with torch.no_grad():
        runner.ppo.critic.mlp[0].weight.fill_(torch.inf)
    with pytest.raises(PalestraError, match="the losses and the parameters are not finite"):
        runner.learn(1)


ENDLESS = """
    import sys
    sys.path[:0] = [{tests!r}]
    from toy_env import PointMassEnv
    from palestra.rl import ModelCfg, OnPolicyRunner, PPORunnerCfg
    model = ModelCfg(hidden_dims=[16])
    cfg = PPORunnerCfg(max_iterations=10**6, save_interval=10**6, actor=model, critic=model)
    runner = OnPolicyRunner(PointMassEnv(8), cfg, sys.argv[1])
    runner.learn()
    print("left with", runner.stop_signal.name, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_leaves_a_loadable_checkpoint(number: signal.Signals, tmp_path: Path, small_cfg: PPORunnerCfg) -> None:
    script = tmp_path / "endless.py"
    script.write_text(textwrap.dedent(ENDLESS.format(tests=str(Path(__file__).parent))))
    run_dir = tmp_path / "run"
    process = subprocess.Popen([sys.executable, str(script), str(run_dir)], stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60.0
        while not (run_dir / "metrics.csv").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        output, _ = process.communicate(timeout=30.0)
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert f"left with {number.name}" in output and "saved" in output
    content = load_checkpoint(run_dir / "nn" / "last.pth")
    assert content["iter"] == len(rows_of(run_dir)) > 0


# --- what is shown and written ---------------------------------------------------------------------------------


def test_curves_in_csv_and_tensorboard_agree(small_cfg: PPORunnerCfg, tmp_path: Path, quiet: Quiet) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    OnPolicyRunner(PointMassEnv(8), small_cfg, tmp_path, quiet()).learn(3)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    rows = rows_of(tmp_path)
    assert {"Policy/kl", "Loss/value", "Loss/learning_rate", "Episode_Reward/total"} <= set(events.Tags()["scalars"])
    for name in ("Policy/kl", "Episode_Reward/total", "Metrics/distance"):
        values = [event.value for event in events.Scalars(name)]
        assert values == pytest.approx([float(row[name]) for row in rows], rel=1e-6)
        assert [event.step for event in events.Scalars(name)] == [0, 1, 2]


def test_metrics_are_those_of_the_rollout(small_cfg: PPORunnerCfg, quiet: Quiet) -> None:
    runner = OnPolicyRunner(PointMassEnv(8), small_cfg, console=quiet())
    runner.learn(1)
    metrics, ppo = runner.last_metrics, runner.ppo
    assert metrics["Train/mean_reward"] == pytest.approx(float(ppo.storage.rewards.mean()), rel=1e-5)
    assert metrics["Policy/mean_std"] == pytest.approx(float(ppo.actor.std.detach().mean()), rel=1e-6)
    assert metrics["Train/env_steps"] == 8 * 16
    assert metrics["Perf/total_fps"] > 0 and all(math.isfinite(value) for value in metrics.values())
    # the entropy of two actions with standard deviation near 1
    assert metrics["Loss/entropy"] == pytest.approx(math.log(2 * math.pi * math.e), rel=0.02)


def test_lines_in_a_pipe(small_cfg: PPORunnerCfg) -> None:
    text = io.StringIO()
    console = TrainingConsole(Console(file=text, width=40), line_interval=0.0)
    OnPolicyRunner(PointMassEnv(8), small_cfg, console=console).learn(2)
    lines = text.getvalue().splitlines()
    assert len(lines) == 2 and lines[1].startswith("iteration 2/2 | ") and "KL" in lines[1] and "ETA 0:00" in lines[1]


def test_table_in_a_terminal(small_cfg: PPORunnerCfg) -> None:
    text = io.StringIO()
    console = TrainingConsole(Console(file=text, force_terminal=True, width=100), title="Point-Mass")
    OnPolicyRunner(PointMassEnv(8), small_cfg, console=console).learn(2)
    for words in ("Point-Mass", "2/2", "episode reward", "learning rate", "distance"):
        assert words in text.getvalue()


def test_inference_policy_is_the_mean_within_the_bound(small_cfg: PPORunnerCfg, quiet: Quiet) -> None:
    runner = OnPolicyRunner(PointMassEnv(8), small_cfg.replace(clip_actions=0.01), console=quiet())
    runner.learn(2)
    policy = runner.get_inference_policy()
    obs = torch.randn(5, 4)
    actions = policy({"policy": obs, "critic": torch.zeros(5, 5)})
    with torch.no_grad():
        assert torch.equal(actions, runner.ppo.actor(obs).clamp(-0.01, 0.01))
    assert torch.equal(actions, policy(obs))
