"""From a robot's name or a file to its model."""

from __future__ import annotations

import difflib
import importlib
import os
from pathlib import Path

from palestra.errors import ConfigError, did_you_mean
from palestra.robots.info import MJCF_DIR, ResolvedModel, RobotInfo, license_beside
from palestra.robots.menagerie import menagerie, menagerie_names

_FILE_SUFFIXES = (".xml", ".mjcf", ".urdf")


def names() -> list[str]:
    """Return the robots that ship with Palestra."""
    return sorted(path.stem for path in MJCF_DIR.glob("*.xml"))


def get(name: str) -> RobotInfo:
    """Return the record of a robot that ships with Palestra.

    Raises:
        ConfigError: there is no such robot.
    """
    if name not in names():
        raise ConfigError(f"unknown robot {name!r}: {did_you_mean(name, names())}")
    return importlib.import_module(f"palestra.robots.{name}").ROBOT


def resolve(name_or_path: str | Path) -> ResolvedModel:
    """Find a robot model, in this order: a file, our own library, ``MENAGERIE_ROOT``, the Menagerie package.

    Args:
        name_or_path: a file (anything with a folder separator or the suffix .xml, .mjcf or .urdf) or a name.

    Raises:
        ConfigError: nothing has this name, the file does not exist, or a download failed.
    """
    text = os.fspath(name_or_path)
    is_file = Path(text).suffix.lower() in _FILE_SUFFIXES or Path(text).name != text
    if isinstance(name_or_path, Path) or is_file:
        return _from_path(Path(text).expanduser())
    if text in names():
        own = get(text)
        return ResolvedModel(own.name, own.source, own.license, own.path, origin="palestra")
    further = menagerie_names()
    if text in further:
        return menagerie(text)
    near = difflib.get_close_matches(text.lower(), further, n=3, cutoff=0.5)
    raise ConfigError(
        f"unknown robot {text!r}: {did_you_mean(text, dict.fromkeys([*names(), *near]))}, "
        "the path of an MJCF file, and every folder name of MuJoCo Menagerie"
    )


def _from_path(path: Path) -> ResolvedModel:
    if not path.is_file():
        what = "is a folder, name the file in it" if path.is_dir() else "does not exist"
        raise ConfigError(f"robot file {str(path)!r} {what}")
    path = path.resolve()
    return ResolvedModel(path.stem, f"file {path}", license_beside(path), path, origin="path")
