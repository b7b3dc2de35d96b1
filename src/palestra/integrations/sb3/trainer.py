"""Stable-Baselines3's PPO inside a run of Palestra."""

from __future__ import annotations

import time
import warnings
from typing import Any, ClassVar

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from palestra.envs.base import RLEnv
from palestra.errors import ConfigError, PalestraError
from palestra.integrations.sb3.cfg import Sb3PPOCfg, schedule
from palestra.integrations.sb3.wrapper import Sb3VecEnvWrapper
from palestra.integrations.trainer import LibraryTrainer
from palestra.rl.console import TrainingConsole

NAMES = {
    "train/policy_gradient_loss": "Loss/surrogate",
    "train/value_loss": "Loss/value",
    "train/loss": "Loss/total",
    "train/learning_rate": "Loss/learning_rate",
    "train/approx_kl": "Policy/kl",
    "train/std": "Policy/mean_std",
}
"""The library's names of numbers that all libraries log; the others keep their own."""


class Sb3Trainer(LibraryTrainer):
    """Lets ``stable_baselines3.PPO.learn`` run, and looks in between two of its iterations.

    Attributes:
        vec_env: the wrapped environments, below ``VecNormalize`` if that is used.
        model: the library's algorithm.

    Args:
        env: the environments.
        cfg: the run's settings; its ``max_iterations`` and ``batch_size`` are set where others decide them.
        task: the task's name, kept in checkpoints.
        console: shows progress; None for one on the standard output.

    Raises:
        ConfigError: a setting does not fit the environment or the library.
    """

    library: ClassVar[str] = "sb3"
    cfg: Sb3PPOCfg

    def __init__(self, env: RLEnv, cfg: Sb3PPOCfg, task: str = "", console: TrainingConsole | None = None) -> None:
        super().__init__(env, cfg, task, console)
        cfg.resolve(env.num_envs)
        self.groups = cfg.obs_groups["actor"]
        critic = cfg.obs_groups.get("critic", self.groups)
        if critic != self.groups:
            self.console.message(f"sb3 has no asymmetric critic: it sees the actor's {self.groups}, not {critic}")
        self.vec_env = Sb3VecEnvWrapper(env, self.groups, cfg.clip_actions)
        self.normalizer = _normalizer(self.vec_env, cfg)
        rows = self.steps_per_iteration
        if rows % cfg.batch_size and rows > cfg.batch_size:
            self.console.message(
                f"warning: batch_size {cfg.batch_size} does not divide the {rows} rows of a rollout: "
                f"the last minibatch of each pass has {rows % cfg.batch_size}"
            )
        self.model = self._build()
        self._rollout = _RolloutNumbers()
        self.model.set_logger(Logger(folder=None, output_formats=[self._rollout]))

    def _build(self) -> PPO:
        cfg = self.cfg
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="You have specified a mini-batch size", category=UserWarning)
            warnings.filterwarnings("ignore", message="You are trying to run PPO on the GPU", category=UserWarning)
            try:
                return PPO(
                    cfg.policy,
                    self.normalizer or self.vec_env,
                    learning_rate=schedule("learning_rate", cfg.learning_rate),
                    n_steps=cfg.n_steps,
                    batch_size=cfg.batch_size,
                    n_epochs=cfg.n_epochs,
                    gamma=cfg.gamma,
                    gae_lambda=cfg.gae_lambda,
                    clip_range=schedule("clip_range", cfg.clip_range),
                    clip_range_vf=schedule("clip_range_vf", cfg.clip_range_vf),
                    normalize_advantage=cfg.normalize_advantage,
                    ent_coef=cfg.ent_coef,
                    vf_coef=cfg.vf_coef,
                    max_grad_norm=cfg.max_grad_norm,
                    use_sde=cfg.use_sde,
                    sde_sample_freq=cfg.sde_sample_freq,
                    target_kl=cfg.target_kl,
                    stats_window_size=cfg.stats_window_size,
                    policy_kwargs=cfg.policy_kwargs.build(),
                    seed=cfg.seed,
                    device=self.device,
                )
            except (AssertionError, TypeError, ValueError) as error:
                raise ConfigError(f"stable-baselines3 refuses the settings: {' '.join(str(error).split())}") from error

    @property
    def steps_per_iteration(self) -> int:
        return self.cfg.n_steps * self.env.num_envs

    @property
    def obs_groups(self) -> dict[str, list[str]]:
        return {"actor": self.groups, "critic": self.groups}

    def train(self, iterations: int) -> None:
        steps = iterations * self.steps_per_iteration
        if self.model._last_obs is None:
            self._begin_episodes()
            if self.cfg.init_at_random_ep_len:
                ages = self.env.episode_length_buf
                ages.copy_(torch.rand(ages.shape) * self.env.max_episode_length)
        try:
            self.model.learn(steps, callback=_BetweenIterations(self), log_interval=1, reset_num_timesteps=False)
        except ValueError as error:
            if "Expected parameter" not in str(error):  # of a normal distribution
                raise
            raise PalestraError(
                f"training stopped in iteration {self.current_learning_iteration}: the policy's actions are not "
                "finite; the last checkpoint is untouched; look for a term that divides by zero, "
                "or lower the learning rate"
            ) from error

    def numbers(self) -> dict[str, float]:
        """Return what the library recorded in the last iteration."""
        recorded = {name: float(value) for name, value in self.model.logger.name_to_value.items()}
        numbers = {NAMES.get(name, name): value for name, value in recorded.items() if name.startswith("train/")}
        numbers["Loss/entropy"] = -numbers.pop("train/entropy_loss")
        return {**self._rollout.values, **numbers}

    def library_state(self) -> dict[str, Any]:
        """Return ``get_parameters()``, the statistics of ``VecNormalize``, counters and numpy's random state."""
        kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
        return {
            **self.model.get_parameters(),
            "num_timesteps": self.model.num_timesteps,
            "n_updates": self.model._n_updates,
            "vec_normalize": None if self.normalizer is None else _statistics(self.normalizer),
            "numpy_rng_state": [kind, np.asarray(keys).astype(np.int64), position, has_gauss, gauss],
        }

    def load_library_state(self, content: dict[str, Any], networks_only: bool) -> None:
        self._load_statistics(content["vec_normalize"])
        if networks_only:
            self.model.policy.load_state_dict(content["policy"])
            return
        names = self.model.get_parameters()
        self.model.set_parameters({name: content[name] for name in names}, device=self.device)
        self.model.num_timesteps = content["num_timesteps"]
        self.model._n_updates = content["n_updates"]
        self._begin_episodes()  # so that learn does not, after the environment's state has been restored
        kind, keys, *rest = content["numpy_rng_state"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))

    def _load_statistics(self, saved: dict[str, Any] | None) -> None:
        if (saved is None) != (self.normalizer is None):
            there, here = ("none", "one") if saved is None else ("one", "none")
            raise ConfigError(f"the checkpoint has {there} of the statistics of vec_normalize, these settings {here}")
        if saved is None or self.normalizer is None:
            return
        for name, values in saved.items():
            moments: RunningMeanStd = getattr(self.normalizer, name)
            moments.mean, moments.var = values["mean"].numpy().copy(), values["var"].numpy().copy()
            moments.count = values["count"]

    def _begin_episodes(self) -> None:
        """Reset the environments, and let ``learn`` go on from there."""
        venv = self.model.env
        assert venv is not None
        if self.normalizer is not None:
            self.normalizer.training = False  # a checkpoint's statistics stay as they are
        self.model._last_obs = venv.reset()  # type: ignore[assignment]
        self.model._last_episode_starts = np.ones(venv.num_envs, dtype=bool)
        if self.normalizer is not None:
            self.normalizer.training = True


