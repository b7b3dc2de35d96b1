"""Reward terms in states set by hand."""

import math

import pytest
import torch

from palestra.envs import ManagerBasedRLEnv, mdp
from palestra.envs.mdp.entities import entity
from palestra.managers import SceneEntityCfg
from palestra.sensors import ContactSensor

from .conftest import MakeEnv, place, resolved, rows, same


def set_command(env: ManagerBasedRLEnv, *values: float) -> None:
    env.command_manager.get_command("velocity").copy_(torch.tensor(values))


def set_forces(env: ManagerBasedRLEnv, newest: list[float], before: list[float]) -> SceneEntityCfg:
    """Write vertical contact forces (N) on base, arm and hand into the sensor's history."""
    history = entity(env, "contacts", ContactSensor).data.net_forces_w_history
    history.zero_()
    history[:, 0, :, 2] = torch.tensor(newest)
    history[:, 1, :, 0] = torch.tensor(before)
    return resolved(env, "contacts")


def test_alive_and_terminated(env: ManagerBasedRLEnv) -> None:
    robot = env.scene.articulations["robot"]
    state = robot.data.root_state_w.clone()
    state[1, 2] = 0.2  # below the minimum height of 0.5 m
    robot.write_root_state_to_sim(state)
    _, reward, terminated, _, _ = env.step(torch.zeros(3, 4))
    assert terminated.tolist() == [False, True, False]
    same(mdp.is_alive(env), rows(1.0, 0.0, 1.0))
    same(mdp.is_terminated(env), rows(0.0, 1.0, 0.0))
    assert reward.shape == (3,)


def test_a_time_out_is_no_failure(env: ManagerBasedRLEnv) -> None:
    env.episode_length_buf.fill_(49)
    _, _, terminated, time_outs, _ = env.step(torch.zeros(3, 4))
    assert time_outs.all() and not terminated.any()
    same(mdp.is_terminated(env), 0.0)


def test_root_penalties(env: ManagerBasedRLEnv) -> None:
    place(env, pos=(0.0, 0.0, 5.5), lin_vel=(1.0, 2.0, 3.0), ang_vel=(0.3, 0.4, 9.0))
    same(mdp.lin_vel_z_l2(env), 9.0)
    same(mdp.ang_vel_xy_l2(env), 0.25)
    same(mdp.flat_orientation_l2(env), 0.0)
    same(mdp.base_height_l2(env, target_height=5.0), 0.25)
    place(env, quat=(math.cos(0.15), math.sin(0.15), 0.0, 0.0))  # leaning by 0.3 rad
    same(mdp.flat_orientation_l2(env), math.sin(0.3) ** 2)


def test_acceleration_of_bodies_in_free_fall(env: ManagerBasedRLEnv) -> None:
    mdp.body_lin_acc_l2(env)  # the first use starts the bookkeeping
    place(env)
    env.step(torch.zeros(3, 4))
    same(mdp.body_lin_acc_l2(env), 3 * 9.81, tol=1e-2)
    same(mdp.body_lin_acc_l2(env, resolved(env, "robot", body_names=["base"])), 9.81, tol=5e-3)


def test_joint_penalties(env: ManagerBasedRLEnv) -> None:
    place(env, joint_pos=(1.1, -0.75), joint_vel=(3.0, -9.5))
    both, elbow = resolved(env, "robot"), resolved(env, "robot", joint_names=["elbow"])
    same(mdp.joint_vel_l1(env, both), 12.5)
    same(mdp.joint_vel_l1(env, elbow), 9.5)
    same(mdp.joint_vel_l2(env), 9.0 + 90.25)
    same(mdp.joint_deviation_l1(env), 0.6 + 0.5)  # defaults 0.5 and -0.25
    same(mdp.joint_pos_limits(env), 0.2)  # 1.1 beyond the soft limit of 0.9; the elbow has none
    same(mdp.joint_vel_limits(env, soft_ratio=1.0), 1.0)  # 9.5 beyond 8 counts as 1
    same(mdp.joint_vel_limits(env, soft_ratio=0.5), 1.0 + 1.0)  # 3 beyond 2, and 9.5 beyond 4
    same(mdp.joint_vel_limits(env, soft_ratio=0.7), 0.2 + 1.0)  # 3 beyond 2.8
    place(env, joint_pos=(-1.0, 0.0))
    same(mdp.joint_pos_limits(env), 0.1)


