"""Dumped configurations: readable, written at once, and read back to the very same values."""

import enum
import functools
import keyword
import math
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from example_task import AgentCfg, EnvCfg, PlayEnvCfg, RewardCfg, track_velocity
from hypothesis import given, settings
from hypothesis import strategies as st

from palestra.config import (
    apply_overlay,
    apply_overrides,
    dump_yaml,
    get_value,
    load_overlay,
    load_yaml_config,
    set_value,
)
from palestra.config.configclass import walk
from palestra.config.plain import plain_value
from palestra.config.yaml_io import parse_value
from palestra.errors import ConfigError
from palestra.utils import MISSING, configclass


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4), ("1e-3", 1e-3), ("1E5", 1e5), (".5", 0.5), ("2.", 2.0), ("-1", -1), ("1_000", 1000),
        ("017", 17), ("0x10", 16), ("0o17", 15), ("1:30", "1:30"), ("2026-01-01", "2026-01-01"),
        ("true", True), ("on", "on"), ("no", "no"), ("null", None), ("None", None), ("~", None), ("", ""),
        (".inf", math.inf), ("-.inf", -math.inf), ("[-1, 1]", [-1, 1]), ("{a: [1e-3]}", {"a": [1e-3]}),
        ("module:name", "module:name"), (".*_hip", ".*_hip"), ("'3'", "3"), ("1.2.3", "1.2.3"),
        ("=", "="), ("e5", "e5"),
    ],
)  # fmt: skip
def test_yaml_values(text, value):
    parsed = parse_value(text)
    assert parsed == value and type(parsed) is type(value)


def test_yaml_not_a_number():
    assert math.isnan(parse_value(".nan"))


def test_the_dump_is_readable_and_plain_yaml(tmp_path):
    path = tmp_path / "config.yaml"
    versions = {"palestra": "0.1", "torch": "2.13.0"}
    dump_yaml(path, {"task": "Example", "env": EnvCfg(), "agent": AgentCfg(), "versions": versions})
    text = path.read_text()
    assert text.startswith(
        "resolved: true\ntask: Example\nenv:\n  scene:\n    num_envs: 4096\n    env_spacing: 2.5\n"
        "    replicate: true\n    joint_pos:\n      .*_hip: 0.1\n      FL_.*: -0.2\n"
        "    gravity: [0.0, 0.0, -9.81]\n  rewards:\n    alive:\n      func: example_task:is_alive\n"
        "      params: {}\n      weight: 0.5\n"
    )
    assert "class_type: example_task:FastAction\n" in text
    assert "joint_ids: slice(None, None, None)\n" in text
    assert "engine: CPU\n" in text
    plain = yaml.safe_load(text)
    assert plain["agent"] == {
        "algorithm": {"learning_rate": 0.001, "schedule": "adaptive"},
        "max_iterations": 1500,
        "run_name": "",
        "hidden_dims": [256, 128],
    }
    assert plain["versions"] == versions


def test_a_failed_dump_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "config.yaml"
    dump_yaml(path, {"env": EnvCfg()})
    before = path.read_text()

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dump_yaml(path, {"env": AgentCfg()})
    assert path.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["config.yaml"]


def test_a_dump_reproduces_an_overridden_config(tmp_path):
    overrides = [
        "env.scene.num_envs=7",
        "env.scene.joint_pos={'.*': 1}",
        "env.rewards.alive=null",
        "env.rewards.track.params.std=0.1",
        "env.rewards.track.func=example_task:is_alive",
        "env.rewards.entity.params.asset.joint_ids=[1, 2]",
        "env.actions.legs.scale={.*: 2}",
        "env.actions.legs.clip=[-1, 1]",
        "env.actions.legs.class_type=example_task:SlowAction",
        "env.engine=cuda",
        "agent.run_name='1e3'",
        "agent.hidden_dims=[8]",
    ]
    changed = {"env": EnvCfg(), "agent": AgentCfg()}
    apply_overrides(changed, overrides)
    path = tmp_path / "config.yaml"
    dump_yaml(path, {**changed, "task": "Example"})
    for load in (load_yaml_config, load_overlay):
        fresh = {"env": EnvCfg(), "agent": AgentCfg()}
        apply_overlay(fresh, load(path))
        assert fresh == changed
        assert plain_value(fresh) == plain_value(changed)
    play = {"env": PlayEnvCfg()}
    apply_overlay(play, load_yaml_config(path))
    assert vars(play["env"]) == vars(changed["env"])


