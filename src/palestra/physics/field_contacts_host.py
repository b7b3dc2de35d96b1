"""Contacts with height fields on the CPU, in place of MuJoCo's, by the same text as on a GPU.

MuJoCo collides a geom with the prisms under the ground's cells one by one. On level ground a foot that sinks in a
little also touches the sides of the neighbouring prisms, with slanted normals, and trips: a Go2 that fell in 9 % of its
episodes on the stairs and rubble that it was trained on, on a GPU, fell in 49 % of them (``docs/terrain.md``). MuJoCo
takes collision functions from outside (``mjCOLLISIONFUNC``); ours is compiled when the first height field is built.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path

import mujoco

from palestra.physics.field_contacts import KINDS, body

_LOG = logging.getLogger(__name__)
_COMPILERS = ("c++", "g++", "clang++")
_FLAGS = ("-std=c++17", "-O2", "-shared", "-fPIC")


def choose(own: bool) -> None:
    """Let all simulations of the process find contacts with height fields by our functions, or by MuJoCo's.

    Without a compiler they stay MuJoCo's; a warning says so once.
    """
    table = _Table.of_process()
    if own != table.own and (not own or table.ours() is not None):
        table.set(own)


def cache_folder() -> Path:
    """Return where the compiled function is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "palestra"


class _Table:
    """MuJoCo's table of collision functions, by types of geoms."""

    def __init__(self) -> None:
        self._package = Path(mujoco.__file__).parent
        library = next(iter(sorted(self._package.glob("libmujoco*"))))
        types = int(mujoco.mjtGeom.mjNGEOMTYPES)
        self._entries = (ctypes.c_void_p * (types * types)).in_dll(ctypes.CDLL(str(library)), "mjCOLLISIONFUNC")
        self._places = [int(mujoco.mjtGeom.mjGEOM_HFIELD) * types + int(kind) for kind in KINDS]
        self._theirs = [self._entries[place] for place in self._places]
        self.own = False

    @staticmethod
    @cache
    def of_process() -> _Table:
        """Return the only one."""
        return _Table()

    def ours(self) -> int | None:
        """Return the address of our function, None if it cannot be compiled."""
        return _compiled(self._package)

    def set(self, own: bool) -> None:
        """Write the entries."""
        self.own = own
        for place, original in zip(self._places, self._theirs, strict=True):
            self._entries[place] = self.ours() if own else original


@cache
def _compiled(package: Path) -> int | None:
    """Return the address of the function, compiled now or earlier; None if that is impossible."""
    text = files("palestra.physics").joinpath("field_contacts.cpp").read_text(encoding="utf-8")
    text = text.replace("\nBODY\n", f"\n{body()}\n")
    key = hashlib.sha256(f"{mujoco.__version__} {_FLAGS} {os.uname().machine}\n{text}".encode()).hexdigest()[:16]
    library = cache_folder() / f"field_contacts_{key}.so"
    try:
        if not library.is_file():
            _compile(text, library, package)
        function = ctypes.CDLL(str(library)).palestra_field_contacts
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        _LOG.warning(
            "contacts with height fields are MuJoCo's own on this machine, over which feet trip: a C++ compiler is "
            "needed once (%s)",
            reason.strip().splitlines()[0] if reason.strip() else type(error).__name__,
        )
        return None
    return ctypes.cast(function, ctypes.c_void_p).value


def _compile(text: str, library: Path, package: Path) -> None:
    compiler = next((path for path in map(shutil.which, _COMPILERS) if path is not None), None)
    if compiler is None:
        raise FileNotFoundError(f"none of {', '.join(_COMPILERS)} is installed")
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:  # several processes may compile at once
        source, made = Path(folder) / "field_contacts.cpp", Path(folder) / library.name
        source.write_text(text, encoding="utf-8")
        command = [compiler, *_FLAGS, f"-I{package / 'include'}", str(source), "-o", str(made)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        os.replace(made, library)
