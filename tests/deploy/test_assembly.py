"""What terms declare of themselves is what they compute: actions, kinematics and shipped tasks beside the simulation."""

from typing import Any

import mujoco
import numpy as np
import pytest
import torch
from scenes import HINGES, robot_cfg
from tiny import TinyEnvCfg
from torch import Tensor, nn

from palestra.actuators import ImplicitActuatorCfg
from palestra.assets import ArticulationCfg
from palestra.config.registry import make
from palestra.deploy.assembly import UndeclaredError, assemble
from palestra.deploy.check import round_trip
from palestra.deploy.control_step import ControlStep
from palestra.deploy.graph import PolicyGraph
from palestra.envs import ManagerBasedRLEnv, mdp
from palestra.errors import ConfigError
from palestra.managers import ActionTerm, ActionTermCfg, ObservationGroupCfg, ObservationTermCfg
from palestra.robots.franka_panda import FRANKA_PANDA_VELOCITY_CFG
from palestra.scene import InteractiveSceneCfg
from palestra.utils import configclass
from palestra.utils.modifiers import ModifierBase, StatefulModifierCfg


class Acting:
    """A policy with fixed random weights, in the form that the check takes."""

    def __init__(self, env: Any) -> None:
        width = env.observation_dims["policy"]
        with torch.random.fork_rng():
            torch.manual_seed(1)
            network = nn.Sequential(nn.Linear(width, env.num_actions), nn.Tanh())
        self.policy = PolicyGraph(network, ["policy"], width, env.num_actions)

    @torch.no_grad()
    def __call__(self, groups: dict[str, Tensor]) -> Tensor:
        return self.policy(groups["policy"])

    def graph(self) -> PolicyGraph:
        return self.policy


