"""skrl on Palestra's environments: the wrapper, the agents across auto-reset, recurrent models, runs, bad input."""

import copy
import csv
import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import ObservationsCfg, given, step_count, tiny

pytest.importorskip("skrl", reason="skrl is not installed (pip install 'palestra[skrl]')")

import skrl
from skrl.agents.torch.ppo import PPO as SkrlPPO
from skrl.agents.torch.ppo import PPO_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
from skrl.trainers.torch import SequentialTrainer
from skrl.utils.runner.torch import Runner as SkrlRunner

from palestra.cli.main import main
from palestra.config import load_agent_cfg, validate
from palestra.config.registry import make
from palestra.errors import ConfigError
from palestra.integrations import policy_of
from palestra.integrations.skrl import (
    NetworkCfg,
    RnnCfg,
    Runner,
    SkrlRunnerCfg,
    SkrlTrainer,
    SkrlVecEnvWrapper,
    native_overlay,
)
from palestra.integrations.skrl.expressions import check_input, check_layer, check_output
from palestra.integrations.skrl.recurrent import Recurrent
from palestra.managers import ObservationGroupCfg, ObservationTermCfg
from palestra.rl.checkpoint import load_checkpoint
from palestra.rl.console import TrainingConsole
from palestra.utils import configclass
from palestra.view.offscreen import why_unavailable

needs_opengl = pytest.mark.skipif(why_unavailable() is not None, reason="no EGL or OSMesa here")


@pytest.fixture(autouse=True)
def quiet_skrl():
    """skrl reports its seed, and what it skips of a file."""
    level = skrl.logger.level
    skrl.logger.setLevel(logging.ERROR)
    yield
    skrl.logger.setLevel(level)


@configclass
class CountsCfg:
    """The policy sees the episode's age, the critic also a number of the test's."""

    @configclass
    class PolicyCfg(ObservationGroupCfg):
        age = ObservationTermCfg(func=step_count)

    @configclass
    class CriticCfg(ObservationGroupCfg):
        age = ObservationTermCfg(func=step_count)
        extra = ObservationTermCfg(func=lambda env: given(env, "extra").unsqueeze(-1))

    policy: PolicyCfg = PolicyCfg()
    critic: CriticCfg = CriticCfg()


def small_cfg(**agent: Any) -> SkrlRunnerCfg:
    cfg = SkrlRunnerCfg(init_at_random_ep_len=False, seed=3)
    for model in (cfg.models.policy, cfg.models.value):
        model.network = [NetworkCfg(layers=[16])]
    cfg.agent.rollouts = 6
    cfg.agent.mini_batches = 2
    cfg.agent.learning_epochs = 2
    for name, value in agent.items():
        setattr(cfg.agent, name, value)
    return cfg


def recurrent_cfg(kind: str = "gru", **agent: Any) -> SkrlRunnerCfg:
    cfg = small_cfg(class_name="PPO_RNN", **agent)
    for model in (cfg.models.policy, cfg.models.value):
        model.rnn = RnnCfg(type=kind, hidden_size=8)
    return cfg


def trainer_of(env: Any, cfg: SkrlRunnerCfg, task: str = "") -> SkrlTrainer:
    validate(cfg)
    return SkrlTrainer(env, cfg, task, console=TrainingConsole(quiet=True))


class Listener:
    """Keeps what the wrapper returned, copied at once, and what the memory held when the update began."""

    def __init__(self, trainer: SkrlTrainer) -> None:
        self.observations: list[Any] = []
        self.states: list[Any] = []
        self.steps: list[tuple] = []
        self.memory: dict[str, torch.Tensor] = {}
        wrapper, agent = trainer.wrapper, trainer.agent
        reset, step, update = wrapper.reset, wrapper.step, agent.update

        def keep() -> None:
            self.observations.append(wrapper._observations.clone())
            self.states.append(None if wrapper.state() is None else wrapper.state().clone())

        def new_reset() -> Any:
            result = reset()
            keep()
            return result

        def new_step(actions: Any) -> Any:
            result = step(actions)
            self.steps.append(copy.deepcopy(result))
            keep()
            return result

        def new_update(**steps: Any) -> Any:
            self.memory = {name: value.clone() for name, value in agent.memory.tensors.items()}
            return update(**steps)

        wrapper.reset, wrapper.step, agent.update = new_reset, new_step, new_update


