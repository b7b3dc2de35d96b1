"""RL-Games' settings as a config tree: ``params`` is what an RL-Games YAML file has at its top level."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any, Literal

from palestra.config import apply_overlay, is_config
from palestra.config.configclass import configclass
from palestra.config.plain import plain_value
from palestra.errors import ConfigError, did_you_mean
from palestra.integrations.trainer import LibraryRunnerCfg

ACTIVATIONS = ("relu", "tanh", "sigmoid", "elu", "selu", "swish", "gelu", "softplus", "None")
"""Names of the activations that RL-Games' networks know."""

SCHEDULES = ("adaptive", "linear", "constant")
"""Learning-rate schedules."""


@configclass
class AlgoCfg:
    """The algorithm."""

    name: str = "a2c_continuous"
    """``a2c_continuous`` is PPO with a Gaussian policy, the one of RL-Games' algorithms that is connected here."""


@configclass
class ModelCfg:
    """What turns the network's outputs into a distribution and values."""

    name: str = "continuous_a2c_logstd"
    """``continuous_a2c_logstd``, or a name given to ``model_builder.register_model``."""


@configclass
class InitializerCfg:
    """How weights are set at first; only the arguments that the named initialiser has may be given."""

    name: str = "default"
    """``default`` keeps PyTorch's; ``const_initializer``, ``orthogonal_initializer``, ``glorot_normal_initializer``,
    ``glorot_uniform_initializer``, ``variance_scaling_initializer``, ``random_uniform_initializer``,
    ``kaiming_normal``, ``orthogonal``."""

    val: float | None = None
    """Value of ``const_initializer``; for ``sigma_init`` the logarithm of the noise's standard deviation."""

    gain: float | None = None
    """Factor of the orthogonal and glorot initialisers."""

    scale: float | None = None
    """Variance scale of ``variance_scaling_initializer``."""

    a: float | None = None
    """Lower bound of ``random_uniform_initializer``, slope of ``kaiming_normal``."""

    b: float | None = None
    """Upper bound of ``random_uniform_initializer``."""

    mode: str | None = None
    """``fan_in`` or ``fan_out``, of ``variance_scaling_initializer`` and ``kaiming_normal``."""

    nonlinearity: str | None = None
    """What follows the layer, of ``kaiming_normal``."""


@configclass
class ContinuousSpaceCfg:
    """Head of a Gaussian policy."""

    mu_activation: str | None = "None"
    """Activation after the mean."""

    sigma_activation: str | None = "None"
    """Activation after the logarithm of the standard deviation."""

    mu_init: InitializerCfg = InitializerCfg()
    """First weights of the mean's layer."""

    sigma_init: InitializerCfg = InitializerCfg(name="const_initializer", val=0.0)
    """First values of the logarithm of the standard deviation."""

    fixed_sigma: bool = True
    """Whether the standard deviation is a parameter of its own rather than an output of the network."""


@configclass
class SpaceCfg:
    """Kind of the actions."""

    continuous: ContinuousSpaceCfg = ContinuousSpaceCfg()
    """Settings of continuous actions."""


@configclass
class MlpCfg:
    """The hidden layers."""

    units: list[int] = [256, 128, 64]
    """Width of each hidden layer."""

    activation: str | None = "elu"
    """Activation after each hidden layer, one of ``ACTIVATIONS``."""

    initializer: InitializerCfg = InitializerCfg()
    """First weights of the hidden layers; biases start at 0."""

    d2rl: bool = False
    """Whether each layer sees the input too (Sinha et al. 2020, arXiv:2010.09163)."""

    norm_only_first_layer: bool = False
    """Whether only the first layer is followed by the normalisation."""


@configclass
class RnnCfg:
    """A recurrent layer."""

    name: Literal["lstm", "gru", "identity"] = "lstm"
    """Kind of the layer."""

    units: int = 128
    """Width of its state."""

    layers: int = 1
    """Number of layers."""

    before_mlp: bool = False
    """Whether it stands before the hidden layers instead of after them."""

    concat_input: bool = False
    """Whether it sees the observation beside the hidden layers' output."""

    concat_output: bool = False
    """Whether the observation is appended to its output."""

    layer_norm: bool = False
    """Whether its output is normalised."""


