"""The safety monitor: every cause by itself, bounds worked out by hand, and whatever hypothesis thinks of."""

import math
from dataclasses import replace

import numpy as np
import pytest
from allowed import check_allowed
from exported_leg import DEFAULT, description
from hypothesis import given, settings
from hypothesis import strategies as st

from palestra.deploy.freshness import Freshness
from palestra.deploy.limits import SafetyLimits
from palestra.deploy.robot import RobotCommand, RobotState
from palestra.deploy.safety import SafetyMonitor, tilt_of

LIMITS = SafetyLimits.from_description(description())
STIFFNESS, DAMPING = np.array([25.0, 25.0, 100.0]), np.array([0.5, 0.5, 5.0])
UPRIGHT = np.array([1.0, 0.0, 0.0, 0.0])


def monitor(**changes) -> SafetyMonitor:
    return SafetyMonitor(replace(LIMITS, **changes), DEFAULT)


def state(stamp: float = 0.0, **changes) -> RobotState:
    plain = RobotState(stamp, DEFAULT.copy(), np.zeros(3), np.zeros(3), np.zeros(3), UPRIGHT.copy())
    return replace(plain, **changes)


def command(target=DEFAULT, **changes) -> RobotCommand:
    plain = RobotCommand(np.array(target, float), np.zeros(3), np.zeros(3), STIFFNESS.copy(), DAMPING.copy())
    return replace(plain, **changes)


def rolled(angle: float) -> np.ndarray:
    return np.array([math.cos(angle / 2), math.sin(angle / 2), 0.0, 0.0])


# What comes in


def test_a_sane_state_passes():
    watched = monitor()
    assert watched.check(state(), 10.0) and not watched.tripped
    sent = watched.bound(command(), 10.0)
    assert sent.mode == "control" and sent.joint_pos_target.tolist() == DEFAULT.tolist()
    assert not watched.clipped.any() and watched.clipped_steps == 0


@pytest.mark.parametrize(
    ("changes", "cause", "joint", "value", "limit"),
    [
        ({"joint_pos": np.array([1.11, -1.0, 0.0])}, "position", "hip", 1.11, 1.1),
        ({"joint_pos": np.array([0.1, -2.61, 0.0])}, "position", "knee", -2.61, -2.6),
        ({"joint_vel": np.array([0.0, -22.6, 0.0])}, "velocity", "knee", 22.6, 22.5),
        ({"joint_effort": np.array([-25.1, 0.0, 0.0])}, "effort", "hip", 25.1, 25.0),
        ({"base_quat": rolled(1.01)}, "tilt", None, 1.01, 1.0),
        ({"base_quat": np.zeros(4)}, "quaternion", None, 0.0, 0.02),
        ({"base_quat": 1.03 * UPRIGHT}, "quaternion", None, 1.03, 0.02),
        ({"base_ang_vel": np.array([12.0, 16.1, 0.0])}, "base_ang_vel", None, 20.08, 20.0),
        ({"base_contact": True}, "base_contact", None, None, None),
    ],
)
def test_each_cause_names_joint_value_and_limit(changes, cause, joint, value, limit, caplog):
    watched = monitor()
    assert watched.check(state(0.0), 10.0)
    assert not watched.check(state(0.02, **changes), 10.02)
    (trip,) = watched.trips
    assert (trip.cause, trip.joint, trip.time) == (cause, joint, 10.02)
    assert trip.value == (None if value is None else pytest.approx(value, abs=1e-2))
    assert trip.limit == (None if limit is None else pytest.approx(limit))
    assert trip.message in caplog.text and (joint is None or joint in trip.message)


