"""Contact sensors: weights, pairs, subtrees and geoms, histories, air and contact times."""

import pytest
import torch
from scenes import World, robot_cfg

from palestra.assets import AssetBaseCfg, RigidObjectCfg
from palestra.errors import ConfigError
from palestra.sensors import ContactSensorCfg
from palestra.sim import CuboidCfg, GroundPlaneCfg

STACK = """
<mujoco><worldbody>
  <body name="trunk" pos="0 0 0.3"><freejoint/>
    <geom name="plate" type="box" size="0.2 0.2 0.02" mass="4"/>
    <body name="left" pos="0.15 0 0"><geom name="left_shin" type="capsule" fromto="0 0 -0.05 0 0 -0.2" size="0.02" mass="0.5"/>
      <geom name="left_foot" type="sphere" pos="0 0 -0.25" size="0.05" mass="0.5"/></body>
    <body name="right" pos="-0.15 0.1 0"><geom name="right_foot" type="sphere" pos="0 0 -0.25" size="0.05" mass="1"/></body>
    <body name="back" pos="-0.15 -0.1 0"><geom name="back_foot" type="sphere" pos="0 0 -0.25" size="0.05" mass="1"/></body>
  </body>
</worldbody></mujoco>
"""
"""A table on three feet, 7 kg in all."""


def box(mass: float, height: float, x: float = 0.0, size: float = 0.2) -> RigidObjectCfg:
    return RigidObjectCfg(
        spawn=CuboidCfg(size=(size, size, size), mass=mass),
        init_state=RigidObjectCfg.InitialStateCfg(pos=(x, 0.0, height)),
    )


@pytest.fixture(scope="module")
def world() -> World:
    return World(
        2,
        ground=AssetBaseCfg(spawn=GroundPlaneCfg()),
        bottom=box(2.0, 0.1),
        top=box(1.0, 0.3),
        robot=robot_cfg(STACK, actuators={}, pos=(2.0, 0.0, 0.3)),
        on_bottom=ContactSensorCfg(prim_path="bottom/body", history_length=3, track_air_time=True),
        on_top=ContactSensorCfg(prim_path="top/body"),
        between=ContactSensorCfg(prim_path="bottom/body", filter_prim_paths_expr=["top/.*", "robot/trunk"]),
        floor=ContactSensorCfg(prim_path="bottom/body", filter_prim_paths_expr=["ground", "top/body"]),
        table=ContactSensorCfg(prim_path="{ENV_REGEX_NS}/Robot/trunk", match="subtrees"),
        feet=ContactSensorCfg(prim_path="/World/envs/env_.*/Robot/.*_foot", match="geoms"),
        bodies=ContactSensorCfg(prim_path="robot/.*"),
    )


@pytest.fixture
def settled(world: World) -> World:
    world.reset()
    world.run(200, decimation=2)
    return world


def force(world: World, sensor: str) -> torch.Tensor:
    return world.scene.sensors[sensor].data.net_forces_w


def test_a_resting_box_feels_the_weight_that_it_carries(settled: World) -> None:
    g = 9.81
    # The ground pushes 3 g up, the upper box 1 g down.
    assert force(settled, "on_bottom")[1, 0].tolist() == pytest.approx([0, 0, 2 * g], abs=0.02)
    assert force(settled, "on_top")[0, 0].tolist() == pytest.approx([0, 0, 1 * g], abs=0.02)


def test_pairs_count_only_the_filtered_elements(settled: World) -> None:
    data = settled.scene.sensors["between"].data
    assert data.force_matrix_w.shape == (2, 1, 2, 3)
    assert data.force_matrix_w[0, 0].tolist() == [
        pytest.approx([0, 0, -9.81], abs=0.02),
        [0.0, 0.0, 0.0],
    ]
    assert torch.allclose(data.net_forces_w, data.force_matrix_w.sum(dim=2))


def test_the_ground_may_be_a_filtered_element(settled: World) -> None:
    forces = settled.scene.sensors["floor"].data.force_matrix_w
    assert forces is not None
    assert forces[1, 0].tolist() == [
        pytest.approx([0, 0, 3 * 9.81], abs=0.02),
        pytest.approx([0, 0, -9.81], abs=0.02),
    ]


def test_subtrees_geoms_and_bodies(settled: World) -> None:
    weight = 7 * 9.81
    assert force(settled, "table")[0, 0, 2].item() == pytest.approx(weight, rel=2e-3)
    feet = settled.scene.sensors["feet"]
    assert feet.body_names == ["left_foot", "right_foot", "back_foot"]
    assert feet.data.net_forces_w[0, :, 2].sum().item() == pytest.approx(weight, rel=2e-3)
    assert (feet.data.net_forces_w[0, :, 2] > 5.0).all()
    bodies = settled.scene.sensors["bodies"]
    assert bodies.body_names == ["trunk", "left", "right", "back"]
    assert bodies.data.net_forces_w[0, 0].abs().max() == 0.0  # the trunk itself touches nothing
    assert torch.allclose(bodies.data.net_forces_w[:, 1:], feet.data.net_forces_w, atol=1e-5)
    assert feet.find_bodies("right.*") == ([1], ["right_foot"])