# --- the wrapper ------------------------------------------------------------------------------------------------------


def test_shapes_spaces_and_what_the_step_led_to():
    env = tiny(3, observations=CountsCfg(), episode_length_s=0.06)  # 3 steps
    env.extra = torch.tensor([5.0, 6.0, 7.0])
    wrapper = SkrlVecEnvWrapper(env, clip_actions=2.0)
    assert (wrapper.num_envs, wrapper.observation_space.shape, wrapper.state_space.shape) == (3, (1,), (2,))
    assert wrapper.action_space.low.tolist() == [-2.0] and wrapper.action_space.high.tolist() == [2.0]
    observations, infos = wrapper.reset()
    assert infos == {} and observations.tolist() == [[0.0]] * 3
    assert wrapper.state().tolist() == [[0.0, 5.0], [0.0, 6.0], [0.0, 7.0]]
    for _ in range(2):
        wrapper.step(torch.zeros(3, 1))
    observations, reward, terminated, truncated, infos = wrapper.step(torch.zeros(3, 1))
    assert (reward.shape, terminated.shape, truncated.shape) == ((3, 1), (3, 1), (3, 1))
    assert truncated.all() and not terminated.any() and truncated.dtype == torch.bool
    assert observations.tolist() == [[0.0]] * 3  # of the new episodes
    assert infos["terminal_observations"].tolist() == [[3.0]] * 3
    assert infos["terminal_states"].tolist() == [[3.0, 5.0], [3.0, 6.0], [3.0, 7.0]]


def test_what_a_step_returned_stays_as_it_was():
    wrapper = SkrlVecEnvWrapper(tiny(2, observations=CountsCfg()))
    first, _ = wrapper.reset()
    second, reward, *_ = wrapper.step(torch.zeros(2, 1))
    reward += 100.0  # as skrl does with a bootstrap value
    third, next_reward, *_ = wrapper.step(torch.zeros(2, 1))
    assert [x[0, 0].item() for x in (first, second, third)] == [0.0, 1.0, 2.0]
    assert next_reward.max() < 50.0


def test_reset_resets_once_and_then_tells_where_the_episodes_are():
    wrapper = SkrlVecEnvWrapper(tiny(2, observations=CountsCfg()))
    wrapper.reset()
    wrapper.step(torch.zeros(2, 1))
    assert wrapper.reset()[0].tolist() == [[1.0], [1.0]]


def test_actions_are_clamped():
    seen = []
    env = tiny(2)
    step = env.step
    env.step = lambda actions: (seen.append(actions.clone()), step(actions))[1]
    wrapper = SkrlVecEnvWrapper(env, clip_actions=0.5)
    wrapper.reset()
    wrapper.step(torch.tensor([[-3.0], [0.25]]))
    assert seen[0].tolist() == [[-0.5], [0.25]]


def test_the_environments_figures_reach_skrl_every_so_many_steps():
    wrapper = SkrlVecEnvWrapper(tiny(2, episode_length_s=0.04), log_interval=4)
    wrapper.reset()
    infos = [wrapper.step(torch.zeros(2, 1))[-1] for _ in range(4)]
    assert ["episode" in info for info in infos] == [False, False, False, True]
    assert infos[3]["episode"]["Episode/length"].item() == 2.0


# --- skrl's own examples ----------------------------------------------------------------------------------------------


class Policy(GaussianMixin, Model):
    def __init__(self, observation_space, state_space, action_space, device):
        Model.__init__(
            self,
            observation_space=observation_space,
            state_space=state_space,
            action_space=action_space,
            device=device,
        )
        GaussianMixin.__init__(self)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(self.num_observations, 16), torch.nn.ELU(), torch.nn.Linear(16, self.num_actions)
        )
        self.log_std = torch.nn.Parameter(torch.zeros(self.num_actions))

    def compute(self, inputs, role):
        return self.net(inputs["observations"]), {"log_std": self.log_std}


class Value(DeterministicMixin, Model):
    def __init__(self, observation_space, state_space, action_space, device):
        Model.__init__(
            self,
            observation_space=observation_space,
            state_space=state_space,
            action_space=action_space,
            device=device,
        )
        DeterministicMixin.__init__(self)
        self.net = torch.nn.Linear(self.num_observations, 1)

    def compute(self, inputs, role):
        return self.net(inputs["observations"]), {}


