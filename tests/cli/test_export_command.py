"""What ``palestra export`` can be given, and what it refuses; the policies themselves are in test_export.py."""

import hashlib
import json
from pathlib import Path

import pytest

from palestra.cli.main import main

FILES = ["actor.onnx", "golden.npz", "policy.json", "policy.onnx", "policy.pt"]


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def train(library: str, *overrides: str, task: str = "Cartpole") -> Path:
    """Return the folder of a short run."""
    command = ["train", task, "--library", library, "--num_envs=4", "--max_iterations=2", "--no_video"]
    quick = ["--threads=1", "--logger=none", "agent.save_interval=1", "agent.num_steps_per_env=8"]
    assert main([*command, *quick, *overrides]) == 0
    (run,) = Path("runs").glob("*/*")
    return run


def test_a_run_a_checkpoint_and_a_task_can_be_named(capsys):
    run = train("palestra")
    last, first = run / "nn" / "last.pth", run / "nn" / "model_1.pth"
    alone = Path("elsewhere/alone.pth")
    alone.parent.mkdir()
    alone.write_bytes(first.read_bytes())
    (run / "exported").mkdir()
    (run / "exported" / "of_before.txt").touch()
    capsys.readouterr()
    quick = ["--threads=1", "--num_envs=100"]
    for words, checkpoint, folder, iterations in (
        ([str(first)], first, run, 1),
        (["Cartpole", "--checkpoint", str(alone)], alone, alone.parent, 1),
        (["Cartpole"], last, run, 2),
    ):
        assert main(["export", *words, *quick]) == 0
        out = capsys.readouterr().out.splitlines()
        assert out[0] == f"Cartpole: {checkpoint} (palestra)"
        assert out[1].startswith("checked on 1000 observations, largest difference of an action: TorchScript ")
        assert out[2].startswith("control step, largest difference to the simulation: obs ")
        assert out[3:] == [
            str(folder / "exported" / name)
            for name in ("policy.pt", "actor.onnx", "policy.onnx", "golden.npz", "policy.json")
        ]
        assert sorted(p.name for p in (folder / "exported").iterdir()) == FILES
        told = json.loads((folder / "exported" / "policy.json").read_text())
        assert told["trained"]["iterations"] == iterations
        assert told["checkpoint"]["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
        assert told["run"] == (str(run) if folder == run else None)


def test_what_cannot_be_exported_is_said_in_one_line(tmp_path, capsys):
    run = train("palestra")
    alone, blocked = Path("alone.pth"), Path("blocked/blocked.pth")
    alone.write_bytes((run / "nn" / "last.pth").read_bytes())
    blocked.parent.mkdir()
    blocked.write_bytes(alone.read_bytes())
    (blocked.parent / "exported").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    for words, message in (
        ([], "which run? for example: palestra export runs/cartpole/2026-01-31_12-00-00"),
        (["Ant", "--checkpoint", str(run / "nn" / "last.pth")], f"checkpoint {run}/nn/last.pth is of the task 'Cartpole', not of 'Ant'"),
        (["Ant", "--checkpoint", str(alone)], f"checkpoint {alone} is of the task 'Cartpole', not of 'Ant'"),
        ([str(alone)], f"{alone} lies in no run folder: name its task too (palestra export TASK --checkpoint {alone})"),
        ([str(run), "--checkpoint", "model_9"], f"run {run} has no checkpoint 'model_9'; there is last.pth, model_1.pth, model_2.pth"),
        (["Reach-Franka"], "task 'Reach-Franka' has no run in runs/reach_franka: train it first (palestra train Reach-Franka)"),
        (["Cartpole", "--checkpoint", str(blocked)], f"cannot write {blocked.parent}/exported: it is a file, not a folder"),
    ):  # fmt: skip
        assert main(["export", *words]) == 2, words
        captured = capsys.readouterr()
        assert captured.err == f"palestra: error: {message}\n"
        assert captured.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_direct_environment_that_declares_no_control_step_gets_the_other_files(capsys, monkeypatch):
    run = train("palestra", task="Cartpole-Direct")
    monkeypatch.setattr("palestra.tasks.classic.cartpole_direct.CartpoleEnv.targets", lambda self: [])
    capsys.readouterr()
    assert main(["export", str(run), "--threads=1"]) == 0
    reason = "CartpoleEnv is a direct environment without targets(), see docs/export.md"
    assert f"no policy.onnx: {reason}" in capsys.readouterr().out.splitlines()
    assert sorted(p.name for p in (run / "exported").iterdir()) == ["actor.onnx", "policy.json", "policy.pt"]
    told = json.loads((run / "exported" / "policy.json").read_text())
    assert told["control_step"] is None and told["no_control_step"] == reason
    assert "control_step" not in told["check"] and set(told["files"]) == {"policy.pt", "actor.onnx"}


MODELS = '''
from rsl_rl.models import MLPModel
from torch import nn


class Shifted(MLPModel):
    """Sees other numbers than what the library would export."""

    def get_latent(self, obs, masks=None, hidden_state=None):
        return super().get_latent(obs, masks, hidden_state) + 1.0


class Branching(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x) if float(x.sum()) < 1.0 else -self.network(x)


class Undecided(MLPModel):
    """Exports a network that looks at its input before it decides what to compute."""

    def as_onnx(self, verbose):
        return Branching(super().as_onnx(verbose))
'''


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("Shifted", "the TorchScript file does not compute what the checkpoint's policy does: an action differs by "),
        ("Undecided", "the policy cannot be written as ONNX: "),
    ],
)
def test_a_policy_that_the_files_would_not_be_is_refused_and_the_old_files_stay(
    model, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.syspath_prepend(tmp_path)
    Path("models_of_mine.py").write_text(MODELS)
    run = train("rsl_rl", f"agent.actor.class_name=models_of_mine:{model}")
    (run / "exported").mkdir()
    (run / "exported" / "policy.json").write_text("of before")
    before = sorted(run.rglob("*"))
    capsys.readouterr()
    assert main(["export", str(run), "--threads=1"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"palestra: error: {message}") and captured.err.count("\n") == 1
    assert captured.out == ""
    assert sorted(run.rglob("*")) == before
    assert (run / "exported" / "policy.json").read_text() == "of before"
