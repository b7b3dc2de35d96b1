"""The runtime: same numbers as numpy, state carried, and one line for everything that is wrong with input or files."""

import functools
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from exported_leg import (
    OBS_DIM,
    NumpyLeg,
    control_step_model,
    description,
    export_leg,
    golden,
    sign,
    some_sensors,
    weights,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import palestra
from palestra.deploy.runtime import PolicyRunner
from palestra.deploy.session import PROVIDERS
from palestra.errors import ConfigError, PalestraError

COMMAND = np.array([0.5, 0.0, -0.2])


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    return export_leg(tmp_path_factory.mktemp("leg"))


@pytest.fixture(scope="module")
def shared(exported) -> PolicyRunner:
    return PolicyRunner(exported)


@pytest.fixture
def own(tmp_path) -> Path:
    return export_leg(tmp_path / "exported")


def test_steps_compute_what_numpy_does_and_carry_the_state(exported):
    runner, leg, rng = PolicyRunner(exported), NumpyLeg(), np.random.default_rng(3)
    for step in range(10):
        if step == 6:
            runner.reset()
            leg.reset()
        sensors = some_sensors(rng)
        found, wanted = runner.step(sensors, {"base_velocity": COMMAND}), leg.step(sensors, COMMAND)
        assert set(found) == {"joint_pos_target", "actions", "obs"}
        for name, value in wanted.items():
            assert found[name].shape == value.shape
            np.testing.assert_allclose(found[name], value, atol=2e-6, err_msg=f"{name} at step {step}")


def test_results_are_the_callers_own(exported):
    runner, rng = PolicyRunner(exported), np.random.default_rng(0)
    first = runner.step(some_sensors(rng), {"base_velocity": COMMAND})
    kept = first["actions"].copy()
    runner.step(some_sensors(rng), {"base_velocity": -COMMAND})
    np.testing.assert_array_equal(first["actions"], kept)


def test_the_file_alone_has_its_description_inside(tmp_path):
    onnx.save_model(control_step_model(description()), str(tmp_path / "policy.onnx"))
    runner = PolicyRunner(tmp_path / "policy.onnx")
    assert runner.description["task"] == "Leg" and runner.step_dt == 0.02
    assert runner.step(some_sensors(np.random.default_rng(0)), {"base_velocity": COMMAND})["actions"].shape == (3,)
    with pytest.raises(ConfigError, match=r"has no golden\.npz"):
        runner.check_golden()


def test_the_network_alone(exported):
    runner, (W, b) = PolicyRunner(exported), weights()
    obs = np.linspace(-1.0, 1.0, OBS_DIM)
    np.testing.assert_allclose(runner.compute_action(obs), np.tanh(obs @ W + b), atol=1e-6)
    rows = np.stack([obs, -obs])
    np.testing.assert_allclose(runner.compute_action(rows), np.tanh(rows @ W + b), atol=1e-6)
    with pytest.raises(PalestraError, match=r"observation 'obs' has shape \(24,\); it must be \(25,\)"):
        runner.compute_action(obs[1:])
    obs[4] = np.inf
    with pytest.raises(PalestraError, match="observation 'obs' is inf at index 4"):
        runner.compute_action(obs)


@pytest.mark.parametrize(
    "provider", [name for name, full in PROVIDERS.items() if full in onnxruntime.get_available_providers()]
)
def test_every_provider_that_is_there_gives_the_golden_vectors(exported, provider):
    assert PolicyRunner(exported, providers=[provider]).check_golden() <= 1e-5


def test_a_provider_that_is_not_there(exported):
    with pytest.raises(ConfigError, match="provider 'tpu' is not in this ONNX Runtime: did you mean 'cpu'"):
        PolicyRunner(exported, providers=["tpu"])


def test_memory_of_two_layers_is_carried_in_both_files(tmp_path):
    """h counts steps in each layer, and the action is the sum over layers plus what is sensed."""
    memory = {"name": "h_in", "shape": [2, 1, 3], "role": "state"}
    after = {"name": "h_out", "shape": [2, 1, 3], "role": "state"}
    sensed, target = (
        {"name": "joint_pos", "shape": [1, 3], "role": "sensor"},
        {"name": "joint_pos_target", "shape": [1, 3], "role": "target"},
    )
    about = description()
    about["control_step"] = {
        "inputs": [sensed, memory],
        "outputs": [target, after],
        "state": [{"input": "h_in", "output": "h_out", "initial": [[[0.0] * 3], [[10.0] * 3]]}],
    }
    batch = [2, "batch", 3]
    about["policy"] = {
        "inputs": [{"name": "obs", "shape": ["batch", 3]}, {"name": "h_in", "shape": batch}],
        "outputs": [{"name": "actions", "shape": ["batch", 3]}, {"name": "h_out", "shape": batch}],
        "memory": [{"input": "h_in", "output": "h_out", "initial": 0.0}],
    }
    constants = [
        numpy_helper.from_array(np.float32(1.0), "one"),
        numpy_helper.from_array(np.array([0], np.int64), "axis"),
    ]
    for file, into, result in (("policy.onnx", "joint_pos", "joint_pos_target"), ("actor.onnx", "obs", "actions")):
        size = 1 if file == "policy.onnx" else "batch"
        nodes = [
            helper.make_node("Add", ["h_in", "one"], ["h_out"]),
            helper.make_node("ReduceSum", ["h_out", "axis"], ["summed"], keepdims=0),
            helper.make_node("Add", ["summed", into], [result]),
        ]
        value = functools.partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT)
        ins = [value(into, shape=[size, 3]), value("h_in", shape=[2, size, 3])]
        outs = [value(result, shape=[size, 3]), value("h_out", shape=[2, size, 3])]
        graph = helper.make_graph(nodes, "g", ins, outs, constants)
        onnx.save_model(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(tmp_path / file)
        )
    sign(tmp_path, about)
    runner = PolicyRunner(tmp_path)
    x = np.array([0.1, 0.2, 0.3])
    for start in (10.0, 10.0):  # again after the reset
        for step in range(1, 4):
            np.testing.assert_allclose(
                runner.step({"joint_pos": x})["joint_pos_target"], x + start + 2 * step, rtol=1e-6
            )
            np.testing.assert_allclose(runner.compute_action(x), x + 2 * step, rtol=1e-6)
        runner.reset()


