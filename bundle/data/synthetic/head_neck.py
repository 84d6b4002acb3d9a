"""Synthetic heads and necks with CT and PET: a tumour that the CT hardly shows and the PET does, among other things that take up FDG."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from bundle.data.own_folder import claim
from bundle.errors import UserError
from bundle.files import write_json

# raise when the same seed begins to give other images
VERSION = 1
PARTS = ("imagesTr", "labelsTr")
LABELS = {"0": "background", "1": "tumour"}
CT_SHAPE, CT_SPACING = (56, 56, 44), (3.0, 3.0, 4.0)
PET_SHAPE, PET_SPACING = (40, 40, 36), (5.0, 5.0, 5.0)
# what the tumour is denser than muscle, and the noise of both images
TUMOUR_HU, NOISE_HU, NOISE_SUV = 4.0, 20.0, 0.15
PET_BLUR_MM = 3.0  # standard deviation


class HeadNeck(NamedTuple):
    """CT (int16, HU) and label (uint8) of one grid, PET (float32, SUV) of another, each (X, Y, Z) with its affine (4, 4), RAS+ mm."""

    ct: np.ndarray
    label: np.ndarray
    affine: np.ndarray
    pet: np.ndarray
    pet_affine: np.ndarray


def make_head_neck(seed: int | list[int]) -> HeadNeck:
    """One patient: the same seed, the same images.

    The head is a skull with brain, which takes up as much as the tumour; the neck has muscle, fat, airway and spine, and two nodes
    that look like the tumour in the CT and take up nothing.
    """
    rng = np.random.default_rng(seed)
    affine = np.diag([-CT_SPACING[0], -CT_SPACING[1], CT_SPACING[2], 1.0])
    affine[:3, 3] = [84.0, 84.0, -100.0]
    pet_affine = np.diag([*PET_SPACING, 1.0])
    pet_affine[:3, 3] = np.array([-98.0, -96.0, -104.0]) + rng.uniform(-2, 2, 3)
    patient = _Patient(rng)
    tissue, tumour = patient.at(affine, CT_SHAPE)
    ct = np.array([-1000.0, -90.0, 45.0, 35.0, 900.0, 350.0, -990.0])[tissue]
    ct[tumour | patient.nodes(affine, CT_SHAPE)] = 45.0 + TUMOUR_HU
    ct += rng.normal(0, NOISE_HU, CT_SHAPE)
    tissue, hot = patient.at(pet_affine, PET_SHAPE)
    suv = np.array([0.0, 0.4, 1.0, rng.uniform(6, 9), 0.6, 1.2, 0.1])[tissue]
    suv[hot] = rng.uniform(6, 12)
    return HeadNeck(np.rint(ct).astype(np.int16), tumour.astype(np.uint8), affine, _blurred(suv, rng), pet_affine)


def _blurred(suv: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    seen = gaussian_filter(suv, [PET_BLUR_MM / edge for edge in PET_SPACING])
    return np.maximum(seen + rng.normal(0, NOISE_SUV, suv.shape), 0).astype(np.float32)


class _Patient:
    """Where things are, in mm: x to the patient's right, y to the front, z to the head."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.size, self.turn = rng.uniform(0.9, 1.08), rng.uniform(-6, 6, 2)
        self.places: list[tuple[np.ndarray, float]] = []
        for _ in range(3):  # the tumour and two nodes, in the muscle around the airway
            angle, out = rng.uniform(0, 2 * np.pi), rng.uniform(24, 34)
            place = np.array([out * np.cos(angle), out * np.sin(angle) + 6, rng.uniform(-78, -22)])
            while any(np.linalg.norm(place - other) < 26 for other, _ in self.places):
                place[2] = rng.uniform(-78, -22)
                place[0] = -place[0]
            self.places.append((place, rng.uniform(8, 12)))

    def _points(self, affine: np.ndarray, shape: tuple[int, int, int]) -> tuple[np.ndarray, ...]:
        axes = [affine[axis, axis] * np.arange(n) + affine[axis, 3] for axis, n in enumerate(shape)]
        x, y, z = np.meshgrid(*axes, indexing="ij")
        return (x - self.turn[0]) / self.size, (y - self.turn[1]) / self.size, z / self.size

    def at(self, affine: np.ndarray, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Tissue of each voxel (0 air, 1 fat, 2 muscle, 3 brain, 4 skull, 5 spine, 6 airway), and the tumour's mask."""
        x, y, z = self._points(affine, shape)
        around = np.hypot(x, y)
        head = (x / 68) ** 2 + (y / 76) ** 2 + ((z - 35) / 75) ** 2
        tissue = np.zeros(shape, np.uint8)
        for number, mask in (
            (1, (around < 58) & (z < 10)),
            (2, (around < 50) & (z < 10)),
            (1, head < 1),
            (4, head < 0.87),
            (3, (head < 0.72) & (z > 0)),
            (2, (head < 0.72) & (z <= 0)),
            (5, (np.hypot(x, y + 26) < 14) & (z < 5)),
            (6, (np.hypot(x, y - 12) < 8) & (z < 0)),
        ):
            tissue[mask] = number
        return tissue, self._ball(x, y, z, 0)

    def nodes(self, affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """The mask of the nodes."""
        x, y, z = self._points(affine, shape)
        return self._ball(x, y, z, 1) | self._ball(x, y, z, 2)

    def _ball(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, index: int) -> np.ndarray:
        place, radius = self.places[index]
        return (x - place[0]) ** 2 + (y - place[1]) ** 2 + (z - place[2]) ** 2 < radius**2


def head_neck(out: str, cases: int = 12, seed: int = 0) -> None:
    """Write a data set of synthetic heads and necks, CT with PET: `python -m bundle head-neck OUT --cases 12 --seed 0`.

    `imagesTr/hn_000_0000.nii.gz` is the CT, `hn_000_0001.nii.gz` the PET in SUV on a grid of its own, as nnU-Net names them;
    `dataset.json` lists both, and `ct.json` the CT alone, for comparison.

    Args:
        out: folder of the data set.
        cases: patients.
        seed: the same seed gives the same images.

    Raises:
        UserError: a number is not a whole number, or the folder holds something else.
    """
    from bundle.images.writing import write_nifti

    for name, value, least in (("cases", cases, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UserError(f"--{name}", f"{value!r} is not a whole number from {least}", f"for example --{name} 12")
    folder = Path(out)
    own = {"seed": seed, "version": VERSION}
    claim(folder, "head-neck", own, parts=PARTS)
    names = [f"hn_{index:03d}" for index in range(cases)]
    images = [[f"imagesTr/{name}_{k:04d}.nii.gz" for k in range(2)] for name in names]
    labels = [f"labelsTr/{name}.nii.gz" for name in names]
    listed = [{"image": both, "label": label} for both, label in zip(images, labels, strict=True)]
    about = {"name": "synthetic head and neck", "modality": {"0": "CT", "1": "PET"}, "labels": LABELS}
    write_json(folder / "dataset.json", {**about, "training": listed, "head-neck": own})
    write_json(folder / "ct.json", {"labels": LABELS, "training": [{**entry, "image": entry["image"][0]} for entry in listed]})
    for index, (both, label) in enumerate(zip(images, labels, strict=True)):
        paths = [folder / name for name in (*both, label)]
        if all(path.exists() for path in paths):
            continue
        made = make_head_neck([seed, index])
        arrays = ((made.ct, made.affine), (made.pet, made.pet_affine), (made.label, made.affine))
        for path, (array, affine) in zip(paths, arrays, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_nifti(path, array, affine)
    print(f"{cases} patients with CT and PET in {folder}", flush=True)
