"""RSL-RL on Palestra's environments, with the real library: wrapper, training, checkpoints, command line, bad input."""

import csv
import json
from pathlib import Path

import pytest
import torch
import yaml
from tiny import STEP_DT, step_count, tiny

pytest.importorskip("rsl_rl", reason="RSL-RL is not installed (pip install 'palestra[rsl-rl]')")

from rsl_rl.algorithms import PPO
from rsl_rl.runners import OnPolicyRunner

from palestra.cli.main import main
from palestra.config import apply_overrides, load_agent_cfg, make
from palestra.envs.base import RLEnv
from palestra.errors import ConfigError
from palestra.integrations.rsl_rl import (
    RslRlMLPModelCfg,
    RslRlOnPolicyRunnerCfg,
    RslRlPpoAlgorithmCfg,
    RslRlRndCfg,
    RslRlRNNModelCfg,
    RslRlSymmetryCfg,
    RslRlTrainer,
    RslRlVecEnvWrapper,
    native_overlay,
    policy_of,
)
from palestra.integrations.rsl_rl.trainer import runner_settings
from palestra.managers import ObservationGroupCfg, ObservationTermCfg, RewardTermCfg
from palestra.rl.checkpoint import load_checkpoint
from palestra.rl.console import TrainingConsole
from palestra.utils import configclass
from palestra.view.offscreen import why_unavailable

Gaussian = RslRlMLPModelCfg.GaussianDistributionCfg
needs_opengl = pytest.mark.skipif(why_unavailable() is not None, reason="no EGL or OSMesa here")


@configclass
class SmallCfg(RslRlOnPolicyRunnerCfg):
    num_steps_per_env: int = 8
    max_iterations: int = 2
    save_interval: int = 1
    logger: str = "none"
    init_at_random_ep_len: bool = False
    actor: RslRlMLPModelCfg = RslRlMLPModelCfg(hidden_dims=[16], distribution_cfg=Gaussian())
    critic: RslRlMLPModelCfg = RslRlMLPModelCfg(hidden_dims=[16])


@configclass
class CountingCfg:
    """The policy sees how old the episode is; the critic sees more."""

    @configclass
    class PolicyCfg(ObservationGroupCfg):
        age = ObservationTermCfg(func=step_count)

    @configclass
    class CriticCfg(ObservationGroupCfg):
        age = ObservationTermCfg(func=step_count)
        again = ObservationTermCfg(func=step_count, scale=-1.0)

    policy: PolicyCfg = PolicyCfg()
    critic: CriticCfg = CriticCfg()


def counting(num_envs: int = 4, **parts) -> RLEnv:
    return tiny(num_envs, observations=CountingCfg(), **parts)


def trainer_on(env: RLEnv, cfg: RslRlOnPolicyRunnerCfg, run_dir: Path | None = None, task: str = "") -> RslRlTrainer:
    trainer = RslRlTrainer(env, cfg, task, TrainingConsole(quiet=True))
    trainer.run_dir = run_dir
    return trainer


def rollout(trainer: RslRlTrainer) -> dict[str, torch.Tensor]:
    """Collect one rollout with the library's own calls; return what its storage holds and what was returned."""
    wrapper, alg = trainer.wrapper, trainer.runner.alg
    seen, rewards, ends, terminal = [], [], [], []
    with torch.inference_mode():
        obs = wrapper.get_observations()
        for _ in range(trainer.cfg.num_steps_per_env):
            seen.append({name: value.clone() for name, value in obs.items()})
            obs, reward, dones, extras = wrapper.step(alg.act(obs))
            rewards.append(reward.clone())
            ends.append(extras["time_outs"].clone())
            terminal.append(extras.get("terminal_observation"))
            alg.process_env_step(obs, reward, dones, extras)
    return {"seen": seen, "rewards": torch.stack(rewards), "time_outs": torch.stack(ends), "terminal": terminal}


# --- the wrapper ------------------------------------------------------------------------------------------------------


