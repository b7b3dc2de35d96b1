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


def test_quantities_of_the_episodes_that_end() -> None:
    log = EpisodeLog(torch.device("cpu"), num_envs=3)
    first, second = log.add_episode_group(["return", "length"]), log.add_episode_group(["metric"])
    log.episode_rows(first).copy_(torch.tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]))
    log.episode_rows(second).copy_(torch.tensor([[True, True, False]]))
    log.count_episodes(torch.tensor([True, False, True]))
    log.count_episodes(torch.tensor([False, False, False]))
    assert log.fetch() == {"return": 2.0, "length": 20.0, "metric": 0.5}
    assert log.fetch() == {}
