"""The old place of `bundle.dicom`; gone with the next version."""

from __future__ import annotations

import os

import numpy as np

from bundle.dicom import read_series, series_in
from bundle.errors import UserError

__all__ = ["itk_affine", "read_header", "read_series", "series_in"]


def read_header(file: str | os.PathLike) -> tuple[tuple[int, ...], dict[str, object]]:
    """Columns and rows of a DICOM file, and its number of values per voxel, which is 1 for what is not refused.

    Raises:
        UserError: it is not a CT, or damaged.
    """
    from bundle.dicom.headers import read_header as read

    header = read(file)
    if header.problem is not None:
        raise header.problem
    if header.layout is None:
        raise UserError(file, f"this is not a CT ({header.kind})", "give the CT itself")
    return (header.layout.columns, header.layout.rows, header.layout.frames), {"components": 1}


def itk_affine(image: object) -> np.ndarray:
    """Affine (4, 4) of an ITK image, voxel indices to mm, turned from ITK's LPS to RAS+."""
    import itk

    affine = np.eye(4)
    direction = itk.array_from_matrix(image.GetDirection())[:3, :3]
    affine[:3, :3] = direction * np.asarray(image.GetSpacing())[:3]
    affine[:3, 3] = np.asarray(image.GetOrigin())[:3]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
