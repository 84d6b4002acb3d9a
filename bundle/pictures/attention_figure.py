"""Figures of what gates do: coefficients over the course of training, and features before and after a gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bundle.drawing.figures import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_training(
    pictures: Mapping[str, np.ndarray],
    contours: Mapping[str, np.ndarray],
    maps: Mapping[int, Mapping[tuple[int, str], np.ndarray]],
    path: Path,
) -> None:
    """Coefficients of a fixed scan over the epochs (the paper's Figure 4): a row per gate level and view, a column per epoch.

    Args:
        pictures: view name to the scan's slice (rows, columns).
        contours: view name to the reference's label slice, drawn as outlines.
        maps: epoch to {(level, view name): slice of the coefficients in [0, 1]}.
        path: the PNG to write.
    """
    epochs = sorted(maps)
    rows = sorted(maps[epochs[0]], reverse=True)
    figure, panels = _panels(len(rows), len(epochs) + 1, [pictures[name].shape for _, name in rows])
    for row, (level, name) in enumerate(rows):
        _scan(panels[row, 0], pictures[name], contours[name])
        panels[row, 0].set_ylabel(f"level {level}, {name}", fontsize=8)
        shown = [maps[epoch][level, name] for epoch in epochs if (level, name) in maps[epoch]]
        low, high = min(part.min() for part in shown), max(part.max() for part in shown)
        for column, epoch in enumerate(epochs, start=1):
            panel = panels[row, column]
            _scan(panel, pictures[name], None)
            drawn = panel.imshow(maps[epoch][level, name], cmap="inferno", vmin=low, vmax=high, alpha=0.75, interpolation="bilinear")
            if row == 0:
                panel.set_title(f"epoch {epoch}", fontsize=9)
        bar = figure.colorbar(drawn, ax=list(panels[row]), fraction=0.012, pad=0.005)
        bar.ax.tick_params(labelsize=7)
    panels[0, 0].set_title("scan and reference", fontsize=9)
    save_figure(figure, path)


def draw_gate(picture: np.ndarray, contour: np.ndarray, levels: Mapping[int, Sequence[np.ndarray]], path: Path) -> None:
    """What a gate does (the paper's Figure 3a): a row per level with features before, coefficients, features after.

    Args:
        picture: the scan's slice.
        contour: the label slice, drawn as outlines.
        levels: level to (mean absolute feature before the gate, coefficients, mean absolute feature after), slices of any size.
        path: the PNG to write.
    """
    figure, panels = _panels(len(levels), 4, [picture.shape] * len(levels))
    for row, level in enumerate(sorted(levels)):
        before, alpha, after = levels[level]
        _scan(panels[row, 0], picture, contour)
        panels[row, 0].set_ylabel(f"level {level}", fontsize=8)
        for column, (values, title, colours) in enumerate(
            ((before, "features before", "viridis"), (alpha, "coefficients", "inferno"), (after, "features after", "viridis")), start=1
        ):
            drawn = panels[row, column].imshow(values, cmap=colours, interpolation="nearest")
            figure.colorbar(drawn, ax=panels[row, column], fraction=0.04, pad=0.01).ax.tick_params(labelsize=6)
            if row == 0:
                panels[row, column].set_title(title, fontsize=9)
    panels[0, 0].set_title("scan and reference", fontsize=9)
    save_figure(figure, path)


def middle_of(label: np.ndarray) -> list[int]:
    """The voxel in the middle of the structures' box, or of the volume where there are none."""
    where = np.argwhere(label > 0)
    ends = (where.min(axis=0) + where.max(axis=0)) // 2 if len(where) else np.asarray(label.shape) // 2
    return [int(value) for value in ends]


def window(middle: int, wanted: int, length: int) -> tuple[int, int]:
    """Start and number of voxels along one axis: `wanted` around the middle, inside the volume."""
    count = min(wanted, length)
    return min(max(middle - count // 2, 0), length - count), count


def _panels(rows: int, columns: int, shapes: Sequence[tuple[int, ...]]):
    """A figure with a grid of panels without axes, rows as high as their pictures are."""
    ratios = [height / width for height, width in shapes]
    figure = new_figure(1.9 * columns + 0.6, 1.9 * sum(ratios) + 0.5)
    panels = figure.subplots(rows, columns, squeeze=False, height_ratios=ratios)
    for panel in panels.flat:
        panel.set_xticks([])
        panel.set_yticks([])
    return figure, panels


def _scan(panel: Axes, picture: np.ndarray, contour: np.ndarray | None) -> None:
    panel.imshow(picture, cmap="gray", interpolation="bilinear")
    if contour is None:
        return
    for value, colour in zip([v for v in np.unique(contour) if v > 0], ("#ffb020", "#58c4ff", "#6ee66e", "#ff78c8") * 8, strict=False):
        panel.contour(contour == value, levels=[0.5], colors=[colour], linewidths=0.9)
