"""RSL-RL's runner inside a run of Palestra: curves, checkpoints and signals are those of every run."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import torch
from rsl_rl.algorithms import PPO
from rsl_rl.runners import OnPolicyRunner
from rsl_rl.utils.logger import Logger

from palestra.envs.base import RLEnv
from palestra.errors import ConfigError, PalestraError, did_you_mean
from palestra.integrations.rsl_rl.cfg import RslRlOnPolicyRunnerCfg
from palestra.integrations.rsl_rl.policy import library_class, model_settings
from palestra.integrations.rsl_rl.wrapper import RslRlVecEnvWrapper
from palestra.integrations.trainer import LibraryTrainer
from palestra.rl.console import Row, TrainingConsole


class ScalarCollector:
    """A writer for RSL-RL's logger that keeps the numbers of an iteration."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def add_scalar(self, tag: str, value: float | torch.Tensor, global_step: int) -> None:
        """Keep a number; curves over seconds instead of iterations are left out."""
        if not tag.endswith("/time"):
            self.values[tag] = float(value)


class ReportingLogger(Logger):
    """RSL-RL's logger, which hands an iteration's numbers on instead of writing and printing them.

    Args:
        report: takes the numbers, under the names that RSL-RL gives them.
        **settings: those of RSL-RL's logger.
    """

    def __init__(self, report: Callable[[dict[str, float]], None], **settings: Any) -> None:
        super().__init__(**settings)
        self._report = report

    def init_logging_writer(self) -> None:
        """Open nothing: the run folder's files are written by the trainer."""
        self.writer: Any = ScalarCollector()

    def log(self, *args: Any, **kwargs: Any) -> None:
        """Let RSL-RL summarise the iteration and hand the numbers on."""
        self.writer.values = {}
        with contextlib.redirect_stdout(io.StringIO()):
            super().log(*args, **kwargs)
        self._report(self.writer.values)


class RunFolderRunner(OnPolicyRunner):
    """RSL-RL's runner, whose log goes to ``report`` and whose checkpoints are the run folder's."""

    def __init__(
        self,
        env: RslRlVecEnvWrapper,
        train_cfg: dict[str, Any],
        device: str,
        report: Callable[[dict[str, float]], None],
    ) -> None:
        super().__init__(env, train_cfg, log_dir=None, device=device)
        self.logger = ReportingLogger(
            report,
            log_dir="",  # only joined to the names that save() ignores
            cfg=self.cfg,
            env_cfg=env.cfg,
            num_envs=env.num_envs,
            is_distributed=self.is_distributed,
            gpu_world_size=self.gpu_world_size,
            gpu_global_rank=self.gpu_global_rank,
            device=device,
        )

    def save(self, path: str, infos: dict | None = None) -> None:
        """Save nothing: the trainer does, whenever it is time."""


class RslRlConsole(TrainingConsole):
    """Shows RSL-RL's numbers; its ``Train/mean_reward`` is an episode's return, which stands there already."""

    def update(self, row: Row) -> None:
        """Show an iteration."""
        super().update({name: value for name, value in row.items() if name != "Train/mean_reward"})


