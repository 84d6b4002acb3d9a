"""Prediction against reference as a picture, with the misses marked: the paper's Figure 3b."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bundle import grids
from bundle import labels as label_block
from bundle.data import label_maps
from bundle.drawing.figures import new_figure, save_figure
from bundle.drawing.planes import Views
from bundle.errors import UserError, counted
from bundle.images import read_scan

COLOURS = {"both": (0.35, 0.85, 0.40), "missed": (0.95, 0.25, 0.20), "too much": (0.30, 0.60, 1.00)}
WINDOW = (-160.0, 240.0)  # HU from black to white: soft tissue
MARGIN_MM = 40.0


def misses(
    image: str,
    predictions: str | Sequence[str],
    reference: str,
    output: str = "misses.png",
    labels: Mapping | str | None = None,
    names: str | Sequence[str] | None = None,
) -> Path:
    """Draw one or more predictions against the reference: agreement green, missed voxels red, superfluous ones blue.

    A row per prediction; per structure the axial slice in which the first prediction misses most (of largest section where
    nothing is missed), cropped around the structure.

    Args:
        image: the scan (NIfTI).
        predictions: label maps of this scan, separated by commas: for instance of the network without and with gates.
        reference: the reference label map; predictions may be stored in another axis order.
        output: the PNG to write.
        labels: as for `score`.
        names: a name per prediction; otherwise the file's folder, or the nearest folder above in which the predictions differ.

    Raises:
        UserError: files on different grids.
    """
    paths = [Path(item) for item in (predictions.split(",") if isinstance(predictions, str) else predictions)]
    titles = _titles(paths, names)
    folder = Path(reference).parent
    block = label_block.resolve(labels, [folder, folder.parent]).block
    expected, affine = label_maps.read(Path(reference))
    maps = [_onto(path, expected.shape, affine) for path in paths]
    scan = _scan(Path(image), expected.shape, affine)
    structures = {name: [value] if isinstance(value, int) else list(value) for name, value in list(block.items())[1:]}
    shown = {name: values for name, values in structures.items() if np.isin(expected, values).any()}
    if not shown:
        raise UserError(reference, "holds none of the structures", f"check the labels: {block}")
    _draw(scan, maps, expected, affine, shown, titles, Path(output))
    print(f"Written: {output}")
    return Path(output)


def kinds_of_voxel(prediction: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(rows, columns, 4) colours in 0..1 for two masks of one slice: green in both, red missed, blue too much, else transparent."""
    picture = np.zeros((*prediction.shape, 4))
    for name, mask in (("both", prediction & reference), ("missed", ~prediction & reference), ("too much", prediction & ~reference)):
        picture[mask] = (*COLOURS[name], 0.35 if name == "both" else 0.85)
    return picture


def _draw(
    scan: np.ndarray,
    maps: Sequence[np.ndarray],
    expected: np.ndarray,
    affine: np.ndarray,
    structures: Mapping[str, Sequence[int]],
    titles: Sequence[str],
    output: Path,
) -> None:
    from matplotlib.patches import Patch

    from bundle.drawing.planes import Views

    views = Views(affine, expected.shape)
    figure = new_figure(3.1 * len(structures), 2.7 * len(maps) + 0.5)
    panels = figure.subplots(len(maps), len(structures), squeeze=False)
    for column, (name, values) in enumerate(structures.items()):
        mask = np.isin(expected, values)
        window = views.whole("axial", _worst_slice(mask, np.isin(maps[0], values), views))
        rows, columns = _frame(views.picture(mask, window) | views.picture(np.isin(maps[0], values), window), window.pixel_mm)
        grey, wanted = (views.picture(volume, window)[rows, columns] for volume in (scan, mask))
        aspect = window.pixel_mm[0] / window.pixel_mm[1]
        for row, labels in enumerate(maps):
            panel = panels[row, column]
            panel.imshow(grey, cmap="gray", vmin=WINDOW[0], vmax=WINDOW[1], aspect=aspect, interpolation="bilinear")
            found = views.picture(np.isin(labels, values), window)[rows, columns]
            panel.imshow(kinds_of_voxel(found, wanted), aspect=aspect, interpolation="nearest")
            panel.set_title(name if row == 0 else "", fontsize=9)
            panel.set_ylabel(titles[row] if column == 0 else "", fontsize=9)
            panel.set_xticks([])
            panel.set_yticks([])
    handles = [Patch(color=colour, label=name) for name, colour in COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    save_figure(figure, output)


def _worst_slice(expected: np.ndarray, predicted: np.ndarray, views: Views) -> list[int]:
    """Position along the RAS axes: the axial slice with most missed voxels, or with most of the structure if none is missed."""
    missed = expected & ~predicted
    axis, direction = views.axes[2]
    others = tuple(i for i in range(3) if i != axis)
    index = int((missed if missed.any() else expected).sum(axis=others).argmax())
    return [0, 0, index if direction > 0 else expected.shape[axis] - 1 - index]


def _frame(mask: np.ndarray, pixel_mm: tuple[float, float]) -> tuple[slice, slice]:
    """Rows and columns around a mask, with a margin."""
    frame = []
    for axis in (0, 1):
        where, margin = np.flatnonzero(mask.any(axis=1 - axis)), round(MARGIN_MM / pixel_mm[axis])
        ends = (int(where[0]), int(where[-1]) + 1) if where.size else (0, mask.shape[axis])
        frame.append(slice(max(0, ends[0] - margin), min(mask.shape[axis], ends[1] + margin)))
    return frame[0], frame[1]


def _onto(path: Path, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    array, own = label_maps.read(path)
    axes = grids.axes_onto(array.shape, own, shape, affine)
    if axes is None:
        raise UserError(path, f"is on another grid: {grids.describe(array.shape, own)}", "draw maps on the reference's grid")
    return grids.reorder(array, axes)


def _scan(path: Path, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    values, own, _ = read_scan(path)
    axes = grids.axes_onto(values.shape, own, shape, affine)
    if axes is None:
        raise UserError(path, f"is on another grid: {grids.describe(values.shape, own)}", "give the scan of this reference")
    return grids.reorder(values, axes)


def _titles(paths: Sequence[Path], names: str | Sequence[str] | None) -> list[str]:
    titles = [item.strip() for item in names.split(",")] if isinstance(names, str) else list(names or _folders(paths))
    if len(titles) != len(paths):
        raise UserError("names", f"{counted(len(titles), 'name')} for {counted(len(paths), 'prediction')}", "give one per prediction")
    return titles


def _folders(paths: Sequence[Path]) -> list[str]:
    """The name of the folder of each file, or of the nearest folders above that all differ, such as those of two runs; else the files'."""
    above = list(zip(*([folder.name for folder in path.resolve().parents] for path in paths), strict=False))
    differ = [list(names) for names in (*above, tuple(path.name for path in paths)) if len(set(names)) == len(paths)]
    return differ[0] if differ else list(above[0])
