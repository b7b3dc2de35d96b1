"""Event terms: ranges, masks, and numbers that do not depend on the number of environments."""

import math

import pytest
import torch
from torch import Tensor

from palestra.envs import ManagerBasedRLEnv, mdp
from palestra.errors import ConfigError
from palestra.utils.math import euler_xyz_from_quat, quat_apply

from .conftest import MakeEnv, place, resolved, same

MASK = torch.tensor([True, False, True])


def root_state(env: ManagerBasedRLEnv) -> Tensor:
    env.engine.refresh()
    return env.scene.articulations["robot"].data.root_state_w.clone()


def test_scene_to_default_moves_only_masked_environments(env: ManagerBasedRLEnv) -> None:
    place(env, pos=(1.0, 1.0, 1.0), joint_pos=(0.1, 0.1))
    env.scene.rigid_objects["cube"].write_root_pose_to_sim(torch.tensor([0.0, 9.0, 1.0, 1.0, 0, 0, 0]).repeat(3, 1))
    mdp.reset_scene_to_default(env, MASK)
    env.engine.refresh()
    data = env.scene.articulations["robot"].data
    assert data.root_pos_w[:, 2].tolist() == pytest.approx([5.0, 1.0, 5.0])
    same(data.joint_pos, torch.tensor([[0.5, -0.25], [0.1, 0.1], [0.5, -0.25]]))
    same(data.joint_vel, torch.tensor([[0.0, 2.0], [0.0, 0.0], [0.0, 2.0]]))
    assert env.scene.rigid_objects["cube"].data.root_pos_w[:, 1].tolist() == pytest.approx([3.0, 9.0, 3.0])


def test_scene_to_default_with_targets(env: ManagerBasedRLEnv) -> None:
    robot = env.scene.articulations["robot"]
    for targets, expected in ((False, [[7.0, 7.0]] * 3), (True, [[0.5, -0.25], [7.0, 7.0], [0.5, -0.25]])):
        robot.set_joint_position_target(torch.full((3, 2), 7.0))
        robot.set_joint_effort_target(torch.full((3, 2), 7.0))
        mdp.reset_scene_to_default(env, MASK, reset_joint_targets=targets)
        same(robot.data.joint_pos_target, torch.tensor(expected))
        assert robot.data.joint_effort_target[0, 0] == (0.0 if targets else 7.0)


def test_root_state_is_the_default_plus_offsets_that_cannot_vary(env: ManagerBasedRLEnv) -> None:
    mdp.reset_root_state_uniform(
        env,
        MASK,
        pose_range={"x": (1.0, 1.0), "z": (-2.0, -2.0), "yaw": (math.pi / 2, math.pi / 2)},
        velocity_range={"y": (0.5, 0.5), "roll": (0.25, 0.25)},
    )
    state = root_state(env)
    half = math.sqrt(0.5)
    same(state[MASK], [1.0, 0.0, 3.0, half, 0.0, 0.0, half, 0.0, 0.5, 0.0, 0.25, 0.0, 0.0])
    same(state[1], [0.0, 0.0, 5.0, 1.0] + [0.0] * 9)


def test_root_state_stays_in_its_ranges(make_env: MakeEnv) -> None:
    env = make_env(num_envs=200)
    mdp.reset_root_state_uniform(
        env,
        env.all_envs,
        pose_range={"x": (-1.0, 2.0), "roll": (-0.3, 0.3), "yaw": (0.5, 1.0)},
        velocity_range={"z": (0.0, 4.0)},
    )
    state = root_state(env)
    roll, pitch, yaw = euler_xyz_from_quat(state[:, 3:7])
    for values, low, high in (
        (state[:, 0], -1.0, 2.0),
        (roll, -0.3, 0.3),
        (yaw, 0.5, 1.0),
        (state[:, 9], 0.0, 4.0),
    ):
        assert low <= values.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < values.max() <= high
    assert pitch.abs().max() < 1e-5 and state[:, 1].abs().max() == 0.0


def test_draws_of_an_environment_do_not_depend_on_the_others(make_env: MakeEnv) -> None:
    states = []
    for num_envs in (2, 5):
        env = make_env(num_envs=num_envs)
        env.rng.seed(11)
        mdp.reset_root_state_uniform(env, env.all_envs, {"x": (-1.0, 1.0), "yaw": (-3.0, 3.0)}, {"x": (0.0, 1.0)})
        mdp.reset_joints_by_offset(env, env.all_envs, (-0.2, 0.2), (-1.0, 1.0))
        states.append(torch.cat((root_state(env)[:2], env.scene.articulations["robot"].data.joint_pos[:2]), dim=-1))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0][0], states[0][1])