@configclass
class NetworkCfg:
    """The network."""

    name: str = "actor_critic"
    """``actor_critic``, or a name given to ``model_builder.register_network``."""

    separate: bool = False
    """Whether actor and critic have hidden layers of their own."""

    normalization: str | None = None
    """``layer_norm`` or ``batch_norm``; RL-Games applies it with ``d2rl`` alone."""

    value_activation: str | None = "None"
    """Activation after the value."""

    space: SpaceCfg | None = SpaceCfg()
    """Kind of the actions; null for a central value network."""

    mlp: MlpCfg = MlpCfg()
    """The hidden layers."""

    rnn: RnnCfg | None = None
    """A recurrent layer, such as ``{name: gru, units: 64}``."""

    central_value: bool = False
    """Whether this network gives a value only."""

    other: dict[str, Any] = {}
    """Further entries for a network registered under a name of its own, passed on as they are."""

    def validate_config(self) -> None:
        if any(width < 1 for width in self.mlp.units):
            raise ConfigError(f"mlp.units is {self.mlp.units}: each width must be at least 1")
        _one_of("mlp.activation", self.mlp.activation or "None", ACTIVATIONS)


@configclass
class CentralValueCfg:
    """A critic of its own that sees ``states``, with its own optimiser: the asymmetric form."""

    network: NetworkCfg = NetworkCfg(space=None, central_value=True)
    """The critic's network."""

    minibatch_size: int | None = None
    """Rows of a minibatch; null takes ``minibatch_size_per_env`` times the number of environments."""

    minibatch_size_per_env: int | None = None
    """Rows of a minibatch for each environment; null for both sizes takes those of the actor."""

    mini_epochs: int = 4
    """Passes over each rollout."""

    learning_rate: float = 3e-4
    """Adam's step size."""

    lr_schedule: str | None = None
    """``linear`` falls to 0 with ``max_epochs``; any other stays."""

    kl_threshold: float | None = None
    """Accepted for RL-Games' files; the critic has no KL divergence."""

    schedule_type: str | None = None
    """Accepted for RL-Games' files."""

    clip_value: bool = True
    """Whether the value may move by at most ``e_clip`` before its error saturates."""

    e_clip: float = 0.2
    """Width of that clip."""

    normalize_input: bool = False
    """Whether states are centred and scaled by their running moments."""

    truncate_grads: bool = False
    """Whether the gradient's norm is bounded."""

    grad_norm: float = 1.0
    """Bound on the gradient's norm."""

    weight_decay: float = 0.0
    """Adam's decay of the weights."""

    mixed_precision: bool = False
    """Whether the update computes in bfloat16 on a GPU."""

    freeze_critic: bool = False
    """Whether the critic does not learn."""


@configclass
class RewardShaperCfg:
    """What the learner makes of a reward: ``clip((r + shift_value) · scale_value, min_val, max_val)``."""

    scale_value: float = 1.0
    """Factor."""

    shift_value: float = 0.0
    """Added before the factor."""

    min_val: float = -math.inf
    """Least value."""

    max_val: float = math.inf
    """Greatest value."""

    log_val: bool = False
    """Whether the logarithm is taken at the end."""


@configclass
class WrapperCfg:
    """What the environment's wrapper does."""

    clip_observations: float = math.inf
    """Bound on what the learner sees: each entry is clamped to ±``clip_observations``."""

    obs_groups: dict[str, list[str]] = {"obs": ["policy"], "states": []}
    """Observation groups, concatenated in this order, that the actor (``obs``) and the central value network
    (``states``) see. Empty ``states`` means the group ``critic`` where the environment has one, else those of ``obs``.
    """


