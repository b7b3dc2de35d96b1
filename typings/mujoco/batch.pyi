# The package is compiled and has no stubs: its names are untyped here, so that the rest can be checked strictly.
from typing import Any

def __getattr__(name: str) -> Any: ...
