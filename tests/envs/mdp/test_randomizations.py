"""Randomization terms change the physics itself, never compound, and refuse bad ranges when the environment is built."""

import math
from collections.abc import Mapping
from typing import Any

import mujoco
import pytest
import torch
from torch import Tensor

from palestra.actuators import IdealPDActuatorCfg, ImplicitActuatorCfg
from palestra.assets import ArticulationCfg, AssetBaseCfg, RigidObjectCfg
from palestra.config import load_env_cfg
from palestra.config import make as make_task
from palestra.envs import ManagerBasedRLEnv, ManagerBasedRLEnvCfg, mdp
from palestra.errors import ConfigError
from palestra.managers import (
    EventTermCfg,
    ObservationGroupCfg,
    ObservationTermCfg,
    RewardTermCfg,
    SceneEntityCfg,
    TerminationTermCfg,
)
from palestra.scene import InteractiveSceneCfg
from palestra.sensors import ContactSensorCfg
from palestra.sim import CuboidCfg, GroundPlaneCfg, SimulationCfg, SpecCfg, SphereCfg
from palestra.utils import configclass

ARM = """
<mujoco>
  <worldbody>
    <body name="stand">
      <geom type="sphere" size="0.02" mass="1" contype="0" conaffinity="0"/>
      <body name="link" pos="0 0 0">
        <joint name="hinge" axis="0 0 1" range="-60 60"/>
        <geom type="box" size="0.1 0.02 0.02" pos="0.1 0 0" mass="0.5" contype="0" conaffinity="0"/>
      </body>
    </body>
  </worldbody>
</mujoco>
"""
"""A link of 0.5 kg on a vertical hinge, which gravity does not move; no joint friction, damping or armature."""

G = 9.81
DT = 0.005


def arm_spec() -> mujoco.MjSpec:
    return mujoco.MjSpec.from_string(ARM)


@configclass
class SceneCfg(InteractiveSceneCfg):
    ground = AssetBaseCfg(spawn=GroundPlaneCfg())
    robot: ArticulationCfg = ArticulationCfg(
        spawn=SpecCfg(func=arm_spec),
        init_state=ArticulationCfg.InitialStateCfg(pos=(5.0, 0.0, 1.0)),
        actuators={"all": ImplicitActuatorCfg(joint_names_expr=[".*"], stiffness=2.0, damping=0.4, effort_limit=1.0)},
    )
    box = RigidObjectCfg(
        spawn=CuboidCfg(size=(0.4, 0.4, 0.1), mass=2.0),
        init_state=RigidObjectCfg.InitialStateCfg(pos=(0.0, 0.0, 0.05)),
    )
    ball = RigidObjectCfg(
        spawn=SphereCfg(radius=0.05, mass=0.2), init_state=RigidObjectCfg.InitialStateCfg(pos=(-3.0, 0.0, 0.55))
    )
    press = ContactSensorCfg(prim_path="box/.*")


@configclass
class ActionsCfg:
    hinge = mdp.JointPositionActionCfg(asset_name="robot", joint_names=["hinge"], scale=1.0)


@configclass
class ObservationsCfg:
    @configclass
    class PolicyCfg(ObservationGroupCfg):
        joint_pos = ObservationTermCfg(func=mdp.joint_pos)
        true_joint_pos = ObservationTermCfg(func=mdp.joint_pos, params={"biased": False})
        last_action = ObservationTermCfg(func=mdp.last_action)

    policy: PolicyCfg = PolicyCfg()


@configclass
class RewardsCfg:
    alive = RewardTermCfg(func=mdp.is_alive, weight=1.0)


@configclass
class TerminationsCfg:
    time_out = TerminationTermCfg(func=mdp.time_out, time_out=True)


@configclass
class EnvCfg(ManagerBasedRLEnvCfg):
    sim: SimulationCfg = SimulationCfg(dt=DT, threads=1, iterations=50, integrator="implicitfast")
    scene: SceneCfg = SceneCfg(num_envs=2)
    decimation: int = 1
    episode_length_s: float = 100.0
    seed: int | None = 3
    observations: ObservationsCfg = ObservationsCfg()
    actions: ActionsCfg = ActionsCfg()
    rewards: RewardsCfg = RewardsCfg()
    terminations: TerminationsCfg = TerminationsCfg()
    events: Any = None


BOX, BALL, ROBOT = SceneEntityCfg("box"), SceneEntityCfg("ball"), SceneEntityCfg("robot")


