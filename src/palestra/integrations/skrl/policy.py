"""A policy trained with skrl, without its learner: observations in, mean actions out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from skrl.resources.preprocessors.torch import RunningStandardScaler
from torch import Tensor

from palestra.config import apply_overlay, validate
from palestra.config.yaml_io import Overlay
from palestra.integrations.skrl.cfg import SkrlRunnerCfg
from palestra.integrations.skrl.recurrent import Recurrent
from palestra.integrations.skrl.runner import Runner, Spaces
from palestra.rl.storage import concatenate


class SkrlPolicy:
    """The mean action of a policy, preprocessors and action bounds included.

    ``policy(obs)`` takes observation groups, or the policy's observations ``(num_envs, width)`` if it sees no states,
    and returns a new tensor ``(num_envs, num_actions)``. A recurrent policy remembers from call to call.

    Args:
        content: what a checkpoint holds.
        device: where to compute.

    Raises:
        ConfigError: the config in the checkpoint is none of skrl's.
    """

    def __init__(self, content: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.cfg = SkrlRunnerCfg()
        apply_overlay({"agent": self.cfg}, Overlay({"agent": content["config"], "resolved": True}, "checkpoint"))
        validate(self.cfg, "agent")
        self.groups = {"observations": content["observation_groups"], "states": content["state_groups"]}
        dims = content["observation_dims"]
        boxes = {name: _box(sum(dims[group] for group in groups)) for name, groups in self.groups.items()}
        spaces = Spaces(
            observation_space=boxes["observations"],
            state_space=boxes["states"] if self.groups["states"] else None,
            action_space=_box(content["num_actions"], self.cfg.clip_actions),
            device=self.device,
        )
        self.model = Runner.models_of(spaces, self.cfg.native())["policy"]
        self.model.load_state_dict(content["policy"])
        self.model.enable_training_mode(False)
        self.scalers = {name: self._scaler(name, content) for name in self.groups}
        self._memory: list[Tensor] | None = None

    @torch.no_grad()
    def __call__(self, obs: Mapping[str, Any] | Tensor) -> Tensor:
        inputs: dict[str, Any] = {}
        for name, groups in self.groups.items():
            if isinstance(obs, Tensor):
                x = obs if name == "observations" else None
            else:
                x = concatenate(dict(obs), groups) if groups else None
            scaler = self.scalers[name]
            inputs[name] = x if scaler is None else scaler(x)
        if self._memory is not None:
            inputs["rnn"] = self._memory
        actions, outputs = self.model.compute(inputs, role="policy")
        self._memory = outputs.get("rnn")
        bound = self.cfg.clip_actions
        return actions.clone() if bound is None else actions.clamp(-bound, bound)

    def reset(self, done: Tensor | None = None) -> None:
        """Forget where ``done`` ``(num_envs,)`` is true; None forgets all."""
        if done is None:
            self._memory = None
        elif self._memory is not None:
            kept = (~done).view(1, -1, 1)
            self._memory = [part * kept for part in self._memory]

    @property
    def recurrent(self) -> bool:
        """Whether the policy remembers."""
        return isinstance(self.model, Recurrent)

    def _scaler(self, name: str, content: Mapping[str, Any]) -> RunningStandardScaler | None:
        """Return what observations or states pass through."""
        prefix = name.removesuffix("s")
        if getattr(self.cfg.agent, f"{prefix}_preprocessor") is None or not self.groups[name]:
            return None
        settings = getattr(self.cfg.agent, f"{prefix}_preprocessor_kwargs")
        state = content[f"{prefix}_preprocessor"]
        scaler = RunningStandardScaler(len(state["running_mean"]), device=self.device, **settings)
        scaler.load_state_dict(state)
        return scaler


def _box(width: int, bound: float | None = None) -> gymnasium.Space:
    limit = np.inf if bound is None else bound
    return gymnasium.spaces.Box(-limit, limit, (width,), np.float32)
