"""Action terms: targets by hand, clips, order of joints, and what the policy's export is told."""

import pytest
import torch

from palestra.envs import ManagerBasedRLEnv, mdp
from palestra.errors import ConfigError

from .conftest import place, same

ROBOT = {"asset_name": "robot", "joint_names": [".*"]}


def act(term: mdp.JointAction, *values: float) -> None:
    term.process_actions(torch.tensor(values).repeat(term.num_envs, 1))
    term.apply_actions()


def test_position_targets(env: ManagerBasedRLEnv) -> None:
    data = env.scene.articulations["robot"].data
    term = mdp.JointPositionAction(mdp.JointPositionActionCfg(**ROBOT, scale=0.5), env)
    addresses = term.raw_actions.data_ptr(), term.processed_actions.data_ptr()
    act(term, 1.0, -2.0)
    same(term.raw_actions, [1.0, -2.0])
    same(data.joint_pos_target, [1.0, -1.25])  # defaults 0.5 and -0.25
    act(term, 0.0, 0.0)
    same(data.joint_pos_target, [0.5, -0.25])
    assert (term.raw_actions.data_ptr(), term.processed_actions.data_ptr()) == addresses
    assert term.action_dim == 2


def test_scale_offset_and_clip_by_expression(env: ManagerBasedRLEnv) -> None:
    cfg = mdp.JointPositionActionCfg(
        **ROBOT,
        scale={"shoulder": 2.0},
        offset={"elb.*": 0.1},
        use_default_offset=False,
        clip={"shoulder": (-1.0, 3.0)},
    )
    term = mdp.JointPositionAction(cfg, env)
    act(term, 5.0, 5.0)
    same(env.scene.articulations["robot"].data.joint_pos_target, [3.0, 5.1])
    assert term.io_descriptor() == {
        "target": "joint_position",
        "asset": "robot",
        "entries": ["shoulder", "elbow"],
        "joint_names": ["shoulder", "elbow"],
        "units": ["rad", "rad"],
        "scale": [2.0, 1.0],
        "offset": [0.0, pytest.approx(0.1)],
        "clip": [[-1.0, 3.0], [-float("inf"), float("inf")]],
    }


@pytest.mark.parametrize(
    ("preserve", "entries", "targets"),
    [(True, ["elbow", "shoulder"], [2.0, 1.0]), (False, ["shoulder", "elbow"], [1.0, 2.0])],
)
def test_order_of_joints(env: ManagerBasedRLEnv, preserve: bool, entries: list[str], targets: list[float]) -> None:
    cfg = mdp.JointPositionActionCfg(
        asset_name="robot",
        joint_names=["elbow", "shoulder"],
        preserve_order=preserve,
        use_default_offset=False,
    )
    term = mdp.JointPositionAction(cfg, env)
    act(term, 1.0, 2.0)
    same(env.scene.articulations["robot"].data.joint_pos_target, targets)
    assert term.io_descriptor()["entries"] == entries


def test_some_joints_leave_the_others(env: ManagerBasedRLEnv) -> None:
    data = env.scene.articulations["robot"].data
    data.joint_vel_target.fill_(9.0)
    cfg = mdp.JointVelocityActionCfg(asset_name="robot", joint_names=["elbow"], scale=3.0)
    act(mdp.JointVelocityAction(cfg, env), 1.0)
    same(data.joint_vel_target, [9.0, 5.0])  # the elbow's default velocity is 2


def test_efforts(env: ManagerBasedRLEnv) -> None:
    act(mdp.JointEffortAction(mdp.JointEffortActionCfg(**ROBOT, scale=10.0), env), 0.5, -1.0)
    same(env.scene.articulations["robot"].data.joint_effort_target, [5.0, -10.0])


def test_relative_positions(env: ManagerBasedRLEnv) -> None:
    place(env, joint_pos=(0.2, -0.3))
    term = mdp.RelativeJointPositionAction(mdp.RelativeJointPositionActionCfg(**ROBOT, scale=0.1, offset=5.0), env)
    act(term, 1.0, -1.0)
    same(env.scene.articulations["robot"].data.joint_pos_target, [0.3, -0.4])
    offset = mdp.RelativeJointPositionActionCfg(**ROBOT, scale=0.1, offset=0.5, use_zero_offset=False)
    act(mdp.RelativeJointPositionAction(offset, env), 1.0, -1.0)
    same(env.scene.articulations["robot"].data.joint_pos_target, [0.8, 0.1])


