"""A policy trained with skrl, without its learner: observations in, mean actions out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from skrl.resources.preprocessors.torch import RunningStandardScaler
from torch import Tensor, nn

from palestra.config import apply_overlay, validate
from palestra.config.yaml_io import Overlay
from palestra.deploy.graph import Normalizer, PolicyGraph, SideBySide, memory_of
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
        self.widths = {name: sum(dims[group] for group in groups) for name, groups in self.groups.items()}
        boxes = {name: _box(width) for name, width in self.widths.items()}
        spaces = Spaces(
            observation_space=boxes["observations"],
            state_space=boxes["states"] if self.groups["states"] else None,
            action_space=_box(content["num_actions"], self.cfg.clip_actions),
            device=self.device,
        )
        self.num_actions = content["num_actions"]
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

    def graph(self) -> PolicyGraph:
        """Return the policy as a function of tensors, for export.

        States are part of its input, behind the observations, only if the policy itself looks at them.
        """
        seen = ["observations"]
        if "STATES" in self.cfg.models.policy.inputs() and self.groups["states"]:
            seen.append("states")
        parts = [_normalizer(self.scalers[name]) for name in seen]
        normalizer = parts[0] if len(seen) == 1 else SideBySide([self.widths[name] for name in seen], parts)
        return PolicyGraph(
            MeanAction(self.model, self.widths["observations"], sees_states=len(seen) > 1),
            [group for name in seen for group in self.groups[name]],
            sum(self.widths[name] for name in seen),
            self.num_actions,
            normalizer=normalizer,
            action_limit=self.cfg.clip_actions,
            memory=memory_of(self.model.rnn) if isinstance(self.model, Recurrent) else None,
        )

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


class MeanAction(nn.Module):
    """A model of skrl without its dictionaries: normalised inputs and memory to mean actions and memory.

    Args:
        model: the policy.
        width: width of the observations, behind which the states stand.
        sees_states: whether there are states.
    """

    def __init__(self, model: Any, width: int, sees_states: bool) -> None:
        super().__init__()
        self.model, self.width, self.sees_states = model, width, sees_states

    def forward(self, x: Tensor, *memory: Tensor) -> Tensor | tuple[Tensor, ...]:
        inputs: dict[str, Any] = {"observations": x[:, : self.width] if self.sees_states else x}
        if self.sees_states:
            inputs["states"] = x[:, self.width :]
        if memory:
            inputs["rnn"] = list(memory)
        actions, outputs = self.model.compute(inputs, role="policy")
        return (actions, *outputs["rnn"]) if memory else actions


def _normalizer(scaler: RunningStandardScaler | None) -> Normalizer | None:
    if scaler is None:
        return None
    mean, std = scaler.running_mean.float(), torch.sqrt(scaler.running_variance.float())
    return Normalizer(mean, std + scaler.epsilon, scaler.clip_threshold, "sqrt(var) + epsilon", scaler.epsilon)


def _box(width: int, bound: float | None = None) -> gymnasium.Space:
    limit = np.inf if bound is None else bound
    return gymnasium.spaces.Box(-limit, limit, (width,), np.float32)
