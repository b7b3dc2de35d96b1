"""Histories and delays in static storage: fixed shapes, reset by mask, safe to capture in a CUDA graph."""

from __future__ import annotations

import torch
from torch import Tensor

from palestra.errors import ConfigError


class CircularBuffer:
    """The last ``max_len`` values of a signal of shape ``(batch_size, *shape)``.

    The first value after a reset fills the whole history, so that a difference of two entries starts at zero.
    Storage is shifted instead of indexed by a moving pointer: histories are short, and the order in memory is
    then the order in which an observation reads it.

    Args:
        max_len: number of values kept.
        batch_size: number of environments.
        device: where the storage lies.
        fill: whether the first value after a reset fills the history; otherwise it holds zeros before it.
    """

    def __init__(self, max_len: int, batch_size: int, device: torch.device | str, fill: bool = True) -> None:
        if max_len < 1:
            raise ConfigError(f"CircularBuffer: max_len is {max_len}; it must be at least 1")
        self._max_len, self._fill = max_len, fill
        self._batch_size = batch_size
        self._device = torch.device(device)
        self._num_pushes = torch.zeros(batch_size, dtype=torch.int64, device=self._device)
        self._oldest_kept = torch.full_like(self._num_pushes, max_len - 1)
        self._storage: Tensor | None = None

    @property
    def max_length(self) -> int:
        """Number of values kept."""
        return self._max_len

    @property
    def batch_size(self) -> int:
        """Number of environments."""
        return self._batch_size

    @property
    def device(self) -> torch.device:
        """Where the storage lies."""
        return self._device

    @property
    def current_length(self) -> Tensor:
        """Number of values appended since the reset, at most ``max_length``; shape ``(batch_size,)``."""
        return self._num_pushes.clamp_max(self._max_len)

    @property
    def buffer(self) -> Tensor:
        """The history, oldest value first, ``(batch_size, max_length, *shape)``; a view of the storage."""
        return self._allocated()

    @property
    def newest(self) -> Tensor:
        """The value appended last, ``(batch_size, *shape)``; a view of the storage."""
        return self._allocated()[:, -1]

    def reset(self, env_mask: Tensor | None = None) -> None:
        """Empty the history of the masked environments (``None``: of all)."""
        if env_mask is None:
            self._num_pushes.zero_()
        else:
            self._num_pushes.masked_fill_(env_mask, 0)
        if self._storage is None:
            return
        if env_mask is None:
            self._storage.zero_()
        else:
            self._storage.masked_fill_(self._rows(env_mask), 0)

    def append(self, data: Tensor) -> None:
        """Add one value, ``(batch_size, *shape)``; the oldest is dropped."""
        if self._storage is None:
            shape = (self._batch_size, self._max_len, *data.shape[1:])
            self._storage = torch.zeros(shape, dtype=data.dtype, device=self._device)
        self._storage.copy_(self.appended(data))
        self._num_pushes += 1

    def appended(self, data: Tensor) -> Tensor:
        """Return the history as ``append(data)`` would leave it, without changing it.

        The terminal observation of an episode needs this: it belongs to the old history.
        """
        newest = data.unsqueeze(1)
        if self._storage is None:
            filled = newest.repeat(1, self._max_len, *[1] * (data.dim() - 1))
            return filled if self._fill else torch.cat((torch.zeros_like(filled[:, 1:]), newest), dim=1)
        shifted = torch.cat((self._storage[:, 1:], newest), dim=1)
        if not self._fill:
            return shifted
        return torch.where(self._rows(self._num_pushes == 0), newest, shifted)

    def peek(self, data: Tensor, key: Tensor) -> Tensor:
        """Return what ``append(data)`` and then ``[key]`` would, without changing the history."""
        oldest = self._num_pushes.clamp_max(self._max_len - 1) if self._fill else self._oldest_kept
        return self._pick(self.appended(data), torch.minimum(key, oldest))

    def __getitem__(self, key: Tensor | int) -> Tensor:
        """Return the value ``key`` appends ago (0 is the newest), shape ``(batch_size, *shape)``.

        Args:
            key: one number, or int64 ``(batch_size,)``; clamped to what is kept (without ``fill``), or to what was
                appended since the reset.
        """
        storage = self._allocated()
        oldest = (self.current_length - 1).clamp_min(0) if self._fill else self._oldest_kept
        age = oldest.clamp_max(key) if isinstance(key, int) else torch.minimum(key, oldest)
        return self._pick(storage, age)

    def _pick(self, storage: Tensor, age: Tensor) -> Tensor:
        """Return the value of each environment that is ``age`` appends old."""
        row = (self._max_len - 1 - age).view(-1, *[1] * (storage.dim() - 1))
        return storage.gather(1, row.expand(-1, 1, *storage.shape[2:])).squeeze(1)

    def _rows(self, values: Tensor) -> Tensor:
        """Give one value an environment the dimensions of the storage."""
        dims = 1 if self._storage is None else self._storage.dim() - 1
        return values.view(-1, *[1] * dims)

    def _allocated(self) -> Tensor:
        if self._storage is None:
            raise RuntimeError("CircularBuffer: nothing was appended yet")
        return self._storage


