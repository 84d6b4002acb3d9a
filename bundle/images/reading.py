"""Reading one image, whatever its format: voxels, affine in mm, and what its header leaves open."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bundle.errors import UserError, counted
from bundle.images import itk_files, nifti, streams
from bundle.images.forms import Forms
from bundle.images.names import kind
from bundle.images.voxels import array_as_scan, as_scan, check_affine, check_grid, check_size

Source = str | os.PathLike | Sequence[str | os.PathLike]

# what is so where a format does not say anything else
UNKNOWN = {"orientation_known": True, "not_numbers": 0}


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
        a dictionary of `orientation_known` (whether the header says which side is which), `nifti_forms` (`Forms.numbers`
        of a NIfTI, zeros for other formats) and `not_numbers` (how many voxels were NaN or infinite, where air stands now).

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
        return values, affine, {**UNKNOWN, "nifti_forms": Forms.none(), **extra}
    except Exception as error:
        raise unreadable(where, error) from error


def read_channel(source: Source, kind: str, *, memory_gb: float | None = None) -> tuple[np.ndarray, np.ndarray, dict]:
    """One channel of a case (`bundle.channels`): voxels (X, Y, Z), affine and `extra`, as `read_scan`.

    Args:
        source: a file, a folder that holds one DICOM series, or the files of a series.
        kind: "ct" as `read_scan`; "pet" is SUV, which a DICOM series is made by its header and a file is taken for; others are the
            numbers that are stored. But for a CT voxels are float32, 0 where they are no numbers.
        memory_gb: as `read_scan`.

    Raises:
        UserError: as `read_scan`; a PET series that does not say its SUV.
    """
    if kind == "ct":
        return read_scan(source, memory_gb=memory_gb)
    files = [os.fspath(source)] if isinstance(source, (str, os.PathLike)) else [os.fspath(file) for file in source]
    if kind == "pet" and _is_dicom(files[0]):
        try:
            values, affine, extra = _pet_series(files, memory_gb)
        except Exception as error:
            raise unreadable(files[0], error) from error
        return values, affine, {**UNKNOWN, "nifti_forms": Forms.none(), **extra}
    values, affine, extra = read(files if len(files) > 1 else files[0], memory_gb=memory_gb)
    return numbers(values), affine, extra


def volumes(path: str | os.PathLike) -> int:
    """How many volumes a NIfTI file holds by its header; 1 for what is no NIfTI file."""
    if os.path.isdir(path) or kind(path) != "nifti":
        return 1
    try:
        return int(np.prod(nifti.header(path).shape[3:], dtype=np.int64))
    except Exception as error:
        raise unreadable(path, error) from error


def read_volumes(
    path: str | os.PathLike, kinds: Sequence[str], *, memory_gb: float | None = None
) -> tuple[list[np.ndarray], np.ndarray, dict]:
    """The channels of a NIfTI file whose fourth axis they are, as MSD has them; each as `read_channel`.

    Args:
        path: the file.
        kinds: of the channels, in their order.
        memory_gb: as `read_scan`.

    Returns:
        an array (X, Y, Z) for each kind; affine and `extra` as `read_scan`, whose `not_numbers` are those of the first channel.

    Raises:
        UserError: it has another number of volumes, or as `read_scan`.
    """
    try:
        stored = nifti.header(path)
        if tuple(stored.shape[3:]) != (len(kinds),):
            size = "x".join(map(str, stored.shape))
            problem = f"its size is {size}, and {counted(len(kinds), 'channel is', 'channels are')} wanted on its fourth axis"
            raise UserError(path, problem, "store one volume per channel")
        check_grid(stored.path, stored.shape[:3], dtype=stored.dtype)
        check_affine(stored.path, stored.affine)
        check_size(stored.path, stored.shape, max(stored.loaded_width, stored.dtype.itemsize), memory_gb)
        stored.check_length()
        parts = np.concatenate(list(stored.values())).reshape(stored.shape, order="F")
    except Exception as error:
        raise unreadable(path, error) from error
    found = [array_as_scan(parts[..., k], str(path)) if one == "ct" else (numbers(parts[..., k]), 0) for k, one in enumerate(kinds)]
    forms = Forms.none() if stored.forms is None else stored.forms.numbers
    extra = {"orientation_known": stored.orientation_known, "nifti_forms": forms, "not_numbers": found[0][1]}
    return [values for values, _ in found], stored.affine, extra


def numbers(values: np.ndarray) -> np.ndarray:
    """float32, with 0 in place of what is not a number."""
    return np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _is_dicom(path: str) -> bool:
    return os.path.isdir(path) or kind(path) not in ("nifti", "mgh", "itk")


def _pet_series(files: list[str], memory_gb: float | None) -> tuple[np.ndarray, np.ndarray, dict]:
    from bundle.dicom import read_shape
    from bundle.dicom.suv import read_suv

    where = files[0]
    if os.path.isdir(where):
        files = _largest_series(where, pet=True)
    shape = read_shape(files, pet=True)
    check_grid(where, shape)
    check_size(where, shape, 4, memory_gb)
    values, affine = read_suv(files)
    return numbers(values).reshape(values.shape[:3], order="F"), affine, {}


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
    extra: dict[str, Any] = {"orientation_known": stored.orientation_known}
    if scan:
        values, extra["not_numbers"] = as_scan(stored.values(), stored.size, stored.path)
    else:
        values, at = np.empty(0), 0
        for part in stored.values():
            if at == 0:
                values = np.empty(stored.size, dtype=part.dtype)
            values[at : at + part.size] = part
            at += part.size
    if stored.forms is not None:
        extra["nifti_forms"] = stored.forms.numbers
    return values.reshape(stored.shape[:3], order="F"), stored.affine, extra


def _largest_series(folder: str, pet: bool = False) -> list[str]:
    """The largest series of a folder, of CT or of PET; `find_scans` lists each by its slices.

    Raises:
        UserError: there is none, two are of the same size, or a file that may be a slice cannot be read.
    """
    from bundle.dicom import find_series, looks_like_dicom, series_in

    names = sorted(Path(folder).iterdir())
    found, _ = find_series((name for name in names if looks_like_dicom(name)), pet)
    for one in found:
        if one.problem and not one.uid:
            raise UserError(one.files[0], one.problem, one.fix)
    broken = next((name for name in names if kind(name) == "dicom" and not looks_like_dicom(name)), None)
    if found and broken is not None:
        problem = "this is not a DICOM file, in spite of its name, and may be a slice"
        raise UserError(broken, problem, "copy or export it again, or remove it")
    largest = sorted((one.files for one in found), key=len, reverse=True)[:2]
    if not largest:
        series_in(folder, pet=pet)  # says what else is there
        raise UserError(
            folder, f"no {'PET' if pet else 'DICOM image'} is in this folder", "give a file, or the folder that holds the slices"
        )
    if len(largest) > 1 and len(largest[0]) == len(largest[1]):
        problem = f"two series of {counted(len(largest[0]), 'slice')} each are in this folder: nothing says which of them is meant"
        raise UserError(folder, problem, "put each into a folder of its own, or give the files of one")
    return list(largest[0])


def _dicom(where: str, files: list[str], scan: bool, memory_gb: float | None) -> tuple[np.ndarray, np.ndarray, dict]:
    from bundle.dicom import read_series, read_shape

    shape = read_shape(files)
    check_grid(where, shape)
    check_size(where, shape, 2, memory_gb)
    values, affine = read_series(files)
    values = values.reshape(values.shape[:3], order="F")
    if not scan:
        return values, affine, {}
    values, replaced = array_as_scan(values, where)
    return values, affine, {"not_numbers": replaced}
