"""Places to go to: frames, headings, terrain and metrics by hand."""

import math
from typing import Any

import pytest
import torch

from palestra.config import load_env_cfg, make
from palestra.envs import ManagerBasedRLEnv, mdp
from palestra.envs.mdp.io import describe_observation
from palestra.errors import ConfigError
from palestra.terrains import FlatPatchSamplingCfg, MeshBoxTerrainCfg, TerrainGeneratorCfg

from .conftest import CommandsCfg, MakeEnv, place, same

HALF = math.sqrt(0.5)


def pose_2d_term(
    env: ManagerBasedRLEnv,
    pos_x: Any = (2.0, 2.0),
    pos_y: Any = (1.0, 1.0),
    heading: Any = (0.5, 0.5),
    **settings: Any,
) -> mdp.UniformPose2dCommand:
    cfg = mdp.UniformPose2dCommandCfg(
        asset_name="robot",
        resampling_time_range=(5.0, 5.0),
        ranges=mdp.UniformPose2dCommandCfg.Ranges(pos_x=pos_x, pos_y=pos_y, heading=heading),
        **settings,
    )
    return mdp.UniformPose2dCommand(cfg, env)


def test_the_error_in_the_yaw_frame_by_hand(env: ManagerBasedRLEnv) -> None:
    # At (1, 0, 4), facing along y: 1 m along x is to the right, 1 m along y ahead; the default height is 5 m.
    place(env, pos=(1.0, 0.0, 4.0), quat=(HALF, 0.0, 0.0, HALF))
    term = pose_2d_term(env)
    address = term.command.data_ptr()
    term.reset(env.all_envs)
    same(term.pos_command_w, [2.0, 1.0, 5.0])
    same(term.command, [1.0, -1.0, 1.0, 0.5 - math.pi / 2])
    # A lean does not tilt the frame.
    lean = (HALF * math.cos(0.2), HALF * math.sin(0.2), HALF * math.sin(0.2), HALF * math.cos(0.2))
    place(env, pos=(1.0, 0.0, 4.0), quat=lean)
    term.compute(0.02)
    same(term.command, [1.0, -1.0, 1.0, 0.5 - math.pi / 2])
    # The command follows the robot; the target stays.
    place(env, pos=(1.5, 1.0, 5.0))
    term.compute(0.02)
    same(term.command, [0.5, 0.0, 0.0, 0.5])
    same(term.pos_command_w, [2.0, 1.0, 5.0])
    assert term.command.data_ptr() == address


def test_the_heading_error_takes_the_short_way(env: ManagerBasedRLEnv) -> None:
    place(env, quat=(math.cos(1.5), 0.0, 0.0, math.sin(1.5)))  # 3 rad
    term = pose_2d_term(env, heading=(-3.0, -3.0))
    term.reset(env.all_envs)
    same(term.command[:, 3], 2 * math.pi - 6.0)


@pytest.mark.parametrize(
    ("target", "facing", "heading"),
    [
        ((1.0, 1.0), 0.0, math.pi / 4),  # ahead
        ((-1.0, -1.0), 0.0, math.pi / 4),  # behind: backwards is the smaller turn
        ((-1.0, -1.0), math.pi, -3 * math.pi / 4),
        ((0.0, 1.0), -1.0, -math.pi / 2),
    ],
)
def test_a_simple_heading_leads_to_the_target(
    env: ManagerBasedRLEnv, target: tuple[float, float], facing: float, heading: float
) -> None:
    place(env, quat=(math.cos(facing / 2), 0.0, 0.0, math.sin(facing / 2)))
    x, y = ((v, v) for v in target)
    term = pose_2d_term(env, pos_x=x, pos_y=y, heading=None, simple_heading=True)
    term.reset(env.all_envs)
    same(term.heading_command_w, heading)


def test_targets_are_relative_to_the_origin_of_the_environment(env: ManagerBasedRLEnv) -> None:
    env.scene.env_origins.copy_(torch.tensor([[0.0, 0.0, 0.0], [10.0, 0.0, 0.5], [0.0, -20.0, -0.3]]))
    term = pose_2d_term(env)
    term.reset(env.all_envs)
    same(term.pos_command_w, torch.tensor([[2.0, 1.0, 5.0], [12.0, 1.0, 5.5], [2.0, -19.0, 4.7]]))


