"""Articulations: names, limits, defaults, masked writers, targets, and what the data means, against MuJoCo."""

import math

import mujoco
import numpy as np
import pytest
import torch
from scenes import FLOATING, HINGES, PENDULUM, World, host_copy, robot_cfg, spawn
from torch import Tensor

from palestra.actuators import ImplicitActuatorCfg
from palestra.assets import Articulation
from palestra.errors import ConfigError
from palestra.utils.math import quat_apply, quat_from_euler_xyz

NUM_ENVS = 3
PI = math.pi


@pytest.fixture(scope="module")
def worlds() -> dict[str, World]:
    servo = {
        "arm": ImplicitActuatorCfg(
            joint_names_expr=["shoulder", "elbow"],
            stiffness={"shoulder": 50.0, "elbow": 20.0},
            damping=2.0,
            effort_limit={"shoulder": 30.0, "elbow": 5.0},
            velocity_limit=8.0,
            armature={"elbow": 0.02},
            friction=0.0,
        ),
        "rod": ImplicitActuatorCfg(joint_names_expr=["sl.*"], stiffness=0.0, damping=0.0),
    }
    start = {"pos": (0.1, 0.2, 1.0), "joint_pos": {"shoulder": 0.3, "elbow": -0.4}, "joint_vel": {"slide": 0.5}}
    return {
        "fixed": World(NUM_ENVS, robot=robot_cfg(HINGES, servo, **start)),
        "floating": World(NUM_ENVS, robot=robot_cfg(FLOATING, servo, lin_vel=(1, 0, 0), ang_vel=(0, 0, 2), **start)),
    }


@pytest.fixture(params=["fixed", "floating"])
def any_world(request, worlds) -> World:
    worlds[request.param].reset()
    return worlds[request.param]


@pytest.fixture
def fixed(worlds) -> World:
    worlds["fixed"].reset()
    return worlds["fixed"]


@pytest.fixture
def floating(worlds) -> World:
    worlds["floating"].reset()
    return worlds["floating"]


def tumble(world: World, steps: int = 3) -> None:
    """Set a general state, different in each environment, and take some physics steps."""
    n = world.num_envs
    generator = torch.Generator().manual_seed(3)
    if not world.robot.is_fixed_base:
        quat = torch.nn.functional.normalize(torch.randn(n, 4, generator=generator), dim=-1)
        pose = torch.cat((torch.randn(n, 3, generator=generator), quat), dim=-1)
        world.robot.write_root_pose_to_sim(pose)
        world.robot.write_root_velocity_to_sim(torch.randn(n, 6, generator=generator))
    pos = torch.tensor([0.2, -0.3, 0.05]) + 0.1 * torch.randn(n, 3, generator=generator)
    world.robot.write_joint_state_to_sim(pos, torch.randn(n, 3, generator=generator))
    world.engine.refresh()
    world.run(steps)


# -- names, limits, defaults ------------------------------------------------------------------------------------


def test_names_and_counts(any_world: World) -> None:
    robot = any_world.robot
    assert robot.joint_names == ["shoulder", "elbow", "slide"]
    assert robot.body_names == ["base", "upper", "lower", "rod"]
    assert (robot.num_joints, robot.num_bodies) == (3, 4)
    assert robot.data.joint_names == robot.joint_names
    assert robot.is_fixed_base == (any_world.engine.model.nq == 3)
    assert robot.find_joints(["slide", "shoulder"]) == ([0, 2], ["shoulder", "slide"])
    assert robot.find_joints(["slide", "shoulder"], preserve_order=True) == ([2, 0], ["slide", "shoulder"])
    assert robot.find_bodies("(upp|low)er") == ([1, 2], ["upper", "lower"])


