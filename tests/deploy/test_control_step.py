"""``policy.onnx``: what it computes of sensors, what it leaves out, and what it refuses to be."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from control_step_task import EnvCfg, train
from tiny import step_count

from palestra.deploy import export as exporting
from palestra.deploy.control_step import ControlStep
from palestra.deploy.export import export
from palestra.deploy.step_check import StepFile, replay_golden
from palestra.deploy.verify import Finding, verify
from palestra.envs import ManagerBasedRLEnv, mdp
from palestra.envs.ideal_hardware import ideal_hardware
from palestra.errors import ConfigError, PalestraError
from palestra.integrations import policy_of
from palestra.managers import ObservationGroupCfg, ObservationTermCfg, SceneEntityCfg
from palestra.rl.checkpoint import load_checkpoint
from palestra.utils import configclass


class Exported(NamedTuple):
    checkpoint: Path
    folder: Path
    told: dict[str, Any]


def run_export(checkpoint: Path, folder: Path, cfg: EnvCfg | None = None, **more: Any) -> dict[str, Any]:
    env = ManagerBasedRLEnv(EnvCfg() if cfg is None else cfg)
    content = load_checkpoint(checkpoint)
    try:
        return export(env, policy_of(content), content, folder, task="Small", checkpoint=checkpoint, seed=5, **more)
    finally:
        env.close()


def check(
    checkpoint: Path, folder: Path, cfg: EnvCfg | None = None, content: dict[str, Any] | None = None
) -> dict[str, Finding]:
    env = ManagerBasedRLEnv(EnvCfg() if cfg is None else cfg)
    content = load_checkpoint(checkpoint) if content is None else content
    found = verify(folder, env, policy_of(content), content, task="Small", checkpoint=checkpoint, seed=6, count=320)
    env.close()
    return {finding.name: finding for finding in found}


def failed(findings: dict[str, Finding]) -> set[str]:
    return {name for name, finding in findings.items() if not finding.passed}


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Exported:
    folder = tmp_path_factory.mktemp("small")
    checkpoint = train(folder)
    return Exported(checkpoint, folder / "exported", run_export(checkpoint, folder / "exported"))


def test_inputs_outputs_and_states_are_described_as_the_file_has_them(exported):
    told, file = exported.told["control_step"], StepFile(exported.folder / "policy.onnx")
    assert [entry["name"] for entry in told["inputs"]] == file.input_names
    assert [entry["name"] for entry in told["outputs"]] == file.output_names
    sensors = {e["name"]: (e["role"], e["shape"], e["entries"]) for e in told["inputs"] if e["role"] != "state"}
    joints = ["shoulder", "elbow", "slide"]
    assert sensors == {
        "base_ang_vel": ("sensor", [1, 3], ["x", "y", "z"]),
        "base_quat": ("sensor", [1, 4], ["qw", "qx", "qy", "qz"]),
        "joint_pos": ("sensor", [1, 3], joints),
        "joint_vel": ("sensor", [1, 3], joints),
        "joint_effort": ("sensor", [1, 3], joints),
        "command_velocity": ("command", [1, 3], ["lin_vel_x", "lin_vel_y", "ang_vel_z"]),
        "command_gait": ("command", [1, 2], ["frequency", "duty_factor"]),
    }
    assert told["sample_rate_hz"] == 50.0
    assert {s["input"]: np.shape(s["initial"]) for s in told["state"]} == {
        "base_ang_vel_history_in": (1, 3, 3),
        "joint_pos_history_in": (1, 2, 2),
        "joint_vel_digitalfilter_inputs_in": (1, 3, 2),
        "joint_vel_digitalfilter_outputs_in": (1, 3, 1),
        "gait_phase_in": (1, 1),
        "turned_integrator_integral_in": (1, 3),
        "turned_integrator_previous_in": (1, 3),
        "rod_history_in": (1, 2, 1),
        "started_in": (1, 1),
        "last_action_in": (1, 3),
    }
    targets = {e["name"]: (e["units"], e["joint_names"]) for e in told["outputs"] if e["role"] == "target"}
    assert targets == {
        "joint_pos_target": (["rad", "rad", "m"], joints),
        "joint_effort_target": (["N·m", "N·m", "N"], joints),
    }


def test_agrees_with_the_simulation_and_the_hardwares_errors_are_left_out(exported):
    found = exported.told["check"]
    assert found["observations"] == 1008
    assert set(found["control_step"]["max_error"]) == {"obs", "actions", "joint_pos_target", "joint_effort_target"}
    assert max(found["control_step"]["max_error"].values()) < 1e-5
    terms = {t["name"]: t for g in exported.told["observations"]["groups"] for t in g["terms"]}
    assert terms["joint_pos"]["latency"] == [0, 2] and terms["joint_pos"]["noise"]["dropout"] == 0.2
    assert exported.told["control"]["action_delay"] == [0, 3]


def test_two_steps_by_hand(exported):
    """A body at rest that lies on its side, joints at chosen positions: every number worked out from the definitions."""
    file = StepFile(exported.folder / "policy.onnx")
    half = 0.5**0.5
    sensors = {
        "base_ang_vel": [[0.4, 0.0, -0.8]],
        "base_quat": [[-half, -half, 0.0, 0.0]],  # 90° about x, its quaternion with the negative sign
        "joint_pos": [[0.5, -0.2, 0.01]],
        "joint_vel": [[1.0, 10.0, -2.0]],
        "joint_effort": [[1.0, 2.0, 3.0]],
        "command_velocity": [[0.1, 0.2, 0.3]],
        "command_gait": [[2.0, 0.5]],
    }
    told = exported.told["control_step"]["state"]
    states = {s["input"]: np.array(s["initial"]) for s in told}
    first = file({k: np.array(v) for k, v in {**sensors, **states}.items()})
    # oldest first; defaults are 0.3 and -0.4, elbow before shoulder; filtered 0.5 x, plus 0.1, clipped to 2
    velocity = [0.5 * 0.6, 0.25 * 2.0, 0.125 * -0.9]
    limits = [0.5 / (np.pi / 2), (-0.2 + np.pi / 6) / (np.pi / 2), 0.0]  # elbow in [-2π/3, π/3]
    wanted = [
        *[0.1, 0.0, -0.2] * 3, 0.0, -1.0, 0.0, *[0.2, 0.2] * 2, *velocity, 0.1, 0.2, 0.3,
        0.0, 0.0, 1.0, -1.0, 1.0, 0.0, 0.0, 0.0, 0.0,
        half, half, 0.0, 0.0, *limits, 0.004, 0.0, -0.008, 0.0, 0.0, 1.0, 2.0, 3.0,
    ]  # fmt: skip
    np.testing.assert_allclose(first["obs"][0], wanted, atol=1e-6)
    elbow, shoulder, rod = first["actions"][0]
    np.testing.assert_allclose(
        first["joint_pos_target"][0], [0.3 + 0.25 * shoulder, np.clip(-0.4 + 0.5 * elbow, -0.45, 0.4), 0.0], atol=1e-6
    )
    np.testing.assert_allclose(first["joint_effort_target"][0], [0.0, 0.0, 2.0 * rod], atol=1e-6)

    again = {**sensors, "joint_vel": [[0.0] * 3], "base_ang_vel": [[0.0] * 3], "joint_pos": [[0.3, -0.4, 0.0]]}
    again |= {s["input"]: first[s["output"]] for s in told}
    second = file({k: np.array(v) for k, v in again.items()})
    obs = second["obs"][0]
    np.testing.assert_allclose(obs[:9], [0.1, 0.0, -0.2, 0.1, 0.0, -0.2, 0.0, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(obs[12:16], [0.2, 0.2, 0.0, 0.0], atol=1e-6)
    # 0.25 x of before, plus 0.25 y of before: y was 0.5, 5 and -1
    np.testing.assert_allclose(obs[16:19], [0.5 * 0.475, 0.25 * 2.0, 0.125 * -0.65], atol=1e-6)
    angle = 2.0 * np.pi * 2.0 * 0.02
    gait = [np.sin(angle), -np.sin(angle), np.cos(angle), -np.cos(angle), 1.0, 0.0]
    np.testing.assert_allclose(obs[22:28], gait, atol=1e-6)
    np.testing.assert_allclose(obs[28:31], first["actions"][0], atol=1e-7)
    np.testing.assert_allclose(obs[38:41], [0.008, 0.0, -0.016], atol=1e-7)  # trapezoids of 20 ms
    np.testing.assert_allclose(obs[41:43], [0.0, rod], atol=1e-7)


def test_golden_vectors_start_an_episode_and_replay(exported):
    with np.load(exported.folder / "golden.npz") as golden:
        golden = {name: golden[name] for name in golden.files}
    told = exported.told["control_step"]
    assert set(golden) == {f"in/{e['name']}" for e in told["inputs"]} | {f"out/{e['name']}" for e in told["outputs"]}
    assert all(len(value) == 64 for value in golden.values())
    started = golden["in/started_in"].ravel()
    assert started[0] == 0.0 and started[20] == 0.0 and started.sum() == 60.0  # episodes of 20 steps
    for state in told["state"]:
        for k in (0, 20, 40):
            np.testing.assert_array_equal(golden[f"in/{state['input']}"][k], np.float32(state["initial"]))
        np.testing.assert_array_equal(golden[f"in/{state['input']}"][1:20], golden[f"out/{state['output']}"][:19])
    assert replay_golden(golden, StepFile(exported.folder / "policy.onnx")) == 0.0
    golden["out/actions"][30] += 1e-3
    assert replay_golden(golden, StepFile(exported.folder / "policy.onnx")) > 9e-4


def test_ideal_hardware_ends():
    env = ManagerBasedRLEnv(EnvCfg())
    env.reset(seed=1)
    data, delay = env.scene.articulations["robot"].data, env.action_delay
    assert data.encoder_bias is not None
    bias = data.encoder_bias.clone()
    with ideal_hardware(env):
        groups, _ = env.reset(seed=2)
        assert env.action_delay is None and not data.encoder_bias.any()
        torch.testing.assert_close(groups["policy"][:, 9:12], data.projected_gravity_b, rtol=0.0, atol=0.0)
    assert env.action_delay is delay and bool(bias.any())
    torch.testing.assert_close(data.encoder_bias, bias)
    groups, _ = env.reset(seed=2)
    assert bool((groups["policy"][:, 9:12] != data.projected_gravity_b).any()) and bool(
        (data.encoder_bias != bias).any()
    )
    env.close()


# --- what is refused --------------------------------------------------------------------------------------------------


@configclass
class PrivilegedCfg:
    @configclass
    class PolicyCfg(ObservationGroupCfg):
        speed = ObservationTermCfg(func=mdp.base_lin_vel)
        gravity = ObservationTermCfg(func=mdp.projected_gravity)
        joint_pos = ObservationTermCfg(func=step_count)
        truth = ObservationTermCfg(func=mdp.joint_pos, params={"biased": False})

    policy: PolicyCfg = PolicyCfg()


def test_what_no_sensor_gives_is_refused_or_becomes_an_input(tmp_path):
    cfg = EnvCfg(observations=PrivilegedCfg())
    groups = {"actor": ["policy"], "critic": ["policy"]}
    checkpoint = train(tmp_path, cfg, groups)
    with pytest.raises(ConfigError, match="a robot does not know: speed, joint_pos, truth; .*--allow-privileged"):
        run_export(checkpoint, tmp_path / "exported", cfg)
    assert not (tmp_path / "exported").exists()
    told = run_export(checkpoint, tmp_path / "exported", cfg, allow_privileged=True)
    inputs = {e["name"]: e["privileged"] for e in told["control_step"]["inputs"]}
    assert inputs == {"base_lin_vel": True, "base_quat": False, "policy_joint_pos": True, "true_joint_pos": True}
    found = check(checkpoint, tmp_path / "exported", cfg)
    assert failed(found) == {"privileged"}
    assert found["privileged"].detail == "no sensor gives base_lin_vel, policy_joint_pos, true_joint_pos"


# --- mutants ----------------------------------------------------------------------------------------------------------


def test_an_unchanged_folder_passes_every_check(exported):
    found = check(exported.checkpoint, exported.folder)
    assert failed(found) == set()
    parts = ("task", "policy", "control_step", "observations", "control", "actions", "articulations", "commands")
    assert list(found) == [
        "files", "checksums", "checkpoint", "metadata", *(f"description/{part}" for part in parts),
        "privileged", "golden", "round_trip", "normalizer",
    ]  # fmt: skip


def scale_doubled(cfg: EnvCfg) -> None:
    cfg.actions.arm.scale = {"elbow": 1.0, "shoulder": 0.5}


def wrong_offset(cfg: EnvCfg) -> None:
    cfg.actions.arm.use_default_offset = False


def joints_permuted(cfg: EnvCfg) -> None:
    cfg.actions.arm.joint_names = ["shoulder", "elbow"]


def observed_joints_permuted(cfg: EnvCfg) -> None:
    cfg.observations.policy.joint_pos.params = {"asset_cfg": SceneEntityCfg("robot", joint_names=["shoulder", "elbow"])}


def other_history(cfg: EnvCfg) -> None:
    cfg.observations.policy.base_ang_vel.history_length = 2
    cfg.observations.policy.gravity.history_length = 2


def wrong_period(cfg: EnvCfg) -> None:
    cfg.decimation = 4


def other_gains(cfg: EnvCfg) -> None:
    cfg.scene.robot.actuators["arm"].stiffness = 6.0


MUTANTS = {
    scale_doubled: {"description/actions", "round_trip"},
    wrong_offset: {"description/actions", "round_trip"},
    joints_permuted: {"description/actions", "round_trip"},
    observed_joints_permuted: {"description/observations", "round_trip"},
    other_history: {"description/control_step", "description/observations", "round_trip"},
    wrong_period: {"description/control", "description/control_step", "round_trip"},
    other_gains: {"description/articulations"},
}


@pytest.mark.parametrize("mutate", MUTANTS)
def test_a_task_that_is_another_is_named(mutate, exported):
    cfg = EnvCfg()
    mutate(cfg)
    found = check(exported.checkpoint, exported.folder, cfg)
    assert failed(found) >= MUTANTS[mutate], found


def test_another_checkpoint_and_a_dropped_normalizer_are_named(exported):
    content = load_checkpoint(exported.checkpoint)
    state = content["actor_state_dict"]
    mean = next(name for name in state if name.endswith("mean"))
    state[mean] = state[mean] + 100.0
    found = check(exported.checkpoint, exported.folder, content=content)
    assert failed(found) >= {"description/policy", "round_trip"}
    content["config"]["actor"]["obs_normalization"] = False
    content["actor_state_dict"] = {k: v for k, v in state.items() if not k.startswith("obs_normalizer")}
    found = check(exported.checkpoint, exported.folder, content=content)
    assert failed(found) >= {"description/policy", "round_trip"}
    assert "normalizer is" in found["description/policy"].detail


def altered(exported: Exported, folder: Path, file: str, change: Any) -> None:
    """Copy the folder with a file changed and its checksum made to fit."""
    folder.mkdir()
    for path in exported.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    change(folder / file)
    if file != "policy.json":
        told = json.loads((folder / "policy.json").read_text())
        told["files"][file]["sha256"] = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        (folder / "policy.json").write_text(json.dumps(told))


def history_the_other_way(path: Path) -> None:
    """Let what goes out of the history be its mirror image, so that the next step's values are in reversed order."""
    model = onnx.load(str(path))
    (node,) = [n for n in model.graph.node if "base_ang_vel_history_out" in n.output]
    node.output[0] = "before_reversal"
    ends = [onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [1], [value]) for name, value in
            (("r_start", -1), ("r_end", -(2**31)), ("r_axis", 1), ("r_step", -1))]  # fmt: skip
    model.graph.initializer.extend(ends)
    model.graph.node.append(
        onnx.helper.make_node("Slice", ["before_reversal", *(e.name for e in ends)], ["base_ang_vel_history_out"])
    )
    onnx.save(model, str(path))


