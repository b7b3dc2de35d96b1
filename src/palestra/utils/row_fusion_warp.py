"""The kernels of :mod:`palestra.utils.row_fusion` on a GPU."""

# Warp annotates with values.
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

import functools
from typing import Any

import torch
import warp as wp

from palestra.errors import PalestraError
from palestra.physics.capture import launch
from palestra.utils.row_fusion import HELPERS, Program

CAPACITY = 1 << 18
"""Addresses that one recording may need."""

_LANES = 32
"""Threads of a block: few, so that a few thousand rows still occupy every processor of a GPU."""


class ProgramRunner:
    """Records launches of programs; their addresses lie in one table on the device, empty until :meth:`upload`.

    Args:
        device: the CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._table = torch.empty(CAPACITY, dtype=torch.int64, device=device)
        self._addresses: list[int] = []

    def __call__(self, program: Program) -> None:
        first = len(self._addresses)
        self._addresses += program.pointers
        if len(self._addresses) > CAPACITY:
            raise PalestraError(f"a recording with more than {CAPACITY} addresses: record fewer steps at a time")
        table = self._table[first : first + max(1, len(program.pointers))]
        launch(_kernel(program.source), program.rows, self.device, table, block_dim=_LANES)

    def upload(self) -> None:
        """Bring the addresses to the device: after the recording, before its first replay."""
        self._table[: len(self._addresses)].copy_(torch.tensor(self._addresses, dtype=torch.int64))


@functools.cache
def _kernel(source: str) -> Any:
    pointers = "const long long* pointers = (const long long*)table.data;"
    snippet = f"{HELPERS}#if defined(__CUDA_ARCH__)\n{pointers}\n{source}\n#endif\n"

    @wp.func_native(snippet)
    def of_row(row: wp.int64, table: wp.array(dtype=wp.int64)): ...

    # without contraction to a·b + c, so that results are those of one operation after another
    @wp.kernel(enable_backward=False, module="unique", module_options={"fuse_fp": False})
    def rows(table: wp.array(dtype=wp.int64)):
        of_row(wp.int64(wp.tid()), table)

    return rows