@pytest.mark.parametrize("wrap", [SkrlVecEnvWrapper, lambda env: wrap_env(env, wrapper="isaaclab", verbose=False)])
def test_skrls_example_with_models_agent_and_trainer(wrap, tmp_path):
    env = wrap(tiny(4))
    spaces = (env.observation_space, env.state_space, env.action_space, env.device)
    models = {"policy": Policy(*spaces), "value": Value(*spaces)}
    cfg = PPO_CFG(rollouts=8)
    cfg.experiment.directory, cfg.experiment.write_interval = str(tmp_path), 8
    agent = SkrlPPO(
        models=models,
        memory=RandomMemory(memory_size=8, num_envs=env.num_envs, device=env.device),
        observation_space=env.observation_space,
        state_space=env.state_space,
        action_space=env.action_space,
        device=env.device,
        cfg=cfg,
    )
    before = copy.deepcopy(models["policy"].state_dict())
    options = {"timesteps": 16, "headless": True, "disable_progressbar": True, "close_environment_at_exit": False}
    SequentialTrainer(cfg=options, env=env, agents=agent).train()
    assert any(not torch.equal(before[name], value) for name, value in models["policy"].state_dict().items())
    agent.writer.close()


@pytest.mark.parametrize("runner", [SkrlRunner, Runner])
def test_skrls_runner_example(runner, tmp_path):
    cfg = small_cfg().native()
    cfg["agent"]["experiment"] = {"directory": str(tmp_path), "write_interval": 6, "checkpoint_interval": 6}
    cfg["trainer"]["timesteps"] = 12
    made = runner(SkrlVecEnvWrapper(tiny(4), log_interval=5), cfg)
    made.run("train")
    (saved,) = tmp_path.glob("*/checkpoints/agent_12.pt")
    made.agent.load(str(saved))
    made.run("eval")
    assert list(tmp_path.glob("*/events.out.tfevents.*"))
    made.agent.writer.close()


# --- the agents across auto-reset -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cfg", [small_cfg(), recurrent_cfg()])
def test_the_memory_holds_what_the_policy_saw(cfg):
    trainer = trainer_of(tiny(4), cfg)
    heard = Listener(trainer)
    trainer.learn(1)
    stored = heard.memory["observations"]
    assert torch.equal(stored, torch.stack(heard.observations[:6]))
    assert not torch.equal(stored[0], stored[1])


def value_of(agent: Any, observations: Any, memory: Any = None) -> Any:
    inputs = {"observations": agent._observation_preprocessor(observations), "states": None}
    with torch.no_grad():
        values, outputs = agent.value.act(inputs | ({} if memory is None else {"rnn": memory}), role="value")
    return agent._value_preprocessor(values, inverse=True), outputs.get("rnn")


def gae(rewards: Any, values: Any, last: Any, ended: Any, gamma: float, lam: float) -> Any:
    """Returns by generalised advantage estimation, from the definition."""
    returns, advantage, following = torch.zeros_like(rewards), torch.zeros_like(last), last
    for t in reversed(range(len(rewards))):
        going_on = (~ended[t]).float()
        advantage = rewards[t] + gamma * going_on * following - values[t] + gamma * lam * going_on * advantage
        returns[t], following = advantage + values[t], values[t]
    return returns


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("bootstraps", [True, False])
def test_a_time_out_is_worth_its_true_last_observation(recurrent, bootstraps):
    cfg = (recurrent_cfg if recurrent else small_cfg)(time_limit_bootstrap=bootstraps, rewards_shaper_scale=0.5)
    trainer = trainer_of(tiny(2, observations=CountsCfg(), episode_length_s=0.08), cfg)  # 4 steps
    trainer.wrapper.state_groups = []
    agent, heard = trainer.agent, Listener(trainer)
    returns = {}
    to_memory = agent.memory.set_tensor_by_name
    agent.memory.set_tensor_by_name = lambda name, x: (returns.update({name: x.clone()}), to_memory(name, x))[1]
    before = copy.deepcopy(agent.value)  # what collected the rollout
    trainer.learn(1)
    agent.value = before.eval()
    rewards = torch.stack([0.5 * step[1] for step in heard.steps])
    truncated = torch.stack([step[3] for step in heard.steps])
    assert truncated[:, :, 0].tolist() == [[False] * 2] * 3 + [[True] * 2] + [[False] * 2] * 2
    memory = [torch.zeros(1, 2, 8)] if recurrent else None
    values = []
    for t, step in enumerate(heard.steps):
        value, memory = value_of(agent, heard.observations[t], memory)
        values.append(value)
        if t == 3:
            assert step[4]["terminal_observations"].tolist() == [[4.0], [4.0]]
            if bootstraps:
                rewards[3] += 0.99 * value_of(agent, step[4]["terminal_observations"], memory)[0]
            memory = [0.0 * part for part in memory] if recurrent else None
    last, _ = value_of(agent, heard.observations[6], memory)
    expected = gae(rewards, torch.stack(values), last, truncated, 0.99, 0.95)
    torch.testing.assert_close(heard.memory["rewards"], rewards)
    torch.testing.assert_close(returns["returns"], expected)


