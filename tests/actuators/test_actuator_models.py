"""Actuator models: torques by hand, parity of explicit and implicit PD, exact delays."""

import pytest
import torch
from scenes import HINGES, PENDULUM, World, robot_cfg

from palestra.actuators import (
    DCMotorCfg,
    DelayedPDActuatorCfg,
    IdealPDActuatorCfg,
    ImplicitActuatorCfg,
)
from palestra.actuators.actuator import make_actuator
from palestra.errors import ConfigError
from palestra.sim import SimulationCfg

NUM_ENVS = 4


def build(cfg, num_joints: int = 1, num_envs: int = NUM_ENVS):
    names = [f"j{i}" for i in range(num_joints)]
    return make_actuator(cfg, "group", names, list(range(num_joints)), num_envs, torch.device("cpu"))


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values).unsqueeze(-1)


def test_ideal_pd_by_hand() -> None:
    motor = build(IdealPDActuatorCfg(joint_names_expr=[".*"], stiffness=10.0, damping=2.0, effort_limit=6.0))
    target, pos, vel = column(1.0, 1.0, -2.0, 0.0), column(0.5, 0.0, 0.0, 0.1), column(0.5, -1.0, 1.0, 0.0)
    effort = motor.compute(target, column(0, 0, 0, 1.0), column(0, 0, 0, 0.5), pos, vel)
    by_hand = [10 * 0.5 - 2 * 0.5, 10 + 2, -20 - 2, -1 + 2 + 0.5]
    assert motor.computed_effort.flatten().tolist() == pytest.approx(by_hand)
    assert effort.flatten().tolist() == pytest.approx([4.0, 6.0, -6.0, 1.5])


def test_gains_by_expression() -> None:
    cfg = IdealPDActuatorCfg(joint_names_expr=[".*"], stiffness={"j[01]": 3.0}, effort_limit={"j2": 5.0})
    motor = build(cfg, 3)
    assert motor.stiffness[0].tolist() == [3.0, 3.0, 0.0]
    assert motor.effort_limit[0].tolist() == [float("inf"), float("inf"), 5.0]
    assert motor.damping.abs().max() == 0.0


def test_dc_motor_follows_its_torque_speed_curve() -> None:
    """Stall torque 20 N·m, no-load speed 10 rad/s, continuous limit 12 N·m."""
    cfg = DCMotorCfg(
        joint_names_expr=[".*"], stiffness=1000.0, saturation_effort=20.0, effort_limit=12.0, velocity_limit=10.0
    )
    speeds = (0.0, 3.0, 4.0, 5.0, 9.0, 10.0, 12.0, -5.0, -15.0)
    # forward: min(12, 20 (1 - v/10)), never below zero
    forward = (12.0, 12.0, 12.0, 10.0, 2.0, 0.0, 0.0, 12.0, 12.0)
    motor = build(cfg, num_envs=len(speeds))
    zero = torch.zeros(len(speeds), 1)
    push = motor.compute(zero + 1.0, zero, zero, zero, column(*speeds))
    assert push.flatten().tolist() == pytest.approx(forward, abs=1e-5)
    pull = motor.compute(zero - 1.0, zero, zero, zero, column(*(-v for v in speeds)))
    assert pull.flatten().tolist() == pytest.approx([-f for f in forward], abs=1e-5)


def test_dc_motor_needs_a_speed() -> None:
    with pytest.raises(ConfigError, match="actuator group 'group': a DC motor needs velocity_limit"):
        build(DCMotorCfg(joint_names_expr=[".*"], saturation_effort=1.0))


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_delayed_targets_arrive_after_exactly_that_many_calls(delay: int) -> None:
    cfg = DelayedPDActuatorCfg(joint_names_expr=[".*"], stiffness=1.0, min_delay=delay, max_delay=delay)
    motor = build(cfg)
    motor.reset(torch.ones(NUM_ENVS, dtype=torch.bool), lambda low, high, shape: torch.full((NUM_ENVS, *shape), high))
    zero = torch.zeros(NUM_ENVS, 1)
    torques = [motor.compute(zero + step, zero, zero, zero, zero)[0].item() for step in range(8)]
    # Until the first target has arrived, the oldest one known counts.
    assert torques == [float(max(step - delay, 0)) for step in range(8)]


def test_each_environment_has_its_own_delay_and_a_reset_forgets_old_targets() -> None:
    motor = build(DelayedPDActuatorCfg(joint_names_expr=[".*"], stiffness=1.0, min_delay=0, max_delay=3))
    drawn = torch.tensor([[0], [1], [2], [3]])
    everywhere = torch.ones(NUM_ENVS, dtype=torch.bool)
    motor.reset(everywhere, lambda low, high, shape: drawn if (low, high) == (0, 3) else None)
    zero = torch.zeros(NUM_ENVS, 1)
    for step in range(6):
        torque = motor.compute(zero + step, zero, zero, zero, zero)
    assert torque.flatten().tolist() == [5.0, 4.0, 3.0, 2.0]
    motor.reset(torch.tensor([False, True, False, True]), lambda low, high, shape: torch.full((NUM_ENVS, 1), 2))
    assert motor.delay.flatten().tolist() == [0, 2, 2, 2]
    torque = motor.compute(zero + 9.0, zero, zero, zero, zero)
    assert torque.flatten().tolist() == [9.0, 9.0, 4.0, 9.0]


