"""Figures of the gates: which slices, which order of rows, and that what differs is seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from bundle.pictures.attention_figure import draw_gates, draw_training, in_order, middle_of, most_of, window


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


def test_windows_stay_inside() -> None:
    assert window(1, 4, 10) == (0, 4) and window(9, 4, 10) == (6, 4) and window(5, 20, 10) == (0, 10)


def test_rows_by_level_gate_and_view() -> None:
    rows = [(2, 1, "sagittal"), (3, 2, "axial"), (2, 1, "axial"), (3, 1, "axial")]
    assert in_order(rows) == [(3, 1, "axial"), (3, 2, "axial"), (2, 1, "axial"), (2, 1, "sagittal")]


@pytest.mark.parametrize("gates", [1, 2])
def test_a_row_for_each_gate_and_view(gates: int, tmp_path: Path) -> None:
    """Square slices: the figure grows by 1.9 inches of 110 pixels a row."""
    pictures = {view: np.random.default_rng(0).random((16, 16)) for view in ("axial", "sagittal")}
    rows = {(2, gate, view): np.full((16, 16), 0.1 * gate) for gate in range(1, gates + 1) for view in pictures}
    draw_training(pictures, pictures, {3: rows, 6: {key: value * 2 for key, value in rows.items()}}, tmp_path / "epochs.png")
    draw_gates(pictures, pictures, {key: (value, value, value / 2) for key, value in rows.items()}, tmp_path / "gates.png")
    for name, columns in (("epochs", 3), ("gates", 4)):
        height, width = imread(tmp_path / f"{name}.png").shape[:2]
        assert height == pytest.approx(110 * (1.9 * 2 * gates + 0.5), abs=2) and width == pytest.approx(110 * (1.9 * columns + 0.6), abs=2)
