"""Films of the policy while it trains, made by a process of its own, here by all means with the real renderer."""

import time
from pathlib import Path

import imageio.v2 as imageio
import pytest

from palestra.cli.main import main
from palestra.cli.training_videos import TrainingVideos
from palestra.integrations import OTHERS
from palestra.rl.logger import RunLogger
from palestra.view.offscreen import why_unavailable

needs_opengl = pytest.mark.skipif(why_unavailable() is not None, reason="no EGL or OSMesa here")
SMALL = ["--num_envs=4", "env.viewer.resolution=[64,48]", "env.viewer.eye=[0,-4,2]"]


class Logged(RunLogger):
    """A logger that remembers the videos it is given."""

    def __init__(self) -> None:
        super().__init__(None, "none")
        self.videos: list[tuple[str, int]] = []

    def write_video(self, path: Path, iteration: int) -> None:
        self.videos.append((path.name, iteration))


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    """A run with the checkpoints of iterations 1 and 2."""
    monkeypatch.chdir(tmp_path)
    short = ["agent.num_steps_per_env=4", "agent.save_interval=1", "agent.max_iterations=2"]
    assert main(["train", "Cartpole", "--no_video", *SMALL, *short]) == 0
    return next((tmp_path / "runs" / "cartpole").iterdir())


@needs_opengl
@pytest.mark.slow
def test_training_films_every_few_iterations_and_saves_what_it_films(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    short = ["agent.num_steps_per_env=4", "agent.save_interval=100", "--max_iterations=5"]
    assert main(["train", "Cartpole", "--no_video", "--video-interval", "2", *SMALL, *short]) == 0
    run = next((tmp_path / "runs" / "cartpole").iterdir())
    assert sorted(p.name for p in (run / "videos").iterdir()) == ["Cartpole-model_2.mp4", "Cartpole-model_4.mp4"]
    assert {"model_2.pth", "model_4.pth", "model_5.pth"} < {p.name for p in (run / "nn").iterdir()}
    with imageio.get_reader(run / "videos" / "Cartpole-model_4.mp4") as video:
        assert video.get_meta_data()["duration"] == pytest.approx(8.0, abs=0.1)
    assert "warning" not in capfd.readouterr().out


@needs_opengl
@pytest.mark.slow
@pytest.mark.parametrize("library", OTHERS)
def test_other_learners_are_filmed_too(library, tmp_path, monkeypatch):
    pytest.importorskip(OTHERS[library].requires, reason=f"{library} is not installed")
    monkeypatch.chdir(tmp_path)
    command = ["train", "Cartpole", "--library", library, "--max_iterations=1", "--video_interval=1", "--no_video"]
    assert main([*command, *SMALL]) == 0
    run = next((tmp_path / "runs" / "cartpole").iterdir())
    assert sorted(p.name for p in (run / "videos").iterdir()) == ["Cartpole-model_1.mp4"]


@needs_opengl
@pytest.mark.slow
def test_films_wait_for_their_turn_and_a_broken_one_costs_a_warning(run):
    messages: list[str] = []
    logger = Logged()
    videos = TrainingVideos(run, "Cartpole", 1, 0.2, messages.append)
    checkpoints = {1: run / "nn" / "model_1.pth", 2: run / "nn" / "gone.pth", 3: run / "nn" / "model_2.pth"}
    began = time.monotonic()
    for iteration, checkpoint in checkpoints.items():
        videos.iteration_done(iteration, lambda path=checkpoint: path, logger)
    assert time.monotonic() - began < 1.0  # training goes on: the films are in work
    assert logger.videos == []
    videos.training_ended(logger, lambda: False)
    assert logger.videos == [("Cartpole-model_1.mp4", 1), ("Cartpole-model_2.mp4", 3)]
    assert messages[0] == "training is done; videos still to be filmed: 3"
    assert messages[1].startswith(f"warning: no video of iteration 2: no checkpoint at {run / 'nn' / 'gone.pth'}")


@needs_opengl
def test_a_stopped_training_does_not_wait_for_films(run):
    logger = Logged()
    videos = TrainingVideos(run, "Cartpole", 1, 1000.0, lambda text: None)
    videos.iteration_done(1, lambda: run / "nn" / "model_1.pth", logger)
    videos.training_ended(logger, lambda: True)
    assert logger.videos == []
    assert not list((run / "videos").glob("*")) if (run / "videos").exists() else True


def test_iterations_in_between_are_not_saved(tmp_path):
    videos = TrainingVideos(tmp_path, "Cartpole", 3, 1.0, lambda text: None)
    for iteration in (1, 2, 4, 5):
        videos.iteration_done(iteration, lambda: pytest.fail("saved"), Logged())


def test_without_opengl_the_flag_is_refused(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUJOCO_GL", "off")
    assert main(["train", "Cartpole", "--video_interval", "2"]) == 2
    assert "--video_interval: MUJOCO_GL=off turns drawing off" in capsys.readouterr().err
    assert main(["train", "Cartpole", "--video_interval", "0"]) == 2
    assert not (tmp_path / "runs").exists()
