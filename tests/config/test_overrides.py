"""Overrides and overlays: types, paths and the exact messages for what cannot be used."""

import pathlib

import numpy as np
import pytest
from example_task import (
    AgentCfg,
    Engine,
    EntityCfg,
    EnvCfg,
    RewardCfg,
    SlowAction,
    is_alive,
    track_velocity,
)

from palestra.cli.configuration import changes
from palestra.config import (
    apply_overlay,
    apply_overrides,
    get_value,
    load_env_cfg,
    load_overlay,
    set_value,
    validate,
)
from palestra.config.yaml_io import dump_yaml, load_yaml_config
from palestra.errors import ConfigError
from palestra.utils import configclass

REWARD_NAMES = "'alive', 'track', 'entity'"


@pytest.fixture
def configs() -> dict:
    return {"env": EnvCfg(), "agent": AgentCfg()}


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("env.scene.num_envs=64", 64),
        ("env.scene.num-envs=64", 64),
        ("env.scene.num_envs=1_024", 1024),
        ("env.scene.env_spacing=3", 3.0),
        ("env.scene.env_spacing=1e-3", 1e-3),
        ("env.scene.env_spacing=inf", float("inf")),
        ("env.scene.env_spacing=-.inf", float("-inf")),
        ("env.scene.replicate=false", False),
        ("env.scene.gravity=[0, 0, -1.62]", (0.0, 0.0, -1.62)),
        ("env.scene.joint_pos={'.*': 1}", {".*": 1.0}),
        ("env.scene.joint_pos..*_hip=1", 1.0),
        ("env.scene.joint_pos..*_knee=-1.5", -1.5),
        ("agent.algorithm.learning_rate=3e-4", 3e-4),
        ("agent.algorithm.schedule=fixed", "fixed"),
        ("agent.run_name=1e3", "1e3"),
        ("agent.run_name=true", "true"),
        ("agent.run_name=", ""),
        ("agent.run_name=a: [b", "a: [b"),
        ("agent.hidden_dims=[64, 64, 32]", [64, 64, 32]),
        ("agent.hidden_dims.1=32", 32),
        ("env.rewards.track.weight=-0.02", -0.02),
        ("env.rewards.track.params.std=0.4", 0.4),
        ("env.rewards.track.params.std=1", 1.0),
        ("env.rewards.track.params.scale=2", 2.0),
        ("env.rewards.track=null", None),
        ("env.rewards.track.func=example_task:is_alive", is_alive),
        ("env.rewards.entity.params.asset.joint_names=[a, b]", ["a", "b"]),
        ("env.rewards.entity.params.asset.joint_names=null", None),
        ("env.rewards.entity.params.asset.joint_ids=[0, 2]", [0, 2]),
        ("env.rewards.entity.params.asset.joint_ids=slice(1, None, 2)", slice(1, None, 2)),
        ("env.actions.legs.scale=2", 2.0),
        ("env.actions.legs.scale={.*: 2}", {".*": 2.0}),
        ("env.actions.legs.clip=[-1, 1]", (-1.0, 1.0)),
        ("env.actions.legs.class_type=example_task:SlowAction", SlowAction),
        ("env.commands.velocity.ranges.lin_vel_x=[-2, 2]", (-2.0, 2.0)),
        ("env.commands.velocity.ranges.heading=[0, 3.5]", (0.0, 3.5)),
        ("env.commands.velocity.period=5", 5.0),
        ("env.engine=CUDA", Engine.CUDA),
        ("env.engine=cuda", Engine.CUDA),
        ("env.seed=3", 3),
        ("env.seed=null", None),
        ("env.viewer=video", "video"),
        ("env.terms.0.weight=1", 1.0),
        ("env.groups.legs.weight=1", 1.0),
    ],
)
def test_a_value_is_converted_to_what_the_field_takes(configs, override, value):
    apply_overrides(configs, [override])
    key = override.partition("=")[0]
    read = get_value(configs, key)
    assert read == value
    assert type(read) is type(value)
    if isinstance(value, list | tuple):
        assert [type(v) for v in read] == [type(v) for v in value]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("env.scene.num_envs", "'env.scene.num_envs' is no override: expected key=value, such as "
         "env.scene.num_envs=64"),
        ("--seed=3", "'--seed=3' is no override: expected key=value, such as env.scene.num_envs=64"),
        ("=3", "'=3' is no override: expected key=value, such as env.scene.num_envs=64"),
        ("env=3", "env: names a whole config: set a field below it, such as env.scene=…"),
        ("agnt.seed=3", "agnt.seed: unknown key 'agnt': did you mean 'agent'? known: 'env', 'agent'"),
        ("scene.num_envs=3", "scene.num_envs: unknown key 'scene': there is 'env.scene.num_envs'; "
         "did you mean 'env'? known: 'env', 'agent'"),
        ("env.rewards.trck.weight=1", "env.rewards.trck: unknown key 'trck': did you mean 'track'? "
         f"known: {REWARD_NAMES}"),
        ("env.rewards.alive.wieght=1", "env.rewards.alive.wieght: unknown key 'wieght': "
         "did you mean 'weight'? known: 'func', 'params', 'weight'"),
        ("agent.num_envs=3", "agent.num_envs: unknown key 'num_envs': there is 'env.scene.num_envs'; "
         "known: 'algorithm', 'max_iterations', 'run_name', 'hidden_dims'"),
        ("env.rewards.track.params.sdt=1", "env.rewards.track.params.sdt: unknown parameter 'sdt': "
         "did you mean 'std'? known: 'std', 'command_name', 'scale'"),
        ("env.scene.num_envs.x=1", "env.scene.num_envs.x: unknown key 'x': env.scene.num_envs is 4096, "
         "it has no keys"),
        ("env.scene.num_envs=abc", "env.scene.num_envs: expected int, got 'abc' (str)"),
        ("env.scene.num_envs=1.5", "env.scene.num_envs: expected int, got 1.5 (float)"),
        ("env.scene.num_envs=true", "env.scene.num_envs: expected int, got True (bool)"),
        ("env.scene.num_envs=null", "env.scene.num_envs: expected int, got null"),
        ("env.scene.num_envs=", "env.scene.num_envs: expected int, got '' (str)"),
        ("env.scene.env_spacing=true", "env.scene.env_spacing: expected float, got True (bool)"),
        ("env.scene.replicate=1", "env.scene.replicate: expected true or false, got 1 (int)"),
        ("env.scene.replicate=yes", "env.scene.replicate: expected true or false, got 'yes' (str)"),
        ("env.scene.joint_pos={'.*': a}", "env.scene.joint_pos..*: expected float, got 'a' (str)"),
        ("env.scene.gravity=[0, a, 1]", "env.scene.gravity.1: expected float, got 'a' (str)"),
        ("env.rewards.track.params.std=a", "env.rewards.track.params.std: expected float, got 'a' (str)"),
        ("env.groups.leg.weight=1", "env.groups.leg: unknown key 'leg': did you mean 'legs'? known: 'legs'"),
        ("env.groups={leg: {weight: 1}}", "env.groups.leg: unknown key 'leg': did you mean 'legs'? "
         "known: 'legs'"),
        ("env.rewards.track=3", "env.rewards.track: expected a mapping of RewardCfg fields or null, "
         "got 3 (int)"),
        ("env.rewards.track={weigth: 3}", "env.rewards.track.weigth: unknown key 'weigth': "
         "did you mean 'weight'? known: 'func', 'params', 'weight'"),
        ("env.rewards.track.func=3", "env.rewards.track.func: expected a callable as 'module:name', "
         "got 3 (int)"),
        ("env.rewards.track.func=is_alive", "env.rewards.track.func: expected a callable as "
         "'module:name', got 'is_alive' (str)"),
        ("env.rewards.track.func=example_task:track_velocty", "env.rewards.track.func: "
         "cannot import 'example_task:track_velocty': no 'track_velocty' there; "
         "did you mean 'track_velocity'? known: "),
        ("env.rewards.track.func=no_such_module:f", "env.rewards.track.func: "
         "cannot import 'no_such_module:f': No module named 'no_such_module'"),
        ("env.actions.legs.class_type=builtins:dict", "env.actions.legs.class_type: expected a class "
         "derived from FastAction as 'module:name', got 'builtins:dict' (str)"),
        ("env.actions.legs.clip=[1]", "env.actions.legs.clip: expected tuple[float, float] or null, "
         "got [1] (list)"),
        ("env.actions.legs.clip=[1, a]", "env.actions.legs.clip.1: expected float, got 'a' (str)"),
        ("env.actions.legs.scale=a", "env.actions.legs.scale: expected float or dict[str, float], "
         "got 'a' (str)"),
        ("env.actions.legs.scale={.*: a}", "env.actions.legs.scale..*: expected float, got 'a' (str)"),
        ("env.engine=tpu", "env.engine: expected 'CPU' or 'CUDA', got 'tpu' (str)"),
        ("env.viewer=web", "env.viewer: expected 'native' or 'video', got 'web' (str)"),
        ("env.seed=a", "env.seed: expected int or null, got 'a' (str)"),
        ("env.terms.1.weight=3", "env.terms.1: unknown key '1': env.terms is a list, allowed: 0 to 0"),
        ("env.rewards.entity.params.asset.joint_ids=slice(a)", "env.rewards.entity.params.asset.joint_ids: "
         "expected 'slice(start, stop, step)' or list[int], got 'slice(a)' (str)"),
        ("env.scene.num_envs=[1", "env.scene.num_envs: '[1' is no valid YAML value "
         "(expected ',' or ']', but got '<stream end>'): put quotes around a string"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_fails_with_path_value_and_what_is_allowed(configs, override, message):
    before = configs["env"].copy()
    with pytest.raises(ConfigError) as raised:
        apply_overrides(configs, [override])
    text = str(raised.value)
    if message.endswith("known: "):
        assert text.startswith(message)
    else:
        assert text == message
    assert "\n" not in text
    assert configs == {"env": before, "agent": AgentCfg()}


def test_overrides_apply_in_order(configs):
    apply_overrides(configs, ["env.seed=1", "env.seed=2", "env.rewards.alive=null"])
    assert configs["env"].seed == 2
    assert configs["env"].rewards.alive is None
    with pytest.raises(ConfigError) as raised:
        apply_overrides(configs, ["env.rewards.alive.weight=1"])
    assert str(raised.value) == (
        "env.rewards.alive.weight: unknown key 'weight': there is 'env.rewards.track.weight', "
        "'env.rewards.entity.weight', 'env.terms.0.weight'; env.rewards.alive is null, it has no keys"
    )


def test_a_mapping_merges_into_terms_and_parameters_and_replaces_data(configs):
    apply_overrides(
        configs,
        ["env.rewards.track={weight: 3, params: {std: 2}}", "env.scene={joint_pos: {a: 1}, num_envs: 2}"],
    )
    track = configs["env"].rewards.track
    assert (track.weight, track.params) == (3.0, {"std": 2.0, "command_name": "base"})
    assert configs["env"].scene.joint_pos == {".*_hip": 0.1, "FL_.*": -0.2, "a": 1.0}
    apply_overrides(configs, ["env.groups={legs: {weight: 1}}"])
    assert configs["env"].groups == {"legs": RewardCfg(func=is_alive, weight=1.0)}
    apply_overrides(configs, ["env.scene.joint_pos={a: 1}"])
    assert configs["env"].scene.joint_pos == {"a": 1.0}


def test_set_value_takes_python_values(configs):
    set_value(configs, "env.rewards.track.func", is_alive)
    set_value(configs, "env.rewards.track.params.command_name", "other")
    set_value(configs, "env.actions.legs.clip", (0, 1))
    assert configs["env"].rewards.track.func is is_alive
    assert configs["env"].actions.legs.clip == (0.0, 1.0)
    assert get_value(configs, "env.rewards.track.params.command_name") == "other"
    with pytest.raises(ConfigError, match=r"^env\.sed: unknown key 'sed': known: env, agent$"):
        get_value(configs, "env.sed")


def test_a_root_may_be_a_dictionary():
    configs = {"agent": {"models": {"policy": {"units": [64, 64]}}, "rate": 1e-3}}
    apply_overrides(configs, ["agent.models.policy.units=[32]", "agent.rate=2"])
    assert configs == {"agent": {"models": {"policy": {"units": [32]}}, "rate": 2.0}}
    with pytest.raises(ConfigError, match=r"^agent\.rat: unknown key 'rat': did you mean 'rate'\? known: "):
        apply_overrides(configs, ["agent.rat=2"])


def test_arrays_paths_and_fields_without_annotation():
    @configclass
    class Cfg:
        array = np.zeros(2, dtype=np.float32)
        path: pathlib.Path = pathlib.Path("a")
        count = 1
        nothing = None
        func = track_velocity
        pair = (1, "a")

    cfg = Cfg()
    apply_overrides(
        {"env": cfg},
        ["env.array=[1, 2]", "env.path=b/c", "env.count=0.5", "env.nothing={a: [1]}", "env.pair=[2, b]"],
    )
    assert cfg.array.dtype == np.float32 and cfg.array.tolist() == [1.0, 2.0]
    assert cfg.path == pathlib.Path("b/c")
    assert (cfg.count, cfg.nothing, cfg.pair) == (0.5, {"a": [1]}, (2, "b"))
    with pytest.raises(ConfigError, match=r"^env\.count: expected int or float, got 'a' \(str\)$"):
        apply_overrides({"env": Cfg()}, ["env.count=a"])


def test_a_config_is_built_where_the_annotation_names_its_class():
    @configclass
    class Cfg:
        entity: EntityCfg | None = None
        terms: list[RewardCfg] = []

    cfg = Cfg()
    apply_overrides({"env": cfg}, ["env.entity={name: robot}", "env.terms=[{weight: 1}]"])
    assert cfg == Cfg(EntityCfg("robot"), [RewardCfg(weight=1.0)])
    with pytest.raises(ConfigError, match=r"^env\.terms\.0\.wight: unknown key 'wight': did you mean 'weight'"):
        apply_overrides({"env": cfg}, ["env.terms=[{wight: 1}]"])


def write(path: pathlib.Path, text: str) -> pathlib.Path:
    path.write_text(text)
    return path


def test_an_overlay_merges(configs, tmp_path):
    text = """
env:
  scene: {num-envs: 8, joint_pos: {.*_hip: 1}}
  rewards:
    alive:
    track: {params: {std: 1e-1}}
agent:
  algorithm: {learning_rate: 1e-4}
"""
    apply_overlay(configs, load_overlay(write(tmp_path / "a.yaml", text)))
    env = configs["env"]
    assert env.scene.num_envs == 8 and env.scene.joint_pos == {".*_hip": 1.0, "FL_.*": -0.2}
    assert env.rewards.alive is None
    assert env.rewards.track.params == {"std": 0.1, "command_name": "base"}
    assert configs["agent"].algorithm.learning_rate == 1e-4
    assert load_overlay(write(tmp_path / "empty.yaml", "# nothing\n")) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("env: {scene: {num_env: 3}}", ": env.scene.num_env: unknown key 'num_env': did you mean 'num_envs'? "
         "known: 'num_envs', 'env_spacing', 'replicate', 'joint_pos', 'gravity'"),
        ("env: {scene: {num_envs: x}}", ": env.scene.num_envs: expected int, got 'x' (str)"),
        ("agent: {run_name: 3}", ": agent.run_name: expected str, got 3 (int)"),
        ("agnt: {seed: 3}", ": agnt: unknown key 'agnt': did you mean 'agent'? known: 'env', 'agent'"),
        ("scene: {num_envs: 3}", ": scene: unknown key 'scene': there is 'env.scene'; "
         "did you mean 'env'? known: 'env', 'agent'"),
        ("env: 3", ": env: expected a mapping, got 3"),
        ("[1, 2]", ": expected a mapping with 'env' and 'agent', got list"),
        ("env:\n  seed: [1\n", ":3: broken YAML: expected ',' or ']', but got '<stream end>'"),
        ("env:\n  seed: 1\n  seed: 2\n", ":3: broken YAML: key 'seed' stands here twice"),
        ("env:\n\tseed: 1\n", ":2: broken YAML: found character '\\t' that cannot start any token"),
        ("env: !!python/name:os.system x", ":1: broken YAML: could not determine a constructor for the tag "
         "'tag:yaml.org,2002:python/name:os.system'"),
    ],
)  # fmt: skip
def test_a_broken_overlay_names_file_and_place(configs, tmp_path, text, message):
    path = write(tmp_path / "bad.yaml", text)
    with pytest.raises(ConfigError) as raised:
        apply_overlay(configs, load_overlay(path))
    assert str(raised.value) == f"{path}{message}"


