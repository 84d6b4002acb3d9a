"""The effect per case: bars of each case in the colour of what they mean, one panel a structure."""

from __future__ import annotations

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from bundle.evaluation import compare_figure
from bundle.evaluation.compare import Effect
from bundle.evaluation.compare_figure import BETTER, GREY, WORSE, draw_effects
from bundle.evaluation.paired import paired


def effect(structure: str, metric: str, *differences: float, other: str = "after", column: int = 1) -> Effect:
    statistics = paired([0.0] * len(differences), differences, resamples=20)
    by_case = {f"case_{n}": value for n, value in enumerate(differences)}
    return Effect(structure, metric, "before", other, statistics, by_case, column)


@pytest.fixture
def figures(monkeypatch) -> list[Figure]:
    """The figures that are saved."""
    saved: list[Figure] = []
    monkeypatch.setattr(compare_figure, "save_figure", lambda figure, path: saved.append(figure))
    return saved


@pytest.mark.parametrize(("metric", "colours"), [("dice", [WORSE, GREY, BETTER]), ("assd_mm", [BETTER, GREY, WORSE])])
def test_bars_are_sorted_and_coloured_by_what_the_metric_means(figures, tmp_path, metric, colours):
    draw_effects([effect("spleen", metric, 0.25, -0.5, 0.0)], "Dice", tmp_path / "e.png")
    (panel,) = (panel for panel in figures[0].axes if panel.get_visible())
    bars = panel.patches[:3]
    assert [bar.get_height() for bar in bars] == [-0.5, 0.0, 0.25]
    assert [to_hex(bar.get_facecolor()) for bar in bars] == colours
    assert panel.get_title().startswith("spleen: -0.083 (n = 3") and panel.get_ylabel() == "Dice\nafter - before"


def test_four_structures_a_row_and_rows_of_their_own_for_each_run(figures, tmp_path):
    names = ["a", "b", "c", "d", "e"]
    columns = ("x", 1), ("y", 3)
    effects = [effect(name, "dice", 0.1, 0.2, other=other, column=column) for other, column in columns for name in names]
    draw_effects(effects, "Dice", tmp_path / "e.png")
    panels = figures[0].axes
    titles = [panel.get_title()[:1] if panel.get_visible() else "" for panel in panels]
    assert titles == ["a", "b", "c", "d", "e", "", "", ""] * 2
    assert [panels[n].get_ylabel() for n in (0, 4, 8)] == ["Dice\nx - before", "Dice\nx - before", "Dice\ny - before"]


def test_a_run_that_is_tested_in_two_columns_has_a_panel_for_each(figures, tmp_path):
    draw_effects([effect("a", "dice", 0.1, 0.2, column=1), effect("a", "dice", -0.3, column=3)], "Dice", tmp_path / "e.png")
    assert [panel.get_title().split("\n")[0][:9] for panel in figures[0].axes] == ["a: +0.150", "a: -0.300"]


def test_the_picture_is_written(tmp_path):
    draw_effects([effect("spleen", "dice", 0.25)], "Dice", tmp_path / "e.png")
    assert (tmp_path / "e.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("structures", [1, 2, 3])
def test_the_heading_is_inside_the_picture(figures, tmp_path, structures):
    draw_effects([effect(f"s{n}", "mesh_mm", 0.25) for n in range(structures)], "mesh distance (mm)", tmp_path / "e.png")
    figure = figures[0]
    figure.canvas.draw()
    heading = figure._suptitle.get_window_extent()
    assert heading.x0 >= 0 and heading.x1 <= figure.bbox.x1
