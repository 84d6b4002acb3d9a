"""Voxels as a scan: which grids are refused, and values as int16 or float32 in one pass without a second volume."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

import numpy as np

from bundle.errors import UserError
from bundle.grids import is_singular
from bundle.limits import memory_limit

AIR = -1024.0
# voxels that are looked at at once
CHUNK = 1 << 19
INT16 = np.iinfo(np.int16)


def check_grid(where: str, shape: Sequence[int], *, dtype: np.dtype | None = None, components: int = 1) -> None:
    """Refuse what is not a 3-D scan with one value per voxel.

    Raises:
        UserError: with the reason.
    """
    shape = tuple(int(n) for n in shape)
    size = "x".join(map(str, shape))
    if components > 1 or (dtype is not None and dtype.names):
        raise UserError(
            where, "it has several values per voxel (a colour image or a series of volumes), a CT has one", "give the CT itself"
        )
    if dtype is not None and dtype.kind == "c":
        raise UserError(where, "an image of complex numbers, not a CT", "give the CT itself")
    if dtype is not None and dtype.kind not in "biuf":
        raise UserError(where, f"its voxels are of the type {dtype}, which is not a number", "export it again")
    if len(shape) == 4 and shape[0] == 1 and min(shape[1:]) > 1:
        raise UserError(where, f"its first axis is a channel ({size}), not the first axis of space", "save it as three axes X, Y, Z")
    if len(shape) > 3 and any(n != 1 for n in shape[3:]):
        raise UserError(where, f"a series of {prod(shape[3:])} volumes ({size}), not one scan", "store one volume per file")
    if len(shape) < 3 or shape[2] < 2 or min(shape[:3]) < 1:
        raise UserError(where, f"a two-dimensional image ({size}), not a volume", "give the whole series")
    if min(shape[:3]) < 2:
        raise UserError(where, f"the scan is one voxel thin ({size})", "give a volume of at least 2x2x2 voxels")


def check_size(where: str, shape: Sequence[int], bytes_per_voxel: float, memory_gb: float | None = None) -> None:
    """Refuse a grid whose voxels need more than the run may take, or than half of what this process may use at all.

    Args:
        where: the file.
        shape: sizes that its header claims.
        bytes_per_voxel: what a voxel takes while it is read.
        memory_gb: GB (10^9 bytes) for the run; None where it has no limit.

    Raises:
        UserError: it does not fit.
    """
    needed = prod(float(n) for n in shape) * bytes_per_voxel
    most, words = budget(memory_gb)
    if needed > most:
        size = "x".join(str(int(n)) for n in shape)
        problem = f"its header claims {size} voxels, {needed / 1e9:.3g} GB, more than {words}"
        fix = "raise memory_gb or crop the scan" if words.startswith("memory_gb") else "crop the scan"
        raise UserError(where, problem, f"check the header; if it is right, {fix}")


def budget(memory_gb: float | None) -> tuple[float, str]:
    """Bytes that one scan may take, and what that is, in words.

    Args:
        memory_gb: GB (10^9 bytes) for the run; None where it has no limit.
    """
    total = memory_limit()
    if memory_gb is not None and memory_gb * 1e9 < total / 2:
        return memory_gb * 1e9, f"memory_gb, {memory_gb:g}"
    return total / 2, f"half of the {total / 1e9:.3g} GB that this process may use"


def check_affine(where: str, affine: np.ndarray) -> None:
    """Refuse an affine (4, 4) that gives voxels no place or no size.

    Raises:
        UserError: it is singular, or holds what is not a number.
    """
    if is_singular(affine):
        raise UserError(where, "the affine in its header is singular, so voxels have no place or size", "repair the header")


def as_scan(chunks: Iterable[np.ndarray], size: int, where: str) -> tuple[np.ndarray, int]:
    """Chunks of values as one array: int16 where that loses nothing, otherwise float32 with air in place of what is not a number.

    Args:
        chunks: one-dimensional arrays of numbers, in all `size` of them.
        size: how many voxels there are.
        where: the file, for messages.

    Returns:
        (size,), int16 or float32; and how many voxels were NaN or infinite, where air stands now.

    Raises:
        UserError: no voxel holds a number.
    """
    out = np.empty(0, dtype=np.int16)
    at = finite_ones = 0
    for chunk in chunks:
        if chunk.dtype.kind == "f":
            with np.errstate(over="ignore"):
                values = chunk.astype(np.float32, copy=False)
            finite = np.isfinite(values)
            number = int(np.count_nonzero(finite))
            finite_ones += number
            if number < values.size:
                values = np.where(finite, values, np.float32(AIR))
        else:
            finite_ones += chunk.size
            values = chunk if _fits_int16(chunk) else chunk.astype(np.float32)
        wanted = np.dtype(np.float32 if values.dtype.kind == "f" else np.int16)
        if at == 0:
            out = np.empty(size, dtype=wanted)
        elif out.dtype == np.int16 and wanted == np.float32:
            out = out.astype(np.float32)
        out[at : at + values.size] = values
        at += values.size
    if size and not finite_ones:
        raise UserError(where, "no voxel holds a number (all are NaN or infinite)", "export the scan again")
    return out, size - finite_ones


def array_as_scan(values: np.ndarray, where: str) -> tuple[np.ndarray, int]:
    """An array (X, Y, Z) as `as_scan` gives it, in the order of memory that it has; itself where it is int16 already.

    Returns:
        (X, Y, Z), int16 or float32; and how many voxels were NaN or infinite, where air stands now.

    Raises:
        UserError: no voxel holds a number.
    """
    if values.dtype == np.int16 and values.dtype.isnative:
        return values, 0
    fortran = values.flags.f_contiguous
    flat = values.reshape(-1, order="F" if fortran else "C")
    native = (flat[start : start + CHUNK] for start in range(0, flat.size, CHUNK))
    scan, replaced = as_scan((part.astype(part.dtype.newbyteorder("="), copy=False) for part in native), flat.size, where)
    return scan.reshape(values.shape, order="F" if fortran else "C"), replaced


def _fits_int16(values: np.ndarray) -> bool:
    return np.can_cast(values.dtype, np.int16) or bool(values.min() >= INT16.min and values.max() <= INT16.max)
