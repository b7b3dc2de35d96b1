"""Watch a policy in MuJoCo's interactive viewer, in real time."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import mujoco
from torch import Tensor

from palestra.envs.base import RLEnv
from palestra.envs.memory import forget
from palestra.errors import PalestraError
from palestra.view.markers import add_markers, markers_of
from palestra.view.renderer import aim_camera, camera_origin, copy_state, followed_asset
from palestra.view.visual_model import light_from_above, terrain_window, visual_model


def watch(env: RLEnv, policy: Callable[[dict[str, Any]], Tensor], seed: int | None = None) -> None:
    """Open a window and let the policy act until the window is closed.

    The camera starts at the task's viewpoint; with ``origin_type="asset_root"`` it moves along with the asset.

    Args:
        env: the environment; ``env.cfg.viewer`` says which one is shown, and from where.
        policy: observation groups to actions ``(num_envs, num_actions)``.
        seed: seed of the episodes.

    Raises:
        PalestraError: no window can be opened.
    """
    try:
        import mujoco.viewer as mujoco_viewer
    except ImportError as error:
        raise PalestraError(f"MuJoCo's viewer cannot be loaded ({error}): use --headless for a video") from None
    _require_window_system()
    viewer, model = env.cfg.viewer, visual_model(env.scene)
    data = mujoco.MjData(model)
    obs, _ = env.reset(seed=seed)
    forget(policy)
    copy_state(env, viewer.env_index, model, data)
    followed = followed_asset(env)
    ground = terrain_window(env.scene, model)
    if ground is not None:
        ground.follow(camera_origin(env, followed))
    try:
        window = mujoco_viewer.launch_passive(model, data, show_left_ui=False, show_right_ui=False)
    except RuntimeError as error:
        raise PalestraError(f"no window can be opened ({' '.join(str(error).split())}): use --headless") from None
    with window:
        origin = camera_origin(env, followed)
        with window.lock():
            aim_camera(window.cam, origin, viewer.eye, viewer.lookat)
        due = time.perf_counter()
        while window.is_running():
            obs, _, terminated, time_outs, _ = env.step_in_place(policy(obs))
            forget(policy, terminated | time_outs)
            if ground is not None and ground.follow(origin):
                window.update_hfield(ground.field)
            with window.lock():
                light_from_above(model, origin)
                copy_state(env, viewer.env_index, model, data)
                moved = camera_origin(env, followed)
                window.cam.lookat[:] += moved - origin
                origin = moved
                if window.user_scn is not None:
                    window.user_scn.ngeom = 0
                    add_markers(window.user_scn, markers_of(env, viewer.env_index))
            window.sync()
            due = max(due + env.step_dt, time.perf_counter() - 0.1)  # a late frame is not made up for
            time.sleep(max(0.0, due - time.perf_counter()))


def _require_window_system() -> None:
    """Try to reach the display: MuJoCo's viewer would end the process if it cannot.

    Raises:
        PalestraError: there is none.
    """
    import glfw

    with warnings.catch_warnings(record=True) as reasons:
        warnings.simplefilter("always")
        reachable = glfw.init()
    if not reachable:
        reason = f" ({' '.join(str(reasons[0].message).split())})" if reasons else ""
        raise PalestraError(f"no window can be opened{reason}: use --headless for a video")
    glfw.terminate()
