"""Training with several processes: each simulates its own environments, all learn the same networks.

``torchrun`` starts the processes and tells each of them its place; gradients, the KL divergence and the statistics of
advantages and observations are averaged over them on the device (NCCL, or Gloo on CPUs), so that the averages can be
recorded in a CUDA graph with the rest of an update. N processes with E environments each thus learn what one process
with N·E environments would, up to the order of minibatches.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from palestra.errors import ConfigError

COMMAND = "torchrun --standalone --nproc_per_node 2 -m palestra train TASK"
"""How to start a training with two processes."""


@dataclass(frozen=True)
class World:
    """The processes that train together; by default one alone, for which every method is an identity."""

    rank: int = 0
    """Number of this process, from 0."""
    size: int = 1
    """Number of processes."""
    local_rank: int = 0
    """Number of this process on its machine: that of its GPU."""
    local_size: int = 1
    """Number of processes on this machine."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes the logs and the checkpoints."""
        return self.rank == 0

    def place(self, device: str) -> str:
        """Return this process's own device for one that all were given: ``cuda:0`` becomes ``cuda:<local_rank>``."""
        return f"cuda:{self.local_rank}" if device.startswith("cuda") and self.size > 1 else device

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one type by their means over the processes, with one message for all."""
        if self.size == 1:
            return
        import torch.distributed as dist

        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        parts = flat.split([tensor.numel() for tensor in tensors])
        torch._foreach_copy_(  # pyright: ignore[reportPrivateImportUsage]
            list(tensors), [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]
        )

    def var_mean(self, x: Tensor, dim: int | None = None) -> tuple[Tensor, Tensor]:
        """Return variance (not corrected) and mean of the rows of all processes, each with as many rows.

        Args:
            x: ``(rows, ...)``.
            dim: dimension that goes; None for all.
        """
        variance, mean = torch.var_mean(x, dim=dim, correction=0)
        if self.size > 1:
            common = mean.clone()
            self.average_([common])
            variance = variance + (mean - common).square()
            self.average_([variance])
            mean = common
        return variance, mean

    def share_(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors with those of the first process."""
        if self.size > 1:
            import torch.distributed as dist

            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def any(self, flag: bool) -> bool:
        """Return whether ``flag`` is true in any process; all wait for each other on the host."""
        if self.size == 1:
            return flag
        import torch.distributed as dist

        count = torch.tensor(int(flag))
        dist.all_reduce(count)
        return bool(count)


ALONE = World()
"""A single process."""


def world_from_environment() -> World:
    """Return what ``torchrun`` says of this process in its environment variables; ``ALONE`` if it did not start it.

    Raises:
        ConfigError: the variables are not numbers.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return ALONE
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    defaults = {"LOCAL_RANK": os.environ["RANK"], "LOCAL_WORLD_SIZE": os.environ["WORLD_SIZE"]}
    texts = [os.environ.get(name, defaults.get(name, "")) for name in names]
    if not all(text.isdecimal() for text in texts):
        shown = ", ".join(f"{name}={text!r}" for name, text in zip(names, texts, strict=True))
        raise ConfigError(f"the environment variables {shown} must be whole numbers; start with: {COMMAND}")
    return World(*map(int, texts))


@contextmanager
def connected(world: World, device: str) -> Iterator[None]:
    """Connect the processes while the block runs: tensors on GPUs by NCCL, those on the host by Gloo.

    CUDA graphs with messages in them must be freed before the block ends.

    Raises:
        ConfigError: this process has no GPU of its own.
    """
    if world.size == 1:
        yield
        return
    import torch.distributed as dist

    if device.startswith("cuda"):
        if world.local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f"{world.local_size} processes on this machine need {world.local_size} GPUs, but PyTorch sees "
                f"{torch.cuda.device_count()}: start one process for each (--nproc_per_node)"
            )
        torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl", device_id=torch.device(device))
    else:
        dist.init_process_group("gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()
