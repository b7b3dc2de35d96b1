"""Terrain in the simulation: its heights are those that bodies and rays meet, and only chosen geoms meet it."""

from typing import Any

import mujoco
import numpy as np
import pytest
import torch
from scenes import World

from palestra.assets import RigidObjectCfg
from palestra.envs.rng import RandomStream
from palestra.errors import ConfigError
from palestra.physics.capacity import most_convex_collisions, probe_capacity
from palestra.robots.unitree_go2 import UNITREE_GO2_CFG
from palestra.sensors import OffsetCfg, RayCasterCfg, patterns
from palestra.sim import CuboidCfg, SphereCfg
from palestra.terrains import (
    HfRandomUniformTerrainCfg,
    MeshBoxTerrainCfg,
    MeshPlaneTerrainCfg,
    TerrainGeneratorCfg,
    TerrainImporterCfg,
)

ROUGH = HfRandomUniformTerrainCfg(noise_range=(-0.1, 0.1), noise_step=0.01, border_width=0.2)


def terrain(sub: Any = ROUGH, **fields: Any) -> TerrainImporterCfg:
    """Two rows and three columns of 4 m × 3 m: the axes cannot be mixed up unnoticed."""
    settings: dict[str, Any] = {
        "size": (4.0, 3.0),
        "num_rows": 2,
        "num_cols": 3,
        "border_width": 1.0,
        "curriculum": True,
    }
    return TerrainImporterCfg(
        prim_path="/World/ground",
        terrain_type="generator",
        terrain_generator=TerrainGeneratorCfg(sub_terrains={"tile": sub}, **settings),
        **fields,
    )


def ball(**fields: Any) -> RigidObjectCfg:
    return RigidObjectCfg(spawn=SphereCfg(radius=0.05, mass=1.0, **fields))


def points(num_envs: int, num_points: int, world: World) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    half = torch.tensor(world.scene.terrain.half_extent) - 0.01
    place = (2.0 * torch.rand(num_envs, num_points, 2, generator=generator) - 1.0) * half
    return place[..., 0], place[..., 1]


def test_rays_meet_the_ground_where_the_grid_says() -> None:
    world = World(2, ground=terrain(), ball=ball())
    x, y = points(2, 500, world)
    start = torch.stack((x, y, torch.full_like(x, 3.0)), dim=-1)
    down = torch.tensor([0.0, 0.0, -1.0]).expand_as(start).contiguous()
    hit = 3.0 - world.engine.rays(start, down, geom_groups=[0], exclude_body=1)
    height = world.scene.terrain.height_at(x, y)
    assert height.abs().max() > 0.08  # there is relief
    torch.testing.assert_close(height, hit, atol=2e-5, rtol=0.0)


def test_a_ball_rests_on_the_ground() -> None:
    world = World(6, ground=terrain(MeshBoxTerrainCfg(box_height_range=(0.2, 0.4), platform_width=2.0)), ball=ball())
    assert world.scene.env_origins is world.scene.terrain.env_origins
    state = world.scene["ball"].data.default_root_state.clone()
    state[:, :3] += world.scene.env_origins
    state[:, 2] += 0.06
    world.scene["ball"].write_root_state_to_sim(state)
    world.engine.refresh()
    world.run(200)
    z = world.scene["ball"].data.root_pos_w[:, 2]
    torch.testing.assert_close(z, world.scene.env_origins[:, 2] + 0.05, atol=2e-3, rtol=0.0)
    assert (world.scene.env_origins[:, 2] >= 0.2).all() and world.scene.env_origins[:, 2].unique().numel() > 1


def test_only_the_colliders_meet_the_terrain() -> None:
    cube = RigidObjectCfg(spawn=CuboidCfg(size=(0.1, 0.1, 0.1), mass=1.0))
    world = World(1, ground=terrain(MeshPlaneTerrainCfg(), colliders=["ball/geom"]), ball=ball(), cube=cube)
    for name, height in (("ball", 0.5), ("cube", 0.2)):
        state = world.scene[name].data.default_root_state.clone()
        state[:, 2] = height
        world.scene[name].write_root_state_to_sim(state)
    world.engine.refresh()
    world.run(300)
    assert world.scene["ball"].data.root_pos_w[0, 2] == pytest.approx(0.05, abs=2e-3)
    assert world.scene["cube"].data.root_pos_w[0, 2] < -5.0  # 1.5 s of free fall are 11 m
    # They still meet each other: the ball lands on the cube where both are held by the ground.
    world = World(
        1, ground=terrain(MeshPlaneTerrainCfg(), colliders=["ball/geom", "cube/geom"]), ball=ball(), cube=cube
    )
    for name, height in (("ball", 0.3), ("cube", 0.05)):
        state = world.scene[name].data.default_root_state.clone()
        state[:, 2] = height
        world.scene[name].write_root_state_to_sim(state)
    world.engine.refresh()
    world.run(60)
    assert world.scene["ball"].data.root_pos_w[0, 2] == pytest.approx(0.15, abs=4e-3)


