"""The CPU engine: MuJoCo's C core on a thread pool, through ``mujoco.batch``.

MuJoCo keeps each environment as a float64 row. Reads go through float32 mirrors that are copied after a step;
writes go straight to the float64 rows, masked, so that a row that is not written keeps every bit.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import mujoco
import numpy as np
import torch
from mujoco import batch as mujoco_batch
from torch import Tensor

from palestra.errors import ConfigError, did_you_mean
from palestra.physics import field_contacts_host
from palestra.physics.base import ACCELERATION_FIELDS, WRITABLE, Columns, Engine, OverflowReport

if TYPE_CHECKING:
    from palestra.sim import SimulationCfg

_LOG = logging.getLogger(__name__)
_STAGE_VEL = int(mujoco.mjtStage.mjSTAGE_VEL)
_STAGE_NONE = int(mujoco.mjtStage.mjSTAGE_NONE)
_DENSE_JACOBIAN_DOFS = 100  # MuJoCo 4.0.0's sparse solver has a bug, fixed in 4.0.1; dense is also faster here


def _log_warning(message: str) -> None:
    # MuJoCo's default handler prints and appends to a file in the working directory; divergence is
    # handled and counted by the environment, so here it is only worth a debug line.
    _LOG.debug("mujoco: %s", message)


def _stop_timers() -> None:
    """Unset ``mjcb_time``, the clock of MuJoCo's profiler (``MjData.timer``).

    The Python package installs one, and a physics step reads it around each of its stages: a twentieth of a
    quadruped's step, a third of a cart-pole's. The package offers no way to unset it;
    ``mujoco.set_mjcb_time(None)`` brings it back. It is one for the whole process.
    """
    ctypes.c_void_p.in_dll(ctypes.CDLL(mujoco._structs.__file__), "mjcb_time").value = None


class CpuEngine(Engine):
    """``num_envs`` rows of one :class:`mujoco.batch.Batch`; results do not depend on the number of threads."""

    def __init__(self, model: mujoco.MjModel, num_envs: int, cfg: SimulationCfg) -> None:
        mujoco.set_mju_user_warning(_log_warning)
        _stop_timers()
        self.model, self.num_envs, self.device = model, num_envs, torch.device("cpu")
        if model.nv < _DENSE_JACOBIAN_DOFS:
            model.opt.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
        self._own_field_contacts = cfg.own_field_contacts if model.nhfield else None
        threads = min(cfg.threads or torch.get_num_threads(), num_envs)
        self._batch = mujoco_batch.Batch(model, num_envs, threads)
        self._rows: dict[str, np.ndarray] = {}
        self._mirrors: dict[str, tuple[Tensor, Tensor]] = {}
        self._model_rows: dict[str, np.ndarray] = {}
        late = np.repeat(model.sensor_needstage == mujoco.mjtStage.mjSTAGE_ACC, model.sensor_dim)
        self._early_sensors = np.flatnonzero(~late) if late.any() else None
        self._refreshed_stage = _STAGE_NONE
        self.version = 0
        self.ctrl = torch.zeros(num_envs, model.nu)
        self._ctrl_rows = torch.from_numpy(self._batch.bind("ctrl"))
        self._batch.reset(stage=_STAGE_NONE)

    def field(self, name: str) -> Tensor:
        if name == "ctrl":
            return self.ctrl
        mirror = self._mirrors.get(name)
        if mirror is None:
            if name not in mujoco_batch.DATA_FIELDS:
                hint = did_you_mean(name, mujoco_batch.DATA_FIELDS)
                raise ConfigError(f"the CPU engine has no data field {name!r}: {hint}")
            rows = self._batch.bind(name)
            self._rows[name] = rows
            if not rows.flags.writeable:  # a derived field, which torch may only read
                rows = rows.view()
                rows.flags.writeable = True
            source = torch.from_numpy(rows)
            mirror = (torch.empty(source.shape, dtype=torch.float32), source)
            self._mirrors[name] = mirror
            if self.is_derived(name):
                self._refreshed_stage = _STAGE_VEL
                self._batch.forward(stage=_STAGE_VEL)
            mirror[0].zero_()
            self._copy_refreshed(name, slice(None))
        return mirror[0]

    def write(self, name: str, values: Tensor, env_mask: Tensor | None = None, columns: Columns = slice(None)) -> None:
        if name not in WRITABLE:
            raise ConfigError(f"field {name!r} cannot be written: {did_you_mean(name, WRITABLE)}")
        self.field(name)
        self._write_rows(self._rows[name], values, env_mask, columns, self._mirrors[name][0])
        self.version += 1

    def step(self, num_substeps: int) -> None:
        self._choose_contacts()
        self._ctrl_rows.copy_(self.ctrl)
        self._batch.step(nstep=num_substeps, stage=self._refreshed_stage)
        self._copy_all()

    def refresh(self, env_mask: Tensor | None = None) -> None:
        if env_mask is None:
            ids, rows = None, slice(None)
        else:
            ids = np.flatnonzero(env_mask.numpy())
            if ids.size == 0:
                return
            rows = torch.from_numpy(ids)
        if self._refreshed_stage == _STAGE_VEL:
            self._choose_contacts()
            self._batch.forward(ids=ids, stage=_STAGE_VEL)
        for name in self._mirrors:
            self._copy_refreshed(name, rows)
        self.version += 1

    def forward(self) -> None:
        self._choose_contacts()
        self._ctrl_rows.copy_(self.ctrl)
        self._batch.forward()
        self._copy_all()

    def _choose_contacts(self) -> None:
        if self._own_field_contacts is not None:
            field_contacts_host.choose(self._own_field_contacts)

    def reset(self, env_mask: Tensor | None = None) -> None:
        ids = None if env_mask is None else np.flatnonzero(env_mask.numpy())
        if ids is not None and ids.size == 0:
            return
        self._batch.reset(ids=ids, stage=_STAGE_NONE)
        rows = slice(None) if ids is None else torch.from_numpy(ids)
        for name, (mirror, source) in self._mirrors.items():
            if name in WRITABLE:
                mirror[rows] = source[rows].to(torch.float32)
            elif name in ACCELERATION_FIELDS or name == "sensordata":
                mirror[rows] = 0.0
        self.version += 1

    def model_field(self, name: str) -> Tensor:
        return torch.from_numpy(self._expanded(name)).to(torch.float32)

    def write_model(
        self, name: str, values: Tensor, env_mask: Tensor | None = None, columns: Columns = slice(None)
    ) -> None:
        self._write_rows(self._expanded(name), values, env_mask, columns, None)

    def set_const(self, env_mask: Tensor | None = None) -> None:
        ids = None if env_mask is None else np.flatnonzero(env_mask.numpy())
        if ids is None or ids.size:
            self._batch.set_const(ids)

    def rays(
        self,
        origins: Tensor,
        directions: Tensor,
        *,
        include_static: bool = True,
        exclude_body: int = -1,
        geom_groups: Sequence[int] | None = None,
    ) -> Tensor:
        if self._refreshed_stage != _STAGE_VEL:  # the first to ask for poses
            self._refreshed_stage = _STAGE_VEL
            self._batch.forward(stage=_STAGE_VEL)
        groups = None if geom_groups is None else np.array([k in geom_groups for k in range(mujoco.mjNGROUP)], np.uint8)
        distance, _ = self._batch.ray(
            origins.numpy(),
            directions.numpy(),
            geomgroup=groups,
            flg_static=include_static,
            bodyexclude=exclude_body,
        )[:2]
        return torch.from_numpy(distance).to(torch.float32)

    def overflow(self) -> OverflowReport:
        return OverflowReport()  # MuJoCo's C core grows its arena: nothing to overflow

    def host_data(self, env_index: int) -> mujoco.MjData:
        data = self._batch.get_data(env_index)
        data.ctrl[:] = self.ctrl[env_index].numpy()
        mujoco.mj_forward(self.host_model(env_index), data)
        return data

    def host_model(self, env_index: int) -> mujoco.MjModel:
        """The model of one environment, with its own values of expanded fields."""
        return self._batch.get_model(env_index) if self._model_rows else self.model

    def state_rows(self) -> np.ndarray:
        """MuJoCo's integration state (``mjSTATE_INTEGRATION``), float64 ``(num_envs, nstate)``; live."""
        return self._batch.state

    def _expanded(self, name: str) -> np.ndarray:
        if name not in self._model_rows:
            if name not in mujoco_batch.MODEL_FIELDS:
                raise ConfigError(f"the CPU engine cannot vary {name!r} per environment")
            self._model_rows[name] = self._batch.expand(name)
        return self._model_rows[name]

    def _copy_refreshed(self, name: str, rows: slice | Tensor) -> None:
        """Copy what the velocity stage computes; the rest of a row holds whatever its thread worked on before."""
        if name in ACCELERATION_FIELDS:
            return
        mirror, source = self._mirrors[name]
        if name != "sensordata" or self._early_sensors is None:
            mirror[rows] = source[rows].to(torch.float32)
            return
        picked = np.arange(self.num_envs) if isinstance(rows, slice) else rows.numpy()
        index = np.ix_(picked, self._early_sensors)
        mirror.numpy()[index] = source.numpy()[index]

    def _copy_all(self) -> None:
        for mirror, source in self._mirrors.values():
            mirror.copy_(source)
        self.version += 1

    def _write_rows(
        self, rows: np.ndarray, values: Tensor, env_mask: Tensor | None, columns: Columns, mirror: Tensor | None
    ) -> None:
        cols = columns if isinstance(columns, slice) else columns.numpy()
        if env_mask is None:
            rows[:, cols] = values.numpy()
            if mirror is not None:
                mirror[:, columns] = values.to(torch.float32)
            return
        ids = np.flatnonzero(env_mask.numpy())
        if ids.size == 0:
            return
        picked = values.numpy()[ids]
        if isinstance(cols, slice):
            rows[ids, cols] = picked
        else:
            rows[np.ix_(ids, cols)] = picked
        if mirror is not None:
            mirror_rows = mirror.numpy()
            if isinstance(cols, slice):
                mirror_rows[ids, cols] = picked
            else:
                mirror_rows[np.ix_(ids, cols)] = picked