@configclass
class ConfigCfg:
    """RL-Games' ``config``: PPO, with the library's names and defaults.

    Where the library has no default and every file gives a value, the usual one stands here. What the command line
    decides is not here: ``name``, ``env_name``, ``num_actors``, ``device``, ``train_dir``.
    """

    ppo: bool = True
    """Whether the probability ratio is clipped; false is A2C."""

    normalize_input: bool = False
    """Whether observations are centred and scaled by their running moments (clipped at ±5)."""

    normalize_value: bool = False
    """Whether returns are centred and scaled by their running moments."""

    normalize_advantage: bool = True
    """Whether advantages are centred and scaled over the rollout."""

    normalize_rms_advantage: bool = False
    """Whether that uses moments that move over rollouts; RL-Games 1.6.5 cannot build them, so false."""

    reward_shaper: RewardShaperCfg = RewardShaperCfg()
    """What the learner makes of a reward."""

    value_bootstrap: bool = True
    """Whether γ·V(observation before the step) is added to the reward of an episode cut off by its time limit."""

    gamma: float = 0.99
    """γ, discount of one environment step."""

    tau: float = 0.95
    """λ of generalised advantage estimation."""

    learning_rate: float = 3e-4
    """Adam's step size; with ``lr_schedule="adaptive"`` only its value at the start."""

    lr_schedule: str | None = "adaptive"
    """``adaptive``: divided by 1.5 when the KL divergence exceeds twice ``kl_threshold``, multiplied by 1.5 below half
    of it, within [1e-6, 1e-2]. ``linear``: falls to 1e-6 over the run. ``constant``, or null."""

    schedule_type: Literal["legacy", "standard"] = "legacy"
    """Whether the schedule looks at each minibatch (``legacy``) or at each pass (``standard``)."""

    schedule_entropy: bool = False
    """Whether ``linear`` also lets ``entropy_coef`` fall, to 1e-4."""

    kl_threshold: float = 0.008
    """KL divergence (nats) that the adaptive schedule aims at."""

    e_clip: float = 0.2
    """ε, half the width of the interval in which the probability ratio counts."""

    clip_value: bool = True
    """Whether the value may move by at most ``e_clip`` before its error saturates."""

    use_smooth_clamp: bool = False
    """Whether the ratio is clipped smoothly."""

    critic_coef: float = 2.0
    """Weight of half the value's mean square error."""

    entropy_coef: float = 0.0
    """Weight of the entropy bonus."""

    bounds_loss_coef: float = 0.0
    """Weight of the penalty on means beyond ±1.1 (``bound``) or on all means (``regularisation``)."""

    bound_loss_type: Literal["bound", "regularisation", "none"] = "bound"
    """Kind of that penalty."""

    truncate_grads: bool = False
    """Whether the gradient's norm is bounded."""

    grad_norm: float = 1.0
    """Bound on the gradient's norm."""

    weight_decay: float = 0.0
    """Adam's decay of the weights."""

    horizon_length: int = 16
    """Environment steps of each environment that are collected before an update."""

    minibatch_size: int | None = None
    """Rows of a minibatch; null takes ``minibatch_size_per_env`` times the number of environments."""

    minibatch_size_per_env: int | None = None
    """Rows of a minibatch for each environment; null for both sizes makes four minibatches, if that divides."""

    mini_epochs: int = 4
    """Passes over each rollout."""

    seq_length: int = 4
    """Steps through which a recurrent network's gradient runs; must divide ``horizon_length``."""

    bptt_length: int | None = None
    """Accepted for RL-Games' files, which has no use for it."""

    zero_rnn_on_done: bool = True
    """Whether a recurrent network's state is cleared where an episode ends."""

    clip_actions: bool = True
    """Whether actions are clamped to ±1 and then scaled to the environment's bounds: ±``agent.clip_actions``, or ±1
    where that is null. False hands them on as they are."""

    mixed_precision: bool = False
    """Whether the update computes in bfloat16 on a GPU."""

    torch_compile: bool | str | dict[str, str] | None = None
    """Whether ``torch.compile`` compiles the networks: null on a GPU alone; else true, false, a mode, or
    ``{mode: …, critic_mode: …}``."""

    central_value_config: CentralValueCfg | None = None
    """A critic of its own that sees ``states``; null trains actor and critic together on ``obs``."""

    use_experimental_cv: bool = True
    """Whether the actor's own value head learns beside a central value network."""

    freeze_critic: bool = False
    """Whether the moments of ``normalize_value`` stay."""

    max_epochs: int = -1
    """Length of a run; where it is set it becomes ``agent.max_iterations``."""

    max_frames: int = -1
    """Environment steps after which a run ends before ``agent.max_iterations``."""

    score_to_win: float | None = None
    """Mean return at which a run ends before ``agent.max_iterations``."""

    save_best_after: int = 100
    """Epoch from which the best policy so far, by its mean return, is kept in ``nn/<experiment_name>.pth``."""

    save_frequency: int = 0
    """Epochs between checkpoints ``nn/last_<name>_ep_<epoch>_rew_<return>.pth`` beside those of
    ``agent.save_interval``; 0 for none."""

    games_to_track: int = 100
    """Finished episodes over which mean returns are taken."""

    epochs_between_resets: int = 0
    """Epochs after which all environments are reset; 0 for never."""

    print_stats: bool = False
    """Whether RL-Games prints its own line an epoch."""

    use_diagnostics: bool = False
    """Whether clipped shares and explained variances are logged."""


@configclass
class ParamsCfg:
    """What an RL-Games file has below ``params``."""

    env: WrapperCfg = WrapperCfg()
    """What the environment's wrapper does."""

    algo: AlgoCfg = AlgoCfg()
    """The algorithm."""

    model: ModelCfg = ModelCfg()
    """The distribution."""

    network: NetworkCfg = NetworkCfg()
    """The network of the actor and, without a central value network, of the critic."""

    config: ConfigCfg = ConfigCfg()
    """Everything else."""

    torch_threads: int | str = 0
    """PyTorch's threads; 0 leaves them as ``--threads`` set them, ``"auto"`` is RL-Games' own rule."""


