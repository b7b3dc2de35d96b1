"""The controller: phases in their order, every fault brakes within the same step and latches, the black box tells it."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from allowed import check_allowed
from exported_leg import DEFAULT, STEP_DT, NumpyLeg, description, export_leg, sign
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from loopback import Clock, LoopbackRobot

from palestra.deploy.controller import Controller, ControllerSettings, record_for
from palestra.deploy.limits import SafetyLimits
from palestra.deploy.loop import FixedRateLoop
from palestra.deploy.runtime import PolicyRunner
from palestra.deploy.safety import SafetyMonitor
from palestra.errors import PalestraError

BENT = np.array([0.5, -1.8, 0.2])


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    return export_leg(tmp_path_factory.mktemp("leg"))


class Rig:
    """A controller on a loopback robot, stepped by the test's clock."""

    def __init__(self, exported: Path, joint_pos: np.ndarray = BENT, dump_to: Path | None = None, **changes) -> None:
        times = {
            "stand_time": 0.4,
            "gain_ramp": 0.2,
            "blend_time": 0.1,
            "damp_time": 0.2,
            "stand_timeout": 0.5,
            **changes,
        }
        self.clock = Clock()
        self.robot = LoopbackRobot(self.clock, joint_pos)
        self.runner = PolicyRunner(exported)
        self.limits = SafetyLimits.from_description(self.runner.description)
        self.monitor = SafetyMonitor(self.limits, DEFAULT)
        self.box = record_for(self.runner, self.monitor, 60.0)
        self.controller = Controller(
            self.runner, self.robot, self.monitor, black_box=self.box, dump_to=dump_to, dump_always=dump_to is not None,
            settings=ControllerSettings(**times), clock=self.clock,
        )  # fmt: skip

    def step(self, count: int = 1):
        for _ in range(count):
            self.clock.now += STEP_DT
            sent = self.controller.step()
        return sent

    def until(self, phase: str, most: int = 200) -> None:
        for _ in range(most):
            if self.controller.phase == phase:
                return
            self.step()
        raise AssertionError(f"{self.controller.phase!r} after {most} steps, not {phase!r}: {self.controller.faults}")


@pytest.fixture
def rig(exported) -> Rig:
    made = Rig(exported)
    assert made.controller.start_up() < 1e-5
    return made


def test_the_phases_follow_each_other(exported, tmp_path):
    rig = Rig(exported, dump_to=tmp_path / "box.npz")
    rig.controller.start_up()
    loop = FixedRateLoop(STEP_DT, clock=rig.clock, sleep=rig.clock.sleep, spin=0.0)
    outcome = rig.controller.run(duration=1.0, loop=loop)
    assert rig.robot.connected and rig.robot.closed and outcome.trips == ()
    assert outcome.run_time == pytest.approx(1.0) and outcome.loop.missed_deadlines == 0
    phases = [
        event["phase"]
        for event in json.loads((tmp_path / "box.json").read_text())["events"]
        if event["event"] == "phase"
    ]
    assert phases == ["init", "stand", "run", "damp", "stop"]
    with np.load(tmp_path / "box.npz") as rows:
        run = rows["phase"][:, 0] == 2
        assert run.sum() == 50  # 1 s of 20 ms
        assert (np.diff(rows["time"]) > 0.0).all() and np.isfinite(rows["actions"][run]).all()
        assert np.isnan(rows["actions"][~run]).all() and set(
            rows["stiffness"][~run & (rows["phase"][:, 0] != 1)].ravel()
        ) == {0.0}


def test_standing_is_smooth_and_its_gains_rise(rig):
    rig.until("stand")
    sent = rig.robot.sent[-1]
    np.testing.assert_allclose(sent.joint_pos_target, BENT)
    assert sent.stiffness.tolist() == [0.0, 0.0, 0.0] and sent.damping.tolist() == [0.5, 0.5, 5.0]
    targets, gains = [], []
    while rig.controller.phase == "stand":
        sent = rig.step()
        targets.append(sent.joint_pos_target[1])
        gains.append(sent.stiffness[0])
    change = np.diff(targets[:-1])
    assert (change >= -1e-9).all() and change.max() <= 1.875 * 0.8 / 0.4 * STEP_DT + 1e-6  # minimum jerk over 0.4 s
    assert gains[4] == pytest.approx(12.5) and gains[9] == pytest.approx(25.0)  # 0.1 s and 0.2 s of a ramp of 0.2 s
    np.testing.assert_allclose(rig.robot.pos, DEFAULT, atol=0.1)


