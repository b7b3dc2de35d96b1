"""PPO itself: the rules it follows, what it learns, and that nothing in it waits for the device."""

import time
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from toy_env import PointMassEnv

from palestra.errors import ConfigError
from palestra.rl import PPO, PPORunnerCfg
from palestra.rl.networks import entropy, log_prob, mean_kl
from palestra.rl.ppo import clip_gradients


def make_ppo(cfg: PPORunnerCfg, env: PointMassEnv) -> PPO:
    return PPO(cfg, env.observation_dims, env.num_envs, env.num_actions)


# --- the Gaussian ----------------------------------------------------------------------------------------------


def test_gaussian_against_torch_distributions() -> None:
    torch.manual_seed(0)
    mean, old_mean, actions = torch.randn(3, 7, 4, dtype=torch.float64)
    std, old_std = torch.rand(2, 4, dtype=torch.float64) + 0.2
    new, old = torch.distributions.Normal(mean, std), torch.distributions.Normal(old_mean, old_std)
    torch.testing.assert_close(log_prob(actions, mean, std), new.log_prob(actions).sum(-1))
    torch.testing.assert_close(entropy(std), new.entropy()[0].sum())
    kl = torch.distributions.kl_divergence(old, new).sum(-1).mean()
    torch.testing.assert_close(mean_kl(old_mean, old_std, mean, std), kl)


def test_kl_of_an_unmoved_policy_is_zero() -> None:
    mean, std = torch.randn(9, 3), torch.rand(3) + 0.1
    assert float(mean_kl(mean, std, mean, std)) == 0.0


# --- the adaptive learning rate --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kl", "rate", "expected"),
    [
        (0.021, 3e-3, 2e-3),  # above twice the target
        (0.019, 3e-3, 3e-3),  # near it
        (0.006, 3e-3, 3e-3),
        (0.004, 3e-3, 4.5e-3),  # below half of it
        (1e-12, 3e-3, 3e-3),  # zero up to rounding
        (0.0, 3e-3, 3e-3),
        (1.0, 1.2e-5, 1e-5),  # the bounds
        (1e-4, 9e-3, 1e-2),
        (float("nan"), 3e-3, 3e-3),
    ],
)
def test_adaptive_rate(small_cfg: PPORunnerCfg, kl: float, rate: float, expected: float) -> None:
    ppo = make_ppo(small_cfg, PointMassEnv(4))
    address = ppo.learning_rate.data_ptr()
    ppo.learning_rate.fill_(rate)
    ppo.adapt_learning_rate(torch.tensor(kl))
    assert float(ppo.learning_rate) == pytest.approx(expected, rel=1e-6)
    assert ppo.learning_rate.data_ptr() == address
    assert ppo.optimizer.learning_rate is ppo.learning_rate


def test_gradient_clipping_against_torch() -> None:
    torch.manual_seed(0)
    for max_norm in (0.5, 100.0):
        ours = [torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(2, 2))]
        theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        clip_gradients(ours, torch.tensor(max_norm))
        torch.nn.utils.clip_grad_norm_(theirs, max_norm)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a.grad, b.grad)


# --- networks --------------------------------------------------------------------------------------------------