@configclass
class RlGamesRunnerCfg(LibraryRunnerCfg):
    """A run with RL-Games."""

    params: ParamsCfg = ParamsCfg()
    """RL-Games' own settings."""

    def set_iterations(self, iterations: int) -> None:
        self.max_iterations = iterations
        self.params.config.max_epochs = -1

    def validate_config(self) -> None:
        LibraryRunnerCfg.validate_config(self)
        config = self.params.config
        if config.max_epochs != -1:
            self.max_iterations = config.max_epochs
            LibraryRunnerCfg.validate_config(self)
        if self.clip_actions is not None and not self.clip_actions > 0.0:
            raise ConfigError(f"clip_actions is {self.clip_actions}: it must be greater than 0, or null")
        _check_algorithm(self.params)
        _one_of("params.config.lr_schedule", config.lr_schedule or "constant", SCHEDULES)
        for name in ("gamma", "tau"):
            if not 0.0 <= getattr(config, name) <= 1.0:
                raise ConfigError(f"params.config.{name} is {getattr(config, name)}: it must lie in [0, 1]")
        for name in ("learning_rate", "e_clip", "kl_threshold", "grad_norm", "horizon_length", "mini_epochs"):
            if not getattr(config, name) > 0:
                raise ConfigError(f"params.config.{name} is {getattr(config, name)}: it must be greater than 0")
        if self.params.network.rnn is not None and config.horizon_length % config.seq_length:
            raise ConfigError(
                f"params.config.horizon_length is {config.horizon_length}: "
                f"a recurrent network needs a multiple of seq_length, {config.seq_length}"
            )
        groups = self.params.env.obs_groups
        for name in groups:
            _one_of("params.env.obs_groups key", name, ("obs", "states"))
        if not groups.get("obs"):
            raise ConfigError("params.env.obs_groups has no groups for obs: give for example ['policy']")
        if groups.get("states") and config.central_value_config is None:
            raise ConfigError(
                f"params.env.obs_groups gives states {groups['states']}, which only a central value network sees: "
                "set params.config.central_value_config too"
            )

    def to_library(self, device: str) -> dict[str, Any]:
        """Return ``params`` as RL-Games takes them, but for the number of environments and what follows from it.

        Args:
            device: device of the learner.
        """
        params = _plain(self.params)
        config = params["config"]
        config.update(name=self.experiment_name, max_epochs=self.max_iterations, multi_gpu=False)
        config.update(device=device, device_name=device)
        config.setdefault("lr_schedule", "constant")
        config.setdefault("torch_compile", device.startswith("cuda"))
        return {**params, "seed": self.seed}

    def minibatch_sizes(self, num_actors: int) -> tuple[int, int]:
        """Return the actor's and the central value network's rows of a minibatch.

        Raises:
            ConfigError: they do not divide the rollout of ``num_actors`` environments.
        """
        config = self.params.config
        steps, central = config.horizon_length, config.central_value_config
        rows = num_actors * steps
        own = _size(config, num_actors)
        if own is None:
            own = rows // 4 if rows % 4 == 0 else rows
        other = None if central is None else _size(central, num_actors)
        sizes = own, own if other is None else other
        for where, size in zip(("", "central_value_config."), sizes, strict=True):
            if size < 1 or rows % size:
                raise ConfigError(
                    f"agent.params.config.{where}minibatch_size is {size}: it must divide the rollout of "
                    f"{num_actors} environments × {steps} steps = {rows} rows; "
                    "minibatch_size_per_env follows the number of environments"
                )
        return sizes