def test_what_is_stored_at_a_step_is_what_was_returned_before_it():
    trainer = trainer_on(counting(), SmallCfg(num_steps_per_env=15))
    returned = rollout(trainer)
    stored = trainer.runner.alg.storage.observations
    ages = [float(k % 10) for k in range(15)]  # the episode lasts 10 steps
    assert stored["policy"][:, 0, 0].tolist() == ages
    for t, seen in enumerate(returned["seen"]):
        for name in ("policy", "critic"):
            assert torch.equal(stored[name][t], seen[name])


def test_a_step_returns_what_the_library_expects():
    env = counting()
    wrapper = RslRlVecEnvWrapper(env)
    assert (wrapper.num_envs, wrapper.num_actions, wrapper.max_episode_length) == (4, 1, 10)
    assert wrapper.unwrapped is env and wrapper.cfg is env.cfg and wrapper.device == env.device
    for step in range(1, 12):
        obs, reward, dones, extras = wrapper.step(torch.zeros(4, 1))
        ended = step == 10
        assert obs.batch_size == (4,) and obs["policy"].shape == (4, 1) and obs["critic"].shape == (4, 2)
        assert reward.shape == dones.shape == (4,) and dones.dtype == torch.int64
        assert dones.bool().all() == extras["time_outs"].all() == ended
        assert obs["policy"][0].item() == step % 10
        assert extras["terminal_observation"]["policy"][0].item() == (10 if ended else step % 10)


def test_observations_are_copies():
    wrapper = RslRlVecEnvWrapper(counting())
    first = wrapper.get_observations()
    second, *_ = wrapper.step(torch.zeros(4, 1))
    wrapper.step(torch.zeros(4, 1))
    assert first["policy"][0].item() == 0.0 and second["policy"][0].item() == 1.0


def test_episode_lengths_are_written_where_the_environment_keeps_them():
    env = counting()
    buffer = env.episode_length_buf
    wrapper = RslRlVecEnvWrapper(env)
    wrapper.episode_length_buf = torch.tensor([9, 0, 5, 8])
    assert env.episode_length_buf is buffer
    _, _, dones, _ = wrapper.step(torch.zeros(4, 1))
    assert dones.tolist() == [1, 0, 0, 0]


def test_a_finite_horizon_is_an_end_and_not_a_time_out():
    wrapper = RslRlVecEnvWrapper(counting(is_finite_horizon=True))
    for _ in range(10):
        _, _, dones, extras = wrapper.step(torch.zeros(4, 1))
        assert "time_outs" not in extras
    assert dones.all()


def test_actions_are_clipped_for_the_environment_only():
    received = []
    wrapper = RslRlVecEnvWrapper(counting(), clip_actions=0.5)
    step = wrapper.unwrapped.step
    wrapper.unwrapped.step = lambda action: received.append(action.clone()) or step(action)
    actions = torch.tensor([[2.0], [-3.0], [0.25], [0.5]])
    wrapper.step(actions)
    assert received[0].flatten().tolist() == [0.5, -0.5, 0.25, 0.5]
    assert actions.flatten().tolist() == [2.0, -3.0, 0.25, 0.5]


def remembering(env) -> torch.Tensor:
    """A reward with a memory that it makes at the first step."""
    if not hasattr(env, "steps_seen"):
        env.steps_seen = torch.zeros(env.num_envs)
    env.steps_seen += 1.0
    return env.steps_seen


@configclass
class RememberingCfg:
    memory = RewardTermCfg(func=remembering, weight=1.0)


def test_an_environment_that_the_library_stepped_can_be_used_outside():
    """RSL-RL steps in inference mode, where what is made may not be written to outside."""
    trainer = trainer_on(tiny(4, rewards=RememberingCfg()), SmallCfg())
    trainer.learn(1)
    trainer.env.reset(seed=1)
    _, reward, *_ = trainer.env.step(torch.zeros(4, 1))
    assert reward[0].item() == pytest.approx(9 * STEP_DT)  # after the eight of the rollout


