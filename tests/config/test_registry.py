"""The task registry: lazy, with its ``-Play`` variants, known to gymnasium and open to other packages."""

import importlib.metadata
import sys
import types
import warnings

import example_task
import pytest
from test_configclass import run_python

from palestra.config import (
    apply_overlay,
    dump_yaml,
    load_agent_cfg,
    load_env_cfg,
    load_yaml_config,
    make,
    register,
    registry,
    set_value,
    spec,
    task_ids,
    validate,
)
from palestra.errors import ConfigError


@pytest.fixture
def tasks(monkeypatch):
    """A registry of its own, into which nothing is discovered, with one task."""
    monkeypatch.setattr(registry, "_tasks", {})
    monkeypatch.setattr(registry, "_discovered", {registry.TASK_ENTRY_POINTS})
    register(
        "Example",
        env_cfg="example_task:EnvCfg",
        play_env_cfg=example_task.PlayEnvCfg,
        agent_cfgs={"palestra": "example_task:AgentCfg", "rsl_rl": example_task.AgentCfg},
        entry_point="example_task:ExampleEnv",
        description="An example.",
    )
    register("Lonely-v2", env_cfg="no_such_module:EnvCfg")


def test_tasks_are_listed_with_and_without_their_play_variants(tasks):
    assert task_ids() == ["Example", "Lonely-v2"]
    assert task_ids(play=True) == ["Example", "Example-Play", "Lonely-v2"]
    assert spec("Example").description == "An example."
    assert not spec("Example").is_play
    assert spec("Palestra/Example-Play").is_play


def test_configs_are_new_each_time(tasks):
    cfg = load_env_cfg("Example")
    assert cfg == example_task.EnvCfg() and cfg is not load_env_cfg("Example")
    assert load_env_cfg("Example-Play").scene.num_envs == 16
    assert load_agent_cfg("Example") == load_agent_cfg("Example-Play", "rsl_rl") == example_task.AgentCfg()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spec("Exampel"), "unknown task 'Exampel': did you mean 'Example'? "
         "known: 'Example', 'Lonely-v2'"),
        (lambda: spec("Lonely-v2-Play"), "task 'Lonely-v2' has no -Play variant: "
         "register it with play_env_cfg=…"),
        (lambda: load_agent_cfg("Example", "rsl-rl"), "task 'Example' has no agent config for 'rsl-rl': "
         "did you mean 'rsl_rl'? known: 'palestra', 'rsl_rl'"),
        (lambda: load_agent_cfg("Lonely-v2"), "task 'Lonely-v2' has no agent config for 'palestra': "
         "nothing is known here"),
        (lambda: load_env_cfg("Lonely-v2"), "task 'Lonely-v2': cannot import 'no_such_module:EnvCfg': "
         "No module named 'no_such_module'"),
        (lambda: register("Example", env_cfg="other:Cfg"), "task id 'Example' is taken by "
         "example_task:EnvCfg"),
        (lambda: register("a/b", env_cfg="other:Cfg"), "task id 'a/b': expected letters, digits, '-', '_' "
         "and '.', such as 'Reach-Franka'"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said_in_one_line(tasks, call, message):
    with pytest.raises(ConfigError) as raised:
        call()
    assert str(raised.value) == message


def test_registering_the_same_task_again_changes_nothing(tasks):
    before = spec("Lonely-v2")
    register("Lonely-v2", env_cfg="no_such_module:EnvCfg")
    assert spec("Lonely-v2") == before


def test_make_builds_the_environment_with_a_copy_of_the_config(tasks):
    env = make("Example", num_envs=3, seed=5, render_mode="rgb_array")
    assert isinstance(env, example_task.ExampleEnv)
    assert (env.cfg.scene.num_envs, env.cfg.seed, env.render_mode) == (3, 5, "rgb_array")
    cfg = example_task.EnvCfg(decimation=9)
    given = make("Example", cfg=cfg, num_envs=2)
    assert given.cfg.decimation == 9 and given.cfg.scene.num_envs == 2
    assert cfg.scene.num_envs == 4096


def test_tasks_are_known_to_gymnasium(tasks):
    import gymnasium

    known = gymnasium.spec("Palestra/Example-Play")
    assert known.entry_point == "palestra.config.registry:make"
    assert known.vector_entry_point == "palestra.config.registry:make_vector"
    assert known.kwargs == {"task": "Example-Play"}
    assert known.max_episode_steps is None


class FakeEntryPoint:
    """What ``importlib.metadata`` returns for another package's announcement."""

    def __init__(self, name: str, load: object) -> None:
        self.name, self.value, self.load = name, f"{name}.tasks", load


def test_other_packages_add_tasks_and_a_broken_one_only_warns(tasks, monkeypatch):
    def add() -> None:
        register("Foreign", env_cfg="foreign:EnvCfg")

    def broken() -> None:
        raise RuntimeError("no licence")

    announced = [FakeEntryPoint("broken", broken), FakeEntryPoint("foreign", lambda: add)]
    shipped = types.ModuleType(registry.TASK_ENTRY_POINTS)
    monkeypatch.setitem(sys.modules, registry.TASK_ENTRY_POINTS, shipped)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: announced)
    monkeypatch.setattr(registry, "_discovered", set())
    with pytest.warns(UserWarning, match="no licence") as caught:
        assert "Foreign" in task_ids()
    assert [str(w.message) for w in caught] == ["tasks of 'broken' (broken.tasks) are missing: no licence"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task_ids()


def test_listing_tasks_imports_neither_torch_nor_mujoco():
    code = (
        "import sys; from palestra.config import register, registry, task_ids; "
        "registry._discovered.add(registry.TASK_ENTRY_POINTS); "
        "register('Lazy', env_cfg='no_such_module:Cfg'); "
        "print(task_ids(), sorted({'torch', 'mujoco', 'no_such_module'} & set(sys.modules)))"
    )
    assert run_python(code) == "['Lazy'] []"


def test_every_shipped_task_is_complete_and_reproduced_by_its_dump(tmp_path):
    assert task_ids()
    for name in task_ids(play=True):
        configs = {"env": load_env_cfg(name), "agent": load_agent_cfg(name)}
        validate(configs["env"], "env")
        set_value(configs, "env.seed", 12)
        dump_yaml(tmp_path / "config.yaml", {"task": name, **configs})
        fresh = {"env": load_env_cfg(name), "agent": load_agent_cfg(name)}
        assert fresh != configs
        apply_overlay(fresh, load_yaml_config(tmp_path / "config.yaml"))
        assert fresh == configs, name
