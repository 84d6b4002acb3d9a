"""Figures of Matplotlib without windows, written whole or not at all."""

from __future__ import annotations

import pytest
from picture_files import pixels

from bundle.drawing.figures import new_figure, save_figure


def test_a_figure_belongs_to_nobody_and_has_the_size_it_was_given(tmp_path):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    figure = new_figure(3.0, 2.0)
    figure.subplots().plot([0, 1], [0, 1], color="red")
    save_figure(figure, tmp_path / "f.png")
    found = pixels(tmp_path / "f.png")
    assert pyplot.get_fignums() == before and found.shape == (220, 330, 3)  # 110 pixels an inch
    assert ((found[..., 0] > 200) & (found[..., 1] < 50)).any()


def test_what_cannot_be_drawn_leaves_no_file(tmp_path):
    figure = new_figure(1.0, 1.0)
    figure.text(0, 0, "$x_{$")
    with pytest.raises(ValueError):
        save_figure(figure, tmp_path / "f.png")
    assert list(tmp_path.iterdir()) == []
