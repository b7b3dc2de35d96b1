"""Settings of a run with Stable-Baselines3's PPO: its own names and defaults."""

from __future__ import annotations

from typing import Any, Literal

import torch
from stable_baselines3.common.utils import LinearSchedule
from torch import nn

from palestra.config.configclass import configclass
from palestra.errors import ConfigError, did_you_mean
from palestra.integrations.trainer import LibraryRunnerCfg

LINEAR = "lin_"
"""What a schedule begins with that goes linearly to zero, as RL Zoo writes it."""


@configclass
class PolicyKwargsCfg:
    """What builds the networks: ``policy_kwargs`` of Stable-Baselines3."""

    net_arch: list[int] | dict[str, list[int]] | None = None
    """Widths of the hidden layers, of both networks or of each: ``{pi: [64, 64], vf: [64, 64]}``, which None means."""

    activation_fn: str = "Tanh"
    """Activation after each hidden layer: a class of ``torch.nn``, such as ``ELU``."""

    ortho_init: bool = True
    """Orthogonal initial weights, with gain 0.01 for the actions."""

    log_std_init: float = 0.0
    """Logarithm of the action noise's standard deviation at the start."""

    full_std: bool = True
    """With ``use_sde``: one standard deviation for each feature and action, instead of for each feature."""

    use_expln: bool = False
    """With ``use_sde``: keep the standard deviation positive by a function that grows slower than exp."""

    squash_output: bool = False
    """With ``use_sde``: bound the actions by tanh."""

    share_features_extractor: bool = True
    """Let both networks use one features extractor; it only flattens here."""

    optimizer_class: str = "Adam"
    """Optimiser: a class of ``torch.optim``."""

    optimizer_kwargs: dict[str, Any] | None = None
    """Arguments of the optimiser; None gives Adam ``eps=1e-5``."""

    def build(self) -> dict[str, Any]:
        """Return the arguments as Stable-Baselines3 takes them; the classes are no longer names."""
        values = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        values["activation_fn"] = _class_of("activation_fn", self.activation_fn, nn, nn.Module)
        values["optimizer_class"] = _class_of(
            "optimizer_class", self.optimizer_class, torch.optim, torch.optim.Optimizer
        )
        return values

    def validate_config(self) -> None:
        self.build()
        if isinstance(self.net_arch, dict):
            for name in self.net_arch:
                if name not in ("pi", "vf"):
                    raise ConfigError(f"net_arch has {name!r}: {did_you_mean(name, ('pi', 'vf'))}")


@configclass
class VecNormalizeCfg:
    """Stable-Baselines3's ``VecNormalize``; it is used if it normalises anything."""

    norm_obs: bool = False
    """Whether observations are centred and scaled by their running mean and standard deviation."""

    norm_reward: bool = False
    """Whether rewards are scaled by the running standard deviation of the discounted return."""

    clip_obs: float = 10.0
    """Bound of normalised observations."""

    clip_reward: float = 10.0
    """Bound of normalised rewards."""

    gamma: float | None = None
    """Discount of that return; None takes PPO's."""

    epsilon: float = 1e-8
    """Added to the variances."""

    @property
    def used(self) -> bool:
        """Whether anything is normalised."""
        return self.norm_obs or self.norm_reward


