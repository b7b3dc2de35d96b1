"""Small scenes whose numbers can be worked out by hand, and how to drive them without an environment."""

from collections.abc import Mapping
from typing import Any

import mujoco
import torch
from torch import Tensor

from palestra.actuators import ImplicitActuatorCfg
from palestra.assets import Articulation, ArticulationCfg, AssetBaseCfg
from palestra.robots.unitree_go2 import UNITREE_GO2_CFG
from palestra.scene import InteractiveScene, InteractiveSceneCfg
from palestra.sim import GroundPlaneCfg, SimulationCfg, SpecCfg
from palestra.utils import configclass

HINGES = """
<mujoco>
  <worldbody>
    <body name="base">
      <geom type="sphere" size="0.05" mass="1"/>
      <body name="upper" pos="0 0 0.1">
        <joint name="shoulder" axis="0 1 0" range="-90 90"/>
        <geom type="capsule" fromto="0 0 0 0.3 0 0" size="0.02" mass="0.4"/>
        <body name="lower" pos="0.3 0 0">
          <joint name="elbow" axis="0 1 0" range="-120 60"/>
          <geom type="capsule" fromto="0 0 0 0.2 0 0" size="0.02" mass="0.2"/>
          <body name="rod" pos="0.2 0 0">
            <joint name="slide" type="slide" axis="1 0 0"/>
            <geom type="box" size="0.02 0.02 0.02" mass="0.1"/>
          </body>
        </body>
      </body>
    </body>
  </worldbody>
</mujoco>
"""
"""A fixed arm: shoulder in [-π/2, π/2], elbow in [-2π/3, π/3], a slide without limits."""

FLOATING = HINGES.replace('<body name="base">', '<body name="base"><freejoint/>')
"""The same on a floating base."""

PENDULUM = """
<mujoco>
  <worldbody>
    <body name="pivot" pos="0 0 2">
      <body name="bob">
        <joint name="swing" axis="0 1 0"/>
        <geom type="sphere" pos="0 0 -0.5" size="0.01" mass="2" contype="0" conaffinity="0"/>
      </body>
    </body>
  </worldbody>
</mujoco>
"""
"""2 kg half a metre below a hinge: inertia m l² = 0.5 kg·m² (and 0.4·m·r² of the sphere)."""


def spawn(xml: str) -> SpecCfg:
    """Spawn a model from MJCF text."""
    return SpecCfg(func=lambda: mujoco.MjSpec.from_string(xml))


def robot_cfg(xml: str, actuators: Mapping[str, Any] | None = None, **init: Any) -> ArticulationCfg:
    """Return an articulation; by default every joint has a torque actuator without gains."""
    groups = {"all": ImplicitActuatorCfg(joint_names_expr=[".*"])} if actuators is None else dict(actuators)
    return ArticulationCfg(
        prim_path="{ENV_REGEX_NS}/Robot",
        spawn=spawn(xml),
        init_state=ArticulationCfg.InitialStateCfg(**init),
        actuators=groups,
    )


@configclass
class QuadrupedSceneCfg(InteractiveSceneCfg):
    """A Go2 on the ground."""

    ground = AssetBaseCfg(spawn=GroundPlaneCfg())
    robot: ArticulationCfg = UNITREE_GO2_CFG


class World:
    """A scene with its engine; :meth:`run` is the middle part of an environment's step."""

    def __init__(self, num_envs: int = 2, sim: SimulationCfg | None = None, **entities: Any) -> None:
        cfg = InteractiveSceneCfg(num_envs=num_envs)
        self.sim = SimulationCfg(dt=0.005, threads=1) if sim is None else sim
        self.scene = InteractiveScene(cfg, self.sim)
        for name, entity in entities.items():
            self.scene._add(name, entity)
        self.engine = self.scene.build()
        self.num_envs = num_envs
        self.reset()

    @property
    def robot(self) -> Articulation:
        return self.scene.articulations["robot"]

    def mask(self, *rows: int) -> Tensor:
        """Return a mask that is true in some environments, or in all if none is named."""
        mask = torch.zeros(self.num_envs, dtype=torch.bool)
        mask[list(rows) if rows else slice(None)] = True
        return mask.to(self.engine.device)

    def reset(self, *rows: int) -> None:
        """Put environments (all by default) into the default state."""
        mask = self.mask(*rows)
        self.scene.reset(mask, lambda low, high, shape: torch.full((self.num_envs, *shape), high, device=mask.device))
        self.engine.refresh(mask)

    def run(self, control_steps: int = 1, decimation: int = 1) -> None:
        """Take control steps of ``decimation`` physics steps, as an environment does."""
        dt = self.sim.dt * decimation
        for _ in range(control_steps):
            self.scene.begin_step(dt)
            if self.scene.needs_substeps:
                for _ in range(decimation):
                    self.scene.write_data_to_sim()
                    self.engine.step(1)
            else:
                self.scene.write_data_to_sim()
                self.engine.step(decimation)
            self.scene.update(dt)


def quadruped_scene(num_envs: int, **sim: Any) -> InteractiveScene:
    """Return a Go2 scene, built."""
    settings = {"dt": 0.005, "threads": 1, **sim}
    scene = InteractiveScene(QuadrupedSceneCfg(num_envs=num_envs), SimulationCfg(**settings))
    scene.build()
    return scene


def host_copy(world: World, env: int = 0) -> tuple[mujoco.MjModel, mujoco.MjData]:
    """Return the model and a plain MjData at one environment's state, after mj_forward."""
    engine = world.engine
    model, data = engine.model, mujoco.MjData(engine.model)
    data.qpos[:] = engine.field("qpos")[env].cpu().numpy()
    data.qvel[:] = engine.field("qvel")[env].cpu().numpy()
    mujoco.mj_forward(model, data)
    return model, data