class InTorch:
    """A control step as the check runs its file."""

    def __init__(self, step: ControlStep) -> None:
        self.step, self.input_names, self.output_names = step, step.input_names, step.output_names

    def __call__(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        values = [torch.as_tensor(inputs[name], dtype=torch.float32) for name in self.input_names]
        return dict(zip(self.output_names, (v.numpy() for v in self.step(*values)), strict=True))


def agree(env: Any, count: int = 100, allow_privileged: bool = False) -> tuple[ControlStep, dict[str, float]]:
    """Let the control step run beside the simulation and return it with the largest differences."""
    acting = Acting(env)
    step = assemble(env, acting.graph(), allow_privileged)
    file: Any = InTorch(step)
    found = round_trip(env, acting, acting.graph(), {}, 3, count, step, file)
    env.close()
    return step, found.check["control_step"]["max_error"]


# --- actions ----------------------------------------------------------------------------------------------------------


@configclass
class SceneCfg(InteractiveSceneCfg):
    robot: ArticulationCfg = robot_cfg(
        HINGES,
        {"all": ImplicitActuatorCfg(joint_names_expr=[".*"], stiffness=20.0, damping=1.0)},
        joint_pos={"shoulder": 0.2, "elbow": -0.3},
    )


def arm(**terms: Any) -> ManagerBasedRLEnv:
    cfg = TinyEnvCfg(actions=terms)
    cfg.scene = SceneCfg(num_envs=3)
    return ManagerBasedRLEnv(cfg)


BOTH = {"asset_name": "robot", "joint_names": ["shoulder", "elbow"]}
ACTIONS = {
    "relative": (mdp.RelativeJointPositionActionCfg(**BOTH, scale=0.1), "joint_pos_target"),
    "velocity": (mdp.JointVelocityActionCfg(**BOTH, scale={"elbow": 3.0}, clip={".*": (-0.5, 0.5)}), "joint_vel_target"),
    "effort": (mdp.JointEffortActionCfg(**BOTH, scale=2.0, offset=0.5), "joint_effort_target"),
    "limits": (mdp.JointPositionToLimitsActionCfg(**BOTH, scale=2.0), "joint_pos_target"),
    "within limits": (mdp.JointPositionToLimitsActionCfg(**BOTH, rescale_to_limits=False, scale=3.0), "joint_pos_target"),
    "binary": (
        mdp.BinaryJointPositionActionCfg(
            asset_name="robot", joint_names=["slide"], open_command_expr={"slide": 0.1}, close_command_expr={"slide": 0.0}
        ),
        "joint_pos_target",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_term_commands_what_it_says(name):
    cfg, output = ACTIONS[name]
    step, errors = agree(arm(term=cfg))
    assert set(errors) == {"obs", "actions", output} and max(errors.values()) < 1e-6
    assert step.output_names[0] == output


def test_terms_share_the_joints_among_them():
    env = arm(
        slide=mdp.JointPositionActionCfg(asset_name="robot", joint_names=["slide"]),
        effort=mdp.JointEffortActionCfg(asset_name="robot", joint_names=["elbow"]),
        shoulder=mdp.JointPositionActionCfg(asset_name="robot", joint_names=["shoulder"], scale=0.5),
    )
    step, errors = agree(env)
    assert step.output_names[:2] == ["joint_pos_target", "joint_effort_target"] and max(errors.values()) < 1e-6
    out = dict(zip(step.output_names, step(*step.example()), strict=True))
    action = out["actions"][0]
    wanted = torch.stack((0.2 + 0.5 * action[2], torch.tensor(-0.3), action[0]))
    torch.testing.assert_close(out["joint_pos_target"][0], wanted)
    torch.testing.assert_close(
        out["joint_effort_target"][0], torch.stack((*torch.zeros(1), action[1], *torch.zeros(1)))
    )


class Silent(ActionTerm):
    """Does not say what it commands."""

    action_dim, raw_actions, processed_actions = 1, torch.zeros(3, 1), torch.zeros(3, 1)

    def process_actions(self, actions: Tensor) -> None:
        """Nothing."""

    def apply_actions(self) -> None:
        """Nothing."""


class Sticky(ModifierBase):
    """Remembers without saying how."""

    def reset(self, env_mask: Tensor | None = None) -> None:
        """Nothing."""

    def __call__(self, data: Tensor, push: bool = True) -> Tensor:
        return data


def test_what_cannot_be_expressed_is_named():
    env = arm(silent=ActionTermCfg(class_type=Silent, asset_name="robot"))
    with pytest.raises(ConfigError, match=r"action term 'silent' \(.*Silent\) does not say what it commands"):
        assemble(env, Acting(env).graph())
    env.close()

    @configclass
    class PolicyCfg(ObservationGroupCfg):
        pos = ObservationTermCfg(func=mdp.joint_pos, modifiers=[StatefulModifierCfg(class_type=Sticky)])

    env = ManagerBasedRLEnv(TinyEnvCfg(observations={"policy": PolicyCfg()}))
    with pytest.raises(ConfigError, match="observation term 'pos': modifier Sticky cannot be exported"):
        assemble(env, Acting(env).graph())
    env.close()


@mdp.from_sensors(lambda env: mdp.only_source(mdp.joint_source(env, "robot", "joint_pos")))
def doubled(env: Any) -> Tensor:
    """Two numbers of which the form from sensors gives one."""
    return env.scene["robot"].data.joint_pos.repeat(1, 2)


def test_a_form_of_another_width_is_named():
    @configclass
    class PolicyCfg(ObservationGroupCfg):
        twice = ObservationTermCfg(func=doubled)

    env = ManagerBasedRLEnv(TinyEnvCfg(observations={"policy": PolicyCfg()}))
    with pytest.raises(ConfigError, match=r"observation term 'twice' has 2 numbers, from sensors \(from_sensors\) 1"):
        assemble(env, Acting(env).graph())
    env.close()


# --- kinematics -------------------------------------------------------------------------------------------------------

CHAIN = """
<mujoco>
  <worldbody>
    <body name="base" pos="0.1 0.2 0.3" quat="0.6 0 0.8 0">
      <geom type="sphere" size="0.05" mass="1"/>
      <body name="first" pos="0 0.1 0.2" quat="0.8 0.6 0 0">
        <joint name="turn" axis="0 0.6 0.8" pos="0.05 0 0.02" ref="30"/>
        <joint name="push" type="slide" axis="1 0 0" ref="0.1"/>
        <geom type="sphere" size="0.05" mass="1"/>
        <body name="second" pos="0.3 0 0">
          <joint name="bend" axis="1 0 0"/>
          <geom type="sphere" size="0.05" mass="1"/>
        </body>
      </body>
    </body>
  </worldbody>
</mujoco>
"""
"""Joints off their bodies' origins, with a reference position, two on one body, behind a turned base."""


@pytest.mark.parametrize("in_world", [True, False])
@pytest.mark.parametrize("robot", [robot_cfg(CHAIN), FRANKA_PANDA_VELOCITY_CFG], ids=["chain", "franka"])
def test_kinematics_are_mujocos(robot, in_world):
    cfg = TinyEnvCfg(actions={"all": mdp.JointEffortActionCfg(asset_name="robot", joint_names=[".*"])})
    cfg.scene = InteractiveSceneCfg(num_envs=2)
    cfg.scene.robot = robot
    env = ManagerBasedRLEnv(cfg)
    asset = env.scene.articulations["robot"]
    body, offset = asset.body_names[-1], (0.1, -0.2, 0.3)
    kinematics = mdp.ForwardKinematics(env, "robot", body, offset, in_world)
    model, data = env.scene.model, mujoco.MjData(env.scene.model)
    base = model.body(asset.prefix + asset.body_names[0]).id
    random = np.random.default_rng(2)
    for _ in range(5):
        joint_pos = random.uniform(-1.5, 1.5, asset.num_joints)
        for name, value in zip(asset.joint_names, joint_pos, strict=True):
            data.qpos[model.joint(asset.prefix + name).qposadr[0]] = value
        mujoco.mj_kinematics(model, data)
        frame = data.body(asset.prefix + body)
        rot = frame.xmat.reshape(3, 3)
        pos = frame.xpos + rot @ offset
        if not in_world:
            of_base = data.xmat[base].reshape(3, 3)
            pos, rot = of_base.T @ (pos - data.xpos[base]), of_base.T @ rot
        found = kinematics(torch.tensor(joint_pos, dtype=torch.float32).unsqueeze(0))
        np.testing.assert_allclose(found[0][0], pos, atol=2e-6)
        np.testing.assert_allclose(found[1][0], rot, atol=2e-6)
    with pytest.raises(ConfigError, match="no body 'nose'; there are "):
        mdp.ForwardKinematics(env, "robot", "nose")
    env.close()


# --- tasks ------------------------------------------------------------------------------------------------------------

TASKS = {
    "Ant": (["base_quat", "base_ang_vel", "joint_pos", "joint_vel", "last_action_in"], ["height", "base_lin_vel"]),
    "Cartpole-Direct": (["joint_pos", "joint_vel"], []),
    "Cartpole-NoVelocity": (["joint_pos"], []),
    "Reach-Franka": (["joint_pos", "joint_vel", "command_target"], []),
    "Reach-Franka-Direct": (["joint_pos", "joint_vel", "command_target"], []),
    "Reach-Franka-DR": (["joint_pos", "joint_vel", "command_target", "last_action_in"], []),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_shipped_task_is_computed_from_its_robots_sensors(task):
    sensors, privileged = TASKS[task]
    step, errors = agree(make(task, num_envs=4), allow_privileged=bool(privileged))
    assert set(step.input_names) == {*sensors, *privileged}
    assert {s.name for s in step.sources if s.privileged} == set(privileged)
    assert max(errors.values()) < 1e-5


def test_walking_needs_an_imu_and_encoders_and_a_height_scan_is_a_sensor():
    env = make("Velocity-Rough-Go2", num_envs=2)
    step, errors = agree(env, count=40, allow_privileged=True)
    inputs = set(step.input_names) - {"base_lin_vel"}  # which the policy may or may not see
    sensors = {"base_ang_vel", "base_quat", "joint_pos", "joint_vel", "height_scan"}
    assert inputs == {*sensors, "command_base_velocity", "last_action_in"}
    assert not any(s.privileged for s in step.sources if s.name != "base_lin_vel")
    assert max(errors.values()) < 1e-5


def test_a_direct_environment_that_declares_nothing_is_told_so(monkeypatch):
    env = make("Cartpole-Direct", num_envs=2)
    monkeypatch.setattr(type(env), "targets", lambda self: [])
    with pytest.raises(UndeclaredError, match=r"CartpoleEnv is a direct environment without targets\(\)"):
        assemble(env, Acting(env).graph())
    monkeypatch.setattr(type(env), "observations_from_sensors", lambda self: {})
    with pytest.raises(UndeclaredError, match=r"without observations_from_sensors\(\) for policy"):
        assemble(env, Acting(env).graph())
    env.close()
