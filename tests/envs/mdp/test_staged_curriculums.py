"""Curricula advance on performance and not on time, change what they say, and survive a checkpoint."""

import io
from typing import Any

import pytest
import torch
from torch import Tensor

from palestra.envs import ManagerBasedRLEnv, mdp
from palestra.errors import ConfigError
from palestra.managers import CurriculumTermCfg, EventTermCfg, SceneEntityCfg

from .conftest import MakeEnv, place, same
from .test_no_host import check

CUBE = SceneEntityCfg("cube")


def score(env: Any) -> Tensor:
    """What the test says that the episodes were worth."""
    return getattr(env, "given_score", torch.zeros(env.num_envs))


def term(func: Any, **params: Any) -> dict[str, CurriculumTermCfg]:
    return {"staged": CurriculumTermCfg(func=func, params={"metric": score, "window": 6, **params})}


def end_episodes(env: ManagerBasedRLEnv, worth: float, rounds: int = 1) -> dict[str, float]:
    """Let all three episodes end ``rounds`` times and return the log."""
    for _ in range(rounds):
        env.given_score = torch.full((env.num_envs,), worth)  # type: ignore[attr-defined]
        env.episode_length_buf.fill_(env.max_episode_length - 1)
        place(env)
        env.step(torch.zeros(env.num_envs, env.num_actions))
    return env.fetch_log()


def weight(env: ManagerBasedRLEnv, name: str = "track") -> float:
    return float(env.reward_manager.get_weight(name))


WEIGHTS = {"term_name": "track", "weights": [0.0, 1.0, 4.0]}


def test_weights_follow_performance_and_not_time(make_env: MakeEnv) -> None:
    env = make_env(curriculum=term(mdp.reward_weight_stages, **WEIGHTS, thresholds=[0.5, 0.8]))
    assert env.capture == "auto"
    assert weight(env) == 0.0
    log = end_episodes(env, 0.49, rounds=20)
    assert weight(env) == 0.0
    assert log["Curriculum/staged/stage"] == 0.0
    assert log["Curriculum/staged/performance"] == pytest.approx(0.49)
    assert log["Curriculum/staged/weight"] == 0.0
    end_episodes(env, 1.0, rounds=12)  # the mean over 6 episodes has passed 0.5, later 0.8
    assert weight(env) == 4.0
    assert end_episodes(env, 1.0)["Curriculum/staged/stage"] == 2.0


def test_a_stage_takes_a_window_of_episodes(make_env: MakeEnv) -> None:
    env = make_env(curriculum=term(mdp.reward_weight_stages, **WEIGHTS, thresholds=0.5))
    stages = []
    for _ in range(4):
        end_episodes(env, 1.0)
        stages.append(weight(env))
    assert stages == [0.0, 1.0, 1.0, 4.0]  # three episodes a round, six a stage


def test_a_fall_below_the_lower_threshold_goes_back(make_env: MakeEnv) -> None:
    thresholds = {"thresholds": 0.5, "lower_thresholds": 0.2}
    env = make_env(curriculum=term(mdp.reward_weight_stages, **WEIGHTS, **thresholds))
    end_episodes(env, 1.0, rounds=4)
    assert weight(env) == 4.0
    end_episodes(env, 0.3, rounds=10)
    assert weight(env) == 4.0
    seen = []
    for _ in range(12):
        end_episodes(env, 0.0)
        seen.append(weight(env))
    assert [w for w, before in zip(seen, [4.0, *seen], strict=False) if w != before] == [1.0, 0.0]


def test_episodes_that_a_user_cuts_off_do_not_count(make_env: MakeEnv) -> None:
    env = make_env(curriculum=term(mdp.reward_weight_stages, **WEIGHTS, thresholds=0.5))
    env.given_score = torch.ones(3)  # type: ignore[attr-defined]
    for _ in range(10):
        env.step(torch.zeros(3, env.num_actions))
        env.reset()
    assert weight(env) == 0.0


def test_a_bonus_above_a_threshold(make_env: MakeEnv) -> None:
    env = make_env(curriculum=term(mdp.bonus_above_threshold, term_name="track", thresholds=0.9))
    assert weight(env) == 0.0
    end_episodes(env, 0.8, rounds=6)
    assert weight(env) == 0.0
    end_episodes(env, 1.0, rounds=8)
    assert weight(env) == 2.0  # the configured one