def test_a_go2_meets_the_terrain_with_feet_and_trunk_only() -> None:
    colliders = ["robot/.*_foot", "robot/base", "robot/head"]
    world = World(1, ground=terrain(colliders=colliders), robot=UNITREE_GO2_CFG)
    model = world.engine.model
    ground = model.geom("ground/terrain")
    meets = [
        model.geom(i).name
        for i in range(model.ngeom)
        if int(model.geom_contype[i]) & int(ground.conaffinity[0])
        or int(ground.contype[0]) & int(model.geom_conaffinity[i])
    ]
    feet = [f"robot/{leg}_foot" for leg in ("FL", "FR", "RL", "RR")]
    assert sorted(meets) == sorted(["robot/base", "robot/head", *feet])
    # Memory of the CUDA engine: a pair with the field for each; MuJoCo Warp keeps 4 contacts of each, 4 rows a contact,
    # and there are 12 joint limits and 12 joints with friction.
    assert most_convex_collisions(model) == 1  # none: all are spheres and boxes
    capacity = probe_capacity(model, num_sims=16, num_steps=80)
    assert capacity.contacts <= 24 and 40 < capacity.constraints <= 4 * 24 + 24


def test_the_map_goes_up_along_x_and_has_kinds_along_y() -> None:
    world = World(6, ground=terrain(MeshBoxTerrainCfg(box_height_range=(0.0, 0.4), platform_width=2.0)), ball=ball())
    ground = world.scene.terrain
    assert ground.max_terrain_level == 2 and ground.terrain_types.tolist() == [0, 0, 1, 1, 2, 2]
    assert ground.terrain_origins[:, :, 0].tolist() == [[-2.0] * 3, [2.0] * 3]
    assert ground.terrain_origins[:, :, 1].tolist() == [[-3.0, 0.0, 3.0]] * 2
    assert (ground.terrain_origins[1, :, 2] > ground.terrain_origins[0, :, 2]).all()
    assert ground.half_extent == (5.0, 5.5)
    # MuJoCo's own field agrees: its rows go along y.
    model = world.engine.model
    field = model.hfield_data.reshape(model.hfield_nrow[0], model.hfield_ncol[0]) * model.hfield_size[0, 2]
    assert field.shape == (111, 101)
    np.testing.assert_allclose(field.T, ground.terrain.heights, atol=1e-5)


def test_a_mask_moves_levels_and_origins() -> None:
    world = World(6, ground=terrain(max_init_terrain_level=0), ball=ball())
    ground, rng = world.scene.terrain, RandomStream(0, 6, torch.device("cpu"))
    address = world.scene.env_origins.data_ptr()
    assert ground.terrain_levels.tolist() == [0] * 6
    yes, no = torch.ones(6, dtype=torch.bool), torch.zeros(6, dtype=torch.bool)
    rng.begin("reset")
    mask = torch.tensor([True, True, False, True, True, False])
    ground.update_env_origins(mask, move_up=torch.tensor([True, False, True, True, True, True]), move_down=no, rng=rng)
    assert ground.terrain_levels.tolist() == [1, 0, 0, 1, 1, 0]
    assert world.scene.env_origins[:, 0].tolist() == [2.0, -2.0, -2.0, 2.0, 2.0, -2.0]
    assert world.scene.env_origins.data_ptr() == address
    ground.update_env_origins(yes, move_up=no, move_down=yes, rng=rng)
    assert ground.terrain_levels.tolist() == [0] * 6  # nobody falls below the lowest
    seen = set()
    ground.terrain_levels.fill_(1)
    for _ in range(8):  # who masters the highest goes on anywhere
        ground.terrain_levels.fill_(1)
        rng.advance()
        rng.begin("reset")
        ground.update_env_origins(yes, move_up=yes, move_down=no, rng=rng)
        seen |= set(ground.terrain_levels.tolist())
    assert seen == {0, 1}


