"""Figures of the gates: which slices, which order of rows, and that what differs is seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.image import AxesImage, imread

from bundle.drawing.figures import new_figure
from bundle.pictures.attention_figure import COLOURS, _plain_ticks, _scan, draw_gates, draw_training, in_order, middle_of, most_of, window


def test_the_slices_that_show_most_of_the_structures() -> None:
    """One structure of 1 and 3 voxels along the first axis, one of 2 and 2: slice 2 has 1 + 1 of their largest sections.

    Along the second slice 0 has all of the second structure and most of the first; along the third 0, 2 and 3 show as much.
    """
    label = np.zeros((5, 4, 4), np.uint8)
    label[1, 0, 0] = 1
    label[2, :3, 0] = 1
    label[2:4, 0, 2:4] = 2
    assert most_of(label) == [2, 0, 2]
    assert middle_of(label) == [2, 1, 1], "the middle of the box of both"
    assert most_of(np.zeros((5, 4, 3))) == [2, 2, 1]
    box = np.zeros((10, 10, 10))
    box[4:9, 6:9, 2:3] = 3
    assert most_of(box) == [6, 7, 2], "of slices that show as much the middle one"


def test_some_of_each_counts_more_than_all_of_one() -> None:
    """Slice 0 has all of the first structure, slice 1 a quarter of it and half of the second: 1 < 0.5 + 0.71."""
    label = np.zeros((3, 4, 2), np.uint8)
    label[0, :, 0], label[1, 0, 0] = 1, 1
    label[1, 0, 1], label[2, :2, 1] = 2, 2
    assert most_of(label)[0] == 1


def test_a_structure_has_its_colour_in_views_without_the_others() -> None:
    panel = new_figure(2, 2).subplots()
    slice_of_spleen = np.zeros((8, 8))
    slice_of_spleen[2:6, 2:6] = 2
    _scan(panel, np.zeros((8, 8)), slice_of_spleen)
    (outline,) = panel.collections
    assert tuple(outline.get_edgecolor()[0]) == to_rgba(COLOURS[1])


def test_windows_stay_inside() -> None:
    assert window(1, 4, 10) == (0, 4) and window(9, 4, 10) == (6, 4) and window(5, 20, 10) == (0, 10)


def test_rows_by_level_gate_and_view() -> None:
    rows = [(2, 1, "sagittal"), (3, 2, "axial"), (2, 1, "axial"), (3, 1, "axial")]
    assert in_order(rows) == [(3, 1, "axial"), (3, 2, "axial"), (2, 1, "axial"), (2, 1, "sagittal")]


@pytest.mark.parametrize("gates", [1, 2])
def test_a_row_for_each_gate_and_view(gates: int, tmp_path: Path) -> None:
    """Square slices: the figure grows by 1.9 inches of 110 pixels a row."""
    pictures = {view: np.random.default_rng(0).random((16, 16)) for view in ("axial", "sagittal")}
    contours = {view: np.eye(16, dtype=np.uint8) for view in pictures}
    rows = {(2, gate, view): np.full((16, 16), 0.1 * gate) for gate in range(1, gates + 1) for view in pictures}
    draw_training(pictures, contours, {3: rows, 6: {key: value * 2 for key, value in rows.items()}}, tmp_path / "epochs.png")
    draw_gates(pictures, contours, {key: (value, value, value / 2) for key, value in rows.items()}, tmp_path / "gates.png")
    for name, columns in (("epochs", 3), ("gates", 4)):
        height, width = imread(tmp_path / f"{name}.png").shape[:2]
        assert height == pytest.approx(110 * (1.9 * 2 * gates + 0.5), abs=2) and width == pytest.approx(110 * (1.9 * columns + 0.6), abs=2)


@pytest.fixture
def drawn(monkeypatch) -> list[tuple[np.ndarray, dict]]:
    """What is drawn as pictures, in order."""
    calls, original = [], Axes.imshow

    def imshow(self, values, **options) -> AxesImage:
        calls.append((np.asarray(values), options))
        return original(self, values, **options)

    monkeypatch.setattr(Axes, "imshow", imshow)
    return calls


def test_a_row_per_gate_a_column_per_epoch_and_one_scale_for_a_row(tmp_path, drawn):
    scan, label = np.linspace(0, 1, 48).reshape(6, 8), np.zeros((6, 8), np.uint8)
    label[2:4, 3:6] = 1
    maps = {epoch: {(level, 1, "axial"): np.full((6, 8), level / 10 + epoch / 100) for level in (1, 2)} for epoch in (5, 1)}
    draw_training({"axial": scan}, {"axial": label}, maps, tmp_path / "t.png")
    coefficients = [(float(values[0, 0]), options["vmin"], options["vmax"]) for values, options in drawn if "vmin" in options]
    # the deepest gate first, the earliest epoch first; the scale spans the epochs of that row
    expected = [(0.21, 0.21, 0.25), (0.25, 0.21, 0.25), (0.11, 0.11, 0.15), (0.15, 0.11, 0.15)]
    assert np.allclose(coefficients, expected)


def test_features_before_and_after_a_gate_share_their_colours(tmp_path, drawn):
    parts = [np.full((3, 4), value) for value in (3.0, 2.0, 1.0)]
    pictures, contours = {"axial": np.zeros((6, 8))}, {"axial": np.zeros((6, 8), np.uint8)}
    gates = {(2, 1, "axial"): parts, (3, 1, "axial"): [part * 10 for part in parts]}
    draw_gates(pictures, contours, gates, tmp_path / "g.png")
    assert [float(values[0, 0]) for values, _ in drawn] == [0, 30, 20, 10, 0, 3, 2, 1], "the coarse level first"
    assert [(options["cmap"], options.get("vmin"), options.get("vmax")) for _, options in drawn[5:]] == [
        ("viridis", 1, 3),
        ("inferno", None, None),
        ("viridis", 1, 3),
    ]


def test_numbers_beside_colours_are_whole() -> None:
    """Coefficients that differ in the sixth digit: without an offset that the reader would have to add."""
    figure = new_figure(3, 2)
    panel = figure.subplots()
    bar = figure.colorbar(panel.imshow([[0.993201, 0.993209]]), ax=panel)
    _plain_ticks(bar, 7)
    figure.canvas.draw()
    assert not bar.ax.yaxis.get_offset_text().get_text()
    assert all(0.9932 <= float(tick.get_text()) <= 0.99321 for tick in bar.ax.get_yticklabels())