def test_limits_and_gains(fixed: World) -> None:
    data = fixed.robot.data
    expected = torch.tensor([[-PI / 2, PI / 2], [-2 * PI / 3, PI / 3], [-math.inf, math.inf]])
    assert torch.allclose(data.joint_pos_limits, expected.expand(NUM_ENVS, 3, 2))
    assert torch.equal(data.soft_joint_pos_limits, data.joint_pos_limits)
    assert data.joint_stiffness[1].tolist() == [50.0, 20.0, 0.0]
    assert data.joint_damping[0].tolist() == [2.0, 2.0, 0.0]
    assert data.joint_effort_limits[2].tolist() == [30.0, 5.0, math.inf]
    assert data.joint_vel_limits[0].tolist() == [8.0, 8.0, math.inf]
    model = fixed.engine.model
    assert model.dof_armature.tolist() == [0.0, 0.02, 0.0]
    assert model.actuator_forcerange[:2].tolist() == [[-30.0, 30.0], [-5.0, 5.0]]
    assert model.actuator_forcelimited.tolist() == [1, 1, 0]


def test_soft_limits_shrink_around_the_middle() -> None:
    cfg = robot_cfg(HINGES)
    cfg.soft_joint_pos_limit_factor = 0.8
    soft = World(1, robot=cfg).robot.data.soft_joint_pos_limits[0]
    assert soft[0].tolist() == pytest.approx([-0.8 * PI / 2, 0.8 * PI / 2])
    middle, half = -PI / 6, PI / 2  # of the elbow, [-2π/3, π/3]
    assert soft[1].tolist() == pytest.approx([middle - 0.8 * half, middle + 0.8 * half])
    assert soft[2].tolist() == [-math.inf, math.inf]


