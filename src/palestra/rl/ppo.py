"""Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347) with RSL-RL's arithmetic.

Read from the top: ``collect`` fills a rollout, ``compute_returns`` estimates advantages, ``update`` learns
from them. Nothing here waits for the device and every buffer stays where it is, so that a rollout and an
update can each be captured as one CUDA graph. Hyperparameters are 0-dim device tensors: changing one in place
needs no new capture.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from palestra.config.configclass import validate
from palestra.errors import ConfigError, did_you_mean
from palestra.rl.adam import Adam
from palestra.rl.config import PPORunnerCfg
from palestra.rl.distributed import ALONE, World
from palestra.rl.environment import Environment, Observations
from palestra.rl.loss import LOSSES, ppo_loss
from palestra.rl.networks import Actor, Critic, log_prob
from palestra.rl.storage import MiniBatch, RolloutStorage, ShuffledRollout, concatenate

MIN_LEARNING_RATE, MAX_LEARNING_RATE = 1e-5, 1e-2
"""Bounds of the adaptive learning rate."""

METRICS = (*LOSSES, "Loss/learning_rate", "Policy/mean_std", "Policy/explained_variance", "Train/mean_reward")
"""What an update reports."""

HEALTH = ("the rewards", "the observations", "the losses", "the parameters")
"""What an update finds finite or not."""

SEED_STRIDE = 1_000_003
"""Between the seeds of two processes' action noise, so that small seeds do not meet."""

STATE_PARTS = ("actor", "critic", "optimizer", "rng")
"""Parts of a learner's state that can be restored one by one."""


