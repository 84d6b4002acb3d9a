"""Figures of what each gate does: coefficients over the course of training, and features before and after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bundle.drawing.figures import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar

# level (2 is the finest that has gates), gate (from 1), view
Row = tuple[int, int, str]
VIEWS = ("axial", "sagittal")
COLOURS = ("#ffb020", "#58c4ff", "#6ee66e", "#ff78c8")


def draw_training(
    pictures: Mapping[str, np.ndarray],
    contours: Mapping[str, np.ndarray],
    maps: Mapping[int, Mapping[Row, np.ndarray]],
    path: Path,
) -> None:
    """Coefficients of a fixed scan over the epochs (the paper's Figure 4): a row per level, gate and view, a column per epoch.

    Args:
        pictures: view name to the scan's slice (rows, columns).
        contours: view name to the reference's label slice, drawn as outlines.
        maps: epoch to {(level, gate, view name): slice of the coefficients in [0, 1]}; all epochs have the same rows.
        path: the PNG to write.
    """
    epochs = sorted(maps)
    rows = in_order(maps[epochs[0]])
    figure, panels = _panels(len(rows), len(epochs) + 1, [pictures[view].shape for _, _, view in rows])
    for row, key in enumerate(rows):
        view = key[-1]
        _scan(panels[row, 0], pictures[view], contours[view])
        panels[row, 0].set_ylabel(_name(key), fontsize=8)
        shown = [maps[epoch][key] for epoch in epochs]
        low, high = min(part.min() for part in shown), max(part.max() for part in shown)
        for column, epoch in enumerate(epochs, start=1):
            panel = panels[row, column]
            _scan(panel, pictures[view], None)
            drawn = panel.imshow(maps[epoch][key], cmap="inferno", vmin=low, vmax=high, alpha=0.75, interpolation="bilinear")
            if row == 0:
                panel.set_title(f"epoch {epoch}", fontsize=9)
        bar = figure.colorbar(drawn, ax=list(panels[row]), fraction=0.012, pad=0.005)
        _plain_ticks(bar, 7)
    panels[0, 0].set_title("scan and reference", fontsize=9)
    save_figure(figure, path)


def draw_gates(
    pictures: Mapping[str, np.ndarray], contours: Mapping[str, np.ndarray], gates: Mapping[Row, Sequence[np.ndarray]], path: Path
) -> None:
    """What each gate does (the paper's Figure 3a): a row per level, gate and view with features before, coefficients, features after.

    Features before and after a gate share their colours, so that what it takes away is dark.

    Args:
        pictures, contours: view name to the scan's slice, and to the label slice, drawn as outlines.
        gates: (level, gate, view name) to (mean absolute feature before the gate, coefficients, the same after), slices of any size.
        path: the PNG to write.
    """
    rows = in_order(gates)
    figure, panels = _panels(len(rows), 4, [pictures[view].shape for _, _, view in rows])
    for row, key in enumerate(rows):
        view = key[-1]
        before, alpha, after = gates[key]
        _scan(panels[row, 0], pictures[view], contours[view])
        panels[row, 0].set_ylabel(_name(key), fontsize=8)
        span = {"vmin": min(before.min(), after.min()), "vmax": max(before.max(), after.max())}
        for column, (values, title, colours, limits) in enumerate(
            (
                (before, "features before", "viridis", span),
                (alpha, "coefficients", "inferno", {}),
                (after, "features after", "viridis", span),
            ),
            start=1,
        ):
            drawn = panels[row, column].imshow(values, cmap=colours, interpolation="nearest", **limits)
            _plain_ticks(figure.colorbar(drawn, ax=panels[row, column], fraction=0.04, pad=0.01), 6)
            if row == 0:
                panels[row, column].set_title(title, fontsize=9)
    panels[0, 0].set_title("scan and reference", fontsize=9)
    save_figure(figure, path)


def in_order(rows: Iterable[Row]) -> list[Row]:
    """The rows of a figure: coarse levels first, then by gate, then by view."""
    return sorted(rows, key=lambda row: (-row[0], row[1:]))


def _name(row: Row) -> str:
    level, gate, view = row
    return f"level {level}, gate {gate}\n{view}"


def middle_of(label: np.ndarray) -> list[int]:
    """Index of the voxel in the middle of the box of all structures in a label map of any shape; of the volume where there are none."""
    where = np.argwhere(label > 0)
    ends = (where.min(axis=0) + where.max(axis=0)) // 2 if len(where) else np.asarray(label.shape) // 2
    return [int(value) for value in ends]


def most_of(label: np.ndarray) -> list[int]:
    """Along each axis of a label map, the slice with most of the structures: the sum of roots of their shares of their largest sections.

    By the roots, some of each counts more than all of one. Of several that show as much the middle one; the middle of the volume
    where there are none.
    """
    weights = [np.zeros(length) for length in label.shape]
    for value in (value for value in np.unique(label) if value > 0):
        mask = label == value
        for axis, weight in enumerate(weights):
            profile = mask.sum(axis=tuple(other for other in range(mask.ndim) if other != axis))
            weight += np.sqrt(profile / profile.max())
    best = [np.flatnonzero(weight >= weight.max() - 1e-9) for weight in weights]
    return [int(slices[len(slices) // 2]) for slices in best]


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


def _plain_ticks(bar: Colorbar, size: float) -> None:
    """Small numbers, each whole: no offset above the bar, which would push it aside."""
    from matplotlib.ticker import ScalarFormatter

    bar.ax.tick_params(labelsize=size)
    bar.formatter = ScalarFormatter(useOffset=False)
    bar.update_ticks()


def _scan(panel: Axes, picture: np.ndarray, contour: np.ndarray | None) -> None:
    panel.imshow(picture, cmap="gray", interpolation="bilinear")
    if contour is None or min(contour.shape) < 2:  # of a scan of one slice, matplotlib finds no outlines in the other views
        return
    for value in (int(value) for value in np.unique(contour) if value > 0):
        # by value, so that a structure has its colour in views without the others too
        panel.contour(contour == value, levels=[0.5], colors=[COLOURS[(value - 1) % len(COLOURS)]], linewidths=0.9)
