"""One volume from a folder of DICOM files, slices from feet to head."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bundle.data.checks.orientation import turn
from bundle.dicom import find_series, looks_like_dicom, read_series
from bundle.errors import counted


def load_series(folder: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The longest image series in or below `folder`: array in whole HU (columns, rows, slices from feet to head), affine, remarks.

    The affine leads from voxels to RAS+ mm. Values are int16, or float32 where they do not fit.

    Raises:
        UserError: slices are missing.
        ValueError: there is no DICOM series.
    """
    series, _ = find_series(path for path in folder.rglob("*") if not path.name.startswith(".") and looks_like_dicom(path))
    if not series:
        raise ValueError(f"there is no DICOM series in {folder}")
    longest = max(series, key=lambda one: len(one.files))
    remarks = [f"{len(series)} DICOM series: the longest ({counted(len(longest.files), 'slice')}) is used"] if len(series) > 1 else []
    array, affine = read_series(longest.files)
    if affine[2, 2] < 0:
        affine = affine @ turn((2,), array.shape)
        array = array[:, :, ::-1]
    fits = array.min() >= -32768 and array.max() <= 32767
    return np.rint(array).astype(np.int16) if fits else np.asarray(array, dtype=np.float32), affine, remarks
