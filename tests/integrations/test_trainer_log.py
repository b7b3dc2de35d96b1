"""What the libraries' trainers log and say about the shares of reward terms, whatever the library."""

import io
from typing import Any

import pytest
import torch
from rich.console import Console
from tiny import given, run, tiny

from palestra.integrations.trainer import LibraryRunnerCfg, LibraryTrainer
from palestra.managers import RewardTermCfg
from palestra.rl.console import TrainingConsole
from palestra.utils import configclass


@configclass
class RewardsCfg:
    near = RewardTermCfg(func=given, weight=9.0, params={"name": "near"}, group="task")
    smooth = RewardTermCfg(func=given, weight=-1.0, params={"name": "smooth"}, group="style")


class Idle(LibraryTrainer):
    """A learner that learns nothing: five steps an iteration, so that an episode of ten ends in every second one."""

    library = "idle"
    steps_per_iteration = 10
    obs_groups: dict[str, list[str]] = {}

    def train(self, iterations: int) -> None:
        self.rows: list[dict[str, Any]] = []
        for _ in range(iterations):
            run(self.env, 5)
            try:
                self.iteration_done({})
            finally:
                self.rows.append(self.last_metrics)

    def library_state(self) -> dict[str, Any]:
        return {}

    def load_library_state(self, content: dict[str, Any], networks_only: bool) -> None:
        pass


def trained(iterations: int) -> tuple[Idle, str]:
    env = tiny(rewards=RewardsCfg())
    env.near, env.smooth = torch.tensor([2.0, 0.0]), torch.tensor([1.0, 1.0])
    text = io.StringIO()
    learner = Idle(env, LibraryRunnerCfg(logger="none"), "Tiny", TrainingConsole(Console(file=text), quiet=True))
    env.reset(seed=0)
    learner.learn(iterations)
    return learner, text.getvalue()


def test_shares_of_an_iteration() -> None:
    first, second = trained(2)[0].rows
    assert not [name for name in first if name.startswith(("Reward_", "Episode_"))]
    # Means over both environments are 9 · 1 and -1 · 1 a second.
    assert second["Reward_Share/near"] == pytest.approx(0.9)
    assert second["Reward_Share/group/style"] == pytest.approx(0.1)
    assert second["Reward_Group/task"] == pytest.approx(9.0)


def test_the_warning_at_the_end() -> None:
    assert trained(39)[1] == ""  # nineteen iterations with episodes
    text = " ".join(trained(40)[1].split())
    assert text == "warning: reward term 'near' makes up 90 % of the total reward; the others hardly count"
