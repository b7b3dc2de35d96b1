"""RL-Games' ``Runner`` and PPO agent inside a run of Palestra, and the policies that they leave."""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from rl_games.algos_torch.a2c_continuous import A2CAgent
from rl_games.algos_torch.players import PpoPlayerContinuous
from rl_games.common.algo_observer import IsaacAlgoObserver
from rl_games.common.tr_helpers import DefaultRewardsShaper
from rl_games.torch_runner import Runner
from torch import Tensor, nn

from palestra.config import apply_overlay
from palestra.config.yaml_io import Overlay
from palestra.deploy.graph import Memory, Normalizer, PolicyGraph
from palestra.envs.base import Observations, RLEnv
from palestra.errors import ConfigError
from palestra.integrations.rl_games.cfg import RlGamesRunnerCfg
from palestra.integrations.rl_games.wrapper import (
    RlGamesVecEnvWrapper,
    gather,
    register_env,
    unregister_env,
)
from palestra.integrations.trainer import LibraryTrainer
from palestra.rl.checkpoint import save_checkpoint
from palestra.rl.console import TrainingConsole

ENV_NAME = "palestra"
"""Name under which RL-Games finds the environment while the agent is built."""

NORMALIZED_LIMIT = 5.0
"""Bound that RL-Games' ``RunningMeanStd`` puts on what it has normalised."""

UNUSABLE = (ValueError, KeyError, TypeError, AttributeError, AssertionError, RuntimeError)
"""What RL-Games raises while it builds networks and buffers from settings that it cannot use."""

NAMES = {
    "losses/a_loss": "Loss/surrogate",
    "losses/c_loss": "Loss/value",
    "losses/cval_loss": "Loss/central_value",
    "losses/bounds_loss": "Loss/bounds",
    "losses/entropy": "Loss/entropy",
    "info/last_lr": "Loss/learning_rate",
    "info/kl": "Policy/kl",
    "performance/step_inference_time": "Perf/collection_time",
    "performance/rl_update_time": "Perf/learning_time",
}
"""RL-Games' tags that have a name common to all libraries here; its other tags stay as they are."""

_SAME_AGAIN = ("/step", "/time", "/frame")
"""Ends of tags that RL-Games writes against another axis; the same value stands under ``…/iter``."""


class ScalarCollector:
    """Takes the place of RL-Games' TensorBoard writer: keeps each tag's last value for the run's own curves."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def add_scalar(self, tag: str, value: Any, *_: Any, **__: Any) -> None:
        """Keep a value, a number or anything of one element."""
        if not tag.endswith(_SAME_AGAIN) or tag.startswith("performance/"):
            self.values[NAMES.get(tag, tag)] = float(value)

    def flush(self) -> None:
        """Nothing is buffered."""

    def close(self) -> None:
        """Nothing is open."""

    def take(self) -> dict[str, float]:
        """Return what came since the last call."""
        values, self.values = self.values, {}
        return values


class Observer(IsaacAlgoObserver):
    """RL-Games' observer for simulators, with the curves led to a collector."""

    def __init__(self, collector: ScalarCollector) -> None:
        super().__init__()
        self.collector = collector

    def after_init(self, algo: Any) -> None:
        algo.writer.close()
        algo.writer = self.collector
        if algo.has_central_value:
            algo.central_value_net.writter = self.collector
        super().after_init(algo)