def make(*terms: EventTermCfg, num_envs: int = 2, actuator: Any = None) -> ManagerBasedRLEnv:
    """Build the environment with some events; what they are called does not matter."""
    cfg = EnvCfg()
    cfg.scene.num_envs = num_envs
    cfg.events = {f"event_{k}": term for k, term in enumerate(terms)}
    if actuator is not None:
        cfg.scene.robot.actuators = {"all": actuator}
    env = ManagerBasedRLEnv(cfg)
    env.reset(seed=3)
    return env


def event(func: Any, mode: str = "reset", **params: Any) -> EventTermCfg:
    return EventTermCfg(func=func, mode=mode, params=params)


def only_first(term: type, **params: Any) -> EventTermCfg:
    """The term for environment 0 only, so that environment 1 shows what would have been."""

    class OnlyFirst(term):  # type: ignore[misc, valid-type]
        def __call__(self, env: Any, env_mask: Tensor, **params: Any) -> None:
            super().__call__(env, env_mask & (torch.arange(env.num_envs) == 0), **params)

    OnlyFirst.__call__.__signature__ = _signature(term)  # type: ignore[attr-defined]
    return EventTermCfg(func=OnlyFirst, mode="reset", params=params)


def _signature(term: type) -> Any:
    import inspect

    return inspect.signature(term.__call__)


def steps(env: ManagerBasedRLEnv, seconds: float, action: float = 0.0) -> Any:
    """Run for some seconds and return the last observations."""
    out = None
    for _ in range(round(seconds / env.step_dt)):
        out = env.step(torch.full((env.num_envs, 1), action))
    return out[0]["policy"] if out is not None else None


def launch(env: ManagerBasedRLEnv, name: str, velocity: Mapping[int, float]) -> None:
    """Give an object a velocity (components 0 to 5)."""
    row = torch.zeros(env.num_envs, 6)
    for component, value in velocity.items():
        row[:, component] = value
    env.scene.rigid_objects[name].write_root_velocity_to_sim(row)
    env.engine.refresh()


def position(env: ManagerBasedRLEnv, name: str) -> Tensor:
    return env.scene.rigid_objects[name].data.root_pos_w


def hinge(env: ManagerBasedRLEnv) -> Tensor:
    return env.scene.articulations["robot"].data.joint_pos[:, 0]


def press_force(env: ManagerBasedRLEnv) -> Tensor:
    """Force of the ground on the box (N)."""
    return env.scene["press"].data.net_forces_w[:, 0, 2]  # type: ignore[union-attr]


# -- masses ------------------------------------------------------------------------------------------------


def test_a_heavier_body_falls_no_faster_but_presses_harder() -> None:
    env = make(
        only_first(mdp.randomize_rigid_body_mass, asset_cfg=BOX, mass_distribution_params=(3.0, 3.0), operation="scale")
    )
    box = env.scene.rigid_objects["box"]
    state = box.data.default_root_state.clone()
    state[:, 2] = 2.0
    box.write_root_state_to_sim(state)
    env.engine.refresh()
    steps(env, 0.3)
    height = position(env, "box")[:, 2]
    assert height[0] == pytest.approx(float(height[1]), abs=1e-6)
    assert height[0] == pytest.approx(2.0 - 0.5 * G * 0.3**2, abs=0.01)
    env.reset()
    steps(env, 1.0)
    assert press_force(env).tolist() == pytest.approx([6.0 * G, 2.0 * G], rel=0.01)


def test_inertia_follows_the_mass_only_if_asked() -> None:
    for recompute, ratio in ((True, 1.0), (False, 3.0)):
        env = make(
            only_first(
                mdp.randomize_rigid_body_mass,
                asset_cfg=BALL,
                mass_distribution_params=(0.4, 0.4),
                operation="add",
                recompute_inertia=recompute,
            ),
            only_first(
                mdp.apply_external_force_torque, force_range=(0.0, 0.0), torque_range=(1e-4, 1e-4), asset_cfg=BALL
            ),
        )
        steps(env, 0.1)  # in the air
        spin = env.scene.rigid_objects["ball"].data.root_ang_vel_b[:, 0]
        # 0.6 kg instead of 0.2 kg; the torque acts on the first only: α = M / I, I = 0.4 m r² = 2e-4 kg·m² for 0.2 kg.
        assert spin[0] == pytest.approx(ratio * 1e-4 / (3.0 * 2e-4) * 0.1, rel=0.02)


