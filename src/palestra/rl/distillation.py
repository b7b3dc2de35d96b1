"""Distillation: a student that sees less, or remembers, learns to act as a teacher does.

DAgger (Ross, Gordon & Bagnell 2011, "A Reduction of Imitation Learning and Structured Prediction to No-Regret Online
Learning"): the student acts, the teacher says what it would have done in the states that the student gets into, and the
student is regressed on that. For the first iterations the teacher acts in a share of the environments that falls to
zero (β in the paper), so that the first rollouts are not those of a student that falls over at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from signal import Signals
from typing import Any, Literal

import torch
from torch import Tensor, nn

from palestra.config.configclass import configclass
from palestra.config.values import plain_value
from palestra.envs.memory import forget
from palestra.errors import ConfigError, PalestraError
from palestra.rl.checkpoint import save_checkpoint
from palestra.rl.config import ModelCfg
from palestra.rl.console import TrainingConsole
from palestra.rl.environment import Environment, Observations
from palestra.rl.interrupt import InterruptGuard
from palestra.rl.logger import RunLogger
from palestra.rl.networks import Actor, RecurrentActor
from palestra.rl.policy import InferencePolicy, RecurrentPolicy
from palestra.rl.storage import concatenate

Teacher = Callable[[Observations], Tensor]
"""Observation groups to actions ``(num_envs, num_actions)``; one that remembers has ``reset(done)``."""


@configclass
class DistillationCfg:
    """Settings of a distillation; the defaults are RSL-RL's where it has the setting."""

    groups: list[str] = ["policy"]
    """Observation groups that the student sees, concatenated in this order."""

    student: ModelCfg = ModelCfg(hidden_dims=[256, 128, 128], obs_normalization=True)
    """The student's network; of its Gaussian only ``init_std`` matters, for training on with PPO."""

    rnn_hidden_dim: int = 0
    """Width of a GRU in front of the network; 0 for a student without memory."""

    rnn_num_layers: int = 1
    """Layers of the GRU."""

    num_steps_per_env: int = 24
    """Steps of a rollout; a GRU is unrolled, and its gradient cut, over this many."""

    max_iterations: int = 300
    """Rollouts, each followed by an update."""

    num_learning_epochs: int = 2
    """Passes over each rollout."""

    num_mini_batches: int = 4
    """Minibatches in a pass."""

    learning_rate: float = 1.0e-3
    """Adam's step size."""

    max_grad_norm: float = 1.0
    """Largest norm of the gradient."""

    loss: Literal["mse", "huber"] = "mse"
    """Distance between the two actions."""

    teacher_iterations: int = 20
    """Iterations over which the share of environments in which the teacher acts falls from 1 to 0."""

    save_interval: int = 50
    """Iterations between two checkpoints."""

    logger: str = "tensorboard"
    """Where curves go beside ``metrics.csv``: ``tensorboard`` or ``none``."""

    seed: int = 1
    """Seed of the networks, the minibatches and the episodes."""

    def validate_config(self) -> None:
        for name in ("num_steps_per_env", "max_iterations", "num_learning_epochs", "num_mini_batches", "save_interval"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be at least 1")
        for name in ("learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0.0:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be greater than 0")
        if self.rnn_hidden_dim < 0 or self.rnn_num_layers < 1 or self.teacher_iterations < 0:
            raise ConfigError(
                "rnn_hidden_dim and teacher_iterations must be at least 0, rnn_num_layers at least 1, not "
                f"{self.rnn_hidden_dim}, {self.teacher_iterations} and {self.rnn_num_layers}"
            )
        if not self.groups:
            raise ConfigError("groups is empty: name the observation groups that the student sees, such as ['policy']")
        if self.loss not in ("mse", "huber"):
            raise ConfigError(f"loss is {self.loss!r}: use 'mse' or 'huber'")


class Distiller:
    """Trains a student on an environment by a teacher's word.

    Args:
        env: the environments; they compute the groups of both.
        teacher: the teacher, on the environments' device.
        cfg: the settings.
        run_dir: the run's folder; None writes no files.
        task: the task's name, kept in checkpoints.
        clip_actions: bound on the student's actions; the teacher's.
        extra: what a checkpoint holds beside the student, such as the teacher's critic.

    Raises:
        ConfigError: the environment lacks a group.
    """

    def __init__(
        self,
        env: Environment,
        teacher: Teacher,
        cfg: DistillationCfg,
        run_dir: Path | None = None,
        task: str = "",
        clip_actions: float | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        missing = [name for name in cfg.groups if name not in env.observation_dims]
        if missing:
            raise ConfigError(f"no observation group {missing[0]!r}; the task has {', '.join(env.observation_dims)}")
        self.env, self.teacher, self.cfg, self.run_dir, self.task = env, teacher, cfg, run_dir, task
        self.clip_actions, self.extra = clip_actions, extra or {}
        self.console = TrainingConsole(title=f"{task}, student")
        self.iteration = self.env_steps = 0
        self.training_time = 0.0
        self.stop_signal: Signals | None = None
        """The signal on which ``learn`` left early, if one came."""
        torch.manual_seed(cfg.seed)
        width = sum(env.observation_dims[name] for name in cfg.groups)
        self.student: Actor | RecurrentActor
        if cfg.rnn_hidden_dim:
            size = (cfg.rnn_hidden_dim, cfg.rnn_num_layers)
            self.student = RecurrentActor(width, env.num_actions, cfg.student, *size).to(env.device)
        else:
            self.student = Actor(width, env.num_actions, cfg.student).to(env.device)
        parameters = [p for name, p in self.student.named_parameters() if not name.startswith("distribution")]
        self._optimizer = torch.optim.Adam(parameters, lr=cfg.learning_rate)
        self._parameters = parameters
        self._loss = nn.functional.mse_loss if cfg.loss == "mse" else nn.functional.huber_loss
        steps, num_envs = cfg.num_steps_per_env, env.num_envs
        self._obs = torch.zeros(steps, num_envs, width, device=env.device)
        self._wanted = torch.zeros(steps, num_envs, env.num_actions, device=env.device)
        self._starts = torch.zeros(steps, num_envs, dtype=torch.bool, device=env.device)
        """Where a step is the first of an episode."""
        self._memory = self.student.blank(num_envs) if isinstance(self.student, RecurrentActor) else None
        env.keep_terminal_observations = False

    def policy(self) -> InferencePolicy | RecurrentPolicy:
        """Return the student as it acts; it follows further training."""
        kind = RecurrentPolicy if isinstance(self.student, RecurrentActor) else InferencePolicy
        return kind(self.student, self.cfg.groups, self.clip_actions)  # type: ignore[arg-type]

    def learn(self) -> None:
        """Distil for ``cfg.max_iterations`` iterations; Ctrl-C and SIGTERM save before leaving.

        Raises:
            PalestraError: the loss is no longer finite; nothing is saved then.
        """
        env, cfg = self.env, self.cfg
        obs, _ = env.reset(seed=cfg.seed)
        forget(self.teacher)
        ages = torch.rand(env.num_envs, device=env.device) * env.max_episode_length
        env.episode_length_buf.copy_(ages)
        fresh = torch.ones(env.num_envs, dtype=torch.bool, device=env.device)
        logger = RunLogger(self.run_dir, cfg.logger)
        with InterruptGuard() as interrupt:
            self.console.start(0, cfg.max_iterations)
            try:
                while self.iteration < cfg.max_iterations and interrupt.signal is None:
                    started = time.perf_counter()
                    first = self._memory.clone() if self._memory is not None else None
                    obs, fresh = self._collect(obs, fresh)
                    collected = time.perf_counter()
                    loss = self._update(first)
                    row = self._row(loss, started, collected)
                    logger.write(row)
                    self.console.update(row)
                    if self.iteration % cfg.save_interval == 0 or self.iteration == cfg.max_iterations:
                        self._save()
            finally:
                self.console.stop()
                logger.close()
            self.stop_signal = interrupt.signal
        if self.stop_signal is not None and self.iteration:
            self._save()

    @torch.no_grad()
    def _collect(self, obs: Observations, fresh: Tensor) -> tuple[Observations, Tensor]:
        """Let student and teacher act, and note what the student saw and the teacher wanted."""
        env, cfg = self.env, self.cfg
        share = max(0.0, 1.0 - self.iteration / cfg.teacher_iterations) if cfg.teacher_iterations else 0.0
        by_teacher = (torch.arange(env.num_envs, device=env.device) < round(share * env.num_envs)).unsqueeze(-1)
        for step in range(cfg.num_steps_per_env):
            self._obs[step] = concatenate(obs, cfg.groups)
            self._starts[step] = fresh
            self._wanted[step] = self.teacher(obs)
            actions = self._act(self._obs[step], fresh)
            obs, _, terminated, time_outs, _ = env.step_in_place(torch.where(by_teacher, self._wanted[step], actions))
            fresh = terminated | time_outs
            forget(self.teacher, fresh)
        self.student.update_normalization(self._obs.flatten(0, 1))
        return obs, fresh.clone()

    def _act(self, obs: Tensor, fresh: Tensor) -> Tensor:
        if isinstance(self.student, RecurrentActor):
            assert self._memory is not None
            actions, memory = self.student(obs, self._memory.masked_fill(fresh.view(1, -1, 1), 0.0))
            self._memory.copy_(memory)
        else:
            actions = self.student(obs)
        return actions if self.clip_actions is None else actions.clamp(-self.clip_actions, self.clip_actions)

    def _update(self, first: Tensor | None) -> float:
        """Regress the student on the rollout; return the mean loss.

        Args:
            first: memory at the rollout's start, ``(layers, num_envs, width)``.
        """
        losses = []
        for _ in range(self.cfg.num_learning_epochs):
            rows = self._obs.shape[1] if first is not None else self._obs.shape[0] * self._obs.shape[1]
            for part in torch.randperm(rows, device=self._obs.device).chunk(self.cfg.num_mini_batches):
                loss = self._loss(*self._predict(part, first))
                self._optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(self._parameters, self.cfg.max_grad_norm)
                self._optimizer.step()
                losses.append(loss.detach())
        mean = float(torch.stack(losses).mean())
        if not mean < float("inf"):
            raise PalestraError(
                f"distillation stopped in iteration {self.iteration}: the loss is {mean}; the last checkpoint is "
                "untouched; lower learning_rate"
            )
        return mean

    def _predict(self, part: Tensor, first: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the student's and the teacher's actions: of rows, or of whole sequences of environments."""
        if first is None:
            return self.student(self._obs.flatten(0, 1)[part]), self._wanted.flatten(0, 1)[part]
        memory, predicted = first[:, part], []
        for obs, fresh in zip(self._obs[:, part], self._starts[:, part], strict=True):
            actions, memory = self.student(obs, memory.masked_fill(fresh.view(1, -1, 1), 0.0))
            predicted.append(actions)
        return torch.stack(predicted), self._wanted[:, part]

    def _row(self, loss: float, started: float, collected: float) -> dict[str, float | int]:
        done = time.perf_counter()
        steps = self._obs.shape[0] * self._obs.shape[1]
        self.env_steps += steps
        self.training_time += done - started
        row: dict[str, float | int] = {
            "iteration": self.iteration,
            "Train/env_steps": self.env_steps,
            "Train/time": self.training_time,
            "Perf/total_fps": steps / (done - started),
            "Perf/collection_time": collected - started,
            "Perf/learning_time": done - collected,
            "Loss/distillation": loss,
            **self.env.fetch_log(),
        }
        self.iteration += 1
        return row

    def _save(self) -> None:
        if self.run_dir is None:
            return
        folder = self.run_dir / "nn"
        save_checkpoint([folder / f"model_{self.iteration}.pth", folder / "last.pth"], self.content())

    def content(self) -> dict[str, Any]:
        """Return what a checkpoint holds: the form of those of ``palestra train``."""
        cfg = self.cfg
        return {
            "task": self.task,
            "observation_dims": dict(self.env.observation_dims),
            "num_actions": self.env.num_actions,
            "obs_groups": {"actor": list(cfg.groups), **self.extra.get("obs_groups", {})},
            "config": {
                "actor": plain_value(cfg.student),
                "clip_actions": self.clip_actions,
                "rnn": [cfg.rnn_hidden_dim, cfg.rnn_num_layers] if cfg.rnn_hidden_dim else None,
                "distillation": plain_value(cfg),
            },
            "actor_state_dict": self.student.state_dict(),
            **{name: value for name, value in self.extra.items() if name != "obs_groups"},
            "iter": self.iteration,
            "env_steps": self.env_steps,
            "training_time": self.training_time,
            "env_state": self.env.state_dict(),
        }
