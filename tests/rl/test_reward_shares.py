"""Shares of reward terms by hand, and the warning about a term that is nearly all of the reward."""

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from toy_env import PointMassEnv

from palestra.rl import OnPolicyRunner, PPORunnerCfg
from palestra.rl.console import TrainingConsole
from palestra.rl.reward_shares import RewardBalance, reward_shares

Quiet = Callable[[], TrainingConsole]

LOG = {
    "Episode/return": 12.0,
    "Episode_Reward/track": 6.0,
    "Episode_Reward/alive": 1.5,
    "Episode_Reward/torque": -2.0,
    "Episode_Reward/fallen": -0.5,
}
"""Σ |sum| = 10."""


def test_shares_by_hand() -> None:
    assert reward_shares(LOG, {}) == pytest.approx(
        {
            "Reward_Share/track": 0.6,
            "Reward_Share/alive": 0.15,
            "Reward_Share/torque": 0.2,
            "Reward_Share/fallen": 0.05,
        }
    )


def test_groups_by_hand() -> None:
    groups = {"track": "task", "alive": "survival", "fallen": "survival", "absent": "style"}
    shares = reward_shares(LOG, groups)
    assert {k: v for k, v in shares.items() if "group" in k.lower()} == pytest.approx(
        {
            "Reward_Group/task": 6.0,
            "Reward_Group/survival": 1.0,  # 1.5 - 0.5: sums keep their signs
            "Reward_Share/group/task": 0.6,
            "Reward_Share/group/survival": 0.2,  # (1.5 + 0.5) / 10: shares do not cancel
        }
    )


@pytest.mark.parametrize(
    "log", [{}, {"Episode_Reward/a": 0.0}, {"Episode_Reward/a": 1.0, "Episode_Reward/b": math.nan}]
)
def test_without_a_sum_there_are_no_shares(log: dict[str, float]) -> None:
    assert reward_shares(log, {"a": "task"}) == {}


def watched(rows: list[dict[str, float] | None], planned: int | None = None) -> str | None:
    """The warning after rows of term sums; None is an iteration without episodes."""
    balance = RewardBalance(len(rows) if planned is None else planned)
    for iteration, sums in enumerate(rows):
        log = {f"Episode_Reward/{term}": value for term, value in (sums or {}).items()}
        balance.add({"iteration": iteration, **log, **reward_shares(log, {"alive": "survival"})})
    return balance.warning()


def test_a_term_beyond_four_fifths_is_named() -> None:
    expected = "reward term 'alive' makes up 86 % of the total reward; the others hardly count"
    assert watched([{"track": 1.0, "alive": 8.6, "pace": 0.4}] * 20) == expected
    assert watched([{"track": 1.0, "alive": -8.6, "pace": 0.4}] * 20) == expected  # a penalty can drown the rest too
    assert watched([{"track": 1.0, "alive": 3.9}] * 20) is None  # 79.6 %
    assert watched([{"alive": 9.0}] * 20) is None  # nothing else to count


def test_twenty_iterations_with_episodes_are_needed() -> None:
    row = {"track": 1.0, "alive": 9.0}
    assert watched([row] * 19) is None
    assert watched([row, None, *[row] * 18]) is None
    assert watched([row, None, *[row] * 19]) is not None


def test_the_last_tenth_is_judged() -> None:
    balanced, drowned = {"track": 5.0, "alive": 5.0}, {"track": 0.1, "alive": 9.9}
    assert watched([drowned] * 450 + [balanced] * 50) is None
    assert watched([balanced] * 450 + [drowned] * 50) is not None
    # Forty of fifty iterations: 0.8 · 0.99 + 0.2 · 0.5 = 0.892, a mean and not the last value.
    mixed = watched([balanced] * 450 + [drowned] * 40 + [balanced] * 10)
    assert mixed is not None and "makes up 89 %" in mixed
    # Where episodes are rare, the last twenty iterations with episodes count, however long ago they began.
    assert watched([drowned, *[None] * 9] * 20) is not None


def test_a_penalty_that_was_learned_away_is_no_fault() -> None:
    falling, walking = {"upright": 2.0, "fallen": -1.0}, {"upright": 10.0, "fallen": 0.0}
    assert watched([falling] * 30 + [walking] * 30) is None
    assert watched([falling] * 30 + [{"upright": 10.0, "fallen": -2.2}] * 30) is not None  # 18 of 33 % are left
    # A reward that is never reached is one, and a penalty that never counted too.
    assert watched([{**falling, "goal": 0.0}] * 30 + [{**walking, "goal": 0.0}] * 30) is not None
    assert watched([{**falling, "jerk": -0.01}] * 30 + [{**walking, "jerk": -0.01}] * 30) is not None
    # What was earned at first and is no longer earned has not been learned away.
    assert watched([{"upright": 2.0, "track": 1.0}] * 30 + [{"upright": 10.0, "track": 0.0}] * 30) is not None


class TwoTerms(PointMassEnv):
    """A point mass whose log names two terms, one of them in a group; no episode ends in the first iteration."""

    reward_groups = {"near": "task"}

    def __init__(self, near: float) -> None:
        super().__init__(8)
        self._near, self._fetched = near, 0

    def fetch_log(self) -> dict[str, float]:
        super().fetch_log()
        self._fetched += 1
        return {} if self._fetched == 1 else {"Episode_Reward/near": self._near, "Episode_Reward/force": -1.0}


def trained(small_cfg: PPORunnerCfg, near: float, iterations: int, **places: Any) -> tuple[OnPolicyRunner, str]:
    text = io.StringIO()
    console = TrainingConsole(Console(file=text, width=40), quiet=True)
    runner = OnPolicyRunner(TwoTerms(near), small_cfg.replace(logger="none"), console=console, **places)
    runner.learn(iterations)
    return runner, text.getvalue()


def test_the_runner_logs_shares_and_warns_once(small_cfg: PPORunnerCfg, tmp_path: Path) -> None:
    runner, text = trained(small_cfg, 19.0, 21, run_dir=tmp_path)
    assert runner.last_metrics["Reward_Share/near"] == pytest.approx(0.95)
    assert runner.last_metrics["Reward_Group/task"] == 19.0
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["Reward_Share/near"] == "" and rows[1]["Reward_Share/group/task"] == "0.95"
    assert text == "warning: reward term 'near' makes up 95 % of the total reward; the others hardly count\n"


def test_the_runner_is_silent_where_all_is_well(small_cfg: PPORunnerCfg) -> None:
    assert trained(small_cfg, 2.0, 21)[1] == ""
    assert trained(small_cfg, 19.0, 20)[1] == ""  # nineteen iterations with episodes