def test_mass_and_payload_add_up_and_nothing_compounds() -> None:
    env = make(
        event(mdp.randomize_rigid_body_mass, asset_cfg=BOX, mass_distribution_params=(0.5, 1.5), operation="scale"),
        event(mdp.add_body_mass, asset_cfg=BOX, mass_distribution_params=(1.0, 1.0)),
        num_envs=32,
    )
    body = env.engine.model.body("box/body").id
    seen = []
    for _ in range(30):
        env.reset()
        seen.append(env.engine.model_field("body_mass")[:, body])
    mass = torch.stack(seen)
    assert mass.min() >= 2.0 * 0.5 + 1.0 and mass.max() <= 2.0 * 1.5 + 1.0
    assert mass.min() < 2.05 and mass.max() > 3.95
    last = mass[-1] - 1.0
    inertia = env.engine.model_field("body_inertia")[:, body]
    compiled = torch.as_tensor(env.engine.model.body_inertia[body], dtype=torch.float32)
    torch.testing.assert_close(inertia, compiled * (last / 2.0).unsqueeze(-1))


def test_payload_presses() -> None:
    env = make(only_first(mdp.add_body_mass, asset_cfg=BOX, mass_distribution_params=(1.5, 1.5)))
    steps(env, 1.0)
    assert press_force(env).tolist() == pytest.approx([3.5 * G, 2.0 * G], rel=0.01)


def test_gravity_compensation_does_not_know_of_a_payload() -> None:
    """The Franka carries its own weight; what it holds pulls it down."""
    cfg = load_env_cfg("Reach-Franka")
    cfg.sim.threads = 1
    hand = SceneEntityCfg("robot", body_names=["hand"])
    payload = EventTermCfg(
        func=mdp.add_body_mass,
        mode="reset",
        params={"asset_cfg": hand, "mass_distribution_params": (0.0, 3.0)},
    )
    cfg.events = {**vars(cfg.events), "payload": payload}
    env: Any = make_task("Reach-Franka", num_envs=16, cfg=cfg, seed=3)
    env.reset()
    engine, hand_id = env.engine, env.engine.model.body("robot/hand").id
    mass = engine.model_field("body_mass")[:, hand_id]
    carried = engine.model_field("body_gravcomp")[:, hand_id] * mass
    torch.testing.assert_close(carried, torch.full((16,), float(engine.model.body_mass[hand_id])))
    before = env.scene["robot"].data.body_pos_w[:, hand_id - engine.model.body("robot/link0").id, 2].clone()
    for _ in range(30):
        env.step(torch.zeros(16, 7))
    sunk = before - env.scene["robot"].data.body_pos_w[:, hand_id - engine.model.body("robot/link0").id, 2]
    heavy, light = mass.argmax(), mass.argmin()
    assert sunk[heavy] > 0.05 and sunk[light] < 0.25 * sunk[heavy]
    assert torch.corrcoef(torch.stack((mass, sunk)))[0, 1] > 0.8


def test_derived_constants_follow_only_where_something_changed() -> None:
    env = make(only_first(mdp.add_body_mass, asset_cfg=BOX, mass_distribution_params=(2.0, 2.0)))
    body = env.engine.model.body("box/body").id
    dof = int(env.engine.model.body_dofadr[body])
    invweight = env.engine.model_field("dof_invweight0")[:, dof]
    assert invweight.tolist() == pytest.approx([1.0 / 4.0, 1.0 / 2.0], rel=1e-5)
    assert env.engine.model_field("body_subtreemass")[:, body].tolist() == pytest.approx([4.0, 2.0])


def test_inertia_turns_slower() -> None:
    env = make(
        only_first(
            mdp.randomize_rigid_body_inertia,
            asset_cfg=BALL,
            inertia_distribution_params=(4.0, 4.0),
            operation="scale",
        ),
        event(mdp.apply_external_force_torque, force_range=(0.0, 0.0), torque_range=(1e-4, 1e-4), asset_cfg=BALL),
    )
    steps(env, 0.1)
    spin = env.scene.rigid_objects["ball"].data.root_ang_vel_b[:, 0]
    assert spin.tolist() == pytest.approx([1e-4 / 8e-4 * 0.1, 1e-4 / 2e-4 * 0.1], rel=0.02)


def test_moments_of_inertia_stay_those_of_a_body() -> None:
    env = make(
        event(
            mdp.randomize_rigid_body_inertia,
            asset_cfg=BOX,
            inertia_distribution_params=(0.1, 10.0),
            operation="scale",
            distribution="log_uniform",
        ),
        num_envs=200,
    )
    a, b, c = env.engine.model_field("body_inertia")[:, env.engine.model.body("box/body").id].unbind(-1)
    for one, two, three in ((a, b, c), (b, c, a), (c, a, b)):
        assert (one <= (two + three) * (1.0 + 1e-5)).all()