def test_a_long_way_takes_longer_than_the_least_time(exported):
    rig = Rig(exported, np.array([0.1, -2.5, 0.0]), stand_time=0.1)
    rig.controller.start_up()
    rig.until("run")
    # knee: 1.5 rad at no more than a quarter of 15 rad/s: 1.875 × 1.5 / 3.75 = 0.75 s
    events = {event["phase"]: event["time"] for event in rig.box._events if event["event"] == "phase"}
    assert events["run"] - events["stand"] == pytest.approx(0.75, abs=1.5 * STEP_DT)


def test_without_any_gain_nothing_is_held_and_the_policy_begins_at_once(tmp_path):
    about = description()
    about["articulations"]["robot"] = {**about["articulations"]["robot"], "stiffness": [0.0] * 3, "damping": [0.0] * 3}
    rig = Rig(export_leg(tmp_path / "exported", about), BENT)
    rig.controller.start_up()
    rig.until("stand")
    rig.step()
    assert rig.controller.phase == "run" and rig.robot.sent[-1].mode == "control"


def test_a_pose_that_is_not_reached_is_a_fault(rig):
    rig.until("stand")
    rig.robot.spoil = lambda state: replace(state, joint_pos=BENT.copy())
    rig.until("damp")
    (trip,) = rig.controller.faults
    assert trip.cause == "stand" and trip.joint == "knee" and trip.value == pytest.approx(0.8)


def test_the_policy_gets_sensors_and_commands_and_is_blended_in(rig):
    rig.controller.operator.set("base_velocity", [0.4, 0.0, 9.0], rig.clock(), hold=True)
    leg, sent = NumpyLeg(), []
    rig.until("run")
    for k in range(8):
        if k:
            rig.step()
        row = {name: values[-1] for name, values in rig.box.arrays().items()}
        sensors = {name: row[name].astype(float) for name in ("joint_pos", "joint_vel", "base_ang_vel", "base_quat")}
        wanted = leg.step(sensors, np.array([0.4, 0.0, 1.0]))  # 9 is beyond the range of training
        np.testing.assert_allclose(row["obs"], wanted["obs"], atol=1e-5)
        share = min(k * STEP_DT / 0.1, 1.0)
        blended = DEFAULT + share * (wanted["joint_pos_target"] - DEFAULT)
        np.testing.assert_allclose(row["wanted_pos"], blended, atol=1e-5)
        sent.append(rig.robot.sent[-1])
    assert all(command.mode == "control" for command in sent) and not rig.monitor.tripped


def test_an_operators_old_command_becomes_zero(rig):
    rig.until("run")
    rig.controller.operator.set("base_velocity", [0.4, 0.0, 0.0], rig.clock())
    rig.step(24)
    assert rig.box.arrays()["command_base_velocity"][-1, 0] == pytest.approx(0.4)
    rig.step(3)
    assert rig.box.arrays()["command_base_velocity"][-1].tolist() == [0.0, 0.0, 0.0]
    assert [event["names"] for event in rig.box._events if event["event"] == "old_commands"] == [["base_velocity"]]


def _nan(state):
    return replace(state, joint_pos=state.joint_pos * math.nan)


def _fallen(state):
    return replace(state, base_quat=np.array([math.cos(0.6), math.sin(0.6), 0.0, 0.0]))


def _silent(state):
    raise ConnectionResetError("connection reset by the robot")


FAULTS = {
    "bad_sensor": _nan,
    "tilt": _fallen,
    "communication": _silent,
    "base_contact": lambda state: replace(state, base_contact=True),
    "velocity": lambda state: replace(state, joint_vel=np.array([99.0, 0.0, 0.0])),
    "time_reversed": lambda state: replace(state, stamp=state.stamp - 9.0),
    "quaternion": lambda state: replace(state, base_quat=np.zeros(4)),
}


