"""A real CT made new: bent, scaled, cut, and given the contrast of another phase or patient, structure by structure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import ndimage

from bundle import grids
from bundle.data import label_maps
from bundle.data.synthetic.canvas import Canvas
from bundle.data.synthetic.tissues import PHASES, Tissue, draw_means
from bundle.errors import UserError
from bundle.images import read
from bundle.json_input import read_object

# Beginnings of structure names (TotalSegmentator's) and the tissue that says how they take up contrast.
_TISSUE_OF: tuple[tuple[str, Tissue], ...] = (
    ("adrenal", Tissue.ADRENAL),
    ("aorta", Tissue.AORTA),
    ("iliac_artery", Tissue.AORTA),
    ("iliac_vena", Tissue.CAVA),
    ("inferior_vena", Tissue.CAVA),
    ("portal_vein", Tissue.PORTAL_VEIN),
    ("heart", Tissue.HEART),
    ("kidney", Tissue.KIDNEY_CORTEX),
    ("liver", Tissue.LIVER),
    ("pancreas", Tissue.PANCREAS),
    ("spleen", Tissue.SPLEEN),
    ("gallbladder", Tissue.GALLBLADDER),
    ("stomach", Tissue.STOMACH_WALL),
    *((name, Tissue.BOWEL_WALL) for name in ("colon", "duodenum", "small_bowel")),
    *((name, Tissue.MUSCLE) for name in ("autochthon", "gluteus", "iliopsoas")),
)
_HOLLOW = (Tissue.STOMACH_WALL, Tissue.BOWEL_WALL)


@dataclass(frozen=True)
class RealScan:
    """A real CT with its structures and labels, on one RAS grid.

    Attributes:
        image: (X, Y, Z) float32 in HU.
        tissues: (X, Y, Z) uint8, the tissue that decides the uptake of contrast; air where nothing is known.
        labels: (X, Y, Z) uint8, pancreas 1, spleen 2, kidney 3; other values stay, such as one that leaves voxels open.
        spacing: voxel size in mm.
        native: the scan has no contrast agent, so that of any phase can be added; otherwise its organs vary within their phase.
    """

    image: np.ndarray
    tissues: np.ndarray
    labels: np.ndarray
    spacing: tuple[float, float, float]
    native: bool = True

    @cached_property
    def values(self) -> list[int]:
        """The values of the labels, the background's 0 left out."""
        return [int(value) for value in np.unique(self.labels) if value]


def read_real_scan(folder: Path) -> RealScan:
    """Read `ct.nii.gz` and `labels.nii.gz` of a folder, and `structures.nii.gz` with `structures.json` (name to value) where it is there.

    A scan with structures is taken to be without contrast, its pancreas to be under-segmented, as those of public models are. Of a scan
    without them only the three labelled organs and the soft tissue between them are known; its labels are taken as they are.

    Raises:
        UserError: a file is missing or cannot be read, labels are not whole numbers of their range, or their voxels are in
            other places than the CT's.
    """
    ct, affine = grids.turned(*read(folder / "ct.nii.gz")[:2])

    def on_the_ct(name: str, most: int) -> np.ndarray:
        path = folder / name
        array, own = grids.turned(*label_maps.read(path))
        if not grids.same_grid(array.shape, own, ct.shape, affine):
            problem = f"the grids differ: {grids.describe(array.shape, own)}; ct.nii.gz {grids.describe(ct.shape, affine)}"
            raise UserError(path, problem, "resample it onto the CT (nearest neighbour)")
        if outside := sorted(value for value in label_maps.values_in(array) if not 0 <= value <= most):
            raise UserError(path, f"holds the value {outside[0]}", f"use values from 0 to {most}")
        return array

    image, labels = ct.astype(np.float32), on_the_ct("labels.nii.gz", 255).astype(np.uint8)
    spacing = tuple(grids.spacing(affine).tolist())
    tissues = np.zeros(image.shape, np.uint8)
    if not (folder / "structures.nii.gz").is_file():
        for value, organ in enumerate((Tissue.PANCREAS, Tissue.SPLEEN, Tissue.KIDNEY_CORTEX), start=1):
            tissues[labels == value] = organ
        return RealScan(image, _refine(tissues, image, spacing), labels, spacing, native=False)
    structures = on_the_ct("structures.nii.gz", 32767).astype(np.int16)
    names = read_object(folder / "structures.json", '{"liver": 5}: name of a structure to its value')
    for name, value in names.items():
        tissue = next((t for start, t in _TISSUE_OF if name.startswith(start)), None)
        if tissue is not None:
            tissues[structures == value] = tissue
    return RealScan(image, _refine(tissues, image, spacing), _grow_pancreas(labels, structures, image, spacing), spacing)