def native_overlay(values: dict[str, Any]) -> dict[str, Any] | None:
    """Turn an RL-Games file (``params`` at its top level) into one with ``agent``; None for another file.

    The file counts as a whole: what it leaves out has the library's default, not the task's. ``seed``, ``name``,
    ``max_epochs``, ``save_frequency`` and the wrapper's ``clip_actions`` go to the fields that all libraries have here;
    what the command line decides (device, number of environments, folders) is left out.

    Raises:
        ConfigError: an entry that RL-Games or this project does not know, or a feature that is not connected.
    """
    if not isinstance(values.get("params"), dict):
        return None
    params = copy.deepcopy(values["params"])
    wrapper = params.setdefault("env", {})
    config = params.setdefault("config", {})
    if not isinstance(wrapper, dict) or not isinstance(config, dict):
        raise ConfigError("params: 'env' and 'config' must be mappings")
    agent: dict[str, Any] = {"clip_actions": _finite(wrapper.pop("clip_actions", None))}
    _move(params, "seed", agent, "seed")
    _move(config, "name", agent, "experiment_name")
    _move(config, "max_epochs", agent, "max_iterations", unless=-1)
    _move(config, "save_frequency", agent, "save_interval", unless=0)
    _move(config, "max_steps", config, "max_frames", unless=-1)
    for name in ("multi_gpu", "population_based_training", "self_play", "use_action_masks"):
        if config.pop(name, False):
            raise ConfigError(f"params.config.{name}: not connected to this project: set it to false")
    for name in ("concate_obs_group", "concate_obs_groups"):
        if not wrapper.pop(name, True):
            raise ConfigError(f"params.env.{name}: observations are always concatenated here: set it to true")
    _drop(params, ("load_checkpoint", "load_path"))
    _drop(config, _DECIDED_ELSEWHERE)
    _move(config, "seq_len", config, "seq_length")
    central = config.get("central_value_config")
    for network in (params.get("network"), central.get("network") if isinstance(central, dict) else None):
        if isinstance(network, dict):
            _tidy_network(network)
    whole = RlGamesRunnerCfg()
    try:
        apply_overlay({"agent": whole}, {"agent": {**agent, "params": params}})
    except ConfigError as error:
        raise ConfigError(str(error).replace("agent.params", "params", 1)) from error
    return {
        **{name: value for name, value in values.items() if name != "params"},
        "agent": {**agent, "params": plain_value(whole.params)},
    }


_DECIDED_ELSEWHERE = (
    "device", "device_name", "env_name", "env_config", "num_actors", "train_dir", "full_experiment_name",
    "log_path", "network_path", "player", "features", "is_train", "use_central_value",
)  # fmt: skip
"""Entries of an RL-Games file that the command line, the task or the run folder decide here."""

_NETWORKS = ("actor_critic", "resnet_actor_critic", "rnd_curiosity", "soft_actor_critic")


def _tidy_network(network: dict[str, Any]) -> None:
    """Drop what RL-Games does not read, and put the entries of a registered network into ``other``."""
    if isinstance(network.get("mlp"), dict):
        network["mlp"].pop("regularizer", None)
    if network.get("central_value"):
        network.setdefault("space", None)
    if network.get("name", "actor_critic") not in _NETWORKS:
        known = vars(NetworkCfg())
        network["other"] = {name: network.pop(name) for name in list(network) if name not in known}


def _check_algorithm(params: ParamsCfg) -> None:
    if params.algo.name != "a2c_continuous":
        reason = {
            "sac": "SAC is not connected",
            "a2c_discrete": "the environments have continuous actions",
        }.get(params.algo.name, "unknown algorithm")
        raise ConfigError(f"params.algo.name is {params.algo.name!r}: {reason}; use 'a2c_continuous'")
    if params.config.normalize_rms_advantage:
        raise ConfigError("params.config.normalize_rms_advantage: RL-Games 1.6.5 cannot build it: set it to false")
    if params.model.name in ("continuous_a2c", "continuous_a2c_tanh"):
        raise ConfigError(
            f"params.model.name is {params.model.name!r}, which RL-Games 1.6.5 cannot train: "
            "use 'continuous_a2c_logstd'"
        )


def _size(config: Any, num_actors: int) -> int | None:
    if config.minibatch_size is not None:
        return config.minibatch_size
    return None if config.minibatch_size_per_env is None else num_actors * config.minibatch_size_per_env


def _plain(value: Any) -> Any:
    """Return a config as nested dictionaries, without what is None; an activation that is None has that name."""
    if not is_config(value):
        return copy.deepcopy(value)
    out: dict[str, Any] = {}
    for name, item in vars(value).items():
        if name.endswith("activation"):
            out[name] = "None" if item is None else item
        elif name == "other":
            out.update(copy.deepcopy(item))
        elif item is not None:
            out[name] = _plain(item)
    return out


def _move(source: dict[str, Any], name: str, target: dict[str, Any], new_name: str, unless: Any = None) -> None:
    value = source.pop(name, None)
    if value is not None and value != unless:
        target[new_name] = value


def _drop(values: dict[str, Any], names: Iterable[str]) -> None:
    for name in names:
        values.pop(name, None)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and math.isinf(value) else value


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}: {did_you_mean(str(value), allowed)}")
