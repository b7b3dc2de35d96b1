"""Rigid objects: default state, writers, data, fixed objects."""

import math

import pytest
import torch
from scenes import World

from palestra.assets import AssetBaseCfg, RigidObjectCfg
from palestra.errors import ConfigError
from palestra.sim import CapsuleCfg, CuboidCfg, CylinderCfg, GroundPlaneCfg, SphereCfg


@pytest.fixture(scope="module")
def world() -> World:
    cube = RigidObjectCfg(
        spawn=CuboidCfg(size=(0.2, 0.2, 0.2), mass=3.0),
        init_state=RigidObjectCfg.InitialStateCfg(
            pos=(0.5, 0.0, 1.0), lin_vel=(1.0, 0.0, 0.0), ang_vel=(0.0, 0.0, 2.0)
        ),
    )
    shelf = RigidObjectCfg(
        spawn=CuboidCfg(size=(0.4, 0.4, 0.1), fixed=True),
        init_state=RigidObjectCfg.InitialStateCfg(pos=(3.0, 0.0, 0.5), rot=(math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5))),
    )
    ground = AssetBaseCfg(spawn=GroundPlaneCfg())
    return World(2, ground=ground, cube=cube, shelf=shelf)


def test_default_state(world: World) -> None:
    world.reset()
    cube = world.scene["cube"]
    expected = [0.5, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 2]
    assert cube.data.root_state_w[1].tolist() == pytest.approx(expected, abs=1e-6)
    assert cube.body_names == ["body"]
    assert cube.find_bodies(".*") == ([0], ["body"])
    assert not cube.is_fixed_base
    assert world.engine.model.body("cube/body").mass[0] == 3.0


def test_a_masked_reset_and_free_flight(world: World) -> None:
    world.reset()
    cube = world.scene["cube"]
    world.run(20)
    t = 20 * world.sim.dt
    # Semi-implicit Euler: the fall is that of t and one more step.
    fall = 0.5 * 9.81 * t * (t + world.sim.dt)
    assert cube.data.root_pos_w[0].tolist() == pytest.approx([0.5 + t, 0.0, 1.0 - fall], abs=1e-5)
    assert cube.data.heading_w[0].item() == pytest.approx(2 * t, abs=1e-4)
    world.reset(1)
    assert cube.data.root_pos_w[:, 2].tolist() == pytest.approx([1.0 - fall, 1.0], abs=1e-5)


def test_writers(world: World) -> None:
    world.reset()
    cube = world.scene["cube"]
    pose = torch.tensor([[0.0, 1, 2, 0, 1, 0, 0]]).repeat(2, 1)
    cube.write_root_pose_to_sim(pose, world.mask(1))
    assert cube.data.root_pos_w[:, 1].tolist() == [0.0, 1.0]
    assert cube.data.projected_gravity_b[1].tolist() == pytest.approx([0, 0, 1], abs=1e-6)


def test_a_fixed_object_stands_where_it_was_placed(world: World) -> None:
    shelf = world.scene["shelf"]
    world.run(5)
    assert shelf.is_fixed_base
    assert shelf.data.root_pos_w[1].tolist() == pytest.approx([3.0, 0.0, 0.5])
    assert shelf.data.heading_w[0].item() == pytest.approx(math.pi / 2)
    assert shelf.data.root_lin_vel_w.abs().max() == 0.0
    with pytest.raises(ConfigError, match="'shelf' has a fixed base"):
        shelf.write_root_velocity_to_sim(torch.zeros(2, 6))


@pytest.mark.parametrize(
    ("spawner", "volume"),
    [
        (CuboidCfg(size=(0.1, 0.2, 0.3)), 0.006),
        (SphereCfg(radius=0.1), 4 / 3 * math.pi * 1e-3),
        (CylinderCfg(radius=0.1, height=0.3), math.pi * 0.01 * 0.3),
        (CapsuleCfg(radius=0.1, height=0.3), math.pi * 0.01 * 0.3 + 4 / 3 * math.pi * 1e-3),
    ],
)
def test_shapes_have_the_size_that_was_asked_for(spawner, volume: float) -> None:
    model = World(1, thing=RigidObjectCfg(spawn=spawner)).engine.model
    assert model.body("thing/body").mass[0] == pytest.approx(1000.0 * volume, rel=1e-6)