# Input that is wrong


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joint_pos": None}, "sensor 'joint_pos' is missing: did you mean 'joint_vel'"),
        ({"joint_pos": np.zeros(4)}, r"sensor 'joint_pos' has shape \(4,\); it must be \(3,\)"),
        ({"joint_pos": np.zeros((1, 3))}, r"sensor 'joint_pos' has shape \(1, 3\); it must be \(3,\)"),
        ({"joint_vel": np.array([0.0, np.nan, 0.0])}, r"sensor 'joint_vel' is nan at index 1 \(knee\); it must be finite"),
        ({"base_quat": np.array([1.0, 0.0, np.inf, 0.0])}, r"sensor 'base_quat' is inf at index 2 \(y\)"),
        ({"joint_vel": np.array([0.0, 0.0, -1e300])}, r"sensor 'joint_vel' is -inf at index 2 \(foot\)"),
        ({"joint_vel": np.array(["a", "b", "c"])}, "sensor 'joint_vel' is <U1; it must be numbers"),
    ],
)  # fmt: skip
def test_wrong_sensors_are_named_and_change_nothing(exported, change, message):
    runner, leg, rng = PolicyRunner(exported), NumpyLeg(), np.random.default_rng(4)
    sensors = some_sensors(rng)
    leg.step(sensors, COMMAND)
    runner.step(sensors, {"base_velocity": COMMAND})
    spoilt = {name: value for name, value in {**sensors, **change}.items() if value is not None}
    with pytest.raises(PalestraError, match=message):
        runner.step(spoilt, {"base_velocity": COMMAND})
    found, wanted = runner.step(sensors, {"base_velocity": COMMAND}), leg.step(sensors, COMMAND)
    np.testing.assert_allclose(found["obs"], wanted["obs"], atol=2e-6)  # the state went on from the step before


NUMBER = st.one_of(st.floats(-2.0, 2.0), st.floats(allow_nan=True, allow_infinity=True), st.integers(-(10**40), 10**40))
ANY = st.one_of(st.lists(NUMBER, min_size=3, max_size=4), st.lists(st.none(), max_size=4), st.text(max_size=3), NUMBER)


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(["joint_pos", "joint_vel", "base_ang_vel", "base_quat"], ANY)), ANY
)
def test_whatever_is_given_the_answer_is_finite_or_one_line(shared, changes, command):
    shared.reset()
    sensors = {**some_sensors(np.random.default_rng(0)), **changes}
    found, message = {}, ""
    try:
        found = shared.step(sensors, {"base_velocity": command})
    except PalestraError as error:
        message = str(error)
    assert bool(message) is not bool(found) and "\n" not in message
    if found:
        assert all(np.isfinite(value).all() for value in found.values())
        assert all(np.isfinite(np.asarray(value, float)).all() for value in (*sensors.values(), command))
    plain = shared.step(some_sensors(np.random.default_rng(1)), {"base_velocity": COMMAND})
    assert all(np.isfinite(value).all() for value in plain.values())


