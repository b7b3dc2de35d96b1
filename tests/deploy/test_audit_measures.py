"""What the audit measures, on recordings and files whose answers are worked out by hand."""

import math

import numpy as np
import pytest

from palestra.deploy.audit.ground import _longest, _swings
from palestra.deploy.audit.measured import Interval, read_measured
from palestra.deploy.audit.motion import SEGMENT, spectrum
from palestra.deploy.audit.randomization import Drawn
from palestra.deploy.audit.recording import Recording
from palestra.deploy.audit.result import Measure, Plot, Series, at_least, at_most, judged, told, worst
from palestra.deploy.audit.tracking import windows
from palestra.errors import ConfigError

DT = 0.02


def recording(steps: int, num_envs: int = 1, ends: dict[int, str] | None = None, **series: np.ndarray) -> Recording:
    """A recording without rewards whose first environment ends at the given steps, for the given reasons."""
    shape = (steps, num_envs)
    flags = {name: np.zeros(shape, bool) for name in ("failed", "succeeded", "timed_out")}
    for step, why in (ends or {}).items():
        flags[why][step, 0] = True
    return Recording(DT, ["a"], [], {"reward": np.ones(shape, np.float32), **flags, **series})


def test_episodes_are_cut_where_they_end():
    found = recording(10, ends={3: "failed", 7: "timed_out"})
    assert found.episodes(0) == [slice(0, 4), slice(4, 8), slice(8, 10)]
    assert found.age[:, 0].tolist() == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2]
    assert found.first_lengths.tolist() == [4] and found.first_returns.tolist() == [4.0]


def test_what_was_not_recorded_is_named():
    with pytest.raises(AttributeError, match="nothing was recorded as 'torque'"):
        _ = recording(2).torque


@pytest.mark.parametrize(("bin_", "fast"), [(3, False), (16, True), (29, True)])
def test_power_of_a_sine_is_at_its_frequency_and_half_its_square(bin_, fast):
    """A whole number of periods in a segment, amplitude 3: mean square 4.5, in the sine's bin and its neighbours."""
    t = np.arange(4 * SEGMENT)
    signal = 3.0 * np.sin(2.0 * np.pi * bin_ * t / SEGMENT)
    power = spectrum(recording(len(t)), signal[:, None, None])[:, 0]
    assert power.sum() == pytest.approx(4.5, rel=0.05)
    assert power[bin_ - 1 : bin_ + 2].sum() > 0.95 * power.sum()
    frequencies = np.fft.rfftfreq(SEGMENT, DT)
    assert bool(power[frequencies > 10.0].sum() > 0.5 * power.sum()) is fast


def test_a_ramp_and_a_constant_do_not_vibrate():
    ramp = np.linspace(0.0, 50.0, 4 * SEGMENT)
    assert spectrum(recording(4 * SEGMENT), ramp[:, None, None]).max() < 1e-12
    assert spectrum(recording(SEGMENT - 1), ramp[: SEGMENT - 1, None, None]).max() == 0.0


def test_windows_wait_for_a_command_to_be_followed():
    """Commands of 1 m/s for 100 steps, then −0.5: windows of 25 steps from 50 steps after each change on."""
    command = np.concatenate([np.full(100, 1.0), np.full(100, -0.5)]).astype(np.float32)
    velocity = np.zeros((200, 1, 3), np.float32)
    velocity[:, 0, 0] = 0.5 * command
    found = recording(
        200,
        **{
            "command/base": command[:, None, None],
            "root_lin_vel_b": velocity,
            "root_ang_vel_b": np.zeros((200, 1, 3), np.float32),
        },
    )
    commanded, achieved = windows(found, "base", {"lin_vel_x": 0})
    assert commanded[:, 0].tolist() == [1.0, 1.0, -0.5, -0.5]
    assert achieved[:, 0].tolist() == [0.5, 0.5, -0.25, -0.25]


def test_swings_count_from_lift_off_to_touch_down():
    """Foot 0 swings once to 7 cm over its stance at 2 cm; foot 1 never lifts; what is cut off does not count."""
    contact = np.array([[1, 1], [1, 1], [0, 1], [0, 1], [1, 1], [0, 1]], bool)[:, None, :]
    height = np.array([[0.02, 0.02]] * 6)[:, None, :]
    height[2, 0, 0], height[3, 0, 0], height[5, 0, 0] = 0.05, 0.09, 0.3
    peaks, touchdowns = _swings(contact, height, np.ones((5, 1), bool))
    assert peaks == pytest.approx([0.07]) and touchdowns.tolist() == [1.0, 0.0]