class PPO:
    """The learner: actor, critic, optimizer and rollout buffers.

    Args:
        cfg: the run's settings.
        observation_dims: observation group to its width.
        num_envs: N, environments stepped together.
        num_actions: width of an action.
        device: where everything lives.
        dtype: float32, or float64 for comparisons of arithmetic.
        world: the processes that learn together; each has ``num_envs`` environments and draws other random numbers.

    Raises:
        ConfigError: ``cfg.obs_groups`` names a group that the environment does not have, or a setting is out of range.
    """

    def __init__(
        self,
        cfg: PPORunnerCfg,
        observation_dims: dict[str, int],
        num_envs: int,
        num_actions: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        world: World = ALONE,
    ) -> None:
        validate(cfg, "agent")
        self.cfg = cfg
        self.device = torch.device(device)
        self.dtype = dtype
        self.world = world
        self.num_actions = num_actions
        self.observation_dims = dict(observation_dims)
        obs_dims = {model: obs_width(model, cfg.obs_groups[model], observation_dims) for model in ("actor", "critic")}
        self.generator = torch.Generator(self.device).manual_seed(cfg.seed + world.rank * SEED_STRIDE)
        self._build_models(obs_dims)
        networks = (self.actor.mlp, self.critic.mlp, self._run_shared)
        self._actor_mlp, self._critic_mlp, self._shared = (
            (torch.compile(n, dynamic=False) for n in networks) if cfg.compile else networks
        )
        self._side = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self._build_hyperparameters()
        self.optimizer = Adam(self.parameters, self.learning_rate)

        self.storage = RolloutStorage(
            cfg.num_steps_per_env, num_envs, observation_dims, cfg.obs_groups, num_actions, self.device, dtype
        )
        if cfg.algorithm.num_mini_batches > cfg.num_steps_per_env * num_envs:
            raise ConfigError(
                f"algorithm.num_mini_batches is {cfg.algorithm.num_mini_batches} but a rollout has only "
                f"{cfg.num_steps_per_env * num_envs} rows (num_steps_per_env × num_envs)"
            )
        self.rollout = ShuffledRollout(self.storage, cfg.algorithm.num_mini_batches, self.same_obs)
        self.noise = torch.zeros(num_envs, num_actions, device=self.device, dtype=dtype)
        self.env_actions = torch.zeros(num_envs, num_actions, device=self.device, dtype=torch.float32)
        self.metrics_sum = torch.zeros(len(LOSSES), device=self.device, dtype=dtype)
        self.summary = torch.zeros(len(METRICS) + len(HEALTH), device=self.device, dtype=dtype)

    # --- collecting ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def collect(self, env: Environment, obs: Observations) -> Observations:
        """Run the policy for T steps, then estimate advantages; return the observations after the last step.

        ``obs`` are those before the first step: the environment's buffers, which each step overwrites.
        """
        s = self.storage
        s.std.copy_(self.actor.std)
        for t in range(s.num_steps):
            s.write_observations(t, obs)
            obs, rewards, terminated, time_outs, extras = env.step_in_place(self.act(t))
            s.write_outcome(t, rewards, terminated, time_outs)
            if self.cfg.algorithm.time_out_bootstrap == "terminal_observation":
                final = concatenate(extras["terminal_observation"], self.cfg.obs_groups["critic"])
                s.final_values[t].copy_(self.critic(final.to(self.dtype)).squeeze(-1))
        s.write_observations(s.num_steps, obs)
        self.compute_returns()
        return obs

    def act(self, t: int) -> Tensor:
        """Draw actions a ~ N(μ(s_t), σ²) for what was seen before step ``t``; return what the environment gets."""
        s = self.storage
        with self._precision():
            s.mean[t].copy_(self.actor(s.observations_of("actor", t)))
        self.noise.normal_(generator=self.generator)
        torch.addcmul(s.mean[t], s.std, self.noise, out=s.actions[t])
        self.env_actions.copy_(s.actions[t])
        if self.cfg.clip_actions is not None:
            self.env_actions.clamp_(-self.cfg.clip_actions, self.cfg.clip_actions)
        return self.env_actions

    @torch.no_grad()
    def compute_returns(self) -> None:
        """Evaluate the rollout: V(s_t), log π(a_t|s_t), advantages Â_t and returns Â_t + V(s_t)."""
        s, algorithm = self.storage, self.cfg.algorithm
        with self._precision():
            s.values.copy_(self.critic(s.observations_of("critic", slice(None))).squeeze(-1))
        s.log_prob.copy_(log_prob(s.actions, s.mean, s.std))

        rewards = s.rewards
        if algorithm.time_out_bootstrap != "none":
            cut_off = s.values[:-1] if algorithm.time_out_bootstrap == "value" else s.final_values
            # A time-out ends the episode below; what would have followed is added to its last reward. The
            # product is masked by where, since a value at a step that did not time out may be anything.
            rewards = rewards + torch.where(s.time_outs, self.gamma * cut_off, 0.0)
        generalized_advantages(rewards, s.values, s.terminated | s.time_outs, self.gamma, self.lam, out=s.advantages)
        torch.add(s.advantages, s.values[:-1], out=s.returns)
        if not algorithm.normalize_advantage_per_mini_batch:
            s.advantages.copy_(standardize(s.advantages, self.world))

    # --- learning -----------------------------------------------------------------------------------------------------

    def update(self) -> None:
        """Improve actor and critic on the rollout, then merge its observations into the normalisers.

        The permutation is drawn once and serves all epochs. ``METRICS``, and whether ``HEALTH`` is finite, are left in
        ``summary``.
        """
        self.rollout.gather(self.draw_permutation())
        self.actor.normalize_(self.rollout.actor_obs)
        if not self.same_obs:
            self.critic.normalize_(self.rollout.critic_obs)
        self.metrics_sum.zero_()
        with self._precision():
            for _ in range(self.cfg.algorithm.num_learning_epochs):
                for batch in self.rollout.mini_batches:
                    self.learn(batch)
        self._update_normalizers()
        self._summarize()

    def draw_permutation(self) -> Tensor:
        """Return a random order of the rollout's rows, ``(rows,)`` int64.

        Sorting random keys needs no host, unlike ``randperm`` on CUDA.
        """
        return torch.rand(self.rollout.rows, generator=self.generator, device=self.device).argsort()

    def learn(self, batch: MiniBatch) -> None:
        """Take one step of Adam on a minibatch."""
        algorithm = self.cfg.algorithm
        mean, values = self.evaluate(batch)
        std = self.actor.std
        advantages = batch.advantages
        if algorithm.normalize_advantage_per_mini_batch:
            advantages = standardize(advantages, self.world)

        loss = ppo_loss(
            batch,
            advantages,
            mean,
            std,
            self.storage.std,
            values,
            self.clip_param,
            self.value_loss_coef,
            self.entropy_coef,
            clip_values=algorithm.use_clipped_value_loss,
        )
        self.optimizer.zero_grad()
        loss.backward(mean, std, values)
        self.world.average_([loss.kl, *(p.grad for p in self.parameters if p.grad is not None)])
        if algorithm.schedule == "adaptive":
            self.adapt_learning_rate(loss.kl)
        clip_gradients(self.actor_parameters, self.max_grad_norm)
        clip_gradients(self.critic_parameters, self.max_grad_norm)
        self.optimizer.step()
        self.metrics_sum += loss.parts

    def evaluate(self, batch: MiniBatch) -> tuple[Tensor, Tensor]:
        """Return the present μ(s) ``(rows, num_actions)`` and V(s) ``(rows,)`` for normalised observations."""
        if not (self.cfg.mixed_precision and self.device.type == "cuda"):
            return self._run_networks(batch.actor_obs, batch.critic_obs)
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            mean, values = self._run_networks(batch.actor_obs, batch.critic_obs)
        return mean.to(self.dtype), values.to(self.dtype)

    def _run_networks(self, actor_obs: Tensor, critic_obs: Tensor) -> tuple[Tensor, Tensor]:
        if self.cfg.shared_trunk:
            return self._shared(actor_obs)
        if self._side is None:
            return self._actor_mlp(actor_obs), self._critic_mlp(critic_obs).squeeze(-1)
        # Side by side on a GPU, which small networks do not fill; their gradients follow them on their streams.
        main = torch.cuda.current_stream(self.device)
        self._side.wait_stream(main)
        with torch.cuda.stream(self._side):
            values = self._critic_mlp(critic_obs).squeeze(-1)
        mean = self._actor_mlp(actor_obs)
        main.wait_stream(self._side)
        return mean, values

    def _run_shared(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        latent = self.actor.mlp.features(obs)
        return self.actor.mlp[-1](latent), self.critic.mlp[-1](latent).squeeze(-1)

    def adapt_learning_rate(self, kl: Tensor) -> None:
        """Divide the rate by 1.5 where the policy moved too far, multiply it by 1.5 where it moved too little."""
        rate = self.learning_rate
        lower = (rate / 1.5).clamp(min=MIN_LEARNING_RATE)
        higher = (rate * 1.5).clamp(max=MAX_LEARNING_RATE)
        too_little = (kl < self.desired_kl / 2.0) & (kl > self.kl_floor)
        torch.where(kl > self.desired_kl * 2.0, lower, torch.where(too_little, higher, rate), out=rate)

    def _update_normalizers(self) -> None:
        self.actor.update_normalization(self.storage.all_observations_of("actor"), self.world)
        if self.critic.obs_normalizer is not self.actor.obs_normalizer:
            self.critic.update_normalization(self.storage.all_observations_of("critic"), self.world)

    @contextmanager
    def _precision(self) -> Iterator[None]:
        """Let matrix products round to TF32 if the configuration says so: those of the networks, not the user's."""
        matmul = torch.backends.cuda.matmul
        before = matmul.allow_tf32
        matmul.allow_tf32 = self.cfg.allow_tf32 and self.dtype == torch.float32
        try:
            yield
        finally:
            matmul.allow_tf32 = before

    # --- metrics ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _summarize(self) -> None:
        """Fill ``summary``. A sum is finite unless one of its terms is not."""
        s, algorithm = self.storage, self.cfg.algorithm
        unexplained = (s.returns - s.values[:-1]).var() / s.returns.var().clamp(min=1e-12)
        finite = torch.stack((
            s.rewards.sum(),
            sum((obs.sum() for obs in s.observations.values()), torch.zeros_like(self.gamma)),
            self.metrics_sum.sum(),
            nn.utils.get_total_norm(self.parameters),
        )).isfinite()  # fmt: skip
        parts = (
            self.metrics_sum / (algorithm.num_learning_epochs * algorithm.num_mini_batches),
            torch.stack((self.learning_rate, self.actor.std.mean(), 1.0 - unexplained, s.rewards.mean())),
            finite.to(self.dtype),
        )
        self.summary.copy_(torch.cat(parts))
        self.world.average_([self.summary])

    def fetch_metrics(self) -> tuple[dict[str, float], list[str]]:
        """Return the last update's metrics, and which of ``HEALTH`` was not finite; waits for the device.

        What comes from the environment goes first: where that is broken, losses and parameters are too.
        """
        numbers = self.summary.tolist()
        metrics: dict[str, float] = dict(zip(METRICS, numbers, strict=False))
        broken = [what for what, ok in zip(HEALTH, numbers[len(METRICS) :], strict=True) if ok < 1.0]
        return metrics, [what for what in broken if what in HEALTH[:2]] or broken

    # --- construction and state ---------------------------------------------------------------------------------------

    def _build_models(self, obs_dims: dict[str, int]) -> None:
        """Make the networks on the host from ``cfg.seed``, so that all devices start from the same weights."""
        cfg = self.cfg
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(cfg.seed)
            self.actor = Actor(obs_dims["actor"], self.num_actions, cfg.actor)
            self.critic = Critic(obs_dims["critic"], cfg.critic)
            if cfg.shared_trunk:
                self.critic.share_trunk(self.actor, cfg.critic.output_gain)
        same_groups = cfg.obs_groups["actor"] == cfg.obs_groups["critic"]
        self.same_obs = same_groups and cfg.actor.obs_normalization == cfg.critic.obs_normalization
        if self.same_obs:
            self.critic.obs_normalizer = self.actor.obs_normalizer
        self.actor.to(self.device, self.dtype)
        self.critic.to(self.device, self.dtype)
        self.actor_parameters = list(self.actor.parameters())
        own = {id(p) for p in self.actor_parameters}
        self.critic_parameters = [p for p in self.critic.parameters() if id(p) not in own]
        self.parameters = self.actor_parameters + self.critic_parameters

    def _build_hyperparameters(self) -> None:
        def scalar(value: float) -> Tensor:
            return torch.tensor(value, device=self.device, dtype=self.dtype)

        algorithm = self.cfg.algorithm
        self.gamma = scalar(algorithm.gamma)
        self.lam = scalar(algorithm.lam)
        self.clip_param = scalar(algorithm.clip_param)
        self.value_loss_coef = scalar(algorithm.value_loss_coef)
        self.entropy_coef = scalar(algorithm.entropy_coef)
        self.desired_kl = scalar(algorithm.desired_kl)
        self.kl_floor = scalar(algorithm.kl_floor)
        self.max_grad_norm = scalar(algorithm.max_grad_norm)
        self.learning_rate = scalar(algorithm.learning_rate)

    def share(self) -> None:
        """Let all processes go on from the first one's weights, normalisers and optimizer."""
        tensors: list[Tensor] = [self.learning_rate, *self.optimizer.tensors]
        for network in (self.actor, self.critic):
            tensors += [tensor.detach() for tensor in network.state_dict().values()]
        self.world.share_(tensors)

    def state_dict(self) -> dict[str, Any]:
        """Return weights, normalisers, optimizer and random state; keys are RSL-RL's where it has them."""
        return {
            "actor_state_dict": self.actor.state_dict(),
            "critic_state_dict": self.critic.state_dict(),
            "optimizer_state_dict": self.optimizer.state_dict(),
            "generator_state": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any], parts: Iterable[str] = STATE_PARTS) -> None:
        """Restore parts of ``state_dict()``, writing in place so that a captured graph stays valid.

        Args:
            state: what ``state_dict`` returned.
            parts: any of ``actor``, ``critic``, ``optimizer`` (with the learning rate), ``rng``.

        Raises:
            ConfigError: the saved networks have other shapes; nothing has been restored then.
        """
        for part in parts:
            if part not in STATE_PARTS:
                raise ConfigError(f"no part {part!r} in a learner's state: {did_you_mean(part, STATE_PARTS)}")
        networks = {"actor": self.actor, "critic": self.critic}
        wanted = [name for name in networks if name in parts]
        for name in wanted:
            check_shapes(name, networks[name], state[f"{name}_state_dict"])
        for name in wanted:
            networks[name].load_state_dict(state[f"{name}_state_dict"])
        if "optimizer" in parts:
            self.optimizer.load_state_dict(state["optimizer_state_dict"])
        if "rng" in parts and state["generator_state"].shape == self.generator.get_state().shape:
            self.generator.set_state(state["generator_state"].cpu())  # its size differs between CPU and CUDA
            if not self.world.is_main:  # the state is the first process's
                drawn = torch.randint(2**48, (), generator=self.generator, device=self.device)
                self.generator.manual_seed(int(drawn) + self.world.rank)


