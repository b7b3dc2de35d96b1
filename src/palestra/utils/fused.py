"""When to use a Warp kernel of our own instead of several operations of PyTorch."""

import functools
from importlib.util import find_spec

import torch
from torch import Tensor

from palestra.utils.row_fusion import fusing


def on_gpu(*inputs: Tensor) -> bool:
    """Whether inputs are float32 on a GPU, where the number of operations is what small tensors cost.

    While a recording fuses operations (:mod:`palestra.utils.row_fusion`), a kernel of our own would only part them.
    """
    return all(x.is_cuda and x.dtype == torch.float32 for x in inputs) and _has_warp() and not fusing()


@functools.cache
def _has_warp() -> bool:
    return find_spec("warp") is not None
