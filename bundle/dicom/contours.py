"""Closed polygons around the voxels of a mask, by contourpy."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np


def polygons(mask: np.ndarray) -> list[np.ndarray]:
    """Polygons that hold the centres of the pixels of a mask and of no others, half-way between neighbours.

    A hole is joined to the polygon around it by a cut of no width, there and back (the keyhole technique of DICOM PS3.3 C.8.8.6.3), so
    that every reader leaves it out, whichever rule it fills by.

    Args:
        mask: (rows, columns), bool.

    Returns:
        for each piece its corners (points, 2) as column and row, centres of pixels being whole numbers; the last is not the first again.
    """
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    if not rows.size:
        return []
    from contourpy import FillType, contour_generator

    inside = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # a rim of nothing, so that what touches the border is closed, too
    padded = np.pad(inside, 1).astype(np.float64)
    contours: Any = contour_generator(z=padded, fill_type=FillType.OuterOffset).filled(0.5, 2.0)
    points, offsets = contours
    corner = np.array([columns[0] - 1.0, rows[0] - 1.0])
    found = []
    for outer, starts in zip(points, offsets, strict=True):
        rings = [_without_straight(outer[start : end - 1]) for start, end in pairwise(starts)]
        found.append(_joined(rings) + corner)
    return found


def _without_straight(ring: np.ndarray) -> np.ndarray:
    """A ring without the corners at which it goes straight on."""
    before, after = ring - np.roll(ring, 1, 0), np.roll(ring, -1, 0) - ring
    turns = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-9
    return ring[turns]


def _joined(rings: list[np.ndarray]) -> np.ndarray:
    """The first ring with the others, its holes, cut into it: each from its first corner to the nearest one that is there already.

    The cut must not pass through the centre of a pixel: whether that is inside would be a matter of rounding.
    """
    whole = rings[0]
    for hole in rings[1:]:
        nearest = ((whole - hole[0]) ** 2).sum(1).argsort()
        at = int(next((corner for corner in nearest if not _meets_centre(hole[0], whole[corner])), nearest[0]))
        whole = np.concatenate([whole[: at + 1], hole, hole[:1], whole[at:]])
    return whole


def _meets_centre(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the line between two corners, which are multiples of a half, passes through a point of whole numbers."""
    start, end = (np.rint(corner * 2).astype(int) for corner in (one, other))
    steps = max(int(np.gcd(*(end - start))), 1)
    points = start + np.arange(steps + 1)[:, None] * ((end - start) // steps)
    return bool((points % 2 == 0).all(1).any())