class _RolloutNumbers(KVWriter):
    """Keeps what the library dumps after a rollout: episode statistics; it records the rest later."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        self.values = {name: float(value) for name, value in key_values.items() if name.startswith("rollout/")}

    def close(self) -> None:
        pass


class _BetweenIterations(BaseCallback):
    """Reports an iteration when the next one begins, or when the last one is over: then its update is done."""

    def __init__(self, trainer: Sb3Trainer) -> None:
        super().__init__()
        self._trainer = trainer
        self._began = self._collected = 0.0

    def _on_rollout_start(self) -> None:
        self._report()
        self._began, self._collected = time.perf_counter(), 0.0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self._collected = time.perf_counter()

    def _on_training_end(self) -> None:
        self._report()

    def _report(self) -> None:
        if not self._collected:
            return
        times = {
            "Perf/collection_time": self._collected - self._began,
            "Perf/learning_time": time.perf_counter() - self._collected,
        }
        self._collected = 0.0
        self._trainer.iteration_done({**times, **self._trainer.numbers()})


def make_trainer(env: RLEnv, cfg: Sb3PPOCfg, task: str) -> Sb3Trainer:
    """Return what trains on ``env``.

    Raises:
        ConfigError: the settings do not fit the environment or the library.
    """
    return Sb3Trainer(env, cfg, task)


def _normalizer(vec_env: VecEnv, cfg: Sb3PPOCfg) -> VecNormalize | None:
    settings = cfg.vec_normalize
    if not settings.used:
        return None
    return VecNormalize(
        vec_env,
        norm_obs=settings.norm_obs,
        norm_reward=settings.norm_reward,
        clip_obs=settings.clip_obs,
        clip_reward=settings.clip_reward,
        gamma=cfg.gamma if settings.gamma is None else settings.gamma,
        epsilon=settings.epsilon,
    )


def _statistics(normalizer: VecNormalize) -> dict[str, Any]:
    """Return the running moments, by the library's names."""
    found: dict[str, Any] = {}
    for name in ("obs_rms", "ret_rms"):
        moments: RunningMeanStd | None = getattr(normalizer, name, None)
        if moments is not None:
            parts = {"mean": torch.tensor(moments.mean), "var": torch.tensor(moments.var)}  # copies
            found[name] = {**parts, "count": float(moments.count)}
    return found