class RslRlTrainer(LibraryTrainer):
    """RSL-RL's ``OnPolicyRunner`` as a learner of the command line.

    Args:
        env: the environments.
        cfg: the run's settings.
        task: the task's name, kept in checkpoints.
        console: shows progress; None for one on the standard output.

    Raises:
        ConfigError: a setting does not fit the environment or the library.
    """

    library = "rsl_rl"

    def __init__(
        self, env: RLEnv, cfg: RslRlOnPolicyRunnerCfg, task: str = "", console: TrainingConsole | None = None
    ) -> None:
        super().__init__(env, cfg, task, console if console is not None else RslRlConsole(title=task))
        settings = runner_settings(cfg)
        _check_fit(cfg, env)
        self.wrapper = RslRlVecEnvWrapper(env, cfg.clip_actions)
        # RSL-RL's own PPO does not look at terminal observations
        env.keep_terminal_observations = library_class(cfg.algorithm.class_name, PPO, "agent.algorithm") is not PPO
        torch.manual_seed(cfg.seed)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                self.runner = RunFolderRunner(self.wrapper, settings, str(self.device), self.iteration_done)
        except (TypeError, ValueError, ImportError, AttributeError, AssertionError, RuntimeError) as error:
            raise ConfigError(f"RSL-RL refuses the agent's config: {' '.join(str(error).split())}") from error
        self._started = self._continues = False

    @property
    def steps_per_iteration(self) -> int:
        """Environment steps of an iteration, summed over the environments."""
        return self.cfg.num_steps_per_env * self.env.num_envs

    @property
    def obs_groups(self) -> dict[str, list[str]]:
        """Observation groups that the actor and the critic see."""
        return self.cfg.obs_groups

    def train(self, iterations: int) -> None:
        """Let RSL-RL's runner learn for so many iterations.

        Raises:
            PalestraError: the environment returned NaN.
        """
        fresh = not self._started
        if fresh:
            self.wrapper.reset(None if self._continues else self.cfg.seed)
            self.runner.alg.actor.reset()
            self.runner.alg.critic.reset()
            self._started = True
        self.runner.current_learning_iteration = self.current_learning_iteration
        try:
            self.runner.learn(iterations, init_at_random_ep_len=fresh and self.cfg.init_at_random_ep_len)
        except ValueError as error:
            if "NaN" not in str(error):
                raise
            raise PalestraError(f"training stopped in iteration {self.current_learning_iteration}: {error}") from error

    def library_state(self) -> dict[str, Any]:
        """Return what RSL-RL's runner saves."""
        return {**self.runner.alg.save(), "infos": None}

    def load_library_state(self, content: dict[str, Any], networks_only: bool) -> None:
        """Restore :meth:`library_state`."""
        parts = {"actor": True, "critic": True} if networks_only else None
        self.runner.alg.load(content, parts, strict=True)
        if not networks_only:
            self._started, self._continues = False, True


def make_trainer(env: RLEnv, cfg: RslRlOnPolicyRunnerCfg, task: str) -> RslRlTrainer:
    """Return what trains on ``env`` with RSL-RL.

    Raises:
        ConfigError: a setting does not fit the environment or the library.
    """
    return RslRlTrainer(env, cfg, task)


def runner_settings(cfg: RslRlOnPolicyRunnerCfg) -> dict[str, Any]:
    """Return the dictionary that ``rsl_rl.runners.OnPolicyRunner`` takes.

    Raises:
        ConfigError: a class that does not exist or does not fit.
    """
    settings: dict[str, Any] = cfg.copy().to_dict()  # type: ignore[attr-defined]  # a configclass has both
    library_class(cfg.algorithm.class_name, PPO, "agent.algorithm")
    for model in ("actor", "critic"):
        settings[model] = model_settings(settings[model], f"agent.{model}")
    return settings


def _check_fit(cfg: RslRlOnPolicyRunnerCfg, env: RLEnv) -> None:
    """Refuse what RSL-RL would stumble over in the middle."""
    for name, groups in cfg.obs_groups.items():
        for group in groups:
            if group not in env.observation_dims:
                raise ConfigError(f"agent.obs_groups.{name}: {group!r}: {did_you_mean(group, env.observation_dims)}")
    recurrent = [name for name in ("actor", "critic") if getattr(cfg, name).class_name == "RNNModel"]
    rows = env.num_envs if recurrent else env.num_envs * cfg.num_steps_per_env
    if cfg.algorithm.num_mini_batches > rows:
        what = f"environments, and the {recurrent[0]} is recurrent" if recurrent else "rows in a rollout"
        raise ConfigError(
            f"agent.algorithm.num_mini_batches is {cfg.algorithm.num_mini_batches} but there are {rows} {what}"
        )
    if recurrent and cfg.algorithm.symmetry_cfg is not None:
        raise ConfigError("agent.algorithm.symmetry_cfg: RSL-RL's symmetry does not take recurrent models")
