"""Terms made of other terms: values by hand, what reaches the inner terms, and what is refused at start."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from palestra.config import apply_overrides
from palestra.envs import ManagerBasedRLEnv, mdp
from palestra.errors import ConfigError
from palestra.managers import CurriculumTermCfg, ManagerTermBase, ManagerTermBaseCfg, RewardTermCfg, SceneEntityCfg

from .conftest import EnvCfg, MakeEnv, place, same

ELBOW = SceneEntityCfg("robot", joint_names=["elbow"])


def kernel(std: float = 0.5, func: Any = mdp.joint_vel_l2, **params: Any) -> RewardTermCfg:
    return RewardTermCfg(func=mdp.exp_kernel, weight=1.0, params={"std": std, "func": func, "params": params})


def factors(**terms: Any) -> RewardTermCfg:
    return RewardTermCfg(func=mdp.product, weight=1.0, params={"factors": terms})


def value(env: ManagerBasedRLEnv, name: str = "term") -> Tensor:
    """The unweighted value of a term, computed anew."""
    env.reward_manager.compute(env.step_dt, torch.ones(env.num_envs, dtype=torch.bool))
    return env.reward_manager.step_values[env.reward_manager.active_terms.index(name)]


def test_the_kernel_by_hand(make_env: MakeEnv) -> None:
    env = make_env(rewards={"term": kernel(std=2.0, asset_cfg=ELBOW)})
    place(env, joint_vel=(7.0, 3.0))
    same(value(env), math.exp(-9.0 / 4.0))  # the elbow's speed only: the entity was resolved inside
    place(env, joint_vel=(7.0, 2.0))
    same(value(env), math.exp(-1.0))  # at an error of one std
    place(env)
    same(value(env), 1.0)


def test_the_kernel_takes_a_term_without_parameters_and_the_weight_counts(make_env: MakeEnv) -> None:
    cfg = RewardTermCfg(func=mdp.exp_kernel, weight=3.0, params={"std": 0.5, "func": mdp.ang_vel_xy_l2})
    env = make_env(rewards={"term": cfg})
    place(env, ang_vel=(0.3, 0.4, 9.0))
    same(value(env), math.exp(-1.0))
    same(env.reward_manager.reward, 3.0 * math.exp(-1.0) * 0.02)


def test_a_product_by_hand(make_env: MakeEnv) -> None:
    env = make_env(
        rewards={
            "term": factors(
                track=ManagerTermBaseCfg(
                    func=mdp.track_lin_vel_xy_exp, params={"std": 0.5, "command_name": "velocity"}
                ),
                upright=ManagerTermBaseCfg(
                    func=mdp.exp_kernel, params={"std": 0.2, "func": mdp.flat_orientation_l2, "params": {}}
                ),
                slow=ManagerTermBaseCfg(func=mdp.joint_vel_l1, params={"asset_cfg": ELBOW}),
            )
        }
    )
    lean = (math.cos(0.1), math.sin(0.1), 0.0, 0.0)  # 0.2 rad about x
    place(env, quat=lean, lin_vel=(0.5, 0.0, 0.0), joint_vel=(5.0, 3.0))
    env.command_manager.get_command("velocity").copy_(torch.tensor([1.0, 0.0, 0.0]))
    same(value(env), math.exp(-1.0) * math.exp(-(math.sin(0.2) ** 2) / 0.04) * 3.0)
    place(env, lin_vel=(1.0, 0.0, 0.0))
    same(value(env), 0.0)  # one factor of zero is enough


def test_a_factor_set_to_none_is_left_out(make_env: MakeEnv) -> None:
    cfg = EnvCfg().replace(
        rewards={
            "term": factors(
                alive=ManagerTermBaseCfg(func=mdp.is_alive),
                speed=ManagerTermBaseCfg(func=mdp.joint_vel_l1, params={"asset_cfg": ELBOW}),
            )
        }
    )
    apply_overrides({"env": cfg}, ["env.rewards.term.params.factors.speed=null"])
    env = make_env(rewards=cfg.rewards)
    place(env, joint_vel=(0.0, 3.0))
    same(value(env), 1.0)


class since_reset(ManagerTermBase):
    """Counts its calls since the reset."""

    def __init__(self, cfg: Any, env: Any) -> None:
        super().__init__(cfg, env)
        self.calls = torch.zeros(env.num_envs)

    def reset(self, env_mask: Tensor) -> None:
        self.calls.masked_fill_(env_mask, 0.0)

    def __call__(self, env: Any) -> Tensor:
        self.calls += 1.0
        return self.calls


def test_inner_terms_with_a_memory_are_reset(make_env: MakeEnv) -> None:
    inner = ManagerTermBaseCfg(func=since_reset)
    env = make_env(rewards={"kernel": kernel(1.0, since_reset), "term": factors(one=inner, two=inner)})
    value(env), value(env)
    same(value(env), 9.0)  # each factor has a memory of its own
    env.reward_manager.reset(torch.tensor([True, False, False]))
    same(value(env), torch.tensor([1.0, 16.0, 16.0]))
    same(value(env, "kernel").log(), torch.tensor([-2.0, -5.0, -5.0]))


def test_inner_parameters_can_change(make_env: MakeEnv) -> None:
    def widen(env: Any, env_mask: Tensor, old: float, to: float) -> float:
        return to

    change = {"modify_fn": widen, "modify_params": {"to": 4.0}}
    inner = ManagerTermBaseCfg(func=mdp.base_height_l2, params={"target_height": 5.0})
    env = make_env(
        rewards={"term": kernel(1.0, mdp.base_height_l2, target_height=5.0), "product": factors(height=inner)},
        curriculum={
            "std": CurriculumTermCfg(func=mdp.modify_term_cfg, params={"address": "rewards.term.params.std", **change}),
            "height": CurriculumTermCfg(
                func=mdp.modify_term_cfg, params={"address": "rewards.term.params.params.target_height", **change}
            ),
            "factor": CurriculumTermCfg(
                func=mdp.modify_term_cfg,
                params={"address": "rewards.product.params.factors.height.params.target_height", **change},
            ),
        },
    )
    place(env, pos=(0.0, 0.0, 6.0))
    same(value(env), math.exp(-4.0 / 16.0))  # (6 - 4)² / 4²: the reset changed all three
    same(value(env, "product"), 4.0)
    manager = env.reward_manager
    cfg = manager.get_term_cfg("term")
    with pytest.raises(ConfigError, match="reward term 'term': std is -1.0; it must be a positive number"):
        manager.set_term_cfg("term", cfg.replace(params={**cfg.params, "std": -1.0}))
    with pytest.raises(ConfigError, match="'term': kernel of term 'base_height_l2': func cannot change in a running"):
        manager.set_term_cfg("term", cfg.replace(params={**cfg.params, "func": mdp.is_alive}))
    with pytest.raises(ConfigError, match=r"factors are \['other'\]; a running environment keeps \['height'\]"):
        manager.set_term_cfg("product", factors(other=inner))


ALIVE = ManagerTermBaseCfg(func=mdp.is_alive)


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (kernel(std=0.0), "std is 0.0; it must be a positive number"),
        (kernel(std=math.nan), "std is nan; it must be a positive number"),
        (kernel(std="wide"), "std is 'wide'; it must be a positive number"),
        (
            RewardTermCfg(func=mdp.exp_kernel, weight=1.0, params={"func": mdp.is_alive}),
            "parameter 'std' is missing; it takes func, params, std",
        ),
        (
            RewardTermCfg(func=mdp.exp_kernel, weight=1.0, params={"std": 1.0}),
            "parameter 'func' is missing; it takes func, params, std",
        ),
        (
            RewardTermCfg(func=mdp.exp_kernel, weight=1.0, params={"std": 1.0, "func": mdp.is_alive, "params": [1]}),
            r"params is \[1\]; it must be a dictionary, {parameter: value}",
        ),
        (
            kernel(1.0, mdp.base_height_l2, target_heigth=0.3),
            "kernel of term 'base_height_l2': no parameter 'target_heigth'; did you mean 'target_height'",
        ),
        (
            kernel(1.0, asset_cfg=SceneEntityCfg("robot", joint_names=["knee"])),
            "kernel of term 'joint_vel_l2', asset_cfg: .*knee",
        ),
        (factors(), "factors is {}; it must be {name: ManagerTermBaseCfg} with one or more"),
        (factors(gone=None), "factors is {'gone': None}; it must be {name: ManagerTermBaseCfg} with one or more"),
        (
            RewardTermCfg(func=mdp.product, weight=1.0, params={"factors": [ALIVE]}),
            "factors is .*; it must be {name: ManagerTermBaseCfg} with one or more",
        ),
        (RewardTermCfg(func=mdp.product, weight=1.0), "parameter 'factors' is missing; it takes factors"),
        (
            factors(alive=RewardTermCfg(func=mdp.is_alive, weight=2.0)),
            "factor 'alive' is a RewardTermCfg, whose weight would not count; use ManagerTermBaseCfg",
        ),
        (factors(alive=mdp.is_alive), "factor 'alive' is a function; it must be a ManagerTermBaseCfg"),
        (
            factors(alive=ALIVE, height=ManagerTermBaseCfg(func=mdp.base_height_l2)),
            "factor 'height', term 'base_height_l2': parameter 'target_height' is missing",
        ),
    ],
)
def test_bad_configurations_are_refused_with_the_terms_name(
    make_env: MakeEnv, cfg: RewardTermCfg, message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^reward term 'walk': {message}") as caught:
        make_env(rewards={"walk": cfg})
    assert "\n" not in str(caught.value)
