"""A short training run from the command line, and everything that follows from it: eval, play, info, resume."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio.v2 as imageio
import pytest
import torch
import yaml

from palestra.cli.main import main
from palestra.view.offscreen import why_unavailable

needs_opengl = pytest.mark.skipif(why_unavailable() is not None, reason="no EGL or OSMesa here")
SMALL = ["agent.num_steps_per_env=8", "agent.save_interval=2", "env.viewer.resolution=[64,48]"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


@pytest.fixture(autouse=True)
def working_directory(workplace, monkeypatch):
    monkeypatch.chdir(workplace)


@pytest.fixture(scope="module")
def trained(workplace) -> Path:
    """A run of three iterations, made with flags before, among and after overrides."""
    folder = workplace / "runs" / "cartpole"
    before = set(folder.iterdir()) if folder.exists() else set()  # the other tests run in any order
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        command = ["train", "--num-envs", "4", SMALL[0], "Cartpole", "--max_iterations=3", *SMALL[1:], "--seed", "7"]
        assert main([*command, "--run-name", "first", "--no-video", "env.rewards.fallen.weight=-250"]) == 0
    (run,) = set(folder.iterdir()) - before
    return run.relative_to(workplace)


def rows(run: Path) -> list[dict[str, str]]:
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_folder_holds_everything(trained):
    assert trained.name.endswith("_first")
    assert sorted(p.name for p in (trained / "nn").iterdir()) == ["last.pth", "model_2.pth", "model_3.pth"]
    assert (trained / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [row["iteration"] for row in rows(trained)] == ["0", "1", "2"]
    assert list(trained.glob("events.out.tfevents.*"))


def test_config_yaml_is_the_resolved_whole_with_its_origin(trained):
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["task"] == "Cartpole" and config["library"] == "palestra"
    assert config["command"].startswith("palestra train --num-envs 4 agent.num_steps_per_env=8 Cartpole")
    assert {"palestra", "torch", "mujoco", "python"} <= config["versions"].keys()
    assert config["env"]["scene"]["num_envs"] == 4
    assert config["env"]["seed"] == config["agent"]["seed"] == 7
    assert config["env"]["rewards"]["fallen"]["weight"] == -250
    assert config["agent"]["max_iterations"] == 3 and config["agent"]["run_name"] == "first"


def test_training_ends_with_what_to_do_next(workplace, capsys):
    assert (
        main(["train", "Cartpole", "--num_envs=2", "--max_iterations=1", *SMALL, "--no_video", "--run_name=end"]) == 0
    )
    lines = dict(
        line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line[:4] in ("curv", "next")
    )
    run = Path(lines["next"].removeprefix("palestra play "))
    assert run.name.endswith("_end") and (run / "config.yaml").is_file()
    assert Path(lines["curves"]).is_file()


@needs_opengl
def test_training_ends_with_a_video(workplace, monkeypatch, capsys):
    monkeypatch.setattr("palestra.cli.train.LAST_SECONDS", 0.2)
    assert main(["train", "Cartpole-Direct", "--num_envs=2", "--max_iterations=1", *SMALL, "--logger=none"]) == 0
    (run,) = (workplace / "runs" / "cartpole_direct").iterdir()
    (video,) = (run / "videos").iterdir()
    assert imageio.get_reader(video).count_frames() == 5
    assert str(video.relative_to(workplace)) in capsys.readouterr().out
    assert not list(run.glob("events.*"))


def test_without_opengl_training_warns_once_and_goes_on(workplace, monkeypatch, capsys):
    monkeypatch.setenv("MUJOCO_GL", "off")
    assert main(["train", "Cartpole", "--num_envs=2", "--max_iterations=1", *SMALL, "--run_name=blind"]) == 0
    out = capsys.readouterr().out
    assert out.count("warning: no video: MUJOCO_GL=off turns drawing off: unset it") == 1


def test_eval_prints_a_table_and_writes_json(trained, capsys):
    assert main(["eval", str(trained), "--num-episodes", "6"]) == 0
    table = capsys.readouterr().out
    assert "6 episodes, deterministic policy" in table and "upright" in table and "ended by" in table
    report = json.loads((trained / "eval.json").read_text())
    assert report["task"] == "Cartpole" and report["episodes"] == 6 and report["seed"] == 7
    assert report["step_values"]["upright"] == pytest.approx(1.0, abs=0.2)
    assert main(["eval", str(trained), "--num-episodes", "6", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == report  # the same seed, the same episodes


def test_eval_uses_the_runs_own_configuration(trained, capsys):
    """The run's weight of −250 a second makes a fall cost 5, so that no return lies above its length minus 5."""
    assert main(["eval", str(trained), "--json", "--num_episodes", "4"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["terminations"]["time_out"] == 0.0
    # +1 for each step but the last, whose angle is beyond the limit, and −5 there
    assert report["return_mean"] == pytest.approx(report["length_mean"] - 1 - 5, abs=1e-3)


@needs_opengl
def test_play_makes_a_video_in_the_run(trained, capsys):
    assert main(["play", str(trained), "--headless", "--video_length", "20", "env.viewer.resolution=[96,64]"]) == 0
    path = Path(capsys.readouterr().out.splitlines()[-1])
    assert path == trained / "videos" / "Cartpole-Play-last.mp4"
    reader = imageio.get_reader(path)
    assert reader.count_frames() == 10 and tuple(reader.get_meta_data()["size"]) == (96, 64)


@needs_opengl
def test_play_takes_a_task_with_a_checkpoint(trained, capsys):
    chosen = trained / "nn" / "model_2.pth"
    command = ["play", "Cartpole", "--checkpoint", str(chosen), "--headless", "--video_length=2"]
    assert main([*command, "env.viewer.resolution=[64,48]"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"Cartpole-Play: {chosen}"
    assert Path(out[-1]).name == "Cartpole-Play-model_2.mp4"


def test_info_describes_a_run(trained, capsys):
    assert main(["info", str(trained), "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["task"] == "Cartpole"
    assert {r["name"]: r["weight"] for r in described["rewards"]}["fallen"] == -250.0


def test_info_prints_tables(capsys):
    assert main(["info", "Reach-Franka"]) == 0
    out = capsys.readouterr().out
    assert "observations · policy · 17 numbers" in out
    assert "joint_vel/joint7" in out and "rad/s" in out
    assert "commands" in out and "x=[0.3, 0.7]" in out


def test_a_run_resumes_where_it_stopped(trained, capsys):
    assert main(["train", "--resume", str(trained), "--max_iterations", "5", "--no_video"]) == 0
    assert "iterations 4 to 5" in capsys.readouterr().out
    assert [row["iteration"] for row in rows(trained)] == ["0", "1", "2", "3", "4"]
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["command"].startswith("palestra train --num-envs 4")  # how it began
    assert config["resumed"][0]["command"] == f"palestra train --resume {trained} --max_iterations 5 --no_video"
    assert config["env"]["scene"]["num_envs"] == 4 and config["env"]["rewards"]["fallen"]["weight"] == -250
    assert torch.load(trained / "nn" / "last.pth", weights_only=True)["iter"] == 5
    assert main(["train", "--resume", str(trained)]) == 2
    expected = f"run {trained} has done all its 5 iterations: give --max_iterations more than 5"
    assert capsys.readouterr().err == f"palestra: error: {expected}\n"


def test_resume_without_a_path_takes_the_tasks_latest_run(workplace, trained, capsys):
    short = ["--num_envs=4", "--max_iterations=1", "--run_name=newest", "--no_video", *SMALL]
    assert main(["train", "Cartpole", *short]) == 0
    assert main(["train", "--resume", "Cartpole", "--max_iterations", "2", "--no_video"]) == 0
    out = capsys.readouterr().out
    assert "iterations 2 to 2" in out and "_newest" in out


def test_a_new_run_can_start_from_a_checkpoint(workplace, trained, capsys):
    command = ["train", "Cartpole", "--checkpoint", str(trained / "nn" / "last.pth"), "--run_name=tuned", "--no_video"]
    assert main([*command, "--num_envs=2", "--max_iterations=1", "agent.algorithm.learning_rate=1e-9", *SMALL]) == 0
    (run,) = (workplace / "runs" / "cartpole").glob("*_tuned")
    before = torch.load(trained / "nn" / "last.pth", weights_only=True)["actor_state_dict"]
    after = torch.load(run / "nn" / "last.pth", weights_only=True)["actor_state_dict"]
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=1e-4)
    assert [row["iteration"] for row in rows(run)] == ["0"]


def test_a_yaml_file_comes_before_overrides_and_flags(workplace, capsys):
    Path("values.yaml").write_text(
        "env: {scene: {num_envs: 3}, episode_length_s: 4.0}\nagent: {max_iterations: 1, num_steps_per_env: 4}\n"
    )
    command = ["train", "Cartpole", "--config", "values.yaml", "env.episode_length_s=2.0", "--run_name=yaml"]
    assert main([*command, "--num_envs=2", "--no_video"]) == 0
    (run,) = (workplace / "runs" / "cartpole").glob("*_yaml")
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["env"]["scene"]["num_envs"] == 2
    assert config["env"]["episode_length_s"] == 2.0
    assert config["agent"]["num_steps_per_env"] == 4


def test_sigterm_saves_and_says_how_to_go_on(workplace):
    command = [sys.executable, "-m", "palestra", "train", "Cartpole", "--num_envs=8", "--max_iterations=100000"]
    process = subprocess.Popen([*command, "--run_name=stopped", *SMALL], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60.0
    while not list(workplace.glob("runs/cartpole/*_stopped/nn/last.pth")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    (run,) = (workplace / "runs" / "cartpole").glob("*_stopped")
    done = torch.load(run / "nn" / "last.pth", weights_only=True)["iter"]
    assert done == len(rows(run))
    assert out.splitlines()[-1].endswith(f"palestra train --resume {run.relative_to(workplace)}")