def test_a_moved_centre_of_mass_shifts_the_load_and_tips_the_box() -> None:
    env = make(only_first(mdp.randomize_rigid_body_com, asset_cfg=BOX, com_range={"x": (0.35, 0.35)}))
    # In free flight the box spins about its centre of mass, so that the frame's origin moves on a circle around it.
    steps(env, 1.0)
    up = env.scene.rigid_objects["box"].data.projected_gravity_b[:, 2]
    assert up[1] == pytest.approx(-1.0, abs=1e-4)
    assert up[0] > -0.95  # the centre is 0.35 m out, the edge 0.2 m: the box tips over
    # Nothing but the mass has moved: the box still lies on its geom.
    assert position(env, "box")[1, 2] == pytest.approx(0.05, abs=2e-3)


def test_a_small_offset_of_the_centre_of_mass_keeps_the_geom_in_place() -> None:
    env = make(
        event(mdp.randomize_rigid_body_com, asset_cfg=BOX, com_range={"x": (-0.05, 0.05), "z": (-0.01, 0.01)}),
        num_envs=16,
    )
    steps(env, 0.5)
    com = env.scene.rigid_objects["box"].data.body_com_pos_w[:, 0]
    offset = com - position(env, "box")
    assert offset[:, 0].abs().max() <= 0.0501 and offset[:, 0].std() > 0.015
    assert offset[:, 2].abs().max() <= 0.0101
    assert position(env, "box")[:, 2].std() < 1e-3
    before = offset[:, 0].clone()
    env.reset()
    after = (env.scene.rigid_objects["box"].data.body_com_pos_w[:, 0] - position(env, "box"))[:, 0]
    assert after.abs().max() <= 0.0501 and not torch.allclose(before, after)


# -- materials ---------------------------------------------------------------------------------------------


def material(asset: SceneEntityCfg, friction: tuple[float, float], **settings: Any) -> dict[str, Any]:
    return {
        "static_friction_range": friction,
        "dynamic_friction_range": friction,
        "restitution_range": (0.0, 0.0),
        "num_buckets": 64,
        "asset_cfg": asset,
        **settings,
    }


@pytest.mark.parametrize("friction", [0.2, 0.5])
def test_a_slipperier_box_slides_further(friction: float) -> None:
    env = make(event(mdp.randomize_rigid_body_material, **material(BOX, (friction, friction))))
    steps(env, 0.3)
    start = position(env, "box")[:, 0].clone()
    launch(env, "box", {0: 2.0})
    steps(env, 2.0)
    distance = position(env, "box")[:, 0] - start
    # v² / (2 μ g); the ground's coefficient of 1 does not matter, because the box has priority.
    assert distance.tolist() == pytest.approx([4.0 / (2.0 * friction * G)] * 2, rel=0.08)


def test_restitution_bounces() -> None:
    heights = {}
    for restitution in (0.0, 0.4, 0.8):
        params = material(BALL, (1.0, 1.0), restitution_range=(restitution, restitution))
        env = make(event(mdp.randomize_rigid_body_material, **params))
        steps(env, 0.33)  # 0.5 m of fall take 0.32 s
        best = torch.zeros(2)
        for _ in range(80):
            steps(env, 0.005)
            best = torch.maximum(best, position(env, "ball")[:, 2] - 0.05)
        heights[restitution] = float(best[0])
    speed = {e: math.sqrt(max(h, 0.0) / 0.5) for e, h in heights.items()}
    assert speed[0.0] < 0.2
    assert speed[0.4] == pytest.approx(0.4, abs=0.12)
    assert speed[0.8] == pytest.approx(0.8, abs=0.12)


def test_buckets_and_consistency() -> None:
    params = material(BOX, (0.0, 2.0), num_buckets=5, make_consistent=True)
    params["static_friction_range"] = (0.0, 1.0)
    env = make(event(mdp.randomize_rigid_body_material, "startup", **params), num_envs=300)
    geom = int(env.engine.model.body("box/body").geomadr[0])
    friction = env.engine.model_field("geom_friction")[:, geom, 0]
    assert len(friction.unique()) == 5
    assert friction.max() <= 1.0
    other = make(event(mdp.randomize_rigid_body_material, "startup", **params), num_envs=7)
    torch.testing.assert_close(other.engine.model_field("geom_friction")[:, geom, 0], friction[:7])


