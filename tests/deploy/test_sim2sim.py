"""Other simulations: what they change, how results are judged, and the way down to the deployed process."""

import json
from pathlib import Path

import numpy as np
import pytest

from palestra.cli.main import main
from palestra.config import apply_overrides, load_env_cfg, make
from palestra.deploy.sim2sim.result import Row, judge, score_names
from palestra.deploy.sim2sim.robot_episodes import Episode, TruthScorer
from palestra.deploy.sim2sim.variants import named, standard
from palestra.errors import ConfigError


def row(score: float, falls: float = 0.0) -> Row:
    return Row("x", "", 10, score, falls=falls)


def test_a_row_passes_within_the_tolerance():
    rows = [row(0.8, 0.02), row(0.721), row(0.719), row(0.9, 0.06), row(0.9, 0.08), Row("none", "", reason="no GPU")]
    assert not judge(rows, 0.1)
    assert [r.status for r in rows] == ["baseline", "pass", "fail", "pass", "fail", "skipped"]
    assert "10% of the score lost" in rows[2].reason and "falls in 8%" in rows[4].reason
    negative = [row(-100.0), row(-109.0), row(-111.0)]  # returns may be negative
    assert not judge(negative, 0.1) and [r.status for r in negative[1:]] == ["pass", "fail"]


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
        assert changed.sim.dt * changed.decimation == pytest.approx(0.02)
        found[variant.name] = changed.sim
    assert found["finer time step"].dt == 0.00125
    assert found["elliptic cones"].cone == "elliptic"
    assert (found["converged solver"].iterations, found["converged solver"].tolerance) == (100, 1e-10)
    assert found["implicit integrator"].integrator == "implicit"


def test_friction_and_contacts_are_scaled_in_the_engine():
    cfg = load_env_cfg("Velocity-Flat-Go2")
    cfg.scene.num_envs, cfg.sim.threads = 2, 1
    env = make("Velocity-Flat-Go2", cfg=cfg)
    edits = {variant.name: variant.edit for variant in standard(cfg)}
    before = {name: env.engine.model_field(name).clone() for name in ("geom_friction", "geom_solref")}
    edits["less friction"](env)
    edits["softer contacts"](env)
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
    # while the controller brings the cart to its default pose nobody balances the pole
    assert rows["deployed over UDP"]["status"] == "fail"
