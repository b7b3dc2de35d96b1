"""Limits from policy.json, their margins, the file that changes them, and what an operator may ask for."""

import json
import math

import numpy as np
import pytest
from exported_leg import description

from palestra.deploy.bundle import control_step
from palestra.deploy.commands import OperatorCommands
from palestra.deploy.limits import SafetyLimits, read_overrides
from palestra.errors import ConfigError, PalestraError

INF = math.inf


def test_limits_of_the_description_with_margins():
    found = SafetyLimits.from_description(description())
    assert found.joint_names == ("hip", "knee", "foot") and found.floating_base
    assert found.position_low.tolist() == [-1.0, -2.5, -INF] and found.position_high.tolist() == [1.0, -0.5, INF]
    np.testing.assert_allclose(found.position_margin, [0.1, 0.1, 0.0])  # 5 % of ranges of 2 rad
    np.testing.assert_allclose(found.velocity_trip, [45.0, 22.5, INF])  # 1.5 times
    np.testing.assert_allclose(found.effort_trip, [25.0, 50.0, INF])  # 1.25 times
    np.testing.assert_allclose(found.target_change, [1.2, 0.6, INF])  # 2 × 0.02 s × velocity
    # effort / velocity is 0.667 and 2.667; at most 4 × the policy's own 0.5, 0.5, 5
    np.testing.assert_allclose(found.damping, [20 / 30, 2.0, 5.0])
    assert found.state_max_age == pytest.approx(0.05) and found.communication_timeout == pytest.approx(0.1)


def test_a_file_changes_limits_by_joint_and_by_pattern(tmp_path):
    values = {
        "position_limits": {"hip": [-0.5, 0.5], "foot": [None, 0.3]},
        "velocity_limits": 10.0,
        "velocity_margin": {"*": 1.0, "k*": 1.5},
        "damping": {"foot": 0.0},
        "max_tilt": 0.5,
        "base_contact": True,
        "max_missed_deadlines": 0,
    }
    as_json, as_yaml = tmp_path / "limits.json", tmp_path / "limits.yaml"
    as_json.write_text(json.dumps(values))
    as_yaml.write_text("max_tilt: 0.5\nvelocity_limits: {knee: 3}\n")
    found = SafetyLimits.from_description(description(), read_overrides(as_json))
    assert found.position_low.tolist() == [-0.5, -2.5, -INF] and found.position_high.tolist() == [0.5, -0.5, 0.3]
    assert found.velocity_limits.tolist() == [10.0] * 3 and found.velocity_trip.tolist() == [10.0, 15.0, 10.0]
    assert found.damping[2] == 0.0 and found.max_tilt == 0.5 and found.base_contact is True
    assert found.max_missed_deadlines == 0
    other = SafetyLimits.from_description(description(), read_overrides(as_yaml))
    assert other.velocity_limits.tolist() == [30.0, 3.0, INF]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_tlt": 1.0}, "unknown limit 'max_tlt': did you mean 'max_tilt'"),
        ({"max_tilt": "steep"}, "max_tilt is 'steep'; it must be a number"),
        ({"max_tilt": -1.0}, "max_tilt is -1.0; it must be a number above 0"),
        ({"max_tilt": math.nan}, "max_tilt is nan; it must be a number"),
        ({"max_missed_deadlines": 1.5}, "max_missed_deadlines is 1.5; it must be a whole number of 0 or more"),
        ({"deadline_window": 0}, "deadline_window is 0; it must be a whole number of 1 or more"),
        ({"base_contact": 1}, "base_contact is 1; it must be true or false"),
        ({"effort_limits": {"ankle": 3.0}}, "effort_limits has no joint 'ankle': known: 'hip', 'knee', 'foot'"),
        ({"effort_limits": {"hip": -3.0}}, "effort_limits of 'hip' is -3.0; it must be above 0"),
        ({"damping": [1.0, 2.0, 3.0]}, r"damping of 'hip' is \[1.0, 2.0, 3.0\]; it must be a number"),
        ({"position_limits": {"hip": [1.0, -1.0]}}, r"position_limits of 'hip' are \[1, -1\]; the low one comes first"),
        ({"position_limits": {"hip": 1.0}}, r"position_limits of 'hip' is 1.0; it must be \[low, high\]"),
        ({"position_limits": [[-1, 1]]}, "it must map joint names to values"),
    ],
)
def test_overrides_that_are_wrong(values, message):
    with pytest.raises(ConfigError, match=message):
        SafetyLimits.from_description(description(), values)


def test_files_that_are_wrong(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.json: cannot read these limits: No such file"):
        read_overrides(tmp_path / "gone.json")
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(ConfigError, match="must map names of limits to values, not be list"):
        read_overrides(tmp_path / "a.json")
    (tmp_path / "b.yaml").write_text("a: [1")
    with pytest.raises(ConfigError, match="cannot read these limits"):
        read_overrides(tmp_path / "b.yaml")


def test_a_description_without_limits():
    about = description()
    about["articulations"]["robot"] = {**about["articulations"]["robot"], "effort_limits": [1.0]}
    with pytest.raises(ConfigError, match="the robot's effort_limits must be a list of 3, one for each joint"):
        SafetyLimits.from_description(about)


def operator(ranges: object = None, timeout: float = 0.5) -> OperatorCommands:
    about = description()
    if ranges is not None:
        about["commands"]["base_velocity"]["ranges"] = ranges
    from pathlib import Path

    return OperatorCommands(about, control_step(about, Path("policy.json")), timeout)


def test_a_command_is_bounded_by_training_and_becomes_zero_when_old():
    commands = operator()
    assert commands.read(0.0)["base_velocity"].tolist() == [0.0, 0.0, 0.0]
    assert commands.set("base_velocity", [3.0, -0.2, -9.0], now=1.0).tolist() == [1.0, -0.2, -1.0]
    assert commands.read(1.5)["base_velocity"].tolist() == [1.0, -0.2, -1.0] and commands.old(1.5) == []
    assert commands.read(1.51)["base_velocity"].tolist() == [0.0, 0.0, 0.0] and commands.old(1.51) == ["base_velocity"]
    commands.set("base_velocity", [0.1, 0.0, 0.0], now=2.0, hold=True)
    assert commands.read(1e9)["base_velocity"].tolist() == [0.1, 0.0, 0.0]


def test_where_zero_is_no_command_the_last_one_stays():
    commands = operator({"lin_vel_x": [0.3, 0.7], "lin_vel_y": [-0.3, 0.3], "ang_vel_z": [0.2, 0.8]})
    assert commands.missing() == ["base_velocity"]
    commands.set("base_velocity", [0.5, 0.0, 0.5], now=0.0)
    assert commands.missing() == [] and commands.read(99.0)["base_velocity"].tolist() == [0.5, 0.0, 0.5]


@pytest.mark.parametrize("values", [[1.0, 2.0], [math.nan, 0.0, 0.0], ["a", 0, 0], None])
def test_a_wrong_command_leaves_the_former(values):
    commands = operator()
    commands.set("base_velocity", [0.1, 0.2, 0.3], now=0.0)
    with pytest.raises(PalestraError, match="command 'base_velocity'"):
        commands.set("base_velocity", values, now=0.1)
    assert commands.read(0.2)["base_velocity"].tolist() == [0.1, 0.2, 0.3]
    with pytest.raises(ConfigError, match="takes no command 'base_vel': did you mean 'base_velocity'"):
        commands.set("base_vel", [0.0] * 3, now=0.0)
