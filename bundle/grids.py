"""Grids of voxels: spacing, volume, right angles, order of axes, same places, boxes of masks. nibabel behind it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

# cosine between two axes above which a grid is resampled as sheared: 0.06 degrees, far above what float32 headers round
SHEAR_TOLERANCE = 1e-3
# ... above which a quaternion does not describe it any more
QFORM_TOLERANCE = 1e-4
# how far apart, in voxels, corners of the same grid may be: far above what headers round, far below what a shift shows
SAME_GRID_VOXELS = 0.05

Axes = list[tuple[int, int]]


def spacing(affine: np.ndarray) -> np.ndarray:
    """Distance in mm from one voxel to the next along each axis, (3,).

    Args:
        affine: (4, 4), voxel indices to mm.
    """
    from nibabel.affines import voxel_sizes

    return voxel_sizes(np.asarray(affine, dtype=np.float64))


def voxel_ml(affine: np.ndarray) -> float:
    """Volume of a voxel in ml; of a sheared one too.

    Args:
        affine: (4, 4), voxel indices to mm.
    """
    return float(abs(np.linalg.det(np.asarray(affine, dtype=np.float64)[:3, :3]))) / 1000


def is_singular(affine: np.ndarray) -> bool:
    """Whether an affine (4, 4) gives voxels no place or no size: not finite, a volume below 1e-9 mm^3, or axes in one plane."""
    matrix = np.asarray(affine, dtype=np.float64)[:3, :3]
    if not np.isfinite(affine).all() or abs(np.linalg.det(matrix)) < 1e-9:
        return True
    return bool(abs(np.linalg.det(matrix / spacing(affine))) < 1e-3)


def shear(affine: np.ndarray) -> float:
    """How far axes are from right angles: the largest cosine between two of them; 0 at right angles, NaN without a size.

    Args:
        affine: (4, 4), voxel indices to mm.
    """
    axes = np.asarray(affine, dtype=np.float64)[:3, :3]
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = axes / spacing(affine)
    return float(np.abs(unit.T @ unit - np.eye(3)).max())


def has_right_angles(affine: np.ndarray, tolerance: float = QFORM_TOLERANCE) -> bool:
    """Whether axes are at right angles, to within a cosine of `tolerance`.

    Args:
        affine: (4, 4), voxel indices to mm.
        tolerance: one of the named ones of this module.
    """
    return shear(affine) <= tolerance


def corners(shape: Sequence[int]) -> np.ndarray:
    """Indices (8, 4) of the outermost voxels of a grid, each with a 1 behind it, so that an affine can be applied."""
    return np.array([[*index, 1] for index in product(*((0, int(n) - 1) for n in shape[:3]))], dtype=np.float64)


def corner_gap(one: np.ndarray, other: np.ndarray, shape: Sequence[int]) -> float:
    """How far apart in mm two affines put the same outermost voxel at most.

    Args:
        one, other: (4, 4), voxel indices to mm.
        shape: sizes of the grid.
    """
    return float(np.linalg.norm((corners(shape) @ (np.asarray(one) - np.asarray(other)).T)[:, :3], axis=1).max())


def axes_onto(shape: Sequence[int], affine: np.ndarray, target_shape: Sequence[int], target: np.ndarray) -> Axes | None:
    """For each axis of the target grid, (axis, direction +1 or -1) of this grid; None where they are different grids.

    Two grids are the same when their voxels are in the same places (`SAME_GRID_VOXELS` apart at most), in whatever order of axes.

    Args:
        shape, affine: of this grid; three sizes, and (4, 4), voxel indices to mm.
        target_shape, target: of the target grid.
    """
    try:
        across = np.linalg.solve(np.asarray(affine, dtype=np.float64), np.asarray(target, dtype=np.float64))
    except np.linalg.LinAlgError:
        return None
    if not np.isfinite(across).all():
        return None
    largest = [int(np.argmax(np.abs(column))) for column in across[:3, :3].T]
    axes = [(axis, -1 if across[axis, column] < 0 else 1) for column, axis in enumerate(largest)]
    if sorted(largest) != [0, 1, 2] or tuple(shape[axis] for axis in largest) != tuple(target_shape):
        return None
    exact = index_map(axes, shape)
    return axes if np.abs(corners(target_shape) @ (across - exact).T).max() <= SAME_GRID_VOXELS else None


def same_grid(shape: Sequence[int], affine: np.ndarray, other_shape: Sequence[int], other: np.ndarray) -> bool:
    """Whether two grids have the same voxels in the same places, in the same order of axes."""
    return axes_onto(shape, affine, other_shape, other) == [(0, 1), (1, 1), (2, 1)]


def reorder(array: np.ndarray, axes: Axes) -> np.ndarray:
    """The array with its axes in the order and direction that `axes_onto` found (a view)."""
    return array.transpose([axis for axis, _ in axes])[tuple(slice(None, None, direction) for _, direction in axes)]


def index_map(axes: Axes, shape: Sequence[int]) -> np.ndarray:
    """Matrix (4, 4) from voxel indices of the array that `reorder` gives to those of the array it was given, whose sizes are `shape`."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for column, (axis, direction) in enumerate(axes):
        matrix[axis, column] = direction
        matrix[axis, 3] = 0 if direction > 0 else shape[axis] - 1
    return matrix