def test_a_reset_gives_the_default_state(any_world: World) -> None:
    data = any_world.robot.data
    tumble(any_world)
    any_world.reset(1)
    assert data.joint_pos[1].tolist() == pytest.approx([0.3, -0.4, 0.0])
    assert data.joint_vel[1].tolist() == pytest.approx([0.0, 0.0, 0.5])
    assert data.root_pos_w[1].tolist() == pytest.approx([0.1, 0.2, 1.0])
    assert data.joint_pos_target[1].tolist() == pytest.approx([0.3, -0.4, 0.0])
    assert (data.joint_pos[0] - data.joint_pos[1]).abs().max() > 1e-3
    if not any_world.robot.is_fixed_base:
        assert data.root_state_w[1].tolist() == pytest.approx([0.1, 0.2, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"joint_pos": {"shoulder": 2.0}},
            "init_state.joint_pos of 'robot': 'shoulder' = 2 lies outside its limits [-1.571, 1.571]",
        ),
        (
            {"joint_pos": {"sholder": 0.0}},
            "init_state.joint_pos of 'robot': no match for 'sholder'; did you mean 'shoulder', 'slide'? "
            "known: 'shoulder', 'elbow', 'slide'",
        ),
        (
            {"joint_pos": {"s.*": 0.0, "slide": 0.1}},
            "init_state.joint_pos of 'robot': 'slide' matches both 's.*' and 'slide'",
        ),
        (
            {"joint_vel": {"(": 0.0}},
            "init_state.joint_vel of 'robot': '(' is no regular expression",
        ),
    ],
)
def test_bad_initial_states(change: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        World(1, robot=robot_cfg(HINGES, **change))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            {"legs": ImplicitActuatorCfg(joint_names_expr=["knee"])},
            "actuator group 'legs' of 'robot': no match for 'knee'; known: 'shoulder', 'elbow', 'slide'",
        ),
        (
            {
                "a": ImplicitActuatorCfg(joint_names_expr=[".*"]),
                "b": ImplicitActuatorCfg(joint_names_expr=["elbow"]),
            },
            "actuator group 'b' of 'robot': joint 'elbow' already belongs to group 'a'",
        ),
        (
            {"a": ImplicitActuatorCfg(joint_names_expr=["elbow"], stiffness={"shoulder": 1.0})},
            "actuator group 'a' of 'robot': no match for 'shoulder'; known: 'elbow'",
        ),
        (
            {"a": ImplicitActuatorCfg(joint_names_expr=["elbow"], damping=-1.0)},
            "actuator group 'a': damping is negative; it must be 0 or more",
        ),
    ],
)
def test_bad_actuator_groups(groups: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        World(1, robot=robot_cfg(HINGES, groups))
    assert str(error.value) == message


def test_an_unmatched_joint_lists_what_exists(fixed: World) -> None:
    with pytest.raises(ConfigError) as error:
        fixed.robot.find_joints("elbo")
    assert str(error.value) == (
        "joints of 'robot': no match for 'elbo'; did you mean 'elbow'? known: 'shoulder', 'elbow', 'slide'"
    )


def test_bodies_and_joints_without_a_name_get_one() -> None:
    xml = """
    <mujoco><worldbody><body name="a"><freejoint/><geom size="0.1"/>
      <body><joint axis="0 1 0"/><geom size="0.1" pos="0.1 0 0"/>
        <body name="tip" pos="0.2 0 0"><joint name="last" axis="0 1 0"/><geom size="0.1"/></body></body>
    </body></worldbody></mujoco>
    """
    world = World(1, robot=robot_cfg(xml))
    robot = world.robot
    assert robot.num_bodies == robot.data.body_pos_w.shape[1] == 3
    assert robot.body_names[0] == "a" and robot.body_names[2] == "tip" and robot.body_names[1]
    assert robot.joint_names[1] == "last" and robot.joint_names[0]
    tip = robot.find_bodies("tip")[0][0]
    assert robot.data.body_pos_w[0, tip].tolist() == pytest.approx([0.2, 0.0, 0.0], abs=1e-6)


def test_groups_replace_the_motors_of_the_file() -> None:
    xml = PENDULUM.replace(
        "</mujoco>",
        '<actuator><position name="servo" joint="swing" kp="1000"/></actuator>'
        '<keyframe><key qpos="1" ctrl="1"/></keyframe></mujoco>',
    )
    world = World(1, robot=robot_cfg(xml))
    assert world.engine.model.nu == 1
    world.robot.write_joint_state_to_sim(torch.tensor([[0.5]]), torch.zeros(1, 1))
    world.run(200)
    # With the file's servo left in it would be pulled to zero at once.
    assert world.robot.data.applied_torque.item() == 0.0
    assert world.robot.data.joint_vel.abs().item() > 0.5


# -- writers and targets ----------------------------------------------------------------------------------------


def test_joint_writers_by_mask_ids_and_columns(any_world: World) -> None:
    robot, data = any_world.robot, any_world.robot.data
    before = data.joint_pos.clone()
    value = torch.arange(9.0).view(3, 3) / 10
    robot.write_joint_state_to_sim(value, -value, env_mask=any_world.mask(1))
    assert torch.equal(data.joint_pos[1], value[1]) and torch.equal(data.joint_vel[1], -value[1])
    assert torch.equal(data.joint_pos[[0, 2]], before[[0, 2]])
    any_world.reset()
    robot.write_joint_state_to_sim(value[:, :2], value[:, 1:], joint_ids=[2, 0], env_mask=any_world.mask(0, 2))
    assert data.joint_pos[2].tolist() == pytest.approx([0.7, -0.4, 0.6])
    assert data.joint_vel[2].tolist() == pytest.approx([0.8, 0.0, 0.7])
    assert torch.equal(data.joint_pos[1], before[1])
    any_world.reset()
    packed = torch.tensor([[0.11, 0.12, 0.13], [0.01, 0.02, 0.03]])  # Isaac Lab's form: one row an id
    robot.write_joint_state_to_sim(packed, packed, env_ids=[2, 0])
    assert torch.equal(data.joint_pos, torch.stack((packed[1], before[1], packed[0])))
    any_world.reset()
    robot.write_joint_state_to_sim(packed[:1], packed[:1], None, torch.tensor([1]))
    assert torch.equal(data.joint_pos[1], packed[0]) and torch.equal(data.joint_pos[0], before[0])


def test_columns_by_tensor_and_slice_agree(any_world: World) -> None:
    robot, data = any_world.robot, any_world.robot.data
    value = torch.rand(NUM_ENVS, 2)
    results = []
    for ids in (torch.tensor([1, 2]), slice(1, 3), [1, 2]):
        any_world.reset()
        robot.write_joint_state_to_sim(value, value, ids)
        robot.write_joint_state_to_sim(value, value, ids)
        results.append(torch.cat((data.joint_pos, data.joint_vel), dim=-1).clone())
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
    assert torch.equal(results[0][:, 1:3], value)


def test_root_writers(floating: World) -> None:
    robot, data = floating.robot, floating.robot.data
    quat = quat_from_euler_xyz(torch.tensor(0.3), torch.tensor(-0.5), torch.tensor(1.1))
    state = torch.cat((torch.tensor([1.0, 2, 3]), quat, torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])))
    before = data.root_state_w.clone()
    robot.write_root_state_to_sim(state.expand(3, -1), floating.mask(0))
    floating.engine.refresh()
    assert torch.allclose(data.root_state_w[0], state, atol=1e-6)
    assert torch.equal(data.root_state_w[1:], before[1:])
    robot.write_root_velocity_to_sim(torch.ones(1, 6), env_ids=[2])
    assert torch.allclose(data.root_vel_w[2], torch.ones(6), atol=1e-6)
    robot.write_root_pose_to_sim(torch.tensor([[5.0, 0, 0, 1, 0, 0, 0]]), torch.tensor([1]))
    assert data.root_pos_w[:, 0].tolist() == pytest.approx([1.0, 5.0, 0.1])