@pytest.mark.gpu
@pytest.mark.parametrize("task", ["Cartpole", "Cartpole-NoVelocity"])
def test_recorded_steps_train_on_a_gpu(task):
    """What a recorded step returns lies at the same addresses each time; what is stored must not."""
    env = make(task, num_envs=64, device="cuda:0", seed=0)
    cfg = load_agent_cfg(task, "rsl_rl")
    cfg.logger = "none"
    trainer = trainer_on(env, cfg)
    returned = rollout(trainer)
    assert env.capture == "auto"
    for t, seen in enumerate(returned["seen"]):
        assert torch.equal(trainer.runner.alg.storage.observations["policy"][t], seen["policy"])
    trainer.runner.alg.storage.clear()
    trainer.learn(3)
    assert trainer.last_metrics["iteration"] == 2
    env.reset(seed=0)


def test_something_else_is_refused():
    with pytest.raises(ConfigError, match="RslRlVecEnvWrapper takes an environment of Palestra, not a dict"):
        RslRlVecEnvWrapper({})


def test_episodes_count_once_whichever_step_they_end_in():
    wrapper = RslRlVecEnvWrapper(counting())
    wrapper.episode_length_buf = torch.tensor([7, 7, 7, 8])
    logs = [wrapper.step(torch.zeros(4, 1))[3]["log"] for _ in range(5)]
    first = dict(logs[0])  # one episode ended at step 2, three at step 3
    # they are aged 7 or 8, but only two or three of their steps were taken here, each with a reward of 0.02
    assert first["Episode/return"] == pytest.approx((2 * STEP_DT + 3 * 3 * STEP_DT) / 4)
    assert all("Episode/return" not in log for log in logs[1:])


# --- the algorithm ----------------------------------------------------------------------------------------------------


