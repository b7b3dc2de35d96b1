"""Command terms: draws, masks, controllers and metrics by hand."""

import math

import pytest
import torch

from palestra.envs import ManagerBasedRLEnv, mdp
from palestra.errors import ConfigError
from palestra.utils.math import quat_from_euler_xyz

from .conftest import CommandsCfg, MakeEnv, place, same

HALF = math.sqrt(0.5)


def velocity_cfg(**settings: object) -> mdp.UniformVelocityCommandCfg:
    return CommandsCfg().velocity.replace(**settings)


def velocity_term(env: ManagerBasedRLEnv, **settings: object) -> mdp.UniformVelocityCommand:
    return mdp.UniformVelocityCommand(velocity_cfg(**settings), env)


def with_heading(heading: tuple[float, float] | None) -> mdp.UniformVelocityCommandCfg.Ranges:
    return velocity_cfg().ranges.replace(heading=heading)


def pose_term(env: ManagerBasedRLEnv, **settings: object) -> mdp.UniformPoseCommand:
    ranges = dict.fromkeys(("pos_x", "pos_y", "pos_z", "roll", "pitch", "yaw"), (0.0, 0.0))
    ranges |= {k: v for k, v in settings.items() if k in ranges}  # type: ignore[misc]
    rest = {k: v for k, v in settings.items() if k not in ranges}
    cfg = mdp.UniformPoseCommandCfg(
        asset_name="robot",
        body_name="hand",
        resampling_time_range=(5.0, 5.0),
        ranges=mdp.UniformPoseCommandCfg.Ranges(**ranges),
        **rest,  # type: ignore[arg-type]
    )
    return mdp.UniformPoseCommand(cfg, env)


def test_velocity_draws_fill_their_ranges(make_env: MakeEnv) -> None:
    env = make_env(num_envs=300)
    term = velocity_term(env)
    address = term.command.data_ptr()
    term.reset(env.all_envs)
    for column, limit in enumerate((1.0, 0.5, 2.0)):
        values = term.command[:, column]
        assert -limit <= values.min() < -0.9 * limit
        assert 0.9 * limit < values.max() <= limit
        assert values.mean() == pytest.approx(0.0, abs=0.15 * limit)
    assert term.command.data_ptr() == address
    assert term.time_left.tolist() == [10.0] * 300


def test_resampling_keeps_the_other_environments_and_the_clock(env: ManagerBasedRLEnv) -> None:
    term = velocity_term(env, resampling_time_range=(0.1, 0.1))
    term.reset(env.all_envs)
    first = term.command.clone()
    term.reset(torch.tensor([False, True, False]))
    assert torch.equal(term.command[[0, 2]], first[[0, 2]])
    assert not torch.equal(term.command[1], first[1])
    second = term.command.clone()
    env.rng.advance()
    for _ in range(4):
        term.compute(0.02)
    assert torch.equal(term.command, second)
    term.compute(0.02)
    assert (term.command != second).all()
    same(term.time_left, 0.1)


def test_standing_environments(make_env: MakeEnv) -> None:
    env = make_env(num_envs=400)
    term = velocity_term(env, rel_standing_envs=0.25)
    term.reset(env.all_envs)
    assert term.is_standing_env.float().mean() == pytest.approx(0.25, abs=0.06)
    assert (term.command[term.is_standing_env] == 0.0).all()
    assert (term.command[~term.is_standing_env] != 0.0).all()


def test_heading_controller_by_hand(env: ManagerBasedRLEnv) -> None:
    place(env, quat=(math.cos(0.5), 0.0, 0.0, math.sin(0.5)))  # the robot looks along 1 rad
    cfg = {"heading_command": True, "heading_control_stiffness": 0.5}
    same(velocity_after_reset(env, heading=(2.0, 2.0), **cfg)[:, 2], 0.5 * 1.0)
    # The shorter way round from 1 to -3 rad is +2.283 rad.
    same(velocity_after_reset(env, heading=(-3.0, -3.0), **cfg)[:, 2], 0.5 * (2 * math.pi - 4.0))
    cfg["heading_control_stiffness"] = 10.0
    same(velocity_after_reset(env, heading=(2.0, 2.0), **cfg)[:, 2], 2.0)  # the limit of the yaw rate
    rate = velocity_after_reset(env, heading=(2.0, 2.0), rel_heading_envs=0.0, **cfg)[:, 2]
    assert len(set(rate.tolist())) == 3  # drawn, not controlled


def velocity_after_reset(env: ManagerBasedRLEnv, heading: tuple[float, float], **settings: object) -> torch.Tensor:
    term = velocity_term(env, ranges=with_heading(heading), **settings)
    term.reset(env.all_envs)
    return term.command


def test_a_standing_environment_does_not_turn_to_its_heading(env: ManagerBasedRLEnv) -> None:
    command = velocity_after_reset(env, heading=(2.0, 2.0), heading_command=True, rel_standing_envs=1.0)
    same(command, 0.0)


