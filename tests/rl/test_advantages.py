"""Generalised advantages against numbers worked out by hand, and how episodes that end or are cut off enter them."""

import pytest
import torch
from torch import Tensor
from toy_env import PointMassEnv

from palestra.rl import PPO, PPORunnerCfg
from palestra.rl.ppo import generalized_advantages, standardize

GAMMA, LAM = 0.5, 0.5


def advantages(rewards: list[float], values: list[float], dones: list[bool]) -> list[float]:
    out = torch.zeros(len(rewards), 1)
    generalized_advantages(
        torch.tensor(rewards)[:, None],
        torch.tensor(values)[:, None],
        torch.tensor(dones)[:, None],
        GAMMA,
        LAM,
        out,
    )
    return out[:, 0].tolist()


def test_episode_that_goes_on() -> None:
    # δ₂ = 3 + 0.5·4 - 3 = 2;  δ₁ = 2 + 0.5·3 - 2 = 1.5;  δ₀ = 1 + 0.5·2 - 1 = 1
    # Â₂ = 2;  Â₁ = 1.5 + 0.25·2 = 2;  Â₀ = 1 + 0.25·2 = 1.5
    assert advantages([1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0], [False] * 3) == [1.5, 2.0, 2.0]


def test_end_of_an_episode_stops_value_and_advantage() -> None:
    # δ₁ = 2 - 2 = 0 without V₂, and Â₁ takes nothing from Â₂;  Â₀ = 1 + 0.25·0 = 1
    assert advantages([1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0], [False, True, False]) == [1.0, 0.0, 2.0]


def ppo_with_rollout(bootstrap: str, time_outs: list[bool], terminated: list[bool]) -> PPO:
    """Return a learner after three steps of one environment with reward 1 and V = 8 on whatever it sees."""
    cfg = PPORunnerCfg(num_steps_per_env=3)
    cfg.algorithm.gamma = cfg.algorithm.lam = 0.5
    cfg.algorithm.num_mini_batches = 1
    cfg.algorithm.normalize_advantage_per_mini_batch = True  # leaves the rollout's advantages as they are
    cfg.algorithm.time_out_bootstrap = bootstrap  # type: ignore[assignment]
    ppo = PPO(cfg, {"policy": 1}, num_envs=1, num_actions=1)
    with torch.no_grad():
        ppo.critic.mlp[-1].weight.zero_()
        ppo.critic.mlp[-1].bias.fill_(8.0)
    for t in range(3):
        ppo.storage.write_outcome(t, torch.ones(1), torch.tensor([terminated[t]]), torch.tensor([time_outs[t]]))
    ppo.storage.final_values.fill_(4.0)
    ppo.compute_returns()
    return ppo


NO, LAST = [False] * 3, [False, False, True]


@pytest.mark.parametrize(
    ("bootstrap", "time_outs", "terminated", "last"),
    [
        ("value", NO, NO, 1.0 + 0.5 * 8.0 - 8.0),  # the rollout stops, the episode goes on: V(s₃)
        ("value", NO, LAST, 1.0 - 8.0),  # nothing follows
        ("value", LAST, NO, 1.0 + 0.5 * 8.0 - 8.0),  # V of the observation before the last step
        ("terminal_observation", LAST, NO, 1.0 + 0.5 * 4.0 - 8.0),  # V of the true last observation
        ("none", LAST, NO, 1.0 - 8.0),  # a time-out counts as an end
        ("value", LAST, LAST, 1.0 - 8.0),  # an episode that ends at its limit has ended
    ],
)
def test_last_step(bootstrap: str, time_outs: list[bool], terminated: list[bool], last: float) -> None:
    ppo = ppo_with_rollout(bootstrap, time_outs, terminated)
    middle = 1.0 + 0.5 * 8.0 - 8.0 + 0.25 * last
    first = 1.0 + 0.5 * 8.0 - 8.0 + 0.25 * middle
    torch.testing.assert_close(ppo.storage.advantages[:, 0], torch.tensor([first, middle, last]))
    torch.testing.assert_close(ppo.storage.returns, ppo.storage.advantages + 8.0)


def test_terminal_observation_is_that_before_the_reset(small_cfg: PPORunnerCfg) -> None:
    small_cfg.algorithm.time_out_bootstrap = "terminal_observation"
    env = PointMassEnv(num_envs=4, max_episode_length=5)
    ppo = PPO(small_cfg, env.observation_dims, 4, 2)
    seen: list[Tensor] = []
    step = env.step_in_place

    def recording(actions: Tensor):
        result = step(actions)
        seen.append(result[4]["terminal_observation"]["policy"].clone())
        return result

    env.step_in_place = recording  # type: ignore[method-assign]
    ppo.collect(env, env.reset(seed=0)[0])
    with torch.no_grad():
        expected = torch.stack([ppo.critic(obs).squeeze(-1) for obs in seen])
    torch.testing.assert_close(ppo.storage.final_values, expected)
    assert ppo.storage.time_outs.any() and not torch.equal(seen[4], ppo.storage.observations["policy"][5])


def test_standardize() -> None:
    x = standardize(torch.tensor([1.0, 2.0, 3.0]))  # unbiased standard deviation 1
    torch.testing.assert_close(x, torch.tensor([-1.0, 0.0, 1.0]))