@pytest.mark.parametrize(
    "changes",
    [
        {"joint_pos": np.array([1.09, -2.59, 1e5])},
        {"joint_vel": np.array([44.9, -22.4, 1e5])},
        {"joint_effort": np.array([24.9, -49.9, 1e5])},
        {"joint_effort": None},
        {"base_quat": -rolled(0.99)},
        {"extra": {"height_scan": np.zeros((3, 4))}},
    ],
)
def test_within_the_margins_nothing_trips(changes):
    assert monitor().check(state(0.0, **changes), 10.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joint_pos": np.array([0.1, math.nan, 0.0])}, "joint_pos of 'knee' is nan"),
        ({"joint_vel": np.array([0.0, 0.0, -math.inf])}, "joint_vel of 'foot' is -inf"),
        (
            {"joint_pos": np.array([0.1, -1.0, 1e7])},
            "joint_pos of 'foot' is 1e+07; it must be finite, and no greater than 1e+06",
        ),
        ({"joint_pos": np.zeros(2)}, "joint_pos has shape (2,); it must be (3,)"),
        ({"joint_vel": None}, "joint_vel is missing"),
        ({"joint_vel": ["a", "b", "c"]}, "joint_vel holds no numbers but list"),
        ({"joint_vel": [1, [2, 3], 4]}, "joint_vel holds no numbers but list"),
        ({"joint_vel": [0, 0, 10**400]}, "joint_vel holds no numbers but list"),
        ({"base_quat": None}, "base_quat is missing"),
        ({"base_ang_vel": np.array([0.0, math.nan, 0.0])}, "base_ang_vel at index 1 is nan"),
        ({"extra": {"height_scan": np.array([0.0, math.nan])}}, "height_scan at index 1 is nan"),
        ({"extra": None}, "extra is missing"),
        ({"stamp": math.nan}, "the sensors' stamp is nan; it must be a number of seconds"),
        ({"stamp": "now"}, "the sensors' stamp is 'now'; it must be a number of seconds"),
    ],
)
def test_sensors_that_cannot_be_read(changes, message):
    watched = monitor()
    assert watched.check(state(0.0), 10.0)
    assert not watched.check(replace(state(0.02), **changes), 10.02)
    (trip,) = watched.trips
    assert trip.cause == "bad_sensor" and trip.message.startswith(message)


def test_postures_say_what_is_checked_of_the_base():
    lying = {"base_quat": rolled(1.5), "base_contact": True}
    assert monitor().check(state(**lying), 0.0, posture="free")
    assert not monitor().check(state(**lying), 0.0, posture="upright")
    assert monitor().check(state(base_contact=True), 0.0, posture="upright")
    assert monitor(base_contact=True).check(state(base_contact=True), 0.0, posture="clear")
    assert monitor(floating_base=False).check(state(base_quat=None, base_ang_vel=None), 0.0)


def test_tilt_is_the_angle_between_the_verticals():
    assert tilt_of(rolled(0.7)) == pytest.approx(0.7)
    yaw = np.array([math.cos(1.0), 0.0, 0.0, math.sin(1.0)])
    assert tilt_of(yaw) == pytest.approx(0.0)
    assert tilt_of(np.array([0.0, 1.0, 0.0, 0.0])) == pytest.approx(math.pi)


def test_frozen_sensors_trip_by_their_age():
    watched = monitor()
    assert watched.check(state(5.0), 10.0)
    assert watched.check(state(5.0), 10.02) and watched.check(state(5.0), 10.04)
    assert not watched.check(state(5.0), 10.06)  # the limit is 2.5 periods of 20 ms
    assert watched.trips[0].cause == "stale_state" and watched.trips[0].value == pytest.approx(0.06)


def test_sensors_that_fall_behind_trip_although_new_ones_come():
    watched = monitor()
    for k in range(50):  # 1 s in time, delivery takes 5 ms
        assert watched.check(state(1.0 + 0.02 * k), 10.005 + 0.02 * k)
    assert watched.check(state(1.98 + 0.02), 11.005 + 0.049)
    assert not watched.check(state(2.00 + 0.02), 11.025 + 0.051)
    assert watched.trips[0].cause == "stale_state" and watched.trips[0].value == pytest.approx(0.051)


def test_clocks_that_drift_apart_slowly_do_not_trip():
    watched = monitor()
    for k in range(50 * 120):  # 2 minutes, 1000 parts in a million: 0.12 s in the end
        assert watched.check(state(0.02 * k * (1.0 - 1e-3)), 0.02 * k)


def test_silence_trips_communication_before_any_state_came():
    watched = monitor()
    assert watched.check(None, 10.0) and watched.check(None, 10.09)
    assert not watched.check(None, 10.11)
    assert watched.trips[0].cause == "communication"


def test_time_that_goes_back_trips():
    watched = monitor()
    assert watched.check(state(5.0), 10.0)
    assert not watched.check(state(4.99, joint_pos=np.array([0.9, -1.0, 0.0])), 10.02)
    assert watched.bound(command(), 10.02).joint_pos_target.tolist() == DEFAULT.tolist()  # old news replace nothing
    assert watched.trips[0].cause == "time_reversed" and watched.trips[0].value == pytest.approx(-0.01)


