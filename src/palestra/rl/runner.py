"""The training loop: collect, learn, log, save."""

import time
from collections.abc import Callable
from pathlib import Path
from signal import Signals
from typing import Any

import torch
from torch import Tensor

from palestra.config.values import plain_value
from palestra.errors import ConfigError, PalestraError, did_you_mean
from palestra.integrations import OURS
from palestra.rl.checkpoint import check_compatible, load_checkpoint, save_checkpoint
from palestra.rl.config import PPORunnerCfg
from palestra.rl.console import TrainingConsole
from palestra.rl.distributed import ALONE, World
from palestra.rl.environment import Environment, Observations
from palestra.rl.interrupt import InterruptGuard
from palestra.rl.logger import RunLogger
from palestra.rl.observer import TrainingObserver
from palestra.rl.policy import InferencePolicy
from palestra.rl.ppo import PPO, STATE_PARTS
from palestra.rl.reward_shares import RewardBalance, reward_shares
from palestra.rl.stopwatch import Stopwatch

HEALTH_INTERVAL = 5.0
"""Seconds between two looks at the environment's warnings."""

LOAD_PARTS = (*STATE_PARTS, "iteration", "env")
"""Parts of a checkpoint that ``OnPolicyRunner.load`` can restore one by one."""


class OnPolicyRunner:
    """Trains a policy on an environment with PPO.

    The global random stream of torch is seeded with ``cfg.seed``, and the environment is reset with it.

    Args:
        env: the environments.
        cfg: the run's settings.
        run_dir: the run's folder; None writes no files.
        console: shows progress; None for one on the standard output.
        task: the task's name, kept in checkpoints.
        dtype: float32, or float64 for comparisons of arithmetic.
        world: the processes that train together. ``run_dir`` is for the first one; the others stay silent but for
            warnings.

    Raises:
        ConfigError: a setting is out of range or does not fit the environment.
    """

    def __init__(
        self,
        env: Environment,
        cfg: PPORunnerCfg,
        run_dir: Path | str | None = None,
        console: TrainingConsole | None = None,
        task: str = "",
        dtype: torch.dtype = torch.float32,
        world: World = ALONE,
    ) -> None:
        self.env = env
        self.cfg = cfg
        self.run_dir = None if run_dir is None else Path(run_dir)
        self.task = task
        self.world = world
        self.device = torch.device(cfg.device or env.device)
        torch.manual_seed(cfg.seed)
        self.ppo = PPO(cfg, env.observation_dims, env.num_envs, env.num_actions, self.device, dtype, world)
        self.console = console if console is not None else TrainingConsole(title=task, quiet=not world.is_main)
        self.current_learning_iteration = 0
        """Iterations done, those of the runs that this one resumes included."""
        self.env_steps = 0
        """Environment steps taken, summed over the environments."""
        self.training_time = 0.0
        """Seconds spent in iterations."""
        self.stop_signal: Signals | None = None
        """The signal on which the last ``learn`` left early, if one came."""
        self.last_metrics: dict[str, float | int] = {}
        """Numbers of the last iteration, as logged."""
        self.observer: TrainingObserver | None = None
        """Who is told of each iteration."""
        self._stopwatch = Stopwatch(self.device)
        self._collect, self._update = self._work()
        self._started = False
        env.keep_terminal_observations = cfg.algorithm.time_out_bootstrap == "terminal_observation"
        self._fresh_episodes = True
        self._saved_at = -1

    def learn(self, num_iterations: int | None = None) -> None:
        """Train for ``num_iterations`` more iterations; None for what is left of ``cfg.max_iterations``.

        On SIGTERM or Ctrl-C the iteration is finished, a checkpoint saved and ``stop_signal`` set.

        Raises:
            PalestraError: rewards, observations, losses or parameters are no longer finite; nothing is saved then,
                so that the last checkpoint stays good.
        """
        first = self.current_learning_iteration
        last = self.cfg.max_iterations if num_iterations is None else first + num_iterations
        self.ppo.share()
        self._begin_episodes()
        logger = RunLogger(self.run_dir, self.cfg.logger, first, self.cfg.wandb_project)
        health_at = time.monotonic()
        self.stop_signal = None
        balance = RewardBalance(last - first)
        with InterruptGuard() as interrupt:
            self.console.start(first, last)
            try:
                while self.current_learning_iteration < last and not self.world.any(interrupt.signal is not None):
                    row = self._iterate()
                    logger.write(row)
                    self.console.update(row)
                    balance.add(row)
                    if time.monotonic() - health_at > HEALTH_INTERVAL:
                        health_at = time.monotonic()
                        self._report_health()
                    if self.current_learning_iteration % self.cfg.save_interval == 0:
                        self._save_in_run()
                    if self.observer is not None:
                        self.observer.iteration_done(self.current_learning_iteration, self._save_in_run, logger)
                self._report_health()
                if self.current_learning_iteration > first:
                    self._save_in_run()
                if self.observer is not None:
                    self.observer.training_ended(logger, lambda: interrupt.signal is not None)
            finally:
                self.console.stop()
                logger.close()
            self.stop_signal = interrupt.signal
            if self.stop_signal is None and self.current_learning_iteration < last:
                self.stop_signal = Signals.SIGTERM  # another process was asked to stop
        unbalanced = balance.warning()
        if unbalanced is not None and self.world.is_main:
            self.console.message(f"warning: {unbalanced}")
        if self.stop_signal is not None and self.world.is_main:
            where = f"; saved {self.checkpoint_path('last')}" if self.run_dir is not None else ""
            done = self.current_learning_iteration
            self.console.message(f"{self.stop_signal.name}: left after iteration {done}{where}")

    def _work(self) -> tuple[Callable[[], object], Callable[[], object]]:
        """Return the rollout and the update; on a GPU each becomes one CUDA graph."""
        ppo = self.ppo

        def collect() -> None:
            ppo.collect(self.env, ppo.storage.last_observations())

        if self.device.type != "cuda":
            return collect, ppo.update
        if self.cfg.capture == "off":
            return collect, ppo.update
        from palestra.physics.capture import CapturedCall

        update = CapturedCall(ppo.update, self.device, "the update", [ppo.generator], warm_up=1)
        if getattr(self.env, "capture", "off") == "off" or torch.device(self.env.device) != self.device:
            return collect, update
        key = getattr(self.env, "capture_key", lambda: None)
        rows = self.env.num_envs if getattr(self.env, "fuse_operations", False) else None
        return CapturedCall(collect, self.device, "the rollout", [ppo.generator], key, warm_up=1, rows=rows), update

    def _iterate(self) -> dict[str, float | int]:
        """Collect a rollout, learn from it, and return the numbers to log."""
        started = time.perf_counter()
        self._stopwatch.start()
        self._collect()
        self._stopwatch.split()
        self._update()
        collection_time = self._stopwatch.first_part()  # waits for the device
        log = self.env.fetch_log()
        metrics, broken = self.ppo.fetch_metrics()
        learned = time.perf_counter()
        if broken:
            raise PalestraError(
                f"training stopped in iteration {self.current_learning_iteration}: {' and '.join(broken)} "
                "are not finite; the last checkpoint is untouched; look for a term that divides by zero, "
                "or lower the learning rate"
            )
        steps = self.cfg.num_steps_per_env * self.env.num_envs * self.world.size
        self.env_steps += steps
        self.training_time += learned - started
        self.last_metrics = {
            "iteration": self.current_learning_iteration,
            "Train/env_steps": self.env_steps,
            "Train/time": self.training_time,
            "Perf/total_fps": steps / (learned - started),
            "Perf/collection_time": collection_time,
            "Perf/learning_time": learned - started - collection_time,
            **metrics,
            **log,
            **reward_shares(log, getattr(self.env, "reward_groups", {})),
        }
        self.current_learning_iteration += 1
        return self.last_metrics

    def _begin_episodes(self) -> None:
        """Reset the environments if they have not been, and put fresh episodes at random ages."""
        if not self._started:
            self._start_from(self.env.reset(seed=self.cfg.seed)[0])
            self._fresh_episodes = True
        if self._fresh_episodes and self.cfg.init_at_random_ep_len:
            ages = self.env.episode_length_buf
            part = torch.rand(ages.shape, generator=self.ppo.generator, device=self.device)
            ages.copy_(part * self.env.max_episode_length)
        self._fresh_episodes = False

    def _start_from(self, obs: Observations) -> None:
        """Let the next rollout begin with ``obs``: it goes on from where the one in the storage ended."""
        self.ppo.storage.write_observations(self.ppo.storage.num_steps, obs)
        self._started = True

    def release(self) -> None:
        """Free the recorded work; what uses the runner afterwards records anew."""
        self._collect, self._update = self._work()

    def _report_health(self) -> None:
        for warning in self.env.check_health():
            where = f" (process {self.world.rank})" if self.world.size > 1 else ""
            self.console.message(f"warning: {warning}{where}")

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def checkpoint_path(self, name: str | int) -> Path:
        """Return the path of the checkpoint ``last``, or of that after so many iterations.

        Raises:
            ConfigError: the runner has no run folder.
        """
        if self.run_dir is None:
            raise ConfigError("this runner has no run folder, so it keeps no checkpoints")
        return self.run_dir / "nn" / ("last.pth" if name == "last" else f"model_{name}.pth")

    def save(self, path: Path | str) -> None:
        """Write a checkpoint to ``path``."""
        save_checkpoint(Path(path), self._content())

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
            "task": self.task,
            "observation_dims": self.ppo.observation_dims,
            "num_actions": self.env.num_actions,
            "obs_groups": self.cfg.obs_groups,
            "config": plain_value(self.cfg),
            **self.ppo.state_dict(),
            "iter": self.current_learning_iteration,
            "env_steps": self.env_steps,
            "training_time": self.training_time,
            "env_state": self.env.state_dict(),
            "torch_rng_state": torch.get_rng_state(),
        }

    def load(self, path: Path | str, load_cfg: dict[str, bool] | None = None) -> None:
        """Restore a checkpoint, so that ``learn`` goes on where it was saved.

        Args:
            path: the checkpoint.
            load_cfg: which of the parts ``actor``, ``critic``, ``optimizer``, ``rng``, ``iteration`` and
            ``env``
                to restore; None restores all, and a part that is not named is left alone.

        Raises:
            ConfigError: the file cannot be used, or is of another task or other dimensions.
        """
        wanted = dict.fromkeys(LOAD_PARTS, True) if load_cfg is None else load_cfg
        for part in wanted:
            if part not in LOAD_PARTS:
                raise ConfigError(f"no part {part!r} in a checkpoint: {did_you_mean(part, LOAD_PARTS)}")
        content = load_checkpoint(path)
        if content["library"] != OURS:
            raise ConfigError(f"checkpoint {path} was trained with {content['library']}, not with {OURS}")
        check_compatible(content, path, self.task, self.ppo.observation_dims, self.env.num_actions)
        try:
            self.ppo.load_state_dict(content, [part for part in STATE_PARTS if wanted.get(part)])
        except ConfigError as error:
            raise ConfigError(f"checkpoint {path} does not fit: {error}") from error
        if wanted.get("env"):
            obs, _ = self.env.reset(seed=self.cfg.seed)
            self.env.load_state_dict(content["env_state"])
            self._start_from(obs)
            self._fresh_episodes = False
        if wanted.get("rng") and self.world.is_main:  # the state is the first process's
            torch.set_rng_state(content["torch_rng_state"])
        self._saved_at = -1
        if wanted.get("iteration"):
            self.current_learning_iteration = content["iter"]
            self.env_steps = content["env_steps"]
            self.training_time = content["training_time"]

    def get_inference_policy(self) -> Callable[[Observations | Tensor], Tensor]:
        """Return the policy's mean action as a function of the observations; it follows further training."""
        return InferencePolicy(self.ppo.actor, self.cfg.obs_groups["actor"], self.cfg.clip_actions)
