"""Every registered task builds and runs; its numbers are those of its specification."""

import pytest
import torch

from palestra.config import load_agent_cfg, load_env_cfg, make, task_ids

WIDTHS = {
    "Ant": (35, 8),
    "Cartpole": (4, 1),
    "Cartpole-Direct": (4, 1),
    "Cartpole-NoVelocity": (2, 1),
    "Reach-Franka": (17, 7),
    "Reach-Franka-DR": (24, 7),
    "Reach-Franka-Direct": (17, 7),
    "Velocity-Flat-AnymalC": (45, 12),
    "Velocity-Flat-G1": (9 + 3 * 29 + 6, 29),
    "Velocity-Flat-Go2": (45, 12),
    "Velocity-Flat-Go2-DR": (45, 12),
    "Velocity-Flat-H1": (9 + 3 * 19 + 6, 19),
    "Velocity-Rough-AnymalC": (45 + 17 * 11, 12),
    "Velocity-Rough-Go2": (45 + 17 * 11, 12),
}
EPISODES = {
    "Ant": 750,
    "Cartpole": 500,
    "Cartpole-Direct": 500,
    "Cartpole-NoVelocity": 500,
    "Reach-Franka": 500,
    "Reach-Franka-DR": 500,
    "Reach-Franka-Direct": 500,
    "Velocity-Flat-AnymalC": 1000,
    "Velocity-Flat-G1": 1000,
    "Velocity-Flat-Go2": 1000,
    "Velocity-Flat-Go2-DR": 1000,
    "Velocity-Flat-H1": 1000,
    "Velocity-Rough-AnymalC": 1000,
    "Velocity-Rough-Go2": 1000,
}


def noise_groups(cfg) -> list[bool]:
    observations = getattr(cfg, "observations", None)
    return [] if observations is None else [observations.policy.enable_corruption]


def test_the_tables_of_this_test_are_complete() -> None:
    assert sorted(WIDTHS) == [name for name in task_ids() if not name.startswith("Example")]


