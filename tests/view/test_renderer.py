"""Pictures: they show the scene, follow their asset, and carry markers. They need EGL or OSMesa."""

import os

import mujoco
import numpy as np
import pytest
import torch

import palestra
from palestra.config import load_env_cfg
from palestra.errors import ConfigError
from palestra.view.markers import ARROW_SCALE, Arrow, Sphere, markers_of
from palestra.view.offscreen import why_unavailable
from palestra.view.renderer import EnvRenderer, aim_camera, follow

needs_opengl = pytest.mark.skipif(why_unavailable() is not None, reason="no EGL or OSMesa here")


def environment(task: str, num_envs: int = 2, **viewer):
    cfg = load_env_cfg(task)
    for name, value in viewer.items():
        setattr(cfg.viewer, name, value)
    env = palestra.make(task, num_envs=num_envs, seed=0, cfg=cfg)
    env.reset()
    return env


def picture(env, **size) -> np.ndarray:
    renderer = EnvRenderer(env, **size)
    try:
        return renderer.frame()
    finally:
        renderer.close()


@needs_opengl
@pytest.mark.parametrize("task", ["Cartpole", "Reach-Franka", "Velocity-Flat-Go2", "Velocity-Rough-Go2"])
def test_a_picture_is_not_uniform(task):
    env = environment(task)
    image = picture(env, width=160, height=90)
    env.close()
    assert image.shape == (90, 160, 3) and image.dtype == np.uint8
    assert image.std() > 5.0
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 50


@needs_opengl
def test_the_sky_is_above():
    env = environment("Velocity-Flat-Go2")
    image = picture(env, width=160, height=90).astype(float)
    env.close()
    assert image[:5].mean() > image[-5:].mean() + 30.0


@needs_opengl
def test_a_picture_shows_the_environment_that_is_asked_for():
    env = environment("Cartpole")
    first = picture(env, width=160, height=90)
    env.cfg.viewer.env_index = 1
    joints = env.scene["robot"]
    far = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    joints.write_joint_state_to_sim(far, torch.zeros(2, 2))
    moved = picture(env, width=160, height=90)
    env.close()
    assert np.abs(first.astype(int) - moved.astype(int)).max() > 60


@needs_opengl
def test_the_picture_of_render_mode_rgb_array_has_the_viewers_size():
    cfg = load_env_cfg("Cartpole")
    cfg.viewer.resolution = (64, 48)
    env = palestra.make("Cartpole", num_envs=1, cfg=cfg, render_mode="rgb_array")
    env.reset()
    assert env.render().shape == (48, 64, 3)
    env.close()


@needs_opengl
def test_drawing_leaves_the_choice_of_backend_to_others(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    env = environment("Cartpole")
    picture(env, width=32, height=32)
    env.close()
    assert "MUJOCO_GL" not in os.environ


@needs_opengl
def test_a_renderer_may_be_closed_twice_and_then_draws_no_more():
    env = environment("Cartpole")
    renderer = EnvRenderer(env, width=32, height=32)
    renderer.close()
    renderer.close()
    with pytest.raises(RuntimeError, match="closed"):
        renderer.frame()
    env.close()


@pytest.mark.parametrize(
    ("viewer", "message"),
    [
        ({"env_index": 2}, "viewer.env_index is 2; it must be 0 to 1, since there are 2 environments"),
        (
            {"origin_type": "asset_root", "asset_name": "robt"},
            "viewer.asset_name is 'robt': did you mean 'robot'? known: 'robot'",
        ),
    ],
)
def test_a_viewer_that_names_nothing_is_refused(viewer, message):
    env = environment("Cartpole", **viewer)
    with pytest.raises(ConfigError) as raised:
        EnvRenderer(env)
    env.close()
    assert str(raised.value) == message


def test_the_camera_looks_from_eye_to_lookat():
    camera = mujoco.MjvCamera()
    aim_camera(camera, np.array([10.0, 0.0, 0.0]), eye=(-3.0, 0.0, 4.0), lookat=(0.0, 0.0, 0.0))
    np.testing.assert_allclose(camera.lookat, [10.0, 0.0, 0.0])
    assert camera.distance == pytest.approx(5.0)
    assert camera.azimuth == pytest.approx(0.0)  # along +x
    assert camera.elevation == pytest.approx(-np.degrees(np.arctan2(4.0, 3.0)))
    with pytest.raises(ConfigError, match="the same point"):
        aim_camera(camera, np.zeros(3), eye=(1.0, 0.0, 0.0), lookat=(1.0, 0.0, 0.0))


def test_a_following_camera_keeps_beside_its_asset_and_jumps_after_a_reset():
    start = follow(None, np.array([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(start, [0.0, 0.0, 1.0])
    np.testing.assert_allclose(follow(start, np.array([0.2, 0.1, 0.5])), [0.2, 0.1, 0.975])
    np.testing.assert_allclose(follow(start, np.array([5.0, 0.0, 0.5])), [5.0, 0.0, 0.5])


def test_a_velocity_command_is_an_arrow_in_the_robots_heading():
    env = environment("Velocity-Flat-Go2")
    half = np.sqrt(0.5)
    pose = torch.tensor([[1.0, 2.0, 0.4, half, 0.0, 0.0, half]]).repeat(2, 1)  # turned left by 90°
    env.scene["robot"].write_root_pose_to_sim(pose)
    env.scene["robot"].write_root_velocity_to_sim(torch.zeros(2, 6))
    env.command_manager.get_term("base_velocity").vel_command_b[:] = torch.tensor([1.0, 0.0, 0.3])
    (arrow,) = markers_of(env, 0)  # the actual velocity is zero: no arrow
    env.close()
    assert isinstance(arrow, Arrow)
    np.testing.assert_allclose(arrow.start[:2], [1.0, 2.0], atol=1e-6)
    np.testing.assert_allclose(arrow.end - arrow.start, [0.0, ARROW_SCALE, 0.0], atol=1e-6)


@pytest.mark.parametrize("task", ["Reach-Franka", "Reach-Franka-Direct"])
def test_a_goal_is_a_sphere_at_its_place(task):
    env = environment(task)
    (sphere,) = markers_of(env, 1)
    expected = env.target[1] if task.endswith("Direct") else env.command_manager.get_command("target")[1]
    env.close()
    assert isinstance(sphere, Sphere)
    np.testing.assert_allclose(sphere.center, expected.numpy())
    assert sphere.radius == 0.05
