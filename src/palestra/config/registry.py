"""The registry of tasks: names and where their configs are; nothing is imported until a task is used."""

import importlib
import importlib.metadata
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from palestra.config.configclass import copy_value
from palestra.config.plain import import_name
from palestra.errors import ConfigError, did_you_mean

MANAGER_BASED_ENV = "palestra.envs:ManagerBasedRLEnv"
"""The environment class of a task that names no other."""

VECTOR_VIEW = "palestra.envs.vector:VectorEnv"
"""The ``gymnasium.vector.VectorEnv`` that wraps an environment for ``gymnasium.make_vec``."""

GYMNASIUM_NAMESPACE = "Palestra"
TASK_ENTRY_POINTS = "palestra.tasks"
PLAY_SUFFIX = "-Play"

ConfigSource = str | type
"""A config class, or ``"module:Class"`` (or ``"module:function"``) that is imported when the task is used."""


@dataclass(frozen=True)
class TaskSpec:
    """What the registry knows of a task; nothing is imported yet."""

    id: str
    """Name that a user types, such as ``Velocity-Flat-Go2`` or ``Velocity-Flat-Go2-Play``."""

    env_cfg: ConfigSource
    """Config of the environment (of the ``-Play`` variant when ``is_play``)."""

    agent_cfgs: Mapping[str, ConfigSource] = field(default_factory=dict)
    """Library or algorithm (``"palestra"``, ``"rsl_rl"``, …) to the config of its agent."""

    entry_point: str = MANAGER_BASED_ENV
    """Environment class, called with the config, as ``"module:Class"``."""

    play_env_cfg: ConfigSource | None = None
    """Config of the ``-Play`` variant: few environments, no noise, no pushes."""

    description: str = ""
    """One line for ``palestra tasks``."""

    is_play: bool = False
    """Whether this is the ``-Play`` variant."""


_tasks: dict[str, TaskSpec] = {}
_discovered: set[str] = set()


def register(
    id: str,
    *,
    env_cfg: ConfigSource,
    agent_cfgs: Mapping[str, ConfigSource] | None = None,
    entry_point: str = MANAGER_BASED_ENV,
    play_env_cfg: ConfigSource | None = None,
    description: str = "",
) -> None:
    """Add a task and its ``<id>-Play`` variant, here and as ``Palestra/<id>`` in gymnasium.

    Args:
        id: name without a slash, such as ``"Reach-Franka"``.
        env_cfg: config class or ``"module:Class"``; strings keep listing the tasks fast.
        agent_cfgs: library or algorithm to the config of its agent.
        entry_point: environment class that takes the config, ``"module:Class"``.
        play_env_cfg: config of the ``-Play`` variant.
        description: one line for ``palestra tasks``.

    Raises:
        ConfigError: the name is malformed or taken by another task.
    """
    if not id or not all(part.isalnum() for part in id.replace("_", "-").replace(".", "-").split("-")):
        raise ConfigError(f"task id {id!r}: expected letters, digits, '-', '_' and '.', such as 'Reach-Franka'")
    task = TaskSpec(id, env_cfg, dict(agent_cfgs or {}), entry_point, play_env_cfg, description)
    added = [task]
    if play_env_cfg is not None:
        added.append(replace(task, id=id + PLAY_SUFFIX, env_cfg=play_env_cfg, is_play=True))
    for new in added:
        if _tasks.get(new.id, new) != new:
            raise ConfigError(f"task id {new.id!r} is taken by {_name(_tasks[new.id].env_cfg)}")
    for new in added:
        _tasks[new.id] = new
        _register_with_gymnasium(new)


def task_ids(play: bool = False) -> list[str]:
    """Return the names of all tasks in order, with their ``-Play`` variants if ``play``."""
    _discover()
    return sorted(name for name, known in _tasks.items() if play or not known.is_play)


