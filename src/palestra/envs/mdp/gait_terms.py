"""Reward for walking to the clock of a :class:`~palestra.envs.mdp.GaitPhaseCommand`."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from palestra.envs.mdp.commands import GaitPhaseCommand
from palestra.envs.mdp.entities import entity
from palestra.errors import ConfigError
from palestra.managers import ManagerTermBase, RewardTermCfg, SceneEntityCfg
from palestra.sensors import ContactSensor

if TYPE_CHECKING:
    from palestra.envs.manager_based import ManagerBasedRLEnv

__all__ = ["feet_gait"]


class feet_gait(ManagerTermBase):  # noqa: N801 - a term, named like the functions
    """Share of the feet whose contact agrees with the clock, in [0, 1].

    The clock is the one that the policy saw when it acted. Feet are matched by name, so that the order of the sensor
    does not matter.
    """

    def __init__(self, cfg: RewardTermCfg, env: ManagerBasedRLEnv) -> None:
        super().__init__(cfg, env)
        self.rebind(cfg)

    def rebind(self, cfg: RewardTermCfg) -> None:
        for name in ("command_name", "sensor_cfg"):
            if name not in cfg.params:
                raise ConfigError(f"parameter {name!r} is missing; it takes command_name, sensor_cfg, threshold")
        command_name, selection = cfg.params["command_name"], copy.copy(cfg.params["sensor_cfg"])
        command = self._env.command_manager.get_term(command_name)
        if not isinstance(command, GaitPhaseCommand):
            raise ConfigError(f"command {command_name!r} is a {type(command).__name__}; it must be a GaitPhaseCommand")
        sensor = entity(self._env, selection.name, ContactSensor)
        selection.resolve(self._env.scene)
        chosen = torch.arange(len(sensor.body_names), device=self.device)[selection.body_ids]
        names = [sensor.body_names[k] for k in chosen.tolist()]
        if sorted(names) != sorted(command.feet):
            raise ConfigError(f"sensor_cfg selects {names}; the feet of command {command_name!r} are {command.feet}")
        order = [sensor.body_names.index(foot) for foot in command.feet]
        self._command, self._sensor = command, sensor
        self._ids = torch.tensor(order, dtype=torch.int64, device=self.device)

    def __call__(
        self, env: ManagerBasedRLEnv, command_name: str, sensor_cfg: SceneEntityCfg, threshold: float = 1.0
    ) -> Tensor:
        """Compute the reward.

        Args:
            env: the environment.
            command_name: the gait command.
            sensor_cfg: contact sensor, and which of its elements are the feet; all by default.
            threshold: force above which a foot is in contact (N).

        Returns:
            The reward, ``(num_envs,)``.
        """
        forces = self._sensor.data.net_forces_w.index_select(1, self._ids)
        contact = forces.square().sum(dim=-1) > threshold**2
        return (contact == self._command.desired_contact).to(torch.float32).mean(dim=-1)