def test_the_longest_run_is_of_one_robot():
    flags = np.array([[1, 0], [1, 1], [0, 1], [1, 1], [1, 0]], bool)
    assert _longest(flags) == 3


@pytest.mark.parametrize(
    ("drawn", "measured", "held"),
    [
        (Drawn(1.0, 0.8, 1.2), (0.9, 1.1), True),
        (Drawn(1.0, 0.8, 1.2), (0.9, 1.3), False),
        (Drawn(1.0, 0.8, 1.2), (0.795, 1.205), True),  # within 2 % of the width, 0.008
        (Drawn(1.0, 0.8, 1.2), (0.79, 1.1), False),
        (Drawn(1.0, 1.0, 1.0), (0.9, 1.1), True),
        (Drawn(1.0, 1.0, 1.0), (1.1, 1.3), False),
    ],
)
def test_a_range_holds_what_was_measured(drawn, measured, held):
    assert drawn.holds(Interval("joint/a/friction", *measured)) is held


def test_measured_parameters_are_read_in_three_forms(tmp_path):
    path = tmp_path / "measured.yaml"
    path.write_text(
        "joints:\n  a:\n    friction: {value: 0.2, low: 0.1, high: 0.3, units: N·m}\n    armature: [0.01, 0.02]\n"
        "action_delay: {value: 0.02, std: 0.005}\n"
    )
    found = read_measured(path, ["joint/a/friction", "joint/a/armature", "action_delay"])
    assert found[0] == Interval("joint/a/friction", 0.1, 0.3, "N·m")
    assert (found[1].low, found[1].high) == (0.01, 0.02)
    assert (found[2].low, found[2].high) == pytest.approx((0.01, 0.03))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("joints: {a: {fraction: [1, 2]}}", "no parameter 'joint/a/fraction': did you mean 'joint/a/friction'"),
        ("joints: {a: {friction: [2, 1]}}", "it must be {low, high}, {value, std} or"),
        ("joints: {a: {friction: [0, .nan]}}", "it must be {low, high}, {value, std} or"),
        ("joints: [a]", "joints is ['a']; it must map names to quantities"),
        ("- 1", "must hold a mapping"),
        ("{}", "holds no measured parameter"),
        ("a: [", "cannot read measured parameters"),
    ],
)
def test_a_measured_file_that_says_nothing_is_refused(tmp_path, text, message):
    path = tmp_path / "measured.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_measured(path, ["joint/a/friction"])
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_number_that_is_none_fails():
    assert at_most("x", math.nan, 1.0).status == "fail" and at_least("x", math.nan, 1.0).status == "fail"
    assert [at_most("x", value, 2.0, 1.0).status for value in (0.5, 1.5, 2.5)] == ["pass", "warn", "fail"]
    assert [at_least("x", value, 1.0, 2.0).status for value in (0.5, 1.5, 2.5)] == ["fail", "warn", "pass"]


def test_the_worst_measure_is_the_verdict_and_is_named():
    measures = [at_most("small", 0.1, 1.0), at_most("large", 2.0, 1.0), told("other", 5)]
    check = judged("id", "title", measures, good="well", bad="ill", advice="mend")
    assert check.status == "fail" and check.advice == "mend"
    assert "large: 2 (allowed: at most 1)" in check.summary and "small" not in check.summary
    assert judged("id", "title", measures[:1], good="well", bad="ill", advice="mend").advice == ""
    assert worst([]) == "pass" and worst(["skipped", "warn", "pass"]) == "warn"


def test_json_has_no_numbers_that_it_does_not_know():
    check = judged("id", "t", [Measure("m", math.inf)], good="g", bad="b", advice="")
    assert check.to_dict()["measures"][0]["value"] is None


def test_a_plot_is_a_picture():
    import base64

    from palestra.deploy.audit.figures import draw

    curves = (Series("line", [0.0, 1.0], [1.0, 2.0]), Series("dots", [0.5], [1.5], "points"))
    picture = base64.b64decode(draw(Plot("title", "x", "y", curves, limit=1.2, limit_x=0.3)))
    assert picture.startswith(b"\x89PNG")
