"""A student learns what a teacher does, from less than the teacher sees."""

import io
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor
from toy_env import PointMassEnv

from palestra.errors import ConfigError
from palestra.integrations import policy_of
from palestra.rl import ModelCfg, load_checkpoint
from palestra.rl.console import TrainingConsole
from palestra.rl.distillation import DistillationCfg, Distiller


def teacher(obs: dict[str, Tensor]) -> Tensor:
    """Push towards the origin and against the velocity, from the group that only the teacher sees."""
    return -1.5 * obs["critic"][:, :2] - 2.0 * obs["critic"][:, 2:4]


class Blindfolded(PointMassEnv):
    """The group ``place`` tells where the mass is, not how fast it moves."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.observation_dims = {**self.observation_dims, "place": 2}
        self.obs["place"] = torch.zeros(self.num_envs, 2)
        self.terminal_obs["place"] = torch.zeros(self.num_envs, 2)

    def _observe(self, out: dict[str, Tensor]) -> None:
        super()._observe(out)
        if "place" in out:
            out["place"].copy_(self.position)


def settings(**changes: Any) -> DistillationCfg:
    student = ModelCfg(hidden_dims=[32], obs_normalization=True)
    return DistillationCfg(
        **{"student": student, "max_iterations": 60, "num_steps_per_env": 16, "teacher_iterations": 5, **changes}
    )


def distil(env: PointMassEnv, cfg: DistillationCfg, **more: Any) -> Distiller:
    distiller = Distiller(env, teacher, cfg, **more)
    distiller.console = TrainingConsole(Console(file=io.StringIO()), quiet=True)
    distiller.learn()
    return distiller


def error(env: PointMassEnv, policy: Any, steps: int = 80) -> float:
    """Let a policy act and return the mean square of its distance to the teacher, as a share of the teacher's own."""
    obs, _ = env.reset(seed=11)
    missed = wanted = 0.0
    for _ in range(steps):
        actions, told = policy(obs), teacher(obs)
        missed += float((actions - told).square().mean())
        wanted += float(told.square().mean())
        obs, _, terminated, time_outs, _ = env.step_in_place(actions)
        if hasattr(policy, "reset"):
            policy.reset(terminated | time_outs)
    return missed / wanted


def test_a_student_acts_as_its_teacher_from_noisy_sensors():
    distiller = distil(PointMassEnv(observation_noise=0.02), settings(groups=["policy"], learning_rate=3e-3))
    assert error(PointMassEnv(observation_noise=0.02), distiller.policy()) < 0.02


def test_a_memory_makes_up_for_what_is_not_seen():
    plain = distil(Blindfolded(), settings(groups=["place"], learning_rate=3e-3))
    recurrent = distil(
        Blindfolded(), settings(groups=["place"], rnn_hidden_dim=32, learning_rate=3e-3, max_iterations=150)
    )
    without, with_memory = (error(Blindfolded(), d.policy()) for d in (plain, recurrent))
    assert with_memory < 0.3 * without


@pytest.mark.parametrize("width", [0, 16])
def test_a_checkpoint_holds_the_student(tmp_path, width):
    env = PointMassEnv()
    cfg = settings(rnn_hidden_dim=width, max_iterations=3, save_interval=2)
    distiller = distil(env, cfg, run_dir=tmp_path, task="Point", clip_actions=0.5)
    assert sorted(p.name for p in (tmp_path / "nn").iterdir()) == ["last.pth", "model_2.pth", "model_3.pth"]
    content = load_checkpoint(tmp_path / "nn" / "last.pth")
    assert (content["task"], content["iter"], content["env_steps"]) == ("Point", 3, 3 * 16 * 64)
    loaded, live = policy_of(content), distiller.policy()
    obs, _ = env.reset(seed=5)
    done = torch.arange(64) % 2 == 0
    for _ in range(3):
        torch.testing.assert_close(loaded(obs), live(obs), rtol=0.0, atol=0.0)
        assert float(loaded(obs).abs().max()) <= 0.5
        live(obs)  # as often as the loaded one
        for policy in (loaded, live):
            if width:
                policy.reset(done)
        obs, *_ = env.step_in_place(live(obs))
        loaded(obs) if width else None
        live.reset() if width else None
        loaded.reset() if width else None


def test_a_memory_is_forgotten_where_an_episode_ends():
    distiller = distil(PointMassEnv(), settings(rnn_hidden_dim=16, max_iterations=2))
    policy = distiller.policy()
    obs = {"policy": torch.randn(64, 4, generator=torch.Generator().manual_seed(0))}
    first = policy(obs)
    second = policy(obs)
    policy.reset(torch.arange(64) < 10)
    third = policy(obs)
    assert (second != first).any()
    torch.testing.assert_close(third[:10], first[:10])
    assert (third[10:] != first[10:]).any(dim=-1).all()


def test_the_gradient_goes_through_time_and_stops_at_an_episodes_start():
    distiller = Distiller(PointMassEnv(), teacher, settings(rnn_hidden_dim=8))
    obs = distiller._obs
    obs.normal_(generator=torch.Generator().manual_seed(1)).requires_grad_()
    distiller._starts[7] = True
    actions, _ = distiller._predict(torch.arange(64), distiller.student.blank(64))
    actions[10].sum().backward()
    assert obs.grad is not None
    seen = obs.grad.abs().sum(dim=(1, 2)) > 0.0
    assert seen.tolist() == [7 <= step <= 10 for step in range(16)]


def test_the_teacher_leads_at_first():
    env, cfg = PointMassEnv(), settings(teacher_iterations=4, max_iterations=1)
    distiller = Distiller(env, teacher, cfg)
    acted: list[Tensor] = []
    step = env.step_in_place

    def noted(actions: Tensor) -> Any:
        acted.append((actions == distiller._wanted[len(acted) % 16]).all(dim=-1))
        return step(actions)

    env.step_in_place = noted  # type: ignore[method-assign]
    distiller.console = TrainingConsole(Console(file=io.StringIO()), quiet=True)
    for share in (64, 48, 32, 16, 0):
        acted.clear()
        distiller.cfg.max_iterations = distiller.iteration + 1
        distiller.learn()
        assert {int(part.sum()) for part in acted} == {share}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": ["polcy"]}, "no observation group 'polcy'; the task has policy, critic"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: it must be greater than 0"),
        ({"num_mini_batches": 0}, "num_mini_batches is 0: it must be at least 1"),
        ({"loss": "l1"}, "loss is 'l1': use 'mse' or 'huber'"),
        ({"groups": []}, "groups is empty"),
    ],
)
def test_bad_settings(changes, message):
    cfg = settings(**changes)

    def distil_with_them() -> None:
        cfg.validate_config()
        Distiller(PointMassEnv(), teacher, cfg)

    with pytest.raises(ConfigError, match=message):
        distil_with_them()
