"""Tiny scans on disk for the tests of bundle.data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

LABELS = {"background": 0, "pancreas": 1, "spleen": 2}
SHAPE = (24, 20, 16)


def body(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """An int16 image in HU and a uint8 label: air, a body of fat, two unlike organs that no flip maps onto themselves."""
    generator = np.random.default_rng(seed)
    at = [np.linspace(-1, 1, size).reshape([-1 if axis == own else 1 for axis in range(3)]) for own, size in enumerate(shape)]
    image = np.full(shape, -1000.0)
    image[(at[0] ** 2 + at[1] ** 2 < 0.9) & (np.abs(at[2]) < 2)] = -100
    label = np.zeros(shape, np.uint8)
    label[((at[0] - 0.3) / 0.4) ** 2 + ((at[1] - 0.35) / 0.25) ** 2 + ((at[2] + 0.3) / 0.45) ** 2 < 1] = 1
    label[((at[0] + 0.4) / 0.25) ** 2 + ((at[1] + 0.3) / 0.3) ** 2 + ((at[2] - 0.2) / 0.5) ** 2 < 1] = 2
    image[label == 1], image[label == 2] = 80, 120
    return (image + generator.normal(0, 12, shape)).astype(np.int16), label


@pytest.fixture
def save() -> Callable:
    """`save(path, array, affine=None)` writes a NIfTI file (2 mm voxels unless told) and gives its path."""

    def write(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(array, np.diag([2.0, 2.0, 2.0, 1.0]) if affine is None else affine), path)
        return path

    return write


@pytest.fixture
def msd(tmp_path: Path, save: Callable) -> Callable:
    """`msd(cases)` writes that many good cases in MSD layout and gives the folder."""

    def write(cases: int = 6) -> Path:
        for number in range(cases):
            image, label = body(number)
            save(tmp_path / f"imagesTr/case_{number}.nii.gz", image)
            save(tmp_path / f"labelsTr/case_{number}.nii.gz", label)
        return tmp_path

    return write


@pytest.fixture
def scan() -> Callable:
    """`scan(seed, shape)`: image and label of the tiny body."""
    return body
