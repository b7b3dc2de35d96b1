"""Observation terms in states set by hand."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from palestra.envs import ManagerBasedRLEnv, mdp
from palestra.errors import ConfigError
from palestra.managers import ObservationGroupCfg, ObservationTermCfg
from palestra.utils import configclass
from palestra.utils.modifiers import DigitalFilterCfg, ModifierCfg, scale
from palestra.utils.noise import ConstantNoiseCfg, NoiseModelWithAdditiveBiasCfg, UniformNoiseCfg

from .conftest import MakeEnv, place, resolved, same

HALF = math.sqrt(0.5)


def test_root_terms(env: ManagerBasedRLEnv) -> None:
    # A quarter turn about z: the base's x axis is the world's y axis.
    place(env, pos=(1.0, 2.0, 3.0), quat=(HALF, 0, 0, HALF), lin_vel=(0.4, 0.5, 0.6), ang_vel=(0.1, 0.2, 0.3))
    same(mdp.base_pos_z(env), [3.0])
    same(mdp.root_pos_w(env), [1.0, 2.0, 3.0])
    same(mdp.root_quat_w(env), [HALF, 0.0, 0.0, HALF])
    same(mdp.base_lin_vel(env), [0.5, -0.4, 0.6])
    same(mdp.base_ang_vel(env), [0.2, -0.1, 0.3])
    same(mdp.projected_gravity(env), [0.0, 0.0, -1.0])


def test_root_terms_of_a_rigid_object(env: ManagerBasedRLEnv) -> None:
    same(mdp.root_pos_w(env, asset_cfg=resolved(env, "cube")), [0.0, 3.0, 0.1])


def test_gravity_when_lying_on_the_side(env: ManagerBasedRLEnv) -> None:
    place(env, quat=(HALF, HALF, 0, 0))  # rolled a quarter: down is the base's -y axis
    same(mdp.projected_gravity(env), [0.0, -1.0, 0.0])


def test_unique_quaternion(env: ManagerBasedRLEnv) -> None:
    place(env, quat=(-0.6, 0.8, 0.0, 0.0))
    same(mdp.root_quat_w(env), [-0.6, 0.8, 0.0, 0.0])
    same(mdp.root_quat_w(env, make_quat_unique=True), [0.6, -0.8, 0.0, 0.0])


def test_body_poses(env: ManagerBasedRLEnv) -> None:
    # The shoulder turns the arm down by a quarter about y; the hand hangs 0.3 m below the shoulder.
    place(env, pos=(1.0, 0.0, 5.0), joint_pos=(math.pi / 2, 0.0))
    selection = resolved(env, "robot", body_names=["hand", "base"], preserve_order=True)
    same(
        mdp.body_pose_w(env, selection),
        [1.0, 0.0, 4.9, HALF, 0.0, HALF, 0.0, 1.0, 0.0, 5.0, 1.0, 0.0, 0.0, 0.0],
    )
    assert mdp.body_pose_w(env).shape == (3, 21)


def test_joint_terms(env: ManagerBasedRLEnv) -> None:
    place(env, joint_pos=(0.45, 3.0), joint_vel=(1.0, -2.0))
    same(mdp.joint_pos(env), [0.45, 3.0])
    same(mdp.joint_pos_rel(env), [-0.05, 3.25])  # defaults 0.5 and -0.25
    same(mdp.joint_vel(env), [1.0, -2.0])
    same(mdp.joint_vel_rel(env), [1.0, -4.0])  # defaults 0 and 2
    same(mdp.joint_pos_limit_normalized(env), [0.5, 0.0])  # soft limits ±0.9; the elbow has none
    elbow = resolved(env, "robot", joint_names="elbow")
    same(mdp.joint_pos(env, elbow), [3.0])
    same(mdp.joint_vel_rel(env, elbow), [-4.0])


def test_joint_effort_is_what_the_limit_leaves(env: ManagerBasedRLEnv) -> None:
    place(env)
    env.step(torch.tensor([2.0, -3.0, 0.0, 0.0]).repeat(3, 1))
    same(mdp.joint_effort(env), [1.5, -3.0])


def test_imu_turning_and_in_free_fall(env: ManagerBasedRLEnv) -> None:
    place(env, ang_vel=(0.0, 0.0, 0.7))
    same(mdp.imu_ang_vel(env), [0.0, 0.0, 0.7])
    place(env)
    env.step(torch.zeros(3, 4))
    same(mdp.imu_lin_acc(env), [0.0, 0.0, 0.0], tol=1e-3)  # nothing presses on the unit


def test_actions_and_commands(env: ManagerBasedRLEnv) -> None:
    env.step(torch.tensor([0.1, 0.2, 3.0, 4.0]).repeat(3, 1))
    same(mdp.last_action(env), [0.1, 0.2, 3.0, 4.0])
    same(mdp.last_action(env, "fingers"), [3.0, 4.0])
    command = mdp.generated_commands(env, "velocity")
    assert command.data_ptr() == env.command_manager.get_command("velocity").data_ptr()


def test_a_term_for_articulations_refuses_a_cube(env: ManagerBasedRLEnv) -> None:
    with pytest.raises(ConfigError, match="'cube' is a RigidObject; the term needs a Articulation"):
        mdp.joint_pos(env, resolved(env, "cube"))


def test_descriptions_name_every_entry(env: ManagerBasedRLEnv) -> None:
    def describe(func: Callable[..., Any], width: int, **params: Any) -> list[tuple[str, str, str]]:
        return [(e.name, e.units, e.frame) for e in mdp.describe_observation(env, func, params, width)]

    elbow = resolved(env, "robot", joint_names="elbow")
    assert describe(mdp.joint_vel, 1, asset_cfg=elbow) == [("elbow", "rad/s", "joint")]
    fingers = resolved(env, "gripper")
    assert describe(mdp.joint_pos, 2, asset_cfg=fingers) == [("left", "m", "joint"), ("right", "m", "joint")]
    assert describe(mdp.joint_effort, 2, asset_cfg=fingers)[0] == ("left", "N", "joint")
    robot = resolved(env, "robot")
    assert describe(mdp.base_lin_vel, 3, asset_cfg=robot)[2] == ("z", "m/s", "base")
    assert describe(mdp.body_pose_w, 21, asset_cfg=robot)[10] == ("arm/qw", "1", "world")
    assert len(describe(mdp.body_pose_w, 21, asset_cfg=robot)) == 21
    assert describe(mdp.last_action, 4, action_name=None)[3] == ("fingers/right", "1", "")
    assert describe(mdp.generated_commands, 3, command_name="velocity") == [
        ("lin_vel_x", "m/s", "base"),
        ("lin_vel_y", "m/s", "base"),
        ("ang_vel_z", "rad/s", "base"),
    ]
    assert describe(lambda env: torch.zeros(3, 2), 2) == [("0", "", ""), ("1", "", "")]


def test_every_observation_term_describes_itself() -> None:
    from palestra.envs.mdp import observations

    for name in observations.__all__:
        assert isinstance(getattr(observations, name).io, mdp.ObservationIO), name


def test_filters_and_biases_in_an_observation_group(make_env: MakeEnv) -> None:
    @configclass
    class Observations:
        @configclass
        class Policy(ObservationGroupCfg):
            enable_corruption = True
            height = ObservationTermCfg(
                func=mdp.base_pos_z,
                modifiers=[
                    DigitalFilterCfg(A=[0.0], B=[0.5, 0.5]),
                    ModifierCfg(func=scale, params={"multiplier": 10.0}),
                ],
            )
            gravity = ObservationTermCfg(
                func=mdp.projected_gravity,
                noise=NoiseModelWithAdditiveBiasCfg(
                    noise_cfg=ConstantNoiseCfg(bias=1.0), bias_noise_cfg=UniformNoiseCfg(n_min=2.0, n_max=3.0)
                ),
            )

        policy: Policy = Policy()

    env = make_env(observations=Observations())
    place(env, pos=(0.0, 0.0, 4.0))
    first = env.step(torch.zeros(3, 4))[0]["policy"]
    fall = 9.81 * 0.01**2 * 3  # two semi-implicit steps of 10 ms: g h² (1 + 2)
    same(first[:, 0], 10.0 * 0.5 * (5.0 + 4.0 - fall), tol=1e-3)
    bias = first[:, 1:] - torch.tensor([1.0, 1.0, 0.0])
    assert bias.min() >= 2.0 and bias.max() <= 3.0
    second = env.step(torch.zeros(3, 4))[0]["policy"]
    same(second[:, 1:], first[:, 1:])
