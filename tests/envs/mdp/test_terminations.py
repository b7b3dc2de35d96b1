"""Termination terms just inside and just outside their limits."""

import math

import pytest
import torch

from palestra.envs import ManagerBasedRLEnv, mdp
from palestra.envs.mdp.entities import entity
from palestra.sensors import ContactSensor

from .conftest import place, resolved


def test_time_out_counts_steps(env: ManagerBasedRLEnv) -> None:
    assert env.max_episode_length == 50  # 1 s of 20 ms
    env.episode_length_buf.copy_(torch.tensor([0, 49, 50]))
    assert mdp.time_out(env).tolist() == [False, False, True]


@pytest.mark.parametrize(("lean", "ends"), [(0.49, False), (0.51, True), (math.pi, True), (0.0, False)])
def test_bad_orientation(env: ManagerBasedRLEnv, lean: float, ends: bool) -> None:
    place(env, quat=(math.cos(lean / 2), 0.0, math.sin(lean / 2), 0.0))
    assert mdp.bad_orientation(env, limit_angle=0.5).tolist() == [ends] * 3


def test_root_height(env: ManagerBasedRLEnv) -> None:
    place(env, pos=(0.0, 0.0, 0.75))
    assert mdp.root_height_below_minimum(env, minimum_height=0.76).all()
    assert not mdp.root_height_below_minimum(env, minimum_height=0.74).any()


@pytest.mark.parametrize(("shoulder", "ends"), [(0.89, False), (0.91, True), (-0.91, True)])
def test_joint_positions(env: ManagerBasedRLEnv, shoulder: float, ends: bool) -> None:
    place(env, joint_pos=(shoulder, 50.0))
    assert mdp.joint_pos_out_of_limit(env).tolist() == [ends] * 3
    assert not mdp.joint_pos_out_of_limit(env, resolved(env, "robot", joint_names=["elbow"])).any()


def test_joint_positions_within_bounds_given_by_hand(env: ManagerBasedRLEnv) -> None:
    place(env, joint_pos=(0.2, -1.5))
    assert not mdp.joint_pos_out_of_manual_limit(env, bounds=(-1.6, 0.3)).any()
    assert mdp.joint_pos_out_of_manual_limit(env, bounds=(-1.4, 0.3)).all()
    assert mdp.joint_pos_out_of_manual_limit(env, bounds=(-1.6, 0.1)).all()
    shoulder = resolved(env, "robot", joint_names=["shoulder"])
    assert not mdp.joint_pos_out_of_manual_limit(env, bounds=(-1.4, 0.3), asset_cfg=shoulder).any()


@pytest.mark.parametrize(("elbow", "ends"), [(7.9, False), (-8.1, True)])
def test_joint_velocities(env: ManagerBasedRLEnv, elbow: float, ends: bool) -> None:
    place(env, joint_vel=(3.9, elbow))
    assert mdp.joint_vel_out_of_limit(env).tolist() == [ends] * 3
    assert not mdp.joint_vel_out_of_limit(env, resolved(env, "robot", joint_names=["shoulder"])).any()


def test_illegal_contact(env: ManagerBasedRLEnv) -> None:
    history = entity(env, "contacts", ContactSensor).data.net_forces_w_history
    history.zero_()
    history[0, 1, 2, 1] = 5.0  # one step ago, on the hand of environment 0
    assert mdp.illegal_contact(env, 4.0, resolved(env, "contacts")).tolist() == [True, False, False]
    assert not mdp.illegal_contact(env, 6.0, resolved(env, "contacts")).any()
    assert not mdp.illegal_contact(env, 4.0, resolved(env, "contacts", body_names=["base", "arm"])).any()
