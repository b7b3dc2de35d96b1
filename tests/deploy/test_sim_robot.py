"""The simulated robot as hardware: drives, sensors, silence; and as a process behind UDP."""

import socket

import mujoco
import numpy as np
import pytest

from palestra.config import load_env_cfg, make
from palestra.deploy.link import LinkSettings
from palestra.deploy.robot import RobotCommand
from palestra.deploy.sim_robot import NetworkedRobot, RobotModel, SensorErrors, SimulatedRobot, robot_model
from palestra.deploy.sim_server import SimRobotProcess
from palestra.deploy.udp import UdpRobot
from palestra.errors import ConfigError

PENDULUM = """
<mujoco>
  <option timestep="0.002" gravity="0 0 0" integrator="implicitfast"/>
  <worldbody>
    <body name="robot/link"><joint name="robot/hinge" axis="0 1 0" armature="0.5"/>
      <geom type="sphere" size="0.05" mass="1" pos="0.5 0 0"/></body>
  </worldbody>
  <actuator>
    <general joint="robot/hinge" biastype="affine" gainprm="1" biasprm="0 0 0" forcelimited="true" forcerange="-5 5"/>
  </actuator>
</mujoco>
"""
INERTIA = 0.5 + 0.25 + 0.4 * 0.05**2  # armature, point mass, sphere


def pendulum(**settings) -> SimulatedRobot:
    model = mujoco.MjModel.from_xml_string(PENDULUM)
    return SimulatedRobot(RobotModel(model, np.zeros(1), ("hinge",), control_dt=0.02), **settings)


def command(position=0.0, velocity=0.0, effort=0.0, stiffness=0.0, damping=0.0, mode="control") -> RobotCommand:
    return RobotCommand(*(np.array([x]) for x in (position, velocity, effort, stiffness, damping)), mode=mode)


def advance(robot: SimulatedRobot, seconds: float) -> None:
    for _ in range(round(seconds / robot.model.opt.timestep)):
        robot.step()


def test_a_drive_follows_its_law():
    robot = pendulum(command_timeout=10.0)
    robot.take(command(effort=2.0), 0.0)
    advance(robot, 0.5)
    assert robot.state().joint_vel[0] == pytest.approx(2.0 / INERTIA * 0.5, rel=1e-6)
    robot.reset()
    robot.take(command(position=0.3, stiffness=4.0, damping=5.0), 0.0)
    advance(robot, 0.002)
    assert robot.state().joint_effort[0] == pytest.approx(4.0 * 0.3)
    advance(robot, 10.0)
    robot.take(command(position=0.3, stiffness=4.0, damping=5.0), robot.time)
    assert robot.state().joint_pos[0] == pytest.approx(0.3, abs=1e-3)


def test_a_drive_keeps_its_limit():
    robot = pendulum(command_timeout=10.0)
    robot.take(command(position=100.0, stiffness=50.0), 0.0)
    advance(robot, 0.1)
    assert robot.state().joint_effort[0] == 5.0
    assert robot.state().joint_vel[0] == pytest.approx(0.1 * 5.0 / INERTIA, rel=1e-6)


def test_silence_brakes_after_the_time_out_and_not_before():
    robot = pendulum(command_timeout=0.1)
    robot.take(command(effort=2.0, damping=3.0), 0.0)
    advance(robot, 0.1)
    fast = robot.state().joint_vel[0]
    expected = 2.0 / 3.0 * (1.0 - np.exp(-0.1 * 3.0 / INERTIA))  # dω/dt = (τ − d ω) / I
    assert fast == pytest.approx(expected, rel=1e-2) and not robot.silent
    advance(robot, 0.01)
    assert robot.silent and robot.state().joint_effort[0] < 0.0
    advance(robot, 3.0)
    assert abs(robot.state().joint_vel[0]) < 1e-3


@pytest.mark.parametrize(("mode", "slower"), [("damping", True), ("off", False)])
def test_damping_brakes_and_off_does_nothing(mode, slower):
    robot = pendulum(command_timeout=10.0)
    robot.data.qvel[0] = 1.0
    robot.take(command(position=1.0, stiffness=10.0, damping=2.0, effort=3.0, mode=mode), 0.0)
    advance(robot, 1.0)
    expected = np.exp(-2.0 / INERTIA) if slower else 1.0  # dω/dt = −(d/I) ω
    assert robot.state().joint_vel[0] == pytest.approx(expected, rel=1e-2)


def test_sensors_are_noisy_and_quantized_by_what_was_said():
    robot = pendulum(errors=SensorErrors({"joint_vel": 0.5}, {"joint_pos": 0.1}))
    robot.data.qpos[0], robot.data.qvel[0] = 0.234, 2.0
    readings = [robot.state() for _ in range(500)]
    assert {round(s.joint_pos[0], 9) for s in readings} == {0.2}
    velocities = np.array([s.joint_vel[0] for s in readings])
    assert 1.5 <= velocities.min() < 1.55 and 2.45 < velocities.max() <= 2.5
    for what in ({"noise": {"joint_ps": 0.1}}, {"quantization": {"joint_pos": -1.0}}):
        with pytest.raises(ConfigError):
            SensorErrors(**what)


