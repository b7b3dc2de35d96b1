"""Terms for walking on terrain, in the task that has them all."""

from typing import Any

import pytest
import torch

from palestra.config import load_env_cfg, make
from palestra.envs import mdp
from palestra.errors import ConfigError
from palestra.managers import EventTermCfg
from palestra.terrains import FlatPatchSamplingCfg, MeshBoxTerrainCfg, TerrainGeneratorCfg

TASK = "Velocity-Rough-Go2"


def small(num_envs: int = 8, **fields: Any) -> Any:
    """The task on three levels of boxes, two columns."""
    cfg = load_env_cfg(TASK)
    cfg.sim.threads = 1
    tile = MeshBoxTerrainCfg(box_height_range=(0.1, 0.4), platform_width=3.0)
    tile.flat_patch_sampling = {
        "init_pos": FlatPatchSamplingCfg(
            num_patches=5, patch_radius=0.4, max_height_diff=0.01, x_range=(-0.5, 0.5), y_range=(-0.5, 0.5)
        )
    }
    settings: dict[str, Any] = {"num_rows": 3, "num_cols": 2, "curriculum": True, "border_width": 5.0, **fields}
    cfg.scene.terrain.terrain_generator = TerrainGeneratorCfg(
        size=(8.0, 8.0), horizontal_scale=0.1, sub_terrains={"box": tile}, **settings
    )
    cfg.scene.terrain.max_init_terrain_level = 1
    return make(TASK, num_envs=num_envs, cfg=cfg, seed=0)


def put(env: Any, offset: torch.Tensor) -> None:
    """Put robots upright at an offset from their origins, ``(num_envs, 3)``."""
    robot = env.scene["robot"]
    state = robot.data.default_root_state.clone()
    state[:, :3] = env.scene.env_origins + offset
    robot.write_root_state_to_sim(state)
    env.engine.refresh()


def test_robots_start_on_level_patches_of_their_own_tile() -> None:
    env = small(64)
    env.reset()
    terrain, pos = env.scene.terrain, env.scene["robot"].data.root_pos_w
    offset = pos - env.scene.env_origins
    assert (offset[:, :2].abs() <= 0.5 + 1e-4).all()
    torch.testing.assert_close(offset[:, 2], torch.full((64,), 0.4), atol=1e-4, rtol=0.0)  # the default height
    patches = terrain.flat_patches["init_pos"].view(-1, 5, 3)[terrain.tiles()][..., :2]
    distance = (patches - pos[:, None, :2]).norm(dim=-1)
    nearest, which = distance.min(dim=1)
    assert nearest.max() < 1e-5 and which.unique().numel() == 5
    assert env.scene["robot"].data.heading_w.std() > 1.0
    # A masked reset moves only what it names.
    before = pos.clone()
    mask = torch.zeros(64, dtype=torch.bool)
    mask[3] = True
    env.rng.advance()
    env.rng.begin("reset")
    params = {"pose_range": {"yaw": (-3.0, 3.0)}, "velocity_range": {}}
    term = mdp.reset_root_state_from_terrain(EventTermCfg(mdp.reset_root_state_from_terrain, params, mode="reset"), env)
    term(env, mask, **params)
    moved = (env.scene["robot"].data.root_pos_w != before).any(dim=-1) | mask
    assert moved.tolist() == mask.tolist()


def test_levels_follow_the_distance_walked() -> None:
    env = small(6)
    env.reset()
    terrain, command = env.scene.terrain, env.command_manager.get_command("base_velocity")
    terrain.terrain_levels.copy_(torch.tensor([0, 0, 1, 1, 2, 1]))
    terrain.move_to_tiles()
    old = env.scene.env_origins.clone()
    offset = torch.zeros(6, 3)
    # Half a tile is 4 m. A command of 0.8 m/s leads 16 m far in 20 s, and half of that is 8 m.
    offset[:, 0] = torch.tensor([4.1, 3.0, 3.0, 0.0, -4.1, 4.1])
    offset[:, 2] = 0.5
    put(env, offset)
    command[:, :2] = 0.0
    command[:, 0] = torch.tensor([0.8, 0.1, 0.8, 0.0, 0.8, 0.8])
    env.episode_length_buf.fill_(500)
    mask = torch.tensor([True, True, True, True, True, False])
    env.rng.begin("reset")
    term = env.curriculum_manager.class_terms()["terrain_levels"]
    mean = term(env, mask)
    levels = terrain.terrain_levels.tolist()
    # Up; stays (3 m are more than 0.5 · 0.1 · 20 = 1 m); down; stays (it was to stand); anywhere; not reset.
    assert levels[:4] == [1, 0, 0, 1] and levels[4] in (0, 1, 2) and levels[5] == 1
    assert mean == pytest.approx(sum(levels) / 6)
    assert (env.scene.env_origins[:, 0] - old[:, 0]).tolist()[:4] == [8.0, 0.0, -8.0, 0.0]
    assert env.scene.env_origins[5].tolist() == old[5].tolist()


def test_a_robot_that_has_not_walked_yet_keeps_its_level() -> None:
    env = small(6)
    before = env.scene.terrain.terrain_levels.clone()
    env.reset()  # robots were at the world's origin, far from their tiles
    assert env.scene.terrain.terrain_levels.tolist() == before.tolist()
    assert env.fetch_log().get("Curriculum/terrain_levels", before.float().mean()) == pytest.approx(
        before.float().mean()
    )


