"""Which way round a label map is on its image, judged by the image itself.

Some label maps come with a header that says nothing true about where they belong; only their array fits the image's, up to
flips. Under the right flip the label parts bright organ from dark fat, under a wrong one it cuts through anything.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from bundle import grids

Flip = tuple[int, ...]  # the array's axes to be flipped
FLIPS: tuple[Flip, ...] = tuple(tuple(axis for axis in range(3) if turned[axis]) for turned in product((False, True), repeat=3))
SHELL_MM = 5.0  # of the surroundings, compared with what is inside
CLEAR, TIMES = 0.015, 2.0  # the best flip must explain so much more than the next, and so many times as much, to be believed


def fit(image: np.ndarray, label: np.ndarray, spacing: tuple[float, ...]) -> dict[Flip, float]:
    """How well the label fits the image under each of the eight flips of its array: 0 not at all, 1 perfectly.

    The share of the variance of the intensities (clipped to -160..240 HU), in the label and `SHELL_MM` around it, that the
    label values explain (eta squared). `image` and `label` are arrays of one shape, `spacing` the voxel edges in mm.
    """
    return {flip: _explained(image, np.flip(label, flip), spacing) for flip in FLIPS}


def decide(scores: dict[Flip, float], expected: Flip) -> tuple[Flip, bool]:
    """The flip to apply, and whether the image speaks clearly; `expected` where it does not."""
    best, second = sorted(FLIPS, key=scores.__getitem__, reverse=True)[:2]
    clear = scores[best] - scores[second] > CLEAR and scores[best] > TIMES * scores[second]
    return (best, True) if clear else (expected, False)


def by_header(label: np.ndarray, image: np.ndarray, shape: tuple[int, ...]) -> Flip | None:
    """The flip that two affines (4x4, voxels to mm) of one shape differ by, None where they differ in more than that."""
    edge = grids.spacing(image).min()
    for flip in FLIPS:
        turned = image @ turn(flip, shape)
        if np.abs(turned @ [*shape, 1] - label @ [*shape, 1]).max() < 0.1 * edge and np.allclose(turned, label, atol=0.1 * edge):
            return flip
    return None


def turn(flip: Flip, shape: tuple[int, ...]) -> np.ndarray:
    """4x4 matrix from the voxels of a flipped array to those of the array."""
    return grids.index_map([(axis, -1 if axis in flip else 1) for axis in range(3)], shape)


def _explained(image: np.ndarray, label: np.ndarray, spacing: tuple[float, ...]) -> float:
    from scipy.ndimage import binary_dilation

    if not label.any():
        return 0.0
    reach = [max(1, round(SHELL_MM / edge)) for edge in spacing]
    box = grids.box(label, reach)
    inside = label[box]
    grown = inside > 0
    for axis, steps in enumerate(reach):
        line = np.ones([3 if axis == own else 1 for own in range(3)], bool)
        grown = binary_dilation(grown, line, iterations=steps)
    values = np.clip(image[box][grown].astype(np.float32), -160, 240)
    groups = inside[grown]
    total = float(values.var())
    if total == 0:
        return 0.0
    parts = [values[groups == value] for value in np.unique(groups)]
    return 1.0 - sum(float(part.var()) * part.size for part in parts) / (total * values.size)