def test_the_library_adds_the_value_of_what_it_saw_last_at_a_time_out():
    cfg = SmallCfg(num_steps_per_env=12, algorithm=RslRlPpoAlgorithmCfg(gamma=0.5))
    trainer = trainer_on(counting(), cfg)
    assert not trainer.env.keep_terminal_observations  # nothing looks at them
    returned = rollout(trainer)
    storage = trainer.runner.alg.storage
    assert returned["time_outs"][9].all() and returned["time_outs"].sum() == 4
    added = storage.rewards.squeeze(-1) - returned["rewards"]
    expected = torch.where(returned["time_outs"], 0.5 * storage.values.squeeze(-1), 0.0)
    torch.testing.assert_close(added, expected, atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("recurrent", [False, True])
def test_the_value_of_the_true_last_observation_can_be_added_instead(recurrent):
    cfg = SmallCfg(num_steps_per_env=12)
    cfg.algorithm.class_name = "palestra.integrations.rsl_rl:TerminalObservationPPO"
    if recurrent:
        cfg.critic = RslRlRNNModelCfg(hidden_dims=[16], rnn_type="gru", rnn_hidden_dim=8)
    torch.manual_seed(0)
    trainer = trainer_on(counting(), cfg)
    returned = rollout(trainer)
    critic, storage = trainer.runner.alg.critic, trainer.runner.alg.storage
    critic.reset()
    with torch.no_grad():
        values = [critic({"policy": seen["policy"]}) for seen in returned["seen"][:10]]
        last = critic(returned["terminal"][9])  # a recurrent critic remembers the ten before it
    torch.testing.assert_close(torch.stack(values), storage.values[:10], atol=1e-6, rtol=0.0)
    added = storage.rewards[9] - returned["rewards"][9].unsqueeze(-1)
    torch.testing.assert_close(added, 0.99 * last, atol=1e-6, rtol=0.0)
    assert torch.equal(storage.rewards[:9].squeeze(-1), returned["rewards"][:9])


def test_actor_and_critic_see_their_own_groups():
    cfg = SmallCfg(obs_groups={"actor": ["policy"], "critic": ["policy", "critic"]})
    trainer = trainer_on(counting(), cfg)
    assert trainer.runner.alg.actor.obs_dim == 1 and trainer.runner.alg.critic.obs_dim == 3
    trainer.learn(1)
    assert trainer.last_metrics["iteration"] == 0


def action_mirror(env, obs, actions):
    """A symmetry of nothing in particular: everything changes its sign."""
    both = None if obs is None else torch.cat((obs, obs.apply(torch.neg)))
    return both, None if actions is None else torch.cat((actions, -actions))


@pytest.mark.parametrize(
    "change",
    [
        {"actor": RslRlRNNModelCfg(hidden_dims=[8], rnn_type="gru", rnn_hidden_dim=8, distribution_cfg=Gaussian())},
        {
            "actor": RslRlRNNModelCfg(hidden_dims=[8], rnn_hidden_dim=8, distribution_cfg=Gaussian()),
            "critic": RslRlRNNModelCfg(hidden_dims=[8], rnn_hidden_dim=8, rnn_num_layers=2),
        },
        {"actor": RslRlMLPModelCfg(distribution_cfg=RslRlMLPModelCfg.BetaDistributionCfg())},
        {"actor": RslRlMLPModelCfg(distribution_cfg=RslRlMLPModelCfg.HeteroscedasticGaussianDistributionCfg())},
        {
            "algorithm": RslRlPpoAlgorithmCfg(rnd_cfg=RslRlRndCfg(weight=1.0), optimizer="adamw", schedule="fixed"),
            "obs_groups": {"actor": ["policy"], "critic": ["policy"], "rnd_state": ["policy"]},
        },
        {
            "algorithm": RslRlPpoAlgorithmCfg(
                symmetry_cfg=RslRlSymmetryCfg(use_data_augmentation=True, data_augmentation_func=action_mirror)
            )
        },
    ],
    ids=["gru actor", "lstm", "beta", "heteroscedastic", "rnd", "symmetry"],
)
def test_every_part_of_the_library_trains_and_resumes(change, tmp_path):
    cfg = SmallCfg(**change)
    trainer = trainer_on(tiny(4), cfg, tmp_path)
    trainer.learn()
    assert all(value == value for value in trainer.last_metrics.values())
    resumed = trainer_on(tiny(4), cfg)
    resumed.load(tmp_path / "nn" / "last.pth")
    resumed.learn(1)
    assert resumed.current_learning_iteration == 3
    policy_of(load_checkpoint(tmp_path / "nn" / "last.pth"))({"policy": torch.zeros(4, 2)})


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cartpole(tmp_path_factory) -> tuple[RslRlTrainer, list[dict[str, str]]]:
    """A short training on Cartpole, and its curves."""
    cfg = load_agent_cfg("Cartpole", "rsl_rl")
    cfg.save_interval = 10
    trainer = trainer_on(make("Cartpole", num_envs=64, seed=3), cfg, tmp_path_factory.mktemp("run"), "Cartpole")
    trainer.learn(25)
    with open(trainer.run_dir / "metrics.csv", newline="") as file:
        return trainer, list(csv.DictReader(file))


def test_cartpole_improves(cartpole):
    _, rows = cartpole
    lengths = [float(row["Train/mean_episode_length"]) for row in rows]
    assert lengths[0] < 40 and lengths[-1] > 100


def test_curves_have_the_names_that_users_of_the_library_know(cartpole):
    _, rows = cartpole
    assert [int(row["iteration"]) for row in rows] == list(range(25))
    for name in (
        *("Loss/value", "Loss/surrogate", "Loss/entropy", "Loss/learning_rate", "Policy/mean_std"),
        *("Train/mean_reward", "Train/mean_episode_length", "Perf/total_fps", "Perf/collection_time"),
        *("Episode/return", "Episode_Reward/upright", "Train/env_steps"),
    ):
        assert rows[0][name], name
    assert [int(row["Train/env_steps"]) for row in rows] == [64 * 32 * k for k in range(1, 26)]


def test_training_is_reproducible():
    def weights() -> torch.Tensor:
        trainer = trainer_on(make("Cartpole", num_envs=8, seed=3), SmallCfg(init_at_random_ep_len=True))
        trainer.learn(2)
        return torch.cat([p.flatten() for p in trainer.runner.alg.actor.parameters()])

    assert torch.equal(weights(), weights())


def test_a_checkpoint_continues_where_it_was_saved(cartpole):
    trainer, _ = cartpole
    path = trainer.run_dir / "nn" / "last.pth"
    assert path.read_bytes() == (trainer.run_dir / "nn" / "model_25.pth").read_bytes()
    resumed = trainer_on(make("Cartpole", num_envs=64), load_agent_cfg("Cartpole", "rsl_rl"), task="Cartpole")
    resumed.load(path)
    for model in ("actor", "critic"):
        before, after = getattr(trainer.runner.alg, model), getattr(resumed.runner.alg, model)
        for name, value in before.state_dict().items():
            assert torch.equal(value, after.state_dict()[name])
    assert resumed.runner.alg.learning_rate == trainer.runner.alg.learning_rate
    assert (resumed.current_learning_iteration, resumed.env_steps) == (25, trainer.env_steps)
    assert resumed.env.common_step_count == trainer.env.common_step_count
    resumed.learn(2)
    assert resumed.last_metrics["iteration"] == 26 and resumed.current_learning_iteration == 27


def test_new_runs_can_start_from_a_checkpoints_networks(cartpole):
    trainer, _ = cartpole
    fresh = trainer_on(make("Cartpole", num_envs=8), load_agent_cfg("Cartpole", "rsl_rl"), task="Cartpole")
    fresh.load(trainer.run_dir / "nn" / "last.pth", {"actor": True, "critic": True})
    assert torch.equal(fresh.runner.alg.actor.mlp[0].weight, trainer.runner.alg.actor.mlp[0].weight)
    assert fresh.current_learning_iteration == 0 and not fresh.runner.alg.optimizer.state_dict()["state"]


def test_the_library_itself_loads_a_checkpoint(cartpole, capsys):
    trainer, _ = cartpole
    cfg = load_agent_cfg("Cartpole", "rsl_rl")
    runner = OnPolicyRunner(RslRlVecEnvWrapper(make("Cartpole", num_envs=4)), runner_settings(cfg), device="cpu")
    assert runner.load(str(trainer.run_dir / "nn" / "last.pth")) is None
    assert runner.current_learning_iteration == 25
    obs = {"policy": torch.randn(4, 4)}
    assert torch.equal(runner.get_inference_policy()(obs), trainer.runner.alg.actor(obs))


def test_the_librarys_own_example_runs_unchanged(tmp_path, capsys):
    env = RslRlVecEnvWrapper(make("Cartpole", num_envs=8))
    train_cfg = {
        "num_steps_per_env": 24,
        "save_interval": 50,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "actor": {"class_name": "MLPModel", "distribution_cfg": {"class_name": "GaussianDistribution"}},
        "critic": {"class_name": "MLPModel"},
        "algorithm": {"class_name": "PPO"},
    }
    runner = OnPolicyRunner(env, train_cfg, str(tmp_path), "cpu")
    runner.learn(num_learning_iterations=2, init_at_random_ep_len=True)
    runner.logger.writer.close()
    out = capsys.readouterr().out
    assert "Learning iteration 1/2" in out and "Episode/return:" in out and "Episode_Termination/pole_down:" in out
    assert (tmp_path / "model_1.pt").is_file()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path)).Reload()
    assert {"Episode/return", "Episode_Reward/upright", "Train/mean_reward"} <= set(events.Tags()["scalars"])