def test_joints_by_scale(env: ManagerBasedRLEnv) -> None:
    place(env)
    mdp.reset_joints_by_scale(env, MASK, position_range=(2.0, 2.0), velocity_range=(1.5, 1.5))
    data = env.scene.articulations["robot"].data
    # 2 x 0.5 is clamped to the soft limit of 0.9; defaults of the elbow are -0.25 rad and 2 rad/s.
    same(data.joint_pos, torch.tensor([[0.9, -0.5], [0.0, 0.0], [0.9, -0.5]]))
    same(data.joint_vel, torch.tensor([[0.0, 3.0], [0.0, 0.0], [0.0, 3.0]]))


def test_joints_by_offset_of_selected_joints(env: ManagerBasedRLEnv) -> None:
    place(env)
    elbow = resolved(env, "robot", joint_names=["elbow"])
    mdp.reset_joints_by_offset(env, MASK, (0.25, 0.25), (20.0, 20.0), elbow)
    data = env.scene.articulations["robot"].data
    same(data.joint_pos, 0.0)
    # 2 + 20 rad/s is clamped to the limit of 8 rad/s.
    same(data.joint_vel, torch.tensor([[0.0, 8.0], [0.0, 0.0], [0.0, 8.0]]))


def test_joint_draws_fill_their_range(make_env: MakeEnv) -> None:
    env = make_env(num_envs=200)
    mdp.reset_joints_by_offset(env, env.all_envs, (-0.2, 0.3), (0.0, 0.0))
    offset = env.scene.articulations["robot"].data.joint_pos - torch.tensor([0.5, -0.25])
    assert offset.min() >= -0.2 - 1e-6 and offset.max() <= 0.3 + 1e-6
    assert offset.min() < -0.15 and offset.max() > 0.25
    assert not torch.equal(offset[:, 0], offset[:, 1])


def test_push_adds_to_the_velocity(env: ManagerBasedRLEnv) -> None:
    half = math.sqrt(0.5)
    place(env, quat=(half, 0.0, 0.0, half), lin_vel=(1.0, 2.0, 3.0), ang_vel=(0.1, 0.2, 0.3))
    mdp.push_by_setting_velocity(env, MASK, {"x": (0.5, 0.5), "pitch": (1.0, 1.0)})
    state = root_state(env)
    same(state[MASK, 7:], [1.5, 2.0, 3.0, 0.1, 1.2, 0.3])
    same(state[1, 7:], [1.0, 2.0, 3.0, 0.1, 0.2, 0.3])


def test_random_orientations_cover_all_rotations(make_env: MakeEnv) -> None:
    env = make_env(num_envs=4000)
    mdp.reset_root_state_with_random_orientation(
        env, env.all_envs, {"x": (1.0, 1.0), "yaw": (9.0, 9.0)}, {"z": (0.5, 0.5)}
    )
    state = root_state(env)
    same(state[:, :3], [1.0, 0.0, 5.0])
    same(state[:, 3:7].norm(dim=-1), 1.0)
    same(state[:, 9], 0.5)
    for axis in torch.eye(3):  # each axis of the body ends up everywhere on the sphere: mean 0, mean square 1/3
        turned = quat_apply(state[:, 3:7], axis.repeat(4000, 1))
        assert turned.mean(dim=0).abs().max() < 0.03
        torch.testing.assert_close(turned.square().mean(dim=0), torch.full((3,), 1.0 / 3.0), atol=0.02, rtol=0.0)


def test_bad_ranges_are_told(env: ManagerBasedRLEnv) -> None:
    with pytest.raises(ConfigError, match="velocity_range: no axis 'rol'; did you mean 'roll'"):
        mdp.push_by_setting_velocity(env, MASK, {"rol": (0.0, 1.0)})
    with pytest.raises(ConfigError, match=r"velocity_range: 'x' is \(1.0, 0.0\)"):
        mdp.push_by_setting_velocity(env, MASK, {"x": (1.0, 0.0)})
    with pytest.raises(ConfigError, match="'gripper' has a fixed base"):
        mdp.push_by_setting_velocity(env, MASK, {"x": (0.0, 1.0)}, resolved(env, "gripper"))
