"""The CUDA engine: MuJoCo Warp, with zero-copy tensors over its arrays and the substeps in one CUDA graph."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import mujoco
import mujoco_warp as mjw
import numpy as np
import torch
import warp as wp
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from palestra.errors import ConfigError, did_you_mean
from palestra.physics.base import WRITABLE, Capacity, Columns, Engine, OverflowReport
from palestra.physics.capacity import most_convex_collisions, probe_capacity
from palestra.physics.capture import current_warp_stream
from palestra.physics.field_contacts_warp import FieldContacts
from palestra.physics.inertial_constants import DERIVED, VARIABLE, InertialConstants, covers
from palestra.physics.inertial_constants_warp import set_constants
from palestra.physics.newton import why_not
from palestra.physics.newton_warp import NewtonSolver
from palestra.utils.row_fusion import flush

if TYPE_CHECKING:
    from palestra.sim import SimulationCfg

_LOG = logging.getLogger(__name__)

_FORCES = {"actuator_force", "qfrc_actuator", "qfrc_constraint", "cacc", "cfrc_int", "cfrc_ext"}

_DERIVED = (
    "body_subtreemass",
    "dof_invweight0",
    "body_invweight0",
    "tendon_invweight0",
    "tendon_length0",
    "actuator_acc0",
)
_BOUNDS = ("geom_aabb", "geom_rbound")

_OVERFLOW_SETTINGS = {
    "NEFC": "sim.njmax",
    "NJMAX_NNZ": "sim.njmax",
    "BROADPHASE": "sim.nconmax",
    "NARROWPHASE": "sim.nconmax",
    "CCD": "sim.nconmax",
    "CONTACT_MATCH": "sim.contact_sensor_maxmatch",
}


class CudaEngine(Engine):
    """``num_envs`` worlds of one ``mujoco_warp`` model on one GPU.

    Buffers for contacts and constraint rows are fixed. ``sim.nconmax`` and ``sim.njmax`` set them per
    environment; left at ``None`` they come from a short probe on the CPU (:func:`probe_capacity`).
    """

    def __init__(self, model: mujoco.MjModel, num_envs: int, cfg: SimulationCfg, device: torch.device) -> None:
        self.model, self.num_envs = model, num_envs
        self.device = torch.device("cuda", device.index or 0)
        _claim(self.device)
        wp.config.log_level = wp.LOG_WARNING  # no line for each kernel module
        wp.init()
        self._wp_device = wp.device_from_torch(self.device)
        self.capacity = self._capacity(model, cfg)
        convex = most_convex_collisions(model, cfg.own_field_contacts)
        with wp.ScopedDevice(self._wp_device):
            self._m = mjw.put_model(_without_autoreset_flag(model))
            self._m.opt.warn_overflow = 0  # it prints from kernels; overflow() counts instead
            self._m.opt.graph_conditional = cfg.solver_early_exit
            if cfg.own_field_contacts and FieldContacts.wanted(model, self._m):
                FieldContacts(model, self._m, num_envs)
            if cfg.contact_sensor_maxmatch is not None:
                self._m.opt.contact_sensor_maxmatch = cfg.contact_sensor_maxmatch
            self._d = mjw.make_data(
                model,
                nworld=num_envs,
                nconmax=self.capacity.contacts,
                nccdmax=None if convex is None else min(convex, self.capacity.contacts),
                njmax=self.capacity.constraints,
            )
        self._stream = torch.cuda.Stream(self.device)
        self._branch = wp.Stream(self._wp_device) if can_branch(model) and not self._m.flg_adhesion else None
        self._newton = self._own_solver(cfg)
        self._graphs: dict[int, wp.Graph] = {}
        self._use_graph = cfg.use_cuda_graph
        self._fields: dict[str, Tensor] = {}
        self._expanded: dict[str, Tensor] = {}
        self._derived_used = False
        self._constants: InertialConstants | None = None
        self._overflow = wp.to_torch(self._d.overflow)
        self._overflow_seen = torch.zeros_like(self._overflow)
        self._ray_buffers: dict[int, tuple[wp.array, wp.array, wp.array]] = {}
        self.version = 0
        self.ctrl = self.field("ctrl")
        self.reset()

    @staticmethod
    def _capacity(model: mujoco.MjModel, cfg: SimulationCfg) -> Capacity:
        if cfg.nconmax is not None and cfg.njmax is not None:
            return Capacity(cfg.nconmax, cfg.njmax)
        probed = probe_capacity(model)
        return Capacity(cfg.nconmax or probed.contacts, cfg.njmax or probed.constraints)

    def _own_solver(self, cfg: SimulationCfg) -> NewtonSolver | None:
        """Return the one-kernel solver where it is wanted and can take the place of the engine's."""
        if self._branch is None or not cfg.fused_solver:
            return None
        reason = why_not(self.model, self._d.njmax, bool(self._m.is_sparse))
        if reason is not None:
            _LOG.info("constraints are solved by MuJoCo Warp's own kernels: the model cannot be fused, %s", reason)
            return None
        self._m.opt.run_qacc_smooth = False  # only a start without constraint rows would use it
        return NewtonSolver(self.model, self._d)

    def field(self, name: str) -> Tensor:
        tensor = self._fields.get(name)
        if tensor is None:
            array = getattr(self._d, name, None)
            if not isinstance(array, wp.array):
                names = [n for n in mjw.Data.__dataclass_fields__ if isinstance(getattr(self._d, n, None), wp.array)]
                raise ConfigError(f"the CUDA engine has no data field {name!r}: {did_you_mean(name, names)}")
            tensor = wp.to_torch(array)
            if name in ("xmat", "ximat", "geom_xmat", "site_xmat"):
                tensor = tensor.view(self.num_envs, -1, 9)  # MuJoCo's flat row-major layout
            self._fields[name] = tensor
            if name == "qacc_smooth" and self._newton is not None:  # which does without it
                self._m.opt.run_qacc_smooth = True
                self._forget_graphs()
            if self.is_derived(name):
                self._use_derived()
        return tensor

    def write(self, name: str, values: Tensor, env_mask: Tensor | None = None, columns: Columns = slice(None)) -> None:
        if name not in WRITABLE:
            raise ConfigError(f"field {name!r} cannot be written: {did_you_mean(name, WRITABLE)}")
        _masked_write(self.field(name), values, env_mask, columns)
        self.version += 1

    def step(self, num_substeps: int) -> None:
        with self._scope():
            if not self._use_graph or torch.cuda.is_current_stream_capturing():
                self._substeps(num_substeps)
            else:
                graph = self._graphs.get(num_substeps)
                if graph is None:
                    graph = self._capture(num_substeps)
                wp.capture_launch(graph, stream=self._warp_stream())
        self.version += 1

    def refresh(self, env_mask: Tensor | None = None) -> None:
        if self._derived_used:
            with self._scope():
                self._refresh_stages()
            self.version += 1

    def forward(self) -> None:
        with self._scope():
            mjw.forward(self._m, self._d)
        self.version += 1

    def reset(self, env_mask: Tensor | None = None) -> None:
        self._overflow_seen |= self._overflow  # the engine clears the flags of the worlds that it resets
        with self._scope():
            mask = None if env_mask is None else wp.from_torch(env_mask)
            mjw.reset_data(self._m, self._d, mask)
        for name in _FORCES & self._fields.keys():  # the engine leaves these until the next step; they may be NaN
            forces = self._fields[name]
            if env_mask is None:
                forces.zero_()
            else:
                forces.masked_fill_(env_mask.view(-1, *([1] * (forces.dim() - 1))), 0.0)
        self.version += 1

    def model_field(self, name: str) -> Tensor:
        tensor = self._expanded.get(name)
        if tensor is None:
            path, _, leaf = name.rpartition(".")  # "opt.gravity" is a field of the options
            owner: Any = getattr(self._m, path, None) if path else self._m
            shared: Any = getattr(owner, leaf, None)
            if not isinstance(shared, wp.array):
                raise ConfigError(f"the CUDA engine cannot vary {name!r} per environment")
            values = wp.to_torch(shared)
            if values.shape[0] != 1:
                raise ConfigError(f"the CUDA engine cannot vary {name!r} per environment")
            tensor = values.expand(self.num_envs, *values.shape[1:]).clone().contiguous()
            setattr(owner, leaf, wp.from_torch(tensor, dtype=shared.dtype))
            self._expanded[name] = tensor
            self._forget_graphs()  # captured launches hold the old address
        return tensor

    def write_model(
        self, name: str, values: Tensor, env_mask: Tensor | None = None, columns: Columns = slice(None)
    ) -> None:
        _masked_write(self.model_field(name), values, env_mask, columns)

    def set_const(self, env_mask: Tensor | None = None) -> None:
        # Without the one kernel all worlds are recomputed from their own values: the same result where nothing changed.
        if covers(self.model, self._expanded.keys() - set(DERIVED)):
            self._set_inertial_constants(env_mask)
        else:
            derived = [*_DERIVED, *(_BOUNDS if "geom_size" in self._expanded else ())]
            for name in derived:
                if wp.to_torch(getattr(self._m, name)).numel():
                    self.model_field(name)
            with self._scope():
                mjw.set_const(self._m, self._d)
        self.version += 1

    def _set_inertial_constants(self, env_mask: Tensor | None) -> None:
        """Recompute what depends on inertia; the engine's own way is several hundred kernels for a quadruped."""
        if self._constants is None:
            self._constants = InertialConstants(self.model, self.device)
            self._all_envs = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        fields = tuple(self.model_field(name) for name in VARIABLE)
        derived = tuple(self.model_field(name) for name in DERIVED)
        flush()
        with _disable_current_modes():  # nothing here is an operation on single rows that could be fused
            if self._constants.one_kernel:
                mask = self._all_envs if env_mask is None else env_mask
                set_constants(mask, self._constants.shared, fields, derived)
                return
            for out, value in zip(derived, self._constants.compute(*fields).values(), strict=True):
                if value.numel():
                    out.copy_(value)

    def rays(
        self,
        origins: Tensor,
        directions: Tensor,
        *,
        include_static: bool = True,
        exclude_body: int = -1,
        geom_groups: Sequence[int] | None = None,
    ) -> Tensor:
        self._use_derived()
        num_rays = origins.shape[1]
        groups = (-1,) * 6 if geom_groups is None else tuple(int(k in geom_groups) for k in range(6))
        origins, directions = origins.contiguous(), directions.contiguous()
        with self._scope():
            if num_rays not in self._ray_buffers:
                shape = (self.num_envs, num_rays)
                self._ray_buffers[num_rays] = (
                    wp.zeros(shape, dtype=float),
                    wp.zeros(shape, dtype=int),
                    wp.zeros(shape, dtype=wp.vec3),
                )
            distance, geom, normal = self._ray_buffers[num_rays]
            mjw.rays(
                self._m,
                self._d,
                wp.from_torch(origins, dtype=wp.vec3),
                wp.from_torch(directions, dtype=wp.vec3),
                wp.spatial_vector(*groups),
                include_static,
                wp.full(num_rays, exclude_body, dtype=int),
                distance,
                geom,
                normal,
            )
        return wp.to_torch(distance).clone()

    def overflow(self) -> OverflowReport:
        flags = (self._overflow_seen | self._overflow).cpu().numpy()
        self._overflow_seen.zero_()
        self._overflow.zero_()
        report = OverflowReport()
        for bit, setting in _OVERFLOW_SETTINGS.items():
            count = int(np.count_nonzero(flags & int(mjw.OverflowType[bit])))
            if count:
                report.counts[setting] = max(report.counts.get(setting, 0), count)
        return report

    def host_data(self, env_index: int) -> mujoco.MjData:
        data = mujoco.MjData(self.model)
        for name in ("qpos", "qvel", "ctrl", "mocap_pos", "mocap_quat", "act"):
            target = getattr(data, name)
            if target.size:
                target[:] = self.field(name)[env_index].cpu().numpy()
        mujoco.mj_forward(self.model, data)
        return data

    def host_model(self, env_index: int) -> mujoco.MjModel:
        """The shared host model (per-environment values of expanded fields stay on the GPU)."""
        return self.model

    def _use_derived(self) -> None:
        """From now on refresh what positions and velocities determine: somebody reads it."""
        if not self._derived_used:
            self._derived_used = True
            self._forget_graphs()
            self.refresh()

    def _forget_graphs(self) -> None:
        self._graphs.clear()
        self.layout += 1

    def _substeps(self, num_substeps: int) -> None:
        flags = self._m.opt.disableflags
        for k in range(num_substeps):  # nobody sees the readings of sensors before the last substep
            skipped = 0 if k == num_substeps - 1 else int(mujoco.mjtDisableBit.mjDSBL_SENSOR)
            self._m.opt.disableflags = flags | skipped
            if self._branch is None:
                mjw.step(self._m, self._d)
            else:
                self._step_in_branches(self._branch, with_sensors=not skipped and self.model.nsensor > 0)
        self._m.opt.disableflags = flags
        if self._derived_used:
            self._refresh_stages()

    def _step_in_branches(self, branch: wp.Stream, with_sensors: bool) -> None:
        """``mjw.step``, with contacts and constraint rows found beside the unconstrained dynamics.

        Thousands of small environments do not fill a GPU: a step costs about as much as its longest chain of kernels.
        """
        m, d = self._m, self._d
        main = wp.get_stream(self._wp_device)
        mjw.fwd_kinematics(m, d)
        branch.wait_stream(main)
        with wp.ScopedStream(branch, sync_enter=False):
            mjw.collision(m, d)
            mjw.make_constraint(m, d)
        mjw.crb(m, d)
        mjw.transmission(m, d)
        mjw.fwd_velocity(m, d)
        mjw.fwd_actuation(m, d)
        mjw.fwd_acceleration(m, d, factorize=True)
        main.wait_stream(branch)
        if with_sensors:
            d.sensordata.zero_()
            mjw.sensor_pos(m, d)
            mjw.sensor_vel(m, d)
        if self._newton is None:
            mjw.solve(m, d)
        else:
            self._newton.solve(m, d)
        if m.opt.run_rne_postconstraint or (with_sensors and m.sensor_rne_postconstraint):
            mjw.rne_postconstraint(m, d)
        if with_sensors:
            mjw.sensor_acc(m, d, skip_rne_postconstraint=True)
        integrate = mjw.euler if self.model.opt.integrator == mujoco.mjtIntegrator.mjINT_EULER else mjw.implicit
        integrate(m, d)

    def _refresh_stages(self) -> None:
        mjw.fwd_kinematics(self._m, self._d)
        mjw.com_vel(self._m, self._d)
        if self.model.nsensor:
            mjw.sensor_pos(self._m, self._d)
            mjw.sensor_vel(self._m, self._d)

    def _capture(self, num_substeps: int) -> wp.Graph:
        """Capture the substeps; a warm-up on a saved state loads the kernels first."""
        names = [n for n in (*WRITABLE, "time") if getattr(self._d, n).size]
        saved = {n: wp.clone(getattr(self._d, n)) for n in names}
        self._substeps(num_substeps)
        for name, array in saved.items():
            wp.copy(getattr(self._d, name), array)
        torch.cuda.synchronize(self.device)
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        stream = wp.ScopedStream(wp.stream_from_torch(self._stream))
        with stream, wp.ScopedCapture(force_module_load=False) as capture:
            self._substeps(num_substeps)
        torch.cuda.current_stream(self.device).wait_stream(self._stream)
        self._graphs[num_substeps] = capture.graph
        return capture.graph

    def _warp_stream(self) -> wp.Stream:
        return current_warp_stream(self.device)

    def _scope(self) -> wp.ScopedStream:
        flush()
        return wp.ScopedStream(self._warp_stream(), sync_enter=False)