def test_asymmetric_critic_sees_its_own_groups(small_cfg: PPORunnerCfg) -> None:
    small_cfg.obs_groups = {"actor": ["policy"], "critic": ["policy", "critic"]}
    env = PointMassEnv(8, observation_noise=0.5)
    ppo = make_ppo(small_cfg, env)
    assert (ppo.actor.obs_dim, ppo.critic.obs_dim) == (4, 9)
    ppo.collect(env, env.reset(seed=0)[0])
    ppo.update()
    observations = ppo.storage.observations
    both = torch.cat((observations["policy"], observations["critic"]), dim=-1)[:-1].flatten(0, 1)
    torch.testing.assert_close(ppo.critic.obs_normalizer.mean, both.mean(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ppo.actor.obs_normalizer.mean, both.mean(0)[:4], atol=1e-5, rtol=1e-5)


def test_shared_trunk_learns_both_heads(small_cfg: PPORunnerCfg) -> None:
    small_cfg.shared_trunk = True
    env = PointMassEnv(8)
    ppo = make_ppo(small_cfg, env)
    assert ppo.critic.mlp[0] is ppo.actor.mlp[0]
    assert len(ppo.critic_parameters) == 2
    before = [p.detach().clone() for p in ppo.parameters]
    ppo.collect(env, env.reset(seed=0)[0])
    with torch.no_grad():
        ppo.rollout.gather(ppo.draw_permutation())
        whole = ppo.rollout.whole
        mean, values = ppo.evaluate(whole)
        torch.testing.assert_close(mean, ppo.actor.mlp(whole.actor_obs))
        torch.testing.assert_close(values, ppo.critic.mlp(whole.critic_obs).squeeze(-1))
    ppo.update()
    assert all(not torch.equal(a, b) for a, b in zip(before, ppo.parameters, strict=True))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"obs_groups": {"actor": ["polcy"], "critic": ["policy"]}}, "did you mean 'policy'"),
        ({"obs_groups": {"actor": ["policy"]}}, "no groups for the critic"),
        ({"shared_trunk": True, "obs_groups": {"actor": ["policy"], "critic": ["critic"]}}, "shared_trunk"),
        ({"num_steps_per_env": 0}, "num_steps_per_env is 0"),
        ({"clip_actions": -1.0}, "clip_actions is -1.0"),
    ],
)
def test_bad_settings_are_named(small_cfg: PPORunnerCfg, change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        make_ppo(small_cfg.replace(**change), PointMassEnv(4))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("actor.activation", "elo", "did you mean 'elu'"),
        ("actor.std_type", "linear", "'scalar', 'log'"),
        ("critic.hidden_dims", [], "hidden_dims"),
        ("algorithm.schedule", "adaptve", "did you mean 'adaptive'"),
        ("algorithm.gamma", 1.5, "gamma is 1.5"),
        ("algorithm.num_mini_batches", 1000, "num_mini_batches is 1000"),
    ],
)
def test_bad_nested_settings_are_named(small_cfg: PPORunnerCfg, path: str, value: object, words: str) -> None:
    section, name = path.split(".")
    setattr(getattr(small_cfg, section), name, value)
    with pytest.raises(ConfigError, match=words):
        make_ppo(small_cfg, PointMassEnv(4))


# --- collecting and learning -----------------------------------------------------------------------------------


def test_rollout_holds_what_was_before_each_step(small_cfg: PPORunnerCfg) -> None:
    """The environment overwrites its observations in each step; the stored ones must be those acted on."""
    env = PointMassEnv(6)
    ppo = make_ppo(small_cfg, env)
    ppo.collect(env, env.reset(seed=5)[0])
    position, velocity = ppo.storage.observations["policy"].split(2, dim=-1)
    force = ppo.storage.actions.clamp(-3.0, 3.0)
    expected = velocity[:-1] + 0.1 * (force - 0.1 * velocity[:-1])
    alive = ~(ppo.storage.terminated | ppo.storage.time_outs)
    torch.testing.assert_close(velocity[1:][alive], expected[alive])
    torch.testing.assert_close(position[1:][alive], (position[:-1] + 0.1 * expected)[alive])


def test_clip_actions_bounds_what_the_environment_gets(small_cfg: PPORunnerCfg) -> None:
    env = PointMassEnv(64)
    ppo = make_ppo(small_cfg.replace(clip_actions=0.5), env)
    ppo.collect(env, env.reset(seed=0)[0])
    assert float(ppo.env_actions.abs().max()) == 0.5
    assert float(ppo.storage.actions.abs().max()) > 1.0


