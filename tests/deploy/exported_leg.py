"""A small exported policy, written with onnx.helper as `palestra export` does, and the same arithmetic in numpy.

A leg of three joints on a floating base: hip and knee turn, foot slides without limits. The policy remembers its last
action and two joint velocities; its targets are ``default + 0.25 * tanh(obs @ W + b)``.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

JOINTS = ("hip", "knee", "foot")
DEFAULT = np.array([0.1, -1.0, 0.0])
STEP_DT = 0.02
STEPS = 64
SCALE = 0.25
OBS_DIM = 25

ROBOT: dict[str, Any] = {
    "joint_names": list(JOINTS),
    "is_fixed_base": False,
    "default_joint_pos": DEFAULT.tolist(),
    "stiffness": [25.0, 25.0, 100.0],
    "damping": [0.5, 0.5, 5.0],
    "effort_limits": [20.0, 40.0, None],
    "velocity_limits": [30.0, 15.0, None],
    "position_limits": [[-1.0, 1.0], [-2.5, -0.5], [None, None]],
    "soft_position_limits": [[-0.9, 0.9], [-2.4, -0.6], [None, None]],
    "armature": [0.01, 0.01, 0.01],
    "friction": [0.0, 0.0, 0.0],
}


def weights(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (0.2 * rng.standard_normal((OBS_DIM, 3))).astype(np.float32), np.array([0.1, -0.2, 0.3], np.float32)


def _value(name: str, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _constant(name: str, value: Any, dtype: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def _model(
    nodes: list[onnx.NodeProto], inputs: list[Any], outputs: list[Any], constants: list[Any], about: dict[str, Any]
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "policy", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    entry = model.metadata_props.add()
    entry.key, entry.value = "palestra", json.dumps(about)
    onnx.checker.check_model(model, full_check=True)
    return model


def control_step_model(about: dict[str, Any]) -> onnx.ModelProto:
    W, b = weights()
    node = helper.make_node
    nodes = [
        node("Sub", ["joint_pos", "default"], ["pos_rel"]),
        node("Mul", ["joint_vel", "vel_scale"], ["vel_scaled"]),
        node("Reshape", ["history_in", "flat"], ["history_flat"]),
        node("Concat", ["pos_rel", "vel_scaled", "base_ang_vel", "base_quat", "command_base_velocity", "last_action_in", "history_flat"], ["obs"], axis=1),
        node("Gemm", ["obs", "W", "b"], ["pre"]),
        node("Tanh", ["pre"], ["actions"]),
        node("Mul", ["actions", "scale"], ["offset"]),
        node("Add", ["offset", "default"], ["joint_pos_target"]),
        node("Identity", ["actions"], ["last_action_out"]),
        node("Unsqueeze", ["joint_vel", "one"], ["newest"]),
        node("Slice", ["history_in", "one", "two", "one"], ["kept"]),
        node("Concat", ["kept", "newest"], ["history_out"], axis=1),
    ]  # fmt: skip
    constants = [
        _constant("default", DEFAULT[None]),
        _constant("vel_scale", 0.05),
        _constant("flat", [1, 6], np.int64),
        _constant("W", W),
        _constant("b", b),
        _constant("scale", SCALE),
        _constant("one", [1], np.int64),
        _constant("two", [2], np.int64),
    ]
    ports = about["control_step"]
    inputs = [_value(entry["name"], entry["shape"]) for entry in ports["inputs"]]
    outputs = [_value(entry["name"], entry["shape"]) for entry in ports["outputs"]]
    return _model(nodes, inputs, outputs, constants, about)


def network_model(about: dict[str, Any]) -> onnx.ModelProto:
    W, b = weights()
    nodes = [helper.make_node("Gemm", ["obs", "W", "b"], ["pre"]), helper.make_node("Tanh", ["pre"], ["actions"])]
    inputs, outputs = [_value("obs", ["batch", OBS_DIM])], [_value("actions", ["batch", 3])]
    return _model(nodes, inputs, outputs, [_constant("W", W), _constant("b", b)], about)


def description() -> dict[str, Any]:
    def port(name: str, width: list[int], role: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "shape": [1, *width], "role": role, **more}

    return {
        "format": 2,
        "task": "Leg",
        "control": {"step_dt": STEP_DT, "physics_dt": 0.005, "decimation": 4},
        "articulations": {"robot": ROBOT},
        "commands": {"base_velocity": {"width": 3, "ranges": {"lin_vel_x": [-1.0, 1.0], "lin_vel_y": [-0.5, 0.5], "ang_vel_z": [-1.0, 1.0], "heading": [-3.14, 3.14]}}},
        "policy": {
            "inputs": [{"name": "obs", "shape": ["batch", OBS_DIM]}],
            "outputs": [{"name": "actions", "shape": ["batch", 3]}],
            "memory": [],
        },
        "control_step": {
            "inputs": [
                port("joint_pos", [3], "sensor", entries=list(JOINTS)),
                port("joint_vel", [3], "sensor", entries=list(JOINTS)),
                port("base_ang_vel", [3], "sensor"),
                port("base_quat", [4], "sensor", entries=["w", "x", "y", "z"]),
                port("command_base_velocity", [3], "command", command="base_velocity", entries=["lin_vel_x", "lin_vel_y", "ang_vel_z"]),
                port("last_action_in", [3], "state"),
                port("history_in", [2, 3], "state"),
            ],
            "outputs": [
                port("joint_pos_target", [3], "target", target="joint_position", joint_names=list(JOINTS)),
                port("actions", [3], "action"),
                port("obs", [OBS_DIM], "observation"),
                port("last_action_out", [3], "state"),
                port("history_out", [2, 3], "state"),
            ],
            "state": [
                {"input": "last_action_in", "output": "last_action_out", "initial": [[0.0, 0.0, 0.0]]},
                {"input": "history_in", "output": "history_out", "initial": [[[0.5, 0.5, 0.5], [0.0, 0.0, 0.0]]]},
            ],
            "sample_rate_hz": 50.0,
        },
    }  # fmt: skip


class NumpyLeg:
    """The control step in numpy float64."""

    def __init__(self) -> None:
        W, b = weights()
        self.W, self.b = W.astype(float), b.astype(float)
        self.reset()

    def reset(self) -> None:
        self.last_action = np.zeros(3)
        self.history = np.array([[0.5] * 3, [0.0] * 3])

    def step(self, sensors: dict[str, np.ndarray], command: np.ndarray) -> dict[str, np.ndarray]:
        q, v = np.asarray(sensors["joint_pos"], float), np.asarray(sensors["joint_vel"], float)
        parts = [
            q - DEFAULT,
            0.05 * v,
            sensors["base_ang_vel"],
            sensors["base_quat"],
            command,
            self.last_action,
            self.history.ravel(),
        ]
        obs = np.concatenate(parts)
        actions = np.tanh(obs @ self.W + self.b)
        self.last_action, self.history = actions, np.stack([self.history[1], v])
        return {"joint_pos_target": DEFAULT + SCALE * actions, "actions": actions, "obs": obs}


def some_sensors(rng: np.random.Generator) -> dict[str, np.ndarray]:
    quat = np.array([1.0, 0.0, 0.0, 0.0]) + 0.1 * rng.standard_normal(4)
    values = {
        "joint_pos": DEFAULT + 0.1 * rng.standard_normal(3),
        "joint_vel": rng.standard_normal(3),
        "base_ang_vel": rng.standard_normal(3),
        "base_quat": quat / np.linalg.norm(quat),
    }
    return {name: value.astype(np.float32) for name, value in values.items()}


def golden(episode: int = 40) -> dict[str, np.ndarray]:
    """Return golden vectors of two episodes, of which the first ends after ``episode`` steps."""
    rng, leg = np.random.default_rng(1), NumpyLeg()
    rows: dict[str, list[np.ndarray]] = {}
    for step in range(STEPS):
        if step == episode:
            leg.reset()
        sensors, command = some_sensors(rng), rng.uniform(-0.5, 0.5, 3).astype(np.float32)
        before = {"in/last_action_in": leg.last_action, "in/history_in": leg.history}
        out = leg.step(sensors, command)
        after = {"out/last_action_out": leg.last_action, "out/history_out": leg.history}
        row = {**{f"in/{k}": v for k, v in sensors.items()}, "in/command_base_velocity": command, **before}
        row |= {**{f"out/{k}": v for k, v in out.items()}, **after}
        for name, value in row.items():
            rows.setdefault(name, []).append(np.asarray(value, np.float32)[None])
    return {name: np.stack(values) for name, values in rows.items()}


def sign(folder: Path, about: dict[str, Any]) -> None:
    """Write ``policy.json`` with the checksums of the files that are there."""
    names = [name for name in ("policy.onnx", "actor.onnx", "golden.npz") if (folder / name).exists()]
    files = {name: {"sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()} for name in names}
    (folder / "policy.json").write_text(json.dumps({**about, "files": files}))


def export_leg(folder: Path, about: dict[str, Any] | None = None) -> Path:
    """Write an exported folder."""
    about = about or description()
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save_model(control_step_model(about), str(folder / "policy.onnx"))
    onnx.save_model(network_model(about), str(folder / "actor.onnx"))
    np.savez(folder / "golden.npz", **golden())
    sign(folder, about)
    return folder