@pytest.mark.parametrize("cause", FAULTS)
def test_a_fault_brakes_in_the_step_that_sees_it_latches_and_is_dumped(exported, tmp_path, cause):
    rig = Rig(exported, DEFAULT, dump_to=tmp_path / "box.npz")
    rig.controller.start_up()
    rig.until("run")
    assert rig.step(5).mode == "control"
    rig.robot.spoil = FAULTS[cause]
    assert rig.step().mode == "damping"
    assert rig.controller.phase == "damp" and [trip.cause for trip in rig.controller.faults] == [cause]
    rig.robot.spoil = lambda state: state
    rig.until("stop")
    assert {command.mode for command in rig.robot.sent[-9:]} == {"damping"}
    rig.controller.run()  # what is left is to close and to dump
    assert rig.robot.closed
    (trip,) = [event for event in json.loads((tmp_path / "box.json").read_text())["events"] if event["event"] == "trip"]
    assert trip["cause"] == cause and trip["message"] == rig.controller.faults[0].message


def test_frozen_sensors_brake_within_the_allowed_age_and_one_period(rig):
    rig.until("run")
    rig.step(5)
    rig.robot.frozen = True
    assert [rig.step().mode for _ in range(3)] == ["control", "control", "damping"]
    assert rig.controller.faults[0].cause == "stale_state"


def test_a_read_without_news_goes_on_with_the_last_state_until_it_is_too_old(rig):
    rig.until("run")
    rig.step(5)
    rig.robot.spoil = lambda state: None
    assert [rig.step().mode for _ in range(3)] == ["control", "control", "damping"]
    assert rig.controller.faults[0].cause == "stale_state"


def test_a_policy_that_fails_brakes_in_the_same_step(rig, monkeypatch):
    rig.until("run")
    rig.step(3)

    def broken(*args):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(rig.runner, "step", broken)
    assert rig.step().mode == "damping"
    assert rig.controller.phase == "damp"
    assert (rig.controller.faults[0].cause, rig.controller.faults[0].message) == (
        "policy",
        "RuntimeError: no such kernel",
    )


def test_missed_deadlines_brake(rig):
    rig.until("run")
    for _ in range(5):
        rig.clock.now += STEP_DT
        assert rig.controller.step(missed=1).mode == "control"
    rig.clock.now += STEP_DT
    assert rig.controller.step(missed=1).mode == "damping"
    assert rig.controller.faults[0].cause == "missed_deadlines"


def test_a_write_that_fails_is_a_fault_and_damping_is_tried_again(rig, monkeypatch):
    rig.until("run")
    write = rig.robot.write

    def unreachable(command):
        raise OSError("network is unreachable")

    monkeypatch.setattr(rig.robot, "write", unreachable)
    rig.step()
    assert rig.controller.phase == "damp" and rig.controller.faults[0].cause == "communication"
    monkeypatch.setattr(rig.robot, "write", write)
    assert rig.step().mode == "damping" and rig.robot.sent[-1].mode == "damping"


def test_a_reset_is_explicit_and_begins_anew(exported):
    rig = Rig(exported, DEFAULT, hold_fault=True)
    rig.controller.start_up()
    with pytest.raises(PalestraError, match="nothing to reset: the controller is in 'init' without a fault"):
        rig.controller.reset()
    rig.until("run")
    rig.robot.spoil = _fallen
    rig.step()
    rig.robot.spoil = lambda state: state
    rig.step(100)  # far beyond the time of braking
    assert rig.controller.phase == "damp"
    rig.controller.reset()
    assert rig.controller.phase == "init" and rig.step().mode == "damping"
    rig.until("run")
    remembered = rig.box.arrays()["obs"][-1, -9:]  # last action, and velocities of the two steps before
    assert remembered.tolist() == [0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0]  # as at the start of an episode
    assert rig.step().mode == "control" and len(rig.controller.faults) == 1
    rig.robot.spoil = _fallen
    rig.step()
    rig.controller.request_stop()
    rig.until("stop")


