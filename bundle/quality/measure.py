"""What a label map says about each structure: volume, intensities, position, pieces, border contact. Works in bounding boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from bundle import grids


@dataclass(eq=False)
class Structure:
    """Measurements of one structure in one case; everything but `name` and `volume_ml` is None where it was not found.

    Attributes:
        volume_ml: voxels times the volume of a voxel, in millilitres.
        mean_hu, sd_hu: mean and population standard deviation of the image's finite values inside (None without an image).
        centroid_mm: centre of mass in RAS+ millimetres (x to the patient's right, y to the front, z up).
        touches_border: whether a voxel is on the first or last slice of the scan along any axis.
        components: pieces, connected by faces, edges or corners.
        piece_ml: volumes of the pieces in millilitres, largest first (at most `MAX_PIECES`).
        bounds: for each array axis, first index and one past the last.
        profiles: for each array axis, its voxels in each slice between the bounds.
    """

    name: str
    volume_ml: float
    mean_hu: float | None = None
    sd_hu: float | None = None
    centroid_mm: tuple[float, float, float] | None = None
    touches_border: bool | None = None
    components: int | None = None
    piece_ml: tuple[float, ...] = ()
    bounds: tuple[tuple[int, int], ...] = ()
    profiles: tuple[np.ndarray, ...] = field(default=(), repr=False)


MAX_PIECES = 8


def measure_structures(
    labels: np.ndarray, affine: np.ndarray, structures: Mapping[str, int], *, image: np.ndarray | None = None
) -> dict[str, Structure]:
    """Measure every structure of a label map, in the order of `structures`, those that were not found included.

    Args:
        labels: (X, Y, Z) whole numbers.
        affine: (4, 4), from voxel indices to RAS+ millimetres.
        structures: name to value in `labels`; a background (value 0) is left out.
        image: (X, Y, Z) in HU on the same grid.

    Raises:
        ValueError: `labels` is not three-dimensional, or `image` has another shape.
    """
    if labels.ndim != 3:
        raise ValueError(f"labels must be (X, Y, Z), got the shape {labels.shape}")
    if image is not None and image.shape != labels.shape:
        raise ValueError(f"image {image.shape} and labels {labels.shape} have different shapes")
    wanted = {name: int(value) for name, value in structures.items() if int(value) != 0}
    boxes = _boxes(labels, max(wanted.values(), default=0))
    measured = {}
    for name, value in wanted.items():
        box = boxes[value - 1] if value - 1 < len(boxes) else None
        measured[name] = Structure(name, 0.0) if box is None else _measure(name, labels, affine, value, box, image)
    return measured


def _boxes(labels: np.ndarray, highest: int) -> list[tuple[slice, ...] | None]:
    """For each value from 1 to `highest` the smallest box that holds it; None where it is not there."""
    around = grids.box(labels)
    if around is None:
        return [None] * highest
    # most of a scan is background: find_objects takes ten times as long over all of it as to find where there are labels
    found = ndimage.find_objects(labels[around], max_label=highest)
    return [box and tuple(slice(s.start + a.start, s.stop + a.start) for s, a in zip(box, around, strict=True)) for box in found]


def _measure(name: str, labels: np.ndarray, affine: np.ndarray, value: int, box: tuple[slice, ...], image: np.ndarray | None) -> Structure:
    mask = labels[box] == value
    flat = mask.sum(axis=2)
    profiles = [flat.sum(axis=1), flat.sum(axis=0), mask.sum(axis=(0, 1))]
    voxels = int(profiles[0].sum())
    index = [start.start + float(profile @ np.arange(len(profile))) / voxels for start, profile in zip(box, profiles, strict=True)]
    x, y, z = (affine[:3, :3] @ index + affine[:3, 3]).tolist()
    voxel_ml = grids.voxel_ml(affine)
    pieces, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    sizes = np.sort(_counts(pieces, count))[::-1]
    mean_hu, sd_hu = (None, None) if image is None else _intensity(image[box][mask])
    return Structure(
        name=name,
        volume_ml=voxels * voxel_ml,
        mean_hu=mean_hu,
        sd_hu=sd_hu,
        centroid_mm=(x, y, z),
        touches_border=grids.at_border(box, labels.shape),
        components=int(count),
        piece_ml=tuple(float(size) * voxel_ml for size in sizes[:MAX_PIECES]),
        bounds=tuple((s.start, s.stop) for s in box),
        profiles=tuple(profiles),
    )


def _counts(pieces: np.ndarray, count: int) -> np.ndarray:
    """Voxels of the pieces 1 to `count`; in slabs, as `np.bincount` makes 8 bytes of every voxel that it is given."""
    total = np.zeros(count + 1, dtype=np.int64)
    step = max(1, 2**22 // max(1, pieces[0].size))
    for start in range(0, len(pieces), step):
        total += np.bincount(pieces[start : start + step].ravel(), minlength=count + 1)
    return total[1:]


def _intensity(values: np.ndarray) -> tuple[float | None, float | None]:
    values = values[np.isfinite(values)]
    if not values.size:
        return None, None
    return float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))


def amount(value: float) -> str:
    """A measurement in words: about three digits, never with an exponent: 1395, 66.2, 2.53."""
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"