def weights_changed(path: Path) -> None:
    model = onnx.load(str(path))
    weight = next(i for i in model.graph.initializer if i.name.endswith("0.weight"))
    values = onnx.numpy_helper.to_array(weight).copy()
    values[0, 0] += 0.01
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, str(path))


def period_in_json(path: Path) -> None:
    told = json.loads(path.read_text())
    told["control"]["step_dt"] = 0.01
    path.write_text(json.dumps(told))


def joints_in_json(path: Path) -> None:
    told = json.loads(path.read_text())
    told["articulations"]["robot"]["joint_names"].reverse()
    path.write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("file", "change", "names"),
    [
        ("policy.onnx", history_the_other_way, {"golden", "round_trip"}),
        ("policy.onnx", weights_changed, {"golden", "round_trip"}),
        ("actor.onnx", weights_changed, {"round_trip"}),
        ("policy.json", period_in_json, {"metadata", "description/control"}),
        ("policy.json", joints_in_json, {"metadata", "description/articulations"}),
    ],
)
def test_a_changed_file_is_named(file, change, names, exported, tmp_path):
    altered(exported, tmp_path / "altered", file, change)
    assert failed(check(exported.checkpoint, tmp_path / "altered")) == names


def test_lost_and_unfitting_files_are_named(exported, tmp_path):
    altered(exported, tmp_path / "lost", "golden.npz", lambda path: None)
    (tmp_path / "lost" / "golden.npz").write_bytes(b"")
    assert failed(check(exported.checkpoint, tmp_path / "lost")) == {"checksums", "golden"}
    (tmp_path / "lost" / "golden.npz").unlink()
    found = check(exported.checkpoint, tmp_path / "lost")
    assert failed(found) == {"files"} and found["files"].detail == "missing: golden.npz"
    (tmp_path / "lost" / "policy.json").unlink()
    assert failed(check(exported.checkpoint, tmp_path / "lost")) == {"files"}


