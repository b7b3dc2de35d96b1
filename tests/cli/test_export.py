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

FILES = ["actor.onnx", "policy.json", "policy.pt"]


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
    "rsl_rl_gru": Case(
        "rsl_rl", "Cartpole-NoVelocity", {"h": (1, 32)},
        ["agent.num_steps_per_env=8", "agent.clip_actions=0.2"],
        3 * 32 * (2 + 32) + 6 * 32 + 32 * 32 + 32 + 32,
    ),
    "rsl_rl_lstm": Case(
        "rsl_rl", "Cartpole-NoVelocity", {"h": (2, 16), "c": (2, 16)},
        ["agent.num_steps_per_env=8", "agent.actor.rnn_type=lstm", "agent.actor.rnn_num_layers=2",
         "agent.actor.rnn_hidden_dim=16"],
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

_runs: dict[str, Path] = {}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


@pytest.fixture(autouse=True)
def working_directory(workplace, monkeypatch):
    monkeypatch.chdir(workplace)


def train(name: str, library: str, task: str, overrides: list[str]) -> Path:
    command = ["train", task, "--library", library, "--num_envs=4", "--max_iterations=2", "--no_video", "--threads=1"]
    assert main([*command, "--logger=none", f"--run_name={name}", "agent.save_interval=1", *overrides]) == 0
    (run,) = Path("runs").glob(f"*/*_{name}")
    return run


def exported(name: str) -> Path:
    """Return the run of a case, trained and exported once."""
    if name not in _runs:
        case = CASES[name]
        run = train(name, case.library, case.task, case.overrides)
        assert main(["export", str(run), "--threads", "1"]) == 0
        _runs[name] = run
    return _runs[name]


def description(run: Path) -> dict:
    return json.loads((run / "exported" / "policy.json").read_text())


@pytest.mark.parametrize("name", CASES)
def test_both_files_act_as_the_checkpoint_does_on_any_batch(name, capsys):
    """On observations far beyond those of the check, so that every bound is reached, and over several steps."""
    case, run = CASES[name], exported(name)
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


@pytest.mark.parametrize("name", CASES)
def test_one_file_each_without_the_critic(name):
    case, run = CASES[name], exported(name)
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


@pytest.mark.parametrize("name", CASES)
def test_the_description_says_what_the_files_are(name):
    case, run = CASES[name], exported(name)
    told = description(run)
    assert (told["task"], told["library"], told["run"]) == (case.task, case.library, str(run))
    assert told["trained"]["iterations"] == 2 and told["versions"]["onnxruntime"] == onnxruntime.__version__
    for place, entry in (
        (run / "nn" / "last.pth", told["checkpoint"]),
        *((run / "exported" / file, told["files"][file]) for file in ("policy.pt", "actor.onnx")),
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


@pytest.mark.parametrize("name", ["palestra", "rsl_rl", "skrl", "rl_games", "sb3"])
def test_the_normalisers_formula_and_bounds_are_those_of_the_library(name):
    """Each library's own formula from the checkpoint's moments; then all of the network by hand from the description."""
    run = exported(name)
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


def test_the_description_holds_observations_actions_and_the_robot():
    told = description(exported("palestra"))
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


def test_a_run_a_checkpoint_and_a_task_can_be_named(workplace, tmp_path, capsys):
    run = exported("palestra")
    last, first = run / "nn" / "last.pth", run / "nn" / "model_1.pth"
    alone = tmp_path / "alone.pth"
    alone.write_bytes(first.read_bytes())
    (run / "exported" / "of_before.txt").touch()
    capsys.readouterr()
    quick = ["--threads=1", "--num_envs=100"]
    for words, checkpoint, folder, iterations in (
        ([str(first)], first, run, 1),
        (["Cartpole", "--checkpoint", str(alone)], alone, tmp_path, 1),
        (["Cartpole"], last, run, 2),
    ):
        assert main(["export", *words, *quick]) == 0
        out = capsys.readouterr().out.splitlines()
        assert out[0] == f"Cartpole: {checkpoint} (palestra)"
        assert out[1].startswith("checked on 1000 observations, largest difference of an action: TorchScript ")
        assert out[2:] == [str(folder / "exported" / name) for name in ("policy.pt", "actor.onnx", "policy.json")]
        assert sorted(p.name for p in (folder / "exported").iterdir()) == FILES
        told = description(folder)
        assert told["trained"]["iterations"] == iterations
        assert told["checkpoint"]["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
        assert told["run"] == (None if folder == tmp_path else str(run))


def test_what_cannot_be_exported_is_said_in_one_line(tmp_path, capsys):
    run = exported("palestra")
    alone, blocked = tmp_path / "alone.pth", tmp_path / "blocked" / "blocked.pth"
    alone.write_bytes((run / "nn" / "last.pth").read_bytes())
    blocked.parent.mkdir()
    blocked.write_bytes(alone.read_bytes())
    (blocked.parent / "exported").write_text("mine")
    before = sorted(Path().rglob("*")), sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    for words, message in (
        ([], "which run? for example: palestra export runs/cartpole/2026-01-31_12-00-00"),
        (["Ant", "--checkpoint", str(run / "nn" / "last.pth")], f"checkpoint {run}/nn/last.pth is of the task 'Cartpole', not of 'Ant'"),
        (["Ant", "--checkpoint", str(alone)], f"checkpoint {alone} is of the task 'Cartpole', not of 'Ant'"),
        ([str(alone)], f"{alone} lies in no run folder: name its task too (palestra export TASK --checkpoint {alone})"),
        ([str(run), "--checkpoint", "model_9"], f"run {run} has no checkpoint 'model_9'; there is last.pth, model_1.pth, model_2.pth"),
        (["Reach-Franka"], "task 'Reach-Franka' has no run in runs/reach_franka: train it first (palestra train Reach-Franka)"),
        (["Cartpole", "--checkpoint", str(blocked)], f"cannot write {blocked.parent}/exported: it is a file, not a folder"),
    ):  # fmt: skip
        assert main(["export", *words]) == 2, words
        captured = capsys.readouterr()
        assert captured.err == f"palestra: error: {message}\n"
        assert captured.out == ""
    assert (sorted(Path().rglob("*")), sorted(tmp_path.rglob("*"))) == before


MODELS = '''
from rsl_rl.models import MLPModel
from torch import nn


class Shifted(MLPModel):
    """Sees other numbers than what the library would export."""

    def get_latent(self, obs, masks=None, hidden_state=None):
        return super().get_latent(obs, masks, hidden_state) + 1.0


class Branching(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x) if float(x.sum()) < 1.0 else -self.network(x)


class Undecided(MLPModel):
    """Exports a network that looks at its input before it decides what to compute."""

    def as_onnx(self, verbose):
        return Branching(super().as_onnx(verbose))
'''


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("Shifted", "the TorchScript file does not compute what the checkpoint's policy does: an action differs by "),
        ("Undecided", "the policy cannot be written as ONNX: "),
    ],
)
def test_a_policy_that_the_files_would_not_be_is_refused_and_the_old_files_stay(
    model, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("models_of_mine.py").write_text(MODELS)
    overrides = ["agent.num_steps_per_env=8", f"agent.actor.class_name=models_of_mine:{model}"]
    run = train(model, "rsl_rl", "Cartpole", overrides)
    (run / "exported").mkdir()
    (run / "exported" / "policy.json").write_text("of before")
    before = sorted(run.rglob("*"))
    capsys.readouterr()
    assert main(["export", str(run), "--threads=1"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"palestra: error: {message}") and captured.err.count("\n") == 1
    assert captured.out == ""
    assert sorted(run.rglob("*")) == before
    assert (run / "exported" / "policy.json").read_text() == "of before"
