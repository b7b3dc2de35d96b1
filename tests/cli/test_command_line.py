"""The parts of the command line that need no environment: flags, help, listing, folders, start-up."""

import argparse
import json
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

import palestra
from palestra.cli.arguments import CommandParser, is_path, normalise, parse, whole_number
from palestra.cli.configuration import changes, play_configs, task_configs
from palestra.cli.main import COMMANDS, main
from palestra.cli.run_folder import Run, create_run_folder, latest_run, open_run
from palestra.config import load_env_cfg, load_yaml_config
from palestra.config.yaml_io import dump_yaml
from palestra.errors import ConfigError


def no_flags(**given) -> argparse.Namespace:
    plain = {"library": "palestra", "config": None, "overrides": [], "check": False, "seed": None}
    return argparse.Namespace(**{**plain, **given})


@pytest.fixture
def parser() -> CommandParser:
    made = CommandParser("palestra train", "Train.")
    made.target, made.takes_overrides = "TASK", True
    made.add_argument("--num_envs", type=whole_number("--num_envs", 1))
    made.add_argument("--seed", type=whole_number("--seed"))
    made.add_argument("--resume", nargs="?", const="")
    return made


@pytest.mark.parametrize(
    "words",
    [
        ["--num_envs", "8", "Ant", "env.a=1", "env.b=-2"],
        ["Ant", "env.a=1", "--num-envs=8", "env.b=-2"],
        ["env.a=1", "env.b=-2", "Ant", "--num-envs", "8"],
    ],
)
def test_flags_stand_anywhere_with_hyphens_or_underscores(parser, words):
    args = parse(parser, normalise(words))
    assert (args.target, args.num_envs, args.overrides) == ("Ant", 8, ["env.a=1", "env.b=-2"])


def test_negative_numbers_are_values(parser):
    assert parse(parser, ["Ant", "--seed", "-3"]).seed == -3