def test_skrls_own_agent_bootstraps_from_the_next_episode():
    """What this package's agents are for; if it fails, skrl has changed."""
    env = tiny(2, observations=CountsCfg(), episode_length_s=0.08)
    runner = SkrlRunner(SkrlVecEnvWrapper(env, states=[]), small_cfg().native())
    seen = []
    runner.agent.memory.add_samples = lambda **x: seen.append(x["rewards"].clone())
    runner.trainer.cfg.timesteps = 4
    runner.run()
    value_at_zero, value_at_four = (value_of(runner.agent, torch.full((2, 1), age))[0] for age in (0.0, 4.0))
    torch.testing.assert_close(seen[3] - seen[2], 0.99 * value_at_zero)
    assert not torch.allclose(value_at_zero, value_at_four, atol=1e-3)


# --- asymmetric observations ------------------------------------------------------------------------------------------


def test_the_critic_sees_states_and_the_policy_does_not(tmp_path):
    cfg = small_cfg(observation_preprocessor="RunningStandardScaler", state_preprocessor="RunningStandardScaler")
    cfg.models.value.network[0].input = "concatenate([OBSERVATIONS, STATES])"
    env = tiny(4, observations=CountsCfg())
    env.extra = torch.tensor([1.0, 2.0, 3.0, 4.0])
    trainer = trainer_of(env, cfg)
    heard = Listener(trainer)
    trainer.learn(1)
    assert trainer.agent.policy.net_container[0].weight.shape == (16, 1)
    assert trainer.agent.value.net_container[0].weight.shape == (16, 3)
    assert torch.equal(heard.memory["states"], torch.stack(heard.states[:6]))
    assert trainer.obs_groups == {"actor": ["policy"], "critic": ["policy", "critic"]}
    trainer.save(tmp_path / "model.pth")
    policy = policy_of(load_checkpoint(tmp_path / "model.pth"))
    groups, _ = env.reset()
    assert torch.equal(policy(groups), policy({"policy": groups["policy"]} | {"critic": 9.0 * groups["critic"]}))