def test_commands_by_name_or_by_input_and_their_errors(exported):
    runner, sensors = PolicyRunner(exported), some_sensors(np.random.default_rng(0))
    by_name = runner.step(sensors, {"base_velocity": COMMAND})
    runner.reset()
    by_input = runner.step(sensors, {"command_base_velocity": COMMAND})
    np.testing.assert_array_equal(by_name["actions"], by_input["actions"])
    with pytest.raises(PalestraError, match="command 'base_velocity' is missing: nothing is known here"):
        runner.step(sensors)
    with pytest.raises(
        PalestraError, match=r"command 'base_velocity' is nan at index 0|'command_base_velocity' is nan"
    ):
        runner.step(sensors, {"base_velocity": [np.nan, 0.0, 0.0]})


def test_an_output_that_is_not_finite_is_refused_and_not_remembered(tmp_path):
    """1 / joint_pos[0]: infinite where the sensor is zero."""
    about = description()
    port = {"name": "joint_pos", "shape": [1, 3], "role": "sensor"}
    outputs = [
        {"name": "joint_pos_target", "shape": [1, 3], "role": "target"},
        {"name": "last_out", "shape": [1, 3], "role": "state"},
    ]
    state = {"name": "last_in", "shape": [1, 3], "role": "state"}
    about["control_step"] = {
        "inputs": [port, state],
        "outputs": outputs,
        "state": [{"input": "last_in", "output": "last_out", "initial": 0.0}],
    }
    nodes = [
        helper.make_node("Reciprocal", ["joint_pos"], ["inverse"]),
        helper.make_node("Add", ["inverse", "last_in"], ["joint_pos_target"]),
        helper.make_node("Identity", ["joint_pos_target"], ["last_out"]),
    ]
    values = [
        helper.make_tensor_value_info(entry["name"], TensorProto.FLOAT, [1, 3]) for entry in (port, state, *outputs)
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "g", values[:2], values[2:]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.save_model(model, str(tmp_path / "policy.onnx"))
    sign(tmp_path, about)
    runner = PolicyRunner(tmp_path)
    assert runner.step({"joint_pos": [1.0, 2.0, 4.0]})["joint_pos_target"].tolist() == [1.0, 0.5, 0.25]
    with pytest.raises(PalestraError, match="the policy's output 'joint_pos_target', 'last_out' is NaN or infinite"):
        runner.step({"joint_pos": [0.0, 2.0, 4.0]})
    assert runner.step({"joint_pos": [1.0, 2.0, 4.0]})["joint_pos_target"].tolist() == [2.0, 1.0, 0.5]


# Files that are wrong


def test_golden_vectors_of_two_episodes_pass_and_leave_a_fresh_state(exported):
    runner, leg, rng = PolicyRunner(exported), NumpyLeg(), np.random.default_rng(5)
    assert runner.check_golden() < 1e-5
    sensors = some_sensors(rng)
    np.testing.assert_allclose(
        runner.step(sensors, {"base_velocity": COMMAND})["obs"], leg.step(sensors, COMMAND)["obs"], atol=2e-6
    )


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("out/actions", 17, "output 'actions' differs by 0.001 at step 17, more than 1e-05; do not run it"),
        ("out/history_out", 0, "output 'history_out' differs by 0.001 at step 0"),
        ("in/last_action_in", 9, "carried state 'last_action_in' differs by 0.001 at step 9"),
    ],
)
def test_golden_vectors_that_fail_name_what_and_when(own, name, row, message):
    arrays = golden()
    arrays[name][row].flat[1] = (arrays[name][row].flat[1]) + 1.0e-3
    np.savez(own / "golden.npz", **arrays)
    sign(own, description())
    with pytest.raises(PalestraError, match=message):
        PolicyRunner(own).check_golden()


def test_golden_vectors_that_do_not_fit(own):
    arrays = golden()
    np.savez(own / "golden.npz", **{name: value[:63] for name, value in arrays.items()})
    sign(own, description())
    with pytest.raises(ConfigError, match=r"its arrays have \[63\] steps; all must have the same, 64 or more"):
        PolicyRunner(own).check_golden()
    del arrays["in/base_quat"]
    np.savez(own / "golden.npz", **arrays)
    sign(own, description())
    with pytest.raises(ConfigError, match="has no 'in/base_quat': it belongs to another export"):
        PolicyRunner(own).check_golden()
    (own / "golden.npz").write_bytes(b"PK\x03\x04 cut short")
    sign(own, description())
    with pytest.raises(ConfigError, match="cannot read the golden vectors"):
        PolicyRunner(own).check_golden()


