"""No term of a step reads the device from the host, or has a shape that depends on data."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from palestra.envs import ManagerBasedRLEnv, mdp
from palestra.envs.mdp import randomizations
from palestra.envs.rng import RandomStream
from palestra.managers import EventTermCfg, ManagerTermBaseCfg, SceneEntityCfg

from .conftest import CommandsCfg, MakeEnv, resolved
from .test_commands import pose_term
from .test_gait import gait_term, walking
from .test_pose_2d_command import on_boxes, pose_2d_term, terrain_cfg
from .test_reward_kernels import factors, kernel

FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "unique", "lift_fresh", "equal")
"""Reads of one number, shapes that depend on data, and constants made from Python lists (a copy to the device)."""


class HostFree(TorchDispatchMode):
    """Fails on an operation that a CUDA graph cannot capture."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().split("::")[1].split(".")[0]
        assert name not in FORBIDDEN, f"{func.name()} needs the host"
        if name in ("index", "index_put", "index_put_"):
            kinds = {index.dtype for index in args[1] if index is not None}
            assert not kinds & {torch.bool, torch.uint8}, f"{func.name()} by a mask has a shape that depends on data"
        return func(*args, **(kwargs or {}))


def test_the_check_can_fail(env: ManagerBasedRLEnv) -> None:
    mask = torch.tensor([True, False])
    for bad in (
        lambda: mask.nonzero(),
        lambda: bool(mask.any()),
        lambda: torch.zeros(2)[mask],
        lambda: torch.tensor([1.0]),
    ):
        with pytest.raises(AssertionError), HostFree():
            bad()