def test_values_without_a_yaml_form_survive_unless_changed(tmp_path):
    class Handle:
        pass

    class Level(enum.IntEnum):
        LOW = 1

    handle = Handle()

    @configclass
    class Cfg:
        rule = lambda env: 3  # noqa: E731
        partial = functools.partial(track_velocity, std=1.0)
        method = [].append
        array = np.array([[1.5, 2.0]])
        scalar = np.float32(0.5)
        level = Level.LOW
        path: Path = Path("a/b")
        missing: int = MISSING
        nested = {("a", 1): (1, 2), 3: frozenset({2, 1})}

    cfg = Cfg()
    cfg.handle = handle
    path = tmp_path / "config.yaml"
    dump_yaml(path, {"env": cfg})
    plain = load_yaml_config(path)["env"]
    assert plain["partial"] == "partial(example_task:track_velocity, std=1.0)"
    assert plain["array"] == [[1.5, 2.0]]
    assert (plain["scalar"], plain["level"], plain["missing"]) == (0.5, "LOW", "MISSING")
    assert plain["nested"] == {"['a', 1]": [1, 2], 3: [1, 2]}
    fresh = cfg.copy()
    fresh.handle = handle
    apply_overlay({"env": fresh}, load_yaml_config(path))
    assert fresh.handle is handle and fresh.rule is cfg.rule and fresh.level is Level.LOW
    assert fresh.missing is MISSING and fresh.path == Path("a/b")
    assert fresh.nested == cfg.nested and type(fresh.nested["a", 1]) is tuple
    assert fresh.array.tolist() == [[1.5, 2.0]]


def test_only_a_dump_is_loaded_as_one(tmp_path):
    path = tmp_path / "overlay.yaml"
    path.write_text("env: {seed: 3}\n")
    with pytest.raises(ConfigError) as raised:
        load_yaml_config(path)
    assert str(raised.value) == f"{path}: no dumped configuration: it lacks 'resolved: true'"


finite = st.floats(allow_nan=False)
words = st.text(max_size=12) | st.sampled_from(
    [
        "1e3",
        "true",
        "null",
        "None",
        "a: b",
        "- x",
        "",
        " x ",
        "#",
        "0x1",
        "é\n",
        "~",
        "*a",
        "2026-01-01",
        "=",
        "\x85",
        "a\u2028b",
    ]
)
scalars = st.one_of(st.integers(), finite, st.booleans(), words)
names = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True).filter(
    lambda name: name not in ("copy", "replace", "to_dict", "validate", *keyword.kwlist)
)
leaves = st.one_of(
    scalars,
    st.lists(scalars, max_size=3),
    st.tuples(finite, finite),
    st.dictionaries(st.from_regex(r"\.\*_[a-z]{1,4}|[A-Z]{2}_\.\*", fullmatch=True), finite, max_size=3),
)


def tree_class(children: dict) -> object:
    """Return a config whose fields are the entries of a nested dictionary tree (``Node`` marks a branch)."""
    body = {k: tree_class(v.children) if isinstance(v, Node) else v for k, v in children.items()}
    return configclass(type("Generated", (), body))()


class Node:
    def __init__(self, children: dict) -> None:
        self.children = children


trees = st.recursive(
    st.dictionaries(names, leaves, min_size=1, max_size=4),
    lambda inner: st.dictionaries(names, leaves | inner.map(Node), min_size=1, max_size=4),
    max_leaves=12,
)


def typed(value: object) -> str:
    """Return a value as a user may type it, strings in quotes."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{typed(k)}: {typed(v)}' for k, v in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(typed(v) for v in value)}]"
    if isinstance(value, str):
        return yaml.dump(value, default_style='"', width=math.inf).strip()
    return repr(value)


def leaf_paths(config: object) -> list[str]:
    return [p for p, v in walk({"env": config}) if p.count(".") and not hasattr(v, "__dataclass_fields__")]


@settings(max_examples=60, deadline=None)
@given(tree=trees, data=st.data())
def test_any_leaf_of_a_generated_tree_reads_back_what_was_set(tree, data):
    configs = {"env": tree_class(tree)}
    path = data.draw(st.sampled_from(leaf_paths(configs["env"])))
    old = get_value(configs, path)
    new = data.draw({bool: st.booleans(), int: st.integers(), float: finite, str: words}.get(type(old), st.just(old)))
    apply_overrides(configs, [f"{path}={typed(new)}"])
    read = get_value(configs, path)
    assert read == new and type(read) is type(new)


@pytest.fixture(scope="module")
def dump_file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("dump") / "config.yaml"


@settings(max_examples=60, deadline=None)
@given(tree=trees, data=st.data())
def test_dump_load_apply_is_the_identity_on_a_generated_tree(dump_file, tree, data):
    changed = {"env": tree_class(tree)}
    for path in leaf_paths(changed["env"]):
        old = get_value(changed, path)
        kind = {bool: st.booleans(), int: st.integers(), float: finite, str: words}.get(type(old))
        if kind is not None:
            set_value(changed, path, data.draw(kind))
    dump_yaml(dump_file, changed)
    fresh = {"env": type(changed["env"])()}
    apply_overlay(fresh, load_yaml_config(dump_file))
    assert fresh == changed
    kinds = [type(v) for _, v in walk(changed)]
    assert [type(v) for _, v in walk(fresh)] == kinds


def test_a_reward_removed_and_a_term_added_in_code_are_dumped(tmp_path):
    cfg = EnvCfg()
    cfg.rewards.alive = None
    cfg.rewards.extra = RewardCfg(func=track_velocity, weight=1.0, params={"std": 1.0})
    dump_yaml(tmp_path / "c.yaml", {"env": cfg})
    again = cfg.copy()
    again.rewards.extra.weight = 5.0
    apply_overlay({"env": again}, load_yaml_config(tmp_path / "c.yaml"))
    assert again == cfg
