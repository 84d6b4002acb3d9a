"""One synthetic scan: a drawn patient, a drawn scanner, the image and its labels, reproducible from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bundle.data.synthetic.anatomy import paint_abdomen
from bundle.data.synthetic.canvas import Canvas, rotation_matrix
from bundle.data.synthetic.physique import Physique
from bundle.data.synthetic.scanner import Scan, add_noise, expose, resample_labels
from bundle.data.synthetic.tissues import LABEL_OF, Tissue, draw_means, render

ORIENTATIONS = ("RAS", "LPS", "LAI", "rotated")


@dataclass(frozen=True)
class Coverage:
    """Which part of the body is scanned, on which voxels.

    Attributes:
        shape: voxels of the image, in RAS order.
        spacing: voxel size in mm.
        origin: coordinates (mm, along the grid's axes) of the centre of voxel (0, 0, 0).
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]

    @staticmethod
    def draw(rng: np.random.Generator, body: Physique, *, arms: bool, max_voxels: float) -> Coverage:
        """Voxels of 0.7 to 3 mm in plane and 1 to 5 mm between slices; three in ten scans cut organs at the top or bottom."""
        plane = float(np.exp(rng.uniform(np.log(0.7), np.log(3.0))))
        slices = float(rng.choice([1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0]))
        top, bottom = rng.uniform(135, 190), rng.uniform(-165, -85)
        cut = rng.random()
        if cut < 0.15:
            top = rng.uniform(70, 110)
        elif cut < 0.3:
            bottom = rng.uniform(-40, 0)
        half = [body.half_width + (95 if arms else rng.uniform(8, 35)), body.half_depth + rng.uniform(8, 30)]
        if rng.random() < 0.12:  # a field of view narrower than the body
            half = [body.half_width - rng.uniform(0, 15), body.half_depth + rng.uniform(-5, 10)]
        extent = (2 * half[0], 2 * half[1] + 12, top - bottom)
        voxels = np.prod(extent) / (plane * plane * slices)
        if voxels > max_voxels:  # as in practice: fine voxels in plane come with thick slices
            slices = float(np.clip(slices * voxels / max_voxels, 1, 5))
            plane = max(plane, float(np.sqrt(np.prod(extent) / slices / max_voxels)))
        plane, slices = round(min(plane, 3.0), 4), round(slices, 2)
        x, y, z = (max(16, round(e / s)) for e, s in zip(extent, (plane, plane, slices), strict=True))
        return Coverage((x, y, z), (plane, plane, slices), (-half[0], -half[1] - 12, bottom))

    def working_grid(self) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
        """Shape and spacing of the grid on which the body is painted: same centre, voxels of 1.3 to 2 mm."""
        spacing = (*(float(np.clip(self.spacing[0], 1.35, 2.0)),) * 2, float(np.clip(self.spacing[2], 1.35, 2.0)))
        x, y, z = (int(np.ceil(n * s / w)) + 2 for n, s, w in zip(self.shape, self.spacing, spacing, strict=True))
        return (x, y, z), spacing


def make_patient(seed: list[int], *, max_voxels: float = 8e6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, labels and affine of the synthetic scan that belongs to a seed.

    Args:
        seed: whole numbers; the same numbers give the same arrays, bit by bit, on one machine.
        max_voxels: upper bound of the image's size.

    Returns:
        int16 image in HU, uint8 labels (1 pancreas, 2 spleen, 3 kidneys), both (X, Y, Z), and the (4, 4) affine to RAS+ mm.
    """
    rng = np.random.default_rng(seed)
    body = Physique.draw(rng)
    arms = rng.random() < 0.15
    cover = Coverage.draw(rng, body, arms=arms, max_voxels=max_voxels)
    orientation = ORIENTATIONS[int(rng.integers(len(ORIENTATIONS)))]
    oblique = rotation_matrix(rng.uniform(-1, 1, 3) * (9, 5, 12)) if orientation == "rotated" else np.eye(3)
    tissues, spacing = _tissue_map(rng, body, cover, oblique, arms)
    image = render(tissues, spacing, draw_means(rng), rng)
    scan = Scan.draw(rng, cover.spacing)
    image = add_noise(expose(image, spacing, scan, cover.shape), scan, rng)
    labels = resample_labels(LABEL_OF[tissues], spacing, cover.spacing, cover.shape)
    affine = np.eye(4)
    affine[:3, :3] = oblique @ np.diag(cover.spacing)
    affine[:3, 3] = oblique @ np.array(cover.origin)
    image = np.clip(np.rint(image), -1024, 3071).astype(np.int16)
    return store(image, labels, affine, orientation)


def _tissue_map(
    rng: np.random.Generator, body: Physique, cover: Coverage, oblique: np.ndarray, arms: bool
) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Tissue map on the working grid of a coverage, and that grid's spacing."""
    shape, spacing = cover.working_grid()
    middle = [o + (n - 1) / 2 * s for o, n, s in zip(cover.origin, cover.shape, cover.spacing, strict=True)]
    origin = np.array([m - (n - 1) / 2 * s for m, n, s in zip(middle, shape, spacing, strict=True)])
    pose = rotation_matrix(rng.normal(0, 1, 3) * (3.0, 2.5, 4.0)) / rng.uniform(0.93, 1.07)
    canvas = Canvas(shape, spacing, origin=origin, rotation=pose @ oblique, displacement_mm=float(rng.uniform(2.0, 5.0)), rng=rng)
    paint_abdomen(canvas, body, arms=arms)
    if rng.random() < 0.7:
        paint_table(canvas.tissues, spacing, rng)
    return canvas.tissues, spacing


def paint_table(tissues: np.ndarray, spacing: tuple[float, float, float], rng: np.random.Generator) -> None:
    """Paint the couch under the body: a thin curved shell with a light core, in air only. Changes `tissues` in place."""
    body_rows = np.flatnonzero((tissues > Tissue.AIR).any(axis=(0, 2)))
    if not len(body_rows):
        return
    x = (np.arange(tissues.shape[0]) - tissues.shape[0] / 2) * spacing[0]
    y = (np.arange(tissues.shape[1]) - body_rows[0]) * spacing[1]
    curve = -rng.uniform(1, 8) + x**2 * rng.uniform(0.0002, 0.0011)
    thickness, reach = rng.uniform(14, 40), rng.uniform(180, 260)
    below = curve[:, None] - y[None, :]
    inside = (below > 0) & (below < thickness) & (np.abs(x) < reach)[:, None]
    shell = inside & ((below < 2.6) | (below > thickness - 2.6))
    for mask, tissue in ((inside, Tissue.TABLE_CORE), (shell, Tissue.TABLE_SHELL)):
        tissues[mask[:, :, None] & ((tissues == Tissue.AIR) | (tissues == Tissue.TABLE_CORE))] = tissue


def store(image: np.ndarray, labels: np.ndarray, affine: np.ndarray, orientation: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image and labels (X, Y, Z) and their affine (4, 4) from RAS to another order of storage, such as LAI; places in mm stay the same."""
    affine = affine.copy()
    if orientation in ("RAS", "rotated"):
        return image, labels, affine
    for axis, (have, want) in enumerate(zip("RAS", orientation, strict=True)):
        if have != want:
            affine[:3, 3] += affine[:3, axis] * (image.shape[axis] - 1)
            affine[:3, axis] *= -1
            image, labels = np.flip(image, axis), np.flip(labels, axis)
    return np.ascontiguousarray(image), np.ascontiguousarray(labels), affine