def steps_until_time_out(env: ManagerBasedRLEnv) -> int:
    env.reset()
    for count in range(1, 200):
        place(env)
        _, _, _, truncated, _ = env.step(torch.zeros(env.num_envs, env.num_actions))
        if bool(truncated.all()):
            return count
    return -1


def test_episodes_become_longer(make_env: MakeEnv) -> None:
    env = make_env(curriculum=term(mdp.episode_length_stages, lengths_s=[0.2, 0.6, 1.0], thresholds=0.5))
    assert steps_until_time_out(env) == 10  # 0.2 s of 20 ms
    end_episodes(env, 1.0, rounds=2)
    assert steps_until_time_out(env) == 30
    end_episodes(env, 1.0, rounds=4)
    assert steps_until_time_out(env) == env.max_episode_length == 50


def test_commands_become_larger(make_env: MakeEnv) -> None:
    env = make_env(
        num_envs=100,
        curriculum=term(
            mdp.command_range_stages,
            command_name="velocity",
            range_name="lin_vel_x",
            initial_range=(-0.1, 0.2),
            num_stages=3,
            thresholds=0.5,
            window=100,
        ),
    )
    command = env.command_manager.get_command("velocity")
    assert -0.1 <= command[:, 0].min() < -0.05 and 0.15 < command[:, 0].max() <= 0.2
    end_episodes(env, 1.0, rounds=1)
    assert -0.55 <= command[:, 0].min() < -0.4 and 0.5 < command[:, 0].max() <= 0.6  # half way to (-1, 1)
    end_episodes(env, 1.0, rounds=1)
    assert -1.0 <= command[:, 0].min() < -0.8 and 0.8 < command[:, 0].max() <= 1.0


def mass_event(**params: Any) -> dict[str, EventTermCfg]:
    both = {"asset_cfg": CUBE, "mass_distribution_params": (0.5, 3.0), "operation": "scale", **params}
    return {
        "reset": EventTermCfg(func=mdp.reset_scene_to_default, mode="reset"),
        "mass": EventTermCfg(func=mdp.randomize_rigid_body_mass, mode="reset", params=both),
    }


def cube_mass(env: ManagerBasedRLEnv) -> Tensor:
    return env.engine.model_field("body_mass")[:, env.engine.model.body("cube/body").id]


def test_randomization_widens_while_performance_stays_up(make_env: MakeEnv) -> None:
    env = make_env(
        num_envs=200,
        events=mass_event(),
        curriculum=term(
            mdp.event_range_stages,
            event_name="mass",
            parameter="mass_distribution_params",
            initial_range=(1.0, 1.0),
            num_stages=3,
            thresholds=0.5,
            window=200,
        ),
    )
    same(cube_mass(env), 1.0)
    end_episodes(env, 1.0)
    mass = cube_mass(env)
    assert 0.75 <= mass.min() < 0.8 and 1.9 < mass.max() <= 2.0
    end_episodes(env, 0.0)
    end_episodes(env, 1.0, rounds=8)
    mass = cube_mass(env)
    assert 0.5 <= mass.min() < 0.55 and 2.9 < mass.max() <= 3.0


def test_a_range_of_a_mapping_of_ranges(make_env: MakeEnv) -> None:
    push = EventTermCfg(
        func=mdp.push_by_setting_velocity, mode="reset", params={"velocity_range": {"x": (-2.0, 2.0), "y": (1.0, 1.0)}}
    )
    env = make_env(
        num_envs=100,
        events={"reset": EventTermCfg(func=mdp.reset_scene_to_default, mode="reset"), "push": push},
        curriculum=term(
            mdp.event_range_stages,
            event_name="push",
            parameter="velocity_range.x",
            initial_range=(0.5, 0.5),
            num_stages=2,
            thresholds=0.5,
            window=100,
        ),
    )
    velocity = env.scene.articulations["robot"].data
    same(velocity.root_lin_vel_w[:, :2], [0.5, 1.0])
    end_episodes(env, 1.0)
    assert velocity.root_lin_vel_w[:, 0].min() < -1.8 and velocity.root_lin_vel_w[:, 0].max() > 1.8
    same(velocity.root_lin_vel_w[:, 1], 1.0)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("length", 1.0),
        ("return", 50 * 0.02 * 1.0),
        ("reward/alive", 1.0),
        ("metrics/velocity/error_vel_xy", 0.0),
    ],
)
def test_metrics(make_env: MakeEnv, metric: str, expected: float) -> None:
    env = make_env(
        curriculum=term(mdp.reward_weight_stages, term_name="track", weights=[0, 1], thresholds=9, metric=metric)
    )
    for _ in range(50):
        env.command_manager.get_command("velocity").zero_()
        place(env)
        env.step(torch.zeros(3, env.num_actions))
    measured = env.fetch_log()["Curriculum/staged/performance"]
    assert measured == pytest.approx(expected, abs=0.3 if metric.startswith("metrics") else 1e-4)


