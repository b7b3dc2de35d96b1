"""Train robot policies in thousands of parallel MuJoCo simulations and carry them to real robots.

Names are imported when they are first used, so that the command line starts at once.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palestra.config.registry import make, register, task_ids

    __version__: str

# PyTorch's worker threads otherwise spin after each operation and take the cores from the physics threads; sleeping
# instead trains a tenth to a quarter faster on two cores. It only counts before PyTorch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__all__ = ["__version__", "make", "register", "task_ids"]

_HOME = {
    "make": "palestra.config.registry",
    "register": "palestra.config.registry",
    "task_ids": "palestra.config.registry",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value = _installed_version()
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def _installed_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("palestra")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0+source"
