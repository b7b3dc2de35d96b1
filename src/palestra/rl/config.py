"""Settings of a training run with PPO; the fields have RSL-RL's names and meanings."""

from typing import Literal

from palestra.config.configclass import configclass
from palestra.errors import ConfigError, did_you_mean
from palestra.rl.logger import WANDB_PROJECT, check_logger

ACTIVATIONS = (
    "elu", "relu", "selu", "lrelu", "tanh", "sigmoid", "softplus", "gelu", "swish", "mish", "identity",
)  # fmt: skip
"""Names of the activations that a network may have."""


@configclass
class ModelCfg:
    """A multilayer perceptron, with or without a normaliser in front; for the actor also its Gaussian."""

    hidden_dims: list[int] = [256, 256, 256]
    """Width of each hidden layer, for example ``[512, 256, 128]``."""

    activation: str = "elu"
    """Activation after each hidden layer, one of ``ACTIVATIONS``."""

    obs_normalization: bool = False
    """Whether observations are centred and scaled by their running mean and standard deviation."""

    init_std: float = 1.0
    """Standard deviation of the action noise at the start, in action units (actor only)."""

    std_type: Literal["scalar", "log"] = "scalar"
    """What is learned: the standard deviation itself or its logarithm (actor only)."""

    output_gain: float = 1.0
    """Factor on the initial weights and bias of the output layer; 0.01 starts a policy close to zero actions."""

    def validate_config(self) -> None:
        if not self.hidden_dims or any(width < 1 for width in self.hidden_dims):
            raise ConfigError(f"hidden_dims is {self.hidden_dims}: give at least one width, each at least 1")
        _one_of("activation", self.activation, ACTIVATIONS)
        _one_of("std_type", self.std_type, ("scalar", "log"))
        _positive("init_std", self.init_std)


