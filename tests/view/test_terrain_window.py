"""The part of the terrain that pictures show."""

from typing import Any

import mujoco
import numpy as np
import pytest
import torch

from palestra.robots.unitree_go2 import UNITREE_GO2_CFG
from palestra.scene import InteractiveScene, InteractiveSceneCfg
from palestra.sim import SimulationCfg
from palestra.terrains import HfRandomUniformTerrainCfg, TerrainGeneratorCfg, TerrainImporterCfg
from palestra.utils import configclass
from palestra.view.visual_model import terrain_window, visual_model


@configclass
class SceneCfg(InteractiveSceneCfg):
    terrain = TerrainImporterCfg(
        terrain_type="generator",
        terrain_generator=TerrainGeneratorCfg(
            size=(8.0, 8.0),
            num_rows=3,
            num_cols=4,
            border_width=2.0,
            sub_terrains={"rubble": HfRandomUniformTerrainCfg(noise_range=(-0.1, 0.1), noise_step=0.01)},
        ),
    )
    robot = UNITREE_GO2_CFG


@pytest.fixture(scope="module")
def shown() -> tuple[Any, mujoco.MjModel, Any]:
    scene = InteractiveScene(SceneCfg(num_envs=1), SimulationCfg(threads=1))
    scene.build()
    model = visual_model(scene)
    return scene, model, terrain_window(scene, model)


def ground(model: mujoco.MjModel, x: float, y: float) -> float:
    """Height of the shown ground, by a ray past the robot."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    group, geom = np.array([1, 0, 0, 0, 0, 0], dtype=np.uint8), np.zeros(1, dtype=np.int32)
    return 5.0 - mujoco.mj_ray(model, data, np.array([x, y, 5.0]), np.array([0.0, 0.0, -1.0]), group, 1, -1, geom, None)


@pytest.mark.parametrize("center", [(0.0, 0.0), (3.7, -9.4), (-13.9, 17.9)])  # the last at a corner of the map
def test_it_is_the_ground_around_the_target(
    shown: tuple[Any, mujoco.MjModel, Any], center: tuple[float, float]
) -> None:
    scene, model, window = shown
    window.follow(np.array([*center, 0.3]))
    rng = np.random.default_rng(0)
    for offset in rng.uniform(-3.0, 3.0, (20, 2)):
        x, y = np.clip(np.array(center) + offset, (-13.9, -17.9), (13.9, 17.9))
        expected = float(scene.terrain.height_at(torch.tensor(x), torch.tensor(y)))
        assert ground(model, x, y) == pytest.approx(expected, abs=1e-4)


def test_it_moves_only_when_it_must(shown: tuple[Any, mujoco.MjModel, Any]) -> None:
    _, model, window = shown
    window.follow(np.array([0.0, 0.0, 0.0]))
    assert not window.follow(np.array([2.9, -2.9, 0.0]))
    assert window.follow(np.array([3.1, 0.0, 0.0]))
    assert not window.follow(np.array([3.1, 0.0, 0.0]))
    assert model.hfield_nrow[0] == model.hfield_ncol[0] == 141  # 14 m of the map's 28 m × 36 m


def test_a_plane_has_no_window() -> None:
    scene = InteractiveScene(SceneCfg(num_envs=1, terrain=TerrainImporterCfg()), SimulationCfg(threads=1))
    scene.build()
    assert terrain_window(scene, visual_model(scene)) is None
