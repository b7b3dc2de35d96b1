"""``torchrun … -m palestra train``: one run of several processes."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from palestra.cli.main import main

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
TRAIN = [*TORCHRUN, "-m", "palestra", "train", "Cartpole", "--num_envs=8", "--no_video"]
SMALL = ["agent.num_steps_per_env=8", "agent.actor.hidden_dims=[8]", "agent.critic.hidden_dims=[8]"]


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(run: Path) -> list[dict[str, str]]:
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def start(*words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [*TRAIN, *words, *SMALL], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_two_processes_make_one_run_that_resumes(workplace: Path) -> None:
    out, errors = start("--max_iterations=3", "--distributed").communicate(timeout=120)
    (run,) = (workplace / "runs" / "cartpole").iterdir()
    assert "Cartpole: 2 processes of 8 environments on cpu, iterations 1 to 3" in out, errors
    assert out.count("Cartpole:") == 1 and out.count("run folder") == 1
    assert [int(row["Train/env_steps"]) for row in rows(run)] == [2 * 8 * 8 * (i + 1) for i in range(3)]
    out, errors = start("--max_iterations=5", f"--resume={run}").communicate(timeout=120)
    assert len(rows(run)) == 5, errors
    assert torch.load(run / "nn" / "last.pth", weights_only=True)["iter"] == 5
    assert "threads: null" in (run / "config.yaml").read_text()  # another machine may have other cores
    assert main(["train", f"--resume={run}", "--max_iterations=6", "--no_video"]) == 0  # by one process
    assert [int(row["Train/env_steps"]) for row in rows(run)][-2:] == [5 * 128, 5 * 128 + 64]


def test_a_stop_of_one_stops_all_after_the_same_iteration(workplace: Path) -> None:
    process = start("--max_iterations=100000", "agent.save_interval=1")
    deadline = time.monotonic() + 60.0
    while not list(workplace.glob("runs/cartpole/*/nn/last.pth")) and time.monotonic() < deadline:
        time.sleep(0.1)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(workers) == 2
    os.kill(int(workers[1]), signal.SIGTERM)  # of the two, any
    out, errors = process.communicate(timeout=60)
    (run,) = (workplace / "runs" / "cartpole").iterdir()
    done = torch.load(run / "nn" / "last.pth", weights_only=True)["iter"]
    assert done == len(rows(run))
    assert f"left after iteration {done}" in out and "palestra train --resume" in out, errors


def test_the_flag_alone_starts_no_processes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "Cartpole", "--distributed"]) == 2
    assert capsys.readouterr().err == (
        "palestra: error: --distributed: start the processes with torchrun, "
        "for example torchrun --standalone --nproc_per_node 2 -m palestra train TASK\n"
    )