def test_joint_accelerations_are_differences_over_the_step(env: ManagerBasedRLEnv) -> None:
    place(env, joint_vel=(0.5, -0.5))
    env.step(torch.tensor([1.0, 2.0, 0.0, 0.0]).repeat(3, 1))
    change = env.scene.articulations["robot"].data.joint_vel - torch.tensor([0.5, -0.5])
    assert change.abs().min() > 1e-3
    same(mdp.joint_acc_l2(env), (change / 0.02).square().sum(dim=-1), tol=1e-1)


def test_torques(env: ManagerBasedRLEnv) -> None:
    place(env)
    env.step(torch.tensor([2.0, -3.0, 0.0, 0.0]).repeat(3, 1))
    same(mdp.joint_torques_l2(env), 1.5**2 + 3.0**2)  # the shoulder's limit is 1.5 N·m
    same(mdp.applied_torque_limits(env), 0.5)


def test_no_torque_is_cut_below_the_limits(env: ManagerBasedRLEnv) -> None:
    env.step(torch.tensor([0.0, 0.0, 4.0, 0.0]).repeat(3, 1))  # the fingers move under a stiff servo
    assert env.scene.articulations["gripper"].data.joint_vel[:, 0].abs().min() > 0.01
    same(mdp.applied_torque_limits(env, resolved(env, "gripper")), 0.0)


def test_action_penalties(env: ManagerBasedRLEnv) -> None:
    env.step(torch.tensor([1.0, 0.0, 0.0, 2.0]).repeat(3, 1))
    same(mdp.action_l2(env), 5.0)
    same(mdp.action_rate_l2(env), 5.0)
    env.step(torch.tensor([1.0, 0.5, 0.0, 0.0]).repeat(3, 1))
    same(mdp.action_rate_l2(env), 0.25 + 4.0)


def test_contact_terms_look_at_the_whole_history(env: ManagerBasedRLEnv) -> None:
    everything = set_forces(env, newest=[10.0, 0.0, 3.0], before=[0.0, 6.0, 0.0])
    same(mdp.undesired_contacts(env, 5.0, everything), 2.0)
    same(mdp.undesired_contacts(env, 6.0, everything), 1.0)
    same(mdp.undesired_contacts(env, 5.0, resolved(env, "contacts", body_names=["arm", "hand"])), 1.0)
    same(mdp.contact_forces(env, 4.0, everything), 6.0 + 2.0)
    same(mdp.desired_contacts(env, everything), 0.0)
    same(mdp.desired_contacts(env, everything, threshold=10.0), 1.0)
    same(mdp.desired_contacts(env, resolved(env, "contacts", body_names=["hand"]), threshold=3.5), 1.0)


def test_a_resting_cube_presses_with_its_weight(make_env: MakeEnv) -> None:
    env = make_env(num_envs=1)
    for _ in range(60):
        env.step(torch.zeros(1, 4))
        place(env)
    same(mdp.contact_forces(env, 5.0, resolved(env, "cube_contact")), 9.81 - 5.0, tol=0.1)


@pytest.mark.parametrize(("speed", "expected"), [(0.5, (0.3 - 0.1) + (0.05 - 0.1)), (0.05, 0.0)])
def test_feet_air_time(env: ManagerBasedRLEnv, speed: float, expected: float) -> None:
    set_command(env, speed, 0.0, 1.0)
    data = entity(env, "contacts", ContactSensor).data
    data.last_air_time.copy_(torch.tensor([0.3, 0.9, 0.05]))
    data.current_contact_time.copy_(torch.tensor([0.02, 0.5, 0.02]))  # the arm landed long ago
    same(mdp.feet_air_time(env, "velocity", resolved(env, "contacts"), threshold=0.1), expected)


def test_tracking(env: ManagerBasedRLEnv) -> None:
    place(env, lin_vel=(0.5, 0.25, 9.0), ang_vel=(9.0, 9.0, 1.0))
    set_command(env, 1.0, 0.25, 0.4)
    # The base does not lean, so its frame is the world's.
    same(mdp.track_lin_vel_xy_exp(env, std=0.5, command_name="velocity"), math.exp(-1.0))
    same(mdp.track_ang_vel_z_exp(env, std=0.5, command_name="velocity"), math.exp(-0.36 / 0.25))


def test_the_manager_weights_by_weight_and_step(env: ManagerBasedRLEnv) -> None:
    place(env, lin_vel=(0.0, 0.0, 0.1))
    set_command(env, 0.0, 0.0, 0.0)
    _, reward, _, _, _ = env.step(torch.zeros(3, 4))
    same(reward, (1.0 * 1.0 + 2.0 * 1.0) * 0.02, tol=1e-4)