def test_minibatches_hold_each_row_once(small_cfg: PPORunnerCfg) -> None:
    env = PointMassEnv(7)  # 16 · 7 = 112 rows, 5 minibatches of 22
    small_cfg.algorithm.num_mini_batches = 5
    ppo = make_ppo(small_cfg, env)
    ppo.storage.rewards.zero_()
    ppo.storage.log_prob.copy_(torch.arange(112.0).view(16, 7))
    ppo.rollout.gather(ppo.draw_permutation())
    rows = torch.cat([batch.log_prob for batch in ppo.rollout.mini_batches])
    assert [len(batch.log_prob) for batch in ppo.rollout.mini_batches] == [22] * 5
    assert sorted(rows.tolist()) == list(range(110)) and rows.tolist() != list(range(110))


def test_buffers_stay_where_they_are(small_cfg: PPORunnerCfg) -> None:
    env = PointMassEnv(8)
    ppo = make_ppo(small_cfg, env)
    obs = ppo.collect(env, env.reset(seed=0)[0])
    ppo.update()

    def addresses() -> list[int]:
        holders = (
            vars(ppo.storage),
            ppo.storage.observations,
            vars(ppo),
            ppo.actor.state_dict(keep_vars=True),
        )
        tensors = [v for holder in holders for v in holder.values() if isinstance(v, torch.Tensor)]
        tensors += [v for batch in ppo.rollout.mini_batches for v in batch]
        tensors += [v for state in ppo.optimizer.state_dict()["state"].values() for v in state.values()]
        return [tensor.data_ptr() for tensor in tensors]

    before, state = addresses(), ppo.state_dict()
    ppo.collect(env, obs)
    ppo.update()
    ppo.load_state_dict(state)
    assert addresses() == before and len(before) > 60


def test_solves_the_point_mass(small_cfg: PPORunnerCfg) -> None:
    """From a random start 2 m away on average, a solved task leaves the mass a third of that, start included."""
    env = PointMassEnv(256)
    small_cfg.algorithm.num_learning_epochs, small_cfg.algorithm.num_mini_batches = 5, 4
    small_cfg.algorithm.entropy_coef = 0.0
    ppo = make_ppo(small_cfg, env)
    obs = env.reset(seed=0)[0]
    distances = []
    started = time.monotonic()
    for _ in range(60):
        obs = ppo.collect(env, obs)
        ppo.update()
        distances.append(env.fetch_log()["Metrics/distance"])
        if distances[-1] < 0.6 or time.monotonic() - started > 60.0:
            break
    assert distances[0] > 1.5
    assert distances[-1] < 0.6, distances


class HostSyncs(TorchDispatchMode):
    """Collects the operators that make the host wait for the device or that give data-dependent shapes."""

    FORBIDDEN = (
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "is_nonzero",
        "equal.default",
        "unique",
        "item",
    )

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        name = str(func)
        boolean_index = "index" in name and any(
            isinstance(a, list) and any(t is not None and t.dtype == torch.bool for t in a) for a in args
        )
        if boolean_index or any(word in name for word in self.FORBIDDEN):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("bootstrap", ["value", "terminal_observation"])
def test_no_host_sync_in_collect_and_update(small_cfg: PPORunnerCfg, bootstrap: str) -> None:
    small_cfg.algorithm.time_out_bootstrap = bootstrap  # type: ignore[assignment]
    small_cfg.algorithm.normalize_advantage_per_mini_batch = bootstrap == "value"
    small_cfg.clip_actions = 1.0
    env = PointMassEnv(8)
    ppo = make_ppo(small_cfg, env)
    obs = env.reset(seed=0)[0]
    with HostSyncs() as mode:
        ppo.collect(env, obs)
        ppo.update()
    assert mode.found == [] and mode.count > 500


def test_host_syncs_would_be_found() -> None:
    x = torch.rand(5)
    with HostSyncs() as mode:
        float(x.sum())
        if x.sum() > 0:
            x.nonzero()
        x[x > 0.5]
    assert len(mode.found) == 4
