"""Writing NIfTI: bytes that depend on nothing but their content, whole files or none."""

from __future__ import annotations

import gzip
import logging
import os
import struct
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from bundle.files import written_aside
from bundle.grids import corner_gap, has_right_angles, spacing
from bundle.images.forms import Forms
from bundle.images.nifti import UNITS

# level 1 takes a tenth of the time of gzip's default; label maps are small anyway, and noise hardly compresses
COMPRESSION = 1
SLICES = 16
# of an extension that every reader passes over; TotalSegmentator writes the names of its label maps so
COMMENT_CODE = 0
_quiet = logging.getLogger("bundle.images.nibabel")


def write_nifti(
    path: str | os.PathLike,
    volumes: np.ndarray | Iterable[np.ndarray],
    affine: np.ndarray,
    *,
    count: int = 1,
    forms: Forms | None = None,
    scaled: bool = False,
    table: bytes = b"",
    aside: Callable[[Path], AbstractContextManager[Path]] = written_aside,
) -> None:
    """Write one compressed NIfTI-1 file, whole or not at all; no time stamp or name enters the gzip header.

    Args:
        path: the file.
        volumes: an array (X, Y, Z), stored with its own type, or `count` of them one after the other, of which only one need be
            in memory at a time.
        affine: (4, 4), voxel indices to mm, RAS+.
        count: how many volumes there are; several make a fourth axis.
        forms: qform and sform of the scan on whose grid this is, kept with their codes where they agree with `affine`, so that
            it is on the scan in every tool. Otherwise both forms are the affine; there is no qform for a sheared one, because a
            qform cannot shear.
        scaled: the values are multiples of 1/255.
        table: names of the values (`bundle.images.label_names.nifti_table`), an extension of the header that every reader passes over.
        aside: gives the path to write to, and moves it into place; `bundle.files.Staged.written` where several files take their places
            together.
    """
    each = iter([volumes] if isinstance(volumes, np.ndarray) else volumes)
    first = next(each)
    header = _header(first, np.asarray(affine, dtype=np.float64), count, forms, scaled)
    extension = _extension(table)
    header["vox_offset"] = 348 + len(extension)
    with aside(Path(path)) as hidden, open(hidden, "wb") as raw, gzip.GzipFile("", "wb", COMPRESSION, raw, mtime=0) as file:
        file.write(header.binaryblock + extension)
        volume: np.ndarray | None = first
        while volume is not None:
            for slab in np.array_split(volume.T, max(1, volume.shape[2] // SLICES)):
                file.write(np.ascontiguousarray(slab).data)
            volume = next(each, None)


def _header(volume: np.ndarray, affine: np.ndarray, count: int, forms: Forms | None, scaled: bool) -> Any:
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_dtype(volume.dtype)
    header.set_data_shape(volume.shape if count == 1 else (*volume.shape, count))
    header.set_xyzt_units("mm")
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner" if has_right_angles(affine) else "unknown")
    if forms is not None:
        kept = header.copy()
        forms.put_into(kept)
        if _same_place(kept, affine, volume.shape):
            header = kept
    header.set_slope_inter(1 / 255 if scaled else 1, 0)
    header["magic"] = b"n+1"
    return header


def _extension(table: bytes) -> bytes:
    """What follows the header: four bytes that say whether an extension comes, and it, its length a multiple of 16."""
    if not table:
        return bytes(4)
    length = 8 + len(table) + -(8 + len(table)) % 16
    # beginning at byte 352, itself a multiple of 16, so that voxels do as well
    return b"\1\0\0\0" + struct.pack("<ii", length, COMMENT_CODE) + table.ljust(length - 8, b"\0")


def _same_place(header: Any, affine: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether a header's own place and unit put the corners where the affine puts them, to a hundredth of a voxel."""
    header = header.copy()
    header.check_fix(_quiet, error_level=40)  # as nibabel reads it
    try:
        found = np.asarray(header.get_best_affine(), dtype=np.float64)
    except Exception:  # a quaternion that makes no sense
        return False
    found[:3] *= UNITS.get(int(header["xyzt_units"]) & 7, (1.0, ""))[0]
    return corner_gap(found, affine, shape) < 0.01 * spacing(affine).min()