@pytest.mark.parametrize("kind", ["mlp", "gru", "lstm"])
def test_a_policy_acts_as_the_librarys_own(kind, tmp_path):
    cfg = SmallCfg(clip_actions=0.05)
    if kind != "mlp":
        cfg.actor = RslRlRNNModelCfg(
            hidden_dims=[8], rnn_type=kind, rnn_hidden_dim=8, rnn_num_layers=2, distribution_cfg=Gaussian()
        )
    cfg.actor.obs_normalization = True
    trainer = trainer_on(tiny(4), cfg, tmp_path)
    trainer.learn()
    policy = policy_of(load_checkpoint(tmp_path / "nn" / "last.pth"))
    theirs = trainer.runner.get_inference_policy()
    theirs.reset()
    generator = torch.Generator().manual_seed(0)
    clipped = 0
    for step in range(12):
        obs = {"policy": torch.randn(4, 2, generator=generator)}
        with torch.no_grad():
            expected = theirs(obs).clamp(-0.05, 0.05)
        clipped += int((expected.abs() == 0.05).sum())
        torch.testing.assert_close(policy(obs), expected, atol=1e-6, rtol=0.0)
        done = torch.tensor([step == 3, False, step == 5, False])
        theirs.reset(done)
        policy.reset(done)
    assert clipped > 0
    if kind != "mlp":
        obs = {"policy": torch.ones(4, 2)}
        policy.clip_actions = None
        remembering = policy(obs)
        policy.reset()
        assert not torch.allclose(policy(obs), remembering, atol=1e-7)


