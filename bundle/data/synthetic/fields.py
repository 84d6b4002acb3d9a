"""Smooth random fields and splines: what makes one synthetic anatomy differ from the next."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_TILE = 72  # voxels of the periodic noise block; larger than any structure it textures


def tile_noise(shape: tuple[int, ...], spacing: tuple[float, ...], correlation_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Correlated Gaussian noise, zero mean and unit variance, by tiling one periodic block (fast for any shape).

    Args:
        shape: (X, Y, Z) of the field.
        spacing: voxel size in mm.
        correlation_mm: standard deviation of the smoothing kernel in mm; at most about a tenth of a block.
        rng: source of randomness.

    Returns:
        float32 array of `shape`.
    """
    # Wide kernels are made on a coarse block and interpolated: the same field at a fraction of the work.
    step = max(1, int(correlation_mm / max(spacing) / 2.5))
    block = rng.standard_normal((_TILE,) * 3, dtype=np.float32)
    sigma = [correlation_mm / (s * step) for s in spacing]
    block = ndimage.gaussian_filter(block, sigma, mode="wrap", truncate=3)
    block -= block.mean()
    block /= max(float(block.std()), 1e-6)
    small = [-(-n // step) + 2 for n in shape]
    field = np.tile(block, [-(-n // _TILE) for n in small])[tuple(slice(n) for n in small)]
    for axis, n in enumerate(shape):
        if step > 1:
            field = linear_resample(field, np.arange(n, dtype=np.float32) / step, axis)
    return np.ascontiguousarray(field[tuple(slice(n) for n in shape)])


def linear_resample(field: np.ndarray, positions: np.ndarray, axis: int) -> np.ndarray:
    """Linear interpolation of `field` along one axis at fractional index `positions`, clamped to the ends."""
    last = field.shape[axis] - 1
    positions = np.clip(np.asarray(positions, np.float32), 0, last)
    lower = np.minimum(positions.astype(np.intp), max(last - 1, 0))
    upper = np.minimum(lower + 1, last)
    weight = (positions - lower).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(field.ndim)])
    below = np.take(field, lower, axis)
    above = np.take(field, upper, axis)
    above -= below
    above *= weight
    above += below
    return above


def bspline_weights(positions: np.ndarray, knots: int) -> np.ndarray:
    """Uniform cubic B-spline weights (len(positions), knots); position p is between knots floor(p)+1 and floor(p)+2."""
    positions = np.clip(np.asarray(positions, np.float64), 0, knots - 3 - 1e-6)
    first = positions.astype(int)
    t = positions - first
    weights = np.zeros((len(positions), knots), np.float32)
    rows = np.arange(len(positions))
    for offset, value in enumerate(((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)):
        weights[rows, first + offset] = value / 6
    return weights


def catmull_rom(points: np.ndarray, step: float) -> np.ndarray:
    """Smooth curve through `points` (N, D), sampled about every `step` units of the first three coordinates.

    Columns after the third (a radius, for example) are interpolated along.
    """
    points = np.asarray(points, float)
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    curve = []
    for i in range(len(points) - 1):
        a, b, c, d = padded[i : i + 4]
        n = max(2, int(np.linalg.norm((c - b)[:3]) / step) + 1)
        t = np.linspace(0, 1, n, endpoint=False)[:, None]
        curve.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - 3 * c + d - a) * t**3))
    curve.append(points[-1:])
    return np.vstack(curve)
