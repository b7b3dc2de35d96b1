"""Shapes of the tiles, their plan and their flat patches, against numbers worked out by hand."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from palestra.errors import ConfigError
from palestra.terrains import (
    FlatPatchSamplingCfg,
    HeightGrid,
    HfDiscreteObstaclesTerrainCfg,
    HfInvertedPyramidSlopedTerrainCfg,
    HfPyramidSlopedTerrainCfg,
    HfRandomUniformTerrainCfg,
    HfSteppingStonesTerrainCfg,
    HfWaveTerrainCfg,
    MeshBoxTerrainCfg,
    MeshGapTerrainCfg,
    MeshInvertedPyramidStairsTerrainCfg,
    MeshPitTerrainCfg,
    MeshPlaneTerrainCfg,
    MeshPyramidStairsTerrainCfg,
    MeshRailsTerrainCfg,
    MeshRandomGridTerrainCfg,
    Terrain,
    TerrainGeneratorCfg,
    generate,
)
from palestra.terrains.config import ROUGH_TERRAINS_CFG

EDGE, SCALE = 8.0, 0.1
MIDDLE = 40
"""Vertices from the edge of a tile of 8 m to its middle."""


def generator(sub: Any, **fields: Any) -> TerrainGeneratorCfg:
    settings = {"size": (EDGE, EDGE), "horizontal_scale": SCALE, "sub_terrains": {"tile": sub}, **fields}
    return TerrainGeneratorCfg(**settings)


def tile(sub: Any, difficulty: float = 1.0) -> np.ndarray:
    """Heights of one tile, (81, 81)."""
    return generate(generator(sub, difficulty_range=(difficulty, difficulty))).heights.astype(np.float64).round(6)


STAIRS = {"step_height_range": (0.05, 0.25), "step_width": 0.3, "platform_width": 3.0, "border_width": 1.0}


@pytest.mark.parametrize(
    ("kind", "sign"), [(MeshPyramidStairsTerrainCfg, 1), (MeshInvertedPyramidStairsTerrainCfg, -1)]
)
def test_stairs(kind: Any, sign: int) -> None:
    # Between border and platform lie (8 - 2 - 3) / 2 = 1.5 m: five rings of 0.3 m, and the platform is a sixth step.
    heights = sign * tile(kind(**STAIRS), difficulty=0.5)  # 0.05 + 0.5 (0.25 - 0.05) = 0.15 m
    along = heights[:, MIDDLE]
    assert along[:10].tolist() == [0.0] * 10
    assert along[10:28:3].tolist() == pytest.approx([0.15, 0.30, 0.45, 0.60, 0.75, 0.90])
    assert along[[12, 15, 24]].tolist() == pytest.approx([0.15, 0.30, 0.75])  # the last vertex of a tread
    assert np.ptp(heights[25:56, 25:56]) == 0.0  # 3 m of platform
    np.testing.assert_array_equal(heights, heights.T)
    np.testing.assert_array_equal(heights, heights[::-1])


def test_slopes() -> None:
    up = tile(HfPyramidSlopedTerrainCfg(slope_range=(0.0, 0.4), platform_width=2.0, border_width=0.5), 0.5)
    # Slope 0.2 from x = 0.5 to x = 3, where the platform begins.
    assert up[[0, 5, 10, 20, 30, 40], MIDDLE].tolist() == pytest.approx([0, 0, 0.1, 0.3, 0.5, 0.5])
    down = tile(HfInvertedPyramidSlopedTerrainCfg(slope_range=(0.0, 0.4), platform_width=2.0, border_width=0.5), 0.5)
    np.testing.assert_array_equal(down, -up)


def test_random_heights() -> None:
    noise = {"noise_range": (0.02, 0.10), "noise_step": 0.02}
    heights = tile(HfRandomUniformTerrainCfg(border_width=0.5, **noise))
    inside = heights[6:75, 6:75]
    assert sorted(set(np.round(inside.flatten(), 4).tolist())) == [0.02, 0.04, 0.06, 0.08, 0.1]
    assert not heights[:5].any() and not heights[:, -5:].any()
    coarse = tile(HfRandomUniformTerrainCfg(downsampled_scale=0.4, **noise))
    ends = coarse[[4, 8], 4]
    assert coarse[6, 4] == pytest.approx(ends.mean(), abs=0.005)  # half-way, rounded to 5 mm


def test_a_grid_of_columns() -> None:
    cfg = MeshRandomGridTerrainCfg(grid_width=0.45, grid_height_range=(0.0, 0.2), platform_width=2.0)
    heights = tile(cfg, 0.5)
    # 17 columns of 0.45 m leave (8 - 7.65) / 2 = 0.175 m at each edge.
    assert not heights[:2].any() and not heights[:, :2].any()
    assert heights[2, 2] == heights[6, 6] != heights[7, 7]  # columns begin at 0.175 and 0.625 m
    assert np.abs(heights).max() <= 0.1 + 1e-6
    assert np.allclose(heights[30:51, 30:51], 0.1)
    assert len(np.unique(heights)) > 20


def test_obstacles() -> None:
    cfg = HfDiscreteObstaclesTerrainCfg(
        obstacle_width_range=(0.5, 1.0), obstacle_height_range=(0.0, 0.2), num_obstacles=30, platform_width=2.0
    )
    heights = tile(cfg, 0.5)
    assert sorted(set(np.round(heights.flatten(), 4).tolist())) == [-0.1, -0.05, 0.0, 0.05, 0.1]
    assert not heights[30:51, 30:51].any()
    fixed = copy.copy(cfg)
    fixed.obstacle_height_mode = "fixed"
    assert set(np.round(tile(fixed, 0.5).flatten(), 4).tolist()) == {0.0, 0.1}


def test_waves() -> None:
    heights = tile(HfWaveTerrainCfg(amplitude_range=(0.0, 0.2), num_waves=2), 0.5)
    # Wave length 4 m: sin(2π 1 m / 4 m) = 1 at vertex 10, cos = -1 at vertex 20.
    assert heights[10, 40] == pytest.approx(0.2) and heights[10, 20] == pytest.approx(0.0)
    assert heights[30, 20] == pytest.approx(-0.2) and heights[30, 40] == pytest.approx(0.0)


def test_stepping_stones() -> None:
    cfg = HfSteppingStonesTerrainCfg(
        stone_height_max=0.05, stone_width_range=(0.2, 1.0), stone_distance_range=(0.1, 0.5), platform_width=1.5
    )
    holes = {d: float((tile(cfg, d) < -5.0).mean()) for d in (0.0, 1.0)}
    assert 0.0 < holes[0.0] < 0.2 < holes[1.0]
    heights = tile(cfg)
    stones = heights[heights > -5.0]
    assert stones.max() <= 0.05 + 1e-6 and stones.min() >= -0.05 - 1e-6
    assert not heights[33:48, 33:48].any()


def test_gaps_rails_pits_and_boxes() -> None:
    moat = tile(MeshGapTerrainCfg(gap_width_range=(0.1, 0.5), platform_width=2.0))
    # The platform ends 1 m from the middle, at vertex 50; four vertices lie inside a gap of 0.5 m.
    easiest = tile(MeshGapTerrainCfg(gap_width_range=(0.1, 0.5), platform_width=2.0), 0.0)
    assert easiest[50:53, MIDDLE].tolist() == [0.0, -1.0, 0.0]
    assert moat[50:56, MIDDLE].tolist() == [0.0, -1.0, -1.0, -1.0, -1.0, 0.0]
    rail = tile(
        MeshRailsTerrainCfg(rail_thickness_range=(0.1, 0.3), rail_height_range=(0.05, 0.25), platform_width=2.0)
    )
    # Thickness 0.1 m: the inner rail's middle is 1.05 m out, the outer one's (1.05 + 4) / 2 = 2.525 m.
    raised = np.flatnonzero(rail[MIDDLE:, MIDDLE])
    assert raised.tolist() == [10, 11, 25] and rail.max() == pytest.approx(0.25)
    pit = tile(MeshPitTerrainCfg(pit_depth_range=(0.0, 0.4), platform_width=2.0, double_pit=True))
    assert pit[[40, 50, 51, 60, 61], MIDDLE].tolist() == pytest.approx([-0.4, -0.4, -0.2, -0.2, 0.0])
    box = tile(MeshBoxTerrainCfg(box_height_range=(0.0, 0.4), platform_width=2.0))
    assert box[[40, 50, 51], MIDDLE].tolist() == pytest.approx([0.4, 0.4, 0.0])


@pytest.fixture(scope="module")
def rough() -> Terrain:
    cfg = copy.deepcopy(ROUGH_TERRAINS_CFG)
    cfg.curriculum, cfg.border_width = True, 2.0
    return generate(cfg)


def test_difficulty_grows_along_x_and_kinds_change_along_y(rough: Terrain) -> None:
    names = ["pyramid_stairs"] * 4 + ["pyramid_stairs_inv"] * 4 + ["boxes"] * 4 + ["random_rough"] * 4
    names += ["hf_pyramid_slope"] * 2 + ["hf_pyramid_slope_inv"] * 2
    assert rough.names == [names] * 10
    for row in range(10):
        assert (rough.difficulties[row] >= row / 10).all() and (rough.difficulties[row] < (row + 1) / 10).all()
    # Tiles are 8 m; the middle of the first is 36 m (of 5 × 8) and 76 m (of 10 × 8) from the middle of all.
    assert rough.origins[0, 0, :2].tolist() == [-36.0, -76.0] and rough.origins[9, 19, :2].tolist() == [36.0, 76.0]
    assert rough.heights.shape == (841, 1641) and rough.corner == (-42.0, -82.0)
    # Six risers of 0.05 + d (0.23 - 0.05) m, rounded to 5 mm.
    height = 6 * (0.05 + 0.18 * rough.difficulties[:, 0])
    assert rough.origins[:, 0, 2].tolist() == pytest.approx(height.tolist(), abs=0.0026)
    np.testing.assert_allclose(rough.origins[:, 4, 2], -6 * (0.05 + 0.18 * rough.difficulties[:, 4]), atol=0.0026)


def test_the_same_seed_gives_the_same_terrain() -> None:
    cfg = generator(HfRandomUniformTerrainCfg(noise_range=(0.0, 0.1), noise_step=0.01), num_rows=2)
    first, again = generate(cfg), generate(cfg)
    np.testing.assert_array_equal(first.heights, again.heights)
    cfg.seed = 7
    assert (generate(cfg).heights != first.heights).any()


def test_without_curriculum_kinds_and_difficulties_are_drawn() -> None:
    plain, stairs = MeshPlaneTerrainCfg(proportion=1.0), MeshPyramidStairsTerrainCfg(proportion=3.0, **STAIRS)
    cfg = generator(plain, num_rows=12, num_cols=12, sub_terrains={"plain": plain, "stairs": stairs})
    made = generate(cfg)
    share = np.mean([name == "stairs" for row in made.names for name in row])
    assert 0.65 < share < 0.85  # 0.75 ± 2.8 standard deviations of 144 draws
    assert abs(made.difficulties[0].mean() - made.difficulties[-1].mean()) < 0.35


def test_flat_patches_are_level_and_where_they_may_be() -> None:
    sub = MeshPyramidStairsTerrainCfg(**STAIRS)
    sub.flat_patch_sampling = {
        "init_pos": FlatPatchSamplingCfg(num_patches=50, patch_radius=0.4, max_height_diff=0.01, z_range=(0.05, 9.0)),
        "border": FlatPatchSamplingCfg(
            num_patches=9, patch_radius=[0.1, 0.3], max_height_diff=0.0, z_range=(-1.0, 0.0)
        ),
    }
    made = generate(generator(sub, difficulty_range=(1.0, 1.0)))
    patches = made.flat_patches["init_pos"][0, 0]
    # Only the platform is level over 0.8 m and higher than the border: within 1.5 - 0.4 m of the middle, at 6 × 0.25 m.
    assert patches.shape == (50, 3) and np.abs(patches[:, :2]).max() <= 1.1 + 1e-5
    assert np.abs(patches[:, :2]).max() > 0.8 and np.allclose(patches[:, 2], 1.5)
    border = made.flat_patches["border"][0, 0]
    assert (np.abs(border[:, :2]).max(axis=1) >= 3.3 - 1e-5).all() and not border[:, 2].any()


def test_heights_between_vertices_lie_on_triangles() -> None:
    grid = HeightGrid(torch.tensor([[0.0, 2.0], [1.0, 5.0]]), corner=(10.0, 20.0), scale=0.5)
    x = torch.tensor([10.0, 10.5, 10.0, 10.5, 10.25, 10.4, 10.1, 9.0, 99.0])
    y = torch.tensor([20.0, 20.0, 20.5, 20.5, 20.25, 20.1, 20.4, 20.25, 99.0])
    # Vertices; the cut from (0, 0) to (1, 1); 0.8 · 1 + 0.2 · 4 below it; 0.8 · 2 + 0.2 · 3 above; beyond: the edge.
    expected = [0.0, 1.0, 2.0, 5.0, 2.5, 1.6, 2.2, 1.0, 5.0]
    assert grid.height_at(x, y).tolist() == pytest.approx(expected, abs=1e-5)
    lost = grid.height_at(torch.tensor([torch.nan, 10.0]), torch.tensor([20.0, 20.0]))
    assert lost[0].isnan() and lost[1] == 0.0


BAD = [
    ({"num_rows": 0}, "num_rows is 0; it must be a whole number of 1 or more"),
    ({"size": (8.05, 8.0)}, "size is (8.05, 8.0); it must be a multiple of horizontal_scale, 0.1 m"),
    ({"horizontal_scale": 0.0}, "horizontal_scale is 0.0; it must be positive"),
    ({"sub_terrains": {}}, "sub_terrains is empty"),
    (
        {"difficulty_range": (0.5, 0.1)},
        "difficulty_range is (0.5, 0.1); it must be (low, high) with 0 <= low <= high <= 1",
    ),
    ({"sub_terrains": {"a": MeshPlaneTerrainCfg(proportion=0.0)}}, "all proportions are 0"),
    ({"sub_terrains": {"a": MeshPlaneTerrainCfg(proportion=-1.0)}}, "'a': proportion is -1.0; it must not be negative"),
    ({"sub_terrains": {"a": 3}}, "'a' is a int; it must be a sub-terrain configuration"),
    ({"sub_terrains": {"a": MeshPyramidStairsTerrainCfg(step_width=0.3)}}, "'a': step_height_range is not set"),
    (
        {"sub_terrains": {"a": MeshPyramidStairsTerrainCfg(step_width=0.3, step_height_range=(0.2, 0.1))}},
        "'a': step_height_range is (0.2, 0.1); it must be (low, high) with 0 <= low <= high",
    ),
    ({"sub_terrains": {"a": MeshBoxTerrainCfg(box_height_range=(0, 1), platform_width=9.0)}}, "must be 0 to 8 m"),
]


@pytest.mark.parametrize(("fields", "message"), BAD)
def test_bad_terrain_is_refused_by_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        generate(generator(MeshPlaneTerrainCfg(), **fields))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_tile_without_a_level_place_is_refused() -> None:
    sub = HfPyramidSlopedTerrainCfg(slope_range=(0.4, 0.4), platform_width=0.0)
    sub.flat_patch_sampling = {"init_pos": FlatPatchSamplingCfg(num_patches=1, patch_radius=0.5, max_height_diff=0.05)}
    with pytest.raises(
        ConfigError, match="sub-terrain 'tile' .*: no place is level within 0.05 m over a radius of 0.5"
    ):
        generate(generator(sub))