def test_a_missing_or_binary_overlay(tmp_path):
    with pytest.raises(ConfigError) as raised:
        load_overlay(tmp_path / "none.yaml")
    expected = f"{tmp_path / 'none.yaml'}: cannot read this config file: No such file or directory"
    assert str(raised.value) == expected
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.yaml: cannot read this config file: not UTF-8 text$"):
        load_overlay(tmp_path / "binary.yaml")


class TestAddedTerms:
    """Groups named by ``TERM_CLASSES`` take new terms, by overrides and by files."""

    def test_a_mapping_with_a_function_becomes_a_term(self, task_cfg, tmp_path):
        file = tmp_path / "terms.yaml"
        file.write_text(
            "env:\n  events:\n    sticky:\n      mode: startup\n      params:\n"
            "        asset_cfg: {name: robot, joint_names: [slider]}\n        friction_distribution_params: [1, 2]\n"
            "      func: palestra.envs.mdp:randomize_joint_parameters\n"
        )
        apply_overlay(task_cfg, load_overlay(file))
        apply_overrides(task_cfg, ["env.rewards.alive2={func: 'palestra.envs.mdp:is_alive', weight: 3}"])
        sticky, alive = task_cfg["env"].events.sticky, task_cfg["env"].rewards.alive2
        assert type(sticky).__name__ == "EventTermCfg" and type(alive).__name__ == "RewardTermCfg"
        assert sticky.func.__name__ == "randomize_joint_parameters" and sticky.mode == "startup"
        assert sticky.params["asset_cfg"].joint_names == ["slider"]
        assert sticky.params["friction_distribution_params"] == (1.0, 2.0) and alive.weight == 3.0

    def test_a_dumped_configuration_brings_its_added_terms(self, task_cfg, tmp_path):
        apply_overrides(task_cfg, ["env.rewards.alive2={func: 'palestra.envs.mdp:is_alive', weight: 3}"])
        dump_yaml(tmp_path / "config.yaml", task_cfg)
        fresh = {"env": load_env_cfg("Cartpole")}
        apply_overlay(fresh, load_yaml_config(tmp_path / "config.yaml"))
        assert fresh["env"] == task_cfg["env"] and fresh["env"].rewards.alive2.weight == 3.0
        changed = dict(changes(load_env_cfg("Cartpole"), load_yaml_config(tmp_path / "config.yaml")["env"]))
        assert changed["rewards.alive2"]["weight"] == 3.0  # so that the -Play variant gets it too

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("env.events.x={mode: reset}", "env.events.x: unknown key 'x': "),
            ("env.events.x={func: 'palestra.envs.mdp:nothing'}", "env.events.x.func: cannot import"),
            ("env.events.x={func: 'palestra.envs.mdp:is_alive', wight: 3}", "unknown key 'wight'"),
            ("env.events={'a b': {func: 'palestra.envs.mdp:is_alive'}}", "a term's name must be a word"),
            ("env.scene={x: {func: 'palestra.envs.mdp:is_alive'}}", "env.scene.x: unknown key 'x'"),
        ],
    )
    def test_what_is_no_term_is_refused(self, task_cfg, override, message):
        with pytest.raises(ConfigError) as caught:
            apply_overrides(task_cfg, [override])
        assert message in str(caught.value)

    def test_a_term_without_its_mode_is_missed_by_validation(self, task_cfg):
        apply_overrides(task_cfg, ["env.events.x={func: 'palestra.envs.mdp:randomize_joint_parameters'}"])
        with pytest.raises(ConfigError, match=r"env\.events\.x\.mode"):
            validate(task_cfg["env"], "env")

    @pytest.fixture
    def task_cfg(self) -> dict:
        return {"env": load_env_cfg("Cartpole")}