# -- joints ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ImplicitActuatorCfg, IdealPDActuatorCfg])
def test_a_stiffer_servo_moves_faster(kind: Any) -> None:
    env = make(
        only_first(
            mdp.randomize_actuator_gains,
            asset_cfg=ROBOT,
            stiffness_distribution_params=(3.0, 3.0),
            operation="scale",
        ),
        actuator=kind(joint_names_expr=[".*"], stiffness=0.2, damping=0.4, effort_limit=1.0),
    )
    steps(env, 0.2, action=0.5)
    stiff, soft = hinge(env).tolist()
    # Overdamped: after the start x → 0.5 (1 − exp(−k t / d)), 0.5 (1 − e^−0.1) and 0.5 (1 − e^−0.3), less the start-up.
    assert 2.2 < stiff / soft < 3.0
    env.reset()
    assert env.scene.articulations["robot"].data.joint_stiffness[:, 0].tolist() == pytest.approx([0.6, 0.2])


def test_gains_are_always_drawn_from_the_configured_ones() -> None:
    env = make(
        event(
            mdp.randomize_actuator_gains,
            asset_cfg=ROBOT,
            stiffness_distribution_params=(0.5, 2.0),
            damping_distribution_params=(0.5, 2.0),
            operation="scale",
            distribution="log_uniform",
        ),
        num_envs=64,
    )
    data = env.scene.articulations["robot"].data
    for _ in range(20):
        env.reset()
    assert 1.0 <= data.joint_stiffness.min() < 1.2 and 3.5 < data.joint_stiffness.max() <= 4.0
    assert 0.2 <= data.joint_damping.min() < 0.25 and 0.7 < data.joint_damping.max() <= 0.8
    assert data.joint_stiffness.median() == pytest.approx(2.0, rel=0.25)  # log-uniform: the middle is the mean's log
    bias = env.engine.model_field("actuator_biasprm")[:, 0]
    torch.testing.assert_close(bias[:, 1:3], -torch.cat((data.joint_stiffness, data.joint_damping), dim=1))


@pytest.mark.parametrize("kind", [ImplicitActuatorCfg, IdealPDActuatorCfg])
def test_a_weak_motor_accelerates_less_and_saturates_earlier(kind: Any) -> None:
    env = make(
        only_first(mdp.randomize_motor_strength, strength_distribution_params=(0.5, 0.5)),
        actuator=kind(joint_names_expr=[".*"], stiffness=1.0, damping=0.0, effort_limit=0.2),
    )
    torque = env.scene.articulations["robot"].data
    steps(env, DT, action=0.1)
    assert torque.applied_torque[:, 0].tolist() == pytest.approx([0.05, 0.1], abs=1e-5)
    steps(env, DT, action=1.0)
    assert torque.applied_torque[:, 0].tolist() == pytest.approx([0.1, 0.2], abs=1e-5)
    assert (
        env.scene.articulations["robot"].data.joint_vel[0, 0]
        < 0.6 * env.scene.articulations["robot"].data.joint_vel[1, 0]
    )


def spin_down(env: ManagerBasedRLEnv, seconds: float) -> Tensor:
    """Let the hinge coast from 1 rad/s without a servo; return its speed."""
    robot = env.scene.articulations["robot"]
    robot.write_joint_state_to_sim(torch.full((env.num_envs, 1), -0.5), torch.ones(env.num_envs, 1))
    env.engine.refresh()
    steps(env, seconds)
    return robot.data.joint_vel[:, 0]


FREE = ImplicitActuatorCfg(joint_names_expr=[".*"], stiffness=0.0, damping=0.0)
INERTIA = 0.5 * (0.2**2 + 0.04**2) / 12.0 + 0.5 * 0.1**2
"""Of the link about its hinge (kg·m²)."""


def joint_event(**params: Any) -> EventTermCfg:
    return only_first(mdp.randomize_joint_parameters, asset_cfg=ROBOT, **params)


def test_joint_friction_brakes() -> None:
    env = make(joint_event(friction_distribution_params=(0.004, 0.004), operation="abs"), actuator=FREE)
    speed = spin_down(env, 0.5)
    # Dry friction: a constant deceleration of 0.004 / I.
    assert speed.tolist() == pytest.approx([1.0 - 0.004 / INERTIA * 0.5, 1.0], abs=0.02)


def test_joint_damping_brakes() -> None:
    env = make(joint_event(damping_distribution_params=(0.01, 0.01), operation="add"), actuator=FREE)
    speed = spin_down(env, 0.5)
    assert speed.tolist() == pytest.approx([math.exp(-0.01 / INERTIA * 0.5), 1.0], abs=0.01)