def normalizer_dropped(step: ControlStep) -> None:
    step.policy.normalizer = None


def actions_permuted(step: ControlStep) -> None:
    first = step.drives[0].targets
    object.__setattr__(first, "joint_ids", first.joint_ids[::-1])


def clip_lost(step: ControlStep) -> None:
    term = next(t for t in step.terms if t.name == "joint_vel")
    object.__setattr__(term, "stages", (*term.stages[:2], *term.stages[3:]))


@pytest.mark.parametrize(
    ("mutate", "message"),
    [
        (normalizer_dropped, r"actions\["),
        (actions_permuted, r"joint_pos_target\["),
        (clip_lost, r"obs\[1[678]\] \(joint_vel\)"),
    ],
)
def test_a_wrong_control_step_is_not_exported(mutate, message, exported, tmp_path, monkeypatch):
    right = exporting.assemble

    def wrong(env: Any, graph: Any, allow_privileged: bool = False) -> ControlStep:
        step = right(env, policy_of(load_checkpoint(exported.checkpoint)).graph(), allow_privileged)
        mutate(step)
        return step

    monkeypatch.setattr(exporting, "assemble", wrong)
    with pytest.raises(PalestraError, match=f"does not compute what the simulation does: {message}"):
        run_export(exported.checkpoint, tmp_path / "exported")
    assert list(tmp_path.iterdir()) == []


