"""Config classes: fields, copies, inheritance, missing values."""

import copy
import dataclasses
import functools
import inspect
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from example_task import AgentCfg, EntityCfg, EnvCfg, PlayEnvCfg, RewardCfg, track_velocity

import palestra.config
from palestra.config import Config, is_config, validate
from palestra.errors import ConfigError
from palestra.utils import MISSING, configclass


def names(cls: type) -> list[str]:
    return [f.name for f in dataclasses.fields(cls)]


def test_class_attributes_without_annotation_are_fields_in_the_order_of_the_body():
    @configclass
    class Terms:
        first = RewardCfg(weight=1.0)
        second: RewardCfg = RewardCfg(weight=2.0)
        third: int = MISSING
        fourth = 4
        fifth: float = 5.0

    assert names(Terms) == ["first", "second", "third", "fourth", "fifth"]
    assert Terms(fourth=7).fourth == 7
    assert Terms().third is MISSING is dataclasses.MISSING

    @configclass
    class Bare:
        first: int
        second: int = 2
        third: int

    assert names(Bare) == ["first", "second", "third"]
    assert Bare(1, third=3) == Bare(1, 2, 3)


def test_functions_and_classes_are_values_but_methods_and_nested_classes_are_not():
    @configclass
    class Cfg:
        class Ranges:
            low = 0.0

        class_type: type = dict
        kind = dict
        func = track_velocity
        partial = functools.partial(track_velocity, std=1.0)
        rule = lambda env: 3  # noqa: E731
        _hidden = 3
        shared: ClassVar[list[int]] = [1]

        def method(self) -> int:
            return 1

        @property
        def half(self) -> float:
            return 0.5

        @staticmethod
        def free() -> int:
            return 2

        @classmethod
        def build(cls) -> "Cfg":
            return cls()

    assert names(Cfg) == ["class_type", "kind", "func", "partial", "rule"]
    cfg = Cfg.build()
    assert (cfg.class_type, cfg.kind, cfg.func) == (dict, dict, track_velocity)
    assert cfg.rule(None) == 3 and cfg.partial.keywords == {"std": 1.0}
    assert (cfg.method(), cfg.half, cfg.free(), Cfg.Ranges.low) == (1, 0.5, 2, 0.0)
    assert Cfg.shared is Cfg.shared and "shared" not in vars(cfg)


def test_defaults_are_copied_for_each_instance():
    one, two = EnvCfg(), EnvCfg()
    one.rewards.track.params["std"] = 9.0
    one.scene.joint_pos["new"] = 1.0
    one.terms.append(RewardCfg())
    assert two.rewards.track.params["std"] == 0.5
    assert "new" not in two.scene.joint_pos and len(two.terms) == 1
    assert EnvCfg() == two != one


def test_values_given_to_the_constructor_are_copied():
    params = {"asset": EntityCfg("robot")}
    first, second = RewardCfg(params=params), RewardCfg(params=params)
    first.params["asset"].name = "other"
    assert second.params["asset"].name == "robot" == params["asset"].name


def test_positional_arguments_follow_the_declaration():
    entity = EntityCfg("robot", joint_names=[".*"])
    assert (entity.name, entity.joint_names, entity.joint_ids) == ("robot", [".*"], slice(None))
    assert list(inspect.signature(EntityCfg).parameters) == ["name", "joint_names", "joint_ids"]


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((), {"wieght": 1.0}, "RewardCfg has no field 'wieght': did you mean 'weight'? "
         "known: 'func', 'params', 'weight'"),
        ((1, 2, 3, 4), {}, "RewardCfg takes at most 3 positional arguments, 4 were given"),
        ((1,), {"func": 2}, "RewardCfg: field 'func' was given twice"),
    ],
)  # fmt: skip
def test_wrong_constructor_arguments_are_a_type_error_and_a_config_error(arguments, keywords, message):
    with pytest.raises(TypeError) as raised:
        RewardCfg(*arguments, **keywords)
    assert str(raised.value) == message
    assert isinstance(raised.value, ConfigError)


def test_a_subclass_overrides_with_and_without_annotation_and_keeps_the_place():
    @configclass
    class Base:
        a: int = 1
        b: list[int] = [1]
        c: float = MISSING

    @configclass
    class Child(Base):
        c = 2.5
        a = 7
        b: list[int]
        d = "new"

    assert names(Child) == ["a", "b", "c", "d"]
    assert Child() == Child(7, [1], 2.5, "new")
    assert Base().a == 1 and Base().c is MISSING
    assert Child.__dataclass_fields__["a"].type is int


def test_fields_of_several_parents():
    @configclass
    class Left:
        a = 1

    @configclass
    class Right:
        b = 2

    @configclass
    class Both(Left, Right):
        c = 3

    assert vars(Both()) == {"b": 2, "a": 1, "c": 3}


def test_post_init_runs_after_the_fields_and_chains():
    cfg = PlayEnvCfg()
    assert cfg.scene.num_envs == 16
    assert cfg.rewards.alive.weight == 0.5
    assert EnvCfg().scene.num_envs == 4096

    @configclass
    class Plain:
        a = 1

    @configclass
    class Child(Plain):
        def __post_init__(self):
            super().__post_init__()
            self.b = self.a + 1

    assert Child(a=4).b == 5