def test_armature_makes_a_motor_slower() -> None:
    env = make(
        joint_event(armature_distribution_params=(INERTIA, INERTIA), operation="add"),
        actuator=ImplicitActuatorCfg(joint_names_expr=[".*"], stiffness=0.1, damping=0.0),
    )
    steps(env, 0.1, action=0.5)
    robot = env.scene.articulations["robot"]
    assert robot.data.joint_vel[0, 0] / robot.data.joint_vel[1, 0] == pytest.approx(0.5, abs=0.02)
    dof = int(env.engine.model.joint("robot/hinge").dofadr[0])
    invweight = env.engine.model_field("dof_invweight0")[:, dof]
    assert invweight[0] / invweight[1] == pytest.approx(0.5, rel=1e-3)


def test_a_joint_stops_at_its_new_limits() -> None:
    env = make(joint_event(upper_limit_distribution_params=(0.3, 0.3), operation="abs"))
    steps(env, 2.0, action=0.9)
    assert hinge(env).tolist() == pytest.approx([0.3, 0.9], abs=0.06)
    limits = env.scene.articulations["robot"].data.soft_joint_pos_limits[:, 0]
    assert limits[0].tolist() == pytest.approx([-math.pi / 3, 0.3], abs=1e-5)
    assert limits[1].tolist() == pytest.approx([-math.pi / 3, math.pi / 3], abs=1e-5)


# -- gravity and wrenches ----------------------------------------------------------------------------------


def test_gravity() -> None:
    env = make(
        only_first(
            mdp.randomize_physics_scene_gravity,
            gravity_distribution_params=([2.0, 0.0, 3.0], [2.0, 0.0, 3.0]),
            operation="add",
        )
    )
    steps(env, 0.2)
    velocity = env.scene.rigid_objects["ball"].data.root_lin_vel_w
    assert velocity[0].tolist() == pytest.approx([0.4, 0.0, -6.81 * 0.2], abs=1e-3)
    assert velocity[1].tolist() == pytest.approx([0.0, 0.0, -G * 0.2], abs=1e-3)
    down = env.scene.rigid_objects["ball"].data.projected_gravity_b[0]
    size = math.hypot(2.0, 6.81)
    assert down.tolist() == pytest.approx([2.0 / size, 0.0, -6.81 / size], abs=1e-4)
    env.reset()
    env.reset()
    assert env.engine.model_field("opt.gravity")[0].tolist() == pytest.approx([2.0, 0.0, -6.81])


def test_a_force_pushes_until_the_reset() -> None:
    env = make(
        only_first(mdp.apply_external_force_torque, force_range=(0.4, 0.4), torque_range=(0.0, 0.0), asset_cfg=BALL)
    )
    steps(env, 0.2)
    velocity = env.scene.rigid_objects["ball"].data.root_lin_vel_w
    assert velocity[:, 0].tolist() == pytest.approx([0.4 / 0.2 * 0.2, 0.0], abs=1e-4)
    env.scene.reset(env.all_envs, env.rng.integers)  # without the event
    steps(env, 0.2)
    assert env.scene.rigid_objects["ball"].data.root_lin_vel_w[:, 0].tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


# -- hardware errors ---------------------------------------------------------------------------------------


def test_an_action_arrives_late() -> None:
    env = make(event(mdp.randomize_action_delay, delay_range=(0, 3)), num_envs=40)
    target = env.scene.articulations["robot"].data.joint_pos_target[:, 0]
    lag = env.action_delay.time_lags.clone()  # type: ignore[union-attr]
    assert sorted(lag.unique().tolist()) == [0, 1, 2, 3]
    for k in range(1, 7):
        obs, *_ = env.step(torch.full((40, 1), 0.1 * k))
        arrived = (k - lag).clamp_min(0)  # zero until the first action is there
        torch.testing.assert_close(target, 0.1 * arrived.float())
        torch.testing.assert_close(obs["policy"][:, 2], torch.full((40,), 0.1 * k))  # what the policy sent
    env.episode_length_buf[0] = env.max_episode_length - 1
    env.step(torch.full((40, 1), 0.7))  # environment 0 starts anew
    env.action_delay.set_time_lag(2, torch.arange(40) == 0)  # type: ignore[union-attr]
    env.step(torch.full((40, 1), 0.8))
    assert target[0] == 0.0
    torch.testing.assert_close(target[1:], 0.1 * (8 - lag[1:]).float())


def test_an_encoder_lies() -> None:
    env = make(event(mdp.randomize_encoder_bias, bias_range=(-0.1, 0.1)), num_envs=16)
    obs = steps(env, 3.0, action=0.4)
    bias = env.scene.articulations["robot"].data.encoder_bias[:, 0]  # type: ignore[index]
    assert bias.abs().max() <= 0.1 and bias.std() > 0.03
    torch.testing.assert_close(obs[:, 0] - obs[:, 1], bias, atol=1e-6, rtol=0.0)
    # The servo believes its encoder: it reads 0.4 rad when the joint is at 0.4 - bias.
    torch.testing.assert_close(hinge(env), 0.4 - bias, atol=2e-3, rtol=0.0)


