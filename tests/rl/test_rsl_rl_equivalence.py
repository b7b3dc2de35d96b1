"""Our update and RSL-RL's, on the same rollouts, permutations and first weights, end at the same weights."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_env import PointMassEnv

from palestra.rl import PPO, ModelCfg, PPOAlgorithmCfg, PPORunnerCfg

pytest.importorskip("rsl_rl")
from rsl_rl.algorithms import PPO as ReferencePPO
from rsl_rl.models import MLPModel
from rsl_rl.storage import RolloutStorage as ReferenceStorage
from tensordict import TensorDict

NUM_ENVS, NUM_STEPS, ITERATIONS = 32, 10, 5

# The reference multiplies the discount with a float32 mask even when all else is float64: take exact fractions.
GAMMA, LAM = 63 / 64, 15 / 16


def make_cfg(std_type: str, asymmetric: bool, **algorithm: Any) -> PPORunnerCfg:
    model = {"hidden_dims": [16, 16], "obs_normalization": True, "init_std": 0.8, "std_type": std_type}
    return PPORunnerCfg(
        num_steps_per_env=NUM_STEPS,
        obs_groups={"actor": ["policy"], "critic": ["policy", "critic"] if asymmetric else ["policy"]},
        actor=ModelCfg(**model),
        critic=ModelCfg(**model),
        algorithm=PPOAlgorithmCfg(gamma=GAMMA, lam=LAM, kl_floor=1e-20, **algorithm),
    )


class Reference:
    """RSL-RL's learner with the weights of ours, fed with our rollouts."""

    def __init__(self, ours: PPO) -> None:
        cfg, algorithm = ours.cfg, ours.cfg.algorithm
        obs = self.observations(ours, 0)
        shape = {"hidden_dims": cfg.actor.hidden_dims, "obs_normalization": True}
        gaussian = {"class_name": "GaussianDistribution", "init_std": 0.8, "std_type": cfg.actor.std_type}
        actor = MLPModel(obs, cfg.obs_groups, "actor", ours.num_actions, distribution_cfg=gaussian, **shape)
        critic = MLPModel(obs, cfg.obs_groups, "critic", 1, **shape)
        actor.load_state_dict(ours.actor.state_dict())
        critic.load_state_dict(ours.critic.state_dict())
        storage = ReferenceStorage("rl", NUM_ENVS, NUM_STEPS, obs, [ours.num_actions])
        names = (
            "num_learning_epochs num_mini_batches clip_param gamma lam value_loss_coef entropy_coef learning_rate "
            "max_grad_norm use_clipped_value_loss schedule desired_kl normalize_advantage_per_mini_batch"
        )
        settings = {name: getattr(algorithm, name) for name in names.split()}
        self.ppo = ReferencePPO(actor, critic, storage, **settings)
        # On an update's first minibatch KL is zero up to rounding; the reference asks for more than exactly zero.
        exact = actor.get_kl_divergence

        def without_rounding(old: tuple[Tensor, ...], new: tuple[Tensor, ...]) -> Tensor:
            kl = exact(old, new)
            return torch.where(kl.mean() > 1e-20, kl, 0.0)

        actor.get_kl_divergence = without_rounding  # type: ignore[method-assign]

    @staticmethod
    def observations(ours: PPO, t: int) -> TensorDict:
        return TensorDict({k: v[t].clone() for k, v in ours.storage.observations.items()}, batch_size=[NUM_ENVS])

    def update(self, ours: PPO, permutation: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
        s = ours.storage
        with torch.inference_mode():
            for t in range(NUM_STEPS):
                self.ppo.act(self.observations(ours, t))
                self.ppo.transition.actions = s.actions[t].clone()
                self.ppo.transition.actions_log_prob = self.ppo.actor.get_output_log_prob(s.actions[t])
                dones = s.terminated[t] | s.time_outs[t]
                next_obs = self.observations(ours, t + 1)
                self.ppo.process_env_step(next_obs, s.rewards[t], dones, {"time_outs": s.time_outs[t]})
            self.ppo.compute_returns(next_obs)
        with monkeypatch.context() as patch:
            patch.setattr(torch, "randperm", lambda *args, **kwargs: permutation)
            self.ppo.update()


def distance(ours: PPO, reference: ReferencePPO) -> float:
    """Return the largest difference of any weight or normaliser entry."""
    pairs = [(ours.actor.state_dict(), reference.actor.state_dict())]
    pairs += [(ours.critic.state_dict(), reference.critic.state_dict())]
    assert all(a.keys() == b.keys() for a, b in pairs)
    return max(float((a[name] - b[name]).abs().max()) for a, b in pairs for name in a)


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """Make new tensors float64, RSL-RL's included."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("std_type", "asymmetric", "algorithm"),
    [
        ("scalar", False, {}),
        ("log", True, {}),
        ("scalar", True, {"normalize_advantage_per_mini_batch": True, "use_clipped_value_loss": False}),
        ("scalar", False, {"schedule": "fixed", "max_grad_norm": 0.05, "num_mini_batches": 3}),
    ],
)
def test_weights_agree(
    std_type: str, asymmetric: bool, algorithm: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    env = PointMassEnv(NUM_ENVS, max_episode_length=7)
    cfg = make_cfg(std_type, asymmetric, **algorithm)
    ours = PPO(cfg, env.observation_dims, NUM_ENVS, 2, dtype=torch.float64)
    reference = Reference(ours)
    start = [p.detach().clone() for p in ours.parameters]
    obs = env.reset(seed=1)[0]
    rates = []
    for _ in range(ITERATIONS):
        obs = ours.collect(env, obs)
        permutation = ours.draw_permutation()
        reference.update(ours, permutation, monkeypatch)
        with monkeypatch.context() as patch:
            patch.setattr(ours, "draw_permutation", lambda p=permutation: p)
            ours.update()
        assert float(ours.learning_rate) == pytest.approx(reference.ppo.learning_rate, rel=1e-12)
        assert distance(ours, reference.ppo) <= 1e-12
        rates.append(float(ours.learning_rate))
    moved = max(float((a - b).detach().abs().max()) for a, b in zip(start, ours.parameters, strict=True))
    assert moved > 1e-2
    assert ours.storage.time_outs.any()
    assert (len(set(rates)) == 1) == (cfg.algorithm.schedule == "fixed")
