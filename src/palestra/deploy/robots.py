"""Find a robot by its URL; what it needs is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from urllib.parse import urlsplit

from palestra.deploy.robot import RobotInterface
from palestra.errors import ConfigError, did_you_mean

SCHEMES = {"udp": "palestra.deploy.udp", "unitree": "palestra.deploy.unitree"}
"""Modules by the scheme of the URL."""


def open_robot(url: str, joint_names: Sequence[str]) -> RobotInterface:
    """Return the robot that a URL names, not yet connected.

    Args:
        url: ``udp://HOST:PORT`` (a simulated robot, or a bridge), or ``unitree://INTERFACE/MODEL``.
        joint_names: the policy's joints, for robots that number theirs instead of naming them.

    Raises:
        ConfigError: the URL is none, its scheme is unknown, or what it needs is not installed.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or "://" not in url:
        known = did_you_mean(parts.scheme or url, SCHEMES)
        raise ConfigError(f"robot {url!r}: the scheme must be known, as in udp://127.0.0.1:9000: {known}")
    try:
        module = import_module(SCHEMES[parts.scheme])
    except ImportError as error:
        raise ConfigError(
            f"robot {url!r} needs {error.name or SCHEMES[parts.scheme]}, which is not installed"
        ) from error
    if parts.scheme == "unitree":
        return module.open_robot(url, tuple(joint_names))
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"robot {url!r}: {error}") from None
    if not host or port is None:
        raise ConfigError(f"robot {url!r} must have host and port, as in udp://127.0.0.1:9000")
    return module.UdpRobot(host, port)
