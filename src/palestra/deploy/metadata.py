"""ONNX metadata: our description as JSON, and the keys that tools for mjlab's files read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from palestra.deploy.formats import METADATA_KEY

_FREE = ("-inf", "inf")


def onnx_metadata(described: dict[str, Any]) -> dict[str, str]:
    """Return the metadata of an ONNX file.

    mjlab's keys are comma-separated lists, here with all digits. They describe one robot and the groups of the policy;
    ``action_scale`` is that of each action, in the order of the actions.

    Args:
        described: what ``policy.json`` holds, less ``files`` and ``check``.
    """
    return {METADATA_KEY: json.dumps(described, ensure_ascii=False), **_of_mjlab(described)}


def _of_mjlab(described: dict[str, Any]) -> dict[str, str]:
    robot = described["articulations"].get("robot") or next(iter(described["articulations"].values()), None)
    terms = [term for group in described["observations"]["groups"] for term in group["terms"]]
    out = {
        "run_path": described["run"] or "",
        "command_names": _csv(described["commands"]),
        "observation_names": _csv(term["name"] for term in terms),
        "observation_terms_scale": _csv(_one(term.get("scale")) for term in terms),
        "observation_terms_clip": _csv(";".join(map(str, term.get("clip") or _FREE)) for term in terms),
        "observation_terms_history_length": _csv(_history(term) for term in terms),
        "observation_terms_flatten_history_dim": _csv(int(term.get("flattened", True)) for term in terms),
        "action_scale": _csv(scale for term in described["actions"]["terms"] for scale in _scales(term)),
    }
    if robot is not None:
        for key, name in (
            ("joint_names", "joint_names"),
            ("joint_stiffness", "stiffness"),
            ("joint_damping", "damping"),
            ("default_joint_pos", "default_joint_pos"),
        ):
            out[key] = _csv(robot[name])
    return out


def _csv(values: Iterable[Any]) -> str:
    return ",".join(str(value) for value in values)


def _one(scale: Any) -> Any:
    """Return a term's scale; several that differ stand in the entries' order, separated by semicolons."""
    if scale is None:
        return 1.0
    return ";".join(map(str, scale)) if isinstance(scale, list) else scale


def _history(term: dict[str, Any]) -> int:
    """Return mjlab's history length: 0 is none."""
    frames = term.get("history", 1)
    return 0 if frames == 1 else frames


def _scales(term: dict[str, Any]) -> list[Any]:
    scale = term.get("scale")
    return scale if isinstance(scale, list) else [1.0 if scale is None else scale] * term["width"]
