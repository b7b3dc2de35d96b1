"""What all sensors share: naming of what they watch, and their life in the scene."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import mujoco
from torch import Tensor

from palestra.assets.asset import Asset
from palestra.config.configclass import MISSING, configclass
from palestra.errors import ConfigError, did_you_mean
from palestra.physics import Engine

if TYPE_CHECKING:
    from palestra.terrains import TerrainImporter

_ENV_PREFIX = re.compile(r"^(\{ENV_REGEX_NS\}|/World/envs/env_[^/]*)/")


@configclass
class SensorBaseCfg:
    """Common fields of sensors."""

    prim_path: str = MISSING
    """``"{ENV_REGEX_NS}/Robot/<body regex>"`` as in Isaac Lab, or ``"<asset>/<body regex>"``.

    The part before the last ``/`` names the asset, by its name in the scene or the last part of its
    ``prim_path``, without regard to case; the last part is a regular expression over its bodies.
    """

    update_period: float = 0.0
    """Accepted for Isaac Lab's configurations; 0 (every control step) is the only value supported."""

    history_length: int = 0
    """Number of past readings kept."""

    debug_vis: bool = False
    """Whether viewers draw the sensor."""


class SensorBase:
    """One sensor of the scene."""

    name: str = ""
    terrain: TerrainImporter | None = None
    """The scene's terrain, if it has one."""

    def __init__(self, cfg: SensorBaseCfg) -> None:
        if cfg.update_period:
            raise ConfigError(f"sensor {cfg.prim_path!r}: update_period must be 0 (every control step)")
        self.cfg = cfg

    def edit_scene(self, scene: mujoco.MjSpec, assets: Mapping[str, Asset]) -> None:
        """Add what the sensor needs to the scene's spec."""
        raise NotImplementedError

    def bind(self, engine: Engine, assets: Mapping[str, Asset]) -> None:
        """Connect to the engine."""
        self._engine = engine
        self.num_envs, self.device = engine.num_envs, engine.device

    def begin_step(self, dt: float) -> None:
        """Remember what a difference over the coming control step of ``dt`` seconds needs."""

    def update(self, dt: float) -> None:
        """Take a reading after a control step of ``dt`` seconds."""

    def reset(self, env_mask: Tensor) -> None:
        """Forget the past of the masked environments."""

    def _target(self, assets: Mapping[str, Asset], path: str) -> tuple[Asset, str]:
        """Split a path into its asset and its body expression."""
        first, expression = split_path(path)
        key = first.lower()
        found = [n for n in assets if n.lower() == key]
        found = found or [n for n, a in assets.items() if a.cfg.prim_path.rsplit("/", 1)[-1].lower() == key]
        if not found:
            hint = did_you_mean(first, assets)
            raise ConfigError(f"sensor {self.name!r}: no asset {first!r} in {path!r}; {hint}")
        if len(found) > 1:
            raise ConfigError(
                f"sensor {self.name!r}: {first!r} in {path!r} may be {' or '.join(map(repr, found))}; "
                f"write the asset's name in the scene, e.g. '{found[0]}/{expression}'"
            )
        return assets[found[0]], expression


def split_path(path: str) -> tuple[str, str]:
    """Split a path into the entity that it names and the expression over its elements."""
    first, _, expression = _ENV_PREFIX.sub("", path).strip("/").partition("/")
    return first, expression or ".*"


def spec_names(scene: mujoco.MjSpec, prefix: str, kind: str) -> list[str]:
    """Unprefixed names of an asset's bodies or geoms in a scene that is not compiled yet."""
    elements = scene.bodies if kind == "bodies" else scene.geoms
    return [e.name[len(prefix) :] for e in elements if e.name.startswith(prefix)]


def sensor_slice(engine: Engine, name: str) -> slice:
    """Where a sensor's values lie in ``sensordata``."""
    sensor = engine.model.sensor(name)
    start = int(sensor.adr[0])
    return slice(start, start + int(sensor.dim[0]))
