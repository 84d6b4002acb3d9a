"""qform and sform of a NIfTI: the two places that a header gives a scan, kept for the files on its grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FIELDS = ("qform_code", "sform_code", "xyzt_units", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
ROWS = ("srow_x", "srow_y", "srow_z")
LENGTH = len(FIELDS) + 4 + 4 * len(ROWS)


@dataclass(frozen=True)
class Forms:
    """The fields of a NIfTI header that say where its voxels are, as they are stored.

    nibabel takes the sform where there is one, ITK (Slicer, ITK-SNAP) the qform in many cases, so a label map is on its scan in
    every tool only if it has both forms and both codes of the scan.

    Args:
        numbers: (25,) float64: codes, units, quaternion, offsets, pixdim[0:4], the rows of the sform.
    """

    numbers: np.ndarray

    @classmethod
    def of(cls, header: Any) -> Forms:
        """The forms of a header of nibabel."""
        parts = [float(header[name]) for name in FIELDS]
        parts += [float(value) for value in header["pixdim"][:4]]
        for row in ROWS:
            parts += [float(value) for value in header[row]]
        return cls(np.array(parts, dtype=np.float64))

    def signed_as(self, pixdim: np.ndarray) -> Forms:
        """These forms with the signs of a header's `pixdim` (8,) before it was repaired.

        Sizes below 0 are no NIfTI. nibabel takes their absolute value and ITK does not, so only with their signs is a label map where the
        scan is in both.
        """
        numbers, start = self.numbers.copy(), len(FIELDS)
        sizes = numbers[start + 1 : start + 4]
        numbers[start + 1 : start + 4] = np.where(pixdim[1:4] < 0, -np.abs(sizes), sizes)
        if np.isfinite(pixdim[0]) and pixdim[0] < 0:
            numbers[start] = pixdim[0]
        return Forms(numbers)

    @classmethod
    def none(cls) -> np.ndarray:
        """The numbers that mean no forms, for images that did not come as NIfTI."""
        return np.zeros(LENGTH, dtype=np.float64)

    @classmethod
    def from_numbers(cls, numbers: Any) -> Forms | None:
        """Forms from what `numbers` was kept as; None where there were none."""
        array = np.asarray(numbers, dtype=np.float64).reshape(-1)
        return cls(array) if array.size == LENGTH and array.any() else None

    @property
    def qform_code(self) -> int:
        """0: there is no qform."""
        return int(self.numbers[0])

    @property
    def sform_code(self) -> int:
        """0: there is no sform."""
        return int(self.numbers[1])

    def gap_mm(self, shape: Sequence[int]) -> float | None:
        """How far apart the two forms put the far corner of a grid, in mm along an axis; None where one of them is missing."""
        import nibabel

        header = nibabel.Nifti1Header()
        self.put_into(header)
        header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
        try:
            quaternion, standard = header.get_qform(coded=True)[0], header.get_sform(coded=True)[0]
        except (ValueError, nibabel.spatialimages.HeaderDataError):  # a quaternion that makes no sense
            return None
        if quaternion is None or standard is None:
            return None
        return float(np.abs((quaternion - standard) @ np.array([*shape[:3], 1.0])).max())

    def put_into(self, header: Any) -> None:
        """Set these fields of a header of nibabel, whatever was there."""
        for name, value in zip(FIELDS, self.numbers, strict=False):
            header[name] = value
        header["pixdim"][:4] = self.numbers[len(FIELDS) : len(FIELDS) + 4]
        for index, row in enumerate(ROWS):
            start = len(FIELDS) + 4 + 4 * index
            header[row] = self.numbers[start : start + 4]
