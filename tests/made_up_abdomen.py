"""A small made-up abdomen: boxes of known size in a body with air around it, on any grid."""

from __future__ import annotations

import numpy as np
import pytest

STRUCTURES = {"background": 0, "pancreas": 1, "spleen": 2, "kidney": 3}


class Abdomen:
    """40x32x24 voxels of 5x5x8 mm in RAS: spleen on the patient's left at the back, two kidneys below it, pancreas in front."""

    structures = STRUCTURES
    spacing = (5.0, 5.0, 8.0)

    def __init__(self) -> None:
        self.labels = np.zeros((40, 32, 24), np.uint8)
        self.labels[14:22, 16:20, 12:14] = 1
        self.labels[6:11, 9:14, 13:20] = 2
        self.labels[10:14, 8:12, 6:12] = 3
        self.labels[26:30, 8:12, 6:12] = 3
        self.image = np.full(self.labels.shape, -1000.0, np.float32)
        self.image[3:37, 4:28] = 40.0
        self.image[self.labels == 1] = 80.0
        self.image[self.labels == 2] = 110.0
        self.image[self.labels == 3] = 160.0
        # anatomy changes from slice to slice, and so does this
        self.image[20, 20] += np.linspace(-20, 20, 24, dtype=np.float32)
        self.affine = np.diag([*self.spacing, 1.0])
        self.affine[:3, 3] = [-100.0, -80.0, -96.0]

    def stored(self, codes: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(image, labels, affine) of the same abdomen, stored in another axis order, such as "LPS" or "AIR"."""
        from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff

        orientation = _to(axcodes2ornt(tuple(codes)))
        image = np.ascontiguousarray(apply_orientation(self.image, orientation))
        labels = np.ascontiguousarray(apply_orientation(self.labels, orientation))
        return image, labels, self.affine @ inv_ornt_aff(orientation, self.labels.shape)


def _to(target: np.ndarray) -> np.ndarray:
    from nibabel.orientations import axcodes2ornt, ornt_transform

    return ornt_transform(axcodes2ornt(("R", "A", "S")), target)


@pytest.fixture
def abdomen() -> Abdomen:
    """The made-up abdomen, fresh for each test."""
    return Abdomen()
