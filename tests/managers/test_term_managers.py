"""Actions, rewards, terminations, events, commands, curricula and recorders, by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tiny import STEP_DT, ActionsCfg, flagged, given, run, tiny

from palestra.envs import mdp
from palestra.errors import ConfigError, PalestraError
from palestra.managers import (
    CommandTerm,
    CommandTermCfg,
    CurriculumTermCfg,
    EventTermCfg,
    ManagerTermBase,
    ObservationTermCfg,
    RecorderManagerBaseCfg,
    RecorderTerm,
    RecorderTermCfg,
    RewardTermCfg,
    SceneEntityCfg,
    TerminationTermCfg,
)
from palestra.utils import configclass

# -- actions ----------------------------------------------------------------------------------------------------


def test_actions_are_remembered_and_forgotten() -> None:
    env = tiny()
    env.reset()
    run(env, 1, 0.5)
    run(env, 1, -1.0)
    assert env.action_manager.action.tolist() == [[-1.0], [-1.0]]
    assert env.action_manager.prev_action.tolist() == [[0.5], [0.5]]
    assert env.action_manager.get_term("torque").processed_actions.tolist() == [[-2.0], [-2.0]]
    assert env.scene["robot"].data.applied_torque.tolist() == [[-2.0], [-2.0]]
    assert env.action_manager.slices() == {"torque": slice(0, 1)}
    env.action_manager.reset(torch.tensor([True, False]))
    assert env.action_manager.action.tolist() == [[0.0], [-1.0]]
    assert env.action_manager.prev_action.tolist() == [[0.0], [0.5]]


def test_a_wrong_action_shape_and_no_action_terms() -> None:
    env = tiny()
    env.reset()
    with pytest.raises(ConfigError, match=r"the action has shape \(2, 3\); it must be \(2, 1\)"):
        env.step(torch.zeros(2, 3))
    with pytest.raises(ConfigError, match="the task has no action term"):
        tiny(actions=None)


# -- rewards ----------------------------------------------------------------------------------------------------


@configclass
class TwoRewardsCfg:
    first = RewardTermCfg(func=given, weight=2.0, params={"name": "a"})
    second = RewardTermCfg(func=given, weight=-0.5, params={"name": "b"})


@configclass
class EndsCfg:
    time_out = TerminationTermCfg(func=mdp.time_out, time_out=True)
    fell = TerminationTermCfg(func=flagged, params={"name": "fell"})
    won = TerminationTermCfg(func=flagged, params={"name": "won"}, success=True)


def test_rewards_are_weighted_by_the_step_and_logged_per_second_of_the_longest_episode() -> None:
    env = tiny(rewards=TwoRewardsCfg(), terminations=EndsCfg())
    env.reset()
    env.fetch_log()
    env.a, env.b = torch.tensor([1.0, 3.0]), torch.tensor([4.0, 0.0])
    *_, reward, _, _, _ = run(env, 1)
    assert reward.tolist() == pytest.approx([(2 - 2) * STEP_DT, 6 * STEP_DT])
    run(env, 1)
    manager = env.reward_manager
    assert manager.step_values.tolist() == [[1.0, 3.0], [4.0, 0.0]]
    assert manager.episode_sums.flatten().tolist() == pytest.approx([4 * STEP_DT, 12 * STEP_DT, -4 * STEP_DT, 0.0])
    env.fell = torch.tensor([False, True])
    run(env, 1)
    log = env.fetch_log()
    longest = 10 * STEP_DT
    assert log["Episode_Reward/first"] == pytest.approx(18 * STEP_DT / longest)
    assert log["Episode_Reward/second"] == 0.0
    assert log["Step_Value/first"] == pytest.approx(2.0)  # the mean over steps and environments
    assert log["Episode/length"] == 3.0
    assert log["Episode/return"] == pytest.approx(18 * STEP_DT)
    assert log["Metrics/success_rate"] == 0.0
    assert manager.episode_sums[:, 1].abs().max() == 0.0
    assert "Episode_Reward/first" not in env.fetch_log()  # no episode ended since


def test_terms_may_have_a_group() -> None:
    rewards = {"first": TwoRewardsCfg().first.replace(group="task"), "second": TwoRewardsCfg().second}
    env = tiny(rewards=rewards)
    assert env.reward_groups == {"first": "task"}
    manager = env.reward_manager
    manager.set_term_cfg("second", manager.get_term_cfg("second").replace(group="style"))
    assert env.reward_groups == {"first": "task", "second": "style"}
    rewards["second"].group = 3
    with pytest.raises(ConfigError, match="reward term 'second': group is 3; it must be a name, or '' for none"):
        tiny(rewards=rewards)


def test_weights_can_be_read_and_written() -> None:
    env = tiny(rewards=TwoRewardsCfg())
    env.reset()
    env.a = env.b = torch.ones(2)
    address = env.reward_manager.weights.data_ptr()
    env.reward_manager.set_weight("second", -1.5)
    env.reward_manager.set_weight("first", torch.tensor(2.5))
    assert env.reward_manager.get_weight("second").item() == -1.5
    *_, reward, _, _, _ = run(env, 1)
    assert reward.tolist() == pytest.approx([STEP_DT] * 2)
    assert env.reward_manager.weights.data_ptr() == address
    cfg = env.reward_manager.get_term_cfg("first")
    cfg.weight, cfg.params = 10.0, {"name": "b"}
    env.reward_manager.set_term_cfg("first", cfg)
    env.b = torch.full((2,), 2.0)
    *_, reward, _, _, _ = run(env, 1)
    assert reward.tolist() == pytest.approx([(20 - 3) * STEP_DT] * 2)
    with pytest.raises(ConfigError, match="no reward term 'frist': did you mean 'first'"):
        env.reward_manager.set_weight("frist", 1.0)
    cfg.params = {"nam": "b"}
    with pytest.raises(ConfigError, match="reward term 'first': no parameter 'nam'; did you mean 'name'"):
        env.reward_manager.set_term_cfg("first", cfg)


def test_a_reward_of_the_wrong_shape_is_named() -> None:
    def wide(env: Any) -> torch.Tensor:
        return torch.zeros(env.num_envs, 2)

    env = tiny(rewards={"wide": RewardTermCfg(func=wide, weight=1.0)})
    with pytest.raises(ConfigError, match=r"reward term 'wide' returned \(2, 2\); it must be \(2,\)"):
        run(env, 1)


def test_nan_in_a_reward_is_named_when_checks_are_on() -> None:
    env = tiny(rewards=TwoRewardsCfg())
    env.check_terms = True
    env.reset()
    run(env, 2)
    env.b = torch.tensor([float("nan"), 0.0])
    with pytest.raises(PalestraError, match=r"^reward term 'second' is not finite in environment 0 at step 3$"):
        run(env, 1)


# -- terminations -----------------------------------------------------------------------------------------------


def test_terminations_time_outs_and_success() -> None:
    env = tiny(4, terminations=EndsCfg())
    env.reset()
    env.fetch_log()
    run(env, 1)
    env.fell = torch.tensor([True, False, False, True])
    env.won = torch.tensor([False, True, False, False])
    env.episode_length_buf[2:] = 9  # these two reach the limit of ten
    _, _, terminated, time_outs, _ = run(env, 1)
    assert terminated.tolist() == [True, True, False, True]
    assert time_outs.tolist() == [False, False, True, False]  # a failure is no time-out
    manager = env.termination_manager
    assert manager.dones.all()
    assert manager.succeeded.tolist() == [False, True, False, False]
    assert manager.get_term("time_out").tolist() == [False, False, True, True]
    assert manager.active_terms == ["time_out", "fell", "won", "diverged"]
    log = env.fetch_log()
    names = ("time_out", "fell", "won", "diverged")
    assert [log[f"Episode_Termination/{name}"] for name in names] == [0.5, 0.5, 0.25, 0.0]
    assert log["Metrics/success_rate"] == 0.25
    assert env.episode_length_buf.tolist() == [0, 0, 0, 0]
    assert env.has_success


def test_a_termination_must_be_bool() -> None:
    env = tiny(terminations={"t": TerminationTermCfg(func=given, params={"name": "a"})})
    with pytest.raises(
        ConfigError, match=r"termination term 't' returned \(2,\) torch.float32; it must be \(2,\) bool"
    ):
        run(env, 1)


def test_success_is_not_logged_where_no_term_defines_it() -> None:
    env = tiny()
    env.reset()
    run(env, 10)
    log = env.fetch_log()
    assert "Metrics/success_rate" not in log
    assert log["Episode_Termination/time_out"] == 1.0


# -- events -----------------------------------------------------------------------------------------------------


def noting(calls: list) -> Callable[..., None]:
    """Return an event that remembers step and mask of the calls that concern an environment."""

    def note(env: Any, env_mask: torch.Tensor) -> None:
        if env_mask.any():
            calls.append((env.common_step_count, env_mask.tolist()))

    return note


def test_modes_run_when_they_should() -> None:
    calls: dict[str, list] = {mode: [] for mode in ("prestartup", "startup", "reset", "custom")}
    events = {mode: EventTermCfg(func=noting(calls[mode]), mode=mode) for mode in calls}
    env = tiny(3, events=events)
    assert calls["prestartup"] == calls["startup"] == [(0, [True] * 3)]
    assert calls["reset"] == []
    env.reset()
    assert calls["reset"] == [(0, [True] * 3)]
    env.episode_length_buf[1] = 9
    run(env, 2)
    assert calls["reset"][1:] == [(1, [False, True, False])]
    env.event_manager.apply("custom", torch.tensor([True, False, True]))
    assert calls["custom"] == [(2, [True, False, True])]
    assert len(calls["startup"]) == 1
    assert env.event_manager.active_terms == {m: [m] for m in calls}


def test_intervals_lie_in_their_range_and_restart_with_the_episode() -> None:
    calls: list = []
    low, high = 3 * STEP_DT, 6 * STEP_DT
    term = EventTermCfg(func=noting(calls), mode="interval", interval_range_s=(low, high))
    env = tiny(8, events={"push": term}, episode_length_s=1000.0)
    env.reset(seed=3)
    run(env, 60)
    for i in range(8):
        steps = [step for step, mask in calls if mask[i]]
        gaps = np.diff([0, *steps])
        assert len(steps) >= 9
        assert gaps.min() >= 3 and gaps.max() <= 6
        assert len(set(gaps.tolist())) > 1
    assert len({tuple(mask) for _, mask in calls}) > 5  # each environment has its own clock
    calls.clear()
    left = env.event_manager._time_left["push"]
    left.fill_(STEP_DT)
    env.episode_length_buf[2] = 10**6  # a new episode starts a new clock
    run(env, 1)
    assert calls[-1][1] == [i != 2 for i in range(8)]


def test_global_intervals_concern_all_environments_at_once() -> None:
    calls: list = []
    term = EventTermCfg(
        func=noting(calls),
        mode="interval",
        interval_range_s=(2 * STEP_DT, 5 * STEP_DT),
        is_global_time=True,
    )
    env = tiny(3, events={"wind": term})
    env.reset(seed=0)
    run(env, 30)  # episodes of ten steps do not touch the clock
    assert all(mask == [True] * 3 for _, mask in calls)
    gaps = np.diff([0, *(step for step, _ in calls)])
    assert gaps.min() >= 2 and gaps.max() <= 5
    first = [step for step, _ in calls]
    calls.clear()
    env.reset(seed=0)
    run(env, 30)
    assert [step - 30 for step, _ in calls] == first  # the same seed gives the same clock


def test_reset_events_may_need_some_steps_between() -> None:
    calls: list = []
    term = EventTermCfg(func=noting(calls), mode="reset", min_step_count_between_reset=5)
    env = tiny(2, events={"weights": term}, episode_length_s=2 * STEP_DT)
    env.reset()
    run(env, 12)  # resets after steps 2, 4, 6, ...
    assert [step for step, mask in calls] == [0, 6, 12]


@pytest.mark.parametrize("limits", [None, (0.0, 1.0), (2.0, 1.0)])
def test_bad_intervals(limits) -> None:
    term = EventTermCfg(func=noting([]), mode="interval", interval_range_s=limits)
    with pytest.raises(ConfigError, match=r"event term 'push': interval_range_s is .*; it must be \(low, high\)"):
        tiny(events={"push": term})


def test_terms_with_env_ids_work_in_eager_mode_with_one_warning() -> None:
    seen: list = []

    def isaac_lab_style(env: Any, env_ids: torch.Tensor, value: float) -> None:
        seen.append((env_ids.tolist(), value))

    with pytest.warns(UserWarning, match="event term 'old' takes env_ids: its environment steps eagerly") as warned:
        env = tiny(3, events={"old": EventTermCfg(func=isaac_lab_style, mode="reset", params={"value": 2.0})})
    assert len(warned) == 1
    assert env.capture == "off"
    env.reset()
    env.episode_length_buf[2] = 9
    run(env, 3)
    assert seen == [([0, 1, 2], 2.0), ([2], 2.0)]
    assert tiny().capture == "auto"


class Counter(ManagerTermBase):
    """A class term with a memory and a resolved entity."""

    def __init__(self, cfg: Any, env: Any) -> None:
        super().__init__(cfg, env)
        self.entity = cfg.params["asset_cfg"]
        self.total = torch.zeros(env.num_envs)

    def reset(self, env_mask: torch.Tensor) -> None:
        self.total.masked_fill_(env_mask, 0.0)

    def __call__(self, env: Any, asset_cfg: SceneEntityCfg) -> torch.Tensor:
        self.total += 1.0
        return self.total


def test_class_terms_have_a_memory_that_resets_clear() -> None:
    params = {"asset_cfg": SceneEntityCfg("robot", joint_names=["sw.*"])}
    env = tiny(rewards={"count": RewardTermCfg(func=Counter, weight=1.0 / STEP_DT, params=params)})
    env.reset()
    run(env, 3)
    env.episode_length_buf[1] = 9
    *_, reward, _, _, _ = run(env, 1)
    assert reward.tolist() == pytest.approx([4.0, 4.0])
    *_, reward, _, _, _ = run(env, 1)
    assert reward.tolist() == pytest.approx([5.0, 1.0])
    assert env.reward_manager._terms["count"].func.entity.joint_ids == slice(None)


# -- messages about terms ---------------------------------------------------------------------------------------


def parameterised(env: Any, gain: float, asset_cfg: SceneEntityCfg = SceneEntityCfg("robot")) -> torch.Tensor:
    return torch.zeros(env.num_envs) + gain


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (
            RewardTermCfg(func=parameterised, weight=1.0, params={"gian": 1.0}),
            "reward term 'x': no parameter 'gian'; did you mean 'gain'? known: 'gain', 'asset_cfg'",
        ),
        (
            RewardTermCfg(func=parameterised, weight=1.0),
            "reward term 'x': parameter 'gain' is missing; it takes gain, asset_cfg",
        ),
        (
            RewardTermCfg(func=parameterised, weight=1.0, params={"gain": 1.0, "asset_cfg": SceneEntityCfg("robt")}),
            "reward term 'x', asset_cfg: the scene has no entity 'robt': did you mean 'robot'? known: 'robot'",
        ),
        (
            RewardTermCfg(
                func=parameterised,
                weight=1.0,
                params={"gain": 1.0, "asset_cfg": SceneEntityCfg("robot", joint_names=["swin"])},
            ),
            "reward term 'x', asset_cfg: joints of 'robot': no match for 'swin'; did you mean 'swing'? known: 'swing'",
        ),
        (
            RewardTermCfg(
                func=parameterised,
                weight=1.0,
                params={"gain": 1.0, "asset_cfg": SceneEntityCfg("robot", body_names="bobb")},
            ),
            "reward term 'x', asset_cfg: bodies of 'robot': no match for 'bobb'; did you mean 'bob'? "
            "known: 'pivot', 'bob'",
        ),
        (RewardTermCfg(func=3, weight=1.0), "reward term 'x': func is 3; it must be a function or a class of terms"),
        (RewardTermCfg(func=dict, weight=1.0), "reward term 'x': class dict must derive from ManagerTermBase"),
        (
            ObservationTermCfg(func=parameterised),
            "reward term 'x' is a ObservationTermCfg; it must be a RewardTermCfg",
        ),
    ],
)
def test_bad_terms_are_named_at_the_start(term: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        tiny(rewards={"x": term})
    assert str(error.value) == message


def test_default_entities_are_resolved_too_and_configurations_stay_untouched() -> None:
    shared = SceneEntityCfg("robot", joint_names=["swing"], body_names=["bob"])
    term = RewardTermCfg(func=parameterised, weight=1.0, params={"gain": 1.0, "asset_cfg": shared})
    env = tiny(rewards={"x": term, "y": RewardTermCfg(func=parameterised, weight=1.0, params={"gain": 2.0})})
    resolved = env.reward_manager._terms["x"].params["asset_cfg"]
    assert resolved.joint_ids == slice(None)
    assert resolved.body_ids == slice(1, 2)
    assert shared.body_ids == slice(None)
    assert env.reward_manager._terms["y"].params["asset_cfg"].joint_ids == slice(None)


# -- commands ---------------------------------------------------------------------------------------------------


class CountingCommand(CommandTerm):
    """Counts how often each environment got a new command; its metric is the time since the reset."""

    def __init__(self, cfg: Any, env: Any) -> None:
        super().__init__(cfg, env)
        self._command = torch.zeros(env.num_envs, 1)
        self.metrics = {"age": torch.zeros(env.num_envs)}

    @property
    def command(self) -> torch.Tensor:
        return self._command

    def _resample_command(self, env_mask: torch.Tensor) -> None:
        self._command += env_mask.float().unsqueeze(-1)

    def _update_command(self) -> None:
        pass

    def _update_metrics(self) -> None:
        self.metrics["age"] += 1.0


def command_cfg(low: float, high: float) -> CommandTermCfg:
    return CommandTermCfg(class_type=CountingCommand, resampling_time_range=(low, high))


def test_commands_are_drawn_at_reset_and_after_their_time() -> None:
    env = tiny(2, commands={"goal": command_cfg(4 * STEP_DT, 4 * STEP_DT)}, episode_length_s=1000.0)
    env.reset()
    start = env.command_manager.get_command("goal").clone()
    counts = []
    for _ in range(9):
        run(env, 1)
        counts.append(int((env.command_manager.get_command("goal") - start)[0, 0]))
    assert counts == [0, 0, 0, 1, 1, 1, 1, 2, 2]
    with pytest.raises(ConfigError, match="no command term 'gaol': did you mean 'goal'"):
        env.command_manager.get_command("gaol")


def test_times_between_commands_lie_in_their_range() -> None:
    env = tiny(16, commands={"goal": command_cfg(2 * STEP_DT, 5 * STEP_DT)}, episode_length_s=1000.0)
    env.reset(seed=0)
    seen = [env.command_manager.get_command("goal").clone()]
    for _ in range(60):
        run(env, 1)
        seen.append(env.command_manager.get_command("goal").clone())
    changes = torch.cat(seen, dim=1).diff(dim=1)
    for row in changes:
        gaps = row.nonzero().flatten().diff()
        assert gaps.min() >= 2 and gaps.max() <= 5
        assert len(gaps.unique()) > 1


def test_metrics_are_logged_when_an_episode_ends() -> None:
    env = tiny(2, commands={"goal": command_cfg(1.0, 1.0)})
    env.reset()
    run(env, 4)
    env.episode_length_buf[0] = 9
    run(env, 1)
    assert env.fetch_log()["Metrics/goal/age"] == 4.0
    assert env.command_manager.get_term("goal").metrics["age"].tolist() == [1.0, 5.0]


@pytest.mark.parametrize("limits", [(0.0, 1.0), (2.0, 1.0)])
def test_bad_resampling_times(limits) -> None:
    with pytest.raises(ConfigError, match=r"resampling_time_range is .* 0 < low <= high"):
        tiny(commands={"goal": command_cfg(*limits)})


# -- curriculum -------------------------------------------------------------------------------------------------


def test_a_curriculum_changes_a_weight_on_the_device_and_logs_it() -> None:
    params = {"term_name": "first", "weight": 5.0, "num_steps": 3}
    env = tiny(
        rewards=TwoRewardsCfg(),
        curriculum={"raise": CurriculumTermCfg(func=mdp.modify_reward_weight, params=params)},
        episode_length_s=2 * STEP_DT,
    )
    env.reset()
    run(env, 2)
    assert env.reward_manager.get_weight("first").item() == 2.0
    run(env, 2)
    assert env.reward_manager.get_weight("first").item() == 5.0
    assert env.fetch_log()["Curriculum/raise"] == 5.0
    env.a = torch.ones(2)
    *_, reward, _, _, _ = run(env, 1)
    assert reward.tolist() == pytest.approx([5 * STEP_DT] * 2)


def test_what_a_curriculum_returns_is_logged() -> None:
    def levels(env: Any, env_mask: torch.Tensor) -> dict[str, Any]:
        return {"mean": torch.tensor([1.0, 3.0]), "top": 7}

    def quiet(env: Any, env_mask: torch.Tensor) -> None:
        return None

    env = tiny(curriculum={"a": CurriculumTermCfg(func=levels), "b": CurriculumTermCfg(func=quiet)})
    env.reset()
    log = env.fetch_log()
    assert log["Curriculum/a/mean"] == 2.0
    assert log["Curriculum/a/top"] == 7.0
    assert not any(key.startswith("Curriculum/b") for key in log)


# -- recorders --------------------------------------------------------------------------------------------------


class PositionRecorder(RecorderTerm):
    def record_post_reset(self, env_mask: torch.Tensor) -> Any:
        return "initial", self._env.scene["robot"].data.joint_pos

    def record_pre_step(self) -> Any:
        return "action", self._env.action_manager.action

    def record_post_step(self) -> Any:
        return "joint_pos", self._env.scene["robot"].data.joint_pos


@configclass
class RecordersCfg(RecorderManagerBaseCfg):
    position: RecorderTermCfg = RecorderTermCfg(class_type=PositionRecorder)


def test_recorders_write_one_file_an_episode(tmp_path) -> None:
    cfg = RecordersCfg(dataset_export_dir_path=str(tmp_path / "records"), dataset_filename="demo")
    env = tiny(2, recorders=cfg, episode_length_s=4 * STEP_DT)
    assert env.capture == "off"
    env.reset()
    positions = []
    for step in range(4):
        run(env, 1, 0.1 * step)
        positions.append(env.scene["robot"].data.joint_pos[1, 0].item())
    files = sorted((tmp_path / "records").iterdir())
    assert [f.name for f in files] == ["demo_000000.npz", "demo_000001.npz"]
    second = np.load(files[1])
    assert second["initial"].flatten().tolist() == pytest.approx([0.1])
    assert second["action"].flatten().tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert second["joint_pos"].shape == (4, 1)
    assert second["joint_pos"][:3, 0].tolist() == pytest.approx(positions[:3])
    run(env, 2)
    env.close()
    files = sorted((tmp_path / "records").iterdir())
    assert len(files) == 4
    assert np.load(files[3])["joint_pos"].shape == (2, 1)


# -- configuration in Isaac Lab's style -------------------------------------------------------------------------


@configclass
class IsaacLabStyleCfg:
    """Nested classes, term objects as attributes without annotation."""

    @configclass
    class RewardsCfg:
        alive = RewardTermCfg(func=mdp.is_alive, weight=1.0)
        torques = RewardTermCfg(
            func=mdp.joint_torques_l2, weight=-0.1, params={"asset_cfg": SceneEntityCfg("robot", joint_names=[".*"])}
        )

    rewards: RewardsCfg = RewardsCfg()


def test_terms_as_attributes_and_none_removes_one() -> None:
    cfg = IsaacLabStyleCfg()
    assert tiny(rewards=cfg.rewards).reward_manager.active_terms == ["alive", "torques"]
    cfg.rewards.torques = None
    assert tiny(rewards=cfg.rewards).reward_manager.active_terms == ["alive"]
    assert IsaacLabStyleCfg().rewards.torques is not None
    assert tiny(actions=ActionsCfg()).action_manager.active_terms == ["torque"]