def generalized_advantages(
    rewards: Tensor, values: Tensor, dones: Tensor, gamma: Tensor | float, lam: Tensor | float, out: Tensor
) -> Tensor:
    """Generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438, eq. 16).

    δ_t = r_t + γ (1 - d_t) V(s_{t+1}) - V(s_t),   Â_t = δ_t + γλ (1 - d_t) Â_{t+1}

    Args:
        rewards: r, ``(T, N)``; what followed an episode that was cut off is already in its last reward.
        values: V, ``(T + 1, N)``, the last row for the state after the last step.
        dones: d, ``(T, N)`` bool, whether an episode ended with the step, for whatever reason.
        gamma: discount of a step.
        lam: λ; 0 gives the one-step error, 1 the whole return.
        out: where the advantages go, ``(T, N)``.
    """
    discount = gamma * (~dones).to(values.dtype)
    delta = rewards + discount * values[1:] - values[:-1]
    decay = lam * discount
    advantage = torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        advantage = torch.addcmul(delta[t], decay[t], advantage, out=out[t])
    return out


def standardize(x: Tensor, world: World = ALONE) -> Tensor:
    """Return ``x`` with mean 0 and (unbiased) standard deviation 1 over all processes."""
    variance, mean = world.var_mean(x)
    rows = x.numel() * world.size
    return (x - mean) / ((variance * (rows / (rows - 1))).sqrt() + 1e-8)


