"""A run of ``palestra train --library skrl``: skrl's ``Runner`` inside a run folder."""

from __future__ import annotations

import logging
import math
import sys
from typing import Any, ClassVar

import skrl

from palestra.envs.base import RLEnv
from palestra.errors import ConfigError
from palestra.integrations.skrl.cfg import SkrlRunnerCfg
from palestra.integrations.skrl.runner import MISTAKES, Runner, cannot_build
from palestra.integrations.skrl.wrapper import SkrlVecEnvWrapper
from palestra.integrations.trainer import LibraryTrainer
from palestra.rl.console import TrainingConsole

METRICS = {
    "Loss / Policy loss": "Loss/surrogate",
    "Loss / Value loss": "Loss/value",
    "Loss / Entropy loss": "Loss/entropy_bonus",
    "Learning / Learning rate": "Loss/learning_rate",
    "Policy / Standard deviation": "Policy/mean_std",
}
"""skrl's names of what all libraries report, and the names that it has in all runs; others keep skrl's."""

_INFERENCE, _STEPPING = "Stats / Inference time (ms)", "Stats / Env stepping time (ms)"
_UPDATE = "Stats / Algorithm update time (ms)"


class SkrlTrainer(LibraryTrainer):
    """Trains with skrl's own runner, agent and trainer; an iteration is a rollout and its update.

    Args:
        env: the environments.
        cfg: the run's settings.
        task: the task's name, kept in checkpoints.
        console: shows progress; None for one on the standard output.

    Raises:
        ConfigError: the config does not fit the environment.
    """

    library: ClassVar[str] = "skrl"

    cfg: SkrlRunnerCfg

    def __init__(self, env: RLEnv, cfg: SkrlRunnerCfg, task: str = "", console: TrainingConsole | None = None) -> None:
        cfg.settle_iterations()
        super().__init__(env, cfg, task, console)
        self.wrapper = SkrlVecEnvWrapper(
            env,
            observations=cfg.obs_groups["observations"],
            states=cfg.obs_groups.get("states") or None,
            clip_actions=cfg.clip_actions,
            device=self.device,
            seed=cfg.seed,
            random_ages=cfg.init_at_random_ep_len,
            log_interval=0,
        )
        self._check_fit()
        level = skrl.logger.level
        skrl.logger.setLevel(logging.WARNING)  # it reports the seed otherwise
        try:
            self.runner = Runner(self.wrapper, cfg.native())
        except MISTAKES as error:
            raise cannot_build("agent", error) from error
        finally:
            skrl.logger.setLevel(level)
        self.agent: Any = self.runner.agent
        self.agent.after_update = self._after_update
        self.agent.writer = self  # in the place of skrl's SummaryWriter
        if cfg.agent.experiment.write_interval == "auto" or cfg.agent.experiment.write_interval > 0:
            self.agent.write_interval = sys.maxsize  # skrl follows the episodes; what it wrote is read once an update
        self._written: dict[str, float] = {}

    @property
    def steps_per_iteration(self) -> int:
        return self.cfg.agent.rollouts * self.env.num_envs

    @property
    def obs_groups(self) -> dict[str, list[str]]:
        observations, states = self.wrapper.observation_groups, self.wrapper.state_groups
        return {"actor": observations, "critic": [*observations, *(s for s in states if s not in observations)]}

    def train(self, iterations: int) -> None:
        self.runner.trainer.cfg.timesteps = iterations * self.cfg.agent.rollouts
        self.runner.run("train")

    def library_state(self) -> dict[str, Any]:
        modules = {name: module.state_dict() for name, module in self.agent.checkpoint_modules.items()}
        if self.agent.scheduler is not None:  # which skrl's own checkpoints lack
            modules["scheduler"] = self.agent.scheduler.state_dict()
        if self.cfg.agent.mixed_precision:
            modules["scaler"] = self.agent.scaler.state_dict()
        groups = {"observation_groups": self.wrapper.observation_groups, "state_groups": self.wrapper.state_groups}
        return {**modules, **groups}

    def load_library_state(self, content: dict[str, Any], networks_only: bool) -> None:
        for name, module in self.agent.checkpoint_modules.items():
            if not (networks_only and name == "optimizer"):
                module.load_state_dict(content[name])
        if networks_only:
            return
        self.wrapper.seed = None  # the environment's random numbers go on where they were
        if self.agent.scheduler is not None and "scheduler" in content:
            self.agent.scheduler.load_state_dict(content["scheduler"])
        if "scaler" in content:
            self.agent.scaler.load_state_dict(content["scaler"])

    def add_scalar(self, *, tag: str, value: float, timestep: int) -> None:
        """Take a number that skrl reports, as its ``SummaryWriter`` would."""
        self._written[tag] = float(value)

    def _after_update(self, timestep: int) -> None:
        self._written = {}
        self.agent.write_tracking_data(timestep=timestep, timesteps=timestep)
        written, rollouts = self._written, self.cfg.agent.rollouts
        collection_time = 1e-3 * rollouts * (written.pop(_INFERENCE, 0.0) + written.pop(_STEPPING, 0.0))
        times = {"Perf/collection_time": collection_time, "Perf/learning_time": 1e-3 * written.pop(_UPDATE, 0.0)}
        self.iteration_done({**times, **{METRICS.get(name, name): value for name, value in written.items()}})

    def _check_fit(self) -> None:
        """Refuse a config that asks for what the environment has not.

        Raises:
            ConfigError: states that do not exist, or a rollout that does not make so many minibatches.
        """
        models, agent = self.cfg.models, self.cfg.agent
        for role in ("policy", "value"):
            if "STATES" in getattr(models, role).inputs() and not self.wrapper.state_groups:
                raise ConfigError(
                    f"models.{role} takes in STATES, but the task has no observation group 'critic': "
                    "name the groups in agent.obs_groups.states, or take in OBSERVATIONS"
                )
        rows = agent.rollouts * self.env.num_envs
        if agent.mini_batches > rows:
            raise ConfigError(f"agent.mini_batches is {agent.mini_batches}, but a rollout has only {rows} steps")
        sequences = rows // self.cfg.sequence_length
        if agent.class_name == "PPO_RNN" and sequences % agent.mini_batches:
            divisor = math.gcd(sequences, agent.mini_batches)
            raise ConfigError(
                f"agent.mini_batches is {agent.mini_batches}: it must divide the rollout's {sequences} sequences "
                f"({self.env.num_envs} environments, {agent.rollouts} steps, sequences of {self.cfg.sequence_length}), "
                f"as {divisor} does"
            )
