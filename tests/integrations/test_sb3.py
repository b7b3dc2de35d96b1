"""Stable-Baselines3 on Palestra's environments, with the real library: border, training, checkpoints, command line."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import STEP_DT, flagged, given, step_count, tiny

pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is not installed (pip install 'palestra[sb3]')")

from rich.console import Console
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

from palestra.cli.main import main
from palestra.config import load_agent_cfg, make, validate
from palestra.envs import mdp
from palestra.errors import ConfigError, PalestraError
from palestra.integrations.sb3 import (
    PolicyKwargsCfg,
    Sb3PPOCfg,
    Sb3Trainer,
    Sb3VecEnvWrapper,
    VecNormalizeCfg,
    make_trainer,
    native_overlay,
    policy_of,
)
from palestra.managers import ObservationGroupCfg, ObservationTermCfg, RewardTermCfg, TerminationTermCfg
from palestra.rl.checkpoint import load_checkpoint
from palestra.rl.console import TrainingConsole
from palestra.utils import configclass
from palestra.view.offscreen import why_unavailable

needs_opengl = pytest.mark.skipif(why_unavailable() is not None, reason="no EGL or OSMesa here")


@configclass
class AgesCfg:
    """The policy sees how old the episode is; another group sees the pendulum."""

    @configclass
    class PolicyCfg(ObservationGroupCfg):
        age = ObservationTermCfg(func=step_count)

    @configclass
    class SwingCfg(ObservationGroupCfg):
        joint_pos = ObservationTermCfg(func=mdp.joint_pos)
        joint_vel = ObservationTermCfg(func=mdp.joint_vel)

    @configclass
    class PiecesCfg(ObservationGroupCfg):
        concatenate_terms: bool = False
        age = ObservationTermCfg(func=step_count)

    policy: PolicyCfg = PolicyCfg()
    critic: SwingCfg = SwingCfg()
    pieces: PiecesCfg = PiecesCfg()


@configclass
class RewardsCfg:
    """A reward that the test sets."""

    chosen = RewardTermCfg(func=given, weight=1.0 / STEP_DT, params={"name": "chosen_reward"})


@configclass
class EndsCfg:
    """Episodes end after ten steps, or when the test says so."""

    time_out = TerminationTermCfg(func=mdp.time_out, time_out=True)
    fallen = TerminationTermCfg(func=flagged, params={"name": "fallen"})


def counting(num_envs: int = 3):
    env = tiny(num_envs, observations=AgesCfg(), rewards=RewardsCfg(), terminations=EndsCfg())
    env.chosen_reward = torch.arange(1.0, num_envs + 1)
    env.fallen = torch.zeros(num_envs, dtype=torch.bool)
    return env


@configclass
class SmallCfg(Sb3PPOCfg):
    n_steps: int = 8
    batch_size: int = 8
    n_epochs: int = 2
    max_iterations: int = 2
    logger: str = "none"
    init_at_random_ep_len: bool = False
    policy_kwargs: PolicyKwargsCfg = PolicyKwargsCfg(net_arch=[16])


def trainer(env=None, cfg=None, text: io.StringIO | None = None) -> Sb3Trainer:
    console = TrainingConsole(Console(file=text or io.StringIO(), width=200))
    return Sb3Trainer(env or counting(), cfg or SmallCfg(), "Tiny", console)


# --- the border -------------------------------------------------------------------------------------------------------


def test_a_step_returns_new_arrays_of_the_agents_observations():
    env = Sb3VecEnvWrapper(counting(), ["policy", "critic"], 2.0)
    assert env.observation_space.shape == (3,)
    assert (env.action_space.low, env.action_space.high) == (-2.0, 2.0)
    first = env.reset()
    kept = [first]
    for step in range(1, 4):
        obs, rewards, dones, infos = env.step(np.zeros((3, 1), np.float32))
        assert (obs.dtype, rewards.dtype, dones.dtype) == (np.float32, np.float32, bool)
        assert obs[:, 0].tolist() == [step] * 3
        np.testing.assert_array_equal(obs[:, 1], env.env.scene["robot"].data.joint_pos[:, 0])
        assert rewards.tolist() == [1.0, 2.0, 3.0]
        assert infos == [{}, {}, {}]
        infos[step % 3]["note"] = "of another wrapper"
        rewards += 100.0  # what the library does with them is its own business
        kept.append(obs)
    assert [obs[0, 0] for obs in kept] == [0.0, 1.0, 2.0, 3.0]


def test_infos_say_how_an_episode_ended():
    env = Sb3VecEnvWrapper(counting())
    env.reset()
    action = np.zeros((3, 1), np.float32)
    for _ in range(3):
        env.step(action)
    env.env.fallen[1] = True
    obs, _, dones, infos = env.step(action)
    assert dones.tolist() == [False, True, False]
    assert obs[:, 0].tolist() == [4.0, 0.0, 4.0]
    assert infos[0] == infos[2] == {}
    assert infos[1]["terminal_observation"].tolist() == [4.0]
    assert infos[1]["TimeLimit.truncated"] is False
    assert (infos[1]["episode"]["r"], infos[1]["episode"]["l"]) == (8.0, 4)
    env.env.fallen[1] = False
    for _ in range(5):
        env.step(action)
    env.env.fallen[2] = True  # in the very step in which its time is over
    _, _, dones, infos = env.step(action)
    assert dones.tolist() == [True, False, True]
    assert [infos[i]["TimeLimit.truncated"] for i in (0, 2)] == [True, False]
    assert infos[0]["terminal_observation"].tolist() == [10.0]
    assert [infos[i]["episode"]["r"] for i in (0, 2)] == [10.0, 30.0]
    assert infos[0]["episode"]["l"] == 10
    assert "is_success" not in infos[0]


def test_attributes_and_methods_of_the_batch():
    env = Sb3VecEnvWrapper(counting())
    assert env.get_attr("max_episode_length") == [10, 10, 10]
    env.set_attr("chosen_reward", 7.0, indices=[0, 2])
    assert [float(value) for value in env.get_attr("chosen_reward")] == [7.0, 2.0, 7.0]
    with pytest.raises(ValueError, match="all environments share 'name'"):
        env.set_attr("name", 1, indices=0)
    env.set_attr("name", "a")
    assert env.get_attr("name", indices=1) == ["a"]
    assert env.env_method("check_health", indices=[0, 1]) == [[], []]
    env.seed(3)
    first = env.reset()
    assert np.array_equal(first, env.reset())  # the pendulum always starts alike


class Keep(BaseCallback):
    """Copies the rollout before the update shuffles it."""

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer
        self.obs, self.rewards = buffer.observations.copy(), buffer.rewards.copy()
        self.values, self.starts = buffer.values.copy(), buffer.episode_starts.copy()


def test_the_library_stores_what_was_returned_and_bootstraps_only_time_outs():
    env = counting()
    model = PPO("MlpPolicy", Sb3VecEnvWrapper(env), n_steps=12, batch_size=36, n_epochs=1, gamma=0.9, seed=0)

    def fall_late() -> None:
        env.fallen[1] = env.episode_length_buf[1] == 6

    keep = Keep()
    compute_dones = env._compute_dones
    env._compute_dones = lambda finite: (fall_late(), compute_dones(finite))
    first_policy = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(36, callback=keep)
    ages = keep.obs[:, :, 0]
    assert ages[:, 0].tolist() == [*range(10), 0, 1]
    assert ages[:, 1].tolist() == [*range(6), *range(6)]
    assert keep.starts[:, 0].tolist() == [1, *[0] * 9, 1, 0]
    model.policy.load_state_dict(first_policy)
    with torch.no_grad():
        value = float(model.policy.predict_values(torch.tensor([[10.0]])))
    assert keep.rewards[9, 0] == pytest.approx(1.0 + 0.9 * value, rel=1e-5)  # out of time
    assert keep.rewards[5, 1] == 2.0  # fallen
    assert keep.rewards[3, 2] == 3.0


# --- the library's own ways -------------------------------------------------------------------------------------------


def test_the_librarys_own_example_runs(tmp_path):
    vec_env = Sb3VecEnvWrapper(make("Cartpole", num_envs=4))
    model = PPO("MlpPolicy", vec_env, verbose=0, n_steps=64)
    model.learn(total_timesteps=512)
    model.save(tmp_path / "ppo_cartpole")
    del model
    model = PPO.load(tmp_path / "ppo_cartpole", env=vec_env)
    obs = vec_env.reset()
    for _ in range(10):
        action, _states = model.predict(obs)
        obs, _, _, _ = vec_env.step(action)
    assert obs.shape == (4, 4)
    mean, _ = evaluate_policy(model, vec_env, n_eval_episodes=4)  # warns if it finds no Monitor
    assert mean > 0
    vec_env.close()


def test_another_algorithm_and_wrapper_of_the_library_fit():
    vec_env = VecNormalize(Sb3VecEnvWrapper(counting(), ["critic"], clip_actions=1.0), norm_reward=False)
    model = SAC("MlpPolicy", vec_env, learning_starts=6, batch_size=8, buffer_size=300, policy_kwargs={"net_arch": [8]})
    model.learn(60)
    assert model.replay_buffer.size() == 20
    assert model.ep_info_buffer[0]["r"] == 10.0
    assert model.replay_buffer.timeouts[9].all()
    assert not model.replay_buffer.timeouts[8].any()


@needs_opengl
def test_the_library_can_render():
    env = make("Cartpole", num_envs=2, render_mode="rgb_array")
    env.cfg.viewer.resolution = (64, 48)
    vec_env = Sb3VecEnvWrapper(env)
    vec_env.reset()
    picture = vec_env.render()
    assert picture is not None and picture.shape == (48, 64, 3)
    vec_env.close()


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_training_improves_and_logs():
    cfg = load_agent_cfg("Cartpole", "sb3")
    cfg.max_iterations, cfg.seed = 30, 1
    learner = Sb3Trainer(make("Cartpole", num_envs=128, seed=1), cfg, "Cartpole", TrainingConsole(quiet=True))
    learner.learn(1)
    first = learner.last_metrics
    assert learner.model.batch_size == 32 * 128 // 4
    learner.learn()
    last = learner.last_metrics
    assert last["iteration"] == 29
    assert last["Train/env_steps"] == 30 * 32 * 128 == learner.model.num_timesteps
    assert first["rollout/ep_len_mean"] < 60
    assert last["rollout/ep_len_mean"] > 200
    names = {"Perf/collection_time", "Perf/learning_time", "Loss/surrogate", "Loss/value", "Loss/entropy", "Policy/kl"}
    assert names | {"Loss/learning_rate", "Policy/mean_std", "train/explained_variance", "Episode/return"} <= set(last)


def test_the_critic_sees_what_the_actor_sees():
    text = io.StringIO()
    cfg = SmallCfg(obs_groups={"actor": ["policy"], "critic": ["policy", "critic"]})
    learner = trainer(cfg=cfg, text=text)
    assert "sb3 has no asymmetric critic: it sees the actor's ['policy'], not ['policy', 'critic']" in text.getvalue()
    assert learner.obs_groups == {"actor": ["policy"], "critic": ["policy"]}
    assert learner.model.observation_space.shape == (1,)


def test_schedules_fall_over_the_whole_run_also_when_it_is_resumed(tmp_path):
    cfg = SmallCfg(learning_rate="lin_1e-3", clip_range="lin_0.2", max_iterations=4)
    learner = trainer(cfg=cfg)
    learner.run_dir = tmp_path
    learner.learn()
    rates = [float(row["Loss/learning_rate"]) for row in csv.DictReader((tmp_path / "metrics.csv").open())]
    assert rates == pytest.approx([0.75e-3, 0.5e-3, 0.25e-3, 0.0])
    half = trainer(cfg=cfg.copy())
    half.learn(2)
    half.save(tmp_path / "half.pth")
    resumed = trainer(cfg=cfg.copy())
    resumed.load(tmp_path / "half.pth")
    resumed.learn()
    assert resumed.current_learning_iteration == 4
    assert resumed.model.lr_schedule(resumed.model._current_progress_remaining) == pytest.approx(0.0, abs=1e-12)
    assert resumed.model.num_timesteps == 4 * 24


def test_lengths_follow_from_the_librarys_own_fields():
    learner = trainer(cfg=SmallCfg(n_timesteps=49, n_minibatches=3))
    assert learner.cfg.max_iterations == 3  # 24 rows each
    assert learner.model.batch_size == 8
    learner.cfg.set_iterations(5)
    learner.cfg.resolve(3)
    assert learner.cfg.max_iterations == 5


def test_episodes_start_at_random_ages_on_request():
    env = counting(64)
    trainer(env, SmallCfg(init_at_random_ep_len=True, n_steps=1, batch_size=64)).learn(1)
    assert len(set(env.episode_length_buf.tolist())) > 5


def test_actions_that_are_not_finite_stop_the_training_with_one_line():
    env = counting()
    learner = trainer(env)
    learner.learn(1)
    with torch.no_grad():
        learner.model.policy.action_net.weight.fill_(float("nan"))
    with pytest.raises(PalestraError, match="iteration 1: .* not finite"):
        learner.learn(1)


# --- checkpoints and policies -----------------------------------------------------------------------------------------

NORMALIZED = VecNormalizeCfg(norm_obs=True, norm_reward=True, clip_obs=1.5)
KINDS = {
    "plain": SmallCfg(),
    "clipped": SmallCfg(clip_actions=0.05),
    "normalised": SmallCfg(vec_normalize=NORMALIZED),
    "gSDE": SmallCfg(use_sde=True, policy_kwargs=PolicyKwargsCfg(net_arch={"pi": [8], "vf": [8, 8]})),
    "squashed": SmallCfg(
        use_sde=True, clip_actions=3.0, policy_kwargs=PolicyKwargsCfg(net_arch=[8], squash_output=True)
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_policy_acts_as_the_library_does(kind, tmp_path):
    cfg = KINDS[kind].copy()
    cfg.learning_rate = 0.05
    cfg.obs_groups = {"actor": ["critic", "policy"], "critic": ["critic", "policy"]}
    env = counting()
    learner = trainer(env, cfg)
    learner.learn()
    learner.save(tmp_path / "a.pth")
    policy = policy_of(load_checkpoint(tmp_path / "a.pth"))
    groups = {"policy": torch.arange(0.0, 20.0).unsqueeze(1), "critic": torch.linspace(-3, 3, 40).view(20, 2)}
    obs = torch.cat([groups["critic"], groups["policy"]], dim=1)
    seen = obs.numpy() if learner.normalizer is None else learner.normalizer.normalize_obs(obs.numpy())
    expected, _ = learner.model.predict(seen, deterministic=True)
    np.testing.assert_allclose(policy(groups).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(policy(obs).numpy(), expected, atol=1e-6)
    assert np.abs(expected).max() <= (cfg.clip_actions or np.inf)


def test_a_resumed_training_has_the_same_weights_statistics_and_counters(tmp_path):
    cfg = SmallCfg(vec_normalize=NORMALIZED)
    learner = trainer(cfg=cfg)
    learner.learn()
    learner.save(tmp_path / "a.pth")
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    assert (content["library"], content["iter"], content["num_timesteps"]) == ("sb3", 2, 48)

    other = trainer(cfg=SmallCfg(vec_normalize=NORMALIZED, seed=9))
    other.load(tmp_path / "a.pth")
    assert other.current_learning_iteration == 2
    assert other.model._n_updates == learner.model._n_updates == 4
    for name, value in learner.model.policy.state_dict().items():
        torch.testing.assert_close(other.model.policy.state_dict()[name], value, rtol=0, atol=0)
    states = [model.policy.optimizer.state_dict()["state"] for model in (learner.model, other.model)]
    for mine, theirs in zip(states[0].values(), states[1].values(), strict=True):
        torch.testing.assert_close(mine["exp_avg"], theirs["exp_avg"], rtol=0, atol=0)
    for name in ("obs_rms", "ret_rms"):
        one, two = getattr(learner.normalizer, name), getattr(other.normalizer, name)
        assert np.array_equal(one.mean, two.mean) and np.array_equal(one.var, two.var) and one.count == two.count
    other.learn(1)
    assert other.last_metrics["iteration"] == 2

    again = trainer(cfg=SmallCfg(vec_normalize=NORMALIZED, seed=9))  # two that resume alike go on alike
    again.load(tmp_path / "a.pth")
    again.learn(1)
    for name, value in again.model.policy.state_dict().items():
        torch.testing.assert_close(other.model.policy.state_dict()[name], value, rtol=0, atol=0)


def test_a_checkpoint_holds_the_librarys_own_parameters(tmp_path):
    learner = trainer()
    learner.learn()
    learner.save(tmp_path / "a.pth")
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    model = PPO("MlpPolicy", Sb3VecEnvWrapper(counting()), n_steps=8, batch_size=8, policy_kwargs={"net_arch": [16]})
    model.set_parameters({name: content[name] for name in ("policy", "policy.optimizer")})
    obs = np.ones((1, 1), np.float32)
    assert model.predict(obs, deterministic=True)[0] == learner.model.predict(obs, deterministic=True)[0]


def test_a_new_run_starts_from_networks_alone(tmp_path):
    learner = trainer()
    learner.learn()
    learner.save(tmp_path / "a.pth")
    other = trainer()
    other.load(tmp_path / "a.pth", {"actor": True, "critic": True})
    assert (other.current_learning_iteration, other.model.num_timesteps) == (0, 0)
    weights = [model.policy.value_net.weight for model in (learner.model, other.model)]
    torch.testing.assert_close(*weights, rtol=0, atol=0)


# --- the command line -------------------------------------------------------------------------------------------------

SMALL = ["--num_envs=4", "agent.n_steps=8", "agent.save_interval=2", "env.viewer.resolution=[64,48]"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    workplace = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        flags = ["--max_iterations=3", "--no_video", "agent.vec_normalize.norm_obs=true"]
        assert main(["train", "Cartpole", "--library", "sb3", *SMALL, *flags]) == 0
    (run,) = (workplace / "runs" / "cartpole").iterdir()
    return run


def test_eval_and_resume_know_the_library(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained.parents[2])
    assert main(["eval", str(trained), "--num_episodes", "4"]) == 0
    assert json.loads((trained / "eval.json").read_text())["episodes"] == 4
    assert main(["train", "--resume", str(trained), "--max_iterations", "4", "--no_video"]) == 0
    with open(trained / "metrics.csv", newline="") as file:
        assert [row["iteration"] for row in csv.DictReader(file)] == ["0", "1", "2", "3"]
    assert (trained / "nn" / "model_4.pth").is_file()


@needs_opengl
def test_play_films_the_run(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained.parents[2])
    assert main(["play", str(trained), "--headless", "--video_length", "5", "env.viewer.resolution=[64,48]"]) == 0
    assert Path(capsys.readouterr().out.splitlines()[-1]).stat().st_size > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["agent.obs_groups={actor: [camera]}"], "no observation vector 'camera'"),
        (["agent.learning_rate=cos_1"], "learning_rate is 'cos_1': give a number, or a schedule such as 'lin_3e-4'"),
        (["agent.policy_kwargs.activation_fn=Elu"], "activation_fn is 'Elu': did you mean 'ELU'"),
        (["agent.policy_kwargs.squash_output=true"], "squash_output needs use_sde"),
        (["agent.policy=CnnPolicy"], "MlpPolicy"),
        (["agent.n_stepps=3"], "did you mean 'n_steps'"),
        (["agent.n_minibatches=1000"], "a minibatch has 0 rows"),
        (["agent.policy_kwargs.optimizer_kwargs={nothing: 1}"], "stable-baselines3 refuses the settings"),
        (["--logger=mlflow"], "mlflow"),
    ],
)
def test_bad_input_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "Cartpole", "--library", "sb3", "--no_video", *SMALL, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("runs/*/*"))


def test_observations_that_are_no_vector_are_refused():
    with pytest.raises(ConfigError, match="no observation vector 'pieces'"):
        trainer(cfg=SmallCfg(obs_groups={"actor": ["pieces"]}))


def test_checkpoints_that_do_not_fit_are_refused(tmp_path):
    learner = trainer()
    learner.learn(1)
    learner.save(tmp_path / "a.pth")
    with pytest.raises(ConfigError, match="does not fit"):
        trainer(cfg=SmallCfg(policy_kwargs=PolicyKwargsCfg(net_arch=[4]))).load(tmp_path / "a.pth")
    with pytest.raises(ConfigError, match="has none of the statistics of vec_normalize, these settings one"):
        trainer(cfg=SmallCfg(vec_normalize=NORMALIZED)).load(tmp_path / "a.pth")
    assert main(["train", "Cartpole", "--checkpoint", str(tmp_path / "a.pth"), "--num_envs=2"]) == 2


def test_a_batch_that_does_not_divide_the_rollout_is_said_in_one_line():
    text = io.StringIO()
    trainer(cfg=SmallCfg(batch_size=7), text=text)
    assert text.getvalue() == (
        "warning: batch_size 7 does not divide the 24 rows of a rollout: the last minibatch of each pass has 3\n"
    )


@pytest.mark.parametrize(
    "task",
    [
        "Cartpole",
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
def test_the_shipped_settings_build(task):
    cfg, ours = load_agent_cfg(task, "sb3"), load_agent_cfg(task)
    validate(cfg, "agent")
    assert cfg.experiment_name == ours.experiment_name
    assert (cfg.n_steps, cfg.n_epochs) == (ours.num_steps_per_env, ours.algorithm.num_learning_epochs)
    assert (cfg.gamma, cfg.gae_lambda, cfg.clip_actions) == (
        ours.algorithm.gamma,
        ours.algorithm.lam,
        ours.clip_actions,
    )
    env = make(task, num_envs=2)
    learner = make_trainer(env, cfg, task)
    assert learner.model.batch_size == cfg.n_steps * 2 // cfg.n_minibatches
    env.close()


# --- configuration files of RL Zoo and Isaac Lab ----------------------------------------------------------------------


def test_a_file_of_rl_zoo_becomes_settings():
    overlay = native_overlay(
        {
            "Pendulum-v1": {
                "n_envs": 4,
                "n_timesteps": 1e5,
                "policy": "MlpPolicy",
                "normalize": "{'norm_obs': True, 'norm_reward': False}",
                "learning_rate": "lin_1e-3",
                "policy_kwargs": "dict(log_std_init=-2, activation_fn=nn.ReLU, net_arch=dict(pi=[256], vf=[256]))",
                "env_wrapper": None,
            }
        }
    )
    assert overlay == {
        "env": {"scene": {"num_envs": 4}},
        "agent": {
            "n_timesteps": 1e5,
            "policy": "MlpPolicy",
            "learning_rate": "lin_1e-3",
            "policy_kwargs": {"log_std_init": -2, "activation_fn": "ReLU", "net_arch": {"pi": [256], "vf": [256]}},
            "vec_normalize": {"norm_obs": True, "norm_reward": False},
        },
    }


def test_a_file_of_isaac_labs_form_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sb3.yaml").write_text(
        "seed: 42\nn_timesteps: !!float 48\npolicy: 'MlpPolicy'\nn_steps: 8\nn_minibatches: 2\nlearning_rate: !!float 3e-4\n"
        "clip_range: !!float 0.2\npolicy_kwargs:\n  activation_fn: nn.ELU\n  net_arch: [32, 32]\n  squash_output: False\n"
        "normalize_input: True\nclip_obs: 5.0\n"
    )
    command = ["train", "Cartpole", "--library=sb3", "--config=sb3.yaml", "--num_envs=3", "--no_video"]
    assert main(command) == 0
    (run,) = Path("runs/cartpole").iterdir()
    content = load_checkpoint(run / "nn" / "last.pth")
    assert content["iter"] == 2
    assert content["config"]["vec_normalize"]["clip_obs"] == 5.0
    assert content["policy"]["mlp_extractor.policy_net.0.weight"].shape == (32, 4)


def test_files_in_another_form_are_left_alone_and_unusable_ones_refused():
    assert native_overlay({"agent": {"n_steps": 4}}) is None
    assert native_overlay({"seed": 1}) is None
    one = {"n_steps": 4}
    with pytest.raises(ConfigError, match="several environments \\(a, b\\)"):
        native_overlay({"a": one, "b": one})
    with pytest.raises(ConfigError, match="env_wrapper has no counterpart"):
        native_overlay({**one, "env_wrapper": ["some.Wrapper"]})
    with pytest.raises(ConfigError, match="expected dict"):
        native_overlay({"policy_kwargs": "dict(net_arch=open('x'))"})