def test_history_is_newest_first(settled: World) -> None:
    data = settled.scene.sensors["on_bottom"].data
    seen = []
    for _ in range(4):
        state = settled.scene["top"].data.root_state_w.clone()
        state[:, 2] += 0.001 * (len(seen) + 1)
        settled.scene["top"].write_root_state_to_sim(state)
        settled.run(1)
        seen.append(data.net_forces_w.clone())
    assert data.net_forces_w_history.shape == (2, 3, 1, 3)
    for age in range(3):
        assert torch.equal(data.net_forces_w_history[:, age], seen[-1 - age])
    assert not torch.equal(seen[-1], seen[-2])


def test_air_and_contact_times_count_control_steps() -> None:
    world = World(
        2,
        ground=AssetBaseCfg(spawn=GroundPlaneCfg()),
        box=box(1.0, 0.1),
        sensor=ContactSensorCfg(prim_path="box/body", track_air_time=True),
    )
    sensor, cube = world.scene.sensors["sensor"], world.scene["box"]
    data, dt = sensor.data, 2 * world.sim.dt
    world.run(10, decimation=2)
    contact_steps = round(data.current_contact_time[0, 0].item() / dt)
    assert 8 <= contact_steps <= 10
    assert data.current_air_time.abs().max() == 0.0

    # Lift the first environment's box for 30 ms flights; the other stays.
    lifted = cube.data.default_root_state.clone()
    lifted[:, 2] = 2.0
    cube.write_root_state_to_sim(lifted, world.mask(0))
    world.engine.refresh()
    world.run(3, decimation=2)
    assert data.current_air_time[:, 0].tolist() == pytest.approx([3 * dt, 0.0])
    assert data.current_contact_time[0, 0] == 0.0
    assert data.last_contact_time[0, 0].item() == pytest.approx((contact_steps + 1) * dt, abs=1e-6)
    assert sensor.compute_first_air(3 * dt)[:, 0].tolist() == [True, False]
    assert sensor.compute_first_air(2 * dt)[:, 0].tolist() == [False, False]

    lifted[:, 2] = 0.1
    cube.write_root_state_to_sim(lifted, world.mask(0))
    world.engine.refresh()
    steps = 0
    while data.current_contact_time[0, 0] == 0.0:
        world.run(1, decimation=2)
        steps += 1
        assert steps < 10
    assert sensor.compute_first_contact(dt)[:, 0].tolist() == [True, False]
    # A flight lasts until the end of the step in which the box lands.
    assert data.last_air_time[0, 0].item() == pytest.approx((3 + steps) * dt, abs=1e-6)
    assert data.current_air_time[0, 0] == 0.0
    world.run(1, decimation=2)
    assert sensor.compute_first_contact(dt)[:, 0].tolist() == [False, False]


def test_a_masked_reset_forgets_forces_and_times(settled: World) -> None:
    data = settled.scene.sensors["on_bottom"].data
    kept = data.current_contact_time[0].clone()
    settled.reset(1)
    for tensor in (data.net_forces_w, data.net_forces_w_history, data.current_contact_time, data.last_air_time):
        assert tensor[1].abs().max() == 0.0
    assert torch.equal(data.current_contact_time[0], kept)
    assert kept.item() > 1.0
    assert settled.scene.sensors["between"].data.force_matrix_w[1].abs().max() == 0.0


def test_the_threshold_decides_what_counts_as_contact() -> None:
    world = World(
        1,
        ground=AssetBaseCfg(spawn=GroundPlaneCfg()),
        box=box(1.0, 0.1),
        low=ContactSensorCfg(prim_path="box/body", track_air_time=True, force_threshold=9.0),
        high=ContactSensorCfg(prim_path="box/body", track_air_time=True, force_threshold=11.0),
    )
    world.run(100)
    times = {n: s.data.current_contact_time.item() for n, s in world.scene.sensors.items()}
    assert times["low"] > 0.2
    assert times["high"] == 0.0


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "robt/trunk",
            "sensor 'sensor': no asset 'robt' in 'robt/trunk'; did you mean 'robot'? known: 'robot', 'other'",
        ),
        ("robot/trnk", "sensor 'sensor', bodies of 'robot': no match for 'trnk'; did you mean 'trunk'"),
        (
            "{ENV_REGEX_NS}/Table/trunk",
            "sensor 'sensor': 'Table' in '{ENV_REGEX_NS}/Table/trunk' may be 'robot' or 'other'; "
            "write the asset's name in the scene, e.g. 'robot/trunk'",
        ),
    ],
)
def test_bad_paths(path: str, message: str) -> None:
    robots = {"robot": robot_cfg(STACK, actuators={}), "other": robot_cfg(STACK, actuators={}, pos=(3, 0, 0))}
    for cfg in robots.values():
        cfg.prim_path = "{ENV_REGEX_NS}/Table"
    with pytest.raises(ConfigError) as error:
        World(1, **robots, sensor=ContactSensorCfg(prim_path=path))
    assert str(error.value).startswith(message)


def test_other_periods_are_refused() -> None:
    with pytest.raises(ConfigError, match="update_period must be 0"):
        World(1, box=box(1.0, 0.1), sensor=ContactSensorCfg(prim_path="box/body", update_period=0.1))
