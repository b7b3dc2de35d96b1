"""Configs of RSL-RL's runner, algorithm and models: the library's own names and defaults, with one for every leaf."""

from collections.abc import Callable
from typing import Any, Literal

from palestra.config.configclass import MISSING, configclass
from palestra.errors import ConfigError, did_you_mean
from palestra.integrations.trainer import LibraryRunnerCfg

ACTIVATIONS = (
    "elu", "selu", "relu", "crelu", "lrelu", "tanh", "sigmoid", "softplus", "gelu", "swish", "mish", "identity",
)  # fmt: skip
"""Names of the activations that RSL-RL's networks may have."""

RECURRENT_FIELDS = ("rnn_type", "rnn_hidden_dim", "rnn_num_layers")
"""Fields of a model config that only RSL-RL's ``RNNModel`` takes."""

OBSERVATION_SETS = ("actor", "critic", "rnd_state")
"""Keys that ``obs_groups`` may have."""


@configclass
class RslRlMLPModelCfg:
    """A multilayer perceptron, or with ``class_name="RNNModel"`` a recurrent network in front of one."""

    @configclass
    class DistributionCfg:
        """What a stochastic model draws from."""

        class_name: str = MISSING
        """Name of a distribution of RSL-RL, or ``"module:Class"``."""

    @configclass
    class GaussianDistributionCfg(DistributionCfg):
        """A diagonal Gaussian whose standard deviation does not depend on the state."""

        class_name: str = "GaussianDistribution"

        init_std: float = 1.0
        """Standard deviation at the start, in action units."""

        std_range: tuple[float, float] = (1.0e-6, 1.0e6)
        """Bounds of the standard deviation."""

        std_type: Literal["scalar", "log"] = "scalar"
        """What is learned: the standard deviation itself or its logarithm."""

        learn_std: bool = True
        """Whether the standard deviation is learned at all."""

        def validate_config(self) -> None:
            _positive("init_std", self.init_std)

    @configclass
    class HeteroscedasticGaussianDistributionCfg(DistributionCfg):
        """A diagonal Gaussian whose standard deviation is a second output of the network."""

        class_name: str = "HeteroscedasticGaussianDistribution"

        init_std: float = 1.0
        """Standard deviation at the start, in action units."""

        std_range: tuple[float, float] = (1.0e-6, 1.0e6)
        """Bounds of the standard deviation."""

        std_type: Literal["scalar", "log"] = "scalar"
        """What the network gives: the standard deviation itself or its logarithm."""

        def validate_config(self) -> None:
            _positive("init_std", self.init_std)

    @configclass
    class BetaDistributionCfg(DistributionCfg):
        """A Beta distribution, for actions with bounds."""

        class_name: str = "BetaDistribution"

        action_range: tuple[float, float] = (-1.0, 1.0)
        """Smallest and largest action."""

    class_name: str = "MLPModel"
    """``"MLPModel"``, ``"RNNModel"``, or ``"module:Class"`` for a subclass of RSL-RL's ``MLPModel``."""

    hidden_dims: list[int] = [256, 256, 256]
    """Width of each hidden layer, for example ``[512, 256, 128]``; -1 stands for the width of the input."""

    activation: str = "elu"
    """Activation after each hidden layer, one of ``ACTIVATIONS``."""

    obs_normalization: bool = False
    """Whether observations are centred and scaled by their running mean and standard deviation."""

    distribution_cfg: DistributionCfg | None = None
    """What actions are drawn from; None for the critic."""

    rnn_type: Literal["lstm", "gru"] | None = None
    """Kind of an ``RNNModel``'s cells; None takes RSL-RL's default, ``lstm``."""

    rnn_hidden_dim: int | None = None
    """Width of an ``RNNModel``'s hidden state; None takes RSL-RL's default, 256."""

    rnn_num_layers: int | None = None
    """Recurrent layers of an ``RNNModel``; None takes RSL-RL's default, 1."""

    def validate_config(self) -> None:
        if not self.hidden_dims or any(width < 1 and width != -1 for width in self.hidden_dims):
            raise ConfigError(f"hidden_dims is {self.hidden_dims}: give at least one width, each at least 1, or -1")
        _one_of("activation", self.activation, ACTIVATIONS)
        for name in RECURRENT_FIELDS:
            value = getattr(self, name)
            if value is not None and self.class_name == "MLPModel":
                raise ConfigError(f"{name} is {value!r} but class_name is 'MLPModel': set class_name to 'RNNModel'")
        for name in ("rnn_hidden_dim", "rnn_num_layers"):
            if getattr(self, name) is not None:
                _positive(name, getattr(self, name))


@configclass
class RslRlRNNModelCfg(RslRlMLPModelCfg):
    """A GRU or LSTM in front of a multilayer perceptron."""

    class_name: str = "RNNModel"
    rnn_type: Literal["lstm", "gru"] | None = "lstm"
    rnn_hidden_dim: int | None = 256
    rnn_num_layers: int | None = 1


@configclass
class RslRlRndCfg:
    """Random network distillation: a reward for states that a predictor does not know yet.

    The states are those of ``obs_groups["rnd_state"]``.
    """

    weight: float = 0.0
    """Weight of the reward, a second."""

    weight_schedule: dict[str, Any] | None = None
    """How the weight changes, for example ``{"mode": "linear", "initial_step": 0, "final_step": 100000,
    "final_value": 0.0}``; None keeps it."""

    reward_normalization: bool = False
    """Whether the reward is divided by its running standard deviation."""

    state_normalization: bool = False
    """Whether the states are centred and scaled by their running statistics."""

    learning_rate: float = 1.0e-3
    """Adam's step size for the predictor."""

    num_outputs: int = 1
    """Width of both networks' output."""

    predictor_hidden_dims: list[int] = [-1]
    """Width of each hidden layer of the predictor; -1 stands for the width of the states."""

    target_hidden_dims: list[int] = [-1]
    """Width of each hidden layer of the random target; -1 stands for the width of the states."""

    activation: str = "elu"
    """Activation of both networks, one of ``ACTIVATIONS``."""

    def validate_config(self) -> None:
        _one_of("activation", self.activation, ACTIVATIONS)


