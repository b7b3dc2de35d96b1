"""Contact forces, air time and contact time between any two sets of bodies, geoms or subtrees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import mujoco
import torch
from torch import Tensor

from palestra.assets.asset import Asset
from palestra.config.configclass import configclass
from palestra.physics import Engine
from palestra.sensors.sensor_base import SensorBase, SensorBaseCfg, sensor_slice, spec_names, split_path
from palestra.utils.string import resolve_matching_names

_CONTACT_FIELDS = (1 << int(mujoco.mjtConDataField.mjCONDATA_FOUND)) | (
    1 << int(mujoco.mjtConDataField.mjCONDATA_FORCE)
)
_REDUCE_NETFORCE = 3


@configclass
class ContactSensorCfg(SensorBaseCfg):
    """Contacts of each matched element with anything, or with the filtered elements only."""

    match: Literal["bodies", "geoms", "subtrees"] = "bodies"
    """What the last part of ``prim_path`` (and of the filters) names."""

    filter_prim_paths_expr: list[str] = []
    """Other side: only contacts with these elements count. Empty means everything. Same syntax as ``prim_path``.

    What never moves has geoms only: ``"ground"`` names all those of the scene's ``ground``.
    """

    track_air_time: bool = False
    """Whether air and contact times are kept."""

    force_threshold: float = 1.0
    """Net force above which an element counts as in contact (N)."""


@dataclass
class ContactSensorData:
    """Readings; ``B`` counts the sensor's elements and ``M`` the filtered ones."""

    net_forces_w: Tensor
    """Net contact force on each element, world frame (N), ``(num_envs, B, 3)``; the newest of the history."""
    net_forces_w_history: Tensor
    """The last readings, newest first, ``(num_envs, max(history_length, 1), B, 3)``."""
    force_matrix_w: Tensor | None
    """Force on each element from each filtered one (N), ``(num_envs, B, M, 3)``; ``None`` without filters."""
    current_air_time: Tensor
    """Time since the last contact (s), ``(num_envs, B)``; 0 in contact."""
    last_air_time: Tensor
    """Length of the last flight (s), ``(num_envs, B)``."""
    current_contact_time: Tensor
    """Time since touch-down (s), ``(num_envs, B)``; 0 in the air."""
    last_contact_time: Tensor
    """Length of the last contact (s), ``(num_envs, B)``."""


