"""Inertial measurement unit on a body."""

from __future__ import annotations

from collections.abc import Mapping

import mujoco
import torch
from torch import Tensor

from palestra.assets.asset import Asset
from palestra.config.configclass import configclass
from palestra.errors import ConfigError
from palestra.physics import Engine
from palestra.sensors.frame_transformer import OffsetCfg
from palestra.sensors.sensor_base import SensorBase, SensorBaseCfg, sensor_slice, spec_names
from palestra.utils.lazy import once_per_state
from palestra.utils.math import quat_apply_inverse
from palestra.utils.string import resolve_matching_names


@configclass
class ImuCfg(SensorBaseCfg):
    """Gyroscope and accelerometer; ``prim_path`` names one body."""

    offset: OffsetCfg = OffsetCfg()
    """Pose of the unit in the body frame."""


class ImuData:
    """Readings in the frame of the unit."""

    def __init__(self, engine: Engine, columns: dict[str, slice]) -> None:
        self._engine = engine
        self._columns = columns
        gravity = torch.as_tensor(engine.model.opt.gravity, dtype=torch.float32, device=engine.device)
        self._gravity = torch.nn.functional.normalize(gravity, dim=0).repeat(engine.num_envs, 1)
        self._last_ang_vel = torch.zeros(engine.num_envs, 3, device=engine.device)
        self._restarted = torch.zeros(engine.num_envs, 1, dtype=torch.bool, device=engine.device)
        self._step_dt = 0.0

    def _read(self, what: str) -> Tensor:
        return self._engine.field("sensordata")[:, self._columns[what]]

    @property
    def ang_vel_b(self) -> Tensor:
        """Angular velocity (rad/s), ``(num_envs, 3)``."""
        return self._read("gyro")

    @property
    def lin_acc_b(self) -> Tensor:
        """Specific force of the last physics step (m/s²), ``(num_envs, 3)``: (0, 0, 9.81) at rest, as a real unit."""
        return self._read("acc")

    @property
    def lin_vel_b(self) -> Tensor:
        """Linear velocity (m/s), ``(num_envs, 3)``; no real unit measures it."""
        return self._read("vel")

    @property
    def quat_w(self) -> Tensor:
        """Orientation (w, x, y, z), ``(num_envs, 4)``."""
        return self._read("quat")

    @property
    def pos_w(self) -> Tensor:
        """Position (m), ``(num_envs, 3)``."""
        return self._read("pos")

    @once_per_state
    def projected_gravity_b(self) -> Tensor:
        """Unit vector of gravity, ``(num_envs, 3)``."""
        return quat_apply_inverse(self.quat_w, self._gravity)

    @once_per_state
    def ang_acc_b(self) -> Tensor:
        """Mean angular acceleration over the last control step (rad/s²), ``(num_envs, 3)``."""
        if not self._step_dt:
            return torch.zeros_like(self._last_ang_vel)
        return torch.where(self._restarted, 0.0, (self.ang_vel_b - self._last_ang_vel) / self._step_dt)


class Imu(SensorBase):
    """MuJoCo's gyro, accelerometer, velocimeter and frame sensors at one site."""

    cfg: ImuCfg
    data: ImuData

    def edit_scene(self, scene: mujoco.MjSpec, assets: Mapping[str, Asset]) -> None:
        asset, expression = self._target(assets, self.cfg.prim_path)
        where = f"sensor {self.name!r}, bodies of {asset.name!r}"
        _, names = resolve_matching_names(expression, spec_names(scene, asset.prefix, "bodies"), where=where)
        if len(names) > 1:
            raise ConfigError(f"{where}: an IMU sits on one body; {expression!r} matches {', '.join(names)}")
        site = scene.body(asset.prefix + names[0]).add_site(
            name=f"{self.name}/site", pos=list(self.cfg.offset.pos), quat=list(self.cfg.offset.rot), group=5
        )
        for what, kind in (
            ("gyro", mujoco.mjtSensor.mjSENS_GYRO),
            ("acc", mujoco.mjtSensor.mjSENS_ACCELEROMETER),
            ("vel", mujoco.mjtSensor.mjSENS_VELOCIMETER),
            ("quat", mujoco.mjtSensor.mjSENS_FRAMEQUAT),
            ("pos", mujoco.mjtSensor.mjSENS_FRAMEPOS),
        ):
            sensor = scene.add_sensor(name=f"{self.name}/{what}", type=kind)
            sensor.objtype, sensor.objname = mujoco.mjtObj.mjOBJ_SITE, site.name

    def bind(self, engine: Engine, assets: Mapping[str, Asset]) -> None:
        super().bind(engine, assets)
        engine.field("sensordata")  # registered, so that the first step fills it
        names = ("gyro", "acc", "vel", "quat", "pos")
        self.data = ImuData(engine, {what: sensor_slice(engine, f"{self.name}/{what}") for what in names})

    def begin_step(self, dt: float) -> None:
        """Remember the rate at the start of a control step."""
        self.data._step_dt = dt
        self.data._restarted.zero_()
        self.data._last_ang_vel.copy_(self.data.ang_vel_b)

    def reset(self, env_mask: Tensor) -> None:
        """Report no angular acceleration until the next step: the state jumps."""
        self.data._restarted |= env_mask.unsqueeze(-1)
