"""Reading one image, whatever its format: voxels, affine in mm, and what its header leaves open."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from bundle.errors import UserError
from bundle.images import itk_files, nifti, streams
from bundle.images.forms import Forms
from bundle.images.names import kind
from bundle.images.voxels import array_as_scan, as_scan, check_affine, check_grid, check_size

Source = str | os.PathLike | Sequence[str | os.PathLike]


def read(source: Source, *, memory_gb: float | None = None) -> tuple[np.ndarray, np.ndarray, dict]:
    """Voxels of the type that the file stores them in, affine in mm, and `extra`, as `read_scan`. For label maps and the like.

    Where stored values are scaled, voxels are int32 (whole offsets) or float32.

    Raises:
        UserError: as `read_scan`.
    """
    return _read(source, False, memory_gb)


def read_scan(source: Source, *, memory_gb: float | None = None) -> tuple[np.ndarray, np.ndarray, dict]:
    """One scan in HU, its affine, and what else its header says. Reads a file once, to its end, with checksums compared.

    Args:
        source: a file, a folder that holds one DICOM series, or the files of a series.
        memory_gb: GB (10^9 bytes) that the run may take: a scan that needs more is refused before it is read.

    Returns:
        values (X, Y, Z), int16 or float32 (air in place of what is not a number); affine (4, 4), voxel indices to mm, RAS+; and
        a dictionary of `orientation_known` (whether the header says which side is which) and `nifti_forms` (`Forms.numbers`
        of a NIfTI, zeros for other formats).

    Raises:
        UserError: no such file, no 3-D image with one value per voxel, no voxel size, damage, or too large.
    """
    return _read(source, True, memory_gb)


def _read(source: Source, scan: bool, memory_gb: float | None) -> tuple[np.ndarray, np.ndarray, dict]:
    files = [os.fspath(source)] if isinstance(source, (str, os.PathLike)) else [os.fspath(file) for file in source]
    where = files[0]
    try:
        values, affine, extra = _by_kind(files, scan, memory_gb)
        check_affine(where, affine)
        return values, affine, {"orientation_known": True, "nifti_forms": Forms.none(), **extra}
    except Exception as error:
        raise unreadable(where, error) from error


def unreadable(where: str | os.PathLike, error: Exception) -> UserError:
    """What a library said about a file, as an error that names the file, the reason and the fix."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile)):
        return UserError(where, f"the file is truncated or damaged ({error})", "copy or export it again")
    if isinstance(error, MemoryError):
        return UserError(where, "the scan does not fit into memory", "crop it or use a machine with more memory")
    lines = str(error).strip().splitlines()
    reason = lines[-1][:200] if lines else type(error).__name__
    if "No such file" in reason or reason.startswith("Reason:"):  # what ITK says of a file that ends too early
        reason = "its voxels are incomplete"
    return UserError(where, f"the file cannot be read as an image ({reason})", "check that it is a scan and is complete")


def _by_kind(files: list[str], scan: bool, memory_gb: float | None) -> tuple[np.ndarray, np.ndarray, dict]:
    where = files[0]
    if os.path.isdir(where):
        return _dicom(where, _largest_series(where), scan, memory_gb)
    streams.check_regular(where)
    found = kind(where)
    if found in ("nifti", "mgh"):
        return read_stored(nifti.header(where), scan, memory_gb)
    if found == "itk":
        return itk_files.read(where, scan, memory_gb)
    return _dicom(where, files, scan, memory_gb)


def read_stored(stored: nifti.Stored, scan: bool, memory_gb: float | None) -> tuple[np.ndarray, np.ndarray, dict]:
    """The voxels of a file whose header was read by `nifti.header`; int16 or float32 as of a scan, or the file's own type."""
    check_grid(stored.path, stored.shape, dtype=stored.dtype)
    check_affine(stored.path, stored.affine)
    width = stored.loaded_width if scan else stored.dtype.itemsize
    check_size(stored.path, stored.shape, width, memory_gb)
    stored.check_length()
    if scan:
        values = as_scan(stored.values(), stored.size, stored.path)
    else:
        values, at = np.empty(0), 0
        for part in stored.values():
            if at == 0:
                values = np.empty(stored.size, dtype=part.dtype)
            values[at : at + part.size] = part
            at += part.size
    extra: dict[str, Any] = {"orientation_known": stored.orientation_known}
    if stored.forms is not None:
        extra["nifti_forms"] = stored.forms.numbers
    return values.reshape(stored.shape[:3], order="F"), stored.affine, extra


def _largest_series(folder: str) -> list[str]:
    from bundle.dicom import series_in

    series = series_in(folder)
    if not series:
        raise UserError(folder, "no DICOM image is in this folder", "give a file, or the folder that holds the slices")
    # of several series the largest; find_scans lists each by its slices
    return max(series, key=len)


def _dicom(where: str, files: list[str], scan: bool, memory_gb: float | None) -> tuple[np.ndarray, np.ndarray, dict]:
    from bundle.dicom import read_series, read_shape

    shape = read_shape(files)
    check_grid(where, shape)
    check_size(where, shape, 2, memory_gb)
    values, affine = read_series(files)
    values = values.reshape(values.shape[:3], order="F")
    return array_as_scan(values, where) if scan else values, affine, {}
