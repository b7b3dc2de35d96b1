"""Assemble one MuJoCo spec from the configured assets and sensors, compile it and bind everything to an engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import mujoco
import torch
from torch import Tensor

from palestra.actuators.actuator import UniformInt
from palestra.assets import Articulation, ArticulationCfg, AssetBaseCfg, RigidObject, RigidObjectCfg
from palestra.errors import ConfigError, did_you_mean
from palestra.physics import Engine, make_engine
from palestra.scene.interactive_scene_cfg import InteractiveSceneCfg
from palestra.sensors import (
    ContactSensor,
    ContactSensorCfg,
    FrameTransformer,
    FrameTransformerCfg,
    Imu,
    ImuCfg,
    RayCaster,
    RayCasterCfg,
    SensorBase,
    SensorBaseCfg,
)
from palestra.sim import DomeLightCfg, SimulationCfg
from palestra.terrains import TerrainImporter, TerrainImporterCfg

_SENSORS: dict[type[SensorBaseCfg], type[SensorBase]] = {
    ContactSensorCfg: ContactSensor,
    ImuCfg: Imu,
    FrameTransformerCfg: FrameTransformer,
    RayCasterCfg: RayCaster,
}


class InteractiveScene:
    """All entities of the environments, by name.

    Names become prefixes in the model (``robot/base_link``), so that two assets never clash. Direct
    environments may add entities to ``articulations``, ``rigid_objects`` and ``sensors`` before :meth:`build`.
    """

    def __init__(self, cfg: InteractiveSceneCfg, sim: SimulationCfg) -> None:
        if not isinstance(cfg.num_envs, int) or cfg.num_envs < 1:
            raise ConfigError(f"scene.num_envs is {cfg.num_envs!r}; it must be a whole number of 1 or more")
        self.cfg, self._sim = cfg, sim
        self.num_envs = cfg.num_envs
        self.articulations: dict[str, Articulation] = {}
        self.rigid_objects: dict[str, RigidObject] = {}
        self.sensors: dict[str, SensorBase] = {}
        self.extras: dict[str, AssetBaseCfg] = {}
        self.spec_edits: list[Callable[[mujoco.MjSpec], None]] = []
        """Changes of the assembled spec before it is compiled."""
        self.terrain: TerrainImporter | None = None
        fixed = {f.name for f in dataclasses.fields(InteractiveSceneCfg)}
        for name, entity in vars(cfg).items():  # also what was added to an instance
            if name not in fixed and not name.startswith("_") and entity is not None:
                self._add(name, entity)

    @property
    def assets(self) -> dict[str, Articulation | RigidObject]:
        """Articulations and rigid objects by name."""
        return {**self.articulations, **self.rigid_objects}

    @property
    def needs_substeps(self) -> bool:
        """Whether some actuator runs between substeps."""
        return any(a.needs_substeps for a in self.articulations.values())

    def build(self) -> Engine:
        """Compile the scene and connect every entity to the engine.

        Raises:
            ConfigError: names that match nothing, files that do not load, a scene that does not compile.
        """
        self.spec = mujoco.MjSpec()
        self._sim.apply_to(self.spec)
        self.spec.visual.global_.offwidth, self.spec.visual.global_.offheight = 1920, 1080
        for name, cfg in self.extras.items():
            self._place_static(name, cfg)
        for name, asset in self.assets.items():
            asset.name = name
            asset.add_to(self.spec)
        for name, sensor in self.sensors.items():
            sensor.name = name
            sensor.terrain = self.terrain
            sensor.edit_scene(self.spec, self.assets)
        for edit in self.spec_edits:
            edit(self.spec)
        if self.terrain is not None:
            self.terrain.restrict_collisions(self.spec, self.assets)
        self.model = self._compile()
        self.engine = make_engine(self.model, self.num_envs, self._sim)
        self.device = self.engine.device
        if self.terrain is None:
            self.env_origins = torch.zeros(self.num_envs, 3, device=self.device)
        else:
            self.terrain.bind(self.num_envs, self.device)
            self.env_origins = self.terrain.env_origins
        for asset in self.assets.values():
            asset.bind(self.engine)
        for sensor in self.sensors.values():
            sensor.bind(self.engine, self.assets)
        return self.engine

    def __getitem__(self, key: str) -> Articulation | RigidObject | SensorBase:
        for group in (self.articulations, self.rigid_objects, self.sensors):
            if key in group:
                return group[key]
        raise ConfigError(f"the scene has no entity {key!r}: {did_you_mean(key, self.keys())}")

    def keys(self) -> list[str]:
        """Names of all entities that have a state."""
        return [*self.articulations, *self.rigid_objects, *self.sensors]

    def begin_step(self, dt: float) -> None:
        """Let entities remember what finite differences over the control step need."""
        for asset in self.assets.values():
            asset.begin_step(dt)
        for sensor in self.sensors.values():
            sensor.begin_step(dt)

    def write_data_to_sim(self) -> None:
        """Send joint targets to the engine."""
        for articulation in self.articulations.values():
            articulation.write_data_to_sim()

    def update(self, dt: float) -> None:
        """Take sensor readings after a control step."""
        for sensor in self.sensors.values():
            sensor.update(dt)

    def reset(self, env_mask: Tensor, uniform_int: UniformInt) -> None:
        """Put the masked environments into the engine's default state and clear all buffers."""
        self.engine.reset(env_mask)
        for articulation in self.articulations.values():
            articulation.reset(env_mask, uniform_int)
            articulation.reset_to_default(env_mask)
        for rigid_object in self.rigid_objects.values():
            rigid_object.reset_to_default(env_mask)
        for sensor in self.sensors.values():
            sensor.reset(env_mask)

    def clone_environments(self, copy_from_source: bool = False) -> None:
        """Nothing to do: environments are rows of the engine. Isaac Lab's direct tasks call it."""

    def filter_collisions(self, global_prim_paths: list[str] | None = None) -> None:
        """Nothing to do: environments never collide with each other. Isaac Lab's direct tasks call it."""

    def _compile(self) -> mujoco.MjModel:
        # Geoms that only look nice cost a tenth of a quadruped's step, so that the simulated model has none.
        spec = self.spec.copy()
        spec.compiler.discardvisual = True
        try:
            return spec.compile()
        except ValueError as error:
            raise ConfigError(f"the scene does not compile: {' '.join(str(error).split())}") from None

    def _add(self, name: str, cfg: object) -> None:
        if isinstance(cfg, ArticulationCfg):
            self.articulations[name] = Articulation(cfg)
        elif isinstance(cfg, RigidObjectCfg):
            self.rigid_objects[name] = RigidObject(cfg)
        elif isinstance(cfg, AssetBaseCfg):
            self.extras[name] = cfg
            if isinstance(cfg, TerrainImporterCfg):
                if self.terrain is not None:
                    raise ConfigError(f"scene.{name} is a second terrain beside scene.{self.terrain.name}")
                self.terrain = TerrainImporter(cfg, name)
        elif isinstance(cfg, SensorBaseCfg):
            self.sensors[name] = self._sensor_class(name, cfg)(cfg)
        else:
            raise ConfigError(f"scene.{name} is a {type(cfg).__name__}; it must be an asset or sensor configuration")

    @staticmethod
    def _sensor_class(name: str, cfg: SensorBaseCfg) -> type[SensorBase]:
        for kind, sensor in _SENSORS.items():
            if isinstance(cfg, kind):
                return sensor
        allowed = ", ".join(kind.__name__ for kind in _SENSORS)
        raise ConfigError(f"scene.{name} is a {type(cfg).__name__}; sensors are {allowed}")

    def _place_static(self, name: str, cfg: AssetBaseCfg) -> None:
        if self.terrain is not None and name == self.terrain.name and self.terrain.terrain is not None:
            self.terrain.place(self.spec)
            return
        if cfg.spawn is None:
            return
        spec = cfg.spawn.build(name)
        frame = self.spec.worldbody.add_frame(pos=list(cfg.init_state.pos), quat=list(cfg.init_state.rot))
        if isinstance(cfg.spawn, DomeLightCfg):
            self.spec.visual.headlight.ambient = spec.visual.headlight.ambient
        self.spec.attach(spec, prefix=f"{name}/", frame=frame)