def clip_gradients(parameters: list[nn.Parameter], max_norm: Tensor) -> None:
    """Scale the gradients of ``parameters`` so that their common norm is at most ``max_norm``, without a host sync."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(gradients, factor)  # pyright: ignore[reportPrivateImportUsage]


def check_shapes(name: str, network: nn.Module, saved: dict[str, Tensor]) -> None:
    """Compare saved tensors with those of a network.

    Raises:
        ConfigError: names the first tensor that differs.
    """
    here = network.state_dict()
    for key in [*here, *saved]:
        shapes = [tuple(tensors[key].shape) if key in tensors else None for tensors in (saved, here)]
        if shapes[0] != shapes[1]:
            was, now = ("nothing" if shape is None else f"shape {shape}" for shape in shapes)
            raise ConfigError(f"{name}.{key} has {was} in the checkpoint and {now} in the configured networks")


def obs_width(model: str, groups: list[str], observation_dims: dict[str, int]) -> int:
    """Return how many numbers a model sees.

    Raises:
        ConfigError: the environment has no such group.
    """
    for name in groups:
        if name not in observation_dims:
            raise ConfigError(
                f"obs_groups[{model!r}] names the observation group {name!r}, which the environment "
                f"does not have: {did_you_mean(name, observation_dims)}"
            )
    return sum(observation_dims[name] for name in groups)
