"""The fixed-rate loop on a clock that the test turns: deadlines are absolute, overruns are counted, not caught up with."""

import numpy as np
import pytest
from loopback import Clock

from palestra.deploy.loop import FixedRateLoop
from palestra.errors import ConfigError


class SpinningClock(Clock):
    """Each look at it takes 10 µs, so that spinning ends."""

    def __call__(self) -> float:
        self.now += 1e-5
        return self.now


def test_delays_do_not_add_up():
    clock = SpinningClock(0.0)
    loop = FixedRateLoop(0.02, clock=clock, sleep=clock.sleep)
    start = loop.wait()
    for step in range(1, 101):
        clock.now += 0.003 + 0.01 * (step % 2)  # work of 3 and 13 ms
        assert loop.wait() - start == pytest.approx(0.02 * step, abs=3e-5)
    found = loop.statistics()
    assert (found.iterations, found.missed_deadlines) == (101, 0)
    assert 0.0 <= found.jitter_median <= found.jitter_p99 <= found.jitter_max < 3e-5
    assert found.work_max == pytest.approx(0.013, abs=5e-5) and found.work_median == pytest.approx(0.008, abs=5.1e-3)


def test_an_overrun_leaves_out_what_passed():
    clock = SpinningClock(0.0)
    loop = FixedRateLoop(0.02, clock=clock, sleep=clock.sleep)
    start = loop.wait()
    clock.now += 0.045  # past the deadlines at 20 and 40 ms
    assert loop.wait() - start == pytest.approx(0.06, abs=3e-5)
    assert loop.missed_now == 2
    clock.now += 0.001
    assert loop.wait() - start == pytest.approx(0.08, abs=3e-5)
    assert loop.missed_now == 0 and loop.statistics().missed_deadlines == 2


def test_a_sleep_that_oversleeps_is_jitter():
    clock = SpinningClock(0.0)
    late = iter([0.0, 0.004, 0.0])
    loop = FixedRateLoop(0.02, clock=clock, sleep=lambda seconds: clock.sleep(seconds + next(late)))
    for _ in range(4):
        loop.wait()
    # the spin of 0.2 ms would have ended it on time
    assert loop.statistics().jitter_max == pytest.approx(0.0038, abs=5e-5)
    assert loop.statistics().missed_deadlines == 0


def test_before_the_first_iteration_there_are_no_figures():
    found = FixedRateLoop(0.02).statistics()
    assert found.iterations == 0 and np.isnan(found.jitter_max) and np.isnan(found.work_p99)


@pytest.mark.parametrize("period", [0.0, -0.02, float("nan"), float("inf")])
def test_a_period_must_be_positive(period):
    with pytest.raises(ConfigError, match="it must be a positive number of seconds"):
        FixedRateLoop(period)
