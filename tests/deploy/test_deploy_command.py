"""The command `palestra deploy`: bad input is one line, a clean end is 0, a safety trip is 1 and leaves a black box."""

import functools
import json
import math
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from exported_leg import DEFAULT, export_leg
from loopback import LoopbackRobot

from palestra.cli.main import main
from palestra.deploy import controller, robots

QUICK = {"stand_time": 0.1, "gain_ramp": 0.05, "blend_time": 0.05, "damp_time": 0.1}
LOOSE = {
    "max_missed_deadlines": 50,
    "state_max_age": 5.0,
    "communication_timeout": 5.0,
}  # a busy machine is no fault here


@pytest.fixture
def exported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "limits.json").write_text(json.dumps(LOOSE))
    return export_leg(tmp_path / "exported")


@pytest.fixture
def robot(monkeypatch) -> LoopbackRobot:
    made = LoopbackRobot(time.monotonic, DEFAULT)
    monkeypatch.setattr(robots, "open_robot", lambda url, joint_names: made)
    monkeypatch.setattr(controller, "ControllerSettings", functools.partial(controller.ControllerSettings, **QUICK))
    return made


def deploy(*flags: str) -> int:
    return main(["deploy", "exported", "--robot", "udp://127.0.0.1:9", "--limits", "limits.json", *flags])


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("deploy", "which exported folder? for example: palestra deploy runs/x/exported --robot udp://127.0.0.1:9000"),
        ("deploy exported", "which robot? for example: --robot udp://127.0.0.1:9000"),
        ("deploy gone --robot udp://a:1", "no exported policy at gone: no such file or folder; palestra export RUN makes one"),
        ("deploy exported --robot tcp://a:1", "robot 'tcp://a:1': the scheme must be known, as in udp://127.0.0.1:9000: known: 'udp', 'unitree'"),
        ("deploy exported --robot udp://a --duration 0", "--duration is '0'; it must be a number of seconds above 0"),
        ("deploy exported --robot udp://a --duration nan", "--duration is 'nan'; it must be a number of seconds above 0"),
        ("deploy exported --robot udp://a --command base_velocity", "--command is 'base_velocity'; it must be NAME=number,number,…"),
        ("deploy exported --robot udp://a --command base_velocity=1,x,0", "--command is 'base_velocity=1,x,0'; it must be NAME=number,number,…"),
        ("deploy exported --robot udp://a --command base_velocity=1,0", "command 'base_velocity' has 2 numbers; it must have 3"),
        ("deploy exported --robot udp://a --command speed=1", "the policy takes no command 'speed': known: 'base_velocity'"),
        ("deploy exported --robot udp://a --limits gone.json", "gone.json: cannot read these limits: No such file or directory"),
        ("deploy exported --robot udp://a --provider npu", "provider 'npu' is not in this ONNX Runtime: did you mean 'cpu'? known: 'cpu'"),
        ("deploy exported --robot udp://a --duration", "--duration needs a value (see palestra deploy --help)"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(exported, command, message, capsys):
    before = sorted(exported.parent.rglob("*"))
    assert main(command.split()) == 2
    captured = capsys.readouterr()
    assert captured.err == f"palestra: error: {message}\n" and captured.out == ""
    assert sorted(exported.parent.rglob("*")) == before


def test_a_module_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(robots.SCHEMES, "udp", "palestra.deploy.no_such_module")
    with pytest.raises(
        Exception, match=r"robot 'udp://a:1' needs palestra\.deploy\.no_such_module, which is not installed"
    ):
        robots.open_robot("udp://a:1", ())


def test_a_clean_end(exported, robot, capsys):
    assert deploy("--duration", "0.3", "--command", "base_velocity=0.2,0,0", "--black_box", "box.npz") == 0
    out = capsys.readouterr().out
    assert "Leg on udp://127.0.0.1:9: 3 joints, 50 Hz, golden vectors within" in out
    assert [line.split()[0] for line in out.splitlines()[1:-3]] == ["init", "stand", "run", "damp", "stop"]
    assert "base_velocity [0.2, 0, 0]" in out and "median / p99 / max in ms: jitter" in out
    assert "black box: box.npz, events in box.json" in out and "finished after 0.3" in out
    assert robot.closed and robot.sent[-1].mode == "damping"
    with np.load(exported.parent / "box.npz") as box:
        run = box["phase"][:, 0] == 2
        np.testing.assert_allclose(box["command_base_velocity"][run], [[0.2, 0.0, 0.0]] * int(run.sum()), atol=1e-7)


def test_a_trip_ends_with_one_and_leaves_a_black_box(exported, robot, capsys):
    fallen = np.array([math.cos(0.7), 0.0, math.sin(0.7), 0.0])
    robot.spoil = lambda state: replace(state, base_quat=fallen) if len(robot.sent) > 25 else state
    assert deploy() == 1
    out = capsys.readouterr().out
    assert "1 fault; the robot was braked:\n  tilt: the base is tilted by 1.400 rad; the limit is 1.000" in out
    assert {command.mode for command in robot.sent[26:]} == {"damping"}
    (box,) = exported.parent.glob("black_box_*.npz")
    events = json.loads(box.with_suffix(".json").read_text())["events"]
    assert [event["cause"] for event in events if event["event"] == "trip"] == ["tilt"]


def test_a_command_beyond_training_is_bounded_and_said(exported, robot, capsys):
    assert deploy("--duration", "0.1", "--command", "base_velocity=2,0,-0.5") == 0
    assert "command 'base_velocity' is bounded to the ranges of training: [1.0, 0.0, -0.5]" in capsys.readouterr().out


def test_ctrl_c_brakes_and_ends_cleanly(exported, robot, capsys):
    threading.Timer(1.0, signal.raise_signal, [signal.SIGINT]).start()
    before = signal.getsignal(signal.SIGINT)
    assert deploy() == 0
    assert robot.sent[-1].mode == "damping" and "no faults" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before
    assert not list(exported.parent.glob("black_box_*"))  # nothing happened that would be worth a file
