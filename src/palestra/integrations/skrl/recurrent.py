"""Recurrent models for skrl's ``PPO_RNN``, which leaves them to its users: GRU or LSTM in front of any network."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
from torch import Tensor, nn

_CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}
_KEYS = {"OBSERVATIONS": "observations", "STATES": "states"}


class Recurrent(Model):
    """A recurrent network whose output takes the place of a model's input.

    Args:
        network: skrl's model behind it, made for a space of width ``hidden_size``; only its networks are used.
        spaces: the spaces that skrl gives to models, and the device.
        rnn: the fields of :class:`RnnCfg`.
        num_envs: environments that step together.
    """

    def __init__(self, network: Model, spaces: dict[str, Any], rnn: dict[str, Any], num_envs: int) -> None:
        Model.__init__(self, **spaces)
        self._settings = rnn
        self._num_envs = num_envs
        self._key = _KEYS[rnn["input"]]
        width = self.num_observations if self._key == "observations" else self.num_states
        self.rnn = _CELLS[rnn["type"]](width, rnn["hidden_size"], rnn["num_layers"], batch_first=True)
        self.network = network

    def get_specification(self) -> dict[str, Any]:
        """Return how long sequences are, and the shape ``(layers, num_envs, width)`` of each tensor of the state."""
        shape = (self._settings["num_layers"], self._num_envs, self._settings["hidden_size"])
        count = 2 if self._settings["type"] == "lstm" else 1
        return {"rnn": {"sequence_length": self._settings["sequence_length"], "sizes": [shape] * count}}

    def compute(  # pyright: ignore[reportIncompatibleMethodOverride]  (as skrl calls it)
        self, inputs: dict[str, Any], role: str = ""
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return the network's output, and with it the state after the inputs as ``rnn``.

        In an update the inputs are sequences, one after the other, with the state before each of their rows; when
        acting they are one step of each environment. Without a state, it is zero.
        """
        x = inputs[self._key]
        if "terminated" in inputs:
            features, after = self._sequences(x, inputs["rnn"], inputs["terminated"] | inputs["truncated"])
        else:
            features, after = self._run(x.unsqueeze(1), inputs.get("rnn") or self.blank(x.shape[0], x))
            features = features.squeeze(1)
        output, others = self.network.compute({**inputs, self._key: features}, role=role)
        return output, {**others, "rnn": after}

    def blank(self, rows: int, like: Tensor) -> list[Tensor]:
        """Return the state at the start of an episode, each tensor ``(layers, rows, width)``."""
        return [like.new_zeros(size[0], rows, size[2]) for size in self.get_specification()["rnn"]["sizes"]]

    def _sequences(self, x: Tensor, before: list[Tensor], ended: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Run through sequences ``(sequences * length, width)``; the state is zero again after an end."""
        length = self._settings["sequence_length"]
        x = x.view(-1, length, x.shape[-1])
        ended = ended.view(-1, length)
        state = [part.reshape(part.shape[0], -1, length, part.shape[-1])[:, :, 0].contiguous() for part in before]
        cuts = (ended[:, :-1].any(dim=0).nonzero().flatten() + 1).tolist()
        features = []
        for start, stop in zip([0, *cuts], [*cuts, length], strict=True):
            part, state = self._run(x[:, start:stop], state)
            features.append(part)
            going_on = (~ended[:, stop - 1]).to(x.dtype).view(1, -1, 1)
            state = [part * going_on for part in state]
        return torch.cat(features, dim=1).flatten(0, 1), state

    def _run(self, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Run through ``(rows, steps, width)`` from a state."""
        if len(state) == 1:
            features, after = self.rnn(x, state[0])
            return features, [after]
        features, after = self.rnn(x, tuple(state))
        return features, list(after)


class RecurrentGaussian(GaussianMixin, Recurrent):
    """A Gaussian policy with a memory."""

    def __init__(
        self, network: Model, spaces: dict[str, Any], rnn: dict[str, Any], num_envs: int, **settings: Any
    ) -> None:
        Recurrent.__init__(self, network, spaces, rnn, num_envs)
        GaussianMixin.__init__(self, **settings)


class RecurrentDeterministic(DeterministicMixin, Recurrent):
    """A value function with a memory."""

    def __init__(
        self, network: Model, spaces: dict[str, Any], rnn: dict[str, Any], num_envs: int, **settings: Any
    ) -> None:
        Recurrent.__init__(self, network, spaces, rnn, num_envs)
        DeterministicMixin.__init__(self, **settings)


def behind(rnn: dict[str, Any], spaces: dict[str, Any]) -> dict[str, Any]:
    """Return the spaces that a network behind a recurrent one sees."""
    features = gymnasium.spaces.Box(-np.inf, np.inf, (rnn["hidden_size"],), np.float32)
    return {**spaces, "observation_space" if rnn["input"] == "OBSERVATIONS" else "state_space": features}