class Agent(A2CAgent):
    """RL-Games' PPO agent, which tells its trainer when an epoch is over and lets it write checkpoints."""

    trainer: RlGamesTrainer | None = None

    def train(self) -> Any:
        """Train until the trainer, ``max_frames`` or ``score_to_win`` ends it."""
        self._epoch_under_way = False
        self._best_return = self.last_mean_rewards
        result = super().train()
        self._epoch_over()
        return result

    def update_epoch(self) -> int:
        """Begin an epoch; the one before is over."""
        if self._epoch_under_way:
            self._epoch_over()
        else:
            self.last_mean_rewards = self._best_return  # which train() forgets, so that a worse policy counts as best
        self._epoch_under_way = True
        return super().update_epoch()

    def save(self, fn: str) -> None:
        """Save to ``fn.pth``: RL-Games' best policy so far, or one of its ``save_frequency``."""
        assert self.trainer is not None
        self.trainer.save_for_library(Path(f"{fn}.pth"))

    def _epoch_over(self) -> None:
        assert self.trainer is not None
        self.trainer.epoch_done()


class RlGamesTrainer(LibraryTrainer):
    """Trains with RL-Games' ``Runner`` and ``A2CAgent``.

    Args:
        env: the environments.
        cfg: the run's settings.
        task: the task's name, kept in checkpoints.
        console: shows progress; None for one on the standard output.

    Raises:
        ConfigError: the config does not fit the environment or RL-Games.
    """

    library: ClassVar[str] = "rl_games"
    cfg: RlGamesRunnerCfg

    def __init__(
        self, env: RLEnv, cfg: RlGamesRunnerCfg, task: str = "", console: TrainingConsole | None = None
    ) -> None:
        super().__init__(env, cfg, task, console)
        wrapper = cfg.params.env
        self.vec_env = RlGamesVecEnvWrapper(
            env,
            self.device,
            wrapper.clip_observations,
            cfg.clip_actions,
            wrapper.obs_groups,
            use_states=cfg.params.config.central_value_config is not None,
            log_episodes=False,  # the run logs them itself
        )
        self.collector = ScalarCollector()
        self.runner, self.agent = self._build()

    @property
    def steps_per_iteration(self) -> int:
        return self.agent.horizon_length * self.env.num_envs

    @property
    def obs_groups(self) -> dict[str, list[str]]:
        groups = self.vec_env.obs_groups
        return {"actor": groups["obs"], "critic": groups["states" if self.vec_env.use_states else "obs"]}

    def train(self, iterations: int) -> None:
        if self.run_dir is not None:
            self._place(self.run_dir)
        self.runner.run({"train": True, "play": False})

    def epoch_done(self) -> None:
        """Take the numbers of the epoch that is over; called by the agent."""
        # a second learn() finds the networks compiled, and RL-Games would compile them again
        self.runner.params["config"]["torch_compile"] = False
        self.iteration_done(self.collector.take())

    def save_for_library(self, path: Path) -> None:
        """Write a checkpoint that RL-Games asked for, after the update of an epoch that is not over yet."""
        if self.run_dir is not None:
            epoch = self.agent.epoch_num
            save_checkpoint(path, {**self._content(), "iter": epoch, "env_steps": epoch * self.steps_per_iteration})

    def library_state(self) -> dict[str, Any]:
        state = self.agent.get_full_state_weights()
        state["last_mean_rewards"] = float(state["last_mean_rewards"])
        for name in ("model", "assymetric_vf_nets"):
            if name in state:
                state[name] = {key.replace("_orig_mod.", ""): value for key, value in state[name].items()}
        return state

    def load_library_state(self, content: dict[str, Any], networks_only: bool) -> None:
        agent = self.agent
        if agent.has_central_value and "assymetric_vf_nets" not in content:
            raise ConfigError("the checkpoint has no central value network, the config has one")
        if networks_only:
            agent.model.load_state_dict(content["model"])
            if agent.has_central_value:
                agent.set_central_value_function_weights(content)
            return
        agent.set_full_state_weights(content)
        # what RL-Games leaves at its first value: the adaptive rate, and the counters of the critic's schedule
        agent.last_lr = agent.optimizer.param_groups[0]["lr"]
        if agent.has_central_value:
            agent.central_value_net.epoch_num = agent.epoch_num
            agent.central_value_net.frame = agent.frame
            agent.central_value_net.lr = agent.central_value_net.optimizer.param_groups[0]["lr"]

    def _build(self) -> tuple[Runner, Agent]:
        """Return RL-Games' runner and its agent, built for the environment."""
        runner = Runner(Observer(self.collector))
        params, num_envs = self.cfg.to_library(str(self.device)), self.env.num_envs
        config = params["config"]
        own, central = self.cfg.minibatch_sizes(num_envs)
        config.update(num_actors=num_envs, minibatch_size=own)
        if "central_value_config" in config:
            config["central_value_config"]["minibatch_size"] = central
        # the agent makes its folders at once, when there is no run folder yet
        with tempfile.TemporaryDirectory() as scratch, _registered(self.vec_env), _refused(), _hushed():
            config.update(env_name=ENV_NAME, train_dir=scratch, full_experiment_name="run")
            runner.load({"params": params})
            runner.algo_factory.register_builder("a2c_continuous", lambda **given: Agent(**given))
            agent = runner.algo_factory.create(runner.algo_name, base_name="run", params=runner.params)
            agent.vec_env = self.vec_env
            agent.init_tensors()  # finds a recurrent network whose sequences do not fit
        agent.trainer = self
        agent.max_epochs = -1  # the trainer ends the run
        runner.algo_factory.register_builder("a2c_continuous", lambda **given: agent)
        return runner, agent

    def _place(self, run_dir: Path) -> None:
        """Let the agent's own folders be those of the run."""
        agent = self.agent
        agent.train_dir, agent.experiment_name = str(run_dir.parent), run_dir.name
        agent.experiment_dir = agent.summaries_dir = str(run_dir)
        agent.nn_dir = str(run_dir / "nn")