def test_a_fixed_base_refuses_root_writes(fixed: World) -> None:
    with pytest.raises(ConfigError, match="'robot' has a fixed base: write_root_pose_to_sim needs a floating one"):
        fixed.robot.write_root_pose_to_sim(torch.zeros(NUM_ENVS, 7))


def test_targets_stay_until_a_reset(fixed: World) -> None:
    robot, data = fixed.robot, fixed.robot.data
    robot.set_joint_position_target(torch.full((NUM_ENVS, 1), 0.7), [1])
    robot.set_joint_velocity_target(torch.full((NUM_ENVS, 3), 0.2))
    robot.set_joint_effort_target(torch.full((NUM_ENVS, 1), 0.4), torch.tensor([2]))
    fixed.run(2)
    assert data.joint_pos_target[0].tolist() == pytest.approx([0.3, 0.7, 0.0])
    assert data.joint_effort_target[2].tolist() == pytest.approx([0.0, 0.0, 0.4])
    fixed.reset(2)
    assert data.joint_pos_target[2].tolist() == pytest.approx([0.3, -0.4, 0.0])
    assert data.joint_vel_target[2].abs().max() == data.joint_effort_target[2].abs().max() == 0.0
    assert data.joint_vel_target[0].tolist() == pytest.approx([0.2] * 3)


def test_gains_written_for_some_environments_change_their_physics(fixed: World) -> None:
    robot, data = fixed.robot, fixed.robot.data
    robot.write_joint_stiffness_to_sim(torch.full((NUM_ENVS, 1), 200.0), [0], fixed.mask(1))
    robot.write_joint_damping_to_sim(torch.full((1, 3), 4.0), env_ids=[2])
    try:
        assert data.joint_stiffness[:, 0].tolist() == [50.0, 200.0, 50.0]
        assert data.joint_damping.tolist() == [[2.0, 2, 0], [2, 2, 0], [4, 4, 4]]
        bias = fixed.engine.model_field("actuator_biasprm")
        assert bias[:, 0, 1].tolist() == [-50.0, -200.0, -50.0]
        assert bias[:, 1, 2].tolist() == [-2.0, -2.0, -4.0]
        # Held at the same place, the stiffer servo pulls four times as hard: τ = k (q* - q) - d q̇.
        pos, vel = torch.tensor([[0.25, -0.4, 0.0]]).repeat(3, 1), torch.tensor([[0.1, 0.0, 0.0]]).repeat(3, 1)
        robot.write_joint_state_to_sim(pos, vel)
        fixed.run(1)
        torque = data.applied_torque[:, 0].tolist()
        assert torque == pytest.approx([50 * 0.05 - 0.2, 200 * 0.05 - 0.2, 50 * 0.05 - 0.4], rel=1e-4)
    finally:
        for write, row in (
            (robot.write_joint_stiffness_to_sim, [50.0, 20.0, 0.0]),
            (robot.write_joint_damping_to_sim, [2.0, 2.0, 0.0]),
        ):
            write(torch.tensor([row]).repeat(NUM_ENVS, 1))


# -- what the data means ----------------------------------------------------------------------------------------