def test_freshness_counts_lateness_from_the_fastest_delivery():
    fresh = Freshness()
    assert math.isinf(fresh.age)
    fresh.update(0.0, 100.010)
    fresh.update(0.02, 100.022)  # 8 ms faster than before: what counts from now on
    assert fresh.fresh and fresh.age == pytest.approx(0.0)
    fresh.update(0.04, 100.050)
    assert fresh.age == pytest.approx(0.008)
    fresh.update(0.04, 100.052)
    assert not fresh.fresh and fresh.age == pytest.approx(0.010)
    assert fresh.update(0.01, 100.06) == pytest.approx(0.03)


def test_missed_deadlines_trip_by_their_number_in_a_window():
    watched = monitor(max_missed_deadlines=2, deadline_window=4)
    for missed in (1, 0, 1, 0, 1, 0, 1):  # never more than 2 in 4 steps
        watched.note_deadlines(missed, 0.0)
    assert not watched.tripped
    watched.note_deadlines(1, 0.5)
    assert watched.trips[0].cause == "missed_deadlines" and watched.trips[0].value == 3.0


# Latching


def test_faults_latch_until_reset_and_trip_again_where_the_cause_persists():
    watched = monitor()
    assert not watched.check(state(0.0, base_quat=rolled(1.2)), 0.0)
    for k in range(1, 5):  # all is well again, but nobody has reset it
        assert not watched.check(state(0.02 * k), 0.02 * k)
        assert watched.bound(command(), 0.02 * k).mode == "damping"
    assert len(watched.trips) == 1
    assert [trip.cause for trip in watched.reset()] == ["tilt"]
    assert watched.check(state(0.2), 0.2) and watched.bound(command(), 0.2).mode == "control"
    assert not watched.check(state(0.22, base_quat=rolled(1.2)), 0.22)


def test_a_target_that_is_not_finite_is_damping_in_the_same_call():
    watched = monitor()
    watched.check(state(0.0, joint_vel=np.array([32.0, 0.0, 2.0])), 0.0)
    sent = watched.bound(command([0.1, math.nan, 0.0]), 0.0)
    assert sent.mode == "damping" and watched.trips[0].cause == "bad_target"
    assert watched.trips[0].message.startswith("joint_pos_target of 'knee' is nan")
    np.testing.assert_allclose(sent.damping, [20.0 / 32.0, 2.0, 5.0], rtol=1e-6)  # 20/30 × 32 would be over 20 N·m


# What goes out, by hand


def test_targets_are_moved_to_where_their_torque_is_allowed():
    watched = monitor()
    watched.check(state(), 0.0)
    sent = watched.bound(command([2.0, -1.0, 0.0]), 0.0)
    assert sent.joint_pos_target[0] == pytest.approx(0.9)  # 0.1 + 20 / 25
    assert watched.clipped.tolist() == [True, False, False]


def test_velocity_counts_into_the_torque():
    watched = monitor()
    watched.check(state(joint_vel=np.array([-10.0, 0.0, 0.0])), 0.0)
    sent = watched.bound(command([2.0, -1.0, 0.0]), 0.0)
    assert sent.joint_pos_target[0] == pytest.approx(0.7)  # 25 × 0.6 + 0.5 × 10 = 20


def test_targets_stay_within_position_limits_and_their_change_within_its_own():
    watched = monitor()
    watched.check(state(), 0.0)
    assert watched.bound(command([0.1, -9.0, 0.0]), 0.0).joint_pos_target[1] == pytest.approx(-1.6)  # -1 - 0.6
    assert watched.bound(command([0.1, -9.0, 0.0]), 0.0).joint_pos_target[1] == pytest.approx(-2.2)
    assert watched.bound(command([0.1, -9.0, 0.0]), 0.0).joint_pos_target[1] == pytest.approx(-2.5)


def test_where_a_target_may_not_move_far_enough_gains_go_down():
    watched, stiff = monitor(), command([0.85, -1.0, 0.0], stiffness=np.array([200.0, 25.0, 100.0]))
    watched.check(state(0.0, joint_pos=np.array([0.8, -1.0, 0.0])), 0.0)
    assert watched.bound(stiff, 0.0).joint_pos_target[0] == pytest.approx(0.85)
    watched.check(state(0.02, joint_pos=np.array([-0.65, -1.0, 0.0])), 0.02)  # knocked away by 1.45 rad
    sent = watched.bound(stiff, 0.02)
    # 0.1 rad from the joint would be allowed, -0.55; but the target goes from 0.85 to -0.35 at most: 200 × 0.3 = 60 N·m
    assert sent.joint_pos_target[0] == pytest.approx(-0.35)
    assert sent.stiffness[0] == pytest.approx(200.0 / 3.0) and sent.damping[0] == pytest.approx(0.5 / 3.0)


