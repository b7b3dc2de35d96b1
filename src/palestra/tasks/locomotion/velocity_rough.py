"""What the walking tasks on rough ground share: terrain, height scan, starts, ends, levels."""

import copy
import math
from collections.abc import Sequence
from typing import Any

from palestra.assets import AssetBaseCfg
from palestra.envs import mdp
from palestra.managers import (
    CurriculumTermCfg,
    EventTermCfg,
    ObservationTermCfg,
    SceneEntityCfg,
    TerminationTermCfg,
)
from palestra.scene import InteractiveSceneCfg
from palestra.sensors import RayCasterCfg, patterns
from palestra.sim import DistantLightCfg, DomeLightCfg
from palestra.tasks.locomotion import velocity
from palestra.terrains import FlatPatchSamplingCfg, TerrainGeneratorCfg, TerrainImporterCfg
from palestra.terrains.config import ROUGH_TERRAINS_CFG
from palestra.utils import configclass
from palestra.utils.noise import AdditiveUniformNoiseCfg as Unoise


def rough_terrain(patch_radius: float, max_height_diff: float) -> TerrainGeneratorCfg:
    """Return a map of 10 × 20 tiles with growing difficulty and vertices every 5 cm.

    Args:
        patch_radius: radius of the patches near each tile's middle on which robots start (m).
        max_height_diff: how level a patch is: the most between its lowest and highest point (m).
    """
    terrain = copy.deepcopy(ROUGH_TERRAINS_CFG)
    terrain.curriculum, terrain.border_width, terrain.horizontal_scale = True, 5.0, 0.05
    terrain.sub_terrains["random_rough"].downsampled_scale = 0.1
    for tile in terrain.sub_terrains.values():
        tile.flat_patch_sampling = {
            "init_pos": FlatPatchSamplingCfg(
                num_patches=8,
                patch_radius=patch_radius,
                max_height_diff=max_height_diff,
                x_range=(-0.5, 0.5),
                y_range=(-0.5, 0.5),
            )
        }
    return terrain


def ground(terrain: TerrainGeneratorCfg, colliders: Sequence[str]) -> TerrainImporterCfg:
    """Return the ground of a scene: half of the levels at the start, and what of the robot meets it."""
    return TerrainImporterCfg(
        prim_path="/World/ground",
        terrain_type="generator",
        terrain_generator=terrain,
        max_init_terrain_level=5,
        colliders=list(colliders),
    )


def height_scanner(body: str) -> RayCasterCfg:
    """Return 187 rays, 10 cm apart on 1.6 × 1 m, that go down around a body and turn with its yaw."""
    return RayCasterCfg(
        prim_path=f"{{ENV_REGEX_NS}}/Robot/{body}",
        offset=RayCasterCfg.OffsetCfg(pos=(0.0, 0.0, 20.0)),
        ray_alignment="yaw",
        pattern_cfg=patterns.GridPatternCfg(resolution=0.1, size=(1.6, 1.0)),
        mesh_prim_paths=["/World/ground"],
    )


@configclass
class RoughSceneCfg(InteractiveSceneCfg):
    """Light; a task adds its ``terrain``, ``robot`` and sensors."""

    light = AssetBaseCfg(spawn=DomeLightCfg())
    sun = AssetBaseCfg(spawn=DistantLightCfg())


def _height_scan(noise: Unoise | None) -> ObservationTermCfg:
    return ObservationTermCfg(
        func=mdp.height_scan,
        params={"sensor_cfg": SceneEntityCfg("height_scanner")},
        noise=noise,
        clip=(-1.0, 1.0),
    )


@configclass
class ObservationsCfg(velocity.ObservationsCfg):
    """What is seen on flat ground, and the heights of 187 points around the robot."""

    @configclass
    class PolicyCfg(velocity.ObservationsCfg.PolicyCfg):
        """The heights with an error of up to 10 cm."""

        height_scan = _height_scan(Unoise(n_min=-0.1, n_max=0.1))

    @configclass
    class CriticCfg(velocity.ObservationsCfg.CriticCfg):
        """The heights without error."""

        height_scan = _height_scan(None)

    policy: PolicyCfg = PolicyCfg()
    critic: CriticCfg = CriticCfg()


@configclass
class TerminationsCfg(velocity.TerminationsCfg):
    """The time limit, the end of the map, and a trunk on the ground; the scene has a contact sensor ``trunk``."""

    terrain_out_of_bounds = TerminationTermCfg(
        func=mdp.terrain_out_of_bounds, time_out=True, params={"distance_buffer": 3.0}
    )
    base_contact = TerminationTermCfg(
        func=mdp.illegal_contact, params={"sensor_cfg": SceneEntityCfg("trunk"), "threshold": 1.0}
    )


@configclass
class EventsCfg(velocity.EventsCfg):
    """Starts on level patches, in any direction, near the default pose."""

    reset_base = EventTermCfg(
        func=mdp.reset_root_state_from_terrain,
        mode="reset",
        params={"pose_range": {"yaw": (-math.pi, math.pi)}, "velocity_range": {}},
    )


@configclass
class CurriculumCfg:
    """Harder ground for those who master theirs."""

    terrain_levels = CurriculumTermCfg(func=mdp.terrain_levels_vel)


def make_playable(cfg: Any) -> None:
    """Change a task's configuration: a few robots without observation noise, on tiles of all difficulties."""
    cfg.scene.num_envs = 16
    cfg.scene.terrain.max_init_terrain_level = None
    cfg.scene.terrain.terrain_generator.num_cols = 10
    cfg.curriculum = None
    cfg.observations.policy.enable_corruption = False
    cfg.commands.base_velocity.rel_standing_envs = 0.0
    cfg.commands.base_velocity.ranges.lin_vel_x = (0.3, 1.0)