def test_implicit_pd_equals_the_formula_and_is_clipped(fixed: World) -> None:
    robot, data = fixed.robot, fixed.robot.data
    pos = torch.tensor([[0.1, 0.2, 0.0]]).repeat(3, 1)
    vel = torch.tensor([[0.5, -1.0, 0.0]]).repeat(3, 1)
    robot.write_joint_state_to_sim(pos, vel)
    robot.set_joint_position_target(torch.tensor([[0.2, 0.3, 0], [0.0, 0.0, 0], [1.5, -1.5, 0]]))
    robot.set_joint_velocity_target(torch.tensor([0.1, 0.2, 0.0]).expand(3, 3))
    robot.set_joint_effort_target(torch.tensor([1.0, -0.5, 0.25]).expand(3, 3))
    by_hand = [
        [50 * 0.1 + 2 * (0.1 - 0.5) + 1, 20 * 0.1 + 2 * (0.2 + 1) - 0.5, 0.25],
        [50 * -0.1 + 2 * -0.4 + 1, 20 * -0.2 + 2 * 1.2 - 0.5, 0.25],
        [50 * 1.4 + 2 * -0.4 + 1, 20 * -1.7 + 2 * 1.2 - 0.5, 0.25],
    ]
    assert data.computed_torque.flatten().tolist() == pytest.approx(np.ravel(by_hand).tolist(), rel=1e-5)
    fixed.run(1)
    limit = np.array([30.0, 5.0, np.inf])
    clipped = np.clip(by_hand, -limit, limit)
    assert data.applied_torque.flatten().tolist() == pytest.approx(clipped.ravel().tolist(), rel=1e-4)
    assert clipped[2, 0] == 30.0 and clipped[2, 1] == -5.0


def test_joint_acceleration_is_the_mean_over_the_control_step(fixed: World) -> None:
    data = fixed.robot.data
    tumble(fixed)
    start = data.joint_vel.clone()
    fixed.run(1, decimation=4)
    expected = (data.joint_vel - start) / (4 * fixed.sim.dt)
    assert torch.allclose(data.joint_acc, expected, atol=1e-5)
    assert expected.abs().max() > 1.0
    fixed.reset(1)  # the state jumps, which is no acceleration
    assert data.joint_acc[1].abs().max() == 0.0
    assert torch.allclose(data.joint_acc[0], expected[0], atol=1e-5)


def test_body_accelerations(floating: World) -> None:
    data = floating.robot.data
    assert data.body_lin_acc_w.shape == data.body_ang_acc_w.shape == (NUM_ENVS, 4, 3)  # asks for them from now on
    tumble(floating)
    start = data.body_vel_w.clone()
    floating.run(1, decimation=4)
    expected = (data.body_vel_w - start) / (4 * floating.sim.dt)
    assert torch.allclose(data.body_lin_acc_w, expected[..., :3], atol=1e-4)
    assert torch.allclose(data.body_ang_acc_w, expected[..., 3:], atol=1e-4)
    floating.reset(0)
    assert data.body_lin_acc_w[0].abs().max() == 0.0
    assert data.body_lin_acc_w[1].abs().max() > 0.1


def rotation(quat: Tensor) -> np.ndarray:
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, quat.double().numpy())
    return matrix.reshape(3, 3)


def test_root_velocities_and_gravity_by_rotation_matrix(floating: World) -> None:
    data = floating.robot.data
    tumble(floating)
    for i in range(NUM_ENVS):
        R = rotation(data.root_quat_w[i])
        np.testing.assert_allclose(data.root_lin_vel_b[i], R.T @ data.root_lin_vel_w[i].numpy(), atol=1e-5)
        np.testing.assert_allclose(data.root_ang_vel_w[i], R @ data.root_ang_vel_b[i].numpy(), atol=1e-5)
        np.testing.assert_allclose(data.projected_gravity_b[i], R.T @ [0, 0, -1], atol=1e-5)
        forward = R @ [1, 0, 0]
        assert data.heading_w[i].item() == pytest.approx(math.atan2(forward[1], forward[0]), abs=1e-5)
    assert torch.allclose(data.root_pos_w, data.body_pos_w[:, 0], atol=1e-6)
    assert torch.allclose(data.root_lin_vel_w, data.body_lin_vel_w[:, 0], atol=1e-5)
    assert torch.allclose(data.root_ang_vel_w, data.body_ang_vel_w[:, 0], atol=1e-5)


