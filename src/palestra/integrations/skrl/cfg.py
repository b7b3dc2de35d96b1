"""Settings of a training run with skrl; the tree and the fields have skrl's names, meanings and, mostly, defaults.

Where a skrl file says ``class``, which is no name in Python, the field is ``class_name``.
"""

from __future__ import annotations

from typing import Any, Literal

from palestra.config.configclass import configclass
from palestra.config.plain import plain_value
from palestra.errors import ConfigError, did_you_mean
from palestra.integrations.skrl.expressions import (
    check_activations,
    check_input,
    check_layer,
    check_name,
    check_output,
    names_in,
)
from palestra.integrations.trainer import LibraryRunnerCfg

SCHEDULERS = (
    "KLAdaptiveLR", "ConstantLR", "CosineAnnealingLR", "ExponentialLR", "LinearLR", "PolynomialLR", "StepLR",
)  # fmt: skip
"""Learning rate schedulers: skrl's own, and those of ``torch.optim.lr_scheduler`` that need numbers only."""

SCALER_SETTINGS = ("epsilon", "clip_threshold")
"""Settings of ``RunningStandardScaler``."""

LARGEST_SEED = 2**32 - 1
"""skrl seeds NumPy too, which takes no larger one."""


@configclass
class NetworkCfg:
    """One network of a model, as skrl's model instantiators take it."""

    name: str = "net"
    """Its name; a later network of the model can take it in."""

    input: str = "OBSERVATIONS"
    """Expression of ``OBSERVATIONS`` (what the policy sees), ``STATES`` (what only the critic sees), ``ACTIONS`` and
    earlier networks, such as ``"concatenate([OBSERVATIONS, STATES])"``."""

    layers: list[int | str | dict[str, Any]] = [256, 256, 256]
    """Width of each layer, or a layer such as ``{conv2d: {out_channels: 32, kernel_size: 8}}``."""

    activations: str | list[str] = "elu"
    """Activation after each layer, one for all or a list."""

    def validate_config(self) -> None:
        check_name("name", self.name)
        if not self.layers:
            raise ConfigError("layers is empty: give at least one width")
        for i, layer in enumerate(self.layers):
            check_layer(f"layers.{i}", layer)
        check_activations("activations", self.activations, len(self.layers))


