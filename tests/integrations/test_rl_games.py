"""RL-Games' own runner, agent and player on the environments: what each step hands over, runs, policies, bad input."""

import csv
import functools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny import STEP_DT, TinyEnvCfg, flagged, step_count

pytest.importorskip("rl_games", reason="RL-Games is not installed")

from rl_games.common.algo_observer import IsaacAlgoObserver
from rl_games.torch_runner import Runner

from palestra.cli.main import main
from palestra.config import load_agent_cfg, load_env_cfg, make
from palestra.envs import ManagerBasedRLEnv, mdp
from palestra.errors import ConfigError
from palestra.integrations import policy_of
from palestra.integrations.rl_games import (
    CentralValueCfg,
    RlGamesAlgoObserver,
    RlGamesGpuEnv,
    RlGamesRunnerCfg,
    RlGamesTrainer,
    RlGamesVecEnvWrapper,
    RnnCfg,
    make_trainer,
    native_overlay,
    register_env,
    unregister_env,
)
from palestra.managers import ObservationGroupCfg, ObservationTermCfg, TerminationTermCfg
from palestra.rl.checkpoint import load_checkpoint
from palestra.rl.console import TrainingConsole
from palestra.utils import configclass
from palestra.view.offscreen import why_unavailable

ENVS = 4
EPISODE = 5
"""Steps of an episode of the small environment."""


@configclass
class GroupsCfg:
    """The policy sees its age of the episode, the critic also the joint."""

    @configclass
    class PolicyCfg(ObservationGroupCfg):
        age = ObservationTermCfg(func=step_count)

    @configclass
    class CriticCfg(ObservationGroupCfg):
        age = ObservationTermCfg(func=step_count)
        joint_pos = ObservationTermCfg(func=mdp.joint_pos)
        joint_vel = ObservationTermCfg(func=mdp.joint_vel)

    policy: PolicyCfg = PolicyCfg()
    critic: CriticCfg = CriticCfg()


@configclass
class EndsCfg:
    time_out = TerminationTermCfg(func=mdp.time_out, time_out=True)
    fallen = TerminationTermCfg(func=flagged, params={"name": "fallen_now"})


def small_env(num_envs: int = ENVS, **parts: Any) -> ManagerBasedRLEnv:
    cfg = TinyEnvCfg(observations=GroupsCfg(), terminations=EndsCfg(), episode_length_s=EPISODE * STEP_DT)
    cfg.scene.num_envs = num_envs
    for name, value in parts.items():
        setattr(cfg, name, value)
    return ManagerBasedRLEnv(cfg)


def small_cfg(central: bool = False, rnn: str | None = None, **config: Any) -> RlGamesRunnerCfg:
    cfg = RlGamesRunnerCfg(max_iterations=3, save_interval=100)
    cfg.params.network.mlp.units = [8]
    cfg.params.config = cfg.params.config.replace(
        **{"horizon_length": 8, "mini_epochs": 2, "seq_length": 4, "save_best_after": 1000, **config}
    )
    if central:
        cfg.params.config.central_value_config = CentralValueCfg()
        cfg.params.config.central_value_config.network.mlp.units = [8]
    if rnn is not None:
        cfg.params.network.rnn = RnnCfg(name=rnn, units=8)  # type: ignore[arg-type]
    return cfg


def trainer_of(env: Any, cfg: RlGamesRunnerCfg, run_dir: Path | None = None, task: str = "Small") -> RlGamesTrainer:
    trainer = RlGamesTrainer(env, cfg, task, TrainingConsole(quiet=True))
    trainer.run_dir = run_dir
    return trainer


def begin(trainer: RlGamesTrainer) -> Any:
    """Return the agent as its own train() has it before the first rollout."""
    agent = trainer.agent
    agent.init_tensors()
    agent.obs = agent.env_reset()
    return agent


