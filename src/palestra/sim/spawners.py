"""Spawners: what puts bodies and geoms of an asset into the scene's MuJoCo spec."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mujoco

from palestra.config.configclass import MISSING, configclass
from palestra.errors import ConfigError

MJCF_DIR = Path(__file__).parents[1] / "robots" / "mjcf"
"""Folder of the models that ship with Palestra; a file's stem is the name of its robot and of its module."""


@configclass
class SpawnerCfg:
    """Base of all spawners."""

    def build(self, name: str) -> mujoco.MjSpec:
        """Return a spec whose world body holds the asset; its bodies get the prefix ``name/`` in the scene."""
        raise NotImplementedError


@configclass
class MjcfFileCfg(SpawnerCfg):
    """An MJCF (or URDF) file."""

    asset_path: str = MISSING
    """Path of the file, or ``palestra:<file>`` for one that ships with Palestra (in ``palestra/robots/mjcf``).

    The second form holds on every machine, so that a run's ``config.yaml`` does.
    """

    def build(self, name: str) -> mujoco.MjSpec:
        own, _, file = self.asset_path.rpartition(":")
        path = MJCF_DIR / file if own == "palestra" else Path(self.asset_path)
        if not path.is_file():
            raise ConfigError(f"asset {name!r}: no file {str(path)!r}")
        try:
            return mujoco.MjSpec.from_file(str(path))
        except ValueError as error:
            raise ConfigError(f"asset {name!r}: {path.name} does not load: {' '.join(str(error).split())}") from None


@configclass
class SpecCfg(SpawnerCfg):
    """A spec made by a function, for models that are generated or loaded elsewhere."""

    func: Callable[[], mujoco.MjSpec] = MISSING
    """Returns a fresh spec at every call."""

    def build(self, name: str) -> mujoco.MjSpec:
        return self.func()


@configclass
class GroundPlaneCfg(SpawnerCfg):
    """An endless horizontal plane through the asset's position."""

    friction: tuple[float, float, float] = (1.0, 0.005, 0.0001)
    """Sliding (1), torsional (m) and rolling (m) friction."""

    color: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    """Tint of the checker texture (RGBA)."""

    def build(self, name: str) -> mujoco.MjSpec:
        spec = mujoco.MjSpec()
        spec.add_texture(
            name="grid",
            type=mujoco.mjtTexture.mjTEXTURE_2D,
            builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
            mark=mujoco.mjtMark.mjMARK_EDGE,
            rgb1=[0.30, 0.34, 0.38],
            rgb2=[0.25, 0.29, 0.33],
            markrgb=[0.45, 0.48, 0.52],
            width=256,
            height=256,
        )
        material = spec.add_material(name="grid", texrepeat=[2, 2], texuniform=True, reflectance=0.05)
        material.textures[int(mujoco.mjtTextureRole.mjTEXROLE_RGB)] = "grid"
        spec.worldbody.add_geom(
            name="plane",
            type=mujoco.mjtGeom.mjGEOM_PLANE,
            size=[0, 0, 0.5],
            material="grid",
            rgba=list(self.color),
            friction=list(self.friction),
            condim=3,
        )
        return spec


@configclass
class _ShapeCfg(SpawnerCfg):
    """Common fields of the primitive bodies."""

    mass: float | None = None
    """Mass (kg); ``None`` takes 1000 kg/m³."""

    color: tuple[float, float, float, float] = (0.8, 0.4, 0.2, 1.0)
    """RGBA, each in [0, 1]."""

    friction: tuple[float, float, float] = (1.0, 0.005, 0.0001)
    """Sliding (1), torsional (m) and rolling (m) friction."""

    collision: bool = True
    """Whether the shape collides; a marker does not."""

    fixed: bool = False
    """Whether the body is welded to the world instead of free."""

    def _geom(self) -> tuple[mujoco.mjtGeom, list[float]]:
        raise NotImplementedError

    def build(self, name: str) -> mujoco.MjSpec:
        spec = mujoco.MjSpec()
        body = spec.worldbody.add_body(name="body")
        if not self.fixed:
            body.add_freejoint(name="root")
        kind, size = self._geom()
        geom = body.add_geom(
            name="geom", type=kind, size=size, rgba=list(self.color), friction=list(self.friction), condim=4
        )
        if self.mass is not None:
            geom.mass = self.mass
        if not self.collision:
            geom.contype = geom.conaffinity = 0
        return spec


@configclass
class CuboidCfg(_ShapeCfg):
    """A box."""

    size: tuple[float, float, float] = MISSING
    """Edge lengths (m)."""

    def _geom(self) -> tuple[mujoco.mjtGeom, list[float]]:
        return mujoco.mjtGeom.mjGEOM_BOX, [0.5 * edge for edge in self.size]


@configclass
class SphereCfg(_ShapeCfg):
    """A sphere."""

    radius: float = MISSING
    """Radius (m)."""

    def _geom(self) -> tuple[mujoco.mjtGeom, list[float]]:
        return mujoco.mjtGeom.mjGEOM_SPHERE, [self.radius, 0.0, 0.0]


@configclass
class CylinderCfg(_ShapeCfg):
    """A cylinder along z."""

    radius: float = MISSING
    """Radius (m)."""

    height: float = MISSING
    """Full height (m)."""

    def _geom(self) -> tuple[mujoco.mjtGeom, list[float]]:
        return mujoco.mjtGeom.mjGEOM_CYLINDER, [self.radius, 0.5 * self.height, 0.0]


@configclass
class CapsuleCfg(_ShapeCfg):
    """A capsule along z."""

    radius: float = MISSING
    """Radius (m)."""

    height: float = MISSING
    """Height of the cylindrical part (m)."""

    def _geom(self) -> tuple[mujoco.mjtGeom, list[float]]:
        return mujoco.mjtGeom.mjGEOM_CAPSULE, [self.radius, 0.5 * self.height, 0.0]


@configclass
class DomeLightCfg(SpawnerCfg):
    """Light from everywhere: MuJoCo's headlight, whose ambient part it sets."""

    intensity: float = 1000.0
    """Isaac Lab's scale: 1000 is an ambient value of 0.4."""

    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """RGB, each in [0, 1]."""

    def build(self, name: str) -> mujoco.MjSpec:
        spec = mujoco.MjSpec()
        spec.visual.headlight.ambient = [min(0.0004 * self.intensity, 1.0) * c for c in self.color]
        return spec


@configclass
class DistantLightCfg(SpawnerCfg):
    """Parallel light from above, with shadows."""

    intensity: float = 1000.0
    """Isaac Lab's scale: 1000 is a diffuse value of 0.6."""

    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """RGB, each in [0, 1]."""

    def build(self, name: str) -> mujoco.MjSpec:
        spec = mujoco.MjSpec()
        spec.worldbody.add_light(
            name="sun",
            type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
            pos=[0, 0, 5],
            dir=[0.3, 0.2, -1.0],
            diffuse=[min(0.0006 * self.intensity, 1.0) * c for c in self.color],
            castshadow=True,
        )
        return spec
