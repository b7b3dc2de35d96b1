"""The model that pictures show: the scene with its visual geoms, a sky and settings that suit the graphics driver."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from palestra.scene import InteractiveScene
from palestra.view.terrain_window import TerrainWindow, cut_window

_SOFTWARE_RENDERERS = ("llvmpipe", "softpipe", "swrast")
_SHADOW_SIZE = 2048
_SUN_HEIGHT = 3.0


def visual_model(scene: InteractiveScene) -> mujoco.MjModel:
    """Compile the scene with what is only looked at; joints, bodies and names are those of the simulation."""
    spec = scene.spec.copy()
    spec.compiler.discardvisual = False
    if scene.terrain is not None and scene.terrain.terrain is not None:
        cut_window(spec, scene.terrain)
    if not any(texture.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX for texture in spec.textures):
        spec.add_texture(
            name="palestra_sky",
            type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
            builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
            rgb1=[0.55, 0.68, 0.82],
            rgb2=[0.92, 0.94, 0.96],
            width=256,
            height=6 * 256,
        )
        spec.visual.rgba.haze = [0.85, 0.89, 0.93, 1.0]
    return spec.compile()


def terrain_window(scene: InteractiveScene, model: mujoco.MjModel) -> TerrainWindow | None:
    """Return what keeps the shown part of generated terrain around a point; None without generated terrain."""
    if scene.terrain is None or scene.terrain.terrain is None:
        return None
    return TerrainWindow(scene.terrain, model)


def suit_driver(model: mujoco.MjModel, scene: mujoco.MjvScene) -> None:
    """Turn off what a software driver draws at a few frames a second; call it with a current OpenGL context."""
    scene.flags[mujoco.mjtRndFlag.mjRND_HAZE] = True
    model.vis.quality.shadowsize = _SHADOW_SIZE
    if draws_in_software():
        scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        model.vis.quality.offsamples = 0


def draws_in_software() -> bool:
    """Return whether the current OpenGL context computes its pictures on the CPU."""
    from OpenGL import GL

    name = (GL.glGetString(GL.GL_RENDERER) or b"").decode(errors="replace").lower()
    return any(software in name for software in _SOFTWARE_RENDERERS)


def light_from_above(model: mujoco.MjModel, center: NDArray[np.float64]) -> None:
    """Let the sun stand above ``center`` (m): shadows lie under the feet, within reach of the shadow map.

    Call it before positions are computed. A slanted sun leaves specks where the shadow map meets a plane.
    """
    suns = (model.light_type == mujoco.mjtLightType.mjLIGHT_DIRECTIONAL) & (model.light_bodyid == 0)
    model.light_pos[suns] = center + np.array([0.0, 0.0, _SUN_HEIGHT])
    model.light_dir[suns] = (0.0, 0.0, -1.0)