def test_states_and_commands_are_late_by_the_latency():
    networked = NetworkedRobot(pendulum(command_timeout=1.0), LinkSettings(latency=0.01), state_rate=500.0)
    networked.commands.send(command(effort=1.0), 0.0)
    networked.advance(0.0099)
    assert networked.robot.command is None and networked.states.receive(0.0099) == []
    networked.advance(0.02)
    assert networked.robot.command is not None
    # from 0.010 s on the torque acts, for five steps of 2 ms
    assert networked.robot.data.qvel[0] == pytest.approx(0.01 / INERTIA, rel=1e-6)
    arrived = networked.states.receive(0.02)
    assert [state.stamp for _, state in arrived] == pytest.approx([0.0, 0.002, 0.004, 0.006, 0.008, 0.01])
    with pytest.raises(ConfigError, match="rate is 1000 Hz; it must be from 1 to 500 Hz"):
        NetworkedRobot(pendulum(), LinkSettings(), state_rate=1000.0)


@pytest.fixture(scope="module")
def go2() -> RobotModel:
    cfg = load_env_cfg("Velocity-Flat-Go2")
    cfg.scene.num_envs, cfg.sim.threads = 1, 1
    env = make("Velocity-Flat-Go2", cfg=cfg)
    model = robot_model(env)
    env.close()
    return model


def stand(go2: RobotModel) -> RobotCommand:
    pose, zero = go2.qpos[7:], np.zeros(12)
    return RobotCommand(pose, zero, zero, np.full(12, 25.0), np.full(12, 0.5))


def test_a_quadruped_stands_through_a_bad_network(go2):
    networked = NetworkedRobot(SimulatedRobot(go2), LinkSettings(0.01, 0.002, 0.05), state_rate=200.0, seed=3)
    for k in range(250):  # 5 s of 50 Hz
        networked.commands.send(stand(go2), networked.robot.time)
        networked.advance(0.02 * (k + 1))
    state = networked.robot.state()
    assert networked.robot.data.qpos[2] > 0.22 and not state.base_contact
    assert state.base_quat is not None and state.base_quat[0] > 0.99
    assert 0 < networked.commands.lost < 40
    truth = networked.robot.truth.arrays()
    np.testing.assert_allclose(np.diff(truth["time"]), 0.02, atol=1e-9)
    networked.advance(6.0)  # nobody commands any more
    assert networked.robot.silent and networked.robot.data.qpos[2] < 0.15 and networked.robot.state().base_contact


def test_a_robot_hangs_in_its_harness_until_it_is_let_down(go2):
    robot = SimulatedRobot(go2, command_timeout=10.0, harness=0.5)
    advance(robot, 1.0)
    assert robot.data.qpos[2] == go2.qpos[2] and not robot.data.qvel[:6].any()
    robot.take(stand(go2), robot.time)
    advance(robot, 0.5)
    assert robot.data.qpos[2] == go2.qpos[2]
    advance(robot, 1.0)
    assert 0.2 < robot.data.qpos[2] < 0.35  # on its feet
    robot.reset()
    robot.release()
    advance(robot, 0.1)
    assert robot.data.qpos[2] == pytest.approx(go2.qpos[2] - 0.5 * 9.81 * 0.1**2, abs=3e-3)
    with pytest.raises(ConfigError, match="harness is -1"):
        SimulatedRobot(go2, harness=-1.0)


def test_it_is_the_same_every_time(go2):
    def play() -> np.ndarray:
        networked = NetworkedRobot(SimulatedRobot(go2, seed=2), LinkSettings(0.01, 0.005, 0.1), 200.0, seed=2)
        for k in range(50):
            networked.commands.send(stand(go2), networked.robot.time)
            networked.advance(0.02 * (k + 1))
        return networked.robot.data.qpos.copy()

    np.testing.assert_array_equal(play(), play())


def test_a_process_is_reached_by_udp_in_lockstep(go2, tmp_path):
    log = tmp_path / "truth.npz"
    flags = ["--lockstep", "--latency_ms=10", "--loss=0.05", "--threads=1", f"--log={log}", "--seed=4"]
    with SimRobotProcess("Velocity-Flat-Go2", flags) as process:
        robot = UdpRobot(process.host, process.port)
        robot.connect()
        assert robot.lockstep and robot.joint_names == go2.joint_names and robot.time == 0.0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for data in (b"", b"hello", bytes(range(256)) * 4):
                stranger.sendto(data, (process.host, process.port))
        stamps = []
        for _ in range(100):
            robot.write(stand(go2))
            robot.wait(0.02)
            state = robot.read()
            assert state is not None
            stamps.append(state.stamp)
        assert robot.time == pytest.approx(2.0) and stamps == sorted(stamps)
        assert 2.0 - 0.05 < stamps[-1] <= 2.0 - 0.01  # late by the latency, more where packets were lost
        robot.reset(9)
        again = robot.read()
        assert again is not None and again.stamp == pytest.approx(2.0)
        robot.close()
    with np.load(log) as truth:
        assert truth["root_pose"].shape == (100, 7) and list(truth["joint_names"]) == list(go2.joint_names)


def test_nobody_there_is_said_in_one_line():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        robot = UdpRobot("127.0.0.1", silent.getsockname()[1], timeout=0.3)
        with pytest.raises(ConnectionError, match="nothing answers at udp://127.0.0.1:"):
            robot.connect()
