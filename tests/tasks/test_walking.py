"""Terms of the walking tasks against numbers worked out by hand, and the stages in which humanoids learn."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from palestra.cli.configuration import Configs
from palestra.cli.play import build
from palestra.config import load_agent_cfg, load_env_cfg, make
from palestra.errors import ConfigError
from palestra.managers import SceneEntityCfg
from palestra.rl import OnPolicyRunner
from palestra.tasks.locomotion import mdp as walking
from palestra.tasks.locomotion.velocity import STAGES


def humanoid(task: str = "Velocity-Flat-G1", num_envs: int = 4, **stages: Any) -> Any:
    cfg = load_env_cfg(task)
    cfg.sim.threads = 1
    cfg.events.push = None
    cfg.curriculum.stages.params.update(stages)
    env = make(task, num_envs=num_envs, cfg=cfg)
    env.reset(seed=0)
    return env


def feet(env: Any, air: list[list[float]], contact: list[list[float]]) -> None:
    data = env.scene["feet"].data
    data.current_air_time.copy_(torch.tensor(air))
    data.current_contact_time.copy_(torch.tensor(contact))


def test_single_stance_is_rewarded_for_its_shorter_half_up_to_the_threshold() -> None:
    env = humanoid()
    env.command_manager.get_command("base_velocity")[:] = torch.tensor([0.5, 0.0, 0.0])
    # One foot down for 0.3 s, the other up for 0.2 s; the same for 0.9 s and 0.6 s; both down; both up.
    feet(env, [[0.0, 0.2], [0.6, 0.0], [0.0, 0.0], [0.1, 0.2]], [[0.3, 0.0], [0.0, 0.9], [0.2, 0.4], [0.0, 0.0]])
    args = {"command_name": "base_velocity", "threshold": 0.4, "sensor_cfg": SceneEntityCfg("feet")}
    reward = walking.feet_air_time_positive_biped(env, **args)
    assert reward.tolist() == pytest.approx([0.2, 0.4, 0.0, 0.0])
    env.command_manager.get_command("base_velocity")[:] = torch.tensor([0.05, 0.05, 1.0])  # slower than 0.1 m/s
    assert walking.feet_air_time_positive_biped(env, **args).tolist() == [0.0] * 4


def test_velocity_is_that_of_the_upright_frame() -> None:
    env = humanoid()
    env.command_manager.get_command("base_velocity")[:] = torch.tensor([0.6, 0.0, 0.5])
    half = 0.5**0.5
    pitched = (math.cos(0.3), 0.0, math.sin(0.3), 0.0)  # leaning forward by 0.6 rad
    poses = [(1.0, 0.0, 0.0, 0.0), pitched, (half, 0.0, 0.0, half), (1.0, 0.0, 0.0, 0.0)]
    state = torch.zeros(4, 13)
    state[:, 2] = 0.8
    state[:, 3:7] = torch.tensor(poses)
    state[:, 7] = 0.6
    state[3, 7] = 0.1
    state[:, 12] = torch.tensor([0.5, 0.5, 0.5, -0.1])
    robot = env.scene["robot"]
    robot.write_root_state_to_sim(state, env.all_envs)
    env.engine.refresh()
    planar = walking.track_lin_vel_xy_yaw_frame_exp(env, std=0.5, command_name="base_velocity")
    # The third is turned left by 90° and moves to its right: error (0.6, 0.6) m/s. The fourth is 0.5 m/s too slow.
    assert planar.tolist() == pytest.approx([1.0, 1.0, math.exp(-0.72 / 0.25), math.exp(-1.0)], abs=1e-4)
    turning = walking.track_ang_vel_z_world_exp(env, std=0.5, command_name="base_velocity")
    assert turning.tolist() == pytest.approx([1.0, 1.0, 1.0, math.exp(-0.36 / 0.25)], abs=1e-4)


def test_a_sliding_foot_counts_only_while_it_touches() -> None:
    env = humanoid()
    state = torch.zeros(4, 13)
    state[:, 2], state[:, 3] = 0.8, 1.0
    state[:, 7], state[:, 8] = 0.3, 0.4  # all bodies move at 0.5 m/s
    robot = env.scene["robot"]
    robot.write_root_state_to_sim(state, env.all_envs)
    robot.write_joint_state_to_sim(robot.data.default_joint_pos, torch.zeros(4, 29))
    env.engine.refresh()
    force = torch.tensor([[0.0, 0.0], [50.0, 0.0], [50.0, 50.0], [0.5, 0.9]])
    env.scene["feet"].data.net_forces_w[..., 2] = force
    assert env.scene["feet"].body_names == ["left_ankle_roll_link", "right_ankle_roll_link"]
    asset = SceneEntityCfg("robot", body_names=[".*_ankle_roll_link"])
    asset.resolve(env.scene)
    assert [robot.data.body_names[i] for i in asset.body_ids] == env.scene["feet"].body_names
    slide = walking.feet_slide(env, sensor_cfg=SceneEntityCfg("feet"), asset_cfg=asset)
    assert slide.tolist() == pytest.approx([0.0, 0.5, 1.0, 0.0], abs=1e-4)


def test_standing_still_is_asked_only_of_those_told_to_stand() -> None:
    env = humanoid()
    robot = env.scene["robot"]
    position = robot.data.default_joint_pos.clone()
    position[:, :2] += torch.tensor([0.1, -0.2])
    robot.write_joint_state_to_sim(position, torch.zeros(4, 29))
    env.engine.refresh()
    commands = torch.tensor([[0.0, 0.0, 0.0], [0.05, 0.0, 1.0], [0.1, 0.0, 0.0], [0.0, 0.5, 0.0]])
    env.command_manager.get_command("base_velocity")[:] = commands
    reward = walking.stand_still_joint_deviation_l1(env, command_name="base_velocity")
    assert reward.tolist() == pytest.approx([0.3, 0.3, 0.0, 0.0], abs=1e-5)


def finish(env: Any, fallen: int, seconds: float, tracked: float) -> None:
    """End all episodes, ``fallen`` of them by a fall, with the tracking terms at ``tracked`` of their maximum."""
    steps = round(seconds / env.step_dt)
    env.episode_length_buf.fill_(steps)
    manager = env.termination_manager
    manager.terminated.copy_(torch.arange(env.num_envs) < fallen)
    manager.time_outs.copy_(torch.arange(env.num_envs) >= fallen)
    for name in ("track_lin_vel_xy_exp", "track_ang_vel_z_exp"):
        weight = env.reward_manager.get_weight(name)
        env.reward_manager.get_episode_sum(name).copy_(weight * tracked * seconds)
    env.curriculum_manager.compute(env.all_envs)


def ranges(env: Any) -> dict[str, list[float]]:
    found = env.command_manager.get_term("base_velocity").ranges
    return {name: pytest.approx(found[name].tolist()) for name in ("lin_vel_x", "lin_vel_y", "ang_vel_z")}


def test_stages_follow_each_other_as_they_are_mastered() -> None:
    env = humanoid(num_envs=10)
    env.fetch_log()
    still = {"lin_vel_x": [0.0, 0.0], "lin_vel_y": [0.0, 0.0], "ang_vel_z": [0.0, 0.0]}
    assert still == ranges(env)
    assert (env.command_manager.get_command("base_velocity") == 0.0).all()
    finish(env, fallen=3, seconds=10.0, tracked=1.0)  # 0.7 of the episodes survive; 0.8 are needed
    assert env.fetch_log()["Curriculum/stages/stage"] == 0.0
    for _ in range(3):
        finish(env, fallen=0, seconds=20.0, tracked=0.5)  # balance does not ask where
    assert env.fetch_log()["Curriculum/stages/stage"] == 1.0
    for _ in range(5):
        finish(env, fallen=0, seconds=20.0, tracked=0.5)  # standing does
    log = env.fetch_log()
    assert (log["Curriculum/stages/stage"], log["Curriculum/stages/survival"]) == (1.0, 1.0)
    assert log["Curriculum/stages/tracking"] == pytest.approx(0.5)
    finish(env, fallen=0, seconds=20.0, tracked=0.9)
    assert env.fetch_log()["Curriculum/stages/stage"] == 2.0
    assert ranges(env) == {"lin_vel_x": [0.2, 0.8], "lin_vel_y": [0.0, 0.0], "ang_vel_z": [-0.2, 0.2]}
    env.command_manager.reset(env.all_envs)
    speed = env.command_manager.get_command("base_velocity")[:, 0]
    assert ((speed == 0.0) | (speed >= 0.2)).all() and speed.max() > 0.2
    for _ in range(30):
        finish(env, fallen=0, seconds=20.0, tracked=0.9)
    assert env.fetch_log()["Curriculum/stages/stage"] == 3.0  # the last
    assert ranges(env) == {"lin_vel_x": [0.0, 1.0], "lin_vel_y": [-0.5, 0.5], "ang_vel_z": [-1.0, 1.0]}
    env.close()


def test_a_stage_needs_enough_episodes_and_short_ones_count_by_their_length() -> None:
    env = humanoid(num_envs=4, episodes=3.0)
    for k in range(3):
        finish(env, fallen=0, seconds=1.0, tracked=0.8)
        assert env.fetch_log()["Curriculum/stages/stage"] == float(k == 2)
    finish(env, fallen=4, seconds=1.0, tracked=0.8)
    log = env.fetch_log()
    assert (log["Curriculum/stages/survival"], log["Curriculum/stages/tracking"]) == (0.0, pytest.approx(0.8))
    env.close()


def test_a_reset_by_hand_is_no_finished_episode() -> None:
    env = humanoid()
    for _ in range(20):
        env.step(torch.zeros(4, 29))
        env.reset()
    term = env.curriculum_manager.class_terms()["stages"]
    assert float(term.count) == 0.0
    env.close()


def test_the_stage_survives_a_checkpoint() -> None:
    env = humanoid(num_envs=4)
    for _ in range(3):
        finish(env, fallen=0, seconds=20.0, tracked=0.9)
    state = {k: v.clone() for k, v in env.curriculum_manager.class_terms()["stages"].state_dict().items()}
    expected = ranges(env)
    saved = env.state_dict()
    again = humanoid(num_envs=4)
    again.load_state_dict(saved)
    term = again.curriculum_manager.class_terms()["stages"]
    assert int(term.stage) == int(state["stage"]) > 0
    torch.testing.assert_close(term.means, state["means"])
    assert {k: v.expected for k, v in expected.items()} == ranges(again)
    for e in (env, again):
        e.close()


def test_play_shows_the_last_stage() -> None:
    env = make("Velocity-Flat-H1-Play", num_envs=2)
    env.reset(seed=0)
    assert env.curriculum_manager.active_terms == []
    assert ranges(env) == {"lin_vel_x": [0.0, 1.0], "lin_vel_y": [-0.5, 0.5], "ang_vel_z": [-1.0, 1.0]}
    env.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": {}}, "there is no stage"),
        ({"stages": {"run": {"lin_vel_w": (0.0, 1.0)}}}, "stage 'run': no entry 'lin_vel_w'; did you mean 'lin_vel_"),
        (
            {"stages": {"run": {"lin_vel_x": (1.0, 0.0)}}},
            r"stage 'run': lin_vel_x is \(1.0, 0.0\); low must not exceed",
        ),
        ({"stages": {"run": {"lin_vel_x": 1.0}}}, r"stage 'run': lin_vel_x is 1.0; it must be \(low, high\)"),
        ({"stages": {"run": {"survival": 80.0}}}, "stage 'run': survival and tracking are shares, from 0 to 1"),
        ({"episodes": 0.0}, "episodes is 0.0; it must be above 0"),
        ({"reward_names": []}, "reward_names is empty"),
    ],
)
def test_wrong_stages_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        humanoid(num_envs=1, **change)
    assert "\n" not in str(error.value)


def test_a_reward_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="no reward term 'track'"):
        humanoid(num_envs=1, reward_names=["track"])


@pytest.mark.parametrize(
    ("task", "joints"), [("Velocity-Flat-AnymalC", 12), ("Velocity-Flat-G1", 29), ("Velocity-Flat-H1", 19)]
)
def test_a_robot_without_actions_stands_for_five_seconds(task: str, joints: int) -> None:
    cfg = load_env_cfg(f"{task}-Play")
    cfg.sim.threads = 1
    cfg.events.reset_base.params["velocity_range"] = {}
    cfg.events.reset_robot_joints.params["position_range"] = (1.0, 1.0)
    env = make(f"{task}-Play", num_envs=1, cfg=cfg)
    env.reset(seed=0)
    for _ in range(250):
        _, _, terminated, time_outs, _ = env.step(torch.zeros(1, joints))
        assert not (terminated | time_outs).any()
    data = env.scene["robot"].data
    assert float(data.projected_gravity_b[0, 2]) < -0.99
    env.close()


def test_stages_name_what_the_task_promises() -> None:
    assert list(STAGES) == ["balance", "stand", "walk forward", "turn and vary speed"]


def test_a_policy_is_evaluated_at_the_stage_that_it_had_reached(tmp_path: Path) -> None:
    env = humanoid(num_envs=2)
    stages = env.curriculum_manager.class_terms()["stages"]
    agent = load_agent_cfg("Velocity-Flat-G1")
    agent.logger = "none"
    runner = OnPolicyRunner(env, agent, None, task="Velocity-Flat-G1")
    for stage, fastest in ((0, 0.0), (2, 0.8), (3, 1.0)):
        stages.load_state_dict({**stages.state_dict(), "stage": torch.tensor([stage])})
        runner.save(tmp_path / "policy.pth")
        cfg = load_env_cfg("Velocity-Flat-G1")
        cfg.scene.num_envs, cfg.sim.threads = 2, 1
        evaluated, _ = build(Configs("Velocity-Flat-G1", cfg, agent), tmp_path / "policy.pth")
        ranges = evaluated.command_manager.get_term("base_velocity").ranges
        assert float(ranges["lin_vel_x"][1]) == pytest.approx(fastest)
        evaluated.close()
    env.close()