@pytest.mark.parametrize("play", [False, True])
@pytest.mark.parametrize("task", WIDTHS)
def test_a_task_runs(task: str, play: bool) -> None:
    cfg = load_env_cfg(f"{task}-Play" if play else task)
    cfg.sim.threads = 1
    cfg.check_terms = True
    env = make(f"{task}-Play" if play else task, num_envs=4, cfg=cfg)
    assert (env.observation_dims["policy"], env.num_actions) == WIDTHS[task]
    assert env.max_episode_length == EPISODES[task]
    obs, _ = env.reset(seed=0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        action = 2.0 * torch.rand(4, env.num_actions, generator=generator) - 1.0
        obs, reward, _, _, extras = env.step(action)
        assert obs["policy"].shape == (4, WIDTHS[task][0])
        for tensor in (obs["policy"], reward, extras["terminal_observation"]["policy"]):
            assert torch.isfinite(tensor).all()
    assert env.fetch_log().get("Episode_Termination/diverged", 0.0) == 0.0
    assert env.check_health() == []
    env.close()


@pytest.mark.parametrize("task", WIDTHS)
def test_play_variants_are_small_and_without_noise(task: str) -> None:
    cfg, play = load_env_cfg(task), load_env_cfg(f"{task}-Play")
    assert play.scene.num_envs == 16 < cfg.scene.num_envs
    assert not any(noise_groups(play))
    assert load_agent_cfg(task).experiment_name == load_agent_cfg(f"{task}-Play").experiment_name


def test_which_tasks_have_noise() -> None:
    noisy = [task for task in WIDTHS if any(noise_groups(load_env_cfg(task)))]
    assert noisy == [task for task in WIDTHS if task == "Reach-Franka-DR" or task.startswith("Velocity")]


def test_the_arms_of_reach_franka_dr_differ_and_keep_to_their_ranges() -> None:
    env = make("Reach-Franka-DR", num_envs=64, seed=0)
    env.reset()
    model, data = env.engine.model, env.scene["robot"].data
    link, hand, other = (model.body(f"robot/{name}").id for name in ("link3", "hand", "link0"))
    mass = env.engine.model_field("body_mass")
    ratio = mass[:, link] / model.body_mass[link]
    assert 0.7 <= ratio.min() < 0.75 and 1.25 < ratio.max() <= 1.3
    assert mass[:, hand].max() > 1.3 * model.body_mass[hand] + 0.3  # a payload on top
    assert mass[:, other].std() == 0.0
    damping = data.joint_damping[:, 0] / 40.0
    assert 0.7 <= damping.min() < 0.8 and 1.25 < damping.max() <= 1.4
    friction = env.engine.model_field("dof_frictionloss")[:, model.joint("robot/joint1").dofadr[0]]
    assert friction.min() < 0.1 and 0.9 < friction.max() <= 1.001
    assert data.encoder_bias[:, :7].abs().max() <= 0.02 and (data.encoder_bias[:, 7:] == 0.0).all()
    assert sorted(env.action_delay.time_lags.unique().tolist()) == [0, 1, 2, 3]
    before = (mass.clone(), data.joint_damping.clone())
    env.reset()
    assert torch.equal(env.engine.model_field("body_mass"), before[0])  # an arm stays the arm that it is
    assert not torch.isclose(data.joint_damping[:, 0], before[1][:, 0]).any()


def test_cartpole_rewards_and_ends() -> None:
    env = make("Cartpole", num_envs=3)
    env.reset(seed=0)
    state = torch.tensor([[0.0, 0.1], [0.0, 0.25], [2.5, 0.0]])  # 12° are 0.2094 rad
    env.scene["robot"].write_joint_state_to_sim(state, torch.zeros(3, 2))
    _, reward, terminated, time_outs, extras = env.step(torch.zeros(3, 1))
    assert terminated.tolist() == [False, True, True]
    assert reward.tolist() == pytest.approx([1.0, -10.0, 1.0 - 10.0], abs=1e-5)
    assert not time_outs.any()
    assert extras["terminal_observation"]["policy"][2, 0].item() == pytest.approx(2.5, abs=1e-3)
    # An action of 1 is a force of 10 N on the cart.
    env.step(torch.ones(3, 1))
    assert env.scene["robot"].data.applied_torque.tolist() == [[10.0, 0.0]] * 3


@pytest.mark.parametrize("task", ["Reach-Franka", "Reach-Franka-Direct"])
def test_reach_rewards(task: str) -> None:
    env = make(task, num_envs=2, seed=0)
    env.reset()
    action = torch.full((2, 7), 0.5)
    action[:, 0] = 3.0  # clipped to 1
    _, reward, terminated, _, extras = env.step(action)
    offset = extras["terminal_observation"]["policy"][:, 14:17] / 2.0  # the observation is scaled by two
    distance = offset.norm(dim=-1)
    norm = (1.0 + 6 * 0.25) ** 0.5
    assert reward.tolist() == pytest.approx((-distance - 0.01 * norm + 10.0 * (distance < 0.05)).tolist(), abs=1e-4)
    assert terminated.tolist() == (distance < 0.05).tolist()
    assert distance.min() > 0.05


@pytest.mark.parametrize("task", ["Reach-Franka", "Reach-Franka-Direct"])
def test_reach_with_a_sparse_reward(task: str) -> None:
    cfg = load_env_cfg(task)
    cfg.reward_preset = "sparse"
    env = make(task, num_envs=2, cfg=cfg, seed=0)
    env.reset()
    *_, reward, terminated, _, _ = env.step(torch.ones(2, 7))
    assert reward.tolist() == [0.0, 0.0]
    assert not terminated.any()


@pytest.mark.parametrize("task", ["Reach-Franka", "Reach-Franka-Direct"])
def test_reaching_the_target_ends_with_success(task: str) -> None:
    env = make(task, num_envs=3, seed=0)
    obs, _ = env.reset()
    env.fetch_log()
    point = env.command_manager.get_command("target") if task == "Reach-Franka" else env.target
    offset = obs["policy"][:, 14:17] / 2.0
    point[1] -= offset[1]  # to where the fingertips are
    _, reward, terminated, _, _ = env.step(torch.zeros(3, 7))
    assert terminated.tolist() == [False, True, False]
    assert reward[1].item() == pytest.approx(10.0, abs=0.05)
    log = env.fetch_log()
    assert log["Metrics/success_rate"] == 1.0
    assert log["Episode/length"] == 1.0
