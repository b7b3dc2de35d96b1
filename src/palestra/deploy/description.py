"""``policy.json``: what a program on the robot must know of a policy, besides its weights."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from palestra.deploy.control_step import ControlStep
from palestra.deploy.formats import OPSET
from palestra.deploy.graph import PolicyGraph
from palestra.envs.base import RLEnv
from palestra.envs.descriptor import Description, describe
from palestra.errors import ConfigError
from palestra.integrations import OTHERS, OURS
from palestra.rl.checkpoint import versions

FORMAT = 1
"""Version of the layout."""

_OF_THE_ROBOT = ("control", "actions", "articulations", "commands")
"""Parts of the environment's description that a policy's description holds as they are."""

_PACKAGES = {"rsl_rl": "rsl-rl-lib", "skrl": "skrl", "rl_games": "rl-games", "sb3": "stable-baselines3"}
"""Names under which the learners are installed."""


def describe_policy(
    env: RLEnv, graph: PolicyGraph, task: str, content: dict[str, Any], step: ControlStep | None = None
) -> Description:
    """Describe a policy and the environment that it acts in.

    The top level has ``trained`` (iterations, steps and versions), ``versions`` (of this export), ``policy`` (inputs,
    outputs, memory, bounds, normaliser), ``control_step`` (the same of ``policy.onnx``), ``observations`` (what ``obs``
    holds, group after group, with slices of the whole vector), and as in ``palestra info --json`` ``control``,
    ``actions``, ``articulations`` and ``commands``.

    Args:
        env: the environment of the run.
        graph: the policy.
        task: name of the task.
        content: what the checkpoint holds.
        step: the control step; None if the task declares none.

    Raises:
        ConfigError: the observations of the environment do not fit the policy.
    """
    described = describe(env, task)
    observations = _observations(described["observations"], graph.groups)
    if observations["width"] != graph.obs_dim:
        raise ConfigError(
            f"the policy takes {graph.obs_dim} numbers, the groups {graph.groups} of {task!r} have "
            f"{observations['width']}"
        )
    return {
        "trained": {
            "iterations": content.get("iter"),
            "env_steps": content.get("env_steps"),
            "versions": content["versions"],
        },
        "versions": _versions(content["library"]),
        "policy": graph.describe(),
        "control_step": None if step is None else step.describe(),
        "observations": observations,
        **{name: described[name] for name in _OF_THE_ROBOT},
    }


def sha256(path: Path) -> str:
    """Return a file's checksum."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _observations(groups: Description, wanted: list[str]) -> Description:
    """Return the terms of several groups with their places in the concatenated vector."""
    listed, start = [], 0
    for name in wanted:
        group = groups[name]
        terms = [_moved(term, start) for term in group["terms"]]
        listed.append({"name": name, "slice": [start, start + group["width"]], "terms": terms})
        start += group["width"]
    return {"width": start, "groups": listed}


def _moved(term: Description, by: int) -> Description:
    low, high = term["slice"]
    entries = [{**entry, "index": entry["index"] + by} for entry in term["entries"]]
    return {**term, "slice": [low + by, high + by], "entries": entries}


def _versions(library: str) -> dict[str, Any]:
    found: dict[str, Any] = versions()
    packages = ["onnx", "onnxruntime", *([] if library == OURS else [_PACKAGES.get(library, OTHERS[library].requires)])]
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {**found, "onnx_opset": OPSET}
