"""A small environment whose numbers can be worked out by hand."""

from collections.abc import Callable

import mujoco
import pytest
import torch
from torch import Tensor

from palestra.actuators import ImplicitActuatorCfg
from palestra.assets import Articulation, ArticulationCfg, AssetBaseCfg, RigidObjectCfg
from palestra.envs import ManagerBasedRLEnv, ManagerBasedRLEnvCfg, mdp
from palestra.managers import (
    EventTermCfg,
    ObservationGroupCfg,
    ObservationTermCfg,
    RewardTermCfg,
    SceneEntityCfg,
    TerminationTermCfg,
)
from palestra.scene import InteractiveSceneCfg
from palestra.sensors import ContactSensorCfg, ImuCfg
from palestra.sim import CuboidCfg, GroundPlaneCfg, SimulationCfg, SpecCfg
from palestra.utils import configclass

NUM_ENVS = 3

WALKER = """
<mujoco>
  <worldbody>
    <body name="base">
      <freejoint/>
      <geom type="box" size="0.1 0.1 0.1" mass="2"/>
      <body name="arm" pos="0 0 0.2">
        <joint name="shoulder" axis="0 1 0" range="-57.29577951 57.29577951"/>
        <geom type="sphere" size="0.02" mass="0.5"/>
        <body name="hand" pos="0.3 0 0">
          <joint name="elbow" axis="0 1 0"/>
          <geom type="sphere" size="0.02" mass="0.5"/>
        </body>
      </body>
    </body>
  </worldbody>
</mujoco>
"""
"""A free box with two hinges: the shoulder within ±1 rad, the elbow without limits."""

GRIPPER = """
<mujoco>
  <worldbody>
    <body name="palm">
      <geom type="sphere" size="0.02" mass="1"/>
      <body name="finger_left"><joint name="left" type="slide" axis="0 1 0" range="0 0.04"/>
        <geom type="sphere" size="0.01" mass="0.1"/></body>
      <body name="finger_right"><joint name="right" type="slide" axis="0 -1 0" range="0 0.04"/>
        <geom type="sphere" size="0.01" mass="0.1"/></body>
    </body>
  </worldbody>
</mujoco>
"""


def walker_spec() -> mujoco.MjSpec:
    return mujoco.MjSpec.from_string(WALKER)


def gripper_spec() -> mujoco.MjSpec:
    return mujoco.MjSpec.from_string(GRIPPER)


@configclass
class SceneCfg(InteractiveSceneCfg):
    ground = AssetBaseCfg(spawn=GroundPlaneCfg())
    robot = ArticulationCfg(
        spawn=SpecCfg(func=walker_spec),
        init_state=ArticulationCfg.InitialStateCfg(
            pos=(0.0, 0.0, 5.0), joint_pos={"shoulder": 0.5, "elbow": -0.25}, joint_vel={"elbow": 2.0}
        ),
        actuators={
            "all": ImplicitActuatorCfg(
                joint_names_expr=[".*"],
                effort_limit={"shoulder": 1.5, "elbow": 10.0},
                velocity_limit={"shoulder": 4.0, "elbow": 8.0},
            )
        },
        soft_joint_pos_limit_factor=0.9,
    )
    gripper = ArticulationCfg(
        spawn=SpecCfg(func=gripper_spec),
        init_state=ArticulationCfg.InitialStateCfg(pos=(5.0, 0.0, 1.0)),
        actuators={"fingers": ImplicitActuatorCfg(joint_names_expr=[".*"], stiffness=100.0, damping=5.0)},
    )
    cube = RigidObjectCfg(
        spawn=CuboidCfg(size=(0.2, 0.2, 0.2), mass=1.0),
        init_state=RigidObjectCfg.InitialStateCfg(pos=(0.0, 3.0, 0.1)),
    )
    contacts = ContactSensorCfg(prim_path="robot/.*", history_length=2, track_air_time=True)
    cube_contact = ContactSensorCfg(prim_path="cube/.*", history_length=1)
    imu = ImuCfg(prim_path="robot/base")


@configclass
class ObservationsCfg:
    @configclass
    class PolicyCfg(ObservationGroupCfg):
        joint_pos = ObservationTermCfg(func=mdp.joint_pos_rel)
        velocity = ObservationTermCfg(func=mdp.generated_commands, params={"command_name": "velocity"})
        actions = ObservationTermCfg(func=mdp.last_action)

    policy: PolicyCfg = PolicyCfg()


