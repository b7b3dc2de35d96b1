"""The contract between the two engines and everything above them.

Both engines hold ``num_envs`` copies of one compiled model and speak MuJoCo's own field names. A field is a
float32 tensor ``(num_envs, ...)`` whose address never changes; it is read in place and written through
:meth:`Engine.write`, so that on the CPU, where MuJoCo keeps float64 rows, untouched rows keep their full
precision.

What a step leaves behind: after :meth:`Engine.step` every field that depends on positions and velocities is
current (poses, ``cvel``, position and velocity sensors); what depends on accelerations (``actuator_force``,
``qacc``, contact forces, force and acceleration sensors) is that of the last substep. No constraint is solved
twice for the refresh, and there is none as long as nobody has read such a field: a walking robot's task may need
nothing but ``qpos``, ``qvel`` and contact forces, and is a tenth faster then.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import mujoco
import torch
from torch import Tensor

from palestra.errors import ConfigError

if TYPE_CHECKING:
    from palestra.sim import SimulationCfg

Columns = slice | Tensor
"""Which entries of a field's second dimension: a slice, or int64 indices on the engine's device."""

WRITABLE = ("qpos", "qvel", "qacc_warmstart", "act", "mocap_pos", "mocap_quat", "xfrc_applied", "qfrc_applied")
"""State and input fields that :meth:`Engine.write` accepts; ``ctrl`` is written in place."""


ACCELERATION_FIELDS = frozenset(
    ("qacc", "qacc_smooth", "qfrc_smooth", "qfrc_actuator", "qfrc_constraint", "qfrc_inverse", "actuator_force")
    + ("act_dot", "cacc", "cfrc_int", "cfrc_ext")
)
"""Fields that a step leaves at their values of its last substep."""


@dataclass(frozen=True)
class Capacity:
    """Fixed buffer sizes per environment on the CUDA engine: contacts and constraint rows."""

    contacts: int
    constraints: int


@dataclass
class OverflowReport:
    """How many environments ran out of a fixed buffer since the last report, by the setting to raise."""

    counts: dict[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """One readable line for each overflow."""
        return [
            f"{count} environments overflowed: raise {setting} (contacts or constraints were dropped)"
            for setting, count in self.counts.items()
        ]


class Engine(ABC):
    """``num_envs`` simulations of one model on one device.

    Attributes:
        model: the compiled model (host), shared by all environments.
        ctrl: actuator inputs, shape ``(num_envs, nu)``; written in place before :meth:`step`.
        version: grows by one whenever a field may have changed; caches of derived quantities compare it.
        layout: grows by one when a model field moves to another address or a step comes to do more; recorded graphs
            compare it.
    """

    model: mujoco.MjModel
    num_envs: int
    device: torch.device
    ctrl: Tensor
    version: int
    layout: int = 0

    @abstractmethod
    def field(self, name: str) -> Tensor:
        """Return MuJoCo's data field ``name`` as float32, shape ``(num_envs, *shape)``, always the same tensor.

        Reading a derived field registers it: it is filled by the next :meth:`step` or :meth:`refresh`.

        Raises:
            ConfigError: the engine has no such field.
        """

    @abstractmethod
    def write(self, name: str, values: Tensor, env_mask: Tensor | None = None, columns: Columns = slice(None)) -> None:
        """Write ``values`` ``(num_envs, k, ...)`` into ``columns`` of a state or input field where the mask is set.

        Rows outside ``env_mask`` (bool, ``(num_envs,)``) keep their exact value; ``None`` writes every row.
        """

    @abstractmethod
    def step(self, num_substeps: int) -> None:
        """Advance every environment by ``num_substeps`` steps with the present ``ctrl``, then refresh."""

    @abstractmethod
    def refresh(self, env_mask: Tensor | None = None) -> None:
        """Recompute the position and velocity stages after writes; where it is cheaper, only for the mask."""

    @abstractmethod
    def forward(self) -> None:
        """Run the whole forward dynamics without integrating, so that accelerations and forces are current."""

    @abstractmethod
    def reset(self, env_mask: Tensor | None = None) -> None:
        """Set the masked environments to the model's default state (``qpos0``, zero elsewhere), unrefreshed."""

    @abstractmethod
    def model_field(self, name: str) -> Tensor:
        """Return model field ``name`` with one value per environment, float32, ``(num_envs, *shape)``.

        The first call gives every environment its own values. Change them with :meth:`write_model`. Options are
        named with their path: ``"opt.gravity"``.
        """

    @abstractmethod
    def write_model(
        self, name: str, values: Tensor, env_mask: Tensor | None = None, columns: Columns = slice(None)
    ) -> None:
        """Write per-environment values of a model field, as :meth:`write` does for the state."""

    @abstractmethod
    def set_const(self, env_mask: Tensor | None = None) -> None:
        """Recompute what MuJoCo derives from masses, inertias, ``qpos0`` … after :meth:`write_model`."""

    @abstractmethod
    def rays(
        self,
        origins: Tensor,
        directions: Tensor,
        *,
        include_static: bool = True,
        exclude_body: int = -1,
        geom_groups: Sequence[int] | None = None,
    ) -> Tensor:
        """Distance along each ray to the nearest geom, −1 for none.

        Args:
            origins: world positions (m), ``(num_envs, num_rays, 3)``.
            directions: world directions; distances are in multiples of their length. Same shape.
            include_static: whether geoms of the world body count.
            exclude_body: id of a body whose geoms are transparent, or −1.
            geom_groups: MuJoCo's geom groups (0 to 5) that count; ``None``: all.

        Returns:
            Distances, ``(num_envs, num_rays)``.
        """

    @abstractmethod
    def overflow(self) -> OverflowReport:
        """Fetch and clear the overflow counters (a host sync; call it between iterations)."""

    @abstractmethod
    def host_data(self, env_index: int) -> mujoco.MjData:
        """Copy one environment into an :class:`mujoco.MjData` with everything computed, for rendering."""

    def is_derived(self, name: str) -> bool:
        """Whether a data field depends on positions and velocities, so that a refresh after a step computes it."""
        if name == "sensordata":
            return bool((self.model.sensor_needstage != mujoco.mjtStage.mjSTAGE_ACC).any())
        return name not in WRITABLE and name not in ("ctrl", "time") and name not in ACCELERATION_FIELDS

    def finite(self) -> Tensor:
        """Which environments have a finite state, bool ``(num_envs,)``."""
        total = self.field("qpos").sum(dim=-1) + self.field("qvel").sum(dim=-1)
        return torch.isfinite(total)

    def close(self) -> None:  # noqa: B027 - engines without resources have nothing to free
        """Free what the engine holds outside Python's memory."""