@configclass
class PPOAlgorithmCfg:
    """PPO (Schulman et al. 2017, arXiv:1707.06347) with RSL-RL's defaults."""

    num_learning_epochs: int = 5
    """Passes over each rollout (K in the paper)."""

    num_mini_batches: int = 4
    """Minibatches in a pass; rows that do not fill the last one are left out of the update."""

    clip_param: float = 0.2
    """ε, half the width of the interval in which the probability ratio counts."""

    gamma: float = 0.99
    """γ, discount of one environment step."""

    lam: float = 0.95
    """λ of generalised advantage estimation."""

    value_loss_coef: float = 1.0
    """c₁, weight of the value loss (a mean square without the factor ½)."""

    entropy_coef: float = 0.01
    """c₂, weight of the entropy bonus."""

    learning_rate: float = 1.0e-3
    """Adam's step size; with ``schedule="adaptive"`` only its value at the start."""

    schedule: Literal["adaptive", "fixed"] = "adaptive"
    """``adaptive``: after each minibatch's forward pass the rate is divided by 1.5 when the KL divergence to
    the rollout's policy exceeds twice ``desired_kl`` and multiplied by 1.5 when it is below half of it,
    within [1e-5, 1e-2]. ``fixed``: the rate stays."""

    desired_kl: float = 0.01
    """KL divergence (nats) that the adaptive schedule aims at."""

    kl_floor: float = 1.0e-10
    """KL below which the adaptive schedule leaves the rate alone. On the first minibatch of an update the
    policy has not moved and KL is zero up to rounding, so that a floor of 0 would raise the rate or not by
    chance."""

    max_grad_norm: float = 1.0
    """Largest norm of the gradient; applied to the actor and to the critic separately."""

    use_clipped_value_loss: bool = True
    """Whether the value may move by at most ``clip_param`` from the rollout's value before its error saturates."""

    normalize_advantage_per_mini_batch: bool = False
    """Normalise advantages over each minibatch instead of over the rollout."""

    time_out_bootstrap: Literal["value", "terminal_observation", "none"] = "value"
    """Value of what follows an episode cut off by its time limit: ``value`` uses V of the observation before
    the last step (RSL-RL's way), ``terminal_observation`` V of the true last observation, ``none`` counts a
    time-out as an end."""

    def validate_config(self) -> None:
        for name in ("num_learning_epochs", "num_mini_batches", "clip_param", "learning_rate", "desired_kl"):
            _positive(name, getattr(self, name))
        _positive("max_grad_norm", self.max_grad_norm)
        for name in ("gamma", "lam"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must lie in [0, 1]")
        _one_of("schedule", self.schedule, ("adaptive", "fixed"))
        _one_of("time_out_bootstrap", self.time_out_bootstrap, ("value", "terminal_observation", "none"))


@configclass
class PPORunnerCfg:
    """A training run: how much is collected, learned, logged and saved."""

    seed: int = 42
    """Seed of the networks' initial weights, of the action noise and of the environment."""

    device: str | None = None
    """Device of the learner, such as ``"cuda:0"``; None takes the environment's."""

    capture: Literal["auto", "off"] = "auto"
    """On a GPU, ``"auto"`` records the rollout and the update as one CUDA graph each, so that an iteration is two
    launches; the rollout only if the environment allows it. ``"off"`` launches each operation from Python."""

    allow_tf32: bool = True
    """Whether matrix products on a GPU round their inputs to TF32 (10 bits of mantissa), for speed."""

    mixed_precision: bool = False
    """Whether an update on a GPU computes the networks in bfloat16 (weights, losses and optimizer stay float32)."""

    compile: bool = False
    """Whether ``torch.compile`` fuses the networks' operations in an update; compiling takes seconds at first."""

    num_steps_per_env: int = 24
    """T, environment steps collected before each update."""

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

    obs_groups: dict[str, list[str]] = {"actor": ["policy"], "critic": ["policy"]}
    """Observation groups that the actor and the critic see, concatenated in this order. A critic that sees
    more than the actor (``{"actor": ["policy"], "critic": ["critic"]}``) makes the training asymmetric."""

    clip_actions: float | None = None
    """Bound on what the environment receives: each action is clamped to ±``clip_actions``; None leaves it alone."""

    init_at_random_ep_len: bool = True
    """Start the episodes of a fresh run at random ages, so that they do not all end in the same step."""

    actor: ModelCfg = ModelCfg()
    """The policy's network."""

    critic: ModelCfg = ModelCfg()
    """The value function's network."""

    shared_trunk: bool = False
    """Let the critic use the actor's hidden layers; both must see the same observation groups."""

    algorithm: PPOAlgorithmCfg = PPOAlgorithmCfg()
    """Settings of PPO."""

    def validate_config(self) -> None:
        for name in ("num_steps_per_env", "max_iterations", "save_interval"):
            _positive(name, getattr(self, name))
        check_logger(self.logger)
        _one_of("capture", self.capture, ("auto", "off"))
        check_device(self.device)
        for name in self.obs_groups:
            _one_of("obs_groups key", name, ("actor", "critic"))
        for name in ("actor", "critic"):
            if not self.obs_groups.get(name):
                raise ConfigError(f"obs_groups has no groups for the {name}: give for example ['policy']")
        if self.clip_actions is not None:
            _positive("clip_actions", self.clip_actions)
        if self.shared_trunk and self.obs_groups["actor"] != self.obs_groups["critic"]:
            raise ConfigError(
                "shared_trunk needs the same observation groups for both, "
                f"not actor {self.obs_groups['actor']} and critic {self.obs_groups['critic']}"
            )
        if self.shared_trunk and self.actor.obs_normalization != self.critic.obs_normalization:
            raise ConfigError("shared_trunk needs the same obs_normalization for actor and critic")


def check_device(name: str | None) -> None:
    """Refuse the name of a learner's device that PyTorch does not know; None takes the environment's.

    Raises:
        ConfigError: it is none.
    """
    if name is None:
        return
    import torch  # only a device that was named needs it

    try:
        torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device is {name!r}: use 'cpu', or 'cuda:0' for the first GPU") from None


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ConfigError(f"{name} is {value}: it must be greater than 0")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}: {did_you_mean(str(value), allowed)}")