class ContactSensor(SensorBase):
    """Reads MuJoCo's contact sensors, one for each pair of a watched and a filtered element.

    Forces are those of the last physics step in a control step; times have the resolution of the control step.
    """

    cfg: ContactSensorCfg
    data: ContactSensorData

    def edit_scene(self, scene: mujoco.MjSpec, assets: Mapping[str, Asset]) -> None:
        kind = "geoms" if self.cfg.match == "geoms" else "bodies"
        watched = self._elements(scene, assets, self.cfg.prim_path, kind)
        self.body_names = [name for _, name in watched]
        objtype = {
            "bodies": mujoco.mjtObj.mjOBJ_BODY,
            "geoms": mujoco.mjtObj.mjOBJ_GEOM,
            "subtrees": mujoco.mjtObj.mjOBJ_XBODY,
        }[self.cfg.match]
        others: list[tuple[mujoco.mjtObj, str] | None] = [None]
        if self.cfg.filter_prim_paths_expr:
            others = []
            for path in self.cfg.filter_prim_paths_expr:
                static = self._static_geoms(scene, assets, path)
                if static:
                    others += [(mujoco.mjtObj.mjOBJ_GEOM, name) for name in static]
                else:
                    others += [(objtype, prefix + name) for prefix, name in self._elements(scene, assets, path, kind)]
        self._sensor_names = []
        for prefix, name in watched:
            for k, other in enumerate(others):
                sensor = scene.add_sensor(name=f"{self.name}/{prefix}{name}/{k}", type=mujoco.mjtSensor.mjSENS_CONTACT)
                sensor.objtype, sensor.objname = objtype, prefix + name
                if other is not None:
                    sensor.reftype, sensor.refname = other
                sensor.intprm[:3] = [_CONTACT_FIELDS, _REDUCE_NETFORCE, 1]
                self._sensor_names.append(sensor.name)
        self._num_filtered = len(others) if self.cfg.filter_prim_paths_expr else 0

    def bind(self, engine: Engine, assets: Mapping[str, Asset]) -> None:
        super().bind(engine, assets)
        starts = [sensor_slice(engine, name).start for name in self._sensor_names]
        # Skip "found": the force follows it. MuJoCo gives the force that the watched element exerts.
        columns = [[start + 1, start + 2, start + 3] for start in starts]
        self._columns = torch.tensor(columns, dtype=torch.int64, device=self.device).flatten()
        n, b, m = self.num_envs, self.num_bodies, self._num_filtered
        history = max(self.cfg.history_length, 1)

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, device=self.device)

        self._times = zeros(4, n, b)
        forces = zeros(n, history, b, 3)
        self.data = ContactSensorData(forces[:, 0], forces, zeros(n, b, m, 3) if m else None, *self._times)
        engine.field("sensordata")

    @property
    def num_bodies(self) -> int:
        """Number of watched elements."""
        return len(self.body_names)

    def find_bodies(self, name_keys: str | Sequence[str], preserve_order: bool = False) -> tuple[list[int], list[str]]:
        """Return indices and names of watched elements by regular expression."""
        where = f"elements of sensor {self.name!r}"
        return resolve_matching_names(name_keys, self.body_names, preserve_order, where)

    def update(self, dt: float) -> None:
        data = self.data
        forces = self._engine.field("sensordata").index_select(1, self._columns).neg_()
        if self.cfg.history_length > 1:
            data.net_forces_w_history[:, 1:] = data.net_forces_w_history[:, :-1].clone()
        if data.force_matrix_w is not None:
            data.force_matrix_w.copy_(forces.view_as(data.force_matrix_w))
            data.net_forces_w.copy_(data.force_matrix_w.sum(dim=2))
        else:
            data.net_forces_w.copy_(forces.view_as(data.net_forces_w))
        if self.cfg.track_air_time:
            self._update_times(dt)

    def reset(self, env_mask: Tensor) -> None:
        mask = env_mask.view(-1, 1, 1, 1)
        self.data.net_forces_w_history.masked_fill_(mask, 0.0)
        if self.data.force_matrix_w is not None:
            self.data.force_matrix_w.masked_fill_(mask, 0.0)
        if self.cfg.track_air_time:
            self._times.masked_fill_(env_mask.view(1, -1, 1), 0.0)

    def compute_first_contact(self, dt: float, abs_tol: float = 1e-6) -> Tensor:
        """Which elements touched down within the last ``dt`` seconds, bool ``(num_envs, B)``."""
        time = self.data.current_contact_time
        return (time > 0.0) & (time < dt + abs_tol)

    def compute_first_air(self, dt: float, abs_tol: float = 1e-6) -> Tensor:
        """Which elements lifted off within the last ``dt`` seconds, bool ``(num_envs, B)``."""
        time = self.data.current_air_time
        return (time > 0.0) & (time < dt + abs_tol)

    def _update_times(self, dt: float) -> None:
        data = self.data
        touching = data.net_forces_w.square().sum(dim=-1) > self.cfg.force_threshold**2
        landed = touching & (data.current_air_time > 0.0)
        lifted = ~touching & (data.current_contact_time > 0.0)
        torch.where(landed, data.current_air_time + dt, data.last_air_time, out=data.last_air_time)
        torch.where(lifted, data.current_contact_time + dt, data.last_contact_time, out=data.last_contact_time)
        data.current_air_time.add_(dt).masked_fill_(touching, 0.0)
        data.current_contact_time.add_(dt).masked_fill_(~touching, 0.0)

    def _elements(
        self, scene: mujoco.MjSpec, assets: Mapping[str, Asset], path: str, kind: str
    ) -> list[tuple[str, str]]:
        asset, expression = self._target(assets, path)
        where = f"sensor {self.name!r}, {kind} of {asset.name!r}"
        _, names = resolve_matching_names(expression, spec_names(scene, asset.prefix, kind), where=where)
        return [(asset.prefix, name) for name in names]

    def _static_geoms(self, scene: mujoco.MjSpec, assets: Mapping[str, Asset], path: str) -> list[str]:
        """Return the full names of the geoms that a path names if it leads to what never moves, else nothing."""
        entity, expression = split_path(path)
        prefix = f"{entity}/"
        names = [geom.name[len(prefix) :] for geom in scene.worldbody.geoms if geom.name.startswith(prefix)]
        if entity in assets or not names:
            return []
        _, matched = resolve_matching_names(expression, names, where=f"sensor {self.name!r}, geoms of {entity!r}")
        return [prefix + name for name in matched]