def test_dataclass_field_and_kw_only_are_honoured():
    @configclass
    class Cfg:
        a: list[int] = dataclasses.field(default_factory=lambda: [1])
        b: dict[str, int] = dataclasses.field(default={"x": 1})  # type: ignore[arg-type]
        _: dataclasses.KW_ONLY
        c: int = 3

    one = Cfg()
    one.a.append(2)
    one.b["y"] = 2
    assert Cfg() == Cfg([1], {"x": 1}, c=3)
    with pytest.raises(TypeError, match=r"^Cfg takes at most 2 positional arguments, 3 were given$"):
        Cfg([1], {}, 3)


def test_copy_replace_and_deepcopy_are_independent():
    cfg = EnvCfg()
    for other in (cfg.copy(), copy.deepcopy(cfg), copy.copy(cfg).copy()):
        other.rewards.track.params["std"] = 3.0
        assert cfg.rewards.track.params["std"] == 0.5
    changed = cfg.replace(decimation=8)
    assert (changed.decimation, cfg.decimation) == (8, 4)
    assert changed.replace(decimation=4) == cfg
    with pytest.raises(ConfigError, match=r"^EnvCfg has no field 'decimaton': did you mean 'decimation'"):
        cfg.replace(decimaton=8)
    assert dataclasses.replace(cfg.scene, num_envs=2).num_envs == 2


def test_an_attribute_added_later_is_part_of_the_config():
    cfg = EnvCfg()
    cfg.rewards.extra = RewardCfg(func=track_velocity, weight=1.0)
    assert cfg.to_dict()["rewards"]["extra"]["weight"] == 1.0
    assert cfg.copy() == cfg != EnvCfg()


def test_to_dict_is_plain_and_names_callables():
    data = EnvCfg().to_dict()
    assert data["rewards"]["track"] == {
        "func": "example_task:track_velocity",
        "params": {"std": 0.5, "command_name": "base"},
        "weight": 2.0,
    }
    assert data["actions"]["legs"]["class_type"] == "example_task:FastAction"
    assert data["scene"]["gravity"] == (0.0, 0.0, -9.81)
    assert data["terms"][0]["weight"] == 3.0


def test_validate_lists_every_missing_value_in_one_line():
    cfg = EnvCfg()
    cfg.rewards.track = RewardCfg(params={"asset": EntityCfg()})
    cfg.terms.append(RewardCfg(func=track_velocity))
    with pytest.raises(ConfigError) as raised:
        cfg.validate("env")
    assert str(raised.value) == (
        "EnvCfg: no value for 'env.rewards.track.func', 'env.rewards.track.params.asset.name', "
        "'env.rewards.track.weight', 'env.terms.1.weight': "
        "set it in the config class, in its constructor or by an override"
    )
    EnvCfg().validate()


def test_validate_calls_the_checks_of_nested_configs_and_names_the_path():
    @configclass
    class Positive:
        value = 1.0

        def validate_config(self) -> None:
            if self.value <= 0:
                raise ConfigError(f"value {self.value} must be positive")

    @configclass
    class Outer:
        parts = {"a": Positive()}

    cfg = Outer()
    validate(cfg, "env")
    cfg.parts["a"].value = -1.0
    with pytest.raises(ConfigError, match=r"^env\.parts\.a: value -1\.0 must be positive$"):
        cfg.validate("env")


def test_arrays_nan_and_pickle():
    @configclass
    class Cfg:
        array = np.array([1.0, 2.0])
        nan = math.nan

    one = Cfg()
    assert one == Cfg()
    one.array[0] = 5.0
    assert Cfg().array[0] == 1.0
    assert one != Cfg()
    assert pickle.loads(pickle.dumps(AgentCfg())) == AgentCfg()
    with pytest.raises(TypeError, match="unhashable"):
        hash(Cfg())


def test_a_class_may_inherit_the_methods_for_type_checkers():
    @configclass
    class Cfg(Config):
        a: int = 1

    assert Cfg(a=2).replace(a=3) == Cfg(a=3)
    assert is_config(Cfg()) and not is_config(Cfg)


def test_repr_shows_every_value():
    assert repr(EntityCfg("robot")) == "EntityCfg(name='robot', joint_names=None, joint_ids=slice(None, None, None))"
    assert repr(EntityCfg()).startswith("EntityCfg(name=MISSING, ")


def test_slots_are_refused():
    with pytest.raises(ConfigError, match=r"^Slotted: a config class cannot have __slots__$"):

        @configclass
        class Slotted:
            __slots__ = ("a",)


def test_an_own_init_stays():
    @configclass
    class Cfg:
        a: int = 1

        def __init__(self, a: int) -> None:
            self.a = 2 * a

    assert Cfg(4).a == 8


def test_importing_config_needs_no_heavy_library():
    code = "import sys, palestra.config; print({'torch', 'numpy', 'mujoco', 'gymnasium'} & set(sys.modules))"
    assert run_python(code) == "set()"


def run_python(code: str) -> str:
    root = Path(palestra.config.__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