def test_a_stop_on_request_brakes_from_every_phase(exported):
    for phase in ("init", "stand", "run"):
        rig = Rig(exported)
        rig.controller.start_up()
        rig.until(phase)
        rig.controller.request_stop()
        assert rig.step().mode == "damping" and rig.controller.phase == "damp"
        rig.until("stop")
        assert not rig.monitor.tripped


def test_an_exception_from_outside_leaves_the_robot_braked_and_the_box_written(exported, tmp_path):
    rig = Rig(exported, DEFAULT, dump_to=tmp_path / "box.npz")
    rig.controller.start_up()
    loop = FixedRateLoop(STEP_DT, clock=rig.clock, sleep=rig.clock.sleep, spin=0.0)

    def interrupt(controller, loop):
        if controller.run_time > 0.1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rig.controller.run(on_step=interrupt, loop=loop)
    assert rig.robot.sent[-1].mode == "damping" and rig.robot.closed and (tmp_path / "box.npz").exists()


# Start-up


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("knee", "hip", "foot"), "the robot orders its joints otherwise: joint 0 is 'knee', not 'hip'"),
        (("hip", "knee", "wheel"), r"it lacks \['foot'\] and has \['wheel'\] besides"),
    ],
)
def test_joints_must_be_the_policys(exported, names, message):
    rig = Rig(exported)
    rig.robot.joint_names = names
    with pytest.raises(PalestraError, match=message):
        rig.controller.start_up()
    assert rig.robot.closed and rig.robot.sent == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: None, r"the robot sent no sensors within 0\.05 s"),
        (lambda state: replace(state, joint_pos=np.array([0.1, -1.0, math.nan])), "the robot is not ready: joint_pos of 'foot' is nan"),
        (lambda state: replace(state, joint_pos=np.array([1.3, -1.0, 0.0])), "the robot is not ready: position of 'hip' is 1.3 rad or m, beyond 1.1"),
        (lambda state: replace(state, base_quat=np.zeros(4)), "the robot is not ready: the base's quaternion has norm 0"),
    ],
)  # fmt: skip
def test_sensors_must_be_alive_and_sane(exported, spoil, message):
    rig = Rig(exported, connect_timeout=0.05)
    rig.controller._clock = __import__("time").monotonic
    rig.robot.spoil = spoil
    with pytest.raises(PalestraError, match=message):
        rig.controller.start_up()
    assert rig.robot.closed and rig.robot.sent == []


def test_a_sensor_that_the_robot_lacks_is_named(tmp_path):
    about = description()
    about["control_step"]["inputs"][2]["name"] = "base_lin_vel"
    folder = tmp_path / "exported"
    export_leg(folder)
    import onnx

    model = onnx.load(folder / "policy.onnx")
    model.graph.input[2].name = "base_lin_vel"
    for node in model.graph.node:
        node.input[:] = ["base_lin_vel" if name == "base_ang_vel" else name for name in node.input]
    onnx.save(model, folder / "policy.onnx")
    arrays = dict(np.load(folder / "golden.npz"))
    arrays["in/base_lin_vel"] = arrays.pop("in/base_ang_vel")
    np.savez(folder / "golden.npz", **arrays)
    sign(folder, about)
    rig = Rig(folder)
    with pytest.raises(
        PalestraError, match="the policy needs the sensor 'base_lin_vel', which the robot does not have"
    ):
        rig.controller.start_up()
    rig.robot.spoil = lambda state: replace(state, extra={"base_lin_vel": np.zeros(3)})
    rig.controller.start_up()


def test_a_robot_that_does_not_answer(exported, monkeypatch):
    rig = Rig(exported)

    def refused():
        raise ConnectionRefusedError("nobody at 127.0.0.1:9")

    monkeypatch.setattr(rig.robot, "connect", refused)
    with pytest.raises(PalestraError, match="the robot does not answer: nobody at 127.0.0.1:9"):
        rig.controller.start_up()


def test_a_command_without_zero_must_be_given(tmp_path):
    about = description()
    about["commands"]["base_velocity"]["ranges"]["lin_vel_x"] = [0.3, 0.7]
    rig = Rig(export_leg(tmp_path / "exported", about))
    with pytest.raises(
        PalestraError, match="the policy needs the command 'base_velocity', and zero is not among its values"
    ):
        rig.controller.start_up()