def spec(id: str) -> TaskSpec:
    """Return what is registered under a name; ``Palestra/`` may stand before it.

    Raises:
        ConfigError: no such task; the message lists the nearest names.
    """
    _discover()
    name = id.removeprefix(f"{GYMNASIUM_NAMESPACE}/")
    if name not in _tasks:
        base = _tasks.get(name.removesuffix(PLAY_SUFFIX))
        if base is not None:
            raise ConfigError(f"task {base.id!r} has no {PLAY_SUFFIX} variant: register it with play_env_cfg=…")
        raise ConfigError(f"unknown task {id!r}: {did_you_mean(name, task_ids())}")
    return _tasks[name]


def load_env_cfg(id: str) -> Any:
    """Return a new config of a task's environment.

    Raises:
        ConfigError: unknown task, or its config cannot be imported.
    """
    return _load(spec(id).env_cfg, f"task {id!r}")


def load_agent_cfg(id: str, library: str = "palestra") -> Any:
    """Return a new config of a task's agent for a library or algorithm.

    Raises:
        ConfigError: unknown task, none for this library, or it cannot be imported.
    """
    known = spec(id).agent_cfgs
    if library not in known:
        raise ConfigError(f"task {id!r} has no agent config for {library!r}: {did_you_mean(library, known)}")
    return _load(known[library], f"task {id!r}, agent {library!r}")


def make(
    task: str,
    *,
    num_envs: int | None = None,
    device: str | None = None,
    seed: int | None = None,
    cfg: Any = None,
    **kwargs: Any,
) -> Any:
    """Build the environment of a task.

    Args:
        task: name of the task.
        num_envs: number of parallel environments; default: the config's.
        device: ``"cpu"`` or ``"cuda:0"``; default: the config's.
        seed: seed of the environment's random stream; default: the config's.
        cfg: config to use instead of the registered one; it is copied.
        **kwargs: further arguments of the environment class, such as ``render_mode``.

    Raises:
        ConfigError: unknown task, a config that cannot be imported, or values that the environment refuses.
    """
    known = spec(task)
    env_cfg = load_env_cfg(task) if cfg is None else copy_value(cfg)
    if num_envs is not None:
        env_cfg.scene.num_envs = num_envs
    if device is not None:
        env_cfg.sim.device = device
    if seed is not None:
        env_cfg.seed = seed
    return _import(known.entry_point, f"task {task!r}")(env_cfg, **kwargs)


def make_vector(task: str, num_envs: int = 1, **kwargs: Any) -> Any:
    """Build a task as a ``gymnasium.vector.VectorEnv``, as ``gymnasium.make_vec("Palestra/<id>")`` does."""
    return _import(VECTOR_VIEW, f"task {task!r}")(make(task, num_envs=num_envs, **kwargs))


def _discover() -> None:
    """Import the shipped list of tasks, and those that installed packages announce, once."""
    if TASK_ENTRY_POINTS in _discovered:
        return
    _discovered.add(TASK_ENTRY_POINTS)
    importlib.import_module(TASK_ENTRY_POINTS)
    for entry in importlib.metadata.entry_points(group=TASK_ENTRY_POINTS):
        try:
            loaded = entry.load()  # a module that registers on import, or a function that registers
            if callable(loaded):
                loaded()
        except Exception as error:  # another package's fault must not take every command with it
            warnings.warn(f"tasks of {entry.name!r} ({entry.value}) are missing: {error}", stacklevel=2)


def _register_with_gymnasium(known: TaskSpec) -> None:
    import gymnasium  # a tenth of a second: only a process that has tasks pays for it

    name = f"{GYMNASIUM_NAMESPACE}/{known.id}"
    if name not in gymnasium.registry:
        gymnasium.register(
            id=name,
            entry_point=f"{__name__}:make",
            vector_entry_point=f"{__name__}:make_vector",
            disable_env_checker=True,
            order_enforce=False,
            kwargs={"task": known.id},
        )


def _load(source: ConfigSource, what: str) -> Any:
    loaded = _import(source, what) if isinstance(source, str) else source
    return loaded() if callable(loaded) else copy_value(loaded)


def _import(name: str, what: str) -> Any:
    try:
        return import_name(name)
    except ConfigError as error:
        raise ConfigError(f"{what}: {error}") from error


def _name(source: ConfigSource) -> str:
    return source if isinstance(source, str) else f"{source.__module__}:{source.__qualname__}"
