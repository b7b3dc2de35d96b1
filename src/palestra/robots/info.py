"""What the library records about a robot model: where it comes from, under which licence, and its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import mujoco

from palestra.errors import ConfigError
from palestra.sim import MJCF_DIR, MjcfFileCfg

Origin = Literal["path", "palestra", "menagerie_root", "menagerie"]
"""How a model was found: a file, our own library, ``MENAGERIE_ROOT``, the ``mujoco-menagerie`` package."""


@dataclass(frozen=True)
class RobotInfo:
    """A robot model on disk."""

    name: str
    """Name in the library, such as ``"unitree_go2"``; the file's stem for a path."""

    source: str
    """Where the numbers, or the file, come from."""

    license: str
    """SPDX identifier, or ``"see <file>"``, or ``"unknown"``."""

    path: Path
    """The MJCF (or URDF) file."""

    def spec(self) -> mujoco.MjSpec:
        """Return a fresh, editable spec of the model; it fits ``SpecCfg(func=info.spec)``.

        Raises:
            ConfigError: the file does not load.
        """
        try:
            return mujoco.MjSpec.from_file(str(self.path))
        except (ValueError, OSError) as error:
            raise ConfigError(f"robot {self.name!r}: {self.path} does not load: {_one_line(error)}") from None

    def spawn(self) -> MjcfFileCfg:
        """Return the spawner of this file, for ``ArticulationCfg(spawn=info.spawn(), ...)``."""
        own = self.path.parent == MJCF_DIR
        return MjcfFileCfg(asset_path=f"palestra:{self.path.name}" if own else str(self.path))


@dataclass(frozen=True)
class ResolvedModel(RobotInfo):
    """A robot model together with how it was found."""

    origin: Origin

    def record(self) -> dict[str, str]:
        """Return name, source, licence, path and origin as strings, for a run's records."""
        return {
            "name": self.name,
            "source": self.source,
            "license": self.license,
            "path": str(self.path),
            "origin": self.origin,
        }


def license_beside(path: Path) -> str:
    """Return ``"see <file>"`` for a licence file in the folder of ``path``, else ``"unknown"``."""
    found = sorted(f for f in path.parent.glob("LICEN[CS]E*") if f.is_file())
    return f"see {found[0]}" if found else "unknown"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