def _break(folder: Path, how: str) -> None:
    about = description()
    if how == "changed":
        file = folder / "policy.onnx"
        file.write_bytes(file.read_bytes() + b"\x00")
    elif how == "no policy":
        (folder / "policy.onnx").unlink()
    elif how == "nothing":
        (folder / "policy.onnx").unlink()
        (folder / "actor.onnx").unlink()
    elif how == "no description":
        (folder / "policy.json").unlink()
    elif how == "bad description":
        (folder / "policy.json").write_text("{")
    elif how == "no control step":
        del about["control_step"]
        sign(folder, about)
    elif how == "no checksum":
        (folder / "policy.json").write_text(json.dumps(about))
    elif how == "other input":
        about["control_step"]["inputs"][0]["name"] = "joint_position"
        sign(folder, about)
    elif how == "other shape":
        about["control_step"]["inputs"][0]["shape"] = [1, 4]
        sign(folder, about)
    elif how == "no batch":
        about["control_step"]["inputs"][0]["shape"] = [3]
        sign(folder, about)
    elif how == "no initial":
        del about["control_step"]["state"][1]
        sign(folder, about)
    elif how == "not ONNX":
        (folder / "policy.onnx").write_bytes(b"no model")
        sign(folder, about)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            "changed",
            r"policy.onnx is not the file that policy.json describes \(sha256 .{12}…, not .{12}…\): copy the whole",
        ),
        ("nothing", "has neither policy.onnx nor actor.onnx"),
        ("no description", "has no policy.json: it is no exported folder"),
        ("bad description", "policy.json is not JSON"),
        ("no control step", "describes no control step: export the run again"),
        ("no checksum", "has no checksum of policy.onnx: the files are of two exports"),
        ("other input", "its inputs are .*'joint_pos'.* but its description says .*'joint_position'"),
        ("other shape", r"input 'joint_pos' is \[1, 3\], but its description says \[1, 4\]"),
        ("no batch", r"sensor 'joint_pos' is \[3\]; it must be \[1, width\]"),
        ("no initial", "says nothing of the initial value of the state 'history_in'"),
        ("not ONNX", "policy.onnx: ONNX Runtime cannot open it"),
    ],
)
def test_wrong_files_are_one_line(own, how, message):
    _break(own, how)
    with pytest.raises(ConfigError, match=message) as caught:
        PolicyRunner(own)
    assert "\n" not in str(caught.value)


def test_a_folder_with_the_network_alone(own):
    _break(own, "no policy")
    sign(own, description())
    runner = PolicyRunner(own)
    assert runner.compute_action(np.zeros(OBS_DIM)).shape == (3,)
    with pytest.raises(ConfigError, match=r"has no policy\.onnx, only the network"):
        runner.step({})


def test_paths_that_are_no_policy(tmp_path):
    with pytest.raises(ConfigError, match="no exported policy at .*gone: no such file or folder"):
        PolicyRunner(tmp_path / "gone")
    (tmp_path / "policy.pt").write_bytes(b"")
    with pytest.raises(
        ConfigError, match=r"policy\.pt is no exported policy: give the exported folder, or its policy\.onnx"
    ):
        PolicyRunner(tmp_path / "policy.pt")


def test_it_all_runs_where_torch_and_mujoco_are_absent(exported, tmp_path):
    program = f"""
        import sys

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("torch", "mujoco", "onnx", "yaml", "gymnasium", "rich", "matplotlib", "scipy"):
                    raise ImportError(f"{{name}} is blocked", name=name)

        sys.meta_path.insert(0, Absent())
        sys.path.insert(0, {str(Path(palestra.__file__).parents[1])!r})
        import numpy as np
        from palestra.deploy import blackbox, bundle, commands, controller, freshness, golden, limits, loop
        from palestra.deploy import recording, robot, robots, runtime, safety, session, stand, startup
        from palestra.cli.main import main

        runner = runtime.PolicyRunner({str(exported)!r})
        sensors = {{"joint_pos": np.zeros(3), "joint_vel": np.zeros(3), "base_ang_vel": np.zeros(3), "base_quat": [1, 0, 0, 0]}}
        print(runner.check_golden() < 1e-5, runner.step(sensors, {{"base_velocity": np.zeros(3)}})["joint_pos_target"].shape)
        print(main(["deploy", {str(tmp_path / "gone")!r}, "--robot", "udp://127.0.0.1:9"]))
        print([name for name in ("torch", "mujoco") if name in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stdout == "True (3,)\n2\n[]\n", done.stderr
    assert done.stderr.startswith("palestra: error: no exported policy at ")