def test_draws_fill_their_ranges_and_a_mask_keeps_the_others(make_env: MakeEnv) -> None:
    env = make_env(num_envs=300)
    term = pose_2d_term(env, pos_x=(-3.0, 3.0), pos_y=(1.0, 2.0), heading=(-1.0, 1.0))
    term.reset(env.all_envs)
    for values, low, high in (
        (term.pos_command_w[:, 0], -3.0, 3.0),
        (term.pos_command_w[:, 1], 1.0, 2.0),
        (term.heading_command_w, -1.0, 1.0),
    ):
        width = high - low
        assert low <= values.min() < low + 0.03 * width and high - 0.03 * width < values.max() <= high
    position, heading = term.pos_command_w.clone(), term.heading_command_w.clone()
    mask = torch.arange(300) < 50
    env.rng.advance()
    term.reset(mask)
    assert torch.equal(term.pos_command_w[50:], position[50:])
    assert torch.equal(term.heading_command_w[50:], heading[50:])
    assert (term.pos_command_w[:50, :2] != position[:50, :2]).all()
    assert (term.heading_command_w[:50] != heading[:50]).all()


def test_a_new_target_after_the_resampling_time(env: ManagerBasedRLEnv) -> None:
    term = pose_2d_term(env, pos_x=(-3.0, 3.0))
    term.cfg.resampling_time_range = (0.06, 0.06)
    term.reset(env.all_envs)
    first = term.pos_command_w.clone()
    for _ in range(2):
        env.rng.advance()
        term.compute(0.02)
        assert torch.equal(term.pos_command_w, first)
    env.rng.advance()
    term.compute(0.02)
    assert (term.pos_command_w[:, 0] != first[:, 0]).all()


def test_metrics_are_what_is_left(env: ManagerBasedRLEnv) -> None:
    term = pose_2d_term(env, heading=(-3.0, -3.0))
    term.reset(env.all_envs)
    place(env, pos=(-1.0, -3.0, 9.0), quat=(math.cos(1.5), 0.0, 0.0, math.sin(1.5)))  # 3 m and 4 m away, at 3 rad
    term.compute(0.02)
    same(term.metrics["error_pos_2d"], 5.0)  # heights do not count
    same(term.metrics["error_heading"], 2 * math.pi - 6.0)
    term.reset(torch.tensor([True, False, False]))
    same(term.metrics["error_pos_2d"], torch.tensor([0.0, 5.0, 5.0]))


def test_in_an_environment_its_entries_are_described_and_its_metrics_logged(make_env: MakeEnv) -> None:
    cfg = pose_2d_term(make_env()).cfg
    env = make_env(commands={"velocity": CommandsCfg().velocity, "target": cfg})
    entries = describe_observation(env, mdp.generated_commands, {"command_name": "target"}, 4)
    assert [(e.name, e.units, e.frame) for e in entries] == [
        ("pos_x", "m", "yaw"),
        ("pos_y", "m", "yaw"),
        ("pos_z", "m", "yaw"),
        ("heading", "rad", "yaw"),
    ]
    env.episode_length_buf.fill_(48)
    env.step(torch.zeros(3, 4))
    env.step(torch.zeros(3, 4))
    log = env.fetch_log()
    assert log["Metrics/target/error_pos_2d"] == pytest.approx(math.sqrt(5.0), abs=1e-3)
    assert log["Metrics/target/error_heading"] == pytest.approx(0.5, abs=1e-3)


def test_bad_settings(env: ManagerBasedRLEnv) -> None:
    with pytest.raises(ConfigError, match=r"pose_2d command: ranges.heading must be \(low, high\), or set simple_head"):
        pose_2d_term(env, heading=None)
    with pytest.raises(ConfigError, match=r"pose_2d command: ranges.pos_x is \(1.0, 0.0\); low must not exceed high"):
        pose_2d_term(env, pos_x=(1.0, 0.0))
    with pytest.raises(ConfigError, match="terrain-based pose_2d command needs a TerrainImporterCfg with terrain_type"):
        mdp.TerrainBasedPose2dCommand(terrain_cfg(), env)


