"""A step touches no data on the host: no data-dependent shapes, no reading of values, no lists as indices.

A GPU would wait at each such place, and a captured graph could not hold it. Here both are looked for on the CPU:
one mode sees what PyTorch's operators are asked to do, the other what Python asks of a tensor. Two places are
exempt: inside the CPU engine, whose numpy rows are its own affair, and the look at the mask that the CPU allows.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tiny import run, tiny
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from palestra.config import load_env_cfg, make
from palestra.envs import mdp
from palestra.managers import ManagerTermBaseCfg, ObservationTermCfg, RewardTermCfg, SceneEntityCfg

aten = torch.ops.aten
SHAPE_DEPENDS_ON_DATA = {aten.nonzero, aten.masked_select, aten._unique2, aten.unique_dim, aten.bincount}
READS = {
    torch.Tensor.item,
    torch.Tensor.tolist,
    torch.Tensor.numpy,
    torch.Tensor.cpu,
    torch.Tensor.__bool__,
    torch.Tensor.__float__,
    torch.Tensor.__int__,
    torch.Tensor.__index__,
    torch.Tensor.__array__,
}
COPIES_FROM_HOST = {torch.tensor, torch.as_tensor, torch.from_numpy}


class HostAccess(AssertionError):
    """The step touched data on the host."""


class OperatorGuard(TorchDispatchMode):
    """Fails on operators whose result has a shape that depends on data, and on reading a value."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func.overloadpacket
        if packet is aten._local_scalar_dense or packet in SHAPE_DEPENDS_ON_DATA:
            raise HostAccess(str(func))
        if packet in (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_):
            for index in args[1]:
                if index is not None and index.dtype in (torch.bool, torch.uint8):
                    raise HostAccess(f"{func} with a bool mask")
        return func(*args, **(kwargs or {}))


