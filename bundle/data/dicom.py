"""DICOM series by ITK: which files belong together, in which order, on which grid."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bundle.errors import UserError

# how far one gap between slices may be from the usual one before slices count as missing
GAP_TOLERANCE = 0.25


def series_in(folder: str | os.PathLike, files: Sequence[Path] | None = None) -> list[list[str]]:
    """The series of images in one folder, each as its files in the order of the slices.

    Args:
        folder: what to look in; subfolders are not searched.
        files: if given, only these count.
    """
    import itk

    # what matters of ITK's warnings is an error of ours
    itk.Object.SetGlobalWarningDisplay(False)
    names = itk.GDCMSeriesFileNames.New()
    # details (orientation, rows, columns, ...) keep a localizer apart from the slices it shares a series with
    names.SetUseSeriesDetails(True)
    names.SetDirectory(str(folder))
    allowed = None if files is None else {os.path.realpath(file) for file in files}
    found = []
    for uid in names.GetSeriesUIDs():
        series = [str(file) for file in names.GetFileNames(uid)]
        kept = [file for file in series if allowed is None or os.path.realpath(file) in allowed]
        if kept:
            found.append(kept)
    return sorted(found)


def read_series(files: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and grid of a DICOM series whose files are in the order of the slices.

    Returns:
        values (X, Y, Z) in HU, and the affine (4, 4) from voxel indices to mm, RAS+. A tilted gantry gives a sheared affine.

    Raises:
        UserError: slices are missing, or do not belong to one volume.
    """
    import itk

    if len(files) == 1:
        image = itk.imread(str(files[0]))
        return itk.array_view_from_image(image).T, itk_affine(image)
    _, first = read_header(files[0])
    image_type = itk.Image[itk.SS if first["integer"] else itk.F, 3]
    reader = itk.ImageSeriesReader[image_type].New(FileNames=[str(file) for file in files], ImageIO=itk.GDCMImageIO.New())
    reader.Update()
    image = reader.GetOutput()
    affine = itk_affine(image)
    # ITK knows the spacing along the normal only: with a tilted gantry the slices move sideways too
    positions = _positions(files)
    affine[:3, 2] = _slice_step(positions, files)
    affine[:3, 3] = positions[0]
    return itk.array_view_from_image(image).T, affine


def read_header(file: str) -> tuple[tuple[int, ...], dict[str, object]]:
    """Size of a DICOM file without its pixels, and what its header says: position, components, integer or not.

    Raises:
        UserError: it is not an image.
    """
    import itk

    io = itk.GDCMImageIO.New()
    io.SetFileName(str(file))
    try:
        io.ReadImageInformation()
    except RuntimeError as error:
        raise UserError(file, "this DICOM file holds no image that ITK can read", "export it again") from error
    size = tuple(int(io.GetDimensions(axis)) for axis in range(io.GetNumberOfDimensions()))
    kind = io.GetComponentTypeAsString(io.GetComponentType())
    # values after slope and intercept; int16 holds every whole HU
    return size, {
        "integer": kind in ("char", "unsigned_char", "short"),
        "components": int(io.GetNumberOfComponents()),
        "origin": np.array([io.GetOrigin(axis) for axis in range(3)]),
    }


def itk_affine(image: object) -> np.ndarray:
    """Affine (4, 4) of an ITK image, voxel indices to mm, turned from ITK's LPS to RAS+."""
    import itk

    affine = np.eye(4)
    direction = itk.array_from_matrix(image.GetDirection())[:3, :3]
    affine[:3, :3] = direction * np.asarray(image.GetSpacing())[:3]
    affine[:3, 3] = np.asarray(image.GetOrigin())[:3]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _positions(files: Sequence[str]) -> np.ndarray:
    """Positions (N, 3) of the slices' first voxels in mm, RAS+."""
    origins = np.array([read_header(file)[1]["origin"] for file in files], dtype=float)
    return origins * np.array([-1.0, -1.0, 1.0])


def _slice_step(positions: np.ndarray, files: Sequence[str]) -> np.ndarray:
    """The step in mm from one slice to the next; `UserError` where it is not always the same."""
    steps = np.diff(positions, axis=0)
    gaps = np.linalg.norm(steps, axis=1)
    usual = float(np.median(gaps))
    where = os.path.dirname(files[0])
    if usual <= 0:
        raise UserError(where, "slices of this series lie at the same place", "export one series per folder")
    odd = np.flatnonzero(np.abs(gaps - usual) > GAP_TOLERANCE * usual)
    if odd.size:
        first, second = (os.path.basename(files[odd[0] + i]) for i in (0, 1))
        problem = f"between {first} and {second} lie {gaps[odd[0]]:.2f} mm, between other slices {usual:.2f} mm: slices are missing"
        raise UserError(where, problem, "export the whole series")
    return (positions[-1] - positions[0]) / (len(positions) - 1)
