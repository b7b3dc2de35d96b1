"""Configurations of the command terms."""

from __future__ import annotations

import math

from palestra.config.configclass import MISSING, configclass
from palestra.envs.mdp.commands.gait_command import GaitPhaseCommand
from palestra.envs.mdp.commands.null_command import NullCommand
from palestra.envs.mdp.commands.pose_2d_command import TerrainBasedPose2dCommand, UniformPose2dCommand
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


@configclass
class UniformPose2dCommandCfg(CommandTermCfg):
    """Place to go to around the environment's origin, with a heading."""

    class_type: type = UniformPose2dCommand

    asset_name: str = MISSING
    """Robot that is to move."""

    simple_heading: bool = False
    """Whether the heading is that of the way to the target (or of the way backwards) rather than drawn."""

    @configclass
    class Ranges:
        """Least and largest value of each part."""

        pos_x: Range = MISSING
        """Target along the world's x, from the environment's origin (m)."""

        pos_y: Range = MISSING
        """Target along the world's y, from the environment's origin (m)."""

        heading: Range | None = None
        """Heading in the world (rad); needed without ``simple_heading``."""

    ranges: Ranges = MISSING
    """Distribution of the targets."""


@configclass
class TerrainBasedPose2dCommandCfg(UniformPose2dCommandCfg):
    """Place to go to among the flat patches ``"target"`` of the environment's tile, with a heading."""

    class_type: type = TerrainBasedPose2dCommand

    @configclass
    class Ranges:
        """Least and largest value of each part."""

        heading: Range | None = None
        """Heading in the world (rad); needed without ``simple_heading``."""

    ranges: Ranges = MISSING
    """Distribution of the headings."""


@configclass
class GaitPhaseCommandCfg(CommandTermCfg):
    """Clock for gaits: phase and contact of each foot."""

    class_type: type = GaitPhaseCommand

    offsets: dict[str, float] = MISSING
    """Foot (element of the contact sensor) to its place in the cycle, as a share of it.

    A trot is ``{"FL_foot": 0.0, "FR_foot": 0.5, "RL_foot": 0.5, "RR_foot": 0.0}``.
    """

    @configclass
    class Ranges:
        """Least and largest value of each part."""

        frequency: Range = MISSING
        """Cycles a second (Hz), e.g. ``(1.5, 2.5)``."""

        duty_factor: Range = MISSING
        """Share of the cycle that a foot is on the ground, e.g. ``(0.5, 0.65)``; below 0.5 is running."""

    ranges: Ranges = MISSING
    """Distribution of the gaits."""