def make_engine(model: mujoco.MjModel, num_envs: int, cfg: SimulationCfg) -> Engine:
    """Build the engine for ``cfg.device``.

    Raises:
        ConfigError: unknown device, no CUDA, or the ``cuda`` extra is missing.
    """
    if num_envs < 1:
        raise ConfigError(f"num_envs is {num_envs}; it must be 1 or more")
    try:
        device = torch.device(cfg.device)
    except RuntimeError:
        raise ConfigError(f"device {cfg.device!r} is unknown; use 'cpu' or 'cuda:0'") from None
    if device.type == "cpu":
        from palestra.physics.cpu import CpuEngine

        return CpuEngine(model, num_envs, cfg)
    if device.type != "cuda":
        raise ConfigError(f"device {cfg.device!r} has no engine; use 'cpu' or 'cuda:0'")
    if not torch.cuda.is_available():
        raise ConfigError(f"device {cfg.device!r}: PyTorch sees no CUDA GPU here; use --device cpu")
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise ConfigError(f"device {cfg.device!r}: this machine has {torch.cuda.device_count()} GPU(s), from cuda:0")
    try:
        from palestra.physics.cuda import CudaEngine
    except ImportError as error:
        hint = f"pip install 'palestra[cuda]' ({error})"
        raise ConfigError(f"device {cfg.device!r} needs the cuda extra: {hint}") from None
    return CudaEngine(model, num_envs, cfg, device)
