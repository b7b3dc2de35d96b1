"""``palestra bench physics``: what it measures, how it reports it, and bad input."""

import json
import math
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from palestra.cli.main import main

SMALL = [
    "Cartpole",
    "--num_envs",
    "8",
    "--device",
    "cpu",
    "--threads",
    "1",
    "--repeats",
    "3",
    "agent.num_steps_per_env=8",
]
PARTS = ["action_and_actuators", "physics", "sensors", "terminations", "rewards", "reset", "commands", "observations"]


@pytest.fixture(autouse=True)
def empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_table_shows_every_part_and_the_file_holds_the_same_numbers(capsys):
    assert main(["bench", "physics", *SMALL, "--json", "bench.json"]) == 0
    out = capsys.readouterr().out
    report = json.loads(Path("bench.json").read_text())
    assert out.startswith("Cartpole · 8 environments on cpu") and out.endswith("written to bench.json\n")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for section in ("environment_step", "training_iteration"):
        for name, row in report[section].items():
            assert f"{name.replace('_', ' ')} {row['ms']:.3f} {row['share']:.1%}" in lines
    assert f"training steps per second {report['summary']['training_steps_per_second']:,.0f}" in lines
    assert not {"kernels_of_a_step", "contacts_per_environment"} & report["summary"].keys()  # of GPUs only
    assert [path.name for path in Path().iterdir()] == ["bench.json"]  # no run folder


@pytest.fixture(scope="module")
def report() -> dict:
    """Measured where a pole falls soon, so that steps reset; the terminal observations are computed then."""
    falling = [
        "env.terminations.pole_down.params.bounds=[-0.02,0.02]",
        "agent.algorithm.time_out_bootstrap=terminal_observation",
    ]
    with redirect_stdout(StringIO()) as out:
        assert main(["bench", "physics", *SMALL, *falling, "--json"]) == 0
    return json.loads(out.getvalue())


def test_every_part_takes_time_and_together_not_much_more_than_the_step(report):
    step = report["environment_step"]
    assert step.keys() == {"whole_step", "refresh_alone", "terminal_observations", *PARTS}
    assert all(row["ms"] > 0.0 and math.isfinite(row["ms"]) for row in step.values())
    assert step["whole_step"]["share"] == 1.0
    total = sum(row["share"] for name, row in step.items() if name not in ("whole_step", "refresh_alone"))
    assert 0.2 < total < 4.0  # the machine may be busy


def test_rollout_update_and_totals_fit_together(report):
    times = {name: row["ms"] for name, row in report["training_iteration"].items()}
    assert all(ms > 0.0 for ms in times.values())
    assert report["num_steps_per_env"] == 8 and report["num_envs"] == 8 and report["decimation"] == 2
    summary = report["summary"]
    assert summary["training_steps_per_second"] == pytest.approx(8 * 8 / (times["whole_iteration"] / 1e3))
    assert summary["physics_share_of_rollout"] == pytest.approx(times["physics_of_a_rollout"] / times["rollout"])
    assert times["physics_of_a_rollout"] == pytest.approx(8 * report["environment_step"]["physics"]["ms"])


def test_a_reset_counts_as_often_as_it_happens(report):
    step, often = report["environment_step"], report["summary"]["share_of_steps_with_a_reset"]
    assert 0.0 < often <= 1.0 and often * 8 == int(often * 8)
    for name in ("reset", "terminal_observations"):
        assert step[name]["share"] == pytest.approx(often * step[name]["ms"] / step["whole_step"]["ms"])


def test_without_an_ending_episode_a_reset_is_timed_but_has_no_share(capsys):
    endless = ["env.terminations.pole_down=null", "env.terminations.off_rail=null", "agent.init_at_random_ep_len=false"]
    assert main(["bench", "physics", *SMALL, *endless, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["summary"]["share_of_steps_with_a_reset"] == 0.0
    assert report["environment_step"]["reset"]["ms"] > 0.0 and report["environment_step"]["reset"]["share"] == 0.0
    assert "terminal_observations" not in report["environment_step"]  # this learner does not read them


def test_direct_environments_are_measured_too(capsys):
    assert main(["bench", "physics", "Cartpole-Direct", *SMALL[1:], "--json"]) == 0
    assert set(PARTS) <= json.loads(capsys.readouterr().out)["environment_step"].keys()


def test_the_help_says_what_is_measured(capsys):
    with pytest.raises(SystemExit) as left:
        main(["bench", "physics", "--help"])
    out = capsys.readouterr().out
    assert left.value.code == 0
    assert out.startswith("usage: palestra bench physics TASK [--flags] [key=value …]")
    assert "--json" in out and "the CPU skips it" in " ".join(out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "which benchmark? for example: palestra bench physics Cartpole"),
        ("physcs Cartpole", "unknown benchmark 'physcs': did you mean 'physics'? known: 'physics'"),
        ("physics", "which task? for example: palestra bench physics Cartpole (palestra tasks lists them)"),
        ("physics Cartpole Ant", "palestra bench physics takes one TASK, not 'Cartpole' and 'Ant'"),
        ("physics Cartpole --repeats 0", "--repeats is 0; it must be a whole number of 1 or more"),
        ("physics Cartpole --device gpu", "device 'gpu' is unknown; use 'cpu' or 'cuda:0'"),
        ("physics --json Cartpole Ant", "--json is 'Cartpole'; it must be a .json file in a folder that exists, or nothing"),
        ("physics Ant --json no/b.json", "--json is 'no/b.json'; it must be a .json file in a folder that exists, or nothing"),
    ],
)  # fmt: skip
def test_bad_input_gives_one_line_and_exit_code_two(words, message, capsys, tmp_path):
    assert main(["bench", *words.split()]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"palestra: error: {message}\n" and captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_task_names_the_nearest(capsys):
    assert main(["bench", "physics", "Cartpol"]) == 2
    assert capsys.readouterr().err.startswith("palestra: error: unknown task 'Cartpol': did you mean 'Cartpole'")