def test_a_direct_environment_has_delays_too() -> None:
    cfg = load_env_cfg("Cartpole-Direct")
    cfg.sim.threads = 1
    cfg.events = {"delay": event(mdp.randomize_action_delay, delay_range=(2, 2))}
    env = make_task("Cartpole-Direct", num_envs=2, cfg=cfg, seed=0)
    env.reset()
    torque = env.scene["robot"].data
    seen = []
    for k in range(1, 5):
        env.step(torch.full((2, 1), 0.1 * k))
        seen.append(float(torque.applied_torque[0, 0]))
    assert seen == pytest.approx([0.0, 0.0, 1.0, 2.0], abs=1e-4)  # an action of 1 is 10 N


def test_parameters_that_a_host_curriculum_changes() -> None:
    terms = {
        "gravity": event(
            mdp.randomize_physics_scene_gravity,
            gravity_distribution_params=([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
            operation="add",
        ),
        "mass": event(
            mdp.randomize_rigid_body_mass, asset_cfg=BOX, mass_distribution_params=(1.0, 1.0), operation="scale"
        ),
    }
    env = make(*terms.values())
    for name, key, value in (
        ("event_0", "gravity_distribution_params", ([0.0, 0.0, 5.0], [0.0, 0.0, 5.0])),
        ("event_1", "mass_distribution_params", (2.0, 2.0)),
    ):
        cfg = env.event_manager.get_term_cfg(name)
        env.event_manager.set_term_cfg(name, cfg.replace(params={**cfg.params, key: value}))  # type: ignore[attr-defined]
    env.reset()
    steps(env, 1.0)
    assert press_force(env).tolist() == pytest.approx([4.0 * (G - 5.0)] * 2, rel=0.01)


# -- when, and how often -----------------------------------------------------------------------------------


def test_startup_terms_run_once_and_spaced_ones_wait() -> None:
    spaced = event(mdp.randomize_rigid_body_mass, asset_cfg=BOX, mass_distribution_params=(0.5, 1.5), operation="scale")
    spaced.min_step_count_between_reset = 5
    env = make(
        event(
            mdp.randomize_rigid_body_mass,
            "startup",
            asset_cfg=BALL,
            mass_distribution_params=(0.5, 1.5),
            operation="scale",
        ),
        spaced,
        num_envs=4,
    )
    box, ball = (env.engine.model.body(f"{name}/body").id for name in ("box", "ball"))
    first = env.engine.model_field("body_mass")
    steps(env, 3 * DT)
    env.reset()
    second = env.engine.model_field("body_mass")
    torch.testing.assert_close(first, second)
    steps(env, 3 * DT)
    env.reset()
    third = env.engine.model_field("body_mass")
    assert not torch.isclose(third[:, box], second[:, box]).any()
    torch.testing.assert_close(third[:, ball], first[:, ball])


def test_draws_do_not_depend_on_the_number_of_environments() -> None:
    masses = []
    for num_envs in (3, 8):
        env = make(
            event(
                mdp.randomize_rigid_body_mass,
                asset_cfg=BOX,
                mass_distribution_params=(1.0, 0.2),
                operation="scale",
                distribution="gaussian",
            ),
            num_envs=num_envs,
        )
        masses.append(env.engine.model_field("body_mass")[:3])
    torch.testing.assert_close(*masses)


# -- bad input ---------------------------------------------------------------------------------------------

MASS = {"asset_cfg": BOX, "operation": "scale"}
BAD = [
    (mdp.randomize_rigid_body_mass, {**MASS, "mass_distribution_params": (1.5, 0.5)}, "low must not exceed high"),
    (mdp.randomize_rigid_body_mass, {**MASS, "mass_distribution_params": (0.0, 1.0)}, "must be > 0"),
    (mdp.randomize_rigid_body_mass, {**MASS, "mass_distribution_params": (-3.0, 1.0)}, "must not be negative"),
    (
        mdp.randomize_rigid_body_mass,
        {**MASS, "operation": "add", "mass_distribution_params": (-2.5, 0.0)},
        "must be > 0",
    ),
    (
        mdp.randomize_rigid_body_mass,
        {**MASS, "mass_distribution_params": (0.0, 1.0), "distribution": "log_uniform"},
        "needs low > 0",
    ),
    (mdp.randomize_rigid_body_mass, {**MASS, "mass_distribution_params": (1.0, 2.0), "operation": "mul"}, "'scale'"),
    (
        mdp.randomize_rigid_body_mass,
        {**MASS, "mass_distribution_params": (1.0, 2.0), "distribution": "x"},
        "'gaussian'",
    ),
    (mdp.randomize_rigid_body_mass, MASS, "'mass_distribution_params' is missing"),
    (
        mdp.randomize_rigid_body_mass,
        {**MASS, "asset_cfg": SceneEntityCfg("box", body_names=["bod"]), "mass_distribution_params": (1.0, 2.0)},
        "no match for 'bod'",
    ),
    (mdp.randomize_rigid_body_material, material(BOX, (-0.1, 0.5)), "friction must be 0 or more"),
    (mdp.randomize_rigid_body_material, material(BOX, (0.5, 0.1)), "low must not exceed high"),
    (mdp.randomize_rigid_body_material, material(BOX, (0.5, 0.6), restitution_range=(0.0, 1.2)), "within"),
    (mdp.randomize_rigid_body_material, material(BOX, (0.5, 0.6), num_buckets=0), "num_buckets is 0"),
    (mdp.randomize_rigid_body_material, material(ROBOT, (0.5, 0.6)), "no geom that collides"),
    (mdp.randomize_rigid_body_com, {"asset_cfg": BOX, "com_range": {"w": (0.0, 0.1)}}, "no axis 'w'"),
    (mdp.randomize_rigid_body_com, {"asset_cfg": BOX, "com_range": {"x": (0.2, 0.1)}}, "low must not exceed high"),
    (mdp.randomize_actuator_gains, {"asset_cfg": ROBOT, "stiffness_distribution_params": (-1.0, 1.0)}, "must be >= 0"),
    (mdp.randomize_actuator_gains, {"asset_cfg": BOX}, "needs a Articulation"),
    (mdp.randomize_joint_parameters, {"asset_cfg": ROBOT, "friction_distribution_params": (-1.0, 1.0)}, "must be >= 0"),
    (
        mdp.randomize_joint_parameters,
        {"asset_cfg": ROBOT, "friction_distribution_params": (0.5, 1.0), "operation": "scale"},
        "no friction to scale",
    ),
    (mdp.randomize_motor_strength, {"strength_distribution_params": (-0.1, 1.0)}, "must be >= 0"),
    (mdp.randomize_physics_scene_gravity, {"gravity_distribution_params": (1, 2), "operation": "add"}, "three numbers"),
    (mdp.randomize_action_delay, {"delay_range": (0.5, 1.0)}, "whole numbers"),
    (mdp.randomize_action_delay, {"delay_range": (-1, 1)}, "0 or more"),
    (mdp.randomize_encoder_bias, {"bias_range": (0.1, -0.1)}, "low must not exceed high"),
    (mdp.reset_joints_by_scale, {"position_range": (1.5, 0.5), "velocity_range": (0.0, 0.0)}, "low must not exceed"),
    (mdp.push_by_setting_velocity, {"velocity_range": {"x": (1.0, 0.0)}}, "low must not exceed high"),
    (mdp.reset_root_state_from_terrain, {"pose_range": {}, "velocity_range": {}}, "needs a TerrainImporterCfg"),
]


@pytest.mark.parametrize(("func", "params", "message"), BAD)
def test_bad_ranges_are_refused_at_the_start_with_the_terms_name(func: Any, params: dict, message: str) -> None:
    cfg = EnvCfg()
    cfg.events = {"culprit": EventTermCfg(func=func, mode="interval", interval_range_s=(1.0, 2.0), params=params)}
    with pytest.raises(ConfigError, match=message) as caught:
        ManagerBasedRLEnv(cfg)
    assert "event term 'culprit'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_field_that_the_engine_lacks_is_refused_with_the_terms_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from mujoco import batch

    from palestra.physics import cpu

    fields = tuple(name for name in batch.MODEL_FIELDS if name != "body_ipos")
    monkeypatch.setattr(cpu.mujoco_batch, "MODEL_FIELDS", fields)
    with pytest.raises(ConfigError, match="event term 'event_0'.*cannot vary 'body_ipos'"):
        make(event(mdp.randomize_rigid_body_com, asset_cfg=BOX, com_range={"x": (0.0, 0.1)}))


def test_two_delays_are_one_too_many() -> None:
    with pytest.raises(ConfigError, match="already has an action delay"):
        make(event(mdp.randomize_action_delay), event(mdp.randomize_action_delay))