def check(call: Callable[[], Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RandomStream, "_on_host", lambda self: False)  # draws as on a GPU; here numpy would
        call()  # tables of constants are made at the first use
        with HostFree():
            call()


def test_observations_rewards_and_terminations(env: ManagerBasedRLEnv) -> None:
    from palestra.envs.mdp import observations, rewards, terminations

    arguments: dict[str, dict[str, Any]] = {
        "generated_commands": {"command_name": "velocity"},
        "base_height_l2": {"target_height": 1.0},
        "joint_vel_l1": {"asset_cfg": SceneEntityCfg("robot")},
        "joint_vel_limits": {"soft_ratio": 0.9},
        "undesired_contacts": {"threshold": 1.0},
        "contact_forces": {"threshold": 1.0},
        "illegal_contact": {"threshold": 1.0},
        "feet_air_time": {"command_name": "velocity", "threshold": 0.5},
        "track_lin_vel_xy_exp": {"std": 0.5, "command_name": "velocity"},
        "track_ang_vel_z_exp": {"std": 0.5, "command_name": "velocity"},
        "bad_orientation": {"limit_angle": 1.0},
        "joint_pos_out_of_manual_limit": {"bounds": (-1.0, 1.0)},
        "root_height_below_minimum": {"minimum_height": 0.2},
    }
    sensor = resolved(env, "contacts", body_names=["base", "hand"])
    for module in (observations, rewards, terminations):
        for name in module.__all__:
            term = getattr(module, name)
            params = dict(arguments.get(name, {}))
            if "sensor_cfg" in term.__code__.co_varnames[: term.__code__.co_argcount]:
                params["sensor_cfg"] = sensor
            check(lambda term=term, params=params: term(env, **params))


def test_events_and_curriculum(env: ManagerBasedRLEnv) -> None:
    mask = torch.tensor([True, False, True])
    elbow = resolved(env, "robot", joint_names=["elbow"])
    check(lambda: mdp.reset_scene_to_default(env, mask, True))
    check(lambda: mdp.reset_root_state_uniform(env, mask, {"x": (-1.0, 1.0)}, {"yaw": (-1.0, 1.0)}))
    check(lambda: mdp.reset_joints_by_scale(env, mask, (0.5, 1.5), (0.0, 1.0), elbow))
    check(lambda: mdp.reset_joints_by_offset(env, mask, (0.5, 1.5), (0.0, 1.0)))
    check(lambda: mdp.push_by_setting_velocity(env, mask, {"x": (-1.0, 1.0)}))
    check(lambda: mdp.reset_root_state_with_random_orientation(env, mask, {"x": (-1.0, 1.0)}, {"yaw": (-1.0, 1.0)}))
    check(lambda: mdp.modify_reward_weight(env, mask, "track", 1.0, 5))


def test_randomizations(make_env: MakeEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them in one environment, but for the engine's own work on numpy arrays."""
    robot, arm = SceneEntityCfg("robot"), SceneEntityCfg("robot", joint_names=["shoulder"])
    scale = {"operation": "scale", "asset_cfg": robot}
    some, none = (0.5, 1.0), (0.0, 0.0)
    terms: dict[Any, dict[str, Any]] = {
        mdp.randomize_rigid_body_material: {
            "static_friction_range": some,
            "dynamic_friction_range": some,
            "restitution_range": some,
            "num_buckets": 4,
            "asset_cfg": robot,
            "make_consistent": True,
        },
        mdp.randomize_rigid_body_mass: {**scale, "mass_distribution_params": some, "distribution": "log_uniform"},
        mdp.add_body_mass: {"asset_cfg": robot, "mass_distribution_params": some},
        mdp.randomize_rigid_body_inertia: {**scale, "inertia_distribution_params": some},
        mdp.randomize_rigid_body_com: {"asset_cfg": robot, "com_range": {"x": none, "z": some}},
        mdp.randomize_actuator_gains: {
            "asset_cfg": robot,
            "stiffness_distribution_params": some,
            "damping_distribution_params": some,
        },
        mdp.randomize_motor_strength: {"strength_distribution_params": some},
        mdp.randomize_joint_parameters: {
            "asset_cfg": arm,
            "friction_distribution_params": some,
            "armature_distribution_params": some,
            "damping_distribution_params": some,
            "lower_limit_distribution_params": none,
            "upper_limit_distribution_params": none,
            "operation": "add",
        },
        mdp.randomize_physics_scene_gravity: {
            "gravity_distribution_params": ([0.0] * 3, [0.1] * 3),
            "operation": "add",
            "distribution": "gaussian",
        },
        mdp.apply_external_force_torque: {"force_range": some, "torque_range": some},
        mdp.randomize_action_delay: {"delay_range": (0, 2)},
        mdp.randomize_encoder_bias: {"bias_range": some},
    }
    assert {term.__name__ for term in terms} == set(randomizations.__all__)
    events = {f"event_{k}": EventTermCfg(func=f, mode="reset", params=p) for k, (f, p) in enumerate(terms.items())}
    env = make_env(events=events)
    for name in ("model_field", "write_model", "write", "set_const"):
        monkeypatch.setattr(env.engine, name, _outside_modes(getattr(env.engine, name)))
    mask = torch.tensor([True, False, True])
    check(lambda: env.event_manager.apply("reset", mask))
    check(lambda: env.action_manager.process_action(torch.zeros(3, env.num_actions)))
    check(lambda: env.scene.articulations["robot"].write_data_to_sim())


def _outside_modes(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with _disable_current_modes():
            return method(*args, **kwargs)

    return call


def test_commands(env: ManagerBasedRLEnv) -> None:
    cfg = CommandsCfg().velocity.replace(heading_command=True, rel_standing_envs=0.1)
    cfg.ranges.heading = (-3.0, 3.0)
    for term in (
        mdp.UniformVelocityCommand(cfg, env),
        pose_term(env, make_quat_unique=True),
        pose_2d_term(env),
        pose_2d_term(env, heading=None, simple_heading=True),
        gait_term(env),
    ):
        check(lambda term=term: term.compute(0.02))
        mask = env.all_envs
        check(lambda term=term, mask=mask: term.reset(mask))


def test_targets_on_the_terrain() -> None:
    env = on_boxes("target", 2)
    for cfg in (terrain_cfg(), terrain_cfg(None, simple_heading=True)):
        term = mdp.TerrainBasedPose2dCommand(cfg, env)
        check(lambda term=term: term.compute(0.02))
        check(lambda term=term: term.reset(env.all_envs))


def test_rewards_made_of_others_and_the_gait(make_env: MakeEnv) -> None:
    height = ManagerTermBaseCfg(func=mdp.base_height_l2, params={"target_height": 1.0})
    for env in (make_env(rewards={"kernel": kernel(), "product": factors(one=height, two=height)}), walking(make_env)):
        valid = env.all_envs
        check(lambda env=env, valid=valid: env.reward_manager.compute(0.02, valid))
        check(lambda env=env, valid=valid: env.reward_manager.reset(valid))


def test_actions(env: ManagerBasedRLEnv) -> None:
    robot = {"asset_name": "robot", "joint_names": [".*"]}
    fingers = {"asset_name": "gripper", "joint_names": [".*"]}
    terms = [
        mdp.JointPositionAction(mdp.JointPositionActionCfg(**robot, clip={"elbow": (-1.0, 1.0)}), env),
        mdp.RelativeJointPositionAction(mdp.RelativeJointPositionActionCfg(**robot), env),
        mdp.JointVelocityAction(mdp.JointVelocityActionCfg(**robot), env),
        mdp.JointEffortAction(mdp.JointEffortActionCfg(**robot), env),
        mdp.JointPositionToLimitsAction(mdp.JointPositionToLimitsActionCfg(**fingers), env),
        mdp.BinaryJointPositionAction(
            mdp.BinaryJointPositionActionCfg(**fingers, open_command_expr={".*": 0.04}, close_command_expr={".*": 0.0}),
            env,
        ),
    ]
    for term in terms:
        actions = torch.zeros(env.num_envs, term.action_dim)
        check(lambda term=term, actions=actions: (term.process_actions(actions), term.apply_actions()))
        check(lambda term=term: term.reset(env.all_envs))
