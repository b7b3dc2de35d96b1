"""IMU and frame transformer, against MuJoCo and by hand."""

import math

import numpy as np
import pytest
import torch
from scenes import FLOATING, World, host_copy, robot_cfg

from palestra.assets import AssetBaseCfg, RigidObjectCfg
from palestra.errors import ConfigError
from palestra.sensors import FrameTransformerCfg, ImuCfg, OffsetCfg
from palestra.sim import CuboidCfg, GroundPlaneCfg
from palestra.utils.math import quat_from_euler_xyz

TILT = (math.cos(math.pi / 4), math.sin(math.pi / 4), 0.0, 0.0)
"""A quarter turn about x."""


@pytest.fixture(scope="module")
def world() -> World:
    cube = RigidObjectCfg(
        spawn=CuboidCfg(size=(0.2, 0.2, 0.2), mass=1.0), init_state=RigidObjectCfg.InitialStateCfg(pos=(0, 0, 0.1))
    )
    return World(
        2,
        ground=AssetBaseCfg(spawn=GroundPlaneCfg()),
        cube=cube,
        imu=ImuCfg(prim_path="cube/body"),
        side=ImuCfg(prim_path="cube/body", offset=OffsetCfg(pos=(0.5, 0.0, 0.0), rot=TILT)),
    )


def test_an_imu_at_rest_feels_gravity_upwards(world: World) -> None:
    world.reset()
    world.run(200)
    imu, side = world.scene["imu"].data, world.scene["side"].data
    assert imu.lin_acc_b[0].tolist() == pytest.approx([0, 0, 9.81], abs=1e-3)
    assert imu.ang_vel_b.abs().max() < 1e-3
    assert imu.projected_gravity_b[1].tolist() == pytest.approx([0, 0, -1], abs=1e-4)
    # Turned by a quarter about x, its y axis points up.
    assert side.lin_acc_b[0].tolist() == pytest.approx([0, 9.81, 0], abs=1e-3)
    assert side.projected_gravity_b[0].tolist() == pytest.approx([0, -1, 0], abs=1e-4)
    assert side.quat_w[0].tolist() == pytest.approx(TILT, abs=1e-4)
    assert side.pos_w[0].tolist() == pytest.approx([0.5, 0.0, 0.1], abs=1e-3)


def test_a_spinning_imu_off_the_axis_feels_the_centripetal_acceleration(world: World) -> None:
    world.reset()
    spin = 4.0
    state = world.scene["cube"].data.default_root_state.clone()
    state[:, 2], state[:, 12] = 5.0, spin
    world.scene["cube"].write_root_state_to_sim(state)
    world.engine.refresh()
    world.run(3)
    imu, side = world.scene["imu"].data, world.scene["side"].data
    assert imu.ang_vel_b[0].tolist() == pytest.approx([0, 0, spin], abs=1e-4)
    assert imu.lin_acc_b[0].tolist() == pytest.approx([0, 0, 0], abs=1e-3)  # free fall
    assert side.ang_vel_b[0].tolist() == pytest.approx([0, spin, 0], abs=1e-4)
    assert side.lin_acc_b[0].tolist() == pytest.approx([-(spin**2) * 0.5, 0, 0], abs=1e-2)
    fall = 3 * world.sim.dt * 9.81
    assert imu.lin_vel_b[0].tolist() == pytest.approx([0, 0, -fall], abs=1e-4)
    assert side.lin_vel_b[0].norm().item() == pytest.approx(math.hypot(fall, spin * 0.5), rel=1e-3)


def test_angular_acceleration_is_the_mean_over_the_step_and_zero_after_a_reset(world: World) -> None:
    world.reset()
    state = world.scene["cube"].data.default_root_state.clone()
    state[:, 2] = 5.0
    world.scene["cube"].write_root_state_to_sim(state)
    world.engine.refresh()
    torque = torch.zeros(2, world.engine.model.nbody, 6)
    torque[0, world.engine.model.body("cube/body").id, 5] = 0.01
    world.engine.write("xfrc_applied", torque)
    world.run(1, decimation=4)
    inertia = 1.0 * 0.2**2 / 6
    data = world.scene["imu"].data
    assert data.ang_acc_b[:, 2].tolist() == pytest.approx([0.01 / inertia, 0.0], rel=1e-3)
    world.engine.write("xfrc_applied", torch.zeros_like(torque))
    world.reset(0)
    assert data.ang_acc_b[0].abs().max() == 0.0
    assert data.lin_acc_b[0].abs().max() == 0.0  # nothing of the old episode


