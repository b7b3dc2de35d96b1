"""The robot library: one module and one MJCF file a robot, and a resolver for models from elsewhere.

``palestra.robots.<name>`` holds a robot's configuration (``UNITREE_GO2_CFG``, ...) and its record ``ROBOT``.
"""

from palestra.robots.info import MJCF_DIR, ResolvedModel, RobotInfo
from palestra.robots.menagerie import menagerie, menagerie_names
from palestra.robots.resolver import get, names, resolve

__all__ = [
    "MJCF_DIR",
    "ResolvedModel",
    "RobotInfo",
    "get",
    "menagerie",
    "menagerie_names",
    "names",
    "resolve",
]