def _refine(tissues: np.ndarray, image: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Split kidneys into cortex and medulla; keep only the wall of hollow organs; call the unnamed soft tissue muscle."""
    kidney = tissues == Tissue.KIDNEY_CORTEX
    deep = ndimage.distance_transform_edt(kidney, sampling=spacing)
    tissues[kidney & (deep > 7)] = Tissue.KIDNEY_MEDULLA
    tissues[kidney & (image < -10)] = Tissue.AIR
    for wall in _HOLLOW:
        organ = tissues == wall
        inner = ndimage.distance_transform_edt(organ, sampling=spacing) > 1.2 * spacing[0]
        tissues[organ & (inner | (image < -40))] = Tissue.AIR
    tissues[(tissues == Tissue.AIR) & (image > 10) & (image < 100)] = Tissue.MUSCLE
    return tissues


def _grow_pancreas(labels: np.ndarray, structures: np.ndarray, image: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Grow an under-segmented pancreas into the soft tissue next to it that no structure claims."""
    pancreas = labels == 1
    near = ndimage.distance_transform_edt(~pancreas, sampling=spacing) < 5.0
    soft = ndimage.gaussian_filter(image, 0.6) > -25
    labels = labels.copy()
    labels[near & soft & (structures == 0) & (labels == 0)] = 1
    return labels


def vary(scan: RealScan, canvas: Canvas, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The scan as seen through a canvas's pose and deformation, with the contrast of a random phase, or another patient's of its own.

    Args:
        scan: the real scan.
        canvas: an empty canvas; its body coordinates are mm from the centre of the scan.
        rng: source of randomness.

    Returns:
        (X, Y, Z) float32 image in HU, noise included only as far as the scan had it, and uint8 labels.
    """
    phase = float(rng.uniform(0, len(PHASES) - 1))
    calm = np.random.default_rng(0)
    # The uptake differs from patient to patient; texture and anatomy are the scan's own.
    uptake = draw_means(rng, phase, spread=0.6) - draw_means(calm, 0.0 if scan.native else phase, spread=0.0)
    uptake[[Tissue.AIR, Tissue.FAT, Tissue.VISCERAL_FAT]] = 0
    image = scan.image + ndimage.gaussian_filter(uptake[scan.tissues], 0.6)
    middle = (np.array(scan.image.shape) - 1) / 2
    index = [f / s + m for f, s, m in zip((canvas.x, canvas.y, canvas.z), scan.spacing, middle, strict=True)]
    # cubic interpolation keeps the sharpness that linear interpolation would take
    bent = ndimage.map_coordinates(image, index, order=3, cval=-1000.0)
    labels = np.zeros(canvas.shape, np.uint8)
    best = np.full(canvas.shape, 0.5, np.float32)
    for value in scan.values:
        share = ndimage.map_coordinates((scan.labels == value).astype(np.float32), index, order=1)
        wins = share >= best
        labels[wins] = value
        best[wins] = share[wins]
    outside = np.zeros(canvas.shape, bool)
    for i, n in zip(index, scan.image.shape, strict=True):
        outside |= (i < 0) | (i > n - 1)
    bent[outside] = -1000
    return np.clip(bent, -1024, 3000), labels
