"""Command terms and their configurations."""

from palestra.envs.mdp.commands.commands_cfg import (
    NullCommandCfg,
    UniformPoseCommandCfg,
    UniformVelocityCommandCfg,
)
from palestra.envs.mdp.commands.null_command import NullCommand
from palestra.envs.mdp.commands.pose_command import UniformPoseCommand
from palestra.envs.mdp.commands.uniform_ranges import UniformRanges
from palestra.envs.mdp.commands.velocity_command import UniformVelocityCommand

__all__ = [
    "NullCommand",
    "NullCommandCfg",
    "UniformPoseCommand",
    "UniformPoseCommandCfg",
    "UniformRanges",
    "UniformVelocityCommand",
    "UniformVelocityCommandCfg",
]
