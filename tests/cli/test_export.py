"""``palestra export`` of policies that each library trained: the files compute the same, and say what they are."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from palestra.cli.main import main
from palestra.integrations import policy_of
from palestra.rl.checkpoint import load_checkpoint

FILES = ["actor.onnx", "golden.npz", "policy.json", "policy.onnx", "policy.pt"]


class Case(NamedTuple):
    library: str
    task: str
    memory: dict[str, tuple[int, int]]
    overrides: list[str]
    weights: int
    """Numbers of the actor and its normaliser, without the last layer's single bias: no more may be in the files."""


MLP = 4 * 32 + 32 + 32 * 32 + 32 + 32
CASES = {
    "palestra": Case(
        "palestra", "Cartpole", {},
        ["agent.num_steps_per_env=8", "agent.actor.obs_normalization=true", "agent.clip_actions=0.2"],
        MLP + 2 * 4,
    ),
    "rsl_rl": Case(
        "rsl_rl", "Cartpole", {},
        ["agent.num_steps_per_env=8", "agent.actor.obs_normalization=true", "agent.actor.activation=tanh"],
        MLP + 2 * 4,
    ),
    "rsl_rl_lstm": Case(
        "rsl_rl", "Cartpole-NoVelocity", {"h": (2, 16), "c": (2, 16)},
        ["agent.num_steps_per_env=8", "agent.actor.rnn_type=lstm", "agent.actor.rnn_num_layers=2",
         "agent.actor.rnn_hidden_dim=16", "agent.clip_actions=0.2"],
        4 * 16 * (2 + 16) + 8 * 16 + 4 * 16 * (16 + 16) + 8 * 16 + 16 * 32 + 32 + 32,
    ),
    "skrl": Case(
        "skrl", "Cartpole", {},
        ["agent.agent.rollouts=8", "agent.models.separate=false", "agent.clip_actions=0.2",
         "agent.agent.observation_preprocessor=RunningStandardScaler",
         "agent.agent.observation_preprocessor_kwargs={clip_threshold: 2.0}"],
        MLP + 2 * 4,
    ),
    "skrl_gru": Case(
        "skrl", "Cartpole-NoVelocity", {"h": (1, 32)},
        ["agent.agent.rollouts=8"],
        3 * 32 * (2 + 32) + 6 * 32 + 32 * 32 + 32 + 32,
    ),
    "rl_games": Case(
        "rl_games", "Cartpole", {},
        ["agent.params.config={horizon_length: 8, normalize_input: true, clip_actions: true}", "agent.clip_actions=3.0",
         "agent.params.env.clip_observations=1.5"],
        MLP + 2 * 4,
    ),
    "rl_games_gru": Case(
        "rl_games", "Cartpole-NoVelocity", {"h": (1, 32)},
        ["agent.params.config={horizon_length: 8, seq_length: 4}"],
        2 * 32 + 32 + 3 * 32 * (32 + 32) + 6 * 32 + 32,
    ),
    "sb3": Case(
        "sb3", "Cartpole", {},
        ["agent.n_steps=8", "agent.vec_normalize.norm_obs=true", "agent.vec_normalize.clip_obs=2.0"],
        MLP + 2 * 4,
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def description(run: Path) -> dict:
    return json.loads((run / "exported" / "policy.json").read_text())


def assert_same_actions(case: Case, run: Path) -> None:
    """On observations far beyond those of the check, so that every bound is reached, and over several steps."""
    session = onnxruntime.InferenceSession(run / "exported" / "actor.onnx", providers=["CPUExecutionProvider"])
    script = torch.jit.load(run / "exported" / "policy.pt")
    policy = policy_of(load_checkpoint(run / "nn" / "last.pth"))
    names = ["obs", *(f"{part}_in" for part in case.memory)]
    assert [entry.name for entry in session.get_inputs()] == names
    assert [entry.name for entry in session.get_outputs()] == ["actions", *(f"{part}_out" for part in case.memory)]
    width = session.get_inputs()[0].shape[1]
    assert session.get_inputs()[0].shape == ["batch", width] and session.get_outputs()[0].shape == ["batch", 1]
    assert session.get_inputs()[0].type == "tensor(float)"
    generator, seen = torch.Generator().manual_seed(0), []
    for batch in (1, 2, 7):
        if case.memory:
            policy.reset()
        of_onnx = [np.zeros((layers, batch, size), np.float32) for layers, size in case.memory.values()]
        of_script = [torch.from_numpy(part.copy()) for part in of_onnx]
        for scale in (0.1, 1.0, 3.0, 10.0):
            obs = scale * torch.randn(batch, width, generator=generator)
            wanted = policy({"policy": obs})
            given = dict(zip(names, [obs.numpy(), *of_onnx], strict=True))
            found, *of_onnx = session.run(None, given)
            torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=1e-5, atol=1e-5)
            output = script(obs, *of_script)
            found, *of_script = output if case.memory else (output,)
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
            seen.append(wanted)
        assert all(np.abs(part).max() > 0.0 for part in of_onnx)
    assert torch.cat(seen).std() > 1e-3


def assert_control_step(case: Case, run: Path) -> None:
    """From sensors to force: what the actor says of the same numbers, times 10 N, on the cart alone."""
    session = onnxruntime.InferenceSession(run / "exported" / "policy.onnx", providers=["CPUExecutionProvider"])
    given = {"joint_pos": np.array([[0.3, -0.2]], np.float32), "joint_vel": np.array([[1.5, -0.5]], np.float32)}
    order = [given["joint_pos"][:, 0], given["joint_vel"][:, 0], given["joint_pos"][:, 1], given["joint_vel"][:, 1]]
    if case.memory:
        del given["joint_vel"]
        order = order[::2]
    memory = {f"{part}_in": np.full((layers, 1, size), 0.1, np.float32) for part, (layers, size) in case.memory.items()}
    names = [entry.name for entry in session.get_outputs()]
    assert names == ["joint_effort_target", "actions", "obs", *(f"{part}_out" for part in case.memory)]
    target, *found = session.run(None, {**given, **memory})
    actor = onnxruntime.InferenceSession(run / "exported" / "actor.onnx", providers=["CPUExecutionProvider"])
    obs = np.stack(order, axis=1)
    actions, *after = actor.run(None, {"obs": obs, **memory})
    for one, other in zip(found, [actions, obs, *after], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(target, [[10.0 * actions[0, 0], 0.0]], rtol=1e-5, atol=1e-6)


def assert_one_file_each_without_the_critic(case: Case, run: Path) -> None:
    assert sorted(p.name for p in (run / "exported").iterdir()) == FILES
    assert not [p for p in run.iterdir() if p.name.startswith(".")]
    model = onnx.load(run / "exported" / "actor.onnx", load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert next(entry.version for entry in model.opset_import if entry.domain == "") >= 17
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)
    inside = [onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    assert sum(t.size for t in inside if t.dtype.kind == "f" and t.size > 1) == case.weights
    script = torch.jit.load(run / "exported" / "policy.pt")
    assert not script.state_dict()
    graph = script.inlined_graph
    values = [node.output().toIValue() for node in graph.nodes() if node.kind() == "prim::Constant"]
    tensors = [t for v in values for t in (v if isinstance(v, list) else [v]) if isinstance(t, torch.Tensor)]
    assert sum(t.numel() for t in tensors if t.numel() > 1) == case.weights


def assert_described(case: Case, run: Path) -> None:
    told = description(run)
    assert (told["task"], told["library"], told["run"]) == (case.task, case.library, str(run))
    assert told["trained"]["iterations"] == 2 and told["versions"]["onnxruntime"] == onnxruntime.__version__
    for place, entry in (
        (run / "nn" / "last.pth", told["checkpoint"]),
        *(
            (run / "exported" / file, told["files"][file])
            for file in ("policy.pt", "actor.onnx", "policy.onnx", "golden.npz")
        ),
    ):
        assert entry["sha256"] == hashlib.sha256(place.read_bytes()).hexdigest()
    assert told["check"]["observations"] == 1000
    assert {form: error <= 1e-5 for form, error in told["check"]["max_error"].items()} == {
        "TorchScript": True,
        "ONNX": True,
    }
    memory = [{"name": f"{n}_in", "shape": [s[0], "batch", s[1]], "dtype": "float32"} for n, s in case.memory.items()]
    width = 4 if case.task == "Cartpole" else 2
    assert told["policy"]["inputs"] == [{"name": "obs", "shape": ["batch", width], "dtype": "float32"}, *memory]
    assert told["policy"]["outputs"][0] == {"name": "actions", "shape": ["batch", 1], "dtype": "float32"}
    # the same text travels inside both files
    common = {key: told[key] for key in told if key not in ("files", "check")}
    model = onnx.load(run / "exported" / "actor.onnx")
    assert json.loads({p.key: p.value for p in model.metadata_props}["palestra"]) == common
    inside = {"palestra": ""}
    torch.jit.load(run / "exported" / "policy.pt", _extra_files=inside)
    assert json.loads(inside["palestra"]) == common


def assert_formula_and_bounds(name: str, run: Path) -> None:
    """Each library's own formula from the checkpoint's moments; then all of the network by hand from the description."""
    told, content = description(run)["policy"], load_checkpoint(run / "nn" / "last.pth")
    if name in ("palestra", "rsl_rl"):
        state = content["actor_state_dict"]
        mean, denominator = state["obs_normalizer._mean"][0], state["obs_normalizer._std"][0] + 0.01
        layers = [(state[f"mlp.{i}.weight"], state[f"mlp.{i}.bias"]) for i in (0, 2, 4)]
    elif name == "skrl":
        moments, state = content["observation_preprocessor"], content["policy"]
        mean, denominator = moments["running_mean"], moments["running_variance"].sqrt() + 1e-8
        places = ("net_container.0", "net_container.2", "policy_layer")
        layers = [(state[f"{i}.weight"], state[f"{i}.bias"]) for i in places]
    elif name == "rl_games":
        state = content["model"]
        mean = state["running_mean_std.running_mean"]
        denominator = (state["running_mean_std.running_var"] + 1e-5).sqrt()
        places = ("actor_mlp.0", "actor_mlp.2", "mu")
        layers = [(state[f"a2c_network.{i}.weight"], state[f"a2c_network.{i}.bias"]) for i in places]
    else:
        moments, state = content["vec_normalize"]["obs_rms"], content["policy"]
        mean, denominator = moments["mean"], (moments["var"] + 1e-8).sqrt()
        places = ("mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2", "action_net")
        layers = [(state[f"{i}.weight"], state[f"{i}.bias"]) for i in places]
    normalizer = told["normalizer"]
    np.testing.assert_allclose(normalizer["mean"], mean, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(normalizer["denominator"], denominator, rtol=1e-6)
    clip = {"palestra": None, "rsl_rl": None, "skrl": 2.0, "rl_games": 5.0, "sb3": 2.0}[name]
    plain = "(obs - mean) / denominator"
    assert normalizer["clip"] == clip
    assert normalizer["formula"] == (plain if clip is None else f"clip({plain}, -clip, clip)")
    limit = {"palestra": 0.2, "rsl_rl": None, "skrl": 0.2, "rl_games": 3.0, "sb3": 100.0}[name]
    assert told["action_limit"] == limit
    assert told["obs_limit"] == (1.5 if name == "rl_games" else None)

    obs = np.random.default_rng(1).normal(0.0, 1.5, (50, 4)).astype(np.float32)
    x = obs.astype(np.float64)
    if told["obs_limit"] is not None:
        x = np.clip(x, -told["obs_limit"], told["obs_limit"])
    x = (x - normalizer["mean"]) / normalizer["denominator"]
    if clip is not None:
        x = np.clip(x, -clip, clip)
    for i, (weight, bias) in enumerate(layers):
        x = x @ weight.numpy().T + bias.numpy()
        if i < 2:
            x = np.tanh(x) if name == "rsl_rl" else np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0)))
    if name == "rl_games":
        x = 3.0 * np.clip(x, -1.0, 1.0)
    elif limit is not None:
        x = np.clip(x, -limit, limit)
    session = onnxruntime.InferenceSession(run / "exported" / "actor.onnx", providers=["CPUExecutionProvider"])
    found = session.run(["actions"], {"obs": obs})[0]
    np.testing.assert_allclose(found, x, rtol=1e-4, atol=1e-4)
    assert np.ptp(x) > 0.05


def assert_observations_actions_and_robot(told: dict) -> None:
    observations, actions, robot = told["observations"], told["actions"], told["articulations"]["robot"]
    (group,) = observations["groups"]
    assert observations["width"] == 4 and group["name"] == "policy" and group["slice"] == [0, 4]
    assert [(term["name"], term["slice"]) for term in group["terms"]] == [
        ("cart_pos", [0, 1]),
        ("cart_vel", [1, 2]),
        ("pole_angle", [2, 3]),
        ("pole_vel", [3, 4]),
    ]
    (last,) = group["terms"][3]["entries"]
    assert (last["index"], last["name"], last["units"]) == (3, "pole_vel/cart_to_pole", "rad/s")
    (force,) = actions["terms"]
    assert (force["target"], force["scale"], force["entries"][0]["units"]) == ("joint_effort", [10.0], "N")
    control = told["control"]
    assert (control["step_dt"], control["physics_dt"], control["decimation"]) == (0.02, 0.01, 2)
    assert robot["joint_names"] == ["slider_to_cart", "cart_to_pole"]
    assert robot["default_joint_pos"] == [0.0, 0.0] and len(robot["effort_limits"]) == 2


@pytest.mark.parametrize("name", CASES)
def test_what_a_library_trained_is_exported(name):
    """One test a policy, so that it is trained and exported once."""
    case = CASES[name]
    command = ["train", case.task, "--library", case.library, "--num_envs=4", "--max_iterations=2", "--no_video"]
    assert main([*command, "--threads=1", "--logger=none", *case.overrides]) == 0
    (run,) = Path("runs").glob("*/*")
    assert main(["export", str(run), "--threads", "1"]) == 0
    assert_same_actions(case, run)
    assert_control_step(case, run)
    assert_one_file_each_without_the_critic(case, run)
    assert_described(case, run)
    if not case.memory:
        assert_formula_and_bounds(name, run)
        assert_observations_actions_and_robot(description(run))
