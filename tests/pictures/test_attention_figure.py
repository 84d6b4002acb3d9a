"""Figures of gates: where they cut, and what is drawn at which place."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import image as pictures_of
from matplotlib.axes import Axes
from picture_files import pixels

from bundle.pictures.attention_figure import draw_gate, draw_training, middle_of, window


def test_the_middle_of_the_structures_by_hand():
    label = np.zeros((10, 12, 14), np.uint8)
    assert middle_of(label) == [5, 6, 7]
    label[2, 3, 4] = 1
    label[5, 9, 4] = 2
    assert middle_of(label) == [3, 6, 4]


@pytest.mark.parametrize(
    ("middle", "wanted", "length", "expected"), [(10, 6, 20, (7, 6)), (1, 6, 20, (0, 6)), (19, 6, 20, (14, 6)), (3, 9, 5, (0, 5))]
)
def test_a_window_stays_inside(middle, wanted, length, expected):
    assert window(middle, wanted, length) == expected


@pytest.fixture
def drawn(monkeypatch) -> list[tuple[np.ndarray, dict]]:
    """What is drawn as pictures, in order."""
    calls, original = [], Axes.imshow

    def imshow(self, values, **options) -> pictures_of.AxesImage:
        calls.append((np.asarray(values), options))
        return original(self, values, **options)

    monkeypatch.setattr(Axes, "imshow", imshow)
    return calls


def test_a_row_per_gate_a_column_per_epoch_and_one_scale_for_a_row(tmp_path, drawn):
    scan, label = np.linspace(0, 1, 48).reshape(6, 8), np.zeros((6, 8), np.uint8)
    label[2:4, 3:6] = 1
    maps = {epoch: {(level, "axial"): np.full((6, 8), level / 10 + epoch / 100) for level in (1, 2)} for epoch in (5, 1)}
    draw_training({"axial": scan}, {"axial": label}, maps, tmp_path / "t.png")
    coefficients = [(float(values[0, 0]), options["vmin"], options["vmax"]) for values, options in drawn if "vmin" in options]
    # the deepest gate first, the earliest epoch first; the scale spans the epochs of that row
    expected = [(0.21, 0.21, 0.25), (0.25, 0.21, 0.25), (0.11, 0.11, 0.15), (0.15, 0.11, 0.15)]
    assert np.allclose(coefficients, expected)
    assert pixels(tmp_path / "t.png").std() > 10 and [path.name for path in tmp_path.iterdir()] == ["t.png"]


def test_features_before_and_after_a_gate(tmp_path, drawn):
    parts = [np.full((3, 4), value) for value in (1.0, 2.0, 3.0)]
    draw_gate(np.zeros((6, 8)), np.zeros((6, 8), np.uint8), {2: parts, 1: [part * 10 for part in parts]}, tmp_path / "g.png")
    assert [float(values[0, 0]) for values, _ in drawn] == [0, 10, 20, 30, 0, 1, 2, 3]
    assert [options["cmap"] for _, options in drawn[1:4]] == ["viridis", "inferno", "viridis"]
