"""Videos: length, rate and size; whole or not at all."""

import sys

import imageio.v2 as imageio
import pytest
import torch

import palestra
from palestra.config import load_env_cfg
from palestra.errors import PalestraError
from palestra.view.offscreen import RenderingUnavailableError, candidates, why_unavailable
from palestra.view.video import record_video
from palestra.view.viewer import watch

needs_opengl = pytest.mark.skipif(why_unavailable() is not None, reason="no EGL or OSMesa here")


@pytest.fixture
def env():
    cfg = load_env_cfg("Cartpole")
    cfg.viewer.resolution = (128, 72)
    env = palestra.make("Cartpole", num_envs=1, cfg=cfg)
    yield env
    env.close()


def still(obs):
    return torch.zeros(1, 1)


@needs_opengl
def test_a_video_runs_in_real_time(env, tmp_path):
    path = record_video(env, still, tmp_path / "videos" / "cart.mp4", seconds=1.0)
    reader = imageio.get_reader(path)
    meta = reader.get_meta_data()
    assert meta["codec"] == "h264"
    assert tuple(meta["size"]) == (128, 72)
    assert meta["fps"] == 25.0  # every second of 50 steps a second
    assert reader.count_frames() == 25
    reader.close()
    assert [p.name for p in path.parent.iterdir()] == ["cart.mp4"]


@needs_opengl
def test_a_video_that_breaks_off_leaves_no_file(env, tmp_path):
    calls = []

    def policy(obs):
        calls.append(1)
        if len(calls) == 5:
            raise ValueError("broken policy")
        return still(obs)

    with pytest.raises(ValueError, match="broken policy"):
        record_video(env, policy, tmp_path / "cart.mp4", seconds=1.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("off", "MUJOCO_GL=off turns drawing off: unset it"),
        ("vulkan", "MUJOCO_GL=vulkan is unknown: use egl, osmesa or glfw, or unset it"),
    ],
)
def test_what_forbids_drawing_is_said(env, tmp_path, monkeypatch, value, message):
    monkeypatch.setenv("MUJOCO_GL", value)
    assert why_unavailable() == message
    with pytest.raises(RenderingUnavailableError) as raised:
        record_video(env, still, tmp_path / "videos" / "cart.mp4", seconds=0.1)
    assert str(raised.value) == message
    assert list(tmp_path.iterdir()) == []


def test_the_users_choice_of_backend_comes_first(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert candidates() == ["osmesa"]
    monkeypatch.delenv("MUJOCO_GL")
    assert candidates()[0] in ("egl", "glfw")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays are named by X11")
def test_a_display_that_cannot_be_reached_is_said(env, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":987")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(PalestraError, match=r"^no window can be opened \(.*\): use --headless for a video$"):
        watch(env, still)