@configclass
class RnnCfg:
    """A recurrent network in front of a model's networks, which then see its output in place of its input."""

    type: Literal["gru", "lstm"] = "gru"
    """Kind of cell."""

    hidden_size: int = 64
    """Width of the state and of the output."""

    num_layers: int = 1
    """Recurrent layers on top of each other."""

    sequence_length: int = -1
    """Steps through which gradients flow; a divisor of ``rollouts``, or -1 for all of them."""

    input: Literal["OBSERVATIONS", "STATES"] = "OBSERVATIONS"
    """What it takes in, and what its output stands for in the networks behind it."""

    def validate_config(self) -> None:
        for name in ("hidden_size", "num_layers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if self.sequence_length != -1 and self.sequence_length < 1:
            raise ConfigError(
                f"sequence_length is {self.sequence_length}: it must be at least 1, or -1 for the rollout"
            )


@configclass
class ModelCfg:
    """What the models of all classes have."""

    class_name: str = "DeterministicMixin"
    """Class of the model."""

    clip_actions: bool = False
    """Whether what comes out is clamped to the action space, which is bounded if ``agent.clip_actions`` is set."""

    network: list[NetworkCfg] = [NetworkCfg()]
    """The networks; the last one's output is the model's."""

    output: str = "ONE"
    """What comes out: an expression of ``ACTIONS`` (a number for each) or ``ONE``, such as ``"tanh(ACTIONS)"``."""

    rnn: RnnCfg | None = None
    """Recurrent network in front (with the agent ``PPO_RNN``); skrl leaves these to the user's own model classes."""

    def validate_config(self) -> None:
        if not self.network:
            raise ConfigError("network is empty: give at least one, such as {layers: [64, 64]}")
        earlier: list[str] = []
        for i, network in enumerate(self.network):
            check_input(f"network.{i}.input", network.input, earlier)
            if network.name in earlier:
                raise ConfigError(f"network.{i}.name is {network.name!r}, which is taken by an earlier one")
            earlier.append(network.name)
        check_output("output", self.output, earlier)

    def inputs(self) -> set[str]:
        """Return the names that the networks and the recurrent one take in."""
        names = set().union(*(names_in(network.input) for network in self.network))
        return names if self.rnn is None else names | {self.rnn.input}

    def native(self) -> dict[str, Any]:
        """Return the model as skrl's runner takes it."""
        native: dict[str, Any] = {name: value for name, value in plain_value(self).items() if name != "class_name"}
        if self.rnn is None:
            del native["rnn"]
        return {"class": self.class_name, **native}


@configclass
class GaussianModelCfg(ModelCfg):
    """A Gaussian policy whose standard deviation does not depend on what it sees."""

    class_name: Literal["GaussianMixin", "MultivariateGaussianMixin"] = "GaussianMixin"

    output: str = "ACTIONS"

    clip_mean_actions: bool = False
    """Whether the mean is clamped to the action space before sampling."""

    clip_log_std: bool = True
    """Whether the logarithm of the standard deviation is clamped."""

    min_log_std: float = -20.0
    """Its least value."""

    max_log_std: float = 2.0
    """Its greatest value."""

    reduction: Literal["mean", "sum", "prod", "none"] = "sum"
    """How the log-probabilities of the action's entries become one number; ``GaussianMixin`` only."""

    initial_log_std: float = 0.0
    """Logarithm of the standard deviation at the start (actions in their own unit); skrl's default is 0, that is 1."""

    fixed_log_std: bool = False
    """Whether it stays at the start."""

    def native(self) -> dict[str, Any]:
        native = ModelCfg.native(self)
        if self.class_name == "MultivariateGaussianMixin":
            del native["reduction"]
        return native


@configclass
class DeterministicModelCfg(ModelCfg):
    """A value function."""

    class_name: Literal["DeterministicMixin"] = "DeterministicMixin"


@configclass
class ModelsCfg:
    """The agent's models."""

    separate: bool = True
    """Whether each has networks of its own; otherwise both use the policy's, with an output layer each."""

    policy: GaussianModelCfg = GaussianModelCfg()
    """From observations to actions."""

    value: DeterministicModelCfg = DeterministicModelCfg()
    """From observations or states to the expected return."""


@configclass
class MemoryCfg:
    """Where a rollout is kept."""

    class_name: Literal["RandomMemory"] = "RandomMemory"
    """Class of the memory."""

    memory_size: int = -1
    """Steps that it holds; -1 for the agent's ``rollouts``, which PPO needs."""


@configclass
class ExperimentCfg:
    """What skrl itself follows of a run; curves and checkpoints are those of the run folder."""

    write_interval: int | Literal["auto"] = "auto"
    """Whether skrl follows rewards and episodes itself, which waits for the device four times a step: 0 for no. The
    figures appear among the run's curves once an iteration, whatever the number."""


@configclass
class PPOCfg:
    """PPO, with skrl's defaults but for ``time_limit_bootstrap``."""

    class_name: Literal["PPO", "PPO_RNN"] = "PPO"
    """``PPO``, or ``PPO_RNN`` for models with ``rnn``."""

    rollouts: int = 16
    """Steps of each environment between two updates."""

    learning_epochs: int = 8
    """Passes over a rollout."""

    mini_batches: int = 2
    """Minibatches in a pass."""

    discount_factor: float = 0.99
    """γ, discount of one environment step."""

    gae_lambda: float = 0.95
    """λ of generalised advantage estimation."""

    learning_rate: float = 1e-3
    """Adam's step size, at the start if there is a scheduler."""

    learning_rate_scheduler: str | None = None
    """Class of the scheduler, which steps once an epoch: ``KLAdaptiveLR``, or one of PyTorch's."""

    learning_rate_scheduler_kwargs: dict[str, Any] = {}
    """Its settings, such as ``{kl_threshold: 0.008}``."""

    observation_preprocessor: Literal["RunningStandardScaler"] | None = None
    """What observations pass through; ``RunningStandardScaler`` centres and scales them by their running mean and
    standard deviation, and clips at 5."""

    observation_preprocessor_kwargs: dict[str, Any] = {}
    """Its settings, ``epsilon`` and ``clip_threshold``."""

    state_preprocessor: Literal["RunningStandardScaler"] | None = None
    """The same for states."""

    state_preprocessor_kwargs: dict[str, Any] = {}
    """Its settings."""

    value_preprocessor: Literal["RunningStandardScaler"] | None = None
    """The same for values and returns, so that the value function learns numbers of order 1."""

    value_preprocessor_kwargs: dict[str, Any] = {}
    """Its settings."""

    grad_norm_clip: float = 0.5
    """Largest norm of the gradient of both models together; 0 leaves it alone."""

    ratio_clip: float = 0.2
    """ε, half the width of the interval in which the probability ratio counts."""

    value_clip: float = 0.2
    """How far a value may move from the rollout's; beyond it, the value has no gradient, so that without
    ``value_preprocessor`` this hinders learning of large returns; 0 for no bound."""

    entropy_loss_scale: float = 0.0
    """Weight of the entropy bonus."""

    value_loss_scale: float = 2.5
    """Weight of the value loss (a mean square without the factor ½)."""

    kl_threshold: float = 0.0
    """KL divergence at which an epoch ends early; 0 for never."""

    time_limit_bootstrap: bool = True
    """Whether an episode cut off by its time limit counts as if it went on, with V of its true last observation.
    Off, a time-out is an end. (skrl's default is off, which there lets the next episode's value into the last one.)"""

    rewards_shaper_scale: float = 1.0
    """Factor on the rewards."""

    mixed_precision: bool = False
    """Whether the networks compute in half precision."""

    experiment: ExperimentCfg = ExperimentCfg()
    """What skrl records."""

    def validate_config(self) -> None:
        for name in ("rollouts", "learning_epochs", "mini_batches"):
            _at_least_one(name, getattr(self, name))
        for name in ("discount_factor", "gae_lambda"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must lie in [0, 1]")
        for name in ("learning_rate", "ratio_clip"):
            if not getattr(self, name) > 0.0:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be greater than 0")
        if self.learning_rate_scheduler is not None and self.learning_rate_scheduler not in SCHEDULERS:
            hint = did_you_mean(self.learning_rate_scheduler, SCHEDULERS)
            raise ConfigError(f"learning_rate_scheduler is {self.learning_rate_scheduler!r}: {hint}")
        for name in ("observation", "state", "value"):
            for setting in getattr(self, f"{name}_preprocessor_kwargs"):
                if setting not in SCALER_SETTINGS:
                    hint = did_you_mean(str(setting), SCALER_SETTINGS)
                    raise ConfigError(f"{name}_preprocessor_kwargs has no {setting!r}: {hint}")


@configclass
class TrainerCfg:
    """skrl's loop."""

    class_name: Literal["SequentialTrainer"] = "SequentialTrainer"
    """Class of the trainer."""

    timesteps: int | None = None
    """Steps of each environment in a whole run; None for ``max_iterations`` rollouts. Whole rollouts are run."""

    environment_info: str = "episode"
    """Key of ``infos`` whose numbers skrl logs; ``palestra train`` logs the environment's figures itself."""

    headless: bool = True
    """Whether ``env.render()`` is left out."""

    render_interval: int = 1
    """Steps between two calls of ``env.render()``."""

    disable_progressbar: bool | None = True
    """Whether skrl's progress bar is left out; the training's own table is shown anyway."""


@configclass
class SkrlRunnerCfg(LibraryRunnerCfg):
    """A training run with skrl's ``Runner``."""

    obs_groups: dict[str, list[str]] = {"observations": ["policy"], "states": []}
    """Observation groups that skrl's ``OBSERVATIONS`` and ``STATES`` consist of, concatenated in this order. Without
    groups for the states, they are the task's group ``critic`` if it has one."""

    init_at_random_ep_len: bool = True
    """Start the episodes of a run at random ages, so that they do not all end in the same step."""

    models: ModelsCfg = ModelsCfg()
    """The models."""

    memory: MemoryCfg = MemoryCfg()
    """The memory."""

    agent: PPOCfg = PPOCfg()
    """The agent, that is the algorithm."""

    trainer: TrainerCfg = TrainerCfg()
    """The trainer."""

    def set_iterations(self, iterations: int) -> None:
        self.max_iterations = iterations
        self.trainer.timesteps = None

    def settle_iterations(self) -> None:
        """Let ``max_iterations`` say what ``trainer.timesteps`` says."""
        if self.trainer.timesteps is not None:
            self.set_iterations(max(1, self.trainer.timesteps // self.agent.rollouts))

    def validate_config(self) -> None:
        LibraryRunnerCfg.validate_config(self)
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ConfigError(f"seed is {self.seed}: skrl takes 0 to {LARGEST_SEED}")
        if self.trainer.timesteps is not None:
            _at_least_one("trainer.timesteps", self.trainer.timesteps)
        if self.clip_actions is not None and not self.clip_actions > 0.0:
            raise ConfigError(f"clip_actions is {self.clip_actions}: it must be greater than 0")
        for name in self.obs_groups:
            if name not in ("observations", "states"):
                raise ConfigError(f"obs_groups key is {name!r}: {did_you_mean(name, ('observations', 'states'))}")
        if not self.obs_groups.get("observations"):
            raise ConfigError("obs_groups has no groups for the observations: give for example ['policy']")
        if self.memory.memory_size not in (-1, self.agent.rollouts):
            raise ConfigError(
                f"memory.memory_size is {self.memory.memory_size}: PPO keeps one rollout, so it must be -1 or "
                f"agent.rollouts ({self.agent.rollouts})"
            )
        bounded = [name for name in ("clip_actions", "clip_mean_actions") if getattr(self.models.policy, name)]
        if bounded and self.clip_actions is None:
            raise ConfigError(f"models.policy.{bounded[0]} needs bounds: set clip_actions, for example to 1.0")
        self._validate_memories()

    def _validate_memories(self) -> None:
        models, agent = self.models, self.agent
        recurrent = [name for name in ("policy", "value") if getattr(models, name).rnn is not None]
        if agent.class_name == "PPO":
            if recurrent:
                raise ConfigError(f"models.{recurrent[0]}.rnn needs the agent PPO_RNN: set agent.class_name")
            return
        if models.policy.rnn is None:
            raise ConfigError("agent.class_name is 'PPO_RNN': give the policy an rnn: models.policy.rnn={type: gru}")
        if not models.separate:
            raise ConfigError("models.separate is false: recurrent models must be separate")
        lengths = {getattr(models, name).rnn.sequence_length for name in recurrent}
        if len(lengths) > 1:
            raise ConfigError(f"models.value.rnn.sequence_length must be the policy's, not {sorted(lengths)}")
        length = self.sequence_length
        if agent.rollouts % length:
            raise ConfigError(
                f"models.policy.rnn.sequence_length is {length}: it must divide agent.rollouts ({agent.rollouts})"
            )

    @property
    def sequence_length(self) -> int:
        """Steps through which gradients flow in recurrent models; 1 without any."""
        rnn = self.models.policy.rnn
        if rnn is None:
            return 1
        return self.agent.rollouts if rnn.sequence_length == -1 else rnn.sequence_length

    def native(self) -> dict[str, Any]:
        """Return the dictionary that skrl's ``Runner`` takes."""
        agent, memory, trainer = (plain_value(part) for part in (self.agent, self.memory, self.trainer))
        experiment = {**agent["experiment"], "write_interval": 0, "checkpoint_interval": 0}
        models = {name: getattr(self.models, name).native() for name in ("policy", "value")}
        for model in models.values():
            if "rnn" in model:
                model["rnn"]["sequence_length"] = self.sequence_length
        return {
            "seed": self.seed,
            "models": {"separate": self.models.separate, **models},
            "memory": {"class": memory.pop("class_name"), **memory},
            "agent": {"class": agent.pop("class_name"), **agent, "experiment": experiment},
            "trainer": {"class": trainer.pop("class_name"), **trainer, "close_environment_at_exit": False},
        }


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ConfigError(f"{name} is {value}: it must be at least 1")
