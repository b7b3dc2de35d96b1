"""Weights & Biases with the real package, offline: what it wrote is read back from its own file."""

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from palestra.cli.main import main
from palestra.rl.logger import RunLogger

wandb = pytest.importorskip("wandb", reason="the wandb extra is not installed")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)


def records(run: Path) -> list:
    """Everything that offline runs of a folder wrote, in order."""
    from wandb.proto import wandb_internal_pb2

    wandb.teardown()  # its own process may still be writing
    found = []
    for file in sorted(run.glob("wandb/offline-run-*/run-*.wandb")):
        for data in chunks(file.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            found.append(record)
    return found


def chunks(data: bytes) -> Iterator[bytes]:
    """Records of a log in LevelDB's form: blocks of 32 KiB; pieces with a header of checksum, length and kind."""
    position, begun = 7, b""  # after the file's own header
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        begun += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or last piece
            yield begun
            begun = b""


def history(run: Path) -> list[dict]:
    return [
        {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records(run)
        if record.WhichOneof("record_type") == "history"
    ]


def test_numbers_videos_names_and_configuration_reach_the_run(tmp_path):
    import imageio.v2 as imageio

    run = tmp_path / "runs" / "cartpole" / "monday"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("resolved: true\nagent:\n  seed: 5\n")
    film = run / "film.mp4"
    imageio.mimwrite(film, [np.zeros((16, 16, 3), np.uint8)] * 4, format="FFMPEG", fps=4, macro_block_size=2)
    logger = RunLogger(run, "wandb", 0, "my-robots")
    logger.write({"iteration": 0, "Loss/value": 2.5, "Loss/gone": float("nan")})
    logger.write_video(film, 1)
    logger.close()

    (start,) = [record.run for record in records(run) if record.WhichOneof("record_type") == "run"]
    assert (start.project, start.run_group, start.display_name) == ("my-robots", "cartpole", "monday")
    assert {item.key: json.loads(item.value_json) for item in start.config.update}["agent"] == {"seed": 5}
    first, second = history(run)
    assert first["iteration"] == 0
    assert first["Loss/value"] == 2.5
    assert "Loss/gone" not in first
    assert second["iteration"] == 1
    assert second["video._type"] == "video-file"
    (copy,) = run.glob("wandb/offline-run-*/files/media/videos/*.mp4")
    assert copy.read_bytes() == film.read_bytes()
    assert list(run.glob("metrics.csv")) and list(run.glob("events.out.tfevents.*"))


@pytest.mark.slow
def test_a_resumed_training_continues_its_run(tmp_path):
    small = ["--no_video", "--logger=wandb", "agent.wandb_project=mine"]
    start = ["agent.num_steps_per_env=4", "--num_envs=4", "--max_iterations=2"]
    assert main(["train", "Cartpole", *small, *start]) == 0
    run = next((tmp_path / "runs" / "cartpole").iterdir())
    assert main(["train", "--resume", str(run), "--max_iterations=3", "--no_video"]) == 0
    starts = [record.run for record in records(run) if record.WhichOneof("record_type") == "run"]
    assert len(starts) == 2
    assert {start.run_id for start in starts} == {(run / "wandb_run_id").read_text().strip()}
    assert {(start.project, start.display_name) for start in starts} == {("mine", run.name)}
    assert [row["iteration"] for row in history(run)] == [0, 1, 2]
    agent = {item.key: json.loads(item.value_json) for item in starts[0].config.update}["agent"]
    assert agent == yaml.safe_load((run / "config.yaml").read_text())["agent"] | {"max_iterations": 2}


def test_a_missing_package_is_one_line_and_leaves_no_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert main(["train", "Cartpole", "--logger", "wandb", "--num_envs=2", "--no_video"]) == 2
    assert "pip install 'palestra[wandb]'" in capsys.readouterr().err
    assert not list((tmp_path / "runs").glob("*/*"))


@pytest.mark.parametrize("library", ["palestra", "sb3"])
def test_an_unknown_logger_is_refused(library, capsys):
    if library == "sb3":
        pytest.importorskip("stable_baselines3", reason="the sb3 extra is not installed")
    assert main(["train", "Cartpole", "--library", library, "--logger", "wandbb"]) == 2
    assert "wandb" in capsys.readouterr().err
