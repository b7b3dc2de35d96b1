"""Policies that remember: what to tell them when episodes end."""

from typing import Any

from torch import Tensor


def forget(policy: Any, done: Tensor | None = None) -> None:
    """Tell a policy that episodes ended, if it has a memory.

    Args:
        policy: observation groups to actions; if it remembers, it has a method ``reset(done)``.
        done: the environments whose episodes ended, ``(num_envs,)`` bool; None for all.
    """
    reset = getattr(policy, "reset", None)
    if reset is not None:
        reset(done)