# --- targets on the terrain -------------------------------------------------------------------------------------------


def terrain_cfg(heading: tuple[float, float] | None = (0.5, 0.5), **settings: Any) -> mdp.TerrainBasedPose2dCommandCfg:
    return mdp.TerrainBasedPose2dCommandCfg(
        asset_name="robot",
        resampling_time_range=(5.0, 5.0),
        ranges=mdp.TerrainBasedPose2dCommandCfg.Ranges(heading=heading),
        **settings,
    )


def on_boxes(patches: str, num_envs: int) -> ManagerBasedRLEnv:
    """A Go2 on three levels of boxes, two columns, with four patches a tile."""
    cfg = load_env_cfg("Velocity-Rough-Go2")
    cfg.sim.threads = 1
    tile = MeshBoxTerrainCfg(box_height_range=(0.1, 0.4), platform_width=3.0)
    found = FlatPatchSamplingCfg(
        num_patches=4, patch_radius=0.3, max_height_diff=0.01, x_range=(-1.0, 1.0), y_range=(-1.0, 1.0)
    )
    tile.flat_patch_sampling = {"init_pos": found, patches: found}
    cfg.scene.terrain.terrain_generator = TerrainGeneratorCfg(
        size=(8.0, 8.0),
        horizontal_scale=0.1,
        sub_terrains={"box": tile},
        num_rows=3,
        num_cols=2,
        curriculum=True,
        border_width=5.0,
    )
    env = make("Velocity-Rough-Go2", num_envs=num_envs, cfg=cfg, seed=0)
    env.reset()
    return env


def test_targets_are_the_patches_of_the_own_tile() -> None:
    env = on_boxes("target", 64)
    terrain = env.scene.terrain
    term = mdp.TerrainBasedPose2dCommand(terrain_cfg(), env)
    term.reset(env.all_envs)
    height = env.scene["robot"].data.default_root_state[:, 2]
    patches = terrain.flat_patches["target"][terrain.terrain_levels, terrain.terrain_types]  # (64, 4, 3)
    target = term.pos_command_w - torch.stack((0 * height, 0 * height, height), dim=-1)
    nearest, which = (patches - target.unsqueeze(1)).norm(dim=-1).min(dim=1)
    assert nearest.max() < 1e-5 and which.unique().numel() == 4
    same(term.heading_command_w, 0.5)
    # Whoever is moved to another tile gets a target there.
    before = term.pos_command_w.clone()
    mask = torch.arange(64) < 8
    terrain.terrain_levels[:8] = (terrain.terrain_levels[:8] + 1) % 3
    terrain.move_to_tiles()
    env.rng.advance()
    term.reset(mask)
    assert torch.equal(term.pos_command_w[8:], before[8:])
    offset = (term.pos_command_w - env.scene.env_origins)[:8, :2]
    assert (offset.abs() <= 1.0 + 1e-4).all() and (term.pos_command_w[:8] != before[:8]).any(dim=-1).all()


def test_a_simple_heading_on_the_terrain_needs_no_range() -> None:
    env = on_boxes("target", 4)
    term = mdp.TerrainBasedPose2dCommand(terrain_cfg(None, simple_heading=True), env)
    term.reset(env.all_envs)
    way = term.pos_command_w - env.scene["robot"].data.root_pos_w
    along = torch.stack((term.heading_command_w.cos(), term.heading_command_w.sin()), dim=-1)
    cosine = (along * way[:, :2]).sum(dim=-1) / way[:, :2].norm(dim=-1)
    same(cosine.abs(), 1.0)
    assert (term.command[:, 3].abs() <= math.pi / 2 + 1e-5).all()


def test_a_terrain_without_targets_is_refused() -> None:
    env = on_boxes("goal", 2)
    message = r"no sub-terrain samples flat patches 'target' \(sampled: 'init_pos', 'goal'\); set its flat_patch_sampl"
    with pytest.raises(ConfigError, match=message):
        mdp.TerrainBasedPose2dCommand(terrain_cfg(), env)
