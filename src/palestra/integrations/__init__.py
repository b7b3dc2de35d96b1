"""Learners from other libraries on Palestra's environments; a library is imported when it is chosen."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from palestra.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from palestra.deploy.graph import PolicyGraph
    from palestra.integrations.trainer import Trainer
    from palestra.rl.distributed import World

OURS = "palestra"


class TrainedPolicy(Protocol):
    """What a checkpoint holds, ready to act.

    One that remembers also has ``reset(done)``, which forgets where ``done`` ``(num_envs,)`` is true.
    """

    def __call__(self, obs: Any) -> Tensor:
        """Return actions ``(num_envs, num_actions)`` for observation groups."""
        ...

    def graph(self) -> PolicyGraph:
        """Return the policy as a function of tensors, for export."""
        ...


@dataclass(frozen=True)
class Library:
    """A learner that ``--library`` can choose."""

    requires: str
    """Package that must be installed."""

    extra: str
    """Extra of this package that installs it."""

    @property
    def installed(self) -> bool:
        """Whether the package can be found."""
        return importlib.util.find_spec(self.requires) is not None


OTHERS = {
    "rsl_rl": Library("rsl_rl", "rsl-rl"),
    "skrl": Library("skrl", "skrl"),
    "rl_games": Library("rl_games", "rl-games"),
    "sb3": Library("stable_baselines3", "sb3"),
}
"""Libraries by the name that ``--library`` takes, which is also the module below this one.

Each module has ``make_trainer(env, cfg, task)``, which returns a :class:`palestra.integrations.trainer.Trainer`;
``policy_of(content, device)``, which returns the :class:`TrainedPolicy` of a checkpoint's content; and
``native_overlay(values)``, which turns a config file in the library's own form into one with ``agent`` at its root, or
returns None for another.
"""

LIBRARIES = (OURS, *OTHERS)
"""Learners that ``--library`` can choose."""


def check_library(name: str) -> None:
    """Refuse a learner that does not exist.

    Raises:
        ConfigError: unknown library.
    """
    if name not in LIBRARIES:
        raise ConfigError(f"unknown library {name!r}: {did_you_mean(name, LIBRARIES)}")


def load_library(name: str) -> Any:
    """Return the module of another library.

    Raises:
        ConfigError: unknown, or not installed; the message says how to install it.
    """
    check_library(name)
    library = OTHERS[name]
    if not library.installed:
        raise ConfigError(f"--library {name} is not installed: pip install 'palestra[{library.extra}]'")
    return importlib.import_module(f"palestra.integrations.{name}")


def make_trainer(library: str, env: Any, cfg: Any, task: str, world: World) -> Trainer:
    """Return what trains on ``env`` with a library.

    Raises:
        ConfigError: the library is not installed, or does not fit the environment or the number of processes.
    """
    if library == OURS:
        from palestra.rl.runner import OnPolicyRunner

        return OnPolicyRunner(env, cfg, task=task, world=world)
    module = load_library(library)
    if world.size > 1:
        raise ConfigError(f"--library {library} trains in one process here: start it without torchrun")
    return module.make_trainer(env, cfg, task)


def policy_of(content: dict[str, Any], device: torch.device | str = "cpu") -> TrainedPolicy:
    """Return the policy of a checkpoint's content, whichever library trained it.

    Raises:
        ConfigError: its library is not installed.
    """
    if content["library"] == OURS:
        from palestra.rl.policy import policy_of as policy_of_ours

        return policy_of_ours(content, device)
    return load_library(content["library"]).policy_of(content, device)
