"""The effect per case as a picture: one panel per structure, at most four side by side, run by run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bundle.drawing.figures import new_figure, save_figure
from bundle.evaluation.paired import LOWER_IS_BETTER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bundle.evaluation.compare import Effect

BETTER, WORSE, GREY = "#1b7837", "#b2182b", "#808080"
COLUMNS = 4  # panels side by side


def draw_effects(effects: Sequence[Effect], title: str, path: Path) -> None:
    """Difference of each case, sorted, with the mean and its 95 % bootstrap interval as a band; written as PNG.

    Args:
        effects: of one metric.
        title: the metric's name for the axis.
        path: the PNG to write.
    """
    structures = list(dict.fromkeys(effect.structure for effect in effects))
    others = list(dict.fromkeys(effect.column for effect in effects))
    columns = min(COLUMNS, len(structures))
    rows = -(-len(structures) // columns)  # of each run
    figure = new_figure(max(5.2, 3.4 * columns + 0.8), 3.0 * rows * len(others) + 0.4)
    panels = figure.subplots(rows * len(others), columns, squeeze=False, sharey="row")
    for effect in effects:
        row, column = divmod(structures.index(effect.structure), columns)
        panel = panels[others.index(effect.column) * rows + row, column]
        _panel(panel, effect)
        if column == 0:
            panel.set_ylabel(f"{title}\n{effect.other} - {effect.base}", fontsize=9)
    for panel in panels.flat:
        panel.set_visible(panel.has_data())
    better = "less is better" if effects[0].metric in LOWER_IS_BETTER else "more is better"
    # over one panel or two a single line would not fit
    then = "; " if columns > 2 else "\n"
    figure.suptitle(f"{title} ({better}, green): difference per case, sorted{then}line and band: mean and its 95 % interval", fontsize=9)
    save_figure(figure, path)


def _panel(panel: Axes, effect: Effect) -> None:
    values = sorted(effect.differences.values())
    found = effect.statistics
    good = [(value < 0) if effect.metric in LOWER_IS_BETTER else (value > 0) for value in values]
    colours = [GREY if value == 0 else BETTER if fine else WORSE for value, fine in zip(values, good, strict=True)]
    panel.bar(range(len(values)), values, color=colours, width=0.85)
    panel.axhline(0, color="black", linewidth=0.8)
    if found.mean_difference is not None:
        panel.axhline(found.mean_difference, color="#2166ac", linewidth=1.5)
        if found.low is not None and found.high is not None:
            panel.axhspan(found.low, found.high, color="#2166ac", alpha=0.2, linewidth=0)
    p = "" if found.wilcoxon_p is None else f", Wilcoxon p = {found.wilcoxon_p:.2g}"
    mean = "" if found.mean_difference is None else f": {found.mean_difference:+.3f}"
    panel.set_title(f"{effect.structure}{mean} (n = {found.n}{p})", fontsize=9)
    panel.set_xticks([])
    panel.set_xlabel("cases", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
