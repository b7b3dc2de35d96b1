"""How long one control step of an exported policy takes on one CPU core.

    python benchmarks/deploy/runtime.py                       # a 512-256-128 network, written on the spot
    python benchmarks/deploy/runtime.py runs/x/exported       # an exported policy

Measured are ``PolicyRunner.compute_action``, ``PolicyRunner.step``, and a whole control step with the safety monitor:
sensors checked, policy, targets bounded. Target: median ≤ 100 µs and p99 ≤ 300 µs for the first two.
"""

import argparse
import itertools
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from palestra.deploy.bundle import robot_of
from palestra.deploy.commands import OperatorCommands
from palestra.deploy.limits import SafetyLimits
from palestra.deploy.robot import RobotCommand, RobotState
from palestra.deploy.runtime import PolicyRunner
from palestra.deploy.safety import SafetyMonitor
from palestra.deploy.startup import sensors_of

NUM_JOINTS, HIDDEN = 12, (512, 256, 128)
OBS_DIM = 3 + 3 + 3 + 3 * NUM_JOINTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exported", nargs="?", type=Path)
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--provider", default="cpu")
    parser.add_argument("--output", type=Path, default=Path("runtime.json"), help="JSON file")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        path = args.exported or write_quadruped(Path(folder))
        runner = PolicyRunner(path, providers=[args.provider])
        result = {
            "policy": "512-256-128, written on the spot" if args.exported is None else runner.description.get("task"),
            "provider": args.provider,
            "onnxruntime": onnxruntime.__version__,
            "processor": processor(),
            "cores": 1,
            "steps": args.steps,
            "times_us": {name: measure(function, args.steps) for name, function in functions(runner).items()},
        }
    for name, times in result["times_us"].items():
        print(f"{name:<15} median {times['median']:7.1f} µs   p99 {times['p99']:7.1f} µs   max {times['max']:8.1f} µs")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=2) + "\n")
    print(args.output)


def functions(runner: PolicyRunner) -> dict[str, Callable[[], Any]]:
    rng = np.random.default_rng(0)
    robot, step = robot_of(runner.description), runner.control_step
    limits = SafetyLimits.from_description(runner.description)
    default = np.array(robot["default_joint_pos"])
    monitor = SafetyMonitor(limits, default)
    operator = OperatorCommands(runner.description, step, 1.0)
    names = step.named("sensor")
    fields = {"joint_pos", "joint_vel", "joint_effort", "base_ang_vel", "base_quat"}
    extra = {p.name: np.zeros(p.shape[1:]) for p in step.inputs if p.role == "sensor" and p.name not in fields}
    count = len(default)
    state = RobotState(
        0.0, default, np.zeros(count), np.zeros(count), np.zeros(3), np.array([1.0, 0, 0, 0]), False, extra
    )
    sensors, commands = sensors_of(state, names), operator.read(0.0)
    gains = [np.array([gain or 0.0 for gain in robot[name]]) for name in ("stiffness", "damping")]

    def whole() -> None:
        state.stamp += runner.step_dt
        monitor.check(state, state.stamp)
        outputs = runner.step(sensors_of(state, names), operator.read(state.stamp))
        target = outputs.get("joint_pos_target", default)
        monitor.bound(RobotCommand(target, np.zeros(count), np.zeros(count), *gains), state.stamp)

    found: dict[str, Callable[[], Any]] = {}
    if runner.bundle.actor is not None:
        (width,) = [entry["shape"][-1] for entry in runner.description["policy"]["inputs"] if entry["name"] == "obs"]
        obs = rng.standard_normal(width).astype(np.float32)
        found["compute_action"] = lambda: runner.compute_action(obs)
    return {**found, "step": lambda: runner.step(sensors, commands), "step + monitor": whole}


