"""Command terms and their configurations."""

from palestra.envs.mdp.commands.commands_cfg import (
    GaitPhaseCommandCfg,
    NullCommandCfg,
    TerrainBasedPose2dCommandCfg,
    UniformPose2dCommandCfg,
    UniformPoseCommandCfg,
    UniformVelocityCommandCfg,
)
from palestra.envs.mdp.commands.gait_command import GaitPhaseCommand
from palestra.envs.mdp.commands.null_command import NullCommand
from palestra.envs.mdp.commands.pose_2d_command import TerrainBasedPose2dCommand, UniformPose2dCommand
from palestra.envs.mdp.commands.pose_command import UniformPoseCommand
from palestra.envs.mdp.commands.uniform_ranges import UniformRanges
from palestra.envs.mdp.commands.velocity_command import UniformVelocityCommand

__all__ = [
    "GaitPhaseCommand",
    "GaitPhaseCommandCfg",
    "NullCommand",
    "NullCommandCfg",
    "TerrainBasedPose2dCommand",
    "TerrainBasedPose2dCommandCfg",
    "UniformPose2dCommand",
    "UniformPose2dCommandCfg",
    "UniformPoseCommand",
    "UniformPoseCommandCfg",
    "UniformRanges",
    "UniformVelocityCommand",
    "UniformVelocityCommandCfg",
]