def spiking(env) -> torch.Tensor:
    """A reward that is not a number in the fifth step of an episode."""
    return torch.where(env.episode_length_buf == 5, float("nan"), 1.0)


def test_rewards_that_are_not_finite_do_not_end_in_a_traceback(tmp_path):
    from palestra.errors import PalestraError

    @configclass
    class RewardsCfg:
        spike = RewardTermCfg(func=spiking, weight=1.0)

    trainer = trainer_on(tiny(4, rewards=RewardsCfg()), SmallCfg(), tmp_path)
    with pytest.raises(PalestraError, match="training stopped in iteration 0: The rewards returned by the environment"):
        trainer.learn()
    assert not (tmp_path / "nn").exists()


# --- the command line -------------------------------------------------------------------------------------------------

SMALL = ["--num_envs=4", "--max_iterations=2", "agent.num_steps_per_env=8", "env.viewer.resolution=[64,48]"]


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "task",
    [
        "Cartpole",
        "Cartpole-NoVelocity",
        "Ant",
        "Reach-Franka",
        "Velocity-Flat-Go2",
        "Velocity-Flat-Go2-DR",
        "Velocity-Flat-AnymalC",
        "Velocity-Flat-G1",
        "Velocity-Flat-H1",
        "Velocity-Rough-Go2",
        "Velocity-Rough-AnymalC",
    ],
)
def test_every_task_has_a_config_that_agrees_with_its_own_learner(task):
    ours, theirs = load_agent_cfg(task), load_agent_cfg(task, "rsl_rl")
    for name in ("experiment_name", "num_steps_per_env", "max_iterations", "clip_actions"):
        assert getattr(theirs, name) == getattr(ours, name)
    if task == "Cartpole-NoVelocity":
        return
    for name in ("gamma", "lam", "entropy_coef", "learning_rate", "schedule", "desired_kl", "num_learning_epochs"):
        assert getattr(theirs.algorithm, name) == getattr(ours.algorithm, name)
    assert theirs.algorithm.num_mini_batches == ours.algorithm.num_mini_batches
    for name in ("actor", "critic"):
        for field in ("hidden_dims", "activation", "obs_normalization"):
            assert getattr(getattr(theirs, name), field) == getattr(getattr(ours, name), field)
    assert theirs.actor.distribution_cfg.init_std == ours.actor.init_std


def test_train_then_eval_and_resume_without_naming_the_library(workplace):
    override = "agent.actor.distribution_cfg.init_std=0.5"
    assert (
        main(["train", "Cartpole-NoVelocity", "--library", "rsl_rl", "--no_video", "--seed=4", *SMALL, override]) == 0
    )
    (run,) = (workplace / "runs" / "cartpole_no_velocity").iterdir()
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["library"] == "rsl_rl" and config["agent"]["actor"]["distribution_cfg"]["init_std"] == 0.5
    assert main(["eval", str(run), "--json", "--num_episodes=4", "--num_envs=4"]) == 0
    assert json.loads((run / "eval.json").read_text())["episodes"] == 4
    assert main(["train", "--resume", str(run), "--max_iterations=3", "--no_video"]) == 0
    with open(run / "metrics.csv", newline="") as file:
        assert [row["iteration"] for row in csv.DictReader(file)] == ["0", "1", "2"]
    saved = torch.load(run / "nn" / "last.pth", weights_only=True)
    assert saved["iter"] == 3 and {"actor_state_dict", "critic_state_dict", "optimizer_state_dict"} <= saved.keys()