def test_an_imu_sits_on_one_body() -> None:
    with pytest.raises(ConfigError, match=r"an IMU sits on one body; '.\*er' matches upper, lower"):
        World(1, robot=robot_cfg(FLOATING), imu=ImuCfg(prim_path="robot/.*er"))


@pytest.fixture(scope="module")
def frames() -> World:
    turn = OffsetCfg(pos=(0.1, 0.0, 0.2), rot=tuple(quat_from_euler_xyz(*torch.tensor([0.3, -0.2, 0.9])).tolist()))
    return World(
        2,
        robot=robot_cfg(FLOATING),
        frames=FrameTransformerCfg(
            prim_path="{ENV_REGEX_NS}/Robot/upper",
            source_frame_offset=OffsetCfg(pos=(0.0, 0.05, 0.0), rot=TILT),
            target_frames=[
                FrameTransformerCfg.FrameCfg(prim_path="robot/rod", name="tip", offset=turn),
                FrameTransformerCfg.FrameCfg(prim_path="robot/(base|lower)"),
            ],
        ),
    )


def rotation(quat) -> np.ndarray:
    w, x, y, z = np.asarray(quat, dtype=float)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def test_frames_equal_those_of_mujoco(frames: World) -> None:
    frames.reset()
    generator = torch.Generator().manual_seed(0)
    quat = torch.nn.functional.normalize(torch.randn(2, 4, generator=generator), dim=-1)
    frames.robot.write_root_pose_to_sim(torch.cat((torch.randn(2, 3, generator=generator), quat), dim=-1))
    frames.robot.write_joint_state_to_sim(0.5 * torch.randn(2, 3, generator=generator), torch.randn(2, 3))
    frames.engine.refresh()
    sensor = frames.scene["frames"]
    data = sensor.data
    assert data.target_frame_names == ["tip", "base", "lower"]
    offsets = {"tip": sensor.cfg.target_frames[0].offset, "base": OffsetCfg(), "lower": OffsetCfg()}
    for env in range(2):
        model, host = host_copy(frames, env)

        def pose(body: str, offset: OffsetCfg, model=model, host=host) -> tuple[np.ndarray, np.ndarray]:
            i = model.body(f"robot/{body}").id
            R = host.xmat[i].reshape(3, 3)
            return host.xpos[i] + R @ np.array(offset.pos), R @ rotation(offset.rot)

        source_pos, source_R = pose("upper", sensor.cfg.source_frame_offset)
        np.testing.assert_allclose(data.source_pos_w[env], source_pos, atol=1e-5)
        np.testing.assert_allclose(rotation(data.source_quat_w[env]), source_R, atol=1e-5)
        for k, (name, body) in enumerate((("tip", "rod"), ("base", "base"), ("lower", "lower"))):
            pos, R = pose(body, offsets[name])
            np.testing.assert_allclose(data.target_pos_w[env, k], pos, atol=1e-5)
            np.testing.assert_allclose(rotation(data.target_quat_w[env, k]), R, atol=1e-5)
            np.testing.assert_allclose(data.target_pos_source[env, k], source_R.T @ (pos - source_pos), atol=1e-5)
            np.testing.assert_allclose(rotation(data.target_quat_source[env, k]), source_R.T @ R, atol=1e-5)


def test_the_source_is_one_body() -> None:
    cfg = FrameTransformerCfg(prim_path="robot/.*er", target_frames=[])
    with pytest.raises(ConfigError, match="the source is one body; prim_path matches robot/upper, robot/lower"):
        World(1, robot=robot_cfg(FLOATING), frames=cfg)