class PythonGuard(TorchFunctionMode):
    """Fails where Python asks a tensor for its values, or makes a tensor from host data."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in READS:
            raise HostAccess(f"{func}")
        if func in COPIES_FROM_HOST and not isinstance(args[0], torch.Tensor):
            raise HostAccess(f"{func} of host data")
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            parts = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(part, list) for part in parts):
                raise HostAccess("a list as index")
        return func(*args, **(kwargs or {}))


@contextmanager
def guarded() -> Iterator[None]:
    with PythonGuard(), OperatorGuard():
        yield


def exempt(method: Any) -> Any:
    """Run a method of the engine without the guards."""

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            return method(*args, **kwargs)

    return call


def prepare(env: Any) -> Any:
    """Exempt the engine; draw random numbers and leave the mask alone as on a GPU."""
    for name in ("field", "write", "step", "refresh", "reset", "forward", "model_field", "write_model", "set_const"):
        setattr(env.engine, name, exempt(getattr(env.engine, name)))
    env._known_idle = lambda done: False
    env.rng._on_host = lambda: False  # numpy would draw
    env.reset(seed=0)
    env.step_in_place(torch.zeros(env.num_envs, env.num_actions))  # tables that are made once
    return env


@pytest.mark.parametrize(
    "task",
    [
        "Velocity-Flat-Go2",
        "Velocity-Flat-Go2-DR",
        "Velocity-Flat-AnymalC",
        "Velocity-Flat-G1",
        "Velocity-Flat-H1",
        "Velocity-Rough-Go2",
        "Velocity-Rough-AnymalC",
        "Reach-Franka",
        "Cartpole",
        "Cartpole-Direct",
        "Reach-Franka-Direct",
        "Reach-Franka-DR",
        "Ant",
    ],
)
def test_a_step_is_free_of_host_access(task: str) -> None:
    env = prepare(make(task, num_envs=4))
    env.episode_length_buf[1] = env.max_episode_length - 2  # so that an episode ends inside
    assert env.capture == "auto"
    action = torch.zeros(4, env.num_actions)
    ended = torch.zeros(4, dtype=torch.bool)
    with guarded():
        for _ in range(4):
            _, _, terminated, time_outs, _ = env.step_in_place(action)
            ended |= terminated | time_outs
    assert ended[1]


def test_a_step_to_a_clock_and_a_place_is_free_of_host_access() -> None:
    cfg = load_env_cfg("Velocity-Flat-Go2")
    feet = {"FL_foot": 0.0, "FR_foot": 0.5, "RL_foot": 0.5, "RR_foot": 0.0}
    cfg.commands.gait = mdp.GaitPhaseCommandCfg(
        resampling_time_range=(0.04, 0.04),
        offsets=feet,
        ranges=mdp.GaitPhaseCommandCfg.Ranges(frequency=(1.0, 3.0), duty_factor=(0.5, 0.7)),
    )
    cfg.commands.place = mdp.UniformPose2dCommandCfg(
        asset_name="robot",
        resampling_time_range=(0.04, 0.04),
        simple_heading=True,
        ranges=mdp.UniformPose2dCommandCfg.Ranges(pos_x=(-2.0, 2.0), pos_y=(-2.0, 2.0)),
    )
    upright = {"func": mdp.flat_orientation_l2, "std": 0.3}
    gait = {"command_name": "gait", "sensor_cfg": SceneEntityCfg("feet")}
    factors = {
        "gait": ManagerTermBaseCfg(func=mdp.feet_gait, params=gait),
        "upright": ManagerTermBaseCfg(func=mdp.exp_kernel, params=upright),
    }
    cfg.rewards.walk = RewardTermCfg(func=mdp.product, weight=1.0, params={"factors": factors}, group="style")
    for name in ("gait", "place"):
        term = ObservationTermCfg(func=mdp.generated_commands, params={"command_name": name})
        setattr(cfg.observations.policy, name, term)
    env = prepare(make("Velocity-Flat-Go2", num_envs=4, cfg=cfg))
    env.episode_length_buf[1] = env.max_episode_length - 2
    action = torch.zeros(4, env.num_actions)
    clock = env.command_manager.get_command("gait").clone()
    place = env.command_manager.get_command("place").clone()
    with guarded():
        for _ in range(4):
            obs, *_ = env.step_in_place(action)
    assert obs["policy"].shape == (4, 45 + 12 + 4)
    assert (env.command_manager.get_command("gait") != clock)[:, :8].all()
    assert (env.command_manager.get_command("place") != place).all()
    log = env.fetch_log()
    assert 0.0 < log["Step_Value/walk"] <= 1.0 and env.reward_groups == {"walk": "style"}


HOST_ACCESSES = {
    "item": lambda x: x * x.sum().item(),
    "branch": lambda x: x if x.any() else -x,
    "float": lambda x: x * float(x[0]),
    "tolist": lambda x: x * x.tolist()[0],
    "numpy": lambda x: torch.zeros_like(x) + float(x.numpy()[0]),
    "cpu": lambda x: x.cpu(),
    "nonzero": lambda x: x + x.nonzero().sum(),
    "where with one argument": lambda x: x + torch.where(x > 0)[0].sum(),
    "bool index": lambda x: x + x[x > 0].sum(),
    "bool write": lambda x: x.clone().index_put_((x > 0,), torch.zeros(())),
    "masked select": lambda x: x + x.masked_select(x > 0).sum(),
    "unique": lambda x: x + x.unique().sum(),
    "tensor": lambda x: x + torch.tensor([1.0, 2.0]),
    "list index": lambda x: x[[1, 0]],
}


@pytest.mark.parametrize("kind", HOST_ACCESSES)
def test_the_guards_catch_a_term_that_needs_the_host(kind: str) -> None:
    def culprit(env: Any) -> torch.Tensor:
        return HOST_ACCESSES[kind](env.scene["robot"].data.joint_pos[:, 0] + 1.0)

    env = prepare(tiny(2, rewards={"culprit": RewardTermCfg(func=culprit, weight=1.0)}))
    with guarded(), pytest.raises(HostAccess):
        env.step_in_place(torch.zeros(2, 1))


def test_a_clean_term_passes_and_the_exempt_look_at_the_mask_would_not() -> None:
    env = prepare(tiny(2))
    with guarded():
        env.step_in_place(torch.zeros(2, 1))
    del env._known_idle
    with guarded(), pytest.raises(HostAccess):
        env.step_in_place(torch.zeros(2, 1))
    run(env, 1)