@needs_opengl
def test_play_films_a_recurrent_policy(workplace):
    assert main(["train", "Cartpole-NoVelocity", "--library=rsl_rl", "--no_video", *SMALL, "--max_iterations=1"]) == 0
    assert main(["play", "Cartpole-NoVelocity", "--headless", "--num_envs=2", "--video_length=5", SMALL[-1]]) == 0
    assert list((workplace / "runs").rglob("*.mp4"))


def test_a_recurrent_policy_can_be_chosen_on_the_command_line(workplace):
    words = ["agent.actor.class_name=RNNModel", "agent.actor.rnn_type=gru", "agent.actor.rnn_hidden_dim=16"]
    assert main(["train", "Cartpole", "--library=rsl_rl", "--no_video", *SMALL, *words]) == 0
    saved = torch.load(next(workplace.rglob("last.pth")), weights_only=True)
    assert saved["actor_state_dict"]["rnn.rnn.weight_hh_l0"].shape == (3 * 16, 16)


def test_a_config_file_of_the_library_is_taken(workplace):
    native = {
        "num_steps_per_env": 8,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "actor": {"hidden_dims": [24, 12], "distribution_cfg": {"class_name": "BetaDistribution"}},
        "algorithm": {"class_name": "PPO", "learning_rate": 1.0e-4, "schedule": "fixed"},
    }
    (workplace / "agent.yaml").write_text(yaml.safe_dump(native))
    assert main(["train", "Cartpole", "--library=rsl_rl", "--config=agent.yaml", "--no_video", *SMALL[:2]]) == 0
    saved = torch.load(next(workplace.rglob("last.pth")), weights_only=True)
    assert saved["actor_state_dict"]["mlp.0.weight"].shape == (24, 4)
    assert saved["actor_state_dict"]["mlp.4.weight"].shape == (2, 12)  # both parameters of a Beta distribution
    assert saved["config"]["algorithm"]["learning_rate"] == 1e-4