@configclass
class ActionsCfg:
    effort = mdp.JointEffortActionCfg(asset_name="robot", joint_names=[".*"])
    fingers = mdp.JointPositionActionCfg(asset_name="gripper", joint_names=[".*"], scale=0.01)


@configclass
class CommandsCfg:
    velocity = mdp.UniformVelocityCommandCfg(
        asset_name="robot",
        resampling_time_range=(10.0, 10.0),
        ranges=mdp.UniformVelocityCommandCfg.Ranges(
            lin_vel_x=(-1.0, 1.0), lin_vel_y=(-0.5, 0.5), ang_vel_z=(-2.0, 2.0)
        ),
    )


@configclass
class RewardsCfg:
    alive = RewardTermCfg(func=mdp.is_alive, weight=1.0)
    track = RewardTermCfg(func=mdp.track_lin_vel_xy_exp, weight=2.0, params={"std": 0.5, "command_name": "velocity"})


@configclass
class TerminationsCfg:
    time_out = TerminationTermCfg(func=mdp.time_out, time_out=True)
    fallen = TerminationTermCfg(func=mdp.root_height_below_minimum, params={"minimum_height": 0.5})


@configclass
class EventsCfg:
    reset = EventTermCfg(func=mdp.reset_scene_to_default, mode="reset")


@configclass
class EnvCfg(ManagerBasedRLEnvCfg):
    sim: SimulationCfg = SimulationCfg(dt=0.01, threads=1)
    scene: SceneCfg = SceneCfg(num_envs=NUM_ENVS)
    decimation: int = 2
    episode_length_s: float = 1.0
    seed: int | None = 7
    observations: ObservationsCfg = ObservationsCfg()
    actions: ActionsCfg = ActionsCfg()
    commands: CommandsCfg = CommandsCfg()
    rewards: RewardsCfg = RewardsCfg()
    terminations: TerminationsCfg = TerminationsCfg()
    events: EventsCfg = EventsCfg()


MakeEnv = Callable[..., ManagerBasedRLEnv]


@pytest.fixture
def make_env(request: pytest.FixtureRequest) -> MakeEnv:
    """Build the environment with other settings, e.g. ``make_env(curriculum=...)``; closed after the test."""

    def make(num_envs: int = NUM_ENVS, **settings: object) -> ManagerBasedRLEnv:
        cfg = EnvCfg().replace(**settings)
        cfg.scene.num_envs = num_envs
        env = ManagerBasedRLEnv(cfg)
        request.addfinalizer(env.close)
        env.reset()
        return env

    return make


@pytest.fixture
def env(make_env: MakeEnv) -> ManagerBasedRLEnv:
    """The environment after a reset."""
    return make_env()


@pytest.fixture
def robot(env: ManagerBasedRLEnv) -> Articulation:
    """The walker."""
    return env.scene.articulations["robot"]


def rows(*values: tuple[float, ...] | float) -> Tensor:
    """A tensor with one row an environment."""
    return torch.tensor(values)


def place(
    env: ManagerBasedRLEnv,
    pos: tuple[float, float, float] = (0.0, 0.0, 5.0),
    quat: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0),
    lin_vel: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ang_vel: tuple[float, float, float] = (0.0, 0.0, 0.0),
    joint_pos: tuple[float, float] = (0.0, 0.0),
    joint_vel: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Put the walker of every environment into one state."""
    robot = env.scene.articulations["robot"]
    state = torch.tensor((*pos, *quat, *lin_vel, *ang_vel))
    robot.write_root_state_to_sim(state.repeat(env.num_envs, 1))
    robot.write_joint_state_to_sim(
        torch.tensor(joint_pos).repeat(env.num_envs, 1), torch.tensor(joint_vel).repeat(env.num_envs, 1)
    )
    env.engine.refresh()


def resolved(env: ManagerBasedRLEnv, name: str, **selection: object) -> SceneEntityCfg:
    """A scene entity with its names resolved, as a manager hands it to a term."""
    cfg = SceneEntityCfg(name, **selection)  # type: ignore[arg-type]
    cfg.resolve(env.scene)
    return cfg


def same(actual: Tensor, expected: Tensor | list | float, tol: float = 1e-5) -> None:
    """Check the same values in every environment (or row by row for a two-dimensional expectation)."""
    wanted = torch.as_tensor(expected, dtype=torch.float32)
    torch.testing.assert_close(actual.float(), wanted.expand_as(actual), atol=tol, rtol=1e-5)