class RlGamesPolicy:
    """The mean action of a policy that RL-Games trained, by RL-Games' own player.

    ``policy(obs)`` takes the environment's observation groups ``(num_envs, width)`` and returns actions
    ``(num_envs, num_actions)`` as the environment received them in training. A recurrent policy starts anew where
    ``reset(done)`` says so.
    """

    def __init__(self, player: PpoPlayerContinuous, groups: list[str], cfg: RlGamesRunnerCfg) -> None:
        self.player = player
        self.groups = groups
        self.clip_obs = cfg.params.env.clip_observations
        self.clip_actions = cfg.clip_actions

    @torch.no_grad()
    def __call__(self, obs: Observations) -> Tensor:
        player = self.player
        x = gather(obs, self.groups, self.clip_obs).to(player.device)
        if player.is_rnn and (player.states is None or player.states[0].shape[1] != len(x)):
            player.batch_size = len(x)
            player.init_rnn()
        actions = player.get_action(x, is_deterministic=True)
        if self.clip_actions is not None:
            actions = actions.clamp(-self.clip_actions, self.clip_actions)
        return actions.clone()

    def reset(self, done: Tensor | None = None) -> None:
        """Forget what happened in the environments whose episodes ended, or in all of them.

        Args:
            done: ``(num_envs,)`` bool; None for all.
        """
        player = self.player
        if not player.is_rnn or player.states is None:
            return
        if done is None:
            player.states = None
            return
        player.states = [state.masked_fill(done.to(state.device).view(1, -1, 1), 0.0) for state in player.states]

    def graph(self) -> PolicyGraph:
        """Return the policy as a function of tensors, for export."""
        player, model = self.player, self.player.model
        network, normalizer, memory = model.a2c_network, None, None
        if player.normalize_input:
            moments = model.running_mean_std
            mean, var, epsilon = moments.running_mean.float(), moments.running_var.float(), moments.epsilon
            normalizer = Normalizer(mean, torch.sqrt(var + epsilon), NORMALIZED_LIMIT, "sqrt(var + epsilon)", epsilon)
        if player.is_rnn:
            states = network.get_default_rnn_state()
            actors = states[: len(states) // 2] if network.is_separate_critic() else states  # the critic's are behind
            memory = {name: (s.shape[0], s.shape[2]) for name, s in zip(("h", "c"), actors, strict=False)}
        bound = float(player.actions_high[0]) if player.clip_actions else None
        return PolicyGraph(
            MeanAction(network, 1.0 if bound is None else bound, memory or {}),
            self.groups,
            player.obs_shape[0],
            player.actions_num,
            normalizer=normalizer,
            obs_limit=self.clip_obs,
            action_limit=self.clip_actions if bound is None else bound,
            memory=memory,
        )


class MeanAction(nn.Module):
    """RL-Games' network without its dictionaries: normalised observations and memory to mean actions and memory.

    Args:
        network: the network of the actor, and of the critic, whose part is left out.
        scale: what an action of 1 is for the environment.
        memory: what the actor remembers.
    """

    def __init__(self, network: Any, scale: float, memory: Memory) -> None:
        super().__init__()
        self.network, self.scale, self.memory = network, scale, memory
        self.separate = network.is_separate_critic()

    def forward(self, x: Tensor, *memory: Tensor) -> Tensor | tuple[Tensor, ...]:
        of_critic = [torch.zeros_like(part) for part in memory] if self.separate else []
        states = (*memory, *of_critic) if memory else None
        mu, _, _, after = self.network({"obs": x, "rnn_states": states, "is_train": False})
        mu = mu if self.scale == 1.0 else mu * self.scale
        return (mu, *after[: len(memory)]) if memory else mu


def make_trainer(env: RLEnv, cfg: Any, task: str = "") -> RlGamesTrainer:
    """Return what trains on ``env`` with RL-Games.

    Raises:
        ConfigError: the config is no :class:`RlGamesRunnerCfg`, or does not fit.
    """
    if not isinstance(cfg, RlGamesRunnerCfg):
        raise ConfigError(f"--library rl_games needs an RlGamesRunnerCfg, the task gives a {type(cfg).__name__}")
    return RlGamesTrainer(env, cfg, task)


def policy_of(content: dict[str, Any], device: torch.device | str = "cpu") -> RlGamesPolicy:
    """Return the policy of a checkpoint's content.

    Raises:
        ConfigError: the networks in it are not those of its config.
    """
    cfg = RlGamesRunnerCfg()
    own = {name: value for name, value in content["config"].items() if hasattr(cfg, name)}
    apply_overlay({"agent": cfg}, Overlay({"resolved": True, "agent": own}, "checkpoint"))
    groups = content["obs_groups"]["actor"]
    params = cfg.to_library(str(device))
    width, bound = sum(content["observation_dims"][name] for name in groups), cfg.clip_actions or 1.0
    params["config"].update(
        env_name=ENV_NAME,
        env_info={
            "observation_space": gymnasium.spaces.Box(-math.inf, math.inf, (width,), np.float32),
            "action_space": gymnasium.spaces.Box(-bound, bound, (content["num_actions"],), np.float32),
        },
        reward_shaper=DefaultRewardsShaper(),
    )
    with _refused(), _hushed():
        player = PpoPlayerContinuous(params)
        player.has_batch_dimension = True
        player.model.load_state_dict(content["model"])
    return RlGamesPolicy(player, groups, cfg)


@contextlib.contextmanager
def _registered(vec_env: RlGamesVecEnvWrapper) -> Iterator[None]:
    """Let RL-Games find the environment, and forget it afterwards."""
    register_env(vec_env, ENV_NAME)
    try:
        yield
    finally:
        unregister_env(ENV_NAME)


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """Say in one line what RL-Games does not take."""
    try:
        yield
    except ConfigError:
        raise
    except UNUSABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"RL-Games cannot use this config: {type(error).__name__}: {reason}") from error


def _hushed() -> contextlib.AbstractContextManager[Any]:
    """Keep what RL-Games prints while it builds off the standard output, which may be JSON."""
    return contextlib.redirect_stdout(io.StringIO())