@pytest.fixture(autouse=True)
def _no_stray_files(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder; RL-Games must leave nothing in it that the test did not ask for."""
    folder = tmp_path_factory.mktemp("cwd")
    monkeypatch.chdir(folder)
    yield
    assert {path.name for path in folder.iterdir()} <= {"runs", "file.yaml"}


# --- the wrapper ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rnn", [None, "gru"])
def test_what_is_stored_at_t_is_what_was_returned_at_t(rnn: str | None) -> None:
    trainer = trainer_of(small_env(), small_cfg(central=True, rnn=rnn))
    agent = begin(trainer)
    kept = [(agent.obs, {name: value.clone() for name, value in agent.obs.items()})]
    step = agent.vec_env.step

    def recording_step(actions: torch.Tensor) -> Any:
        result = step(actions)
        kept.append((result[0], {name: value.clone() for name, value in result[0].items()}))
        return result

    agent.vec_env.step = recording_step
    with torch.no_grad():
        agent.play_steps() if rnn is None else agent.play_steps_rnn()
    stored = agent.experience_buffer.tensor_dict
    for t in range(8):
        assert torch.equal(stored["obses"][t], kept[t][1]["obs"])
        assert torch.equal(stored["states"][t], kept[t][1]["states"])
    for returned, copy in kept:  # nor does a later step write into what an earlier one returned
        assert all(torch.equal(returned[name], copy[name]) for name in copy)
    assert stored["obses"][:, 0, 0].tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert stored["dones"][:, 0].tolist() == [1, 0, 0, 0, 0, 1, 0, 0]


def test_time_outs_are_marked_and_failures_are_not() -> None:
    env = small_env()
    wrapper = RlGamesVecEnvWrapper(env)
    wrapper.reset()
    action = torch.zeros(ENVS, 1)
    for _ in range(EPISODE - 1):
        _, _, dones, infos = wrapper.step(action)
        assert not dones.any() and not infos["time_outs"].any()
    env.fallen_now = torch.tensor([True, False, False, False])  # type: ignore[attr-defined]
    obs, reward, dones, infos = wrapper.step(action)
    assert dones.tolist() == [1, 1, 1, 1] and dones.dtype == torch.uint8
    assert infos["time_outs"].tolist() == [False, True, True, True]
    assert obs["obs"].flatten().tolist() == [0.0] * ENVS  # those of the new episodes
    assert reward.shape == (ENVS,)


def test_a_finite_horizon_has_no_time_outs() -> None:
    wrapper = RlGamesVecEnvWrapper(small_env(is_finite_horizon=True))
    wrapper.reset()
    assert "time_outs" not in wrapper.step(torch.zeros(ENVS, 1))[3]


def test_rl_games_bootstraps_with_the_value_before_the_step() -> None:
    agent = begin(trainer_of(small_env(), small_cfg(gamma=0.9)))
    with torch.no_grad():
        agent.play_steps()
    stored = agent.experience_buffer.tensor_dict
    alive = float(STEP_DT)  # is_alive with a weight of 1 a second
    expected = torch.full((8, ENVS, 1), alive)
    expected[EPISODE - 1] += 0.9 * stored["values"][EPISODE - 1]
    torch.testing.assert_close(stored["rewards"], expected)


def test_the_terminal_observations_that_rl_games_does_not_read_are_not_computed() -> None:
    env = small_env()
    wrapper = RlGamesVecEnvWrapper(env)
    wrapper.reset()
    for _ in range(EPISODE):
        wrapper.step(torch.zeros(ENVS, 1))
    assert not env.keep_terminal_observations and "terminal_observation" not in env.extras


def test_groups_spaces_and_bounds() -> None:
    env = small_env()
    wrapper = RlGamesVecEnvWrapper(env, "", 2.5, 0.5, {"obs": ["policy", "critic"], "states": ["critic"]})
    info = wrapper.get_env_info()
    assert info["observation_space"].shape == (4,) and info["state_space"].shape == (3,)
    assert info["action_space"].low == -0.5 and info["action_space"].high == 0.5
    wrapper.reset()
    wrapper.step(torch.full((ENVS, 1), 7.0))
    assert env.action_manager.action.abs().max() == 0.5
    for _ in range(2):
        obs = wrapper.step(torch.zeros(ENVS, 1))[0]
    assert obs["obs"].shape == (ENVS, 4) and obs["obs"][0, 0] == 2.5  # step 3, clamped
    plain = RlGamesVecEnvWrapper(small_env(), use_states=False)
    assert plain.get_env_info()["state_space"] is None and list(plain.reset()) == ["obs"]
    assert plain.action_space.high == 1.0


def test_the_environments_state_is_the_checkpoints() -> None:
    wrapper = RlGamesVecEnvWrapper(small_env())
    wrapper.reset()
    wrapper.step(torch.zeros(ENVS, 1))
    other = RlGamesVecEnvWrapper(small_env())
    other.set_env_state(wrapper.get_env_state())
    assert other.env.common_step_count == 1


@pytest.mark.parametrize("observer", [RlGamesAlgoObserver, IsaacAlgoObserver])
def test_rl_games_own_way_of_training_and_playing(observer: Any, tmp_path: Path, capsys: Any) -> None:
    env = RlGamesVecEnvWrapper(small_env(), clip_obs=10.0, clip_actions=1.0)
    register_env(env, "rlgpu")
    try:
        cfg = small_cfg(central=True)
        cfg.experiment_name = "example"
        params = cfg.to_library("cpu")
        params["config"].update(env_name="rlgpu", num_actors=ENVS, minibatch_size=16, train_dir=str(tmp_path))
        params["config"]["central_value_config"]["minibatch_size"] = 16
        params["config"].update(full_experiment_name="run", player={"games_num": ENVS})
        runner = Runner(observer())
        runner.load({"params": params})
        runner.run({"train": True, "play": False})
        (saved,) = (tmp_path / "run" / "nn").iterdir()
        assert "MAX EPOCHS NUM!" in capsys.readouterr().out
        runner.run({"train": False, "play": True, "checkpoint": str(saved)})
        assert f"av steps: {float(EPISODE)}" in capsys.readouterr().out
        with pytest.raises(ConfigError, match=r"num_actors is 3: the environment 'rlgpu' has 4"):
            RlGamesGpuEnv("rlgpu", 3)
    finally:
        unregister_env("rlgpu")
    tags = logged_tags(tmp_path / "run" / "summaries")
    prefix = "" if observer is RlGamesAlgoObserver else "Episode/"
    assert {f"{prefix}Episode/return", f"{prefix}Episode_Reward/alive", "losses/a_loss", "rewards/iter"} <= tags


def logged_tags(folder: Path) -> set[str]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return set(events.Tags()["scalars"])


# --- the trainer ------------------------------------------------------------------------------------------------------


def rows(run_dir: Path) -> list[dict[str, str]]:
    with open(run_dir / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_cartpole_improves(tmp_path: Path) -> None:
    env_cfg = load_env_cfg("Cartpole")
    env_cfg.scene.num_envs, env_cfg.sim.threads = 64, 1
    trainer = trainer_of(make("Cartpole", cfg=env_cfg), load_agent_cfg("Cartpole", "rl_games"), tmp_path)
    trainer.learn(25)
    logged = rows(tmp_path)
    assert float(logged[1]["Episode/return"]) < 60.0 < 200.0 < float(logged[-1]["rewards/iter"])
    assert {"Loss/value", "Loss/surrogate", "Policy/kl", "Perf/collection_time", "Loss/bounds"} <= logged[0].keys()


@pytest.mark.parametrize("kind", ["plain", "central", "gru"])
def test_a_resumed_run_goes_on_where_it_stopped(kind: str, tmp_path: Path) -> None:
    cfg = small_cfg(
        central=kind == "central",
        rnn="gru" if kind == "gru" else None,
        normalize_value=True,
        normalize_input=True,
    )
    first = trainer_of(small_env(), cfg, tmp_path)
    first.learn()
    second = trainer_of(small_env(), cfg, tmp_path)
    second.load(tmp_path / "nn" / "last.pth")
    assert second.current_learning_iteration == second.agent.epoch_num == 3
    assert second.env_steps == 3 * 8 * ENVS and second.env.common_step_count == first.env.common_step_count
    assert second.agent.last_lr == first.agent.last_lr != cfg.params.config.learning_rate  # adapted
    for name, value in first.agent.model.state_dict().items():
        assert torch.equal(value, second.agent.model.state_dict()[name]), name
    if kind == "central":
        for name, value in first.agent.central_value_net.state_dict().items():
            assert torch.equal(value, second.agent.central_value_net.state_dict()[name]), name
    moments = first.agent.optimizer.state_dict()["state"][0]["exp_avg"]
    assert torch.equal(moments, second.agent.optimizer.state_dict()["state"][0]["exp_avg"])
    second.learn(2)
    assert [row["iteration"] for row in rows(tmp_path)] == ["0", "1", "2", "3", "4"]
    assert second.agent.epoch_num == 5
    assert sorted(p.name for p in (tmp_path / "nn").iterdir()) == ["last.pth", "model_3.pth", "model_5.pth"]


def test_the_same_seed_gives_the_same_run(tmp_path: Path) -> None:
    for name in ("a", "b"):
        trainer_of(small_env(), small_cfg(), tmp_path / name).learn()
    a, b = ([row["Loss/value"] for row in rows(tmp_path / name)] for name in ("a", "b"))
    assert a == b


def test_the_checkpoint_has_rl_games_keys_and_loads_without_running_code(tmp_path: Path) -> None:
    cfg = small_cfg(central=True, save_best_after=1, normalize_input=True)
    cfg.experiment_name = "small"
    trainer_of(small_env(), cfg, tmp_path).learn()
    content = torch.load(tmp_path / "nn" / "last.pth", weights_only=True)
    assert {"model", "optimizer", "epoch", "frame", "assymetric_vf_nets", "last_mean_rewards"} <= content.keys()
    assert content["library"] == "rl_games" and content["epoch"] == content["iter"] == 3
    assert content["obs_groups"] == {"actor": ["policy"], "critic": ["critic"]}
    best = load_checkpoint(tmp_path / "nn" / "small.pth")  # RL-Games' best so far, in the same form
    assert best["iter"] == best["epoch"] <= 3 and best["env_steps"] == best["iter"] * 8 * ENVS


def test_the_best_return_survives_a_resume(tmp_path: Path) -> None:
    cfg = small_cfg(save_best_after=1)
    cfg.experiment_name = "small"
    first = trainer_of(small_env(), cfg, tmp_path)
    first.learn()
    first.agent.last_mean_rewards = 1e6
    first.save(tmp_path / "nn" / "last.pth")
    (tmp_path / "nn" / "small.pth").unlink()
    second = trainer_of(small_env(), cfg, tmp_path)
    second.load(tmp_path / "nn" / "last.pth")
    second.learn(2)
    assert not (tmp_path / "nn" / "small.pth").exists()


def test_networks_alone_start_a_new_run(tmp_path: Path) -> None:
    cfg = small_cfg(central=True)
    first = trainer_of(small_env(), cfg, tmp_path)
    first.learn()
    second = trainer_of(small_env(), cfg)
    second.load(tmp_path / "nn" / "last.pth", {"actor": True, "critic": True})
    assert second.current_learning_iteration == second.agent.epoch_num == 0
    for name, value in first.agent.model.state_dict().items():
        assert torch.equal(value, second.agent.model.state_dict()[name]), name
    second.learn(1)
    plain = trainer_of(small_env(), small_cfg())
    plain.learn(1)
    plain.save(tmp_path / "plain.pth")
    with pytest.raises(ConfigError, match="has no central value network"):
        second.load(tmp_path / "plain.pth")


def test_rl_games_own_ends_of_a_run_are_kept(tmp_path: Path) -> None:
    trainer = trainer_of(small_env(), small_cfg(max_frames=2 * 8 * ENVS).replace(max_iterations=9), tmp_path)
    trainer.learn()
    assert trainer.current_learning_iteration == trainer.agent.epoch_num == 2
    assert (tmp_path / "nn" / "model_2.pth").is_file()


def test_a_compiled_run_leaves_the_same_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_compiler = functools.partial(torch.compile, backend="eager")  # Dynamo's modules, no C++
    monkeypatch.setattr(torch, "compile", without_compiler)
    trainer = trainer_of(small_env(), small_cfg(central=True, torch_compile=True), tmp_path)
    trainer.learn(1)
    trainer.learn(1)
    content = load_checkpoint(tmp_path / "nn" / "last.pth")
    assert "_orig_mod" in next(iter(trainer.agent.model.state_dict()))
    assert not [name for name in [*content["model"], *content["assymetric_vf_nets"]] if "_orig_mod" in name]
    trainer_of(small_env(), small_cfg(central=True)).load(tmp_path / "nn" / "last.pth")


# --- the policy -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rnn", "clip"), [(None, True), (None, False), ("gru", False), ("lstm", True)])
def test_the_policy_is_rl_games_own_deterministic_player(rnn: str | None, clip: bool, tmp_path: Path) -> None:
    cfg = small_cfg(rnn=rnn, normalize_input=True, clip_actions=clip)
    cfg.clip_actions = 0.3 if clip else None
    cfg.params.env.clip_observations = 3.0
    trainer = trainer_of(small_env(), cfg, tmp_path)
    trainer.learn()
    runner = trainer.runner
    runner.params["config"].update(env_info=trainer.vec_env.get_env_info(), player={}, network=None)
    player = runner.create_player()
    player.restore(str(tmp_path / "nn" / "last.pth"))  # RL-Games reads the file itself
    policy = policy_of(load_checkpoint(tmp_path / "nn" / "last.pth"))
    done = torch.tensor([True, False, True, False])
    assert player.get_batch_size(torch.zeros(ENVS, 1), 1) == ENVS
    player.reset()
    seen = []
    for t in range(4):
        obs = {"policy": torch.randn(ENVS, 1) * 4.0}
        expected = player.get_action(obs["policy"].clamp(-3.0, 3.0), is_deterministic=True)
        action = policy(obs)
        torch.testing.assert_close(action, expected, rtol=0.0, atol=1e-6)
        seen.append(action)
        if t == 1:
            policy.reset(done)  # type: ignore[attr-defined]
            for state in player.states or []:
                state[:, done, :] = 0.0
    policy.reset()  # type: ignore[attr-defined]
    assert not torch.equal(seen[0], seen[1]) and policy(obs).shape == (ENVS, 1)
    assert not clip or max(float(action.abs().max()) for action in seen) <= 0.3


# --- configs ----------------------------------------------------------------------------------------------------------

FILE = """
params:
  seed: 7
  env: {clip_observations: 5.0, clip_actions: 100.0}
  algo: {name: a2c_continuous}
  model: {name: continuous_a2c_logstd}
  network:
    name: actor_critic
    separate: False
    space:
      continuous:
        mu_activation: None
        sigma_activation: None
        mu_init: {name: default}
        sigma_init: {name: const_initializer, val: -1}
        fixed_sigma: True
    mlp:
      units: [16]
      activation: tanh
      initializer: {name: orthogonal_initializer, gain: 1.5}
      regularizer: {name: None}
  load_checkpoint: False
  load_path: ''
  config:
    name: my_cartpole
    env_name: rlgpu
    device: 'cuda:0'
    multi_gpu: False
    ppo: True
    normalize_input: True
    normalize_advantage: True
    num_actors: -1
    reward_shaper: {scale_value: 0.1}
    gamma: 0.98
    tau: 0.95
    learning_rate: 3e-4
    lr_schedule: linear
    kl_threshold: 0.008
    max_epochs: 2
    save_frequency: 1
    grad_norm: 1.0
    entropy_coef: 0.0
    e_clip: 0.2
    clip_actions: False
    horizon_length: 8
    minibatch_size: 16
    mini_epochs: 2
    critic_coef: 4
    clip_value: True
    bounds_loss_coef: 0.0001
    central_value_config:
      minibatch_size: 32
      mini_epochs: 1
      learning_rate: 5e-4
      clip_value: True
      normalize_input: True
      network:
        name: actor_critic
        central_value: True
        mlp: {units: [16], activation: elu, initializer: {name: default}, regularizer: {name: None}}
"""


def test_an_rl_games_file_is_a_whole_config() -> None:
    from palestra.config import apply_overlay

    values = native_overlay(yaml.safe_load(FILE.replace("3e-4", "0.0003").replace("5e-4", "0.0005")))
    assert values is not None
    cfg = load_agent_cfg("Cartpole", "rl_games")
    cfg.params.network.rnn = RnnCfg(name="gru")
    apply_overlay({"agent": cfg}, values)
    assert (cfg.seed, cfg.experiment_name, cfg.max_iterations, cfg.save_interval) == (7, "my_cartpole", 2, 1)
    assert cfg.clip_actions == 100.0 and cfg.params.env.clip_observations == 5.0
    assert not cfg.params.network.separate and cfg.params.network.rnn is None  # the library's, not the task's
    library = cfg.to_library("cpu")
    given = yaml.safe_load(FILE)["params"]
    assert library["network"]["space"] == given["network"]["space"]
    assert library["network"]["mlp"]["initializer"] == {"name": "orthogonal_initializer", "gain": 1.5}
    assert "space" not in library["config"]["central_value_config"]["network"]
    assert library["config"]["critic_coef"] == 4.0 and library["config"]["torch_compile"] is False
    assert native_overlay({"agent": {"max_iterations": 3}}) is None


def test_max_epochs_is_the_length_of_the_run_and_a_flag_overrules_it() -> None:
    from palestra.config import apply_overrides, validate

    cfg = load_agent_cfg("Cartpole", "rl_games")
    apply_overrides({"agent": cfg}, ["agent.params.config.max_epochs=5"])
    validate(cfg, "agent")
    assert cfg.max_iterations == 5 and cfg.to_library("cpu")["config"]["max_epochs"] == 5
    cfg.set_iterations(8)
    validate(cfg, "agent")
    assert cfg.max_iterations == 8


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
def test_every_shipped_task_has_settings_that_fit(task: str) -> None:
    cfg = load_agent_cfg(task, "rl_games")
    cfg.validate("agent")
    ours = load_agent_cfg(task)
    config = cfg.params.config
    assert cfg.experiment_name == ours.experiment_name and config.horizon_length == ours.num_steps_per_env
    assert config.horizon_length == 4 * config.minibatch_size_per_env  # four minibatches, as ours
    assert (config.gamma, config.kl_threshold) == (ours.algorithm.gamma, ours.algorithm.desired_kl) or "No" in task
    assert config.clip_actions == (ours.clip_actions is not None)


# --- the command line -------------------------------------------------------------------------------------------------

SMALL = ["env.viewer.resolution=[64,48]", "--threads=1", "--no_video"]


@pytest.mark.slow
@pytest.mark.skipif(why_unavailable() is not None, reason="no EGL or OSMesa here")
def test_the_command_line_needs_no_library_flag_after_training(capsys: Any) -> None:
    command = ["train", "Cartpole", "--library=rl_games", "--num_envs=8", "--max_iterations=2", *SMALL]
    assert main(command) == 0
    (run,) = Path("runs/cartpole").iterdir()
    assert sorted(p.name for p in (run / "nn").iterdir()) == ["last.pth", "model_2.pth"]
    assert not list(Path("runs").rglob("summaries"))
    capsys.readouterr()
    assert main(["eval", str(run), "--num_episodes=2", "--json", "--threads=1"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 2
    assert main(["play", str(run), "--headless", "--video_length=3", "--threads=1", SMALL[0]]) == 0
    assert list((run / "videos").glob("*.mp4"))
    assert main(["train", "--resume", str(run), "--max_iterations=3", *SMALL]) == 0
    assert [row["iteration"] for row in rows(run)] == ["0", "1", "2"]
    assert (
        main(["train", "Cartpole", "--library=rl_games", "--checkpoint", str(run / "nn/last.pth"), *command[3:]]) == 0
    )


def test_a_file_of_rl_games_trains(capsys: Any) -> None:
    Path("file.yaml").write_text(FILE)
    assert main(["train", "Cartpole", "--library=rl_games", "--config=file.yaml", "--num_envs=8", *SMALL]) == 0
    (run,) = Path("runs/my_cartpole").iterdir()
    assert {"last.pth", "model_1.pth", "model_2.pth"} == {p.name for p in (run / "nn").iterdir()}
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["library"] == "rl_games" and config["agent"]["params"]["config"]["gamma"] == 0.98


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["agent.params.config.e_klip=1"], "unknown key 'e_klip': did you mean 'e_clip'"),
        (["agent.params.algo.name=sac"], "SAC is not connected; use 'a2c_continuous'"),
        (["agent.params.algo.name=a2c_discrete"], "the environments have continuous actions"),
        (["agent.params.model.name=continuous_a2c"], "which RL-Games 1.6.5 cannot train"),
        (["agent.params.config.normalize_rms_advantage=true"], "RL-Games 1.6.5 cannot build it"),
        (["agent.params.model.name=mine"], "RL-Games cannot use this config: ValueError: mine"),
        (["agent.params.config.minibatch_size=24"], "it must divide the rollout of 8 environments × 32 steps = 256"),
        (["agent.params.config.lr_schedule=adaptiv"], "did you mean 'adaptive'"),
        (["agent.params.config.gamma=1.5"], "params.config.gamma is 1.5: it must lie in [0, 1]"),
        (
            ["agent.params.env.obs_groups.obs=[poliyc]"],
            "asks for the observation group 'poliyc': did you mean 'policy'",
        ),
        (["agent.params.env.obs_groups.states=[policy]"], "which only a central value network sees"),
        (["agent.params.network.rnn={name: gru}", "agent.params.config.seq_length=5"], "a multiple of seq_length, 5"),
        (["agent.params.network.mlp.initializer={name: orthogonal, scale: 2.0}"], "RL-Games cannot use this config"),
        (["agent.params.network.mlp.units=[8, 0]"], "each width must be at least 1"),
    ],
)
def test_bad_input_is_one_line(words: list[str], message: str, capsys: Any) -> None:
    assert main(["train", "Cartpole", "--library=rl_games", "--num_envs=8", *SMALL, *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not Path("runs").exists() or not list(Path("runs").rglob("*.pth"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("params: {config: {multi_gpu: true}}", "params.config.multi_gpu: not connected"),
        ("params: {config: {e_klip: 0.1}}", "params.config.e_klip: unknown key"),
        ("params: {network: {cnn: {type: conv2d}}}", "params.network.cnn: unknown key"),
        ("params: {env: {concate_obs_groups: false}}", "observations are always concatenated here"),
        ("params: {config: 3}", "must be mappings"),
    ],
)
def test_a_bad_file_is_one_line(text: str, message: str, capsys: Any) -> None:
    Path("file.yaml").write_text(text)
    assert main(["train", "Cartpole", "--library=rl_games", "--config=file.yaml", *SMALL]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_checkpoint_of_another_library_is_refused(tmp_path: Path) -> None:
    trainer = trainer_of(small_env(), small_cfg(), tmp_path)
    trainer.learn(1)
    content = torch.load(tmp_path / "nn" / "last.pth", weights_only=True)
    torch.save({**content, "library": "palestra"}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match="was trained with palestra, not with rl_games"):
        trainer.load(tmp_path / "other.pth")
    with pytest.raises(ConfigError, match="needs an RlGamesRunnerCfg, the task gives a TinyEnvCfg"):
        make_trainer(trainer.env, TinyEnvCfg())
    wider = small_cfg()
    wider.params.network.mlp.units = [9]
    other = trainer_of(small_env(), wider)
    with pytest.raises(ConfigError, match="does not fit: "):
        other.load(tmp_path / "nn" / "last.pth")


def test_a_reward_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    from palestra.errors import PalestraError

    cfg = small_cfg()
    cfg.params.config.reward_shaper.scale_value = math.nan
    with pytest.raises(PalestraError, match=r"training stopped in iteration 0: .*Loss/value.* are not finite"):
        trainer_of(small_env(), cfg, tmp_path).learn()
    assert not (tmp_path / "nn").exists()