def can_branch(model: mujoco.MjModel) -> bool:
    """Whether finding contacts and the unconstrained dynamics of a model do not need each other's results."""
    integrators = (
        mujoco.mjtIntegrator.mjINT_EULER,
        mujoco.mjtIntegrator.mjINT_IMPLICIT,
        mujoco.mjtIntegrator.mjINT_IMPLICITFAST,
    )
    of_bodies = bool((model.actuator_trntype == int(mujoco.mjtTrn.mjTRN_BODY)).any())  # adhesion reads the contacts
    flags = int(mujoco.mjtEnableBit.mjENBL_SLEEP) | int(mujoco.mjtEnableBit.mjENBL_ENERGY)
    return (
        model.opt.integrator in integrators
        and not (model.ntendon or model.nflex or of_bodies)
        and not model.opt.enableflags & flags
    )


def _claim(device: torch.device) -> None:
    """Make the GPU the current one, on which Warp, graphs and events work.

    Raises:
        ConfigError: the process already simulates on another one.
    """
    claimed = _CLAIMED.setdefault("device", device)
    if claimed != device:
        raise ConfigError(f"this process already simulates on {claimed}: start another process for {device}")
    torch.cuda.set_device(device)


_CLAIMED: dict[str, torch.device] = {}


def _masked_write(target: Tensor, values: Tensor, env_mask: Tensor | None, columns: Columns) -> None:
    if env_mask is None:
        target[:, columns] = values.to(target.dtype)
        return
    mask = env_mask.view(-1, *([1] * (target.dim() - 1)))
    if isinstance(columns, slice):
        part = target[:, columns]
        torch.where(mask, values.to(target.dtype), part, out=part)
    else:
        target[:, columns] = torch.where(mask, values.to(target.dtype), target[:, columns])


def _without_autoreset_flag(model: mujoco.MjModel) -> mujoco.MjModel:
    """The engine never resets a diverged world by itself, and refuses the flag that asks for that."""
    copied = copy.copy(model)
    copied.opt.disableflags &= ~int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    return copied