def measure(function: Callable[[], Any], steps: int) -> dict[str, float]:
    for _ in range(200):
        function()
    times = np.zeros(steps)
    for index in range(steps):
        start = time.perf_counter_ns()
        function()
        times[index] = time.perf_counter_ns() - start
    median, p99, most = np.percentile(times / 1e3, [50, 99, 100])
    return {"median": round(float(median), 1), "p99": round(float(p99), 1), "max": round(float(most), 1)}


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def write_quadruped(folder: Path) -> Path:
    """Write a quadruped's velocity policy with random weights: 45 sensed numbers and its last action."""
    import hashlib

    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng, node = np.random.default_rng(0), helper.make_node
    sizes = (OBS_DIM, *HIDDEN, NUM_JOINTS)
    constants = [numpy_helper.from_array(np.full((1, NUM_JOINTS), 0.25, np.float32), "scale")]
    layers, x = [], "obs"
    for k, (before, after) in enumerate(itertools.pairwise(sizes)):
        weight = (rng.standard_normal((before, after)) / before**0.5).astype(np.float32)
        constants += [
            numpy_helper.from_array(weight, f"w{k}"),
            numpy_helper.from_array(np.zeros(after, np.float32), f"b{k}"),
        ]
        last = k == len(HIDDEN)
        layers.append(node("Gemm", [x, f"w{k}", f"b{k}"], ["actions" if last else f"gemm{k}"]))
        if not last:
            layers.append(node("Elu", [f"gemm{k}"], [f"elu{k}"]))
            x = f"elu{k}"
    about = describe_quadruped()
    ports = about["control_step"]
    around = [
        node("Concat", [entry["name"] for entry in ports["inputs"]], ["obs"], axis=1),
        *layers,
        node("Mul", ["actions", "scale"], ["joint_pos_target"]),
        node("Identity", ["actions"], ["last_action_out"]),
    ]

    def save(
        name: str, nodes: list[Any], inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]
    ) -> dict[str, str]:
        values = [
            [helper.make_tensor_value_info(e["name"], TensorProto.FLOAT, e["shape"]) for e in es]
            for es in (inputs, outputs)
        ]
        graph = helper.make_graph(nodes, "policy", *values, constants)
        onnx.save_model(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / name
        )
        return {"sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()}

    about["files"] = {
        "policy.onnx": save("policy.onnx", around, ports["inputs"], ports["outputs"]),
        "actor.onnx": save("actor.onnx", layers, about["policy"]["inputs"], about["policy"]["outputs"]),
    }
    (folder / "policy.json").write_text(json.dumps(about))
    return folder


def describe_quadruped() -> dict[str, Any]:
    sensors = {"base_ang_vel": 3, "base_quat": 4, "joint_pos": NUM_JOINTS, "joint_vel": NUM_JOINTS}
    inputs = [{"name": name, "shape": [1, width], "role": "sensor"} for name, width in sensors.items()]
    inputs.append(
        {
            "name": "command_velocity",
            "shape": [1, OBS_DIM - sum(sensors.values()) - NUM_JOINTS],
            "role": "command",
            "command": "velocity",
        }
    )
    inputs.append({"name": "last_action_in", "shape": [1, NUM_JOINTS], "role": "state"})
    roles = {"joint_pos_target": "target", "actions": "action", "last_action_out": "state"}
    outputs = [{"name": name, "shape": [1, NUM_JOINTS], "role": role, "target": None} for name, role in roles.items()]
    outputs.append({"name": "obs", "shape": [1, OBS_DIM], "role": "observation"})
    each = [1.0] * NUM_JOINTS
    return {
        "policy": {
            "inputs": [{"name": "obs", "shape": ["batch", OBS_DIM]}],
            "outputs": [{"name": "actions", "shape": ["batch", NUM_JOINTS]}],
            "memory": [],
        },
        "control": {"step_dt": 0.02},
        "commands": {},
        "articulations": {
            "robot": {
                "joint_names": [f"joint{k}" for k in range(NUM_JOINTS)],
                "is_fixed_base": False,
                "default_joint_pos": [0.0] * NUM_JOINTS,
                "stiffness": [25.0] * NUM_JOINTS,
                "damping": [0.5] * NUM_JOINTS,
                "effort_limits": [24.0] * NUM_JOINTS,
                "velocity_limits": [30.0] * NUM_JOINTS,
                "position_limits": [[-a, a] for a in each],
            }
        },
        "control_step": {
            "inputs": inputs,
            "outputs": outputs,
            "state": [{"input": "last_action_in", "output": "last_action_out", "initial": [[0.0] * NUM_JOINTS]}],
        },
    }


if __name__ == "__main__":
    main()