def test_an_episode_that_ends_far_away_starts_anew_one_level_up() -> None:
    env = small(4)
    env.reset()
    terrain = env.scene.terrain
    terrain.terrain_levels.zero_()
    terrain.move_to_tiles()
    offset = torch.tensor([[4.2, 0.0, 0.4]] + [[0.0, 0.0, 0.4]] * 3)
    put(env, offset)
    env.command_manager.get_command("base_velocity").zero_()
    env.episode_length_buf[:2] = env.max_episode_length - 1
    env.step(torch.zeros(4, 12))
    assert terrain.terrain_levels.tolist() == [1, 0, 0, 0]
    pos = env.scene["robot"].data.root_pos_w
    assert (pos[0, :2] - terrain.terrain_origins[1, 0, :2]).abs().max() <= 0.5 + 1e-4
    assert pos[0, 2] == pytest.approx(float(terrain.terrain_origins[1, 0, 2]) + 0.4, abs=1e-4)
    assert env.fetch_log()["Curriculum/terrain_levels"] == pytest.approx(0.25)


def test_the_end_of_the_map_is_a_time_out() -> None:
    env = small(4)
    env.reset()
    # 3 × 8 m and twice 5 m of border: the edge is 17 m from the middle along x, and 13 m along y.
    x, y = torch.tensor([13.9, 14.1, 0.0, 0.0]), torch.tensor([0.0, 0.0, 9.9, -10.1])
    state = env.scene["robot"].data.default_root_state.clone()
    state[:, 0], state[:, 1] = x, y
    state[:, 2] = env.scene.terrain.height_at(x, y) + 0.4
    env.scene["robot"].write_root_state_to_sim(state)
    env.engine.refresh()
    _, _, terminated, truncated, _ = env.step(torch.zeros(4, 12))
    assert truncated.tolist() == [False, True, False, True] and not terminated.any()


def test_the_height_scan_sees_the_ground_around() -> None:
    env = small(2)
    env.reset()
    put(env, torch.tensor([[0.0, 0.0, 0.3], [1.0, 0.0, 0.4]]))
    scan = mdp.height_scan(env, sensor_cfg=env.observation_manager.terms("policy")[-1].bound.params["sensor_cfg"])
    rows = scan.view(2, 11, 17)  # y, then x from -0.8 to 0.8 m
    torch.testing.assert_close(rows[0], torch.full((11, 17), 0.3 - 0.5), atol=1e-4, rtol=0.0)
    # The platform ends 1.5 m from the middle: 0.5 m before this robot, and the ground 0.1 m further lies deeper.
    height = float(env.scene.env_origins[1, 2])
    torch.testing.assert_close(rows[1, :, :14], torch.full((11, 14), -0.1), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(rows[1, :, 14:], torch.full((11, 3), -0.1 + height), atol=1e-4, rtol=0.0)


def test_levels_are_part_of_a_checkpoint() -> None:
    env, again, larger = small(6), small(6), small(60)
    env.scene.terrain.terrain_levels.copy_(torch.tensor([2, 2, 1, 0, 2, 2]))
    state = env.state_dict()
    again.load_state_dict(state)
    assert again.scene.terrain.terrain_levels.tolist() == [2, 2, 1, 0, 2, 2]
    expected = again.scene.terrain.terrain_origins[
        again.scene.terrain.terrain_levels, again.scene.terrain.terrain_types
    ]
    assert again.scene.env_origins.tolist() == expected.tolist()
    larger.load_state_dict(state)
    assert larger.scene.terrain.terrain_levels.bincount().tolist() == [10, 10, 40]


def test_the_default_state_is_that_on_the_own_tile() -> None:
    env = small(4)
    env.reset()
    env.engine.reset()
    mask = torch.tensor([True, True, True, False])
    mdp.reset_scene_to_default(env, mask)
    pos = env.scene["robot"].data.root_pos_w
    expected = env.scene.env_origins + torch.tensor([0.0, 0.0, 0.4])
    torch.testing.assert_close(pos[:3], expected[:3])
    assert (pos[3] - expected[3]).abs().max() > 1.0


def test_bad_input_is_refused() -> None:
    cfg = load_env_cfg("Velocity-Flat-Go2")
    cfg.events.reset_base.func = mdp.reset_root_state_from_terrain
    with pytest.raises(ConfigError, match="event term 'reset_base': .* needs a TerrainImporterCfg with terrain_type"):
        make("Velocity-Flat-Go2", num_envs=2, cfg=cfg)
    cfg = load_env_cfg(TASK)
    cfg.events.reset_base.params["pose_range"] = {"x": (0.0, 1.0)}
    with pytest.raises(ConfigError, match="event term 'reset_base': pose_range has 'x'; it may have roll, pitch and"):
        make(TASK, num_envs=2, cfg=cfg)
    cfg = load_env_cfg(TASK)
    for tile in cfg.scene.terrain.terrain_generator.sub_terrains.values():
        tile.flat_patch_sampling = None
    with pytest.raises(ConfigError, match="event term 'reset_base': no sub-terrain samples flat patches 'init_pos'"):
        make(TASK, num_envs=2, cfg=cfg)
