"""Configuration of the scene."""

from __future__ import annotations

from palestra.config.configclass import MISSING, configclass


@configclass
class InteractiveSceneCfg:
    """Subclass it and add assets and sensors as attributes, in the order in which they are placed."""

    num_envs: int = MISSING
    """Number of environments."""

    env_spacing: float = 2.5
    """Accepted for Isaac Lab's configurations; environments are separate worlds. Viewers use it to lay them out (m)."""

    lazy_sensor_update: bool = True
    """Accepted for Isaac Lab's configurations."""

    replicate_physics: bool = True
    """Accepted for Isaac Lab's configurations; all environments share one compiled model."""

    filter_collisions: bool = True
    """Accepted for Isaac Lab's configurations; environments never collide with each other."""

    clone_in_fabric: bool = False
    """Accepted for Isaac Lab's configurations."""