def test_gravity_when_upright(any_world: World) -> None:
    data = any_world.robot.data
    assert data.projected_gravity_b.tolist() == [[0.0, 0.0, -1.0]] * NUM_ENVS
    assert torch.equal(data.GRAVITY_VEC_W, data.projected_gravity_b)


def test_body_velocities_equal_mujocos(any_world: World) -> None:
    tumble(any_world)
    data = any_world.robot.data
    for env in range(NUM_ENVS):
        model, host = host_copy(any_world, env)
        velocity = np.zeros(6)
        for k, name in enumerate(any_world.robot.body_names):
            body = model.body(f"robot/{name}").id
            mujoco.mj_objectVelocity(model, host, mujoco.mjtObj.mjOBJ_XBODY, body, velocity, 0)
            np.testing.assert_allclose(data.body_ang_vel_w[env, k], velocity[:3], atol=1e-4)
            np.testing.assert_allclose(data.body_lin_vel_w[env, k], velocity[3:], atol=1e-4)
            np.testing.assert_allclose(data.body_com_pos_w[env, k], host.xipos[body], atol=1e-5)
            np.testing.assert_allclose(data.body_quat_w[env, k], host.xquat[body], atol=1e-5)


def test_body_velocities_are_derivatives_of_positions(floating: World) -> None:
    world = floating
    tumble(world)
    data = world.robot.data
    before_pos, before_vel = data.body_pos_w.double().clone(), data.body_lin_vel_w.clone()
    qpos, qvel = world.engine.field("qpos").clone(), world.engine.field("qvel").clone()
    h = 1e-3
    moved = qpos.double().numpy().copy()
    for i in range(NUM_ENVS):
        mujoco.mj_integratePos(world.engine.model, moved[i], qvel[i].double().numpy(), h)
    world.engine.write("qpos", torch.from_numpy(moved))
    world.engine.refresh()
    derivative = (data.body_pos_w.double() - before_pos) / h
    assert torch.allclose(derivative.float(), before_vel, atol=2e-2)
    assert before_vel.abs().max() > 1.0


def test_cached_quantities_follow_every_write(floating: World) -> None:
    robot, data = floating.robot, floating.robot.data
    assert data.root_lin_vel_b is data.root_lin_vel_b  # computed once
    turned = torch.tensor([[0.0, 0, 1, 0.7071068, 0, 0, 0.7071068]]).repeat(3, 1)
    robot.write_root_pose_to_sim(turned)
    robot.write_root_velocity_to_sim(torch.tensor([[1.0, 0, 0, 0, 0, 0]]).repeat(3, 1))
    assert data.root_lin_vel_b[0].tolist() == pytest.approx([0.0, -1.0, 0.0], abs=1e-6)
    assert torch.allclose(quat_apply(data.root_quat_w, data.root_lin_vel_b), data.root_lin_vel_w, atol=1e-6)


def test_a_pendulum_swings_with_the_period_of_theory() -> None:
    world = World(1, robot=robot_cfg(PENDULUM, joint_pos={"swing": 0.01}))
    world.engine.refresh()
    length = (0.5**2 + 0.4 * 0.01**2) / 0.5
    period = 2 * PI * math.sqrt(length / 9.81)
    world.run(round(period / world.sim.dt))
    assert world.robot.data.joint_pos.item() == pytest.approx(0.01, abs=2e-4)
    assert isinstance(world.robot, Articulation)


def test_an_asset_without_spawner_or_file() -> None:
    cfg = robot_cfg(HINGES)
    cfg.spawn = None
    with pytest.raises(ConfigError, match="asset 'robot' has no spawn configuration"):
        World(1, robot=cfg)
    from palestra.sim import MjcfFileCfg

    cfg.spawn = MjcfFileCfg(asset_path="/nowhere/robot.xml")
    with pytest.raises(ConfigError, match=r"asset 'robot': no file '/nowhere/robot\.xml'"):
        World(1, robot=cfg)
    cfg.spawn = spawn("<mujoco><worldbody/></mujoco>")
    with pytest.raises(ConfigError, match="no match for"):
        World(1, robot=cfg)
