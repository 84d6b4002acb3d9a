"""One volume from a folder of DICOM files, by ITK."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bundle.data.prepare.orientation import turn

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def load_series(folder: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The longest image series in or below `folder`: array in HU (columns, rows, slices from feet to head), affine, remarks.

    The affine leads from voxels to RAS+ mm. Slices are ordered by their position, whatever the files are called. Values are
    rounded to whole HU (int16); float32 where they do not fit.

    Raises:
        ValueError: there is no DICOM series.
    """
    import itk

    finder = itk.GDCMSeriesFileNames.New()
    finder.SetUseSeriesDetails(True)
    finder.SetRecursive(True)
    finder.SetDirectory(str(folder))
    series = sorted((list(finder.GetFileNames(uid)) for uid in finder.GetSeriesUIDs()), key=len)
    if not series:
        raise ValueError(f"there is no DICOM series in {folder}")
    remarks = [f"{len(series)} DICOM series: the longest ({len(series[-1])} slices) is used"] if len(series) > 1 else []
    remarks += _uneven(series[-1])
    image = itk.imread(series[-1], itk.F)
    array = np.ascontiguousarray(itk.array_view_from_image(image).transpose(2, 1, 0))
    affine = np.eye(4)
    affine[:3, :3] = itk.array_from_matrix(image.GetDirection()) @ np.diag(list(image.GetSpacing()))
    affine[:3, 3] = list(image.GetOrigin())
    affine = LPS_TO_RAS @ affine
    if affine[2, 2] < 0:  # slices from head to feet: the other way round, for one convention
        affine = affine @ turn((2,), array.shape)
        array = np.ascontiguousarray(array[:, :, ::-1])
    if array.min() < -32768 or array.max() > 32767:
        return array, affine, remarks
    return np.rint(array).astype(np.int16), affine, remarks


def _uneven(files: list[str]) -> list[str]:
    """A remark where the slices are not evenly spaced, most often because some are missing."""
    import itk

    places = []
    reader = itk.GDCMImageIO.New()
    for file in files:
        reader.SetFileName(file)
        reader.ReadImageInformation()
        places.append([reader.GetOrigin(axis) for axis in range(3)])
    steps = np.linalg.norm(np.diff(np.array(places), axis=0), axis=1)
    if len(steps) < 2 or steps.max() - steps.min() <= 0.1 * np.median(steps):
        return []
    return [f"slices are not evenly spaced ({steps.min():.2f} to {steps.max():.2f} mm apart): some may be missing"]
