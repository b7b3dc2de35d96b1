"""MuJoCo Menagerie's models: from a checkout that ``MENAGERIE_ROOT`` names, else by the official package."""

from __future__ import annotations

import os
from pathlib import Path

import mujoco_menagerie as package

from palestra.errors import ConfigError, did_you_mean
from palestra.robots.info import ResolvedModel, license_beside

_REPOSITORY = "google-deepmind/mujoco_menagerie"


def menagerie(name: str, entry: str | None = None) -> ResolvedModel:
    """Find a model of MuJoCo Menagerie.

    A folder ``<MENAGERIE_ROOT>/<name>`` comes first; otherwise the ``mujoco-menagerie`` package takes the
    model from its cache, downloading it on first use. The models keep their actuators, sensors, keyframes.

    Args:
        name: folder of the model in Menagerie, such as ``"unitree_g1"``.
        entry: model within the folder, such as ``"g1_with_hands"`` (the file ``g1_with_hands.xml``); by
            default the robot alone, without Menagerie's scene.

    Raises:
        ConfigError: unknown name or entry, a ``MENAGERIE_ROOT`` that is no folder, or a failed download.
    """
    root = menagerie_root()
    if root is not None and (root / name).is_dir():
        return _from_root(root, name, entry)
    return _from_package(name, entry)


def menagerie_names() -> list[str]:
    """Return the names that ``menagerie`` knows: the package's, and the folders of ``MENAGERIE_ROOT``."""
    root = menagerie_root()
    local = {d.name for d in root.iterdir() if any(d.glob("*.xml"))} if root else set()
    return sorted(local.union(package.names()))


def menagerie_root() -> Path | None:
    """Return the folder that ``MENAGERIE_ROOT`` names, ``None`` if it is unset."""
    value = os.environ.get("MENAGERIE_ROOT")
    if not value:
        return None
    root = Path(value).expanduser()
    if not root.is_dir():
        raise ConfigError(f"MENAGERIE_ROOT={value!r} is no folder: set it to a checkout of {_REPOSITORY}, or unset it")
    return root


def _from_root(root: Path, name: str, entry: str | None) -> ResolvedModel:
    folder = root / name
    registered = package.get(name) if name in package.names() else None
    return ResolvedModel(
        name=name,
        source=f"{_REPOSITORY}, checkout {root}",
        license=registered.license if registered else license_beside(folder / "model.xml"),
        path=_entry_file(folder, entry, registered),
        origin="menagerie_root",
    )


def _entry_file(folder: Path, entry: str | None, registered: package.Robot | None) -> Path:
    """Return the XML file of ``entry``; by default the registry's, else the only one that is no scene."""
    files = {f.stem: f for f in sorted(folder.glob("*.xml"))}
    if entry is not None:
        if entry not in files:
            raise ConfigError(f"robot {folder.name!r} has no model {entry!r}: {did_you_mean(entry, files)}")
        return files[entry]
    if registered is not None:
        default = Path(registered.entry(registered.default_model).file).stem
        if default in files:
            return files[default]
    if folder.name in files:
        return files[folder.name]
    models = [f for stem, f in files.items() if "scene" not in stem]
    if len(models) != 1:
        raise ConfigError(
            f"robot {folder.name!r}: {folder} holds {len(models)} models, name one as entry: "
            f"{', '.join(repr(f.stem) for f in models) or 'there is no *.xml file'}"
        )
    return models[0]


def _from_package(name: str, entry: str | None) -> ResolvedModel:
    if name not in package.names():
        raise ConfigError(f"MuJoCo Menagerie has no robot {name!r}: {did_you_mean(name, package.names())}")
    robot = package.get(name)
    if entry is not None and entry not in robot.entry_names:
        raise ConfigError(f"robot {name!r} has no model {entry!r}: {did_you_mean(entry, robot.entry_names)}")
    cache = package.Cache()
    cache.root = None  # MENAGERIE_ROOT was asked before and does not have this model
    try:
        path = robot.xml(entry or robot.default_model, cache)
    except (package.MenagerieError, OSError) as error:
        raise ConfigError(
            f"robot {name!r} is not in the cache and cannot be downloaded ({' '.join(str(error).split())}): "
            f"set MENAGERIE_ROOT to a checkout of {_REPOSITORY}, or run "
            f"'python -m mujoco_menagerie prefetch {name}' where there is a network"
        ) from None
    return ResolvedModel(
        name=name,
        source=f"{_REPOSITORY}@{package.commit()[:12]}",
        license=robot.license,
        path=path,
        origin="menagerie",
    )
