"""Environments: the order of a step, terminal observations, copies, seeds, divergence, checkpoints."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny import STEP_DT, TinyEnvCfg, flagged, run, tiny

from palestra.config import load_env_cfg, make
from palestra.envs import (
    DirectRLEnv,
    DirectRLEnvCfg,
    ManagerBasedEnv,
    ManagerBasedEnvCfg,
    ManagerBasedRLEnv,
    mdp,
)
from palestra.errors import ConfigError
from palestra.managers import (
    ActionTermCfg,
    CommandTerm,
    CommandTermCfg,
    CurriculumTermCfg,
    EventTermCfg,
    ObservationGroupCfg,
    ObservationTermCfg,
    RewardTermCfg,
    TerminationTermCfg,
)
from palestra.scene import InteractiveSceneCfg
from palestra.sim import SimulationCfg
from palestra.utils import configclass


def actions_for(env: Any, steps: int, rows: int | None = None) -> torch.Tensor:
    """Return random actions in [-1, 1], (steps, rows, num_actions)."""
    shape = (steps, env.num_envs if rows is None else rows, env.num_actions)
    return 2.0 * torch.rand(shape, generator=torch.Generator().manual_seed(0)) - 1.0


# -- the order of a step ----------------------------------------------------------------------------------------


def traced(order: list[str], name: str, value: Any) -> Any:
    def term(env: Any) -> torch.Tensor:
        order.append(name)
        return value(env)

    return term


def test_the_order_of_a_step() -> None:
    order: list[str] = []

    class Action(mdp.JointEffortActionCfg().class_type):  # type: ignore[misc]
        def process_actions(self, actions: torch.Tensor) -> None:
            order.append("process")
            super().process_actions(actions)

        def apply_actions(self) -> None:
            order.append("apply")
            super().apply_actions()

    class Command(CommandTerm):
        @property
        def command(self) -> torch.Tensor:
            return torch.zeros(self.num_envs, 1)

        def _resample_command(self, env_mask: torch.Tensor) -> None:
            pass

        def _update_command(self) -> None:
            order.append("command")

        def _update_metrics(self) -> None:
            pass

    def event(name: str) -> Any:
        def note(env: Any, env_mask: torch.Tensor) -> None:
            order.append(name)

        return note

    def physics_time(env: Any) -> torch.Tensor:
        return env.engine.field("time").clone().unsqueeze(-1)

    @configclass
    class Policy(ObservationGroupCfg):
        x = ObservationTermCfg(func=traced(order, "observe", physics_time))

    action: ActionTermCfg = mdp.JointEffortActionCfg(asset_name="robot", joint_names=["swing"])
    action.class_type = Action
    env = tiny(
        2,
        actions={"a": action},
        observations={"policy": Policy()},
        rewards={"r": RewardTermCfg(func=traced(order, "reward", lambda e: torch.zeros(2)), weight=1.0)},
        terminations={"t": TerminationTermCfg(func=traced(order, "terminate", lambda e: flagged(e, "end")))},
        commands={"c": CommandTermCfg(class_type=Command, resampling_time_range=(1.0, 1.0))},
        curriculum={"k": CurriculumTermCfg(func=event("curriculum"))},
        events={
            "reset": EventTermCfg(func=event("reset"), mode="reset"),
            "interval": EventTermCfg(func=event("interval"), mode="interval", interval_range_s=(1.0, 1.0)),
        },
    )
    env.reset()
    order.clear()
    run(env, 1)
    quiet = ["process", "apply", "terminate", "reward", "command", "interval", "observe"]
    assert order == quiet
    order.clear()
    env.end = torch.tensor([True, False])
    _, _, terminated, _, extras = run(env, 1)
    ending = [
        "process",
        "apply",
        "terminate",
        "reward",
        "observe",
        "curriculum",
        "reset",
        "command",
        "interval",
        "observe",
    ]
    assert order == ending
    # The terminal observation was taken after the physics and before the reset.
    assert extras["terminal_observation"]["policy"].flatten().tolist() == pytest.approx([2 * STEP_DT] * 2)
    assert terminated.tolist() == [True, False]


# -- terminal observations, copies, horizons --------------------------------------------------------------------


def test_terminal_observations_are_those_of_the_true_final_state() -> None:
    ending, endless = tiny(3), tiny(3, episode_length_s=1000.0)
    for env in (ending, endless):
        env.reset(seed=1)
    ending.episode_length_buf[1] = 4
    for action in actions_for(ending, 6):
        obs, _, _, time_outs, extras = ending.step(action)
        true_obs, *_ = endless.step(action)
        terminal = extras["terminal_observation"]["policy"]
        assert torch.equal(terminal, true_obs["policy"])
        if time_outs.any():
            break
        assert torch.equal(obs["policy"], terminal)
    assert time_outs.tolist() == [False, True, False]
    assert obs["policy"][1].tolist() == pytest.approx([0.1, 0.0])
    assert not torch.equal(obs["policy"][1], terminal[1])
    assert torch.equal(obs["policy"][[0, 2]], terminal[[0, 2]])
    assert ending.episode_length_buf.tolist() == [6, 0, 6]


def test_what_step_returns_is_never_overwritten() -> None:
    env = tiny(2)
    kept, copies = [], []
    obs, _ = env.reset()
    kept.append((obs["policy"],))
    for action in actions_for(env, 15):
        obs, reward, terminated, time_outs, extras = env.step(action)
        kept.append(
            (
                obs["policy"],
                reward,
                terminated,
                time_outs,
                extras["terminal_observation"]["policy"],
                extras["time_outs"],
            )
        )
        copies.append([t.clone() for t in kept[-1]])
    for tensors, frozen in zip(kept[1:], copies, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(tensors, frozen, strict=True))
    pointers = [t.data_ptr() for row in kept for t in row]
    assert len(set(pointers)) == len(pointers)


def test_step_in_place_reuses_its_buffers() -> None:
    env = tiny(2)
    env.reset()
    addresses = set()
    for action in actions_for(env, 12):
        obs, reward, terminated, time_outs, extras = env.step_in_place(action)
        tensors = (obs["policy"], reward, terminated, time_outs, extras["terminal_observation"]["policy"])
        addresses.add(tuple(t.data_ptr() for t in tensors))
    assert len(addresses) == 1


@pytest.mark.parametrize("finite", [False, True])
def test_a_finite_horizon_terminates_instead_of_truncating(finite: bool) -> None:
    env = tiny(2, is_finite_horizon=finite)
    env.reset()
    for _ in range(10):
        _, _, terminated, time_outs, _ = run(env, 1)
    assert terminated.tolist() == [finite] * 2
    assert time_outs.tolist() == [not finite] * 2
    assert env.episode_length_buf.tolist() == [0, 0]
    assert env.max_episode_length == 10


def test_terminal_observations_can_be_turned_off() -> None:
    env = tiny(2)
    env.keep_terminal_observations = False
    env.reset()
    assert "terminal_observation" not in run(env, 11)[-1]


# -- seeds ------------------------------------------------------------------------------------------------------


def trajectory(env: Any, steps: int, rows: int, seed: int | None = None) -> list[torch.Tensor]:
    obs, _ = env.reset(seed=seed)
    out = [obs["policy"][:rows]]
    for action in actions_for(env, steps, 1):  # the same action for all
        obs, reward, terminated, time_outs, extras = env.step(action.expand(env.num_envs, -1))
        parts = (obs["policy"], extras["terminal_observation"]["policy"], reward, terminated, time_outs)
        out.append(torch.cat([p[:rows].reshape(rows, -1).float() for p in parts], dim=-1))
    return out


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(("task", "steps"), [("Cartpole", 200), ("Velocity-Flat-Go2", 60)])
def test_the_same_seed_gives_the_same_bits(task: str, steps: int) -> None:
    cfg = load_env_cfg(task)
    cfg.sim.threads = 1
    first = trajectory(make(task, num_envs=4, cfg=cfg, seed=5), steps, 4)
    again = make(task, num_envs=4, cfg=cfg, seed=5)
    assert same(first, trajectory(again, steps, 4))
    assert same(first, trajectory(again, steps, 4, seed=5))  # also after use, when seeded again
    assert not same(first, trajectory(again, steps, 4, seed=6))


@pytest.mark.parametrize(("task", "steps"), [("Cartpole", 150), ("Velocity-Flat-Go2", 60), ("Reach-Franka", 30)])
def test_one_environment_does_not_notice_how_many_others_there_are(task: str, steps: int) -> None:
    results = []
    for num_envs, threads in ((4, 1), (64, 2)):
        cfg = load_env_cfg(task)
        cfg.sim.threads = threads
        cfg.episode_length_s /= 25.0  # so that episodes end
        results.append(trajectory(make(task, num_envs=num_envs, cfg=cfg, seed=3), steps, 4))
    torch.set_num_threads(1)
    assert same(*results)
    ended = torch.stack([row[:, -2:] for row in results[0][1:]])
    assert ended.sum() >= 4


def test_two_resets_in_a_row_start_differently() -> None:
    env = make("Cartpole", num_envs=2, seed=0)
    first, second = (env.reset()[0]["policy"] for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(env.reset(seed=0)[0]["policy"], first)


def test_the_direct_task_is_the_same_as_the_manager_based_one() -> None:
    results = []
    for task in ("Cartpole", "Cartpole-Direct"):
        env = make(task, num_envs=8, seed=11)
        obs, _ = env.reset()
        rows = [obs["policy"]]
        for action in actions_for(env, 200):
            obs, reward, terminated, time_outs, extras = env.step(action)
            rows += [
                obs["policy"],
                reward,
                terminated.float(),
                time_outs.float(),
                extras["terminal_observation"]["policy"],
            ]
        results.append(rows)
    assert results[0][0].abs().max() > 0.01
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)
    assert sum(r.sum() for r in results[0][3::5]) > 5  # several poles fell


# -- divergence -------------------------------------------------------------------------------------------------


def test_a_diverged_environment_is_ended_reset_counted_and_disturbs_nobody(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows, logs = [], []
    for poisoned in (False, True):
        env = make("Velocity-Flat-Go2", num_envs=4, seed=2)
        env.reset()
        env.fetch_log()
        record = []
        for step, action in enumerate(actions_for(env, 40)):
            if poisoned and step == 5:
                nan = torch.full((4, env.engine.model.nv), float("nan"))
                env.engine.write("qvel", nan, torch.tensor([False, True, False, False]))
            obs, reward, terminated, time_outs, extras = env.step(action)
            tensors = (obs["policy"], reward, extras["terminal_observation"]["policy"])
            assert all(torch.isfinite(t).all() for t in tensors), step
            if poisoned and step == 5:
                assert terminated.tolist() == [False, True, False, False]
                assert reward[1] == 0.0
                assert env.termination_manager.get_term("diverged").tolist() == terminated.tolist()
                assert env.episode_length_buf[1] == 0
                assert env.scene["robot"].data.root_pos_w[1, 2].item() == pytest.approx(0.4)
            record.append(torch.cat([t.reshape(4, -1).float() for t in (*tensors, terminated, time_outs)], dim=-1))
        rows.append(torch.stack(record))
        logs.append(env.fetch_log())
        state = env.engine.state_rows().copy()
        rows.append(torch.from_numpy(state))
    others = [0, 2, 3]
    assert torch.equal(rows[0][:, others], rows[2][:, others])
    assert torch.equal(rows[1][others], rows[3][others])
    assert not torch.equal(rows[0][:, 1], rows[2][:, 1])
    assert logs[1]["Episode_Termination/diverged"] > 0.0
    assert logs[0].get("Episode_Termination/diverged", 0.0) == 0.0
    assert all(np.isfinite(v) for v in logs[1].values())
    assert list(tmp_path.iterdir()) == []  # MuJoCo's MUJOCO_LOG.TXT


def test_a_diverged_direct_environment() -> None:
    env = make("Cartpole-Direct", num_envs=3)
    env.reset()
    env.fetch_log()
    env.engine.write("qpos", torch.full((3, 2), float("inf")), torch.tensor([False, False, True]))
    obs, reward, terminated, _, extras = run(env, 1)
    assert terminated.tolist() == [False, False, True]
    assert torch.isfinite(obs["policy"]).all() and torch.isfinite(extras["terminal_observation"]["policy"]).all()
    assert reward[2] == 0.0
    assert env.fetch_log()["Episode_Termination/diverged"] == 1.0


# -- checkpoints ------------------------------------------------------------------------------------------------


def test_the_state_of_an_environment_survives_a_checkpoint(tmp_path) -> None:
    first = make("Velocity-Flat-Go2", num_envs=3, seed=4)
    first.reset()
    run(first, 7, 0.3)
    first.reward_manager.set_weight("lin_vel_z_l2", -7.0)
    path = tmp_path / "env.pt"
    torch.save(first.state_dict(), path)
    second = make("Velocity-Flat-Go2", num_envs=3, seed=99)
    second.reset()
    second.load_state_dict(torch.load(path, weights_only=True))
    assert second.common_step_count == second.common_step_counter.item() == 7
    assert second.reward_manager.get_weight("lin_vel_z_l2").item() == -7.0
    assert second.seed_value == 4
    a, b = (trajectory(env, 20, 3) for env in (first, second))
    assert same(a, b)


# -- direct environments ----------------------------------------------------------------------------------------


@configclass
class IndexedCfg(DirectRLEnvCfg):
    sim: SimulationCfg = SimulationCfg(dt=STEP_DT / 2, threads=1)
    scene: InteractiveSceneCfg = InteractiveSceneCfg(num_envs=4)
    decimation: int = 2
    episode_length_s: float = 5 * STEP_DT
    observation_space: int = 2
    action_space: int = 1
    state_space: int = 3


class IndexedEnv(DirectRLEnv):
    """A direct task as Isaac Lab writes them: indices, a list of joint ids, logs as plain numbers."""

    def _setup_scene(self) -> None:
        from palestra.assets import Articulation

        self.robot = Articulation(TinyEnvCfg().scene.robot)
        self.scene.articulations["robot"] = self.robot
        self.reset_ids: list[list[int]] = []

    def _apply_action(self) -> None:
        self.robot.set_joint_effort_target(self.actions, joint_ids=[0])

    def _get_observations(self) -> dict[str, torch.Tensor]:
        data = self.robot.data
        return {"policy": torch.cat((data.joint_pos, data.joint_vel), dim=-1)}

    def _get_states(self) -> torch.Tensor:
        return torch.cat((self._get_observations()["policy"], self.actions), dim=-1)

    def _get_rewards(self) -> torch.Tensor:
        return self.reset_terminated.float()

    def _get_dones(self) -> tuple[torch.Tensor, torch.Tensor]:
        return flagged(self, "fell"), self.episode_length_buf >= self.max_episode_length

    def _reset_idx(self, env_ids: Any) -> None:
        super()._reset_idx(env_ids)
        self.reset_ids.append(env_ids.tolist())
        pos = self.robot.data.default_joint_pos[env_ids] + 0.1 * env_ids.unsqueeze(-1)
        self.robot.write_joint_state_to_sim(pos, torch.zeros_like(pos), None, env_ids)
        self.extras["log"] = {"Metrics/resets": float(len(env_ids)), "Metrics/tensor": torch.tensor(2.0)}


def test_a_direct_environment_that_resets_by_index() -> None:
    with pytest.warns(UserWarning, match="IndexedEnv._reset_idx takes env_ids"):
        env = IndexedEnv(IndexedCfg())
    assert env.capture == "off"
    obs, _ = env.reset()
    assert obs["policy"][:, 0].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert env.observation_dims == {"policy": 2, "critic": 3}
    assert obs["critic"].shape == (4, 3)
    env.fell = torch.tensor([False, True, False, True])
    obs, reward, terminated, _, extras = run(env, 1, 0.5)
    assert terminated.tolist() == env.fell.tolist()
    env.fell = None
    assert env.reset_ids == [[0, 1, 2, 3], [1, 3]]
    assert reward.tolist() == [0.0, 1.0, 0.0, 1.0]
    assert obs["policy"][:, 0].tolist()[1::2] == pytest.approx([0.2, 0.4])
    assert obs["policy"][0, 0].item() != pytest.approx(0.1, abs=1e-4)
    assert obs["critic"][:, 2].tolist() == [0.5, 0.0, 0.5, 0.0]
    assert extras["log"]["Metrics/resets"] == 2.0
    _, _, _, time_outs, _ = run(env, 4)
    assert time_outs.tolist() == [True, False, True, False]
    assert env.fetch_log()["Metrics/tensor"] == 2.0


def test_a_direct_environment_checks_its_widths() -> None:
    cfg = IndexedCfg()
    cfg.observation_space = 5
    with pytest.warns(UserWarning, match="_reset_idx"):
        env = IndexedEnv(cfg)
    with pytest.raises(
        ConfigError, match=r"IndexedEnv observation 'policy' has width \(2,\); the configuration says 5"
    ):
        env.reset()
    with pytest.raises(ConfigError, match=r"the action has shape \(4, 2\); it must be \(4, 1\)"):
        env.step(torch.zeros(4, 2))


# -- manager-based environments without rewards, bad settings ---------------------------------------------------


def test_an_environment_without_episodes() -> None:
    source = TinyEnvCfg()
    cfg = ManagerBasedEnvCfg(
        sim=source.sim, scene=source.scene, decimation=2, actions=source.actions, observations=source.observations
    )
    cfg.scene.num_envs = 3
    env = ManagerBasedEnv(cfg)
    obs, _ = env.reset(seed=0)
    assert obs["policy"].tolist() == [pytest.approx([0.1, 0.0])] * 3
    for _ in range(20):
        obs, _ = env.step(torch.ones(3, 1))
    assert obs["policy"].shape == (3, 2)
    assert env.common_step_counter.item() == env.common_step_count == 20
    moved = obs["policy"].clone()
    obs, _ = env.reset(env_mask=torch.tensor([True, False, False]))
    assert obs["policy"][0].tolist() == pytest.approx([0.1, 0.0])
    assert torch.equal(obs["policy"][1:], moved[1:])
    env.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decimation": 0}, "decimation is 0; it must be a whole number of 1 or more"),
        ({"decimation": 1.5}, "decimation is 1.5; it must be a whole number of 1 or more"),
        ({"episode_length_s": 0.0}, "episode_length_s is 0.0; it must be positive"),
        ({"observations": None}, "the task has no observation group"),
    ],
)
def test_bad_settings(change: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        tiny(**change)
    assert str(error.value) == message


def test_times_and_spaces() -> None:
    env = tiny(3)
    assert (env.physics_dt, env.step_dt) == (STEP_DT / 2, STEP_DT)
    assert env.max_episode_length_s == pytest.approx(0.2)
    assert env.action_space.shape == (3, 1)
    assert env.single_observation_space["policy"].shape == (2,)
    assert env.check_health() == []
    assert env.unwrapped is env


def test_terms_and_entities_may_be_added_to_a_loaded_configuration() -> None:
    cfg = TinyEnvCfg()
    cfg.rewards.twice = RewardTermCfg(func=mdp.is_alive, weight=2.0)
    cfg.scene.second = cfg.scene.robot.copy()
    env = ManagerBasedRLEnv(cfg)
    env.reset()
    assert env.reward_manager.active_terms == ["alive", "twice"]
    assert list(env.scene.articulations) == ["robot", "second"]
    assert run(env, 1)[1].tolist() == pytest.approx([3.0 * STEP_DT] * 2)


def test_processes_that_train_together_have_torch_streams_of_their_own() -> None:
    drawn = []
    for first_env in (0, 2, 2):
        env = tiny(2, first_env=first_env)
        env.reset(seed=5)
        drawn.append(torch.rand(4))
    assert not torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[1], drawn[2])
