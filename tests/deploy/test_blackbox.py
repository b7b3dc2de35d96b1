"""The black box: the last rows in order, whatever came, in files that appear whole."""

import json

import numpy as np
import pytest

from palestra.deploy import blackbox
from palestra.deploy.blackbox import BlackBox
from palestra.errors import ConfigError


def test_the_last_rows_in_order_of_time(tmp_path):
    box = BlackBox({"joint_pos": 2, "stamp": 1}, capacity=3, about={"joint_names": ["a", "b"]})
    size = box.nbytes
    for k in range(5):
        box.record(0.1 * k, {"joint_pos": [k, -k], "stamp": 1e6 + 0.001 * k})
    box.event(0.4, "trip", cause="tilt", value=1.25)
    rows, events = box.dump(tmp_path / "folder" / "box.npz")
    with np.load(rows) as found:
        np.testing.assert_allclose(found["time"], [0.2, 0.3, 0.4])
        np.testing.assert_array_equal(found["joint_pos"], [[2, -2], [3, -3], [4, -4]])
        np.testing.assert_allclose(found["stamp"][:, 0], [1e6 + 0.002, 1e6 + 0.003, 1e6 + 0.004], rtol=0, atol=1e-9)
    content = json.loads(events.read_text())
    assert content["joint_names"] == ["a", "b"] and (content["rows"], content["steps"]) == (3, 5)
    assert content["events"] == [{"time": 0.4, "step": 5, "event": "trip", "cause": "tilt", "value": 1.25}]
    assert box.nbytes == size


def test_what_does_not_fit_is_recorded_as_nan():
    box = BlackBox({"a": 2, "b": 2, "c": 2, "d": 2}, capacity=4)
    box.record(0.0, {"a": [1, 2, 3], "b": "text", "c": None, "d": [1e300, 0.0], "unknown": 1})
    found = box.arrays()
    assert np.isnan(found["a"]).all() and np.isnan(found["b"]).all() and np.isnan(found["c"]).all()
    assert found["d"].tolist() == [[np.inf, 0.0]]


def test_a_dump_that_fails_leaves_the_former_one(tmp_path, monkeypatch):
    box = BlackBox({"a": 1}, capacity=2)
    box.record(0.0, {"a": 1})
    rows, events = box.dump(tmp_path / "box")
    assert rows.name == "box.npz"
    before = rows.read_bytes(), events.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(blackbox.os, "fsync", full)
    with pytest.raises(ConfigError, match=r"cannot write the black box to .*box\.npz: No space left on device"):
        box.dump(tmp_path / "box")
    assert (rows.read_bytes(), events.read_bytes()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["box.json", "box.npz"]


def test_an_empty_box_can_be_dumped(tmp_path):
    rows, _ = BlackBox({"a": 1}, capacity=2).dump(tmp_path / "box.npz")
    with np.load(rows) as found:
        assert found["a"].shape == (0, 1)
    with pytest.raises(ConfigError, match="must have 1 or more"):
        BlackBox({}, capacity=0)