def test_positions_within_the_limits(env: ManagerBasedRLEnv) -> None:
    fingers = {"asset_name": "gripper", "joint_names": [".*"]}
    data = env.scene.articulations["gripper"].data
    term = mdp.JointPositionToLimitsAction(mdp.JointPositionToLimitsActionCfg(**fingers, scale=0.5), env)
    act(term, 1.0, -5.0)  # 0.5 of the range ±1, and clamped to -1; the range is 0 to 4 cm
    same(data.joint_pos_target, [0.03, 0.0])
    assert term.io_descriptor()["limits"] == [pytest.approx([0.0, 0.04])] * 2
    cfg = mdp.JointPositionToLimitsActionCfg(**fingers, rescale_to_limits=False)
    act(mdp.JointPositionToLimitsAction(cfg, env), 0.01, 0.5)
    same(data.joint_pos_target, [0.01, 0.04])


def test_binary_gripper(env: ManagerBasedRLEnv) -> None:
    cfg = mdp.BinaryJointPositionActionCfg(
        asset_name="gripper",
        joint_names=[".*"],
        open_command_expr={".*": 0.04},
        close_command_expr={"left": 0.0, "right": 0.01},
    )
    term = mdp.BinaryJointPositionAction(cfg, env)
    assert term.action_dim == 1
    term.process_actions(torch.tensor([[-0.1], [0.0], [2.0]]))
    term.apply_actions()
    expected = torch.tensor([[0.0, 0.01], [0.04, 0.04], [0.04, 0.04]])
    same(env.scene.articulations["gripper"].data.joint_pos_target, expected)
    term.process_actions(torch.tensor([[True], [False], [True]]))
    same(term.processed_actions, torch.tensor([[0.04, 0.04], [0.0, 0.01], [0.04, 0.04]]))
    io = term.io_descriptor()
    assert io["entries"] == ["open"] and io["joint_names"] == ["left", "right"]
    assert io["target_units"] == ["m", "m"] and io["close"] == pytest.approx([0.0, 0.01])


def test_reset_clears_the_raw_action_of_the_masked(env: ManagerBasedRLEnv) -> None:
    term = mdp.JointPositionAction(mdp.JointPositionActionCfg(**ROBOT), env)
    act(term, 1.0, 1.0)
    term.reset(torch.tensor([True, False, False]))
    same(term.raw_actions, torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]))


def test_the_manager_hands_each_term_its_slice(env: ManagerBasedRLEnv) -> None:
    env.step(torch.tensor([0.1, 0.2, 1.0, 3.0]).repeat(3, 1))
    same(env.scene.articulations["robot"].data.joint_effort_target, [0.1, 0.2])
    same(env.scene.articulations["gripper"].data.joint_pos_target, [0.01, 0.03])


def test_bad_settings(env: ManagerBasedRLEnv) -> None:
    with pytest.raises(ConfigError, match="set use_default_offset=False"):
        mdp.JointPositionAction(mdp.JointPositionActionCfg(**ROBOT, offset=0.3), env)
    with pytest.raises(ConfigError, match="joint 'elbow' has no position limits"):
        mdp.JointPositionToLimitsAction(mdp.JointPositionToLimitsActionCfg(**ROBOT), env)
    with pytest.raises(ConfigError, match="'robot', scale: no match for 'sholder'; did you mean 'shoulder'"):
        mdp.JointPositionAction(mdp.JointPositionActionCfg(**ROBOT, scale={"sholder": 1.0}), env)
    cfg = mdp.BinaryJointPositionActionCfg(**ROBOT, open_command_expr={"elbow": 1.0}, close_command_expr={".*": 0.0})
    with pytest.raises(ConfigError, match="open_command_expr: no position for joint 'shoulder'"):
        mdp.BinaryJointPositionAction(cfg, env)
    with pytest.raises(ConfigError, match="'cube' is a RigidObject"):
        mdp.JointPositionAction(mdp.JointPositionActionCfg(asset_name="cube", joint_names=[".*"]), env)
