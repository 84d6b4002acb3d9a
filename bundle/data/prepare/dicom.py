"""One volume from a folder of DICOM files, slices from feet to head."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bundle.data.dicom import read_series, series_in
from bundle.data.orientation import turn


def load_series(folder: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The longest image series in or below `folder`: array in whole HU (columns, rows, slices from feet to head), affine, remarks.

    The affine leads from voxels to RAS+ mm. Values are int16, or float32 where they do not fit.

    Raises:
        UserError: slices are missing.
        ValueError: there is no DICOM series.
    """
    places = sorted({path.parent for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")})
    series = sorted((found for place in places for found in series_in(place)), key=len)
    if not series:
        raise ValueError(f"there is no DICOM series in {folder}")
    remarks = [f"{len(series)} DICOM series: the longest ({len(series[-1])} slices) is used"] if len(series) > 1 else []
    array, affine = read_series(series[-1])
    if affine[2, 2] < 0:
        affine = affine @ turn((2,), array.shape)
        array = array[:, :, ::-1]
    fits = array.min() >= -32768 and array.max() <= 32767
    return np.rint(array).astype(np.int16) if fits else np.asarray(array, dtype=np.float32), affine, remarks
