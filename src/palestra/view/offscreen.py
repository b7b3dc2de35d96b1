"""OpenGL contexts without a window: EGL, else OSMesa, else a word on what to install.

``MUJOCO_GL`` chooses the backend if it is set (``egl``, ``osmesa``, ``glfw``). Otherwise the libraries are looked
for first, since importing a backend whose library is missing leaves PyOpenGL in a state that no other can use.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from palestra.errors import PalestraError

HOW_TO_INSTALL = (
    "no OpenGL for pictures without a window (tried {tried}): install EGL with a driver, "
    "on Debian and Ubuntu: apt install libegl1 libgl1-mesa-dri (or libosmesa6)"
)


class RenderingUnavailableError(PalestraError):
    """The machine cannot draw; the message says what to install."""


class OffscreenContext(Protocol):
    """What MuJoCo's three backends have in common."""

    def make_current(self) -> None:
        """Direct drawing here."""
        ...

    def free(self) -> None:
        """Release the context."""
        ...


@contextlib.contextmanager
def kept_backend_choice() -> Iterator[None]:
    """Restore ``MUJOCO_GL`` at the end, so that processes started later choose for themselves."""
    before = os.environ.get("MUJOCO_GL")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("MUJOCO_GL", None)
        else:
            os.environ["MUJOCO_GL"] = before


def make_context(width: int, height: int) -> OffscreenContext:
    """Return a current OpenGL context that can draw pictures up to ``width`` × ``height``.

    Call it, and make the ``mujoco.MjrContext``, inside :func:`kept_backend_choice`.

    Raises:
        RenderingUnavailableError: no backend works here.
    """
    tried = []
    for name in candidates():
        if not _PROBES[name]():
            tried.append(f"{name}: no working library")
            continue
        os.environ["MUJOCO_GL"] = name  # MuJoCo's function loader reads it when an MjrContext is made
        try:
            context: Any = _BACKENDS[name](width, height)
            context.make_current()
        except Exception as error:  # drivers fail in many ways, all of which mean: not this backend
            tried.append(f"{name}: {' '.join(str(error).split()) or type(error).__name__}")
            continue
        return context
    raise RenderingUnavailableError(HOW_TO_INSTALL.format(tried="; ".join(tried)))


def why_unavailable() -> str | None:
    """Return why this machine cannot draw, or None if a backend's library works; opens no context."""
    try:
        names = candidates()
    except RenderingUnavailableError as error:
        return str(error)
    if any(_PROBES[name]() for name in names):
        return None
    return HOW_TO_INSTALL.format(tried=", ".join(names))


def candidates() -> list[str]:
    """Return the backends to try, in order.

    Raises:
        RenderingUnavailableError: ``MUJOCO_GL`` forbids drawing or names an unknown backend.
    """
    wanted = os.environ.get("MUJOCO_GL", "").strip().lower()
    if wanted in _PROBES:
        return [wanted]
    if wanted in ("disable", "disabled", "off", "false", "0"):
        raise RenderingUnavailableError(f"MUJOCO_GL={wanted} turns drawing off: unset it")
    if wanted not in ("", "enable", "enabled", "on", "true", "1"):
        raise RenderingUnavailableError(f"MUJOCO_GL={wanted} is unknown: use egl, osmesa or glfw, or unset it")
    return ["egl", "osmesa"] if sys.platform.startswith("linux") else ["glfw"]


def has_display() -> bool:
    """Return whether a window can be opened."""
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def _egl(width: int, height: int) -> OffscreenContext:
    from mujoco.egl import GLContext

    return GLContext(width, height)


def _osmesa(width: int, height: int) -> OffscreenContext:
    from mujoco.osmesa import GLContext

    return GLContext(width, height)


def _glfw(width: int, height: int) -> OffscreenContext:
    from mujoco.glfw import GLContext

    return GLContext(width, height)


def _egl_has_a_device() -> bool:
    """Return whether EGL can open one of its devices: what MuJoCo's backend needs, asked without PyOpenGL."""
    try:
        egl = ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    egl.eglGetProcAddress.argtypes = [ctypes.c_char_p]
    pointer = ctypes.c_void_p
    query_address = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
    display_address = egl.eglGetProcAddress(b"eglGetPlatformDisplayEXT")
    if not query_address or not display_address:
        return False
    query = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.POINTER(pointer), ctypes.POINTER(ctypes.c_int))(
        query_address
    )
    display_of = ctypes.CFUNCTYPE(pointer, ctypes.c_uint, pointer, pointer)(display_address)
    egl.eglInitialize.argtypes = [pointer, pointer, pointer]
    devices, count = (pointer * 16)(), ctypes.c_int()
    if not query(16, devices, ctypes.byref(count)):
        return False
    platform_device = 0x313F  # EGL_PLATFORM_DEVICE_EXT
    displays = (display_of(platform_device, devices[i], None) for i in range(count.value))
    return any(display and egl.eglInitialize(display, None, None) for display in displays)


def _has_osmesa() -> bool:
    for name in ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


_BACKENDS: dict[str, Callable[[int, int], OffscreenContext]] = {"egl": _egl, "osmesa": _osmesa, "glfw": _glfw}
_PROBES: dict[str, Callable[[], bool]] = {"egl": _egl_has_a_device, "osmesa": _has_osmesa, "glfw": has_display}
