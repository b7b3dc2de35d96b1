"""Curves: what is read, what is drawn, and what is left out."""

import math
import struct

import pytest

from palestra.errors import ConfigError
from palestra.view.plots import PANELS, plot_curves, read_metrics

METRICS = """iteration,Episode/return,Episode/length,Metrics/success_rate,Loss/value,Loss/surrogate,Policy/kl,Episode_Reward/distance,Episode_Reward/effort
0,,,,1.5,0.1,0.01,,
1,-3.5,120,0.25,1.25,-0.1,0.02,-2.0,-0.5
2,-2.5,100,0.5,1.0,-0.2,0.015,-1.5,-0.25
"""


@pytest.fixture
def metrics(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(METRICS)
    return path


def panel(title):
    return next(p for p in PANELS if p.title == title)


def test_an_empty_cell_is_not_a_number(metrics):
    curves = read_metrics(metrics)
    assert math.isnan(curves["Episode/return"][0])
    assert curves["Episode/return"][1:] == [-3.5, -2.5]
    assert curves["iteration"] == [0.0, 1.0, 2.0]


def test_panels_take_their_metrics_and_leave_out_what_was_never_measured(metrics):
    curves = read_metrics(metrics)
    assert list(panel("Reward terms").select(curves)) == ["distance", "effort"]
    assert panel("Learning rate").select(curves) == {}
    curves["Metrics/success_rate"] = [math.nan] * 3
    assert panel("Success").select(curves) == {}


def test_the_picture_is_a_png_with_room_for_its_panels(metrics, tmp_path):
    path = plot_curves(metrics, tmp_path / "curves.png", title="a run")
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert width > 1500 and height > 700  # seven panels: three columns, three rows
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curves.png", "metrics.csv"]


def test_a_torn_last_line_does_not_hide_the_curves(metrics, tmp_path):
    metrics.write_text(METRICS + "3,-1.")
    curves = read_metrics(metrics)
    assert curves["Episode/return"][3] == -1.0 and math.isnan(curves["Loss/value"][3])
    assert plot_curves(metrics, tmp_path / "curves.png").is_file()


@pytest.mark.parametrize(("text", "message"), [("", "holds no iteration"), ("iteration,x\n0,1\n", "holds none of the")])
def test_nothing_to_draw_is_said(tmp_path, text, message):
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        plot_curves(path, tmp_path / "curves.png")
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.csv"]
