"""Terms that only walking tasks use: two-legged gaits, and commands that grow with the robot's skill.

Names and parameters of the reward terms are those of Isaac Lab's velocity tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palestra.assets import Articulation
from palestra.assets.root_writer import RootWriter
from palestra.envs.mdp import UniformVelocityCommand
from palestra.envs.mdp.entities import entity, select
from palestra.envs.mdp.performance import ended, metric_of
from palestra.envs.mdp.rewards import largest_recent_force
from palestra.errors import ConfigError, did_you_mean
from palestra.managers import CurriculumTermCfg, ManagerTermBase, SceneEntityCfg
from palestra.sensors import ContactSensor
from palestra.utils.distributions import check_range
from palestra.utils.math import quat_apply_inverse, yaw_quat

if TYPE_CHECKING:
    from palestra.envs import ManagerBasedRLEnv

__all__ = [
    "feet_air_time_positive_biped",
    "feet_slide",
    "stand_still_joint_deviation_l1",
    "track_ang_vel_z_world_exp",
    "track_lin_vel_xy_yaw_frame_exp",
    "velocity_stages",
]

"""Rewards."""


def track_lin_vel_xy_yaw_frame_exp(
    env: ManagerBasedRLEnv, std: float, command_name: str, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")
) -> Tensor:
    """Reward for following the commanded planar velocity: exp(-‖v_cmd - v‖² / std²), in [0, 1].

    The velocity is that in the gravity-aligned frame that turns with the robot, so that leaning does not count.

    Args:
        env: the environment.
        std: width of the kernel (m/s).
        command_name: command whose first two entries are the velocity (m/s).
        asset_cfg: the robot.
    """
    data = entity(env, asset_cfg.name, RootWriter).data
    velocity = quat_apply_inverse(yaw_quat(data.root_quat_w), data.root_lin_vel_w)
    error = env.command_manager.get_command(command_name)[:, :2] - velocity[:, :2]
    return torch.exp(error.square().sum(dim=-1) / -(std**2))


def track_ang_vel_z_world_exp(
    env: ManagerBasedRLEnv, std: float, command_name: str, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")
) -> Tensor:
    """Reward for turning about the vertical as commanded: exp(-(ω_cmd - ω)² / std²), in [0, 1].

    Args:
        env: the environment.
        std: width of the kernel (rad/s).
        command_name: command whose third entry is the yaw rate (rad/s).
        asset_cfg: the robot.
    """
    rate = entity(env, asset_cfg.name, RootWriter).data.root_ang_vel_w[:, 2]
    error = env.command_manager.get_command(command_name)[:, 2] - rate
    return torch.exp(error.square() / -(std**2))


def feet_air_time_positive_biped(
    env: ManagerBasedRLEnv, command_name: str, threshold: float, sensor_cfg: SceneEntityCfg
) -> Tensor:
    """Reward standing on one foot: how long both feet have kept their state, at most ``threshold`` (s).

    Zero with both feet on the ground or in the air, and where the commanded planar velocity is below 0.1 m/s. The
    sensor needs ``track_air_time=True``.
    """
    data = entity(env, sensor_cfg.name, ContactSensor).data
    air, contact = (select(x, sensor_cfg.body_ids) for x in (data.current_air_time, data.current_contact_time))
    touching = contact > 0.0
    single = (touching.sum(dim=-1) == 1).unsqueeze(-1)
    kept = torch.where(touching, contact, air) * single
    speed = torch.linalg.vector_norm(env.command_manager.get_command(command_name)[:, :2], dim=-1)
    return kept.amin(dim=-1).clamp(max=threshold) * (speed > 0.1)


def feet_slide(
    env: ManagerBasedRLEnv, sensor_cfg: SceneEntityCfg, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")
) -> Tensor:
    """Sum of the horizontal speeds (m/s) of the feet that touch something with more than 1 N.

    Args:
        env: the environment.
        sensor_cfg: contact sensor and its bodies.
        asset_cfg: the robot and the same bodies, in the same order.
    """
    touching = largest_recent_force(env, sensor_cfg) > 1.0
    velocity = select(entity(env, asset_cfg.name, Articulation).data.body_lin_vel_w, asset_cfg.body_ids)
    return (torch.linalg.vector_norm(velocity[..., :2], dim=-1) * touching).sum(dim=-1)


def stand_still_joint_deviation_l1(
    env: ManagerBasedRLEnv,
    command_name: str,
    command_threshold: float = 0.06,
    asset_cfg: SceneEntityCfg = SceneEntityCfg("robot"),
) -> Tensor:
    """Sum of the distances of the joints from their default positions (rad), where the robot is told to stand.

    It is told so where the commanded planar speed is below ``command_threshold`` (m/s).
    """
    data = entity(env, asset_cfg.name, Articulation).data
    deviation = select(data.joint_pos, asset_cfg.joint_ids) - select(data.default_joint_pos, asset_cfg.joint_ids)
    speed = torch.linalg.vector_norm(env.command_manager.get_command(command_name)[:, :2], dim=-1)
    return deviation.abs().sum(dim=-1) * (speed < command_threshold)


"""Curriculum."""


class velocity_stages(ManagerTermBase):  # noqa: N801 - a term, named like the functions
    """Teach walking in stages: command ranges that are exchanged for the next once the present ones are mastered.

    Two means over finished episodes are kept: the share that ended by the time limit (``survival``), and the mean of
    the tracking rewards as a share of their maximum (``tracking``). They start anew with each stage and, after
    ``episodes`` times ``num_envs`` episodes, forget exponentially. A stage is left for the next when that many episodes
    have ended in it and both means have reached the stage's bounds; none is ever returned to. All of it stays on the
    device, so that a captured step needs no new capture.
    """

    def __init__(self, cfg: CurriculumTermCfg, env: ManagerBasedRLEnv) -> None:
        super().__init__(cfg, env)
        where = "curriculum velocity_stages"
        command = env.command_manager.get_term(cfg.params["command_name"])
        if not isinstance(command, UniformVelocityCommand):
            raise ConfigError(f"{where}: command {cfg.params['command_name']!r} has no velocity ranges to exchange")
        self._ranges = command.ranges
        stages: Mapping[str, Mapping[str, Any]] = cfg.params["stages"]
        if not stages:
            raise ConfigError(f"{where}: there is no stage")
        self.names = list(stages)
        """Names of the stages, in order."""
        ranges, bounds = [], []
        for name, stage in stages.items():
            known = (*self._ranges.names, "survival", "tracking")
            for key in stage:
                if key not in known:
                    raise ConfigError(f"{where}, stage {name!r}: no entry {key!r}; {did_you_mean(key, known)}")
            ranges.append([self._range(stage, key, f"{where}, stage {name!r}") for key in self._ranges.names])
            bounds.append([float(stage.get("survival", 0.0)), float(stage.get("tracking", 0.0))])
            if not all(0.0 <= bound <= 1.0 for bound in bounds[-1]):
                raise ConfigError(f"{where}, stage {name!r}: survival and tracking are shares, from 0 to 1")
        if not cfg.params.get("episodes", 1.0) > 0.0:
            raise ConfigError(f"{where}: episodes is {cfg.params['episodes']}; it must be above 0")
        if not cfg.params["reward_names"]:
            raise ConfigError(f"{where}: reward_names is empty; name the rewards that tell how well the robot tracks")
        self._tracking = [metric_of(env, f"reward/{name}") for name in cfg.params["reward_names"]]
        self._tables = torch.tensor(ranges, device=self.device)  # (num_stages, num_ranges, 2)
        self._bounds = torch.tensor(bounds, device=self.device)  # (num_stages, 2)
        self.stage = torch.zeros(1, dtype=torch.int64, device=self.device)
        """Index of the present stage, ``(1,)``."""
        self.means = torch.zeros(2, device=self.device)
        """Survival and tracking in the present stage, ``(2,)``."""
        self.count = torch.zeros((), device=self.device)
        """Episodes that have ended in the present stage, 0-dim."""
        self._ranges.table.copy_(self._tables[0])

    def __call__(
        self,
        env: ManagerBasedRLEnv,
        env_mask: Tensor,
        command_name: str,
        reward_names: Sequence[str],
        stages: Mapping[str, Mapping[str, Any]],
        episodes: float = 1.0,
    ) -> dict[str, Tensor]:
        """Take the masked environments' finished episodes into account.

        Args:
            env: the environment.
            env_mask: environments that are about to be reset, bool ``(num_envs,)``.
            command_name: a velocity command.
            reward_names: reward terms with values in [0, 1] whose mean is ``tracking``.
            stages: for each stage, by name and in order, its ranges (``lin_vel_x``, ``lin_vel_y`` (m/s), ``ang_vel_z``
                (rad/s), ``heading`` (rad); the command's own where left out) and what ends it, ``survival`` and
                ``tracking`` (0 where left out).
            episodes: episodes to judge by, as a multiple of ``num_envs``.

        Returns:
            The present stage's index and its two means.
        """
        tracked = torch.zeros(self.num_envs, device=self.device)
        for metric in self._tracking:
            tracked += metric()
        survived = (~env.reset_terminated).to(torch.float32)
        rows = torch.stack((torch.ones_like(tracked), survived, tracked / len(reward_names)))
        totals = (rows * ended(env, env_mask)).sum(dim=1)
        number, new = totals[0], totals[1:] / totals[0].clamp(min=1.0)
        self.count += number
        needed = episodes * self.num_envs
        share = torch.maximum(number / self.count.clamp(min=1.0), 1.0 - torch.exp(-number / needed))
        self.means.lerp_(new, share)
        bounds = self._bounds.index_select(0, self.stage).squeeze(0)
        mastered = (self.means >= bounds).all() & (self.count >= needed) & (self.stage < len(self.names) - 1)
        self.stage += mastered
        self.count.masked_fill_(mastered.squeeze(0), 0.0)
        self._ranges.table.copy_(self._tables.index_select(0, self.stage).squeeze(0))
        return {"stage": self.stage.squeeze(0), "survival": self.means[0], "tracking": self.means[1]}

    def state_dict(self) -> dict[str, Any]:
        """Return the stage and its means."""
        return {"stage": self.stage, "means": self.means, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken; a stage that there is no more becomes the last."""
        self.stage.copy_(state["stage"]).clamp_(max=len(self.names) - 1)
        self.means.copy_(state["means"])
        self.count.copy_(state["count"])
        self._ranges.table.copy_(self._tables.index_select(0, self.stage).squeeze(0))

    def _range(self, stage: Mapping[str, Any], key: str, where: str) -> list[float]:
        if key not in stage:
            return self._ranges[key].tolist()
        check_range(f"{where}: {key}", stage[key])
        return [float(x) for x in stage[key]]
