"""Sums and counts of the log."""

import torch

from palestra.envs.episode_log import EpisodeLog


def test_groups_are_means_over_their_own_count_and_gauges_keep_their_value() -> None:
    log = EpisodeLog(torch.device("cpu"))
    first, second = log.add_group(["a", "b"]), log.add_group(["c"])
    gauge = log.add_gauge("g")
    log.add(first, torch.tensor([1.0, 2.0]), torch.tensor(1.0))
    log.add(first, torch.tensor([3.0, 4.0]), torch.tensor(3.0))
    log.set_gauge(gauge, torch.tensor(5.0))
    assert log.fetch() == {"a": 1.0, "b": 1.5, "g": 5.0}
    log.add(second, torch.tensor([6.0]), torch.tensor(2.0))
    log.add(first, torch.zeros(2), torch.tensor(0.0))
    assert log.fetch() == {"c": 3.0, "g": 5.0}


def test_an_empty_log() -> None:
    assert EpisodeLog(torch.device("cpu")).fetch() == {}