@configclass
class RslRlSymmetryCfg:
    """Mirrored samples for a robot with a symmetry; not for recurrent models."""

    use_data_augmentation: bool = False
    """Whether mirrored samples join every minibatch."""

    use_mirror_loss: bool = False
    """Whether the policy is penalised for acting differently in mirrored states."""

    data_augmentation_func: Callable[..., Any] | str = MISSING
    """Function, or ``"module:function"``, that takes ``env``, ``obs`` and ``actions`` and returns observations and
    actions with their mirror images behind them."""

    mirror_loss_coeff: float = 0.0
    """Weight of the mirror loss."""


@configclass
class RslRlPpoAlgorithmCfg:
    """RSL-RL's PPO."""

    class_name: str = "PPO"
    """``"PPO"``, or ``"module:Class"`` for a subclass of it, such as
    ``"palestra.integrations.rsl_rl:TerminalObservationPPO"``."""

    num_learning_epochs: int = 5
    """Passes over each rollout."""

    num_mini_batches: int = 4
    """Minibatches in a pass; with a recurrent model each takes whole environments."""

    clip_param: float = 0.2
    """Half the width of the interval in which the probability ratio counts."""

    gamma: float = 0.99
    """Discount of one environment step."""

    lam: float = 0.95
    """λ of generalised advantage estimation."""

    value_loss_coef: float = 1.0
    """Weight of the value loss."""

    entropy_coef: float = 0.01
    """Weight of the entropy bonus."""

    learning_rate: float = 1.0e-3
    """Step size of the optimizer; with ``schedule="adaptive"`` only its value at the start."""

    max_grad_norm: float = 1.0
    """Largest norm of the gradient; applied to the actor and to the critic separately."""

    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    """The optimizer."""

    use_clipped_value_loss: bool = True
    """Whether the value may move by at most ``clip_param`` before its error saturates."""

    schedule: Literal["adaptive", "fixed"] = "adaptive"
    """Whether the step size follows the KL divergence between two policies or stays."""

    desired_kl: float | None = 0.01
    """KL divergence (nats) that the adaptive schedule aims at."""

    normalize_advantage_per_mini_batch: bool = False
    """Normalise advantages over each minibatch instead of over the rollout."""

    use_mixed_precision: bool = False
    """Whether an update computes the networks in bfloat16."""

    rnd_cfg: RslRlRndCfg | None = None
    """Random network distillation; None leaves it out."""

    symmetry_cfg: RslRlSymmetryCfg | None = None
    """Symmetry; None leaves it out."""

    def validate_config(self) -> None:
        for name in ("num_learning_epochs", "num_mini_batches", "clip_param", "learning_rate", "max_grad_norm"):
            _positive(name, getattr(self, name))
        for name in ("gamma", "lam"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must lie in [0, 1]")


@configclass
class RslRlOnPolicyRunnerCfg(LibraryRunnerCfg):
    """A training run with RSL-RL's ``OnPolicyRunner``."""

    class_name: str = "OnPolicyRunner"
    """The runner; there is only this one here."""

    num_steps_per_env: int = 24
    """Environment steps collected before each update."""

    obs_groups: dict[str, list[str]] = {"actor": ["policy"], "critic": ["policy"]}
    """Observation groups that the actor and the critic (and ``rnd_state``) see, concatenated in this order."""

    check_for_nan: bool = True
    """Whether RSL-RL looks for NaN in what the environment returns, in every step (host syncs on a GPU)."""

    torch_compile_mode: str | None = None
    """Mode of ``torch.compile`` for both models; None leaves them as they are."""

    init_at_random_ep_len: bool = True
    """Start the episodes of a run at random ages, so that they do not all end in the same step."""

    actor: RslRlMLPModelCfg = RslRlMLPModelCfg(distribution_cfg=RslRlMLPModelCfg.GaussianDistributionCfg())
    """The policy's network."""

    critic: RslRlMLPModelCfg = RslRlMLPModelCfg()
    """The value function's network."""

    algorithm: RslRlPpoAlgorithmCfg = RslRlPpoAlgorithmCfg()
    """Settings of PPO."""

    def validate_config(self) -> None:
        super().validate_config()
        if self.class_name != "OnPolicyRunner":
            raise ConfigError(f"class_name is {self.class_name!r}: only RSL-RL's 'OnPolicyRunner' runs here")
        _positive("num_steps_per_env", self.num_steps_per_env)
        if self.clip_actions is not None:
            _positive("clip_actions", self.clip_actions)
        if self.actor.distribution_cfg is None:
            raise ConfigError("actor.distribution_cfg is null: PPO draws actions, give it for example a Gaussian's")
        if self.critic.distribution_cfg is not None:
            raise ConfigError("critic.distribution_cfg must be null: a value is not drawn")
        for name in self.obs_groups:
            _one_of("obs_groups key", name, OBSERVATION_SETS)
        needed = ("actor", "critic") if self.algorithm.rnd_cfg is None else OBSERVATION_SETS
        for name in needed:
            if not self.obs_groups.get(name):
                raise ConfigError(f"obs_groups has no groups for {name!r}: give for example ['policy']")


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ConfigError(f"{name} is {value}: it must be greater than 0")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}: {did_you_mean(str(value), allowed)}")