# --- the same bytes ---------------------------------------------------------------------------------------------------

AGAIN = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
from test_control_step import run_export
run_export(Path({checkpoint!r}), Path({folder!r}))
"""


@pytest.mark.slow
def test_exporting_again_gives_the_same_bytes(exported, tmp_path):
    here = Path(__file__).parent
    run_export(exported.checkpoint, tmp_path / "here")
    code = AGAIN.format(
        paths=[str(here), str(here.parent)], checkpoint=str(exported.checkpoint), folder=str(tmp_path / "there")
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True)
    names = {"policy.onnx", "actor.onnx", "policy.pt", "policy.json", "golden.npz"}
    for folder in (tmp_path / "here", tmp_path / "there"):
        assert {path.name for path in folder.iterdir()} == names
        for name in sorted(names, key=lambda n: n == "policy.json"):  # it has the sums of the others
            assert (folder / name).read_bytes() == (exported.folder / name).read_bytes(), (folder, name)


def test_mjlabs_keys_have_all_digits(exported):
    for name in ("policy.onnx", "actor.onnx"):
        model = onnx.load(str(exported.folder / name))
        found = {entry.key: entry.value for entry in model.metadata_props}
        assert found["joint_names"] == "shoulder,elbow,slide"
        assert found["default_joint_pos"] == "0.3,-0.4,0.0" and found["joint_stiffness"] == "5.0,5.0,0.0"
        assert found["joint_damping"] == "0.5,0.5,0.0" and found["action_scale"] == "0.5,0.25,2.0"
        assert found["command_names"] == "velocity,gait"
        names = "base_ang_vel,gravity,joint_pos,joint_vel,velocity,gait,actions,orientation,range,turned,rod,effort"
        assert found["observation_names"] == names
        assert found["observation_terms_history_length"] == "3,0,2,0,0,0,0,0,0,0,2,0"
        assert found["observation_terms_scale"].split(",")[:5] == ["0.25", "1.0", "1.0", "0.5;0.25;0.125", "1.0"]
        assert found["observation_terms_clip"].split(",")[2:5] == ["-inf;inf", "-2.0;2.0", "-inf;inf"]
        assert json.loads(found["palestra"])["control_step"] == exported.told["control_step"]
