"""What contact with terrain costs on the CPU engine: a plane, one height field, boxes.

    python benchmarks/cpu/terrain.py

Standing Go2s with ``Velocity-Rough-Go2``'s physics settings and colliders, one thread, four physics steps a control
step; every 60 control steps they are put back. Processor time, so that other work on the cores counts little. Boxes are
those of a map of 16 stairs tiles (each a stack of slabs), and for rubble of a single tile, since a whole map of 10 cm
columns would be a million of them.
"""

import argparse
import itertools
import time
from typing import Any

import mujoco
import numpy as np
import torch

from palestra.config import load_env_cfg
from palestra.scene import InteractiveScene
from palestra.terrains import (
    HeightGrid,
    HfRandomUniformTerrainCfg,
    MeshPyramidStairsTerrainCfg,
    TerrainGeneratorCfg,
    TerrainImporter,
)

EDGE, STEP, TREAD, BORDER = 8.0, 0.06, 0.3, 0.5
TILES = {
    "rubble": HfRandomUniformTerrainCfg(noise_range=(0.0, 0.02), noise_step=0.005, downsampled_scale=0.1),
    "stairs": MeshPyramidStairsTerrainCfg(
        step_height_range=(STEP, STEP), step_width=TREAD, platform_width=1.0, border_width=BORDER
    ),
}
BOTTOM = -0.5


def slabs(spec: mujoco.MjSpec, terrain: TerrainImporter) -> None:
    """Stairs as boxes."""
    made = terrain.terrain
    assert made is not None
    steps = round(float(made.origins[0, 0, 2]) / STEP)
    for tile, (x, y, _) in enumerate(made.origins.reshape(-1, 3).tolist()):
        for k in range(steps + 1):
            half = EDGE / 2 if k == 0 else EDGE / 2 - BORDER - TREAD * (k - 1)
            box(spec, f"terrain/{tile}_{k}", (x - half, x + half), (y - half, y + half), STEP * k)


def columns(spec: mujoco.MjSpec, terrain: TerrainImporter) -> None:
    """Rubble of the first tile as boxes of 10 cm."""
    made = terrain.terrain
    assert made is not None
    grid = HeightGrid(torch.from_numpy(made.heights), made.corner, made.scale)
    corner = made.origins[0, 0, :2] - EDGE / 2
    for i, j in itertools.product(range(round(EDGE / 0.1)), repeat=2):
        x, y = float(corner[0]) + 0.1 * i, float(corner[1]) + 0.1 * j
        height = float(grid.height_at(torch.tensor(x + 0.05), torch.tensor(y + 0.05)))
        box(spec, f"terrain/{i}_{j}", (x, x + 0.1), (y, y + 0.1), height)


def box(
    spec: mujoco.MjSpec, name: str, x: tuple[float, float], y: tuple[float, float], top: float, bottom: float = BOTTOM
) -> None:
    """Add a box between these limits."""
    sides = (x, y, (bottom, top))
    spec.worldbody.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[0.5 * (high + low) for low, high in sides],
        size=[0.5 * (high - low) for low, high in sides],
    )


def measure(tile: str, kind: str, scale: float, num_envs: int, seconds: float, all_geoms: bool = False) -> str:
    """Return one row of the table."""
    cfg: Any = load_env_cfg("Velocity-Rough-Go2")
    scene_cfg = cfg.scene
    scene_cfg.num_envs, cfg.sim.threads = num_envs, 1
    scene_cfg.feet = scene_cfg.trunk = scene_cfg.height_scanner = None
    scene_cfg.terrain.terrain_generator = TerrainGeneratorCfg(
        size=(EDGE, EDGE),
        num_rows=4,
        num_cols=4,
        border_width=5.0,
        horizontal_scale=scale,
        sub_terrains={"tile": TILES[tile]},
    )
    if all_geoms:
        scene_cfg.terrain.colliders = None
    scene = InteractiveScene(scene_cfg, cfg.sim)
    terrain = scene.terrain
    assert terrain is not None
    if kind != "height field":
        build = {"boxes": slabs if tile == "stairs" else columns, "plane": plane}[kind]
        terrain.place = lambda spec: build(spec, terrain)  # type: ignore[method-assign]
    scene.build()
    used = starts(scene, num_envs, 1 if (tile, kind) == ("rubble", "boxes") else 16)
    if kind == "plane":
        used[:, 2] = 0.42
    contacts, steps, spent = [], 0, 0.0
    while spent < seconds:
        if steps % 60 == 0:
            put(scene, used)
            contacts += [scene.engine.host_data(i).ncon for i in range(0, num_envs, 4)]
        begin = time.process_time()
        scene.engine.step(4)
        spent += time.process_time() - begin
        steps += 1
    rate = steps * num_envs / spent
    what = f"{kind}, {scale * 100:.0f} cm" if kind == "height field" else kind
    what += ", all shapes of the robot" if all_geoms else ""
    return f"| {tile} | {what} | {scene.engine.model.ngeom} | {np.mean(contacts):.1f} | {rate:,.0f} |"


def plane(spec: mujoco.MjSpec, terrain: TerrainImporter) -> None:
    """Level ground."""
    spec.worldbody.add_geom(name="terrain/plane", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1])


def starts(scene: InteractiveScene, num_envs: int, num_tiles: int) -> torch.Tensor:
    """States that stand at random places of the tiles."""
    terrain, rng = scene.terrain, np.random.default_rng(0)
    assert terrain is not None and terrain.terrain_origins is not None
    state = scene.articulations["robot"].data.default_root_state.clone()
    origin = terrain.terrain_origins.view(-1, 3)[torch.arange(num_envs) % num_tiles]
    state[:, :2] = origin[:, :2] + torch.from_numpy(rng.uniform(-2.8, 2.8, (num_envs, 2))).float()
    state[:, 2] = terrain.height_at(state[:, 0], state[:, 1]) + 0.42
    yaw = torch.from_numpy(rng.uniform(-np.pi, np.pi, num_envs)).float()
    state[:, 3], state[:, 6] = torch.cos(yaw / 2), torch.sin(yaw / 2)
    return state


def put(scene: InteractiveScene, state: torch.Tensor) -> None:
    """Put the robots there, and let them land."""
    robot = scene.articulations["robot"]
    scene.reset(torch.ones(scene.num_envs, dtype=torch.bool), lambda low, high, shape: torch.zeros(1))
    robot.write_root_state_to_sim(state)
    scene.write_data_to_sim()
    for _ in range(20):
        scene.engine.step(4)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_envs", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=1.5, help="processor time of a row")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| ground | as | geoms of the model | contacts of a robot | control steps/s |\n| --- | --- | --- | --- | --- |"
    )
    for tile, kind, scale, all_geoms in (
        ("rubble", "plane", 0.1, False),
        ("rubble", "height field", 0.1, False),
        ("rubble", "height field", 0.05, False),
        ("rubble", "boxes", 0.1, False),
        ("stairs", "height field", 0.1, False),
        ("stairs", "height field", 0.05, False),
        ("stairs", "height field", 0.05, True),
        ("stairs", "boxes", 0.1, False),
    ):
        print(measure(tile, kind, scale, args.num_envs, args.seconds, all_geoms), flush=True)


if __name__ == "__main__":
    main()
