"""Processes that tests start import the package under test, wherever they run."""

from pathlib import Path

import pytest

import palestra


@pytest.fixture(autouse=True)
def importable_package(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(palestra.__file__).resolve().parents[1]))