def test_resume_takes_a_path_but_not_a_task(parser, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse(parser, normalise(["--resume", "Ant"])).target == "Ant"
    assert parse(parser, normalise(["--resume", "Ant"])).resume == ""
    assert parse(parser, normalise(["Ant", "--resume"])).resume == ""
    assert parse(parser, normalise(["--resume", "runs/ant/x"])).resume == "runs/ant/x"
    assert parse(parser, normalise(["--resume=here"])).resume == "here"
    assert parse(parser, normalise(["Ant"])).resume is None


def test_hyphens_in_values_and_overrides_stay(parser):
    assert normalise(["--run-name=a-b", "env.x-y=1-2", "Reach-Franka"]) == [
        "--run_name=a-b",
        "env.x-y=1-2",
        "Reach-Franka",
    ]


def test_what_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()
    assert is_path("runs/ant/x") and is_path("last.pth") and is_path("here")
    assert not is_path("Ant") and not is_path("Palestra/Ant") and not is_path("a=b/c") and not is_path("--x/y")


def test_help_lists_the_commands_and_each_commands_flags(capsys):
    assert main(["--help"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert listed == list(COMMANDS) and {"train", "play", "eval", "distill", "export", "tasks", "info"} <= set(listed)
    for command, flag in (("train", "--max_iterations"), ("play", "--video_length"), ("eval", "--num_episodes")):
        with pytest.raises(SystemExit) as left:
            main([command, "--help"])
        assert left.value.code == 0
        out = capsys.readouterr().out
        assert out.startswith(f"usage: palestra {command} ") and flag in out and "[key=value …]" in out
    assert main([]) == 2


def test_tasks_are_listed_for_people_and_programs(capsys):
    assert main(["tasks"]) == 0
    assert re.search(r"^Reach-Franka +bring the gripper", capsys.readouterr().out, re.MULTILINE)
    assert main(["tasks", "--json"]) == 0
    listed = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    assert listed["Cartpole"] == {
        "id": "Cartpole",
        "description": "balance a pole on a cart",
        "libraries": ["palestra", "rl_games", "rsl_rl", "sb3", "skrl"],
        "play": "Cartpole-Play",
    }


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"palestra {palestra.__version__}\n"
    with pytest.raises(AttributeError, match="no attribute 'mkae'"):
        palestra.mkae


@pytest.mark.parametrize("command", [["--help"], ["tasks"], ["train", "--help"], ["train", "Nowhere"]])
def test_what_needs_no_simulation_imports_none(command):
    """Torch alone takes a second to import; a list, a help page or a misspelt task must not wait for it."""
    code = (
        "import sys\nfrom palestra.cli.main import main\n"
        f"try:\n    main({command!r})\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'mujoco', 'matplotlib', 'rich', 'tensorboard', 'imageio'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_building_a_runner_imports_no_plots_and_no_video():
    """Start-up to the first iteration leaves out what only the end of a run needs."""
    code = (
        "import sys, palestra\nfrom palestra.rl.runner import OnPolicyRunner\n"
        "from palestra.config import load_agent_cfg\nimport palestra.cli.train\n"
        "env = palestra.make('Cartpole', num_envs=2)\nOnPolicyRunner(env, load_agent_cfg('Cartpole'))\n"
        "heavy = {'matplotlib', 'imageio', 'OpenGL', 'tensorboard'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MUJOCO_GL"}  # it loads OpenGL at once
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


def test_run_folders_are_named_by_time_and_never_shared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    now = datetime(2026, 1, 31, 12, 0, 5)
    assert create_run_folder("ant", "", now) == Path("runs/ant/2026-01-31_12-00-05")
    assert create_run_folder("ant", "fast", now) == Path("runs/ant/2026-01-31_12-00-05_fast")
    assert create_run_folder("ant", "", now) == Path("runs/ant/2026-01-31_12-00-05_2")
    with pytest.raises(ConfigError, match=r"^experiment_name is '\.\./ant'; it must be one folder name"):
        create_run_folder("../ant", "", now)


@pytest.fixture
def runs(tmp_path, monkeypatch) -> list[Path]:
    monkeypatch.chdir(tmp_path)
    folders = [create_run_folder("ant", name, datetime(2026, 1, day)) for day, name in ((1, "a"), (2, "b"), (10, "a"))]
    for folder in folders:
        dump_yaml(folder / "config.yaml", {"task": "Ant", "env": {}, "agent": {}})
    return folders


def test_the_latest_run_is_found_by_time_and_pattern(runs):
    assert latest_run("ant", "Ant").path == runs[2]
    assert latest_run("ant", "Ant", ".*_b").path == runs[1]
    assert open_run(Path("runs/ant")).path == runs[2]
    assert open_run(runs[0] / "nn" / "last.pth").path == runs[0]
    with pytest.raises(ConfigError, match=r"^task 'Ant' has no run that matches 'c' in runs/ant"):
        latest_run("ant", "Ant", "c")


def test_checkpoints_are_chosen_by_name_pattern_or_age(runs):
    run = open_run(runs[0])
    with pytest.raises(ConfigError, match="has no checkpoint in"):
        run.checkpoint()
    folder = run.path / "nn"
    folder.mkdir()
    for name in ("model_50.pth", "model_100.pth", ".last.pth.1.tmp"):
        (folder / name).touch()
    assert run.checkpoint() == folder / "model_100.pth"
    assert run.checkpoint("model_50.pth") == folder / "model_50.pth"
    assert run.checkpoint("model_.*") == folder / "model_100.pth"
    (folder / "last.pth").touch()
    assert run.checkpoint() == folder / "last.pth"
    assert run.checkpoint(str(folder / "model_50.pth")) == folder / "model_50.pth"


def test_flags_beat_overrides_and_overrides_beat_defaults():
    args = no_flags(overrides=["env.scene.num_envs=3", "agent.max_iterations=4"], num_envs=9, seed=5, check=True)
    configs = task_configs("Cartpole", args)
    assert configs.env.scene.num_envs == 9 and configs.agent.max_iterations == 4
    assert configs.env.seed == configs.agent.seed == 5
    assert configs.env.check_terms is True


def test_play_keeps_what_a_run_changed_of_the_task_but_not_of_the_machine(tmp_path):
    args = no_flags(overrides=["env.rewards.dof_acc_l2=null", "env.commands.base_velocity.ranges.lin_vel_x=[0,2]",
                               "env.scene.robot.actuators.base_legs.stiffness=30.0", "env.sim.device=cuda:0"],
                    num_envs=77)  # fmt: skip
    changed = task_configs("Velocity-Flat-Go2", args)
    dump_yaml(tmp_path / "config.yaml", {"task": "Velocity-Flat-Go2", "env": changed.env, "agent": changed.agent})
    run = Run(tmp_path, "Velocity-Flat-Go2", load_yaml_config(tmp_path / "config.yaml"))
    play = play_configs("Velocity-Flat-Go2", no_flags(), run)
    assert play.task == "Velocity-Flat-Go2-Play"
    assert play.env.rewards.dof_acc_l2 is None
    assert tuple(play.env.commands.base_velocity.ranges.lin_vel_x) == (0, 2)
    assert play.env.scene.robot.actuators["base_legs"].stiffness == 30.0
    assert play.env.observations.policy.enable_corruption is False  # the variant's own
    assert play.env.scene.num_envs == 16 and play.env.sim.device == "cpu"


def test_an_unchanged_config_has_no_changes(tmp_path):
    dump_yaml(tmp_path / "config.yaml", {"task": "Ant", "env": load_env_cfg("Ant")})
    assert changes(load_env_cfg("Ant"), load_yaml_config(tmp_path / "config.yaml")["env"]) == []