class DelayBuffer:
    """Returns a signal as it was some calls ago, each environment with its own lag.

    Args:
        history_length: largest lag (calls of ``compute``).
        batch_size: number of environments.
        device: where the storage lies.
        fill: whether the first value after a reset is returned until later ones are due; otherwise zeros are.
    """

    def __init__(self, history_length: int, batch_size: int, device: torch.device | str, fill: bool = True) -> None:
        if history_length < 0:
            raise ConfigError(f"DelayBuffer: history_length is {history_length}; it must not be negative")
        self._history_length = history_length
        self._buffer = CircularBuffer(history_length + 1, batch_size, device, fill)
        self._time_lags = torch.zeros(batch_size, dtype=torch.int64, device=self._buffer.device)

    @property
    def history_length(self) -> int:
        """Largest lag that can be set (calls of ``compute``)."""
        return self._history_length

    @property
    def batch_size(self) -> int:
        """Number of environments."""
        return self._buffer.batch_size

    @property
    def device(self) -> torch.device:
        """Where the storage lies."""
        return self._buffer.device

    @property
    def time_lags(self) -> Tensor:
        """Lag of each environment (calls of ``compute``), int64 ``(batch_size,)``."""
        return self._time_lags

    def set_time_lag(self, time_lag: int | Tensor, env_mask: Tensor | None = None) -> None:
        """Set the lag of the masked environments (``None``: of all).

        Args:
            time_lag: one number, or int64 ``(batch_size,)`` of which the masked rows are read. A tensor is
                clamped to ``[0, history_length]``, because reading it on the host would synchronise.
            env_mask: bool ``(batch_size,)``.

        Raises:
            ConfigError: a number outside ``[0, history_length]``.
        """
        if isinstance(time_lag, int):
            if not 0 <= time_lag <= self._history_length:
                raise ConfigError(f"DelayBuffer: time lag is {time_lag}; allowed: 0 to {self._history_length}")
            lags = torch.full_like(self._time_lags, time_lag)
        else:
            lags = time_lag.to(torch.int64).clamp(0, self._history_length)
        self._time_lags.copy_(lags if env_mask is None else torch.where(env_mask, lags, self._time_lags))

    def reset(self, env_mask: Tensor | None = None) -> None:
        """Forget the signal of the masked environments; lags stay."""
        self._buffer.reset(env_mask)

    def compute(self, data: Tensor) -> Tensor:
        """Append the present value and return that of ``time_lags`` calls ago.

        As long as fewer values were appended since the reset, the first of them is returned (without ``fill``: zero).
        """
        self._buffer.append(data)
        return self._buffer[self._time_lags]

    def peek(self, data: Tensor) -> Tensor:
        """Return what ``compute(data)`` would, without remembering anything."""
        return self._buffer.peek(data, self._time_lags)
