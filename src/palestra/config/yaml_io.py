"""Read and write configuration as YAML.

PyYAML with YAML 1.2 scalars rather than OmegaConf, which refuses functions, classes, tuples and slices.
"""

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from palestra.config.plain import plain_value
from palestra.errors import ConfigError

_RESOLVED_KEY = "resolved"
_UNICODE_BREAKS = set("\x85\u2028\u2029")


class Overlay(dict[str, Any]):
    """Nested values from a YAML file, with where they come from."""

    def __init__(self, values: Mapping[str, Any], source: str) -> None:
        super().__init__(values)
        self.source = source
        self.resolved = values.get(_RESOLVED_KEY) is True
        """Whether this is a dumped whole: its dictionaries replace, its other entries are records."""


def parse_value(text: str) -> Any:
    """Return the value that ``text`` means in YAML 1.2: ``3e-4``, ``[-1, 1]``, ``{a: 1}``, ``null``.

    Raises:
        ConfigError: no valid YAML.
    """
    if not text.strip():
        return text
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{text!r} is no valid YAML value ({_problem(error)}): put quotes around a string") from error


def load_overlay(path: str | os.PathLike[str]) -> Overlay:
    """Read a YAML file of nested overrides, such as ``{env: {scene: {num_envs: 64}}}``.

    Raises:
        ConfigError: the file is missing, unreadable, broken (the message has the line) or no mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{path}: cannot read this config file: {reason}") from error
    try:
        values = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{path}{line}: broken YAML: {_problem(error)}") from error
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping with 'env' and 'agent', got {type(values).__name__}")
    return Overlay(values, str(path))


def load_yaml_config(path: str | os.PathLike[str]) -> Overlay:
    """Read a file that ``dump_yaml`` wrote; applied to the configs of the same task it reproduces them.

    Raises:
        ConfigError: the file cannot be read, or is no dumped configuration.
    """
    overlay = load_overlay(path)
    if not overlay.resolved:
        raise ConfigError(f"{path}: no dumped configuration: it lacks '{_RESOLVED_KEY}: true'")
    return overlay


def dump_yaml(path: str | os.PathLike[str], sections: Mapping[str, object]) -> None:
    """Write configs and records, e.g. ``{"task": "Cartpole", "env": env_cfg, "agent": agent_cfg}``.

    The file appears whole or not at all: it is written beside its place and then renamed.
    """
    plain = {_RESOLVED_KEY: True, **plain_value(dict(sections))}
    text = yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def _problem(error: Exception) -> str:
    """Return what PyYAML complains about, in one line."""
    text = getattr(error, "problem", None) or getattr(error, "context", None) or str(error)
    return " ".join(text.split())


def _constructor_error(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


class _Loader(yaml.SafeLoader):
    """Safe loader with the scalars of YAML 1.2 (``1e-3`` is a number, ``on`` a string), no repeated keys."""

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict:
        if isinstance(node, yaml.MappingNode):
            seen: set[Any] = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                if isinstance(key, list | dict):
                    raise _constructor_error("a key must be a scalar", key_node)
                if key in seen:
                    raise _constructor_error(f"key {key!r} stands here twice", key_node)
                seen.add(key)
        return super().construct_mapping(cast(yaml.MappingNode, node), deep=deep)

    def construct_int(self, node: yaml.ScalarNode) -> int:
        text = str(self.construct_scalar(node))
        return int(text, 0) if text[:2].lower() in ("0x", "0o", "0b") else int(text)

    def construct_float(self, node: yaml.ScalarNode) -> float:
        return float(str(self.construct_scalar(node)).replace(".inf", "inf").replace(".nan", "nan"))


class _Dumper(yaml.SafeDumper):
    """Dumper for people: lists of scalars on one line, no aliases, quotes where the loader needs them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, data: str) -> yaml.Node:
        style = '"' if set(data) & _UNICODE_BREAKS else None  # unescaped, the loader would fold them
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def represent_plain_list(self, data: list) -> yaml.Node:
        flow = all(not isinstance(item, list | dict) for item in data)
        return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flow)

    def represent_plain_dict(self, data: dict) -> yaml.Node:
        return self.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=not data)


_SCALAR_FORMS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"null|Null|NULL|None|~|", ("n", "N", "~", "")),
    ("int", r"[-+]?[0-9]+(_[0-9]+)*|0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(_[0-9]+)*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
        "-+.0123456789",
    ),
)
for _class in (_Loader, _Dumper):
    _class.yaml_implicit_resolvers = {}  # those of YAML 1.1 go
for _name, _form, _first in _SCALAR_FORMS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"(?:{_form})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_float)
_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_representer(list, _Dumper.represent_plain_list)
_Dumper.add_representer(dict, _Dumper.represent_plain_dict)
