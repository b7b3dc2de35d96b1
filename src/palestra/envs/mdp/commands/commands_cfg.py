"""Configurations of the command terms."""

from __future__ import annotations

import math

from palestra.config.configclass import MISSING, configclass
from palestra.envs.mdp.commands.null_command import NullCommand
from palestra.envs.mdp.commands.pose_command import UniformPoseCommand
from palestra.envs.mdp.commands.velocity_command import UniformVelocityCommand
from palestra.managers import CommandTermCfg

Range = tuple[float, float]


@configclass
class NullCommandCfg(CommandTermCfg):
    """No command: a term of width zero, for tasks whose agent expects one."""

    class_type: type = NullCommand

    resampling_time_range: Range = (math.inf, math.inf)
    """Never resampled."""


@configclass
class UniformVelocityCommandCfg(CommandTermCfg):
    """Planar velocity and yaw rate in the base frame."""

    class_type: type = UniformVelocityCommand

    asset_name: str = MISSING
    """Robot that is to move."""

    heading_command: bool = False
    """Whether a heading is drawn, and the yaw rate is that of a proportional controller towards it."""

    heading_control_stiffness: float = 1.0
    """Yaw rate per heading error (1/s)."""

    rel_standing_envs: float = 0.0
    """Probability of the command to stand still."""

    rel_heading_envs: float = 1.0
    """Probability that a command has a heading; the others keep the drawn yaw rate."""

    @configclass
    class Ranges:
        """Least and largest value of each part."""

        lin_vel_x: Range = MISSING
        """Forward velocity (m/s)."""

        lin_vel_y: Range = MISSING
        """Velocity to the left (m/s)."""

        ang_vel_z: Range = MISSING
        """Yaw rate (rad/s); also limits the heading controller."""

        heading: Range | None = None
        """Heading in the world (rad); needed with ``heading_command``."""

    ranges: Ranges = MISSING
    """Distribution of the commands."""


@configclass
class UniformPoseCommandCfg(CommandTermCfg):
    """Pose of a body in the frame of the robot's root."""

    class_type: type = UniformPoseCommand

    asset_name: str = MISSING
    """Robot that is to move."""

    body_name: str = MISSING
    """Body that is to reach the pose, by regular expression that matches one."""

    make_quat_unique: bool = False
    """Whether the real part of the orientation is not negative."""

    @configclass
    class Ranges:
        """Least and largest value of each part."""

        pos_x: Range = MISSING
        """Forward position (m)."""

        pos_y: Range = MISSING
        """Position to the left (m)."""

        pos_z: Range = MISSING
        """Height (m)."""

        roll: Range = MISSING
        """Turn about the fixed x axis, first (rad)."""

        pitch: Range = MISSING
        """Turn about the fixed y axis, second (rad)."""

        yaw: Range = MISSING
        """Turn about the fixed z axis, third (rad)."""

    ranges: Ranges = MISSING
    """Distribution of the commands."""