def test_starts_respect_the_highest_level() -> None:
    cfg = terrain(max_init_terrain_level=3)
    assert cfg.terrain_generator is not None
    cfg.terrain_generator.num_rows = 8
    levels = World(200, ground=cfg, ball=ball()).scene.terrain.terrain_levels
    assert sorted(levels.unique().tolist()) == [0, 1, 2, 3]


SCAN = patterns.GridPatternCfg(resolution=0.1, size=(0.4, 0.2))


def scanner(**fields: Any) -> RayCasterCfg:
    settings: dict[str, Any] = {"ray_alignment": "yaw", "mesh_prim_paths": ["/World/ground"], **fields}
    return RayCasterCfg(prim_path="ball/body", offset=OffsetCfg(pos=(0.0, 0.0, 20.0)), pattern_cfg=SCAN, **settings)


def put_balls(world: World, x: torch.Tensor, y: torch.Tensor, quat: torch.Tensor) -> None:
    state = world.scene["ball"].data.default_root_state.clone()
    state[:, 0], state[:, 1], state[:, 2], state[:, 3:7] = x, y, 1.0, quat
    world.scene["ball"].write_root_state_to_sim(state)
    world.engine.refresh()


@pytest.mark.parametrize("alignment", ["yaw", "world"])
def test_the_grid_is_read_as_rays_would_be_cast(alignment: str) -> None:
    world = World(
        8,
        ground=terrain(),
        ball=ball(),
        read=scanner(ray_alignment=alignment),
        cast=scanner(ray_alignment=alignment, mesh_prim_paths=[]),
    )
    read, cast = world.scene["read"], world.scene["cast"]
    assert read.reads_grid and not cast.reads_grid and read.num_rays == 15
    generator = torch.Generator().manual_seed(1)
    quat = torch.nn.functional.normalize(torch.randn(8, 4, generator=generator), dim=-1)  # tilted any way
    x, y = points(8, 1, world)
    put_balls(world, 0.8 * x[:, 0], 0.8 * y[:, 0], quat)
    # Rays start 20 m above the terrain and must pass the ball itself, which is in the same geom group.
    torch.testing.assert_close(read.data.ray_hits_w, cast.data.ray_hits_w, atol=5e-5, rtol=0.0)
    assert read.data.ray_hits_w[..., 2].std() > 0.01
    put_balls(world, 0.8 * x[:, 0] + 0.05, 0.8 * y[:, 0], quat)  # readings are never stale
    torch.testing.assert_close(read.data.ray_hits_w, cast.data.ray_hits_w, atol=5e-5, rtol=0.0)


@pytest.mark.parametrize("alignment", ["yaw", "world"])
def test_the_kernel_of_a_gpu_reads_the_same(alignment: str) -> None:
    pytest.importorskip("warp")
    from palestra.sensors import ray_caster_warp

    world = World(8, ground=terrain(), ball=ball(), read=scanner(ray_alignment=alignment))
    read = world.scene["read"]
    generator = torch.Generator().manual_seed(1)
    quat = torch.nn.functional.normalize(torch.randn(8, 4, generator=generator), dim=-1)
    x, y = points(8, 1, world)
    x[0] = 99.0  # beyond the map
    put_balls(world, x[:, 0], y[:, 0], quat)
    found = ray_caster_warp.hit_heights(
        world.scene.terrain.grid,
        read.data.pos_w,
        read.data.quat_w,
        read._starts,
        read._directions,
        alignment == "yaw",
        read.cfg.max_distance,
    )
    torch.testing.assert_close(found, read.data.ray_hit_heights_w, atol=1e-4, rtol=0.0)


def test_rays_turn_with_the_yaw_and_are_ordered_along_x() -> None:
    world = World(1, ground=terrain(), ball=ball(), read=scanner())
    put_balls(world, torch.tensor([0.5]), torch.tensor([1.0]), torch.tensor([0.5**0.5, 0.0, 0.0, 0.5**0.5]))
    hits = world.scene["read"].data.ray_hits_w[0]
    # First ray: (-0.2, -0.1) in the body; a quarter turn makes it (0.1, -0.2). The second is 0.1 m further along body x.
    assert hits[0, :2].tolist() == pytest.approx([0.6, 0.8], abs=1e-5)
    assert hits[1, :2].tolist() == pytest.approx([0.6, 0.9], abs=1e-5)
    assert world.scene["read"].ray_names[:2] == ["x-0.20_y-0.10", "x-0.10_y-0.10"]