# --- recurrent models -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_the_memory_holds_the_recurrent_state_before_each_step(kind):
    trainer = trainer_of(tiny(4, episode_length_s=0.06), recurrent_cfg(kind))  # 3 steps
    agent, policy, before = trainer.agent, trainer.agent.policy, []
    act = policy.act

    def listening(inputs: Any, role: str) -> Any:
        if "terminated" not in inputs:
            before.append([part.clone() for part in inputs["rnn"]])
        return act(inputs, role=role)

    policy.act, heard = listening, Listener(trainer)
    trainer.learn(1)
    for t in range(6):
        for i, part in enumerate(before[t]):
            assert torch.equal(heard.memory[f"rnn_policy_{i}"][t].transpose(0, 1), part)
    assert not before[3][0].any() and before[2][0].any()  # forgotten after three steps
    assert len(before[0]) == (2 if kind == "lstm" else 1)
    assert isinstance(agent.value, Recurrent)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_sequence_gives_what_single_steps_gave(kind):
    """The ratio of the first minibatch is one only if the update sees the states that the rollout saw."""
    trainer = trainer_of(tiny(4, episode_length_s=0.06), recurrent_cfg(kind, learning_epochs=1, mini_batches=1))
    agent, ratios = trainer.agent, []
    act = agent.policy.act

    def listening(inputs: Any, role: str) -> Any:
        result = act(inputs, role=role)
        if "terminated" in inputs:
            ratios.append((result[1]["log_prob"], inputs["taken_actions"]))
        return result

    agent.policy.act, heard = listening, Listener(trainer)
    trainer.learn(1)
    rows = heard.memory["log_prob"].transpose(0, 1).reshape(-1, 1)  # one environment after the other
    torch.testing.assert_close(ratios[0][0], rows, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_recurrent_policy_of_a_checkpoint_remembers_and_forgets(kind, tmp_path):
    env = tiny(4)
    trainer = trainer_of(env, recurrent_cfg(kind))
    trainer.learn(1)
    trainer.save(tmp_path / "model.pth")
    policy = policy_of(load_checkpoint(tmp_path / "model.pth"))
    agent = trainer.agent
    agent.forget()
    agent.enable_training_mode(False)
    observations = torch.randn(5, 4, 2)
    done = torch.tensor([False, True, False, True])
    for t in range(5):
        with torch.no_grad():
            _, outputs = agent.act(observations[t], None, timestep=0, timesteps=1)
        torch.testing.assert_close(policy({"policy": observations[t]}), outputs["mean_actions"], rtol=0, atol=1e-6)
        state = [part * (~done).view(1, -1, 1) if t == 2 else part for part in outputs["rnn"]]
        agent._rnn_initial_states = {"policy": state, "value": agent._rnn_initial_states["value"]}
        if t == 2:
            policy.reset(done)
    policy.reset()
    again = policy({"policy": observations[0]})
    fresh = policy_of(load_checkpoint(tmp_path / "model.pth"))({"policy": observations[0]})
    assert torch.equal(again, fresh)


# --- checkpoints ------------------------------------------------------------------------------------------------------


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("shared", [False, True])
def test_save_and_resume(shared, tmp_path):
    def cfg() -> SkrlRunnerCfg:
        cfg = small_cfg(
            learning_rate_scheduler="KLAdaptiveLR",
            observation_preprocessor="RunningStandardScaler",
            value_preprocessor="RunningStandardScaler",
        )
        cfg.models.separate = not shared
        return cfg

    first = trainer_of(tiny(4), cfg(), "Tiny")
    first.learn(3)
    first.save(tmp_path / "model.pth")
    second = trainer_of(tiny(4), cfg(), "Tiny")
    assert not same(second.agent.policy, first.agent.policy)
    second.load(tmp_path / "model.pth")
    for name in ("policy", "value", "_observation_preprocessor", "_value_preprocessor"):
        assert same(getattr(second.agent, name), getattr(first.agent, name))
    rate = first.agent.optimizer.param_groups[0]["lr"]
    assert rate != 1e-3 and second.agent.optimizer.param_groups[0]["lr"] == rate
    assert second.agent.scheduler.get_last_lr() == [rate]
    assert second.current_learning_iteration == 3 and second.env_steps == 3 * 6 * 4
    assert second.env.common_step_count == 18
    second.learn(1)
    assert second.current_learning_iteration == 4 and second.last_metrics["iteration"] == 3
    third = trainer_of(tiny(4), cfg(), "Tiny")
    third.load(tmp_path / "model.pth", {"actor": True, "critic": True})
    assert same(third.agent.policy, first.agent.policy) and third.current_learning_iteration == 0
    assert third.agent.optimizer.param_groups[0]["lr"] == 1e-3


def test_the_policy_of_a_checkpoint_acts_as_skrls_agent(tmp_path):
    cfg = small_cfg(observation_preprocessor="RunningStandardScaler")
    cfg.clip_actions = 0.05
    cfg.models.policy.output = "2 * tanh(ACTIONS)"
    trainer = trainer_of(tiny(4), cfg)
    trainer.learn(2)
    trainer.save(tmp_path / "model.pth")
    policy = policy_of(load_checkpoint(tmp_path / "model.pth"))
    observations = torch.randn(64, 2)
    with torch.no_grad():
        _, outputs = trainer.agent.act(observations, None, timestep=0, timesteps=1)
    expected = outputs["mean_actions"].clamp(-0.05, 0.05)
    torch.testing.assert_close(policy(observations), expected, rtol=0, atol=1e-6)
    assert (expected.abs() < 0.05).any() and (expected.abs() == 0.05).any()


def test_skrl_loads_the_file_itself(tmp_path):
    trainer = trainer_of(tiny(4), small_cfg())
    trainer.learn(1)
    trainer.save(tmp_path / "model.pth")
    other = SkrlRunner(SkrlVecEnvWrapper(tiny(4)), small_cfg().native()).agent
    assert not same(other.policy, trainer.agent.policy)
    other.load(str(tmp_path / "model.pth"))
    assert same(other.policy, trainer.agent.policy) and same(other.value, trainer.agent.value)


def test_code_in_a_checkpoints_network_is_refused(tmp_path):
    trainer = trainer_of(tiny(4), small_cfg())
    content = trainer._content()
    content["config"]["models"]["policy"]["network"][0]["input"] = "__import__('os').system('touch pwned')"
    with pytest.raises(ConfigError, match=r"models\.policy: network\.0\.input is .*take names, numbers"):
        policy_of(content)


# --- expressions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["OBSERVATIONS", "concatenate([net, ACTIONS])", "STATES[:, 2:-1] / 3"])
def test_inputs_that_skrl_takes(text):
    check_input("input", text, ["net"])


@pytest.mark.parametrize(
    ("check", "text", "message"),
    [
        (check_input, "OBSERVATION", "unknown name 'OBSERVATION': did you mean 'OBSERVATIONS'"),
        (check_input, "OBSERVATIONS.__class__", "take names, numbers"),
        (check_input, "eval(OBSERVATIONS)", "unknown name 'eval'"),
        (check_input, "concatenate(OBSERVATIONS, dim=1)", "take names, numbers"),
        (check_input, "(lambda: 1)()", "take names, numbers"),
        (check_input, "OBSERVATIONS\nimport os", "this is no expression"),
        (check_output, "softmx(ACTIONS)", "unknown name 'softmx': did you mean 'softmax'"),
        (check_layer, {"linear": {"out_features": "os.system('x')"}}, "layer 'linear' cannot have out_features"),
        (check_layer, {"linear": {"a=1) or print(": 3}}, "layer 'linear' cannot have"),
        (check_layer, {"conv3d": {}}, "did you mean 'conv2d'"),
        (check_layer, 0, "at least 1 unit"),
        (check_layer, 2.5, "expected a number of units"),
    ],
)
def test_other_expressions_are_refused(check, text, message):
    with pytest.raises(ConfigError) as caught:
        check("field", text)
    assert message in str(caught.value)


# --- skrl's config files ----------------------------------------------------------------------------------------------

VERSION_1 = """
seed: 7
models:
  separate: False
  policy:
    class: GaussianMixin
    clip_actions: False
    initial_log_std: -0.5
    network:
      - name: net
        input: STATES
        layers: [32, 16]
        activations: elu
    output: ACTIONS
  value:
    class: DeterministicMixin
    clip_actions: False
    network:
      - name: net
        input: STATES
        layers: [32, 16]
        activations: elu
    output: ONE
memory:
  class: RandomMemory
  memory_size: -1
agent:
  class: PPO
  rollouts: 8
  learning_epochs: 3
  mini_batches: 4
  lambda: 0.9
  learning_rate: 5.0e-04
  learning_rate_scheduler: LinearLR
  learning_rate_scheduler_kwargs:
    total_iters: 30
  state_preprocessor: RunningStandardScaler
  state_preprocessor_kwargs: null
  random_timesteps: 0
  clip_predicted_values: False
  experiment:
    directory: "from_yaml"
    experiment_name: "mine"
    checkpoint_interval: 16
trainer:
  class: SequentialTrainer
  timesteps: 35
  environment_info: log
"""


def test_a_skrl_1_file_trains(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("ppo.yaml").write_text(VERSION_1)
    command = "train Cartpole --library skrl --config ppo.yaml --num_envs 4 --no_video"
    assert main(command.split()) == 0, capsys.readouterr().err
    (run,) = Path("runs/from_yaml").iterdir()
    assert run.name.endswith("_mine")
    assert sorted(p.name for p in (run / "nn").iterdir()) == ["last.pth", "model_2.pth", "model_4.pth"]
    config = load_checkpoint(run / "nn/last.pth")["config"]
    agent, policy = config["agent"], config["models"]["policy"]
    assert (config["seed"], config["max_iterations"], config["save_interval"]) == (7, 4, 2)
    assert (agent["gae_lambda"], agent["value_clip"], agent["learning_epochs"]) == (0.9, 0.0, 3)
    assert agent["observation_preprocessor"] == "RunningStandardScaler" and agent["state_preprocessor"] is None
    assert agent["learning_rate_scheduler_kwargs"] == {"total_iters": 30}  # those of the task's own are gone
    assert policy["network"] == [{"name": "net", "input": "OBSERVATIONS", "layers": [32, 16], "activations": "elu"}]
    assert policy["initial_log_std"] == -0.5 and not config["models"]["separate"]


def test_states_of_skrl_2_stay_states():
    network = [{"name": "net", "input": "OBSERVATIONS", "layers": [4]}]
    models = {"policy": {"network": network}, "value": {"network": [{"name": "net", "input": "STATES"}]}}
    overlay = native_overlay({"models": models})
    assert overlay["agent"]["models"] == models


def test_other_files_are_none_of_skrls():
    assert native_overlay({"agent": {"max_iterations": 3}}) is None
    assert native_overlay({"env": {"scene": {"num_envs": 3}}}) is None
    assert native_overlay({"agent": {"class": "PPO"}}) == {"resolved": True, "agent": {"agent": {"class_name": "PPO"}}}


def test_timesteps_and_iterations():
    cfg = SkrlRunnerCfg()
    cfg.trainer.timesteps = 100
    cfg.settle_iterations()
    assert (cfg.max_iterations, cfg.trainer.timesteps) == (6, None)  # of 16 steps
    cfg.trainer.timesteps = 100
    cfg.set_iterations(2)
    cfg.settle_iterations()
    assert cfg.max_iterations == 2


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
def test_shipped_settings_follow_the_tasks_own(task):
    ours, theirs = load_agent_cfg(task), load_agent_cfg(task, "skrl")
    validate(theirs, "agent")
    assert theirs.experiment_name == ours.experiment_name and theirs.max_iterations >= ours.max_iterations
    assert (theirs.agent.rollouts, theirs.clip_actions) == (ours.num_steps_per_env, ours.clip_actions)
    algorithm = ours.algorithm
    assert theirs.agent.learning_epochs == algorithm.num_learning_epochs
    assert theirs.agent.mini_batches == algorithm.num_mini_batches
    assert (theirs.agent.discount_factor, theirs.agent.gae_lambda) == (algorithm.gamma, algorithm.lam)
    assert (theirs.agent.learning_rate, theirs.agent.entropy_loss_scale) == (
        algorithm.learning_rate,
        algorithm.entropy_coef,
    )
    assert theirs.agent.learning_rate_scheduler_kwargs["kl_threshold"] == algorithm.desired_kl
    assert math.exp(theirs.models.policy.initial_log_std) == pytest.approx(ours.actor.init_std)
    assert theirs.models.policy.network[0].layers == ours.actor.hidden_dims


def test_the_task_without_velocities_gets_a_memory():
    cfg = load_agent_cfg("Cartpole-NoVelocity", "skrl")
    validate(cfg, "agent")
    assert cfg.models.policy.rnn is not None and cfg.models.value.rnn is not None
    assert (cfg.agent.class_name, cfg.sequence_length) == ("PPO_RNN", 32)


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return tmp_path_factory.mktemp("skrl")


@pytest.fixture(scope="module")
def trained(workplace) -> Path:
    """A short run of Cartpole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        command = "train Cartpole --library skrl --num_envs 64 --max_iterations 16 --no_video --seed 5"
        assert main([*command.split(), "agent.save_interval=8"]) == 0
    (run,) = (workplace / "runs/cartpole").iterdir()
    return run.relative_to(workplace)


def rows(run: Path) -> list[dict[str, str]]:
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_training_improves_and_leaves_a_run(trained, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    assert {"last.pth", "model_8.pth", "model_16.pth"} <= {p.name for p in (trained / "nn").iterdir()}
    figures = rows(trained)[:16]
    lengths = [float(row["Episode / Total timesteps (mean)"]) for row in figures]
    assert lengths[-1] > 1.5 * lengths[0]
    assert {"Loss/surrogate", "Loss/value", "Policy/mean_std", "Loss/learning_rate"} <= figures[0].keys()
    assert float(figures[0]["Perf/collection_time"]) > 0.0 < float(figures[0]["Perf/learning_time"])
    assert (trained / "curves.png").is_file()


def test_the_run_is_evaluated_without_naming_the_library(trained, workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    assert main(["eval", str(trained), "--num_episodes", "20", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["return_mean"] > 100.0  # a random policy falls after about 25


def test_the_run_resumes(trained, workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    checkpoint = load_checkpoint(trained / "nn/model_16.pth")
    assert main(["train", "--resume", str(trained), "--max_iterations", "17", "--no_video"]) == 0
    assert "iterations 17 to 17" in capsys.readouterr().out
    resumed = load_checkpoint(trained / "nn/last.pth")
    assert (checkpoint["iter"], resumed["iter"]) == (16, 17)
    assert [row["iteration"] for row in rows(trained)] == [str(i) for i in range(17)]


@needs_opengl
def test_the_run_plays(trained, workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    size = "env.viewer.resolution=[64,48]"
    assert main(["play", str(trained), "--headless", "--video_length", "5", "--checkpoint", "model_8.pth", size]) == 0
    assert (trained / "videos/Cartpole-Play-model_8.mp4").stat().st_size > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("agent.obs_groups.observations=[polcy]", "the task has no observation group 'polcy': did you mean 'policy'?"),
        ("agent.models.value.network.0.input=STATES", "models.value takes in STATES, but the task has no observation"),
        ("agent.models.policy.network.0.input=os", "agent.models.policy: network.0.input is 'os': unknown name 'os'"),
        ("agent.models.policy.network.0.activations=elo", "activations is 'elo': did you mean 'elu'"),
        ("agent.models.policy.clip_actions=true", "agent: models.policy.clip_actions needs bounds: set clip_actions"),
        ("agent.agent.class_name=SAC", "agent.agent.class_name: expected 'PPO' or 'PPO_RNN', got 'SAC' (str)"),
        ("agent.agent.class_name=PPO_RNN", "agent.class_name is 'PPO_RNN': give the policy an rnn"),
        ("agent.models.policy.rnn={type: gru}", "models.policy.rnn needs the agent PPO_RNN: set agent.class_name"),
        ("agent.agent.mini_batches=999", "agent.mini_batches is 999, but a rollout has only 128 steps"),
        ("agent.agent.rollouts=0", "agent.agent: rollouts is 0: it must be at least 1"),
        ("agent.memory.memory_size=5", "memory.memory_size is 5: PPO keeps one rollout"),
        ("agent.agent.learning_rate_scheduler=KLAdaptive", "did you mean 'KLAdaptiveLR'?"),
        (
            "agent.agent.learning_rate_scheduler_kwargs={kl: 1}",
            "skrl cannot build the agent: TypeError: KLAdaptiveLR.__init__() got an unexpected keyword argument 'kl'",
        ),
        ("agent.seed=-1", "agent: seed is -1: skrl takes 0 to 4294967295"),
        ("agent.agent.learning_rat=1", "unknown key 'learning_rat': did you mean 'learning_rate'"),
    ],
)
def test_bad_input_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "Cartpole", "--library", "skrl", "--num_envs", "4", "--no_video", words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("palestra: error: ") and error.count("\n") == 1
    assert message in error
    assert list(tmp_path.iterdir()) == []


def test_minibatches_of_a_recurrent_model_are_whole_sequences(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = "train Cartpole-NoVelocity --library skrl --num_envs 6 --no_video"
    assert main(command.split()) == 2
    expected = "agent.mini_batches is 4: it must divide the rollout's 6 sequences"
    assert expected in capsys.readouterr().err


def test_a_group_that_is_not_concatenated_is_named():
    @configclass
    class Parts(ObservationsCfg):
        @configclass
        class PartsCfg(ObservationsCfg.PolicyCfg):
            concatenate_terms: bool = False

        parts: PartsCfg = PartsCfg()

    env = tiny(2, observations=Parts())
    with pytest.raises(ConfigError, match="observation group 'parts' is not concatenated"):
        SkrlVecEnvWrapper(env, observations=["parts"])


def test_another_librarys_checkpoint_is_refused(trained, workplace, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(workplace)
    checkpoint = trained / "nn/model_8.pth"
    assert main(["train", "Cartpole", "--checkpoint", str(checkpoint), "--num_envs", "4", "--no_video"]) == 2
    assert f"checkpoint {checkpoint} was trained with skrl, not with palestra" in capsys.readouterr().err
    env = make("Cartpole", num_envs=4)
    content = load_checkpoint(checkpoint)
    content["library"] = "rsl_rl"
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match="was trained with rsl_rl, not with skrl"):
        trainer_of(env, load_agent_cfg("Cartpole", "skrl"), "Cartpole").load(tmp_path / "other.pth")
