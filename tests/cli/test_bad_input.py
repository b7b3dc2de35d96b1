"""Bad input: one line that says what is wrong and what is allowed, exit code 2, and nothing left behind."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from palestra.cli.main import COMMANDS, main
from palestra.config.registry import task_ids

TASKS = ", ".join(map(repr, task_ids()))
QUICK = ["--num_envs=2", "--max_iterations=1", "agent.num_steps_per_env=4", "--no_video"]


@pytest.fixture(autouse=True)
def empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("tran Cartpole", f"unknown command 'tran': did you mean 'train'? known: {', '.join(map(repr, COMMANDS))}"),
        ("--seed 1 train", "flag '--seed' stands before the command: type palestra COMMAND --seed …"),
        ("train", "which task? for example: palestra train Reach-Franka (palestra tasks lists them)"),
        ("train Cartpol", f"unknown task 'Cartpol': did you mean 'Cartpole', 'Cartpole-Direct', 'Cartpole-NoVelocity'? known: {TASKS}"),
        ("train Cartpole Ant", "palestra train takes one TASK, not 'Cartpole' and 'Ant'"),
        ("train Cartpole --num_envs 0", "--num_envs is 0; it must be a whole number of 1 or more"),
        ("train Cartpole --num_envs -4", "--num_envs is -4; it must be a whole number of 1 or more"),
        ("train Cartpole --num-envs 1.5", "--num_envs is '1.5'; it must be a whole number of 1 or more"),
        ("train Cartpole env.scene.num_envs=0", "scene.num_envs is 0; it must be a whole number of 1 or more"),
        (
            "train Cartpole env.scene.num_envs=many",
            "env.scene.num_envs: expected int, got 'many' (str)",
        ),
        ("train Cartpole --seed", "--seed needs a value (see palestra train --help)"),
        ("train Cartpole --device gpu", "device 'gpu' is unknown; use 'cpu' or 'cuda:0'"),
        ("train Cartpole --device mps", "device 'mps' has no engine; use 'cpu' or 'cuda:0'"),
        ("train Cartpole agent.device=foo", "agent: device is 'foo': use 'cpu', or 'cuda:0' for the first GPU"),
        ("train Cartpole --library skrl agent.device=foo", "agent: device is 'foo': use 'cpu', or 'cuda:0' for the first GPU"),
        ("train Cartpole --library rsl_rx", "unknown library 'rsl_rx': did you mean 'rsl_rl'? known: 'palestra', 'rsl_rl', 'skrl', 'rl_games', 'sb3'"),
        ("train Cartpole --logger mlflow", "--logger: expected 'tensorboard' or 'wandb' or 'none', got 'mlflow' (str)"),
        ("train Cartpole --run_name a/b", "run_name is 'a/b'; it must be one folder name, without '/'"),
        (
            "train Cartpole env.scene.num_env=4",
            "env.scene.num_env: unknown key 'num_env': did you mean 'num_envs'? known: 'num_envs', 'env_spacing', "
            "'lazy_sensor_update', 'replicate_physics', 'filter_collisions', 'clone_in_fabric', 'light', 'robot'",
        ),
        (
            "train Cartpole num_envs=4",
            "num_envs: unknown key 'num_envs': there is 'env.scene.num_envs'; did you mean 'env'? known: 'env', 'agent'",
        ),
        (
            "train Cartpole agent.algorithm.gamma=1.5",
            "agent.algorithm: gamma is 1.5: it must lie in [0, 1]",
        ),
        (
            "train Cartpole env.actions.force.joint_names=[slidr]",
            "joints of 'robot': no match for 'slidr'; did you mean 'slider_to_cart'? known: 'slider_to_cart', 'cart_to_pole'",
        ),
        ("train Cartpole --config none.yaml", "none.yaml: cannot read this config file: No such file or directory"),
        ("train Cartpole --resume", "task 'Cartpole' has no run in runs/cartpole: train it first (palestra train Cartpole)"),
        ("train --resume runs/cartpole/x", "no run at runs/cartpole/x: no such file or folder; runs/ has no runs yet"),
        ("train Cartpole --checkpoint gone.pth", "no checkpoint at gone.pth"),
        ("play", "which run or task? for example: palestra play runs/cartpole/2026-01-31_12-00-00"),
        ("play runs/x --headless", "no run at runs/x: no such file or folder; runs/ has no runs yet"),
        ("play Cartpole", "task 'Cartpole' has no run in runs/cartpole: train it first (palestra train Cartpole)"),
        ("eval gone.pth", "no run at gone.pth: no such file or folder; runs/ has no runs yet"),
        ("eval nothing", f"'nothing' is neither a run folder nor a task: known: {TASKS}"),
        ("eval Cartpole --num_episodes 0", "--num_episodes is 0; it must be a whole number of 1 or more"),
        ("info Cartpoel", f"'Cartpoel' is neither a task nor a run folder: did you mean 'Cartpole', 'Cartpole-Direct', 'Cartpole-NoVelocity'? known: {TASKS}"),
        ("tasks Cartpole", "palestra tasks takes no 'Cartpole'"),
    ],
)  # fmt: skip
def test_one_line_exit_code_two_and_nothing_written(command, message, capsys, tmp_path):
    assert main(command.split()) == 2
    captured = capsys.readouterr()
    assert captured.err == f"palestra: error: {message}\n"
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_cuda_without_a_gpu(capsys, tmp_path):
    assert main(["train", "Cartpole", "--device", "cuda:0"]) == 2
    expected = "palestra: error: device 'cuda:0': PyTorch sees no CUDA GPU here; use --device cpu\n"
    assert capsys.readouterr().err == expected
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_flag_names_the_nearest(capsys):
    assert main(["train", "Cartpole", "--num_evns", "4"]) == 2
    assert capsys.readouterr().err.startswith("palestra: error: unknown flag '--num_evns': did you mean '--num_envs'")


def test_another_tasks_checkpoint_and_a_truncated_one_are_refused(capsys, tmp_path):
    assert main(["train", "Cartpole", *QUICK]) == 0
    (run,) = Path("runs/cartpole").iterdir()
    checkpoint, cut, alone = run / "nn" / "last.pth", Path("cut.pth"), Path("alone.pth")
    cut.write_bytes(checkpoint.read_bytes()[:1000])
    alone.write_bytes(checkpoint.read_bytes())
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    mixed_up = "is of the task 'Cartpole', not of"
    for command, message in (
        (f"play Ant --headless --checkpoint {checkpoint}", f"checkpoint {checkpoint} {mixed_up} 'Ant'"),
        (f"train Ant --num_envs 2 --checkpoint {checkpoint}", f"checkpoint {checkpoint} {mixed_up} 'Ant'"),
        (f"eval Ant --checkpoint {alone}", f"checkpoint alone.pth {mixed_up} 'Ant'"),
        (f"train Ant --resume {run}", f"run {run} {mixed_up} 'Ant'"),
        (f"train Ant --config {run}/config.yaml", f"{run}/config.yaml: is the configuration of the task 'Cartpole', not of 'Ant'"),
        (
            f"play Cartpole --headless --checkpoint {cut}",
            "checkpoint cut.pth is truncated, damaged or no checkpoint (RuntimeError); beside it: alone.pth",
        ),
        (f"eval {run} --checkpoint model_9", f"run {run} has no checkpoint 'model_9'; there is last.pth, model_1.pth"),
        (
            "play alone.pth --headless",
            "alone.pth lies in no run folder: name its task too (palestra play TASK --checkpoint alone.pth)",
        ),
        (f"train {run}", f"'{run}' is a path, not a task: to continue a run, type palestra train --resume {run}"),
    ):  # fmt: skip
        assert main(command.split()) == 2, command
        captured = capsys.readouterr()
        assert captured.err == f"palestra: error: {message}\n"
        assert captured.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_term_that_is_not_finite_is_named_and_no_run_stays(capsys, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    Path("broken_terms.py").write_text(
        "def broken(env, limit, asset_cfg):\n    return 0.0 * env.episode_length_buf / 0.0\n"
    )
    override = "env.rewards.upright.func=broken_terms:broken"
    assert main(["train", "Cartpole", "--check", override, *QUICK]) == 2
    expected = "palestra: error: reward term 'upright' is not finite in environment 0 at step 1\n"
    assert capsys.readouterr().err == expected
    assert not list(Path("runs").glob("cartpole/*"))


def test_a_real_process_exits_with_two(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "palestra", "train", "Nowhere"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == f"palestra: error: unknown task 'Nowhere': known: {TASKS}\n"
    assert done.stdout == ""