@pytest.mark.parametrize(("low", "high"), [(-1, 2), (3, 2)])
def test_bad_delays(low: int, high: int) -> None:
    with pytest.raises(ConfigError, match="0 <= min_delay <= max_delay"):
        build(DelayedPDActuatorCfg(joint_names_expr=[".*"], min_delay=low, max_delay=high))


def test_the_two_names_of_a_limit() -> None:
    assert ImplicitActuatorCfg(joint_names_expr=["a"], effort_limit_sim=4.0).effort_limit == 4.0
    assert ImplicitActuatorCfg(joint_names_expr=["a"], velocity_limit_sim=4.0).velocity_limit == 4.0
    with pytest.raises(ConfigError, match="effort_limit and effort_limit_sim differ"):
        ImplicitActuatorCfg(joint_names_expr=["a"], effort_limit=3.0, effort_limit_sim=4.0)


# -- in a simulation --------------------------------------------------------------------------------------------


def swing(actuator, dt: float, seconds: float = 0.5) -> tuple[World, torch.Tensor]:
    world = World(1, SimulationCfg(dt=dt, threads=1), robot=robot_cfg(PENDULUM, {"all": actuator}))
    world.robot.set_joint_position_target(torch.tensor([[1.0]]))
    world.run(round(seconds / dt))
    return world, world.robot.data.joint_pos.clone()


def test_explicit_pd_equals_implicit_pd_for_small_steps() -> None:
    gains = {"joint_names_expr": [".*"], "stiffness": 40.0, "damping": 4.0, "effort_limit": 15.0}
    implicit_world, implicit = swing(ImplicitActuatorCfg(**gains), 0.0005)
    explicit_world, explicit = swing(IdealPDActuatorCfg(**gains), 0.0005)
    assert explicit.item() == pytest.approx(implicit.item(), abs=2e-3)
    assert implicit.item() > 0.3
    assert explicit_world.scene.needs_substeps
    assert not implicit_world.scene.needs_substeps
    a, b = (w.robot.data.applied_torque.item() for w in (implicit_world, explicit_world))
    assert a == pytest.approx(b, abs=0.1)


def test_torques_of_an_explicit_actuator_reach_the_joint_clipped() -> None:
    cfg = IdealPDActuatorCfg(joint_names_expr=[".*"], stiffness=100.0, damping=1.0, effort_limit=7.0)
    world = World(1, robot=robot_cfg(PENDULUM, {"all": cfg}))
    world.robot.write_joint_state_to_sim(torch.tensor([[0.0]]), torch.tensor([[0.5]]))
    world.robot.set_joint_position_target(torch.tensor([[0.05]]))
    world.run(1)
    assert world.robot.data.applied_torque.item() == pytest.approx(100 * 0.05 - 0.5, rel=1e-5)
    world.robot.set_joint_position_target(torch.tensor([[1.0]]))
    world.run(1)
    assert world.robot.data.applied_torque.item() == pytest.approx(7.0)


@pytest.mark.parametrize("decimation", [1, 2])
def test_a_delay_counts_physics_steps_whatever_the_decimation(decimation: int) -> None:
    cfg = DelayedPDActuatorCfg(joint_names_expr=[".*"], stiffness=10.0, min_delay=3, max_delay=3)
    world = World(1, robot=robot_cfg(PENDULUM, {"all": cfg}))
    world.run(4, decimation)  # fill the line with the default target, zero
    world.robot.set_joint_position_target(torch.tensor([[1.0]]))
    torques = []
    for _ in range(5):  # one physics step each
        world.run(1)
        torques.append(world.robot.data.applied_torque.item())
    assert torques[:3] == pytest.approx([0.0] * 3, abs=1e-4)
    assert torques[3] == pytest.approx(10.0, rel=1e-3)


def test_joints_without_actuator_have_no_torque_and_mixed_groups_keep_their_places() -> None:
    groups = {
        "last": ImplicitActuatorCfg(joint_names_expr=["slide"]),
        "first": IdealPDActuatorCfg(joint_names_expr=["shoulder"]),
    }
    world = World(2, robot=robot_cfg(HINGES, groups))
    world.robot.set_joint_effort_target(torch.tensor([[1.0, 2.0, 3.0]]).repeat(2, 1))
    world.run(1)
    assert world.robot.data.applied_torque.tolist() == [[1.0, 0.0, 3.0]] * 2
    names = [world.engine.model.actuator(i).name for i in range(world.engine.model.nu)]
    assert names == ["robot/slide", "robot/shoulder"]
    world.robot.write_joint_stiffness_to_sim(torch.full((2, 1), 5.0), [2])
    assert world.engine.model_field("actuator_biasprm")[:, :, 1].tolist() == [[-5.0, 0.0]] * 2
