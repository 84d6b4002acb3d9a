"""Distances between the surfaces of two masks, by nearest neighbours of surface voxels instead of distance maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

SLAB_VOXELS = 2**23


def surface_points(mask: np.ndarray) -> np.ndarray:
    """Indices (N, dims) of the mask's surface: its voxels with at least one face neighbour that is not in the mask.

    What is outside the array counts as "not in the mask", so an organ cut by the field of view has its surface on the
    cut, as with `monai.metrics.utils.get_mask_edges` and `scipy.ndimage.binary_erosion`. Works in slabs along the first
    axis; besides the result it needs a few megabytes.
    """
    thickness = max(1, SLAB_VOXELS // max(1, int(np.prod(mask.shape[1:]))))
    found = []
    for start in range(0, mask.shape[0], thickness):
        stop = min(start + thickness, mask.shape[0])
        low, high = max(start - 1, 0), min(stop + 1, mask.shape[0])
        edge = _edge(np.ascontiguousarray(mask[low:high], dtype=bool), open_start=low > 0, open_end=high < mask.shape[0])
        points = np.argwhere(edge[start - low : edge.shape[0] - (high - stop)])
        points[:, 0] += start
        found.append(points)
    return np.concatenate(found) if found else np.empty((0, mask.ndim), dtype=np.intp)


def surface_distances(first: np.ndarray, second: np.ndarray, spacing: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance in mm from each surface voxel of `first` to the nearest of `second`, and the other way round.

    Args:
        first, second: boolean masks of one shape, neither of them empty.
        spacing: mm per voxel along each axis, or the (dims, dims) part of an affine (then sheared grids are right too).

    Returns:
        two float arrays, one entry per surface voxel of `first` and of `second`. Distances run from voxel centre to voxel
        centre, which is what a Euclidean distance map of the other surface holds in these voxels.

    Raises:
        ValueError: where a mask is empty: no distance is defined then.
    """
    points = [surface_points(mask) for mask in (first, second)]
    if not len(points[0]) or not len(points[1]):
        raise ValueError("surface distances need two masks that are not empty")
    scale = np.asarray(spacing, dtype=np.float64)
    world = [part * scale if scale.ndim == 1 else part @ scale.T for part in points]
    return cKDTree(world[1]).query(world[0])[0], cKDTree(world[0]).query(world[1])[0]


def _edge(mask: np.ndarray, *, open_start: bool, open_end: bool) -> np.ndarray:
    """The mask without the voxels whose face neighbours are all in it; at an open end the slab continues elsewhere."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        source, target = np.moveaxis(mask, axis, 0), np.moveaxis(inner, axis, 0)
        target[1:] &= source[:-1]
        target[:-1] &= source[1:]
        if axis or not open_start:
            target[0] = False
        if axis or not open_end:
            target[-1] = False
    return mask & ~inner
