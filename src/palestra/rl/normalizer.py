"""Running mean and variance of observations, updated in place."""

import torch
from torch import Tensor, nn

from palestra.rl.distributed import ALONE, World


class EmpiricalNormalization(nn.Module):
    """Centre and scale observations by the mean and standard deviation of everything seen so far.

    ``forward`` is ``(x - mean) / (std + eps)``, without clipping, as in RSL-RL. The buffers are only ever
    written in place: a captured graph that reads them keeps reading the current values. Before the first
    ``update`` the observations pass unchanged but for the factor ``1 / (1 + eps)``.
    """

    def __init__(self, width: int, eps: float = 1e-2) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("_mean", torch.zeros(1, width))
        self.register_buffer("_var", torch.ones(1, width))
        self.register_buffer("_std", torch.ones(1, width))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self._mean: Tensor
        self._var: Tensor
        self._std: Tensor
        self.count: Tensor

    @property
    def mean(self) -> Tensor:
        """Mean of each entry, ``(width,)``."""
        return self._mean[0]

    @property
    def std(self) -> Tensor:
        """Standard deviation of each entry, ``(width,)``, without ``eps``."""
        return self._std[0]

    def forward(self, x: Tensor) -> Tensor:
        return (x - self._mean) / (self._std + self.eps)

    @torch.no_grad()
    def normalize_(self, x: Tensor) -> Tensor:
        """Normalise ``x`` in place and return it."""
        return x.sub_(self._mean).div_(self._std + self.eps)

    @torch.no_grad()
    def update(self, x: Tensor, world: World = ALONE) -> None:
        """Merge the rows of ``x`` ``(rows, width)``, those of all processes, into the statistics.

        Parallel variance, Chan et al. 1979.
        """
        var_x, mean_x = world.var_mean(x, dim=0)
        rows = x.shape[0] * world.size
        self.count += rows
        rate = rows / self.count.to(x.dtype)
        delta = mean_x - self._mean
        self._mean += rate * delta
        self._var += rate * (var_x - self._var + delta * (mean_x - self._mean))
        torch.sqrt(self._var, out=self._std)