def test_forms_of_config_files():
    assert native_overlay({"agent": {"num_steps_per_env": 8}}) is None
    assert native_overlay({"env": {}, "actor": {}}) is None
    assert native_overlay({"models": {}}) is None
    old = {
        "seed": 1,
        "runner": {"num_steps_per_env": 24, "class_name": "OnPolicyRunner"},
        "algorithm": {"class_name": "PPO", "gamma": 0.98},
        "policy": {
            "class_name": "ActorCriticRecurrent",
            "actor_hidden_dims": [64],
            "critic_hidden_dims": [32],
            "activation": "relu",
            "init_noise_std": 0.7,
            "actor_obs_normalization": True,
            "rnn_type": "gru",
        },
        "neptune_project": "x",
    }
    agent = native_overlay(old)["agent"]
    cfg = RslRlOnPolicyRunnerCfg()
    apply_overrides({"agent": cfg}, [f"agent.{key}={json.dumps(value)}" for key, value in agent.items()])
    assert (cfg.seed, cfg.num_steps_per_env, cfg.algorithm.gamma) == (1, 24, 0.98)
    assert (cfg.actor.class_name, cfg.actor.rnn_type, cfg.actor.hidden_dims) == ("RNNModel", "gru", [64])
    assert cfg.actor.distribution_cfg.init_std == 0.7 and cfg.actor.obs_normalization
    assert cfg.critic.hidden_dims == [32] and cfg.critic.activation == "relu" and not cfg.critic.obs_normalization
    assert cfg.critic.distribution_cfg is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("agent.obs_groups.critic=[privileged]", "agent.obs_groups.critic: 'privileged': known: 'policy'"),
        ("agent.obs_groups.actr=[policy]", "agent: obs_groups key is 'actr': did you mean 'actor'?"),
        ("agent.obs_groups.critic=[]", "agent: obs_groups has no groups for 'critic'"),
        ("agent.actor.activation=reluu", "agent.actor: activation is 'reluu': did you mean 'relu'"),
        ("agent.actor.rnn_type=gru", "agent.actor: rnn_type is 'gru' but class_name is 'MLPModel': set class_name"),
        ("agent.actor.class_name=Perceptron", "agent.actor.class_name is 'Perceptron': Could not resolve"),
        (
            "agent.actor.class_name=os:system",
            "agent.actor.class_name is 'os:system': that is no subclass of RSL-RL's MLPModel",
        ),
        ("agent.actor.class_name=CNNModel", "RSL-RL refuses the agent's config: "),
        (
            "agent.actor.distribution_cfg.class_name=os:system",
            "agent.actor.distribution_cfg.class_name is 'os:system': that is no",
        ),
        ("agent.actor.distribution_cfg=null", "agent: actor.distribution_cfg is null: PPO draws actions"),
        (
            "agent.algorithm.class_name=Distillation",
            "agent.algorithm.class_name is 'Distillation': that is no subclass",
        ),
        ("agent.class_name=DistillationRunner", "agent: class_name is 'DistillationRunner': only"),
        ("agent.algorithm.gamma=1.5", "agent.algorithm: gamma is 1.5: it must lie in [0, 1]"),
        (
            "agent.algorithm.num_mini_batches=1000",
            "agent.algorithm.num_mini_batches is 1000 but there are 32 rows in a rollout",
        ),
        (
            "agent.actor.class_name=RNNModel agent.algorithm.num_mini_batches=5",
            "agent.algorithm.num_mini_batches is 5 but there are 4 environments, and the actor is recurrent",
        ),
        ("agent.torch_compile_mode=reduce-overhead", "RSL-RL refuses the agent's config: torch_compile_mode="),
        ("agent.algorithm.learning_rat=1", "agent.algorithm.learning_rat: unknown key 'learning_rat'"),
    ],
)
def test_bad_input_is_one_line(words, message, workplace, capsys):
    assert main(["train", "Cartpole", "--library=rsl_rl", "--no_video", *SMALL, *words.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"palestra: error: {message}"), error
    assert error.count("\n") == 1
    assert not (workplace / "runs").exists() or not list((workplace / "runs").rglob("config.yaml"))


def test_checkpoints_of_others_are_refused(workplace, capsys):
    assert main(["train", "Cartpole", "--no_video", *SMALL[:3]]) == 0
    checkpoint = next(workplace.rglob("last.pth"))
    capsys.readouterr()
    words = ["train", "Cartpole", "--library=rsl_rl", "--no_video", *SMALL]
    assert main([*words, "--checkpoint", str(checkpoint)]) == 2
    assert "was trained with palestra, not with rsl_rl" in capsys.readouterr().err
    assert main(words) == 0
    theirs = max(workplace.rglob("last.pth"), key=lambda path: path.stat().st_mtime_ns)
    assert main([*words, "--checkpoint", str(theirs), "agent.actor.hidden_dims=[8]"]) == 2
    error = capsys.readouterr().err
    assert "does not fit: Error(s) in loading state_dict for MLPModel" in error and error.count("\n") == 1


def test_a_checkpoint_cannot_name_a_class_that_is_no_network(cartpole):
    content = load_checkpoint(cartpole[0].run_dir / "nn" / "last.pth")
    content["config"]["actor"]["distribution_cfg"]["class_name"] = "builtins:exec"
    content["num_actions"] = "raise SystemExit"
    with pytest.raises(ConfigError, match="'builtins:exec': that is no subclass of RSL-RL's Distribution"):
        policy_of(content)


def test_settings_are_those_of_the_librarys_constructor():
    """A new field of the library, or one that was renamed, shows up here."""
    import inspect

    ours = set(vars(RslRlPpoAlgorithmCfg())) - {"class_name"}
    theirs = {name: p for name, p in inspect.signature(PPO.__init__).parameters.items() if p.default is not p.empty}
    assert ours <= set(theirs)
    assert set(theirs) - ours == {"device", "multi_gpu_cfg", "grad_reduce_bucket_mb"}
    for name in ours:
        assert getattr(RslRlPpoAlgorithmCfg(), name) == theirs[name].default, name