def test_tilted_rays_are_cast() -> None:
    listed = patterns.RayListCfg(starts=[(0.0, 0.0, 0.0)] * 2, directions=[(0.0, 0.0, -2.0), (1.0, 0.0, -1.0)])
    cfg = RayCasterCfg(prim_path="ball/body", pattern_cfg=listed, mesh_prim_paths=["ground"], ray_alignment="base")
    far = RayCasterCfg(prim_path="ball/body", pattern_cfg=listed, max_distance=1.2)
    world = World(1, ground=terrain(MeshPlaneTerrainCfg()), ball=ball(), eye=cfg, short=far)
    assert not world.scene["eye"].reads_grid
    turn = torch.tensor([np.cos(np.pi / 8), 0.0, -np.sin(np.pi / 8), 0.0]).float()  # 45° about -y: x to (1, 0, 1)
    put_balls(world, torch.zeros(1), torch.zeros(1), turn)
    hits = world.scene["eye"].data.ray_hits_w[0]
    # Down in the body is (1, 0, -1) / √2 in the world; (1, 0, -1) / √2 of the body is (1, 0, 0): no hit.
    assert hits[0].tolist() == pytest.approx([1.0, 0.0, 0.0], abs=1e-4)
    assert not hits[1].isfinite().all()
    assert not world.scene["short"].data.ray_hits_w[0, 0].isfinite().all()  # √2 m is beyond 1.2 m


def test_a_ray_that_starts_below_the_ground_meets_nothing() -> None:
    cfg = scanner()
    cfg.offset.pos = (0.0, 0.0, 0.0)
    world = World(1, ground=terrain(), ball=ball(), read=cfg)
    put_balls(world, torch.zeros(1), torch.zeros(1), torch.tensor([1.0, 0.0, 0.0, 0.0]))
    assert world.scene["read"].data.ray_hit_heights_w.isfinite().all()
    state = world.scene["ball"].data.root_state_w.clone()
    state[:, 2] = -1.0
    world.scene["ball"].write_root_state_to_sim(state)
    assert world.scene["read"].data.ray_hit_heights_w.isinf().all()


BAD = [
    (
        {"ground": TerrainImporterCfg(terrain_type="generator")},
        "scene.ground: terrain_type 'generator' needs a terrain_generator",
    ),
    ({"ground": terrain(), "soil": terrain()}, "scene.soil is a second terrain beside scene.ground"),
    ({"ground": terrain(colliders=["robot/.*"])}, "scene.ground.colliders, 'robot/.*': no asset 'robot'"),
    ({"ground": terrain(colliders=["ball/feet"])}, "scene.ground.colliders, 'ball/feet'"),
    ({"ground": terrain(max_init_terrain_level=-1)}, "scene.ground.max_init_terrain_level is -1"),
    ({"ground": terrain(), "scan": scanner(mesh_prim_paths=["/World/table"])}, "mesh_prim_paths names '/World/table'"),
    ({"scan": scanner()}, "it may name no terrain in this scene: leave it empty"),
    ({"ground": terrain(), "scan": scanner(ray_alignment="up")}, "ray_alignment is 'up'; base, yaw or world"),
]


@pytest.mark.parametrize(("entities", "message"), BAD)
def test_bad_input_is_refused(entities: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        World(1, ball=ball(), **entities)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_plane_under_the_importer_is_as_before() -> None:
    world = World(2, ground=TerrainImporterCfg(), ball=ball(), read=scanner(mesh_prim_paths=["ground"]))
    assert not world.scene.env_origins.any()
    assert world.engine.model.geom("ground/plane").type[0] == mujoco.mjtGeom.mjGEOM_PLANE
    put_balls(world, torch.zeros(2), torch.zeros(2), torch.tensor([1.0, 0.0, 0.0, 0.0]))
    assert world.scene["read"].reads_grid and not world.scene["read"].data.ray_hit_heights_w.any()
