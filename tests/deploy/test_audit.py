"""``palestra audit``: a sound policy passes, and each deliberately broken one is caught."""

import copy
import json
import re
import shutil

import pytest

from palestra.cli.arguments import CommandParser, normalise, parse
from palestra.cli.audit import add_arguments, open_subject
from palestra.cli.main import main
from palestra.deploy.audit import mutants
from palestra.deploy.audit.checks import CHECKS

FAST = ["--num_envs=4", "--endurance_envs=2", "--threads=1"]


def subject_of(target, *flags):
    parser = CommandParser(prog="palestra audit", description="")
    add_arguments(parser)
    args = parse(parser, normalise([str(target), *FAST, *flags]))
    args.command_line = ["palestra", "audit"]
    return open_subject(args)


def trained(folder, task, iterations, *overrides):
    """Train, export and return the run folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        flags = [f"--max_iterations={iterations}", "--no_video", "--threads=1", "--seed=1", *overrides]
        assert main(["train", task, *flags]) == 0
    return next(folder.glob("runs/*/*/config.yaml")).parent


@pytest.fixture(scope="module")
def cartpole(tmp_path_factory):
    """A policy that balances, not exported."""
    return trained(tmp_path_factory.mktemp("cartpole"), "Cartpole", 30, "env.episode_length_s=4")


@pytest.fixture(scope="module")
def exported(cartpole, tmp_path_factory):
    """The same run, exported."""
    run = tmp_path_factory.mktemp("exported") / "run"
    shutil.copytree(cartpole, run)
    assert main(["export", str(run), "--threads=1"]) == 0
    return run


@pytest.fixture(scope="module")
def sound(exported):
    """The exported run as checks see it."""
    subject = subject_of(exported)
    yield subject
    subject.close()


@pytest.fixture(scope="module")
def go2(tmp_path_factory):
    """A quadruped with a network that has learned nothing, and episodes of 4 s."""
    small = ["--num_envs=16", "env.episode_length_s=4", "agent.num_steps_per_env=8"]
    subject = subject_of(trained(tmp_path_factory.mktemp("go2"), "Velocity-Flat-Go2", 1, *small))
    yield subject
    subject.close()


def failed(subject, *ids):
    """Ids of those checks that fail."""
    try:
        return {name for name in ids if CHECKS[name](subject).status == "fail"}
    finally:
        subject.close()


def mutant(name):
    return next(m for m in mutants.MUTANTS if m.name == name)


def test_a_policy_that_is_not_exported_is_not_ready(cartpole, capsys):
    assert main(["audit", str(cartpole), *FAST, "--only=exported-files,standing-still,runtime"]) == 1
    report = json.loads((cartpole / "audit" / "report.json").read_text())
    assert {c["id"]: c["status"] for c in report["checks"]} == {
        "exported-files": "fail",
        "runtime": "skipped",
        "standing-still": "pass",
    }
    assert not report["passed"] and not report["complete"]
    assert "palestra export" in capsys.readouterr().out


def test_a_sound_policy_passes_all_checks(exported, capsys):
    assert main(["audit", str(exported), *FAST]) == 0
    report = json.loads((exported / "audit" / "report.json").read_text())
    assert [c["id"] for c in report["checks"]] == list(CHECKS)
    assert report["passed"] and report["complete"] and report["counts"]["fail"] == 0 and report["counts"]["pass"] >= 10
    page = (exported / "audit" / "report.html").read_text()
    assert all(f'id="{name}"' in page for name in CHECKS)
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # one page without other files
    assert "no check failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name",
    ["action-scale-doubled", "file-altered", "stands-still", "vibrates", "measured-elsewhere", "fails-sim2sim"]
    + [pytest.param(name, marks=pytest.mark.slow) for name in ("wrong-period", "wears-out")],
)
def test_a_broken_policy_is_caught(sound, name, tmp_path):
    broken = mutant(name)
    assert broken.suits(sound)
    assert failed(broken.make(sound, tmp_path), *broken.checks)


@pytest.mark.parametrize("name", ["dives", "kneels", "slides", "hovers", "stands-still", "normalizer-untrained"])
def test_a_broken_walk_is_caught(go2, name, tmp_path):
    broken = mutant(name)
    assert broken.suits(go2)
    assert failed(broken.make(go2, tmp_path), *broken.checks)


def test_who_glides_tracks_its_command_all_the_same(go2, tmp_path):
    """Velocities are as commanded; only the feet tell that nobody walks."""
    assert failed(mutant("slides").make(go2, tmp_path), "tracking", "vibration", "feet") == {"feet"}


def test_the_feet_are_what_stands_on_the_ground(go2):
    assert go2.legs is not None and go2.legs.names == ["FL_calf", "FR_calf", "RL_calf", "RR_calf"]
    spheres = [geom for geoms in go2.legs.feet.values() for geom in geoms]
    assert len(spheres) == 4 and all(go2.env.scene.model.geom_size[g, 0] == pytest.approx(0.022) for g in spheres)


def test_a_policy_on_the_critics_group_is_privileged(go2):
    assert failed(mutants.privileged_group(go2), "privileged") == {"privileged"}
    assert CHECKS["privileged"](go2).status == "pass"


def test_success_at_another_distance_is_none(tmp_path, monkeypatch):
    small = ["--num_envs=16", "env.episode_length_s=2", "agent.num_steps_per_env=4"]
    subject = subject_of(trained(tmp_path, "Reach-Franka", 1, *small))
    check = CHECKS["success"](mutant("success-anywhere").make(subject, tmp_path))
    subject.close()
    beyond = next(m for m in check.measures if "farther" in m.name)
    assert check.status == "fail" and isinstance(beyond.value, float) and beyond.value > 0.5


def test_a_curriculum_that_has_just_begun_is_named(tmp_path):
    small = ["--num_envs=4", "agent.num_steps_per_env=4"]
    subject = subject_of(trained(tmp_path, "Velocity-Flat-G1", 1, *small))
    check = CHECKS["curriculum-stage"](subject)
    subject.close()
    assert check.status == "fail"
    assert "stage 1 of 4, 'balance'" in check.summary and "stage 4, 'turn and vary speed'" in check.summary


def test_one_term_that_is_nearly_all_of_the_reward_is_named(sound, tmp_path):
    """Of 30 iterations the last 20 count: 0.9 of the reward is one term's."""
    doctored = copy.copy(sound)
    shares = {"Reward_Share/upright": 0.9, "Reward_Share/fallen": 0.1}
    sums = {"Episode_Reward/upright": 0.9, "Episode_Reward/fallen": 0.1}
    vars(doctored)["metrics"] = [{"iteration": float(k), **shares, **sums} for k in range(30)]
    check = CHECKS["reward-shares"](doctored)
    assert check.status == "fail" and "share of 'upright': 0.9" in check.summary


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--only=trackng"], "--only: no check 'trackng': did you mean 'tracking'"),
        (["--measured=nowhere.yaml"], "--measured: no file nowhere.yaml"),
        (["--success_distance=-1"], "--success_distance is '-1'; it must be a number above 0"),
        (["--device=cuda:0"], "an audit runs on the cpu"),
        (["--checkpoint=none.pth"], "has no checkpoint 'none.pth'"),
    ],
)
def test_bad_input_is_told_in_one_line(cartpole, flags, message, capsys):
    before = sorted(path.name for path in cartpole.iterdir())
    assert main(["audit", str(cartpole), *flags]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert sorted(path.name for path in cartpole.iterdir()) == before
