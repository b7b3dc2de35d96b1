"""``palestra distill``: from a run to a student's run that plays, exports and trains on."""

import json
from pathlib import Path

import pytest

from palestra.cli.main import main

QUICK = ["--threads=1", "--num_envs=8"]


@pytest.fixture
def teacher(tmp_path, monkeypatch) -> Path:
    """A short run of Cartpole."""
    monkeypatch.chdir(tmp_path)
    short = ["--max_iterations=2", "--no_video", "--logger=none", "agent.num_steps_per_env=8"]
    assert main(["train", "Cartpole", *QUICK, *short]) == 0
    (run,) = Path("runs/cartpole").iterdir()
    return run


def distilled(teacher: Path, *words: str) -> Path:
    command = ["distill", str(teacher), *QUICK, "--num_episodes=8", "agent.logger=none", *words]
    assert main([*command, "agent.num_steps_per_env=8"]) == 0
    (run,) = Path("runs/cartpole").glob("*_student")
    return run


@pytest.mark.parametrize("memory", [[], ["--rnn=16"]])
def test_a_students_run_is_a_run(teacher, memory, capsys):
    student = distilled(teacher, "--max_iterations=3", *memory)
    out = capsys.readouterr().out
    assert f"teacher {teacher}/nn/last.pth; the student sees policy" in out and "gap" in out
    told = json.loads((student / "distillation.json").read_text())
    assert told["teacher"]["episodes"] == told["student"]["episodes"] == 8
    assert set(told["gap"]) >= {"return", "episode length", "upright"}
    assert main(["eval", str(student), *QUICK, "--num_episodes=8"]) == 0
    assert main(["export", str(student), "--threads=1"]) == 0
    described = json.loads((student / "exported" / "policy.json").read_text())
    assert len(described["policy"]["memory"]) == (1 if memory else 0)


def test_a_student_without_memory_trains_on(teacher):
    student = distilled(teacher, "--max_iterations=2")
    short = ["--max_iterations=1", "--no_video", "--logger=none", "agent.num_steps_per_env=8", "--run_name=finetuned"]
    layers = "agent.actor.hidden_dims=[256,128,128]"
    command = ["train", "Cartpole", *QUICK, *short, f"--checkpoint={student}/nn/last.pth", layers]
    assert main([*command, "agent.actor.obs_normalization=true"]) == 0


def test_bad_input(teacher, capsys):
    capsys.readouterr()
    for words, message in (
        ([str(teacher), "--groups", "critic"], "no observation group 'critic'; the task has policy"),
        ([str(teacher), "agent.learning_rate=-1"], "learning_rate is -1"),
        ([str(teacher), "agent.speed=1"], "agent.speed"),
        (["nowhere/run"], "no run at nowhere/run"),
        ([], "which teacher's run?"),
    ):
        assert main(["distill", *words]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert len(list(Path("runs/cartpole").iterdir())) == 1
