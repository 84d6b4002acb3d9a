"""The three planes of a scan as a radiologist expects them, for any axis order, and which slices show the organs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bundle import grids

if TYPE_CHECKING:
    from bundle.quality.measure import Structure

# plane -> (RAS axis that is cut, RAS axis down the rows, RAS axis along the columns, letters left, right, top, bottom).
# Radiological convention: the patient's right is on the left, front at the top (axial) or left (sagittal), head at the top.
PLANES = {
    "axial": (2, 1, 0, "RLAP"),
    "coronal": (1, 2, 0, "RLSI"),
    "sagittal": (0, 2, 1, "APSI"),
}
# whole-body scans: at most this much is shown around the organs
MAX_EXTENT_MM = 480.0
# a picture is cropped to what is denser than this, with a margin around it
BODY_HU = -400.0
MARGIN_MM = 10.0


def as_shown(volume: np.ndarray, plane: str, index: int) -> np.ndarray:
    """One slice (rows, columns) of a volume in RAS (X, Y, Z), a view of it: head or front at the top, patient's right at the left."""
    cut, down, along, _ = PLANES[plane]
    chosen: list[slice | int] = [slice(None)] * 3
    chosen[cut] = index
    shown = volume[tuple(chosen)]
    return (shown if down < along else shown.T)[::-1, ::-1]


@dataclass(frozen=True)
class Window:
    """A rectangle of one plane: `plane` of PLANES, the slice `index` along the RAS axis it cuts, row and column ranges in its
    picture, and a caption that counts the slice as the file does."""

    plane: str
    index: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    pixel_mm: tuple[float, float]
    caption: str

    @property
    def size_mm(self) -> tuple[float, float]:
        """Height and width in millimetres."""
        return (self.rows[1] - self.rows[0]) * self.pixel_mm[0], (self.columns[1] - self.columns[0]) * self.pixel_mm[1]


class Views:
    """Pictures of volumes on one grid; volumes are only viewed, never copied.

    Args:
        affine: (4, 4), from voxel indices to RAS+ millimetres; oblique axes count as the nearest of R, A, S.
        shape: (X, Y, Z) of the volumes.
    """

    def __init__(self, affine: np.ndarray, shape: Sequence[int]) -> None:
        affine = np.asarray(affine, dtype=float)
        # a degenerate affine leaves axes without a direction: show the array as it is stored
        self.axes = grids.axes_towards(affine) or [(0, 1), (1, 1), (2, 1)]
        self.source = source = [axis for axis, _ in self.axes]
        # axis of the array -> (RAS axis, direction)
        self.orientation = {axis: (ras, direction) for ras, (axis, direction) in enumerate(self.axes)}
        self.shape = tuple(int(shape[axis]) for axis in source)
        spacing = grids.spacing(affine)[source]
        self.spacing = tuple(float(step) if np.isfinite(step) and step > 0 else 1.0 for step in spacing)

    def centre(self, measured: Iterable[Structure]) -> tuple[int, int, int]:
        """The slice along each RAS axis that shows most of the structures, each counted against its own largest section."""
        weights = [np.zeros(n) for n in self.shape]
        for structure in measured:
            for axis, ((start, stop), profile) in enumerate(zip(structure.bounds, structure.profiles, strict=True)):
                target, flip = self.orientation[axis]
                share = np.zeros(self.shape[target])
                share[start:stop] = profile / profile.max()
                weights[target] += share if flip > 0 else share[::-1]
        x, y, z = (int(weight.argmax()) if weight.any() else len(weight) // 2 for weight in weights)
        return x, y, z

    def whole(self, plane: str, centre: Sequence[int]) -> Window:
        """The whole picture of one plane through `centre`."""
        cut, down, along, _ = PLANES[plane]
        size = (0, self.shape[down]), (0, self.shape[along])
        # the file's own count, from 1, whichever way its axis runs: that is where a viewer finds the slice
        backwards = self.axes[cut][1] < 0
        number = self.shape[cut] - int(centre[cut]) if backwards else int(centre[cut]) + 1
        caption = f"{plane}, slice {number} of {self.shape[cut]}"
        return Window(plane, int(centre[cut]), *size, (self.spacing[down], self.spacing[along]), caption)

    def body(self, image: np.ndarray, plane: str, centre: Sequence[int]) -> Window:
        """The picture of one plane, cropped to the body and to at most MAX_EXTENT_MM around `centre`."""
        whole = self.whole(plane, centre)
        _, down, along, _ = PLANES[plane]
        dense = np.nan_to_num(self.picture(image, whole), nan=-1e4) > BODY_HU
        ranges = []
        for axis, ras in ((0, down), (1, along)):
            step = self.spacing[ras]
            start, stop = _span(dense.mean(axis=1 - axis) > 0.03, round(MARGIN_MM / step))
            # rows and columns of a picture run against the RAS axes
            middle = self.shape[ras] - 1 - int(centre[ras])
            half = max(1, round(MAX_EXTENT_MM / 2 / step))
            ranges.append((max(start, min(middle - half, stop - 2 * half)), min(stop, max(middle + half, start + 2 * half))))
        return replace(whole, rows=ranges[0], columns=ranges[1])

    def around(self, plane: str, centre: Sequence[int], measured: Iterable[Structure], margin_mm: float = 20.0) -> Window:
        """The picture of one plane, cropped to the bounds of these structures and a margin."""
        whole = self.whole(plane, centre)
        low, high = list(self.shape), [0, 0, 0]
        for structure in measured:
            for axis, (start, stop) in enumerate(structure.bounds):
                target, flip = self.orientation[axis]
                n = self.shape[target]
                start, stop = (start, stop) if flip > 0 else (n - stop, n - start)
                low[target], high[target] = min(low[target], start), max(high[target], stop)
        ranges = []
        for ras in PLANES[plane][1:3]:
            n, margin = self.shape[ras], round(margin_mm / self.spacing[ras])
            ranges.append((max(0, n - high[ras] - margin), min(n, n - low[ras] + margin)))
        return replace(whole, rows=ranges[0], columns=ranges[1])

    def picture(self, volume: np.ndarray, window: Window) -> np.ndarray:
        """(rows, columns) of a volume (X, Y, Z): one slice, as it is shown."""
        shown = as_shown(grids.reorder(volume, self.axes), window.plane, window.index)
        return shown[window.rows[0] : window.rows[1], window.columns[0] : window.columns[1]]


def _span(flags: np.ndarray, margin: int) -> tuple[int, int]:
    where = np.flatnonzero(flags)
    if not where.size:
        return 0, len(flags)
    return max(0, int(where[0]) - margin), min(len(flags), int(where[-1]) + 1 + margin)