def axes_towards(affine: np.ndarray, codes: str = "RAS") -> Axes | None:
    """Axes for `reorder` that bring an array nearest to an order of storage; None where an axis has no direction.

    Args:
        affine: (4, 4), voxel indices to mm, RAS+.
        codes: where each axis is to lead, such as "RAS" or "LPS".
    """
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    stored = io_orientation(np.asarray(affine, dtype=np.float64))
    if np.isnan(stored).any():
        return None
    moves = ornt_transform(stored, axcodes2ornt(codes)).astype(int)
    return [(int(axis), int(moves[axis, 1])) for axis in np.argsort(moves[:, 0])]


def turned(array: np.ndarray, affine: np.ndarray, codes: str = "RAS") -> tuple[np.ndarray, np.ndarray]:
    """A view of the array (X, Y, Z) with its axes nearest to `codes`, and the affine with which every voxel keeps its place.

    Raises:
        ValueError: an axis has no direction.
    """
    axes = axes_towards(affine, codes)
    if axes is None:
        raise ValueError("the affine gives an axis no direction")
    return reorder(array, axes), np.asarray(affine, dtype=np.float64) @ index_map(axes, array.shape)


def box(mask: np.ndarray, margin: Sequence[int] | int = 0) -> tuple[slice, ...] | None:
    """The smallest box that holds a mask, with a margin, inside the array; None where the mask is empty.

    Args:
        mask: any number of axes; what is not 0 belongs to it.
        margin: voxels to add on each side, one number or one per axis.
    """
    margins = [margin] * mask.ndim if isinstance(margin, int) else margin
    slices, inside = [slice(None)] * mask.ndim, mask
    # many times faster than scipy's find_objects, which looks for all labels at once: the axis that is slowest in memory comes
    # first, whose slices are read in one go, and the others are looked at within what was found so far
    for axis in sorted(range(mask.ndim), key=lambda axis: -abs(mask.strides[axis])):
        present = np.flatnonzero(inside.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not present.size:
            return None
        slices[axis] = slice(int(present[0]), int(present[-1]) + 1)
        inside = mask[tuple(slices)]
    widened = zip(slices, mask.shape, margins, strict=True)
    return tuple(slice(max(0, one.start - wider), min(size, one.stop + wider)) for one, size, wider in widened)


def at_border(box: Sequence[slice], shape: Sequence[int]) -> bool:
    """Whether a box reaches a side of the array of this shape that it is in."""
    return any(part.start == 0 or part.stop == size for part, size in zip(box, shape, strict=True))


def covered(shape: Sequence[int], affine: np.ndarray, other_shape: Sequence[int], other: np.ndarray) -> float:
    """The share of a grid that is inside another one, whatever their directions; by up to 32 places along each axis.

    Args:
        shape, affine: of the grid; three sizes, and (4, 4), voxel indices to mm.
        other_shape, other: of the one that may cover it.
    """
    places = [np.unique(np.linspace(0, n - 1, min(int(n), 32)).round()) for n in shape[:3]]
    index = np.stack([*(axis.ravel() for axis in np.meshgrid(*places, indexing="ij")), np.ones(np.prod([len(one) for one in places]))])
    there = (np.linalg.inv(np.asarray(other, dtype=np.float64)) @ np.asarray(affine, dtype=np.float64) @ index)[:3]
    inside = (there >= -0.5).all(0) & (there <= np.array(other_shape[:3])[:, None] - 0.5).all(0)
    return float(inside.mean())


def describe(shape: Sequence[int], affine: np.ndarray) -> str:
    """A grid in words: size, spacing, axis codes and origin."""
    from nibabel.orientations import aff2axcodes

    size, edges = "x".join(str(n) for n in shape), "x".join(f"{edge:.3g}" for edge in spacing(affine))
    codes = "".join(str(code) for code in aff2axcodes(affine))
    return f"{size} voxels of {edges} mm, {codes}, origin ({', '.join(f'{value:.1f}' for value in np.asarray(affine)[:3, 3])})"
