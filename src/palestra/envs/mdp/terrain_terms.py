"""Terms for walking on terrain: starts, levels of difficulty, height scan, the end of the map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palestra.assets import Articulation
from palestra.assets.root_writer import RootWriter
from palestra.envs.mdp.entities import entity
from palestra.envs.mdp.events import Range, _draw
from palestra.envs.mdp.io import observation_io
from palestra.envs.mdp.sensing import external_sensor
from palestra.errors import ConfigError
from palestra.managers import CurriculumTermCfg, EventTermCfg, ManagerTermBase, SceneEntityCfg
from palestra.sensors import RayCaster
from palestra.terrains import TerrainImporter
from palestra.utils.math import quat_from_euler_xyz

if TYPE_CHECKING:
    from palestra.envs.base import BaseEnv
    from palestra.envs.manager_based import ManagerBasedRLEnv

__all__ = [
    "height_scan",
    "reset_root_state_from_terrain",
    "terrain_levels_vel",
    "terrain_out_of_bounds",
]

PATCHES = "init_pos"
"""Name of the flat patches on which robots start."""


@observation_io(units="m", frame="world", entries="rays")
@external_sensor
def height_scan(env: BaseEnv, sensor_cfg: SceneEntityCfg, offset: float = 0.5) -> Tensor:
    """Height of the sensor's body above the ground around it, less ``offset`` (m), ``(num_envs, num_rays)``.

    Minus infinity where a ray hits nothing; a ``clip`` in the term's configuration bounds it.
    """
    data = entity(env, sensor_cfg.name, RayCaster).data
    return data.pos_w[:, 2:3] - data.ray_hit_heights_w - offset


class reset_root_state_from_terrain(ManagerTermBase):  # noqa: N801 - a term, named like the functions
    """Put a floating root above a random flat patch ``"init_pos"`` of its environment's tile.

    Raises:
        ConfigError: the terrain has no such patches, or ``pose_range`` has an axis that is no rotation.
    """

    def __init__(self, cfg: EventTermCfg, env: Any) -> None:
        super().__init__(cfg, env)
        self._terrain = _generated(env, "reset_root_state_from_terrain")
        if PATCHES not in self._terrain.flat_patches:
            raise ConfigError(f"no sub-terrain samples flat patches {PATCHES!r}; set its flat_patch_sampling")
        for axis in cfg.params.get("pose_range", {}):
            if axis not in ("roll", "pitch", "yaw"):
                raise ConfigError(f"pose_range has {axis!r}; it may have roll, pitch and yaw")
        self._patches = self._terrain.flat_patches[PATCHES]

    def __call__(
        self,
        env: BaseEnv,
        env_mask: Tensor,
        pose_range: Mapping[str, Range],
        velocity_range: Mapping[str, Range],
        asset_cfg: SceneEntityCfg = SceneEntityCfg("robot"),
    ) -> None:
        """Write positions, orientations and velocities.

        Args:
            env: the environment.
            env_mask: environments, bool ``(num_envs,)``.
            pose_range: ``{axis: (low, high)}`` with axes ``roll pitch yaw``: the orientation (rad, world).
            velocity_range: the same with ``x y z`` (m/s) and ``roll pitch yaw`` (rad/s), added to the default velocity.
            asset_cfg: the asset.
        """
        asset = entity(env, asset_cfg.name, RootWriter)
        default = asset.data.default_root_state
        number = self._patches.shape[2]
        chosen = self._terrain.tiles() * number + env.rng.integers(0, number - 1)
        patch = self._patches.view(-1, 3).index_select(0, chosen)
        height = torch.cat((torch.zeros_like(default[:, :2]), default[:, 2:3]), dim=-1)
        quat = quat_from_euler_xyz(*_draw(env, pose_range, "pose_range")[:, 3:].unbind(dim=-1))
        velocity = default[:, 7:] + _draw(env, velocity_range, "velocity_range")
        asset.write_root_state_to_sim(torch.cat((patch + height, quat, velocity), dim=-1), env_mask)


class terrain_levels_vel(ManagerTermBase):  # noqa: N801 - a term, named like the functions
    """Move robots up a level of difficulty that walked across half of their tile, and others down.

    Down goes who came less than half as far as the commanded speed would have led by the end of a full episode.
    Distances are those from the tile's origin, so that robots must start near it. The levels are part of checkpoints.
    """

    def __init__(self, cfg: CurriculumTermCfg, env: ManagerBasedRLEnv) -> None:
        super().__init__(cfg, env)
        self._terrain = _generated(env, "terrain_levels_vel")
        generator = self._terrain.cfg.terrain_generator
        assert generator is not None
        self._half_tile = 0.5 * generator.size[0]

    def __call__(
        self,
        env: ManagerBasedRLEnv,
        env_mask: Tensor,
        asset_cfg: SceneEntityCfg = SceneEntityCfg("robot"),
        command_name: str = "base_velocity",
    ) -> Tensor:
        """Change the levels of environments that are about to be reset.

        Args:
            env: the environment.
            env_mask: environments, bool ``(num_envs,)``.
            asset_cfg: the robot.
            command_name: command whose first two entries are a velocity (m/s).

        Returns:
            Mean level, 0-dim; the lowest is 0.
        """
        terrain = self._terrain
        position = entity(env, asset_cfg.name, Articulation).data.root_pos_w[:, :2]
        walked = torch.linalg.vector_norm(position - terrain.env_origins[:, :2], dim=-1)
        speed = torch.linalg.vector_norm(env.command_manager.get_command(command_name)[:, :2], dim=-1)
        began = env.episode_length_buf > 0  # else the robot has not been on its tile yet
        up = (walked > self._half_tile) & began
        down = (walked < 0.5 * env.max_episode_length_s * speed) & began & ~up
        terrain.update_env_origins(env_mask, up, down, env.rng)
        return terrain.terrain_levels.to(torch.float32).mean()

    def state_dict(self) -> dict[str, Any]:
        """Return the level of each environment."""
        return {"terrain_levels": self._terrain.terrain_levels.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with saved levels; with another number of environments, with as many of each level in proportion."""
        saved = torch.as_tensor(state["terrain_levels"], device=self.device).sort().values
        if len(saved) == self.num_envs:
            saved = torch.as_tensor(state["terrain_levels"], device=self.device)
        else:
            # Types are dealt out in blocks: a fixed shuffle keeps levels and types apart.
            order = torch.randperm(self.num_envs, generator=torch.Generator().manual_seed(0)).to(self.device)
            saved = saved[order * len(saved) // self.num_envs]
        self._terrain.terrain_levels.copy_(saved.clamp(0, self._terrain.max_terrain_level - 1))
        self._terrain.move_to_tiles()


def terrain_out_of_bounds(
    env: BaseEnv, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot"), distance_buffer: float = 3.0
) -> Tensor:
    """End when the root is nearer than ``distance_buffer`` (m) to the edge of generated terrain, or beyond it.

    Configure the term with ``time_out=True``: leaving the map is no failure. On a plane it never ends anything.
    """
    position = entity(env, asset_cfg.name, RootWriter).data.root_pos_w
    terrain = env.scene.terrain
    if terrain is None or terrain.terrain is None:
        return torch.zeros(env.num_envs, dtype=torch.bool, device=env.device)
    x, y = (half - distance_buffer for half in terrain.half_extent)
    return (position[:, 0].abs() > x) | (position[:, 1].abs() > y)


def _generated(env: BaseEnv, term: str) -> TerrainImporter:
    """Return the scene's generated terrain.

    Raises:
        ConfigError: there is none.
    """
    terrain = env.scene.terrain
    if terrain is None or terrain.terrain is None:
        raise ConfigError(f"{term} needs a TerrainImporterCfg with terrain_type='generator' in the scene")
    return terrain
