"""A tissue map being painted: the working grid, the patient's pose and deformation, and the shapes one can paint.

Shapes are given in body coordinates: mm, x to the patient's right, y to the front, z to the head, z = 0 at the level of the
second lumbar vertebra. The grid samples the body through a rotation, a scale and a smooth displacement, so every patient
lies and looks different although all are described in the same frame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bundle.data.synthetic.fields import bspline_weights, catmull_rom, tile_noise

Box = tuple[slice, slice, slice]
_KNOT_MM = 45.0


class Canvas:
    """Working grid plus the tissue map painted so far.

    Args:
        shape: voxels of the working grid.
        spacing: voxel size of the working grid in mm.
        origin: patient coordinates (mm) of the centre of voxel (0, 0, 0).
        rotation: (3, 3) rotation times scale from patient to body coordinates.
        displacement_mm: standard deviation of the smooth displacement.
        rng: source of randomness.

    Attributes:
        tissues: (X, Y, Z) uint8, the map.
        x, y, z: (X, Y, Z) float32, body coordinates of each voxel.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        spacing: tuple[float, float, float],
        *,
        origin: np.ndarray,
        rotation: np.ndarray,
        displacement_mm: float,
        rng: np.random.Generator,
    ) -> None:
        self.shape, self.spacing, self.rng = shape, spacing, rng
        self.tissues = np.zeros(shape, np.uint8)
        self._origin, self._rotation = np.asarray(origin, float), np.asarray(rotation, float)
        self._scale = float(np.cbrt(np.linalg.det(self._rotation)))
        knots = [int(np.ceil(n * s / _KNOT_MM)) + 4 for n, s in zip(shape, spacing, strict=True)]
        self._knots = (rng.standard_normal((3, *knots)) * displacement_mm * 1.6).astype(np.float32)
        self.x, self.y, self.z = (self._coordinate(c) for c in range(3))
        self.rough = tile_noise(shape, spacing, 4.0, rng)
        self.wavy = tile_noise(shape, spacing, 9.0, rng)

    def _coordinate(self, c: int) -> np.ndarray:
        axes = [np.arange(n) * s + o for n, s, o in zip(self.shape, self.spacing, self._origin, strict=True)]
        r = self._rotation[c].astype(np.float32)
        field = self._knots[c]
        # einsum without BLAS: the same bits whatever the number of threads
        for axis, n in enumerate(self.shape):
            weights = bspline_weights(np.arange(n) * self.spacing[axis] / _KNOT_MM, field.shape[0])
            field = np.einsum("kab,nk->abn", field, weights)
        field += (r[0] * axes[0]).astype(np.float32)[:, None, None]
        field += (r[1] * axes[1]).astype(np.float32)[None, :, None]
        field += (r[2] * axes[2]).astype(np.float32)[None, None, :]
        return field

    def to_grid(self, points: np.ndarray) -> np.ndarray:
        """Fractional voxel indices (N, 3) of body points (N, 3), by fixed-point iteration on the displacement."""
        points = np.asarray(points, float)
        inverse = np.linalg.inv(self._rotation)
        spacing = np.asarray(self.spacing)
        shift = np.zeros_like(points)
        for _ in range(3):
            index = ((points - shift) @ inverse.T - self._origin) / spacing
            w = [bspline_weights(index[:, a] * spacing[a] / _KNOT_MM, self._knots.shape[1 + a]) for a in range(3)]
            shift = np.einsum("nk,cijk->ncij", w[2], self._knots)
            shift = np.einsum("nj,ncij->nci", w[1], shift)
            shift = np.einsum("ni,nci->nc", w[0], shift)
        return ((points - shift) @ inverse.T - self._origin) / spacing

    def box(self, low: np.ndarray, high: np.ndarray) -> Box:
        """Slices of the voxels between two corners in voxel indices, clipped to the grid (may be empty)."""
        low, high = np.floor(low), np.ceil(high) + 1
        corners = zip(low, high, self.shape, strict=True)
        x, y, z = (slice(int(np.clip(a, 0, n)), int(np.clip(b, 0, n))) for a, b, n in corners)
        return x, y, z

    def ellipsoid(
        self, centre: ArrayLike, semi: ArrayLike, *, angles: ArrayLike = (0.0, 0.0, 0.0), margin: float = 6.0
    ) -> tuple[Box, np.ndarray]:
        """Box and approximate signed distance (mm, negative inside) of an ellipsoid turned by `angles` (degrees about x, y, z)."""
        centre, semi = np.asarray(centre, float), np.asarray(semi, float)
        reach = (semi.max() + margin) / self._scale + 14.0
        middle = self.to_grid(centre[None])[0]
        box = self.box(middle - reach / np.asarray(self.spacing), middle + reach / np.asarray(self.spacing))
        turn = rotation_matrix(angles)
        offsets = [field[box] - np.float32(c) for field, c in zip((self.x, self.y, self.z), centre, strict=True)]
        k0 = np.zeros_like(offsets[0])
        k1 = np.zeros_like(offsets[0])
        for axis in range(3):
            row = turn[axis].astype(np.float32) / np.float32(semi[axis])
            q = row[0] * offsets[0] + row[1] * offsets[1] + row[2] * offsets[2]
            q *= q
            k0 += q
            k1 += q / np.float32(semi[axis] ** 2)
        np.sqrt(k0, out=k0)
        np.sqrt(k1, out=k1)
        return box, k0 * (k0 - 1) / np.maximum(k1, 1e-4)

    def tube(self, points: ArrayLike, *, margin: float = 3.0) -> tuple[Box, np.ndarray]:
        """Box and signed distance (mm) of a tube along a smooth curve through points (x, y, z, radius)."""
        points = np.asarray(points, float)
        curve = catmull_rom(points, step=max(1.5, 0.35 * float(points[:, 3].min())))
        index = self.to_grid(curve[:, :3])
        radius = np.maximum(curve[:, 3], 0.8) / self._scale
        spacing = np.asarray(self.spacing)
        reach = ((radius + margin)[:, None]) / spacing
        box = self.box((index - reach).min(0), (index + reach).max(0))
        start = np.asarray([s.start for s in box])
        distance = np.full([max(0, s.stop - s.start) for s in box], np.float32(1e3))
        for centre, r, e in zip(index - start, radius, reach, strict=True):
            low, high = np.maximum(np.floor(centre - e), 0).astype(int), np.minimum(np.ceil(centre + e) + 1, distance.shape).astype(int)
            if (high <= low).any():
                continue
            part = distance[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
            d = [((np.arange(a, b) - c) * s) ** 2 for a, b, c, s in zip(low, high, centre, spacing, strict=True)]
            squared = (d[0][:, None] + d[1]).astype(np.float32)[:, :, None] + d[2].astype(np.float32)
            np.minimum(part, np.sqrt(squared) - np.float32(r), out=part)
        return box, distance

    def paint(self, box: tuple[slice, ...], mask: np.ndarray, tissue: int, *, over: np.ndarray | None = None) -> None:
        """Set the tissue where `mask` (shape of the box) holds and, with `over` (256 bools), the old tissue may be painted over."""
        part = self.tissues[box]
        if over is not None:
            mask = mask & over[part]
        part[mask] = tissue


def rotation_matrix(degrees: ArrayLike) -> np.ndarray:
    """(3, 3) rotation about x, then y, then z by angles in degrees."""
    a, b, c = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x