def test_velocity_targets_and_efforts_are_bounded():
    watched = monitor()
    watched.check(state(), 0.0)
    wild = command(
        joint_vel_target=np.array([99.0, 0.0, 0.0]), joint_effort=np.array([0.0, 99.0, 99.0]), stiffness=np.zeros(3)
    )
    sent = watched.bound(wild, 0.0)
    assert sent.joint_vel_target.tolist() == [30.0, 0.0, 0.0]
    np.testing.assert_allclose(sent.joint_effort, [0.0, 40.0, 99.0])  # the foot has no limit


def test_negative_gains_trip():
    watched = monitor()
    watched.check(state(), 0.0)
    assert watched.bound(command(stiffness=np.array([25.0, -1.0, 0.0])), 0.0).mode == "damping"
    assert watched.trips[0].message == "stiffness has negative entries"


# Whatever comes in

NUMBER = st.one_of(
    st.floats(-3.0, 3.0),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([1e6, -1e6, 1e308, math.nan, math.inf]),
)
VECTOR = st.one_of(
    st.lists(st.floats(-2.0, 2.0), min_size=3, max_size=3),
    st.lists(NUMBER, min_size=3, max_size=3),
    st.lists(NUMBER, max_size=5),
    st.none(),
    st.just("text"),
)  # fmt: skip
QUATERNION = st.one_of(st.just(UPRIGHT), st.just(np.zeros(4)), st.lists(NUMBER, min_size=3, max_size=5), st.none())
STATE = st.one_of(
    st.none(),
    st.builds(
        RobotState,
        stamp=st.one_of(st.floats(-1.0, 1.0), NUMBER),
        joint_pos=VECTOR, joint_vel=VECTOR, joint_effort=VECTOR, base_ang_vel=VECTOR, base_quat=QUATERNION,
        base_contact=st.booleans(),
        extra=st.dictionaries(st.sampled_from(["scan"]), VECTOR),
    ),
)  # fmt: skip
GAIN = st.lists(st.floats(0.0, 1e5), min_size=3, max_size=3)
COMMAND = st.builds(
    RobotCommand, joint_pos_target=VECTOR, joint_vel_target=VECTOR, joint_effort=VECTOR, stiffness=st.one_of(GAIN, VECTOR), damping=st.one_of(GAIN, VECTOR)
)  # fmt: skip


def readable(pos, vel) -> bool:
    try:
        values = np.array([pos, vel], float)
    except (TypeError, ValueError):
        return False
    return values.shape == (2, 3) and bool(np.isfinite(values).all())


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(STATE, COMMAND, st.floats(0.0, 0.1)), min_size=1, max_size=8))
def test_whatever_comes_in_what_goes_out_is_finite_within_limits_and_latched(steps):
    watched, now, last = monitor(), 50.0, None
    for seen, wanted, wait in steps:
        now += wait
        latched = watched.tripped
        well = watched.check(seen, now)
        assert well is not watched.tripped
        sent = watched.bound(wanted, now)
        pos, vel = watched._pos, watched._vel
        if seen is not None and well:
            np.testing.assert_array_equal(pos, seen.joint_pos)  # the monitor knows the state that it let pass
            np.testing.assert_array_equal(vel, seen.joint_vel)
        check_allowed(sent, watched.limits, pos, vel, last)
        if not well or latched:
            assert sent.mode == "damping" and watched.tripped
        last = sent.joint_pos_target if sent.mode == "control" else None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6),
    st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 3), min_size=3, max_size=3),
    st.lists(st.floats(0.0, 1e6), min_size=6, max_size=6),
)
def test_every_finite_command_to_a_sane_state_is_answered_by_control_within_limits(numbers, targets, gains):
    watched = monitor()
    pos = np.clip(DEFAULT + numbers[:3], [-1.0, -2.5, -9.0], [1.0, -0.5, 9.0])
    vel = 15.0 * np.array(numbers[3:])
    assert watched.check(state(0.0, joint_pos=pos, joint_vel=vel), 0.0)
    last = None
    for _ in range(3):
        wanted = command(
            targets[0],
            joint_vel_target=np.array(targets[1]),
            joint_effort=np.array(targets[2]),
            stiffness=np.array(gains[:3]),
            damping=np.array(gains[3:]),
        )
        sent = watched.bound(wanted, 0.0)
        assert sent.mode == "control"
        check_allowed(sent, watched.limits, pos, vel, last)
        last = sent.joint_pos_target