def test_velocity_metrics_are_means_over_the_episode(env: ManagerBasedRLEnv) -> None:
    term = velocity_term(env)
    term.reset(env.all_envs)
    term.vel_command_b.copy_(torch.tensor([1.0, 0.0, 0.5]))
    for speed, rate in ((1.0, 0.5), (0.7, -0.5), (1.0, 0.2)):
        place(env, lin_vel=(speed, 0.4, 0.0), ang_vel=(0.0, 0.0, rate))
        term.compute(0.02)
    same(term.metrics["error_vel_xy"], (0.4 + 0.5 + 0.4) / 3)
    same(term.metrics["error_vel_yaw"], (0.0 + 1.0 + 0.3) / 3)
    term.reset(torch.tensor([True, False, False]))
    same(term.metrics["error_vel_xy"], torch.tensor([0.0, 1.3 / 3, 1.3 / 3]))
    term.vel_command_b.copy_(torch.tensor([1.0, 0.0, 0.5]))
    term.compute(0.02)
    same(term.metrics["error_vel_xy"], torch.tensor([0.4, 1.7 / 4, 1.7 / 4]))


def test_metrics_reach_the_log(env: ManagerBasedRLEnv) -> None:
    env.episode_length_buf.fill_(49)
    env.step(torch.zeros(3, 4))
    assert "Metrics/velocity/error_vel_xy" in env.fetch_log()


def test_ranges_can_be_written_on_the_device(env: ManagerBasedRLEnv) -> None:
    term = velocity_term(env)
    term.ranges["lin_vel_x"][:] = torch.tensor([3.0, 3.0])
    term.reset(env.all_envs)
    same(term.command[:, 0], 3.0)
    assert term.ranges_state()["ranges"][0].tolist() == [3.0, 3.0]
    with pytest.raises(ConfigError, match="no range 'lin_vel_w'; did you mean 'lin_vel_"):
        term.ranges["lin_vel_w"]


def test_bad_velocity_settings(env: ManagerBasedRLEnv) -> None:
    with pytest.raises(ConfigError, match=r"ranges.heading must be \(low, high\)"):
        velocity_term(env, heading_command=True)
    with pytest.raises(ConfigError, match="low must not exceed high"):
        velocity_term(env, ranges=velocity_cfg().ranges.replace(lin_vel_y=(1.0, 0.0)))
    with pytest.raises(ConfigError, match=r"lin_vel_x is 3\.0"):
        velocity_term(env, ranges=velocity_cfg().ranges.replace(lin_vel_x=3.0))


def test_pose_by_hand(env: ManagerBasedRLEnv) -> None:
    term = pose_term(env, pos_x=(0.3, 0.3), pos_z=(0.5, 0.5), yaw=(math.pi / 2, math.pi / 2))
    # The root stands at (1, 0, 5), turned a quarter about z; the command's own turn adds a second quarter.
    place(env, pos=(1.0, 0.0, 5.0), quat=(HALF, 0.0, 0.0, HALF))
    term.reset(env.all_envs)
    same(term.command, [0.3, 0.0, 0.5, HALF, 0.0, 0.0, HALF])
    same(term.pose_command_w[:, :3], [1.0, 0.3, 5.5])
    same(term.pose_command_w[:, 3:].abs(), [0.0, 0.0, 0.0, 1.0])
    # The hand is at (0.3, 0, 0.2) in the root's frame, unturned.
    term.compute(0.02)
    same(term.metrics["position_error"], 0.3)
    same(term.metrics["orientation_error"], math.pi / 2)


def test_pose_draws_mask_and_unique_quaternion(make_env: MakeEnv) -> None:
    env = make_env(num_envs=200)
    ranges = {"pos_y": (-0.5, 0.5), "roll": (-1.0, 1.0), "yaw": (2.0, 5.0)}
    term = pose_term(env, make_quat_unique=True, **ranges)
    term.reset(env.all_envs)
    assert -0.5 <= term.command[:, 1].min() < -0.45 and 0.45 < term.command[:, 1].max() <= 0.5
    assert (term.command[:, 3] >= 0.0).all()
    plain = pose_term(env, **ranges)
    plain.reset(env.all_envs)
    assert (plain.command[:, 3] < 0.0).any()
    kept = term.command.clone()
    mask = torch.arange(200) < 50
    term.reset(mask)
    assert torch.equal(term.command[50:], kept[50:])
    assert (term.command[:50, 1] != kept[:50, 1]).all()


def test_pose_euler_order(env: ManagerBasedRLEnv) -> None:
    angles = (0.3, -0.4, 0.5)
    term = pose_term(env, **dict(zip(("roll", "pitch", "yaw"), ((a, a) for a in angles), strict=True)))
    term.reset(env.all_envs)
    expected = quat_from_euler_xyz(*(torch.tensor(a) for a in angles))
    same(term.command[:, 3:], expected)


def test_pose_needs_one_body(env: ManagerBasedRLEnv) -> None:
    cfg = pose_term(env).cfg.replace(body_name=".*a.*")
    with pytest.raises(ConfigError, match="it must match one body"):
        mdp.UniformPoseCommand(cfg, env)


def test_null_command(env: ManagerBasedRLEnv) -> None:
    term = mdp.NullCommand(mdp.NullCommandCfg(), env)
    term.reset(env.all_envs)
    term.compute(0.02)
    assert term.command.shape == (3, 0)


def test_descriptions_have_the_width_of_the_command(env: ManagerBasedRLEnv) -> None:
    for term in (velocity_term(env), pose_term(env), mdp.NullCommand(mdp.NullCommandCfg(), env)):
        assert len(term.io.entries) == len(term.io.units) == term.command.shape[1]