@configclass
class Sb3PPOCfg(LibraryRunnerCfg):
    """A run with PPO of Stable-Baselines3; a schedule is a number or ``lin_3e-4``, which falls linearly to zero."""

    n_timesteps: int | None = None
    """Environment steps of the whole run, summed over the environments; None: ``max_iterations`` counts."""

    init_at_random_ep_len: bool = True
    """Start the episodes of a fresh run at random ages, so that they do not all end in the same step."""

    obs_groups: dict[str, list[str]] = {"actor": ["policy"], "critic": ["policy"]}
    """Observation groups, concatenated in this order. The critic of Stable-Baselines3 sees what its actor sees."""

    policy: Literal["MlpPolicy"] = "MlpPolicy"
    """Kind of policy: observations are vectors."""

    learning_rate: float | str = 3e-4
    """Adam's step size, or its schedule."""

    n_steps: int = 2048
    """Environment steps of each environment in a rollout."""

    batch_size: int = 64
    """Rows of a minibatch."""

    n_minibatches: int | None = None
    """Minibatches in a pass over the rollout; if given, it sets ``batch_size`` whatever the number of environments."""

    n_epochs: int = 10
    """Passes over each rollout."""

    gamma: float = 0.99
    """γ, discount of one environment step."""

    gae_lambda: float = 0.95
    """λ of generalised advantage estimation."""

    clip_range: float | str = 0.2
    """ε, half the width of the interval in which the probability ratio counts, or its schedule."""

    clip_range_vf: float | str | None = None
    """How far the value may move from the rollout's, in units of the return, or its schedule; None: freely."""

    normalize_advantage: bool = True
    """Normalise advantages over each minibatch."""

    ent_coef: float = 0.0
    """Weight of the entropy bonus."""

    vf_coef: float = 0.5
    """Weight of the value loss (a mean square)."""

    max_grad_norm: float = 0.5
    """Largest norm of the gradient of both networks together."""

    use_sde: bool = False
    """Noise that depends on the state (gSDE) instead of noise that is new in every step."""

    sde_sample_freq: int = -1
    """With ``use_sde``: steps between two new noise matrices; -1 only at the start of a rollout."""

    target_kl: float | None = None
    """KL divergence (nats) whose 1.5-fold ends an update early; None: never."""

    stats_window_size: int = 100
    """Episodes over which ``rollout/ep_rew_mean`` is averaged."""

    policy_kwargs: PolicyKwargsCfg = PolicyKwargsCfg()
    """The networks."""

    vec_normalize: VecNormalizeCfg = VecNormalizeCfg()
    """Normalisation of observations and rewards."""

    def set_iterations(self, iterations: int) -> None:
        self.max_iterations, self.n_timesteps = iterations, None

    def resolve(self, num_envs: int) -> None:
        """Set what depends on the number of environments: ``max_iterations`` and ``batch_size``.

        Raises:
            ConfigError: fewer rows than minibatches, or than PPO needs.
        """
        rows = self.n_steps * num_envs
        if self.n_timesteps is not None:
            self.max_iterations = -(-self.n_timesteps // rows)
        if self.n_minibatches is not None:
            self.batch_size = rows // self.n_minibatches
        size = min(self.batch_size, rows)
        if size < 1 or (size == 1 and self.normalize_advantage):
            raise ConfigError(
                f"a minibatch has {size} rows (n_steps {self.n_steps} × {num_envs} environments, batch_size "
                f"{self.batch_size}): it must have 2 or more"
            )

    def validate_config(self) -> None:
        super().validate_config()
        for name in ("n_steps", "batch_size", "n_epochs", "n_minibatches", "n_timesteps", "stats_window_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}: it must be at least 1")
        for name in ("max_grad_norm", "target_kl", "clip_actions"):
            value = getattr(self, name)
            if value is not None and not value > 0.0:
                raise ConfigError(f"{name} is {value}: it must be greater than 0")
        for name in ("gamma", "gae_lambda"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must lie in [0, 1]")
        for name in ("learning_rate", "clip_range", "clip_range_vf"):
            schedule(name, getattr(self, name))
        for name in self.obs_groups:
            if name not in ("actor", "critic"):
                raise ConfigError(f"obs_groups has {name!r}: {did_you_mean(name, ('actor', 'critic'))}")
        if not self.obs_groups.get("actor"):
            raise ConfigError("obs_groups has no groups for the actor: give for example ['policy']")
        if self.policy_kwargs.squash_output and not self.use_sde:
            raise ConfigError("policy_kwargs.squash_output needs use_sde")


def schedule(name: str, value: float | str | None) -> Any:
    """Return a schedule as Stable-Baselines3 takes it: a number, a function of the remaining progress, or None.

    Raises:
        ConfigError: neither a positive number nor ``lin_`` and one.
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            start = float(value.removeprefix(LINEAR))
        except ValueError:
            start = -1.0
        if not value.startswith(LINEAR) or not start > 0.0:
            raise ConfigError(f"{name} is {value!r}: give a number, or a schedule such as 'lin_3e-4'")
        return LinearSchedule(start, 0.0, 1.0)
    if not value > 0.0:
        raise ConfigError(f"{name} is {value}: it must be greater than 0")
    return float(value)


def _class_of(field: str, name: str, module: Any, base: type) -> Any:
    """Return a class of a module by its name, which may have ``nn.`` or more before it."""
    found = getattr(module, name.rpartition(".")[2], None)
    if not isinstance(found, type) or not issubclass(found, base):
        known = [n for n, value in vars(module).items() if isinstance(value, type) and issubclass(value, base)]
        raise ConfigError(f"{field} is {name!r}: {did_you_mean(name.rpartition('.')[2], known)}")
    return found