# Whatever happens, in any order

GARBAGE = {
    **FAULTS,
    "none": lambda state: (
        None
    ),  # with "jump ahead" it may pass, as the two of the base do in init, and time after a reset
    "no shape": lambda state: replace(state, joint_vel=np.zeros((3, 3))),
    "text": lambda state: replace(state, joint_pos="abc", joint_vel=[None, {}, 1]),
    "huge": lambda state: replace(state, joint_pos=np.array([0.0, -1.0, 1e300])),
    "huge effort": lambda state: replace(state, joint_effort=np.full(3, 1e30)),
    "infinite stamp": lambda state: replace(state, stamp=math.inf),
    "jump ahead": lambda state: replace(state, stamp=state.stamp + 100.0),
    "no base": lambda state: replace(state, base_quat=None),
    "no extra": lambda state: replace(state, extra=None),
}


class AnyStream(RuleBasedStateMachine):
    """Steps, spoilt sensors, late clocks, frozen robots, operators and resets in any order."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig(self.folder, DEFAULT, stand_time=0.1, gain_ramp=0.05, hold_fault=True)
        self.rig.controller.start_up()
        self.last: np.ndarray | None = None
        self.was_tripped = False

    def _step(self, wait: float = STEP_DT, missed: int = 0) -> None:
        rig = self.rig
        rig.clock.now += wait
        rig.controller.step(missed)
        sent = rig.robot.sent[-1]
        check_allowed(sent, rig.limits, rig.monitor._pos, rig.monitor._vel, self.last)
        self.last = sent.joint_pos_target if sent.mode == "control" else None
        if rig.monitor.tripped or self.was_tripped:
            assert sent.mode == "damping"
        self.was_tripped = rig.monitor.tripped

    @rule(count=st.integers(1, 30))
    def steps(self, count: int) -> None:
        for _ in range(count):
            self._step()

    @rule(kind=st.sampled_from(sorted(GARBAGE)), count=st.integers(1, 3))
    def spoilt_steps(self, kind: str, count: int) -> None:
        self.rig.robot.spoil = GARBAGE[kind]
        before = self.rig.monitor.tripped
        for _ in range(count):
            self._step()
        self.rig.robot.spoil = lambda state: state
        if kind not in ("none", "jump ahead", "time_reversed", "tilt", "base_contact") and not before:
            assert self.rig.monitor.tripped

    @rule(wait=st.sampled_from([0.0, 1e-4, 0.03, 0.2]), missed=st.integers(0, 20))
    def odd_step(self, wait: float, missed: int) -> None:
        self._step(wait, missed)

    @rule()
    def kicked(self) -> None:
        self.rig.robot.vel = np.array([30.0, -18.0, 3.0])
        self._step(1e-3)

    @rule(count=st.integers(1, 5))
    def frozen_steps(self, count: int) -> None:
        self.rig.robot.frozen = True
        for _ in range(count):
            self._step()
        self.rig.robot.frozen = False
        if count >= 4:  # the first may still bring something new; then 20, 40, 60 ms
            assert self.rig.monitor.tripped

    @rule(values=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=2, max_size=4))
    def ask(self, values: list[float]) -> None:
        try:
            self.rig.controller.operator.set("base_velocity", values, self.rig.clock())
        except PalestraError:
            assert len(values) != 3 or not np.isfinite(values).all()

    @precondition(lambda self: self.rig.controller.phase == "damp" and self.rig.monitor.tripped)
    @rule()
    def reset(self) -> None:
        self.rig.controller.reset()
        self.rig.robot.pos, self.rig.robot.vel = DEFAULT.copy(), np.zeros(3)
        self.last, self.was_tripped = None, False

    @invariant()
    def a_fault_is_damp(self) -> None:
        if self.rig.monitor.tripped:
            assert self.rig.controller.phase == "damp"
        assert np.isfinite(self.rig.controller.operator.read(self.rig.clock())["base_velocity"]).all()


def test_any_stream_of_events_stays_within_limits(exported):
    AnyStream.folder = exported
    from hypothesis.stateful import run_state_machine_as_test

    limits = settings(max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(AnyStream, settings=limits)
