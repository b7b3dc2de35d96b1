"""Pictures of one environment: the scene's visual model, the task's camera, commands as arrows and markers."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from palestra.envs.base import BaseEnv
from palestra.errors import ConfigError, did_you_mean
from palestra.view.markers import add_markers, markers_of
from palestra.view.offscreen import kept_backend_choice, make_context
from palestra.view.visual_model import light_from_above, suit_driver, terrain_window, visual_model

Picture = NDArray[np.uint8]
HEIGHT_FOLLOWING = 0.05
"""Share of the way that a following camera moves up or down in a frame: it rides over a bouncing gait."""
JUMP = 1.0
"""Distance (m) beyond which a following camera jumps to its asset, after a reset, instead of moving there."""


class EnvRenderer:
    """Draws ``env.cfg.viewer``'s environment without a window.

    Args:
        env: the environment.
        width: of the pictures (pixels); default: ``viewer.resolution``.
        height: likewise.

    Raises:
        RenderingUnavailableError: the machine cannot draw; the message says what to install.
        ConfigError: the viewer names an asset or environment that does not exist.
    """

    def __init__(self, env: BaseEnv, width: int | None = None, height: int | None = None) -> None:
        self.env, self.viewer = env, env.cfg.viewer
        self.width, self.height = width or self.viewer.resolution[0], height or self.viewer.resolution[1]
        if not 0 <= self.viewer.env_index < env.num_envs:
            raise ConfigError(
                f"viewer.env_index is {self.viewer.env_index}; it must be 0 to {env.num_envs - 1}, "
                f"since there are {env.num_envs} environments"
            )
        self._followed = followed_asset(env)
        self.model = visual_model(env.scene)
        self._window = terrain_window(env.scene, self.model)
        self._origin: NDArray[np.float64] | None = None
        self._data = mujoco.MjData(self.model)
        self._camera, self._option = mujoco.MjvCamera(), mujoco.MjvOption()
        self._perturb = mujoco.MjvPerturb()
        self._scene = mujoco.MjvScene(self.model, maxgeom=2000)
        self._rect = mujoco.MjrRect(0, 0, self.width, self.height)
        vis = self.model.vis.global_
        vis.offwidth, vis.offheight = max(vis.offwidth, self.width), max(vis.offheight, self.height)
        with kept_backend_choice():
            self._gl = make_context(self.width, self.height)
            suit_driver(self.model, self._scene)
            scale = mujoco.mjtFontScale.mjFONTSCALE_150.value
            self._context: mujoco.MjrContext | None = mujoco.MjrContext(self.model, scale)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)

    def frame(self) -> Picture:
        """Return a picture of the present state, uint8 ``(height, width, 3)``.

        Raises:
            RuntimeError: the renderer is closed.
        """
        if self._context is None:
            raise RuntimeError("this renderer is closed")
        self._aim()
        if self._window is not None and self._window.follow(self._camera.lookat):
            self._gl.make_current()
            mujoco.mjr_uploadHField(self.model, self._context, self._window.field)
        light_from_above(self.model, self._camera.lookat)
        copy_state(self.env, self.viewer.env_index, self.model, self._data)
        mujoco.mjv_updateScene(
            self.model,
            self._data,
            self._option,
            self._perturb,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL.value,
            self._scene,
        )
        add_markers(self._scene, markers_of(self.env, self.viewer.env_index))
        self._gl.make_current()
        mujoco.mjr_render(self._rect, self._scene, self._context)
        picture = np.empty((self.height, self.width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(picture, None, self._rect, self._context)
        return np.flipud(picture)  # OpenGL counts rows from below

    def close(self) -> None:
        """Free the OpenGL context; may be called twice."""
        if self._context is None:
            return
        self._gl.make_current()
        self._context.free()
        self._context = None
        self._gl.free()

    def _aim(self) -> None:
        self._origin = follow(self._origin, camera_origin(self.env, self._followed))
        aim_camera(self._camera, self._origin, self.viewer.eye, self.viewer.lookat)


def copy_state(env: BaseEnv, index: int, model: mujoco.MjModel, data: mujoco.MjData) -> None:
    """Copy one environment's configuration into the data of a model with the same joints, and place its bodies."""
    state = env.engine.host_data(index)
    data.qpos[:], data.qvel[:], data.time = state.qpos, state.qvel, state.time
    if model.nmocap:
        data.mocap_pos[:], data.mocap_quat[:] = state.mocap_pos, state.mocap_quat
    mujoco.mj_fwdPosition(model, data)


def followed_asset(env: BaseEnv) -> str | None:
    """Return the asset that the camera follows, if it follows one.

    Raises:
        ConfigError: the viewer names none, or one that does not exist.
    """
    viewer = env.cfg.viewer
    if viewer.origin_type != "asset_root":
        return None
    name = viewer.asset_name
    if name is None or name not in env.scene.assets:
        raise ConfigError(f"viewer.asset_name is {name!r}: {did_you_mean(str(name), env.scene.assets)}")
    return name


def camera_origin(env: BaseEnv, followed: str | None) -> NDArray[np.float64]:
    """Return the point that the viewer's ``eye`` and ``lookat`` are relative to (m, world)."""
    index = env.cfg.viewer.env_index
    if followed is not None:
        asset = env.scene.articulations.get(followed) or env.scene.rigid_objects[followed]
        return asset.data.root_pos_w[index].cpu().double().numpy()
    if env.cfg.viewer.origin_type == "env":
        return env.scene.env_origins[index].cpu().double().numpy()
    return np.zeros(3)


def follow(last: NDArray[np.float64] | None, target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where a following camera is next: at once beside its asset, slowly at its height."""
    if last is None or float(np.linalg.norm(target - last)) > JUMP:
        return target.copy()
    return np.array([target[0], target[1], last[2] + HEIGHT_FOLLOWING * (target[2] - last[2])])


def aim_camera(
    camera: mujoco.MjvCamera, origin: NDArray[np.float64], eye: tuple[float, ...], lookat: tuple[float, ...]
) -> None:
    """Point a free camera from ``origin + eye`` at ``origin + lookat`` (m)."""
    sight = np.asarray(lookat, dtype=np.float64) - np.asarray(eye, dtype=np.float64)
    distance = float(np.linalg.norm(sight))
    if distance == 0.0:
        raise ConfigError(f"viewer.eye and viewer.lookat are the same point {tuple(eye)}")
    camera.type = mujoco.mjtCamera.mjCAMERA_FREE
    camera.lookat[:] = origin + np.asarray(lookat)
    camera.distance = distance
    camera.azimuth = float(np.degrees(np.arctan2(sight[1], sight[0])))
    camera.elevation = float(np.degrees(np.arcsin(sight[2] / distance)))
