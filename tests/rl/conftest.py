"""Shared by the learner's tests: a small configuration and a console that prints nothing."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # for toy_env

from rich.console import Console

from palestra.rl import ModelCfg, PPOAlgorithmCfg, PPORunnerCfg
from palestra.rl.console import TrainingConsole


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small tensors run fastest on one thread, and its sums do not depend on the machine."""
    torch.set_num_threads(1)


@pytest.fixture
def small_cfg() -> PPORunnerCfg:
    """Sixteen steps, two small networks."""
    return PPORunnerCfg(
        seed=3,
        num_steps_per_env=16,
        save_interval=100,
        actor=ModelCfg(hidden_dims=[32, 32], obs_normalization=True),
        critic=ModelCfg(hidden_dims=[32, 32], obs_normalization=True),
        algorithm=PPOAlgorithmCfg(num_learning_epochs=2, num_mini_batches=2),
    )


@pytest.fixture
def quiet() -> Callable[[], TrainingConsole]:
    """A maker of consoles whose output goes to a string."""
    return lambda: TrainingConsole(Console(file=io.StringIO()), quiet=True)