def test_the_state_survives_a_checkpoint(make_env: MakeEnv) -> None:
    curriculum = {
        **term(
            mdp.event_range_stages,
            event_name="mass",
            parameter="mass_distribution_params",
            initial_range=(1.0, 1.0),
            num_stages=3,
            thresholds=0.5,
        ),
        "length": CurriculumTermCfg(
            func=mdp.episode_length_stages,
            params={"metric": score, "window": 3, "lengths_s": [0.5, 1.0], "thresholds": 0.5},
        ),
    }
    env = make_env(events=mass_event(), curriculum=curriculum)
    end_episodes(env, 1.0, rounds=3)
    file = io.BytesIO()
    torch.save(env.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    resumed = make_env(events=mass_event(), curriculum=curriculum)
    assert int(resumed.episode_length_limit) == 25
    resumed.load_state_dict(state)
    assert int(resumed.episode_length_limit) == 50
    ranges = [e.event_manager.adjustable_range("mass", "mass_distribution_params").tolist() for e in (env, resumed)]
    assert ranges[0] == ranges[1] == [0.75, 2.0]
    for each in (env, resumed):  # the window goes on where it was
        end_episodes(each, 1.0)
    assert weight(env) == weight(resumed)
    ranges = [e.event_manager.adjustable_range("mass", "mass_distribution_params").tolist() for e in (env, resumed)]
    assert ranges[0] == ranges[1] == [0.5, 3.0]


BAD = [
    (mdp.reward_weight_stages, {"term_name": "trac", "weights": [0, 1], "thresholds": 1}, "no reward term 'trac'"),
    (mdp.reward_weight_stages, {"term_name": "track", "weights": [1], "thresholds": 1}, "two weights or more"),
    (mdp.reward_weight_stages, {"term_name": "track", "weights": [0, 1]}, "'thresholds' is missing"),
    (
        mdp.reward_weight_stages,
        {"term_name": "track", "weights": [0, 1, 2], "thresholds": [1]},
        "one for each of the 2 advances",
    ),
    (
        mdp.reward_weight_stages,
        {"term_name": "track", "weights": [0, 1], "thresholds": 1, "metric": "sucess"},
        "no metric 'sucess'; did you mean 'success'",
    ),
    (
        mdp.reward_weight_stages,
        {"term_name": "track", "weights": [0, 1], "thresholds": 1, "metric": "success"},
        "no termination term has success=True",
    ),
    (
        mdp.reward_weight_stages,
        {"term_name": "track", "weights": [0, 1], "thresholds": 1, "lower_thresholds": 2},
        "must lie below",
    ),
    (mdp.episode_length_stages, {"lengths_s": [0.5, 2.0], "thresholds": 1}, "at most episode_length_s, 1.0"),
    (
        mdp.command_range_stages,
        {"command_name": "velocity", "range_name": "x", "initial_range": (0, 1), "thresholds": 1},
        "no range 'x'",
    ),
    (
        mdp.event_range_stages,
        {"event_name": "mass", "parameter": "mas", "initial_range": (0, 1), "thresholds": 1},
        "no parameter 'mas'",
    ),
    (
        mdp.event_range_stages,
        {
            "event_name": "mass",
            "parameter": "mass_distribution_params",
            "initial_range": (2, 1),
            "thresholds": 1,
        },
        "low must not exceed high",
    ),
]


@pytest.mark.parametrize(("func", "params", "message"), BAD)
def test_bad_settings(make_env: MakeEnv, func: Any, params: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make_env(events=mass_event(), curriculum=term(func, **params))
    assert "curriculum term 'staged'" in str(caught.value)


# -- automatic domain randomization ------------------------------------------------------------------------


def adr(**settings: Any) -> dict[str, CurriculumTermCfg]:
    parameter = {
        "event_name": "mass",
        "parameter": "mass_distribution_params",
        "initial_range": (1.0, 1.0),
        "limits": (0.5, 3.0),
        "step": 0.1,
        **settings,
    }
    params = {
        "parameters": {"mass": mdp.AdrParameterCfg(**parameter)},
        "thresholds": (0.3, 0.9),
        "metric": carries_it,
        "queue_length": 20,
    }
    return {"adr": CurriculumTermCfg(func=mdp.automatic_domain_randomization, params=params)}


def carries_it(env: Any) -> Tensor:
    """A policy that copes with cubes of up to ``env.strength`` kg."""
    return (cube_mass(env) <= getattr(env, "strength", 1.75)).float()


def ranges_of(env: ManagerBasedRLEnv) -> list[float]:
    func: Any = env.curriculum_manager.class_terms()["adr"]
    return func.ranges[0].tolist()


def test_ranges_grow_to_where_the_policy_fails_and_shrink_when_it_gets_worse(make_env: MakeEnv) -> None:
    env = make_env(num_envs=200, events=mass_event(), curriculum=adr())
    assert env.capture == "auto"
    end_episodes(env, 0.0, rounds=40)
    low, high = ranges_of(env)
    assert low == pytest.approx(0.5, abs=1e-5)  # light cubes are no trouble: up to the limit
    assert high == pytest.approx(1.75, abs=0.11)  # heavy ones are from 1.75 kg on
    mass = cube_mass(env)
    assert mass.min() == pytest.approx(low, abs=1e-5) and mass.max() == pytest.approx(high, abs=0.11)
    at_ends = torch.isclose(mass, torch.tensor(low)) | (mass - high).abs().lt(1e-4)
    assert 0.25 < at_ends.float().mean() < 0.55  # two in five
    env.strength = 1.35  # type: ignore[attr-defined]
    end_episodes(env, 0.0, rounds=40)
    assert ranges_of(env)[1] == pytest.approx(1.35, abs=0.11)
    log = end_episodes(env, 0.0)
    assert log["Curriculum/adr/mass_low"] == pytest.approx(0.5, abs=1e-5)
    assert log["Curriculum/adr/width"] == pytest.approx((ranges_of(env)[1] - 0.5) / 2.5, abs=0.05)


def test_adr_resumes(make_env: MakeEnv) -> None:
    env = make_env(num_envs=100, events=mass_event(), curriculum=adr())
    end_episodes(env, 0.0, rounds=10)
    file = io.BytesIO()
    torch.save(env.state_dict(), file)
    file.seek(0)
    resumed = make_env(num_envs=100, events=mass_event(), curriculum=adr())
    assert ranges_of(resumed) == [1.0, 1.0] != ranges_of(env)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert ranges_of(resumed) == pytest.approx(ranges_of(env))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"limits": (1.1, 3.0)}, "must contain initial_range"),
        ({"step": 0.0}, "must be positive"),
        ({"event_name": "mas"}, "no event term 'mas'"),
        ({"parameter": "operation"}, r"must be \(low, high\)"),
    ],
)
def test_bad_adr(make_env: MakeEnv, settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_env(events=mass_event(), curriculum=adr(**settings))


def test_adr_needs_a_draw_each_episode(make_env: MakeEnv) -> None:
    events = mass_event()
    events["mass"].mode = "startup"
    with pytest.raises(ConfigError, match="must have mode 'reset' or 'interval'"):
        make_env(events=events, curriculum=adr())


def test_curricula_need_no_host(make_env: MakeEnv) -> None:
    stages = {
        "weight": term(mdp.reward_weight_stages, **WEIGHTS, thresholds=0.5, lower_thresholds=0.1)["staged"],
        "length": term(mdp.episode_length_stages, lengths_s=[0.5, 1.0], thresholds=0.5)["staged"],
        "command": term(
            mdp.command_range_stages,
            command_name="velocity",
            range_name="lin_vel_x",
            initial_range=(0.0, 0.1),
            thresholds=0.5,
        )["staged"],
    }
    automatic = adr()
    automatic["adr"].params["metric"] = score
    env = make_env(events=mass_event(), curriculum={**stages, **automatic})
    env.given_score = torch.ones(3)  # type: ignore[attr-defined]
    check(lambda: env.curriculum_manager.compute(env.all_envs))
    check(lambda: env.event_manager.apply("reset", env.all_envs))
