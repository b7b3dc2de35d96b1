"""Other simulations: what they change, how results are judged, and the way down to the deployed process."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from palestra.cli.main import main
from palestra.config import apply_overrides, load_env_cfg, make, validate
from palestra.deploy.sim2sim.result import Row, judge, score_names
from palestra.deploy.sim2sim.robot_episodes import Episode, TruthScorer
from palestra.deploy.sim2sim.variants import named, standard
from palestra.errors import ConfigError


def row(score: float | None, falls: float = 0.0, episodes: int = 100) -> Row:
    return Row("x", "", episodes, score, falls=falls)


def test_a_row_passes_within_the_tolerance():
    rows = [row(0.8), row(0.721), row(0.719), row(0.9), Row("none", "", reason="no GPU")]
    assert not judge(rows, 0.1)
    assert [r.status for r in rows] == ["baseline", "pass", "fail", "pass", "skipped"]
    assert rows[1].lost == pytest.approx(0.079 / 0.8) and "10% of the score lost" in rows[2].reason
    assert rows[4].reason == "no GPU" and judge([rows[0], rows[1], rows[4]], 0.1)
    negative = [row(-100.0), row(-109.0), row(-111.0)]  # returns may be negative
    assert not judge(negative, 0.1) and [r.status for r in negative[1:]] == ["pass", "fail"]
    assert not judge([row(0.8), row(math.nan)], 0.1)


def test_falls_count_where_chance_does_not_explain_them():
    """The margin is 2 percentage points: with none in training, 2 % are allowed to be the truth."""
    # 3 episodes: one fall or more has the chance 1 - 0.98³ = 5.9 %; 10: 18 %; two of 10: 1.6 %; two of 20: 6.0 %
    few = [row(1.0), row(1.0, 1 / 3, 3), row(1.0, 0.1, 10), row(1.0, 0.2, 10), row(1.0, 0.05, 20), row(1.0, 0.1, 20)]
    assert not judge(few, 0.1)
    assert [r.status for r in few[1:]] == ["fail", "pass", "fail", "pass", "fail"]
    assert "falls in 33% of the episodes, 0% in training" in few[1].reason
    # 100 episodes: 4 or more have the chance 14.1 %, 5 or more 5.1 %; of 10000 a share of 2.5 % is no chance at all
    many = [row(1.0), row(1.0, 0.04), row(1.0, 0.05), row(1.0, 0.025, 10_000), row(1.0, 0.02, 10_000)]
    assert not judge(many, 0.1)
    assert [r.status for r in many[1:]] == ["pass", "fail", "fail", "pass"]
    assert judge([row(1.0, 0.375, 16), row(1.0, 0.4375, 16)], 0.1)  # one more of 16
    assert judge([row(1.0, 1.0), row(1.0, 1.0)], 0.1)


def test_intervals():
    """Wilson's for shares; the score's by pairs of episodes that started alike."""
    rows = [row(1.0, 0.0, 10), row(1.0, 0.5, 10)]
    judge(rows, 0.1)
    # z² = 3.8416: none of 10 gives z² / (10 + z²) = 27.75 %; five of 10 give 0.5 ± z / (2 √(10 + z²)) = 0.5 ± 0.2634
    assert rows[0].falls_95 == pytest.approx((0.0, 0.27754), abs=1e-4)
    assert rows[1].falls_95 == pytest.approx((0.23659, 0.76341), abs=1e-4)

    baseline, paired, other = row(0.5, 0.0, 2), row(0.35, 0.0, 2), row(0.35, 0.0, 2)
    baseline.scores = {(0, 0): 0.4, (1, 0): 0.6}
    paired.scores = {(1, 0): 0.5, (0, 0): 0.2}
    other.scores = {(-1, 0): 0.2, (-1, 1): 0.5}
    judge([baseline, paired, other], 0.5)
    # differences 0.2 and 0.1: standard error 0.05; alone 0.1 and 0.15, together √0.0325
    assert paired.lost == pytest.approx(0.3) and paired.lost_95 == pytest.approx(1.96 * 0.05 / 0.5)
    assert other.lost_95 == pytest.approx(1.96 * math.sqrt(0.0325) / 0.5)
    assert "scores" not in paired.to_dict() and paired.to_dict()["lost_95"] == paired.lost_95


@pytest.mark.parametrize("score", [0.0, None, math.nan])
def test_a_baseline_without_a_score_agrees_with_nothing(score):
    rows = [row(score), row(0.0)]
    assert not judge(rows, 0.1)
    assert rows[1].status == "fail" and "nothing to compare with" in rows[1].reason


def test_a_variant_from_the_command_line():
    variant = named("slow: sim.dt=0.0025, decimation=8")
    assert variant.name == "slow" and variant.overrides == ("env.sim.dt=0.0025", "env.decimation=8")
    for text in ("slow", ":sim.dt=1", "slow:sim.dt"):
        with pytest.raises(ConfigError, match="NAME:field=value"):
            named(text)


def test_the_standard_variants_change_what_they_say():
    cfg = load_env_cfg("Velocity-Flat-Go2")
    found = {}
    for variant in standard(cfg):
        changed = load_env_cfg("Velocity-Flat-Go2")
        apply_overrides({"env": changed}, list(variant.overrides))
        validate(changed, "env")
        assert changed.sim.dt * changed.decimation == pytest.approx(0.02)
        found[variant.name] = changed.sim
    assert found["finer time step"].dt == 0.00125
    assert found["elliptic cones"].cone == "elliptic"
    assert (found["converged solver"].iterations, found["converged solver"].tolerance) == (100, 1e-10)
    assert (found["euler integrator"].integrator, found["euler integrator"].dt) == ("euler", 0.00125)


def test_friction_and_contacts_are_scaled_in_the_engine():
    cfg = load_env_cfg("Velocity-Flat-Go2")
    cfg.scene.num_envs, cfg.sim.threads = 2, 1
    env = make("Velocity-Flat-Go2", cfg=cfg)
    edits = {variant.name: variant.edit for variant in standard(cfg)}
    before = {name: env.engine.model_field(name).clone() for name in ("geom_friction", "geom_solref")}
    edits["less friction"](env)
    edits["softer contacts"](env)
    edits["softer contacts"](env)
    edits["stiffer contacts"](env)
    friction, solref = env.engine.model_field("geom_friction"), env.engine.model_field("geom_solref")
    np.testing.assert_allclose(friction[..., 0], 0.7 * before["geom_friction"][..., 0], rtol=1e-6)
    np.testing.assert_array_equal(friction[..., 1:], before["geom_friction"][..., 1:])
    np.testing.assert_allclose(solref[..., 0], 2.0 * before["geom_solref"][..., 0], rtol=1e-6)
    env.close()


def test_what_a_robot_did_is_scored_by_the_tasks_own_terms():
    cfg = load_env_cfg("Velocity-Flat-Go2-Play")
    cfg.scene.num_envs, cfg.sim.threads = 4, 1
    env = make("Velocity-Flat-Go2-Play", cfg=cfg)
    assert score_names(env) == ["track_lin_vel_xy_exp", "track_ang_vel_z_exp"]
    pose = np.concatenate(([0.0, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0], cfg_pose(env)))
    qpos, qvel = np.tile(pose, (6, 1)), np.zeros((6, 18))
    qvel[:, 0], qvel[:, 5] = 0.5, 0.2
    told = [{"base_velocity": np.array([0.5, 0.3, 0.0])} for _ in range(6)]
    score, fell, error = TruthScorer(env, score_names(env))(qpos, qvel, Episode([], told, ""))
    # squared errors 0.09 (m/s)² and 0.04 (rad/s)², both over 0.5²
    assert score == pytest.approx((np.exp(-0.36) + np.exp(-0.16)) / 2, abs=1e-4)
    assert not fell and error == pytest.approx(0.3, abs=1e-4)
    qpos[4:, 2] = 0.02  # the trunk in the ground
    qvel[4:, 0] = 5.0
    score, fell, _ = TruthScorer(env, score_names(env))(qpos, qvel, Episode([], told, ""))
    assert fell and score == pytest.approx((np.exp(-0.36) + np.exp(-0.16)) / 2, abs=1e-4)  # until the fall
    env.close()


def cfg_pose(env) -> np.ndarray:
    return env.scene["robot"].data.default_joint_pos[0].numpy()


@pytest.mark.slow
def test_the_whole_way_with_a_cart_pole(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "Cartpole", "--seed=1", "--max_iterations=40", "--no_video", "--logger=none"]) == 0
    (run,) = Path("runs/cartpole").iterdir()
    capsys.readouterr()
    heavy = "--variant=heavy:sim.gravity=[0,0,-12],sim.iterations=20"
    assert main(["sim2sim", str(run), "--num_episodes=8", "--robot_episodes=1", "--threads=1", heavy]) in (0, 1)
    out = capsys.readouterr().out
    told = json.loads((run / "sim2sim" / "result.json").read_text())
    rows = {r["name"]: r for r in told["rows"]}
    assert rows["training"]["status"] == "baseline" and rows["heavy"]["status"] == "pass"
    assert rows["policy.onnx"]["status"] == "pass" and rows["the other engine (CUDA)"]["status"] == "skipped"
    assert "deployed over UDP" in out and rows["deployed over UDP"]["episodes"] == 1
    assert rows["plain MuJoCo, finer step"]["status"] == rows["deployed over UDP"]["status"] == "pass"
