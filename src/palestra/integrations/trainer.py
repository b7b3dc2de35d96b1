"""What all libraries' trainings share: the run folder, the curves, the checkpoints, and leaving on a signal."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from pathlib import Path
from signal import Signals
from typing import Any, ClassVar, Literal, Protocol

import torch

from palestra.config.configclass import configclass
from palestra.config.plain import plain_value
from palestra.envs.base import RLEnv
from palestra.errors import ConfigError, PalestraError
from palestra.rl.checkpoint import check_compatible, load_checkpoint, save_checkpoint
from palestra.rl.config import check_device
from palestra.rl.console import TrainingConsole
from palestra.rl.distributed import ALONE, World
from palestra.rl.interrupt import InterruptGuard
from palestra.rl.logger import WANDB_PROJECT, RunLogger, check_logger
from palestra.rl.observer import TrainingObserver
from palestra.rl.reward_shares import RewardBalance, reward_shares
from palestra.rl.runner import HEALTH_INTERVAL


class Trainer(Protocol):
    """What the command line needs of a learner; ``palestra.rl.OnPolicyRunner`` is one too."""

    env: Any
    cfg: Any
    world: World
    console: TrainingConsole
    observer: TrainingObserver | None
    run_dir: Path | None
    current_learning_iteration: int
    stop_signal: Signals | None

    def learn(self, num_iterations: int | None = None) -> None:
        """Train for ``num_iterations`` more; None for what is left of ``cfg.max_iterations``."""
        ...

    def load(self, path: Path | str, load_cfg: dict[str, bool] | None = None) -> None:
        """Restore a checkpoint, or its parts ``actor`` and ``critic`` only."""
        ...

    def release(self) -> None:
        """Free what the training recorded on a GPU."""
        ...


@configclass
class LibraryRunnerCfg:
    """What a run of any other library has beside the library's own settings."""

    seed: int = 42
    """Seed of the networks' initial weights, of the action noise and of the environment."""

    device: str | None = None
    """Device of the learner, such as ``"cuda:0"``; None takes the environment's."""

    max_iterations: int = 1000
    """Iterations (rollout and update) of a whole run."""

    save_interval: int = 50
    """Iterations between two checkpoints."""

    experiment_name: str = "experiment"
    """Folder under ``runs/`` that collects the runs of an experiment."""

    run_name: str = ""
    """Word appended to the run's folder name."""

    logger: Literal["tensorboard", "wandb", "none"] = "tensorboard"
    """Where curves go beside ``metrics.csv``, which is always written; ``wandb`` (Weights & Biases) writes
    TensorBoard's files too."""

    wandb_project: str = WANDB_PROJECT
    """Project of a run at Weights & Biases."""

    resume: bool = False
    """Whether to continue an earlier run of the experiment."""

    load_run: str = ".*"
    """Regular expression for the run to resume; the latest that matches is taken."""

    load_checkpoint: str = "last.pth"
    """Regular expression for the checkpoint to resume from, inside the run's ``nn`` folder."""

    clip_actions: float | None = None
    """Bound on what the environment receives: each action is clamped to ±``clip_actions``; None leaves it alone."""

    def set_iterations(self, iterations: int) -> None:
        """Set the length of a run; a config that has it in the library's own field too sets both."""
        self.max_iterations = iterations

    def validate_config(self) -> None:
        for name in ("max_iterations", "save_interval"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be at least 1")
        check_logger(self.logger)
        check_device(self.device)


class StopTrainingError(Exception):
    """Leaves a library's own loop between two iterations."""


class LibraryTrainer(ABC):
    """A library's own runner, inside a run of Palestra.

    The library's loop calls :meth:`iteration_done` after each of its updates; that logs, saves, and leaves the loop
    with :class:`StopTrainingError` on a signal or when the run is long enough.

    Args:
        env: the environments.
        cfg: the run's settings, with those of :class:`LibraryRunnerCfg`.
        task: the task's name, kept in checkpoints.
        console: shows progress; None for one on the standard output.
    """

    library: ClassVar[str]
    """Name of the library, as ``--library`` takes it."""

    def __init__(self, env: RLEnv, cfg: Any, task: str = "", console: TrainingConsole | None = None) -> None:
        self.env = env
        self.cfg = cfg
        self.task = task
        self.world = ALONE
        self.run_dir: Path | None = None
        self.device = torch.device(cfg.device or env.device)
        self.console = console if console is not None else TrainingConsole(title=task)
        self.observer: TrainingObserver | None = None
        self.current_learning_iteration = 0
        self.env_steps = 0
        """Environment steps taken, summed over the environments."""
        self.training_time = 0.0
        """Seconds spent in iterations."""
        self.stop_signal: Signals | None = None
        self.last_metrics: dict[str, float | int] = {}
        """Numbers of the last iteration, as logged."""
        self._last_iteration = 0
        self._iteration_began = self._health_at = 0.0
        self._saved_at = -1
        self._logger: RunLogger | None = None
        self._interrupt = InterruptGuard()
        self._balance = RewardBalance(0)
        torch.manual_seed(cfg.seed)

    # --- what a library fills in --------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def steps_per_iteration(self) -> int:
        """Environment steps of an iteration, summed over the environments."""

    @abstractmethod
    def train(self, iterations: int) -> None:
        """Let the library's own loop run for ``iterations``, calling :meth:`iteration_done` after each."""

    @abstractmethod
    def library_state(self) -> dict[str, Any]:
        """Return what the library saves: under the library's own keys, only tensors, numbers, strings, containers."""

    @abstractmethod
    def load_library_state(self, content: dict[str, Any], networks_only: bool) -> None:
        """Restore :meth:`library_state`; ``networks_only`` leaves the optimiser and counters alone."""

    @property
    @abstractmethod
    def obs_groups(self) -> dict[str, list[str]]:
        """Observation groups that the actor and the critic see."""

    # --- what the command line calls ----------------------------------------------------------------------------------

    def learn(self, num_iterations: int | None = None) -> None:
        """Train for ``num_iterations`` more iterations; None for what is left of ``cfg.max_iterations``.

        On SIGTERM or Ctrl-C the iteration is finished, a checkpoint saved and ``stop_signal`` set.

        Raises:
            PalestraError: the library's losses are no longer finite; nothing is saved then.
        """
        first = self.current_learning_iteration
        self._last_iteration = self.cfg.max_iterations if num_iterations is None else first + num_iterations
        self._logger = RunLogger(self.run_dir, self.cfg.logger, first, self.cfg.wandb_project)
        self.stop_signal = None
        self._balance = RewardBalance(self._last_iteration - first)
        with InterruptGuard() as self._interrupt:
            self.console.start(first, self._last_iteration)
            self._iteration_began = self._health_at = time.perf_counter()
            try:
                with contextlib.suppress(StopTrainingError):
                    self.train(self._last_iteration - first)
                if self.observer is not None:
                    self.observer.training_ended(self._logger, lambda: self._interrupt.signal is not None)
            finally:
                self.console.stop()
                self._logger.close()
            self.stop_signal = self._interrupt.signal
        self._report_health()
        if self.current_learning_iteration > first:
            self._save_in_run()
        unbalanced = self._balance.warning()
        if unbalanced is not None:
            self.console.message(f"warning: {unbalanced}")
        if self.stop_signal is not None:
            where = f"; saved {self.checkpoint_path('last')}" if self.run_dir is not None else ""
            done = self.current_learning_iteration
            self.console.message(f"{self.stop_signal.name}: left after iteration {done}{where}")

    def iteration_done(self, metrics: dict[str, float]) -> None:
        """Log an iteration, save if it is time, and leave the loop if the run is to end.

        Args:
            metrics: the library's own numbers of this iteration, such as ``Loss/value``.

        Raises:
            StopTrainingError: the library's loop must not go on.
            PalestraError: a loss is not finite.
        """
        now = time.perf_counter()
        seconds, self._iteration_began = now - self._iteration_began, now
        broken = [name for name, value in metrics.items() if name.startswith("Loss/") and value - value != 0.0]
        if broken:
            raise PalestraError(
                f"training stopped in iteration {self.current_learning_iteration}: {' and '.join(broken)} "
                "are not finite; the last checkpoint is untouched; look for a term that divides by zero, "
                "or lower the learning rate"
            )
        log = self.env.fetch_log()
        self.env_steps += self.steps_per_iteration
        self.training_time += seconds
        self.last_metrics = {
            "iteration": self.current_learning_iteration,
            "Train/env_steps": self.env_steps,
            "Train/time": self.training_time,
            "Perf/total_fps": self.steps_per_iteration / seconds,
            **metrics,
            **log,
            **reward_shares(log, self.env.reward_groups),
        }
        self.current_learning_iteration += 1
        assert self._logger is not None
        self._logger.write(self.last_metrics)
        self.console.update(self.last_metrics)
        self._balance.add(self.last_metrics)
        if now - self._health_at > HEALTH_INTERVAL:
            self._health_at = now
            self._report_health()
        if self.current_learning_iteration % self.cfg.save_interval == 0:
            self._save_in_run()
        if self.observer is not None:
            self.observer.iteration_done(self.current_learning_iteration, self._save_in_run, self._logger)
        if self._interrupt.signal is not None or self.current_learning_iteration >= self._last_iteration:
            raise StopTrainingError

    def load(self, path: Path | str, load_cfg: dict[str, bool] | None = None) -> None:
        """Restore a checkpoint, so that ``learn`` goes on where it was saved.

        Args:
            path: the checkpoint.
            load_cfg: None restores all; else only the networks, whichever parts it names.

        Raises:
            ConfigError: the file cannot be used, or is of another task, another library or other dimensions.
        """
        content = load_checkpoint(path)
        if content["library"] != self.library:
            raise ConfigError(f"checkpoint {path} was trained with {content['library']}, not with {self.library}")
        check_compatible(content, path, self.task, self.env.observation_dims, self.env.num_actions)
        try:
            self.load_library_state(content, networks_only=load_cfg is not None)
        except (RuntimeError, KeyError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"checkpoint {path} does not fit: {reason}") from error
        if load_cfg is None:
            self.env.load_state_dict(content["env_state"])
            torch.set_rng_state(content["torch_rng_state"])
            self.current_learning_iteration = content["iter"]
            self.env_steps = content["env_steps"]
            self.training_time = content["training_time"]

    def save(self, path: Path | str) -> None:
        """Write a checkpoint to ``path``."""
        save_checkpoint(Path(path), self._content())

    def checkpoint_path(self, name: str | int) -> Path:
        """Return the path of the checkpoint ``last``, or of that after so many iterations.

        Raises:
            ConfigError: there is no run folder.
        """
        if self.run_dir is None:
            raise ConfigError("this trainer has no run folder, so it keeps no checkpoints")
        return self.run_dir / "nn" / ("last.pth" if name == "last" else f"model_{name}.pth")

    def release(self) -> None:  # noqa: B027 - few have anything to free
        """Nothing is recorded here; the environment frees its own recording."""

    def _save_in_run(self) -> Path | None:
        """Save if it has not been done yet; return the checkpoint, or None without a run folder."""
        if self.run_dir is None:
            return None
        path = self.checkpoint_path(self.current_learning_iteration)
        if self._saved_at != self.current_learning_iteration:
            self._saved_at = self.current_learning_iteration
            save_checkpoint([path, self.checkpoint_path("last")], self._content())
        return path

    def _content(self) -> dict[str, Any]:
        return {
            "library": self.library,
            "task": self.task,
            "observation_dims": dict(self.env.observation_dims),
            "num_actions": self.env.num_actions,
            "obs_groups": self.obs_groups,
            "config": plain_value(self.cfg),
            **self.library_state(),
            "iter": self.current_learning_iteration,
            "env_steps": self.env_steps,
            "training_time": self.training_time,
            "env_state": self.env.state_dict(),
            "torch_rng_state": torch.get_rng_state(),
        }

    def _report_health(self) -> None:
        for warning in self.env.check_health():
            self.console.message(f"warning: {warning}")
