"""NRRD and MetaImage by ITK, in the reader's process; what ITK takes for granted in silence is looked up in the header first."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bundle import reader_process
from bundle.errors import UserError, counted
from bundle.images import streams
from bundle.images.names import ending
from bundle.images.voxels import CHUNK, array_as_scan, as_scan, check_affine, check_grid, check_size
from bundle.reader_child import load_itk

MOST_HEADER = 1 << 20
META_ENDINGS = (".mha", ".mhd")
# three-dimensional spaces that say which side is which (http://teem.sourceforge.net/nrrd/format.html#space)
SPACES = re.compile(r"(left|right)-(anterior|posterior)-(superior|inferior)|[lr][ap][si]", re.IGNORECASE)
META_MM = {"", "mm", "?"}
# names of one field of MetaImage, the first that is there counts
META_ORIGIN, META_DIRECTIONS = ("Offset", "Position", "Origin"), ("TransformMatrix", "Rotation", "Orientation")
# types that ITK's Python does not read as they are: what they are read as, and what they are
READ_AS = {"char": ("SS", "i1"), "long": ("D", "i8"), "long_long": ("D", "i8"), "unsigned_long": ("ULL", "u8")}
MOST_EXACT = 2.0**53  # of whole numbers in float64


def read(path: str, scan: bool, memory_gb: float | None) -> tuple[np.ndarray, np.ndarray, dict]:
    """Voxels (X, Y, Z), affine (4, 4) in RAS+ mm, and whether the sides are known; of a scan also what was not a number.

    Args:
        path: the file.
        scan: int16 or float32 as `voxels.as_scan` makes them; otherwise the stored type.
        memory_gb: what the run may take.

    Raises:
        UserError: the header does not say how large voxels are, the file is damaged, or no 3-D image.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        problem = "its name, or that of a folder above it, is not UTF-8, so that ITK cannot open it"
        raise UserError(path, problem, "give it another name, or save it as .nii.gz") from None
    fields, end = header_fields(path)
    known, packed = _checked_meta(path, fields, end) if ending(path) in META_ENDINGS else (_checked_nrrd(path, fields), None)
    values, affine, extra = reader_process.call(
        "bundle.images.itk_files:_read_here", path, scan, memory_gb, packed is None, where=path, memory_gb=_allowed(memory_gb)
    )
    if packed is not None:
        values, extra = _unpacked(path, *packed, np.dtype(extra["stored"]), tuple(extra["shape"]), scan)
    return values, affine, {**extra, "orientation_known": known}


def header_fields(path: str) -> tuple[dict[str, str], int]:
    """The fields of a NRRD or MetaImage header, and the byte at which the header ends.

    Names are as ITK takes them: those of NRRD in small letters, whatever the file has; those of MetaImage as they are spelled, because
    MetaIO passes over one in other letters. Lines of NRRD with `:=` are notes of the writer and not fields.
    """
    streams.check_regular(path)
    with open(path, "rb") as file:
        text = file.read(MOST_HEADER)
    fields: dict[str, str] = {}
    meta, at = ending(path) in META_ENDINGS, 0
    if not meta and not text.startswith(b"NRRD"):
        raise UserError(path, "the file cannot be read as an image (it does not begin as NRRD does)", "check that it is a scan")
    for line in text.splitlines(keepends=True):
        at += len(line)
        plain = line.decode("latin-1").strip()
        if not meta and not plain:
            break
        name, found, value = plain.partition("=" if meta else ":")
        name = name.strip() if meta else name.strip().lower()
        if found and not plain.startswith("#") and (meta or not value.startswith("=")):
            fields[name] = value.strip()
        if meta and name == "ElementDataFile":
            break
    return fields, at


def _allowed(memory_gb: float | None) -> float:
    from bundle.limits import memory_limit

    most = memory_limit() / 1e9
    return most if memory_gb is None else min(most, memory_gb)


def _checked_nrrd(path: str, fields: dict[str, str]) -> bool:
    """Refuse a NRRD without voxel sizes; say whether it knows its sides."""
    if fields.get("encoding", "").lower() in ("bz2", "bzip2"):
        raise UserError(path, "its voxels are compressed by bzip2, which ITK does not read", "save it with gzip compression")
    axes = re.findall(r"\(([^)]*)\)|none", fields.get("space directions", ""))
    axes = [_numbers(axis) for axis in axes if axis]
    edges = [float(np.linalg.norm(axis)) for axis in axes] or _numbers(fields.get("spacings", ""))
    # axes that are not axes of space have NaN for a size
    good = [edge for edge in edges if np.isfinite(edge) and edge > 0]
    if len(good) < 3:
        fix = "export it again, or add a line such as `spacings: 0.8 0.8 2.5` (mm) to its header"
        raise UserError(path, "its header gives no voxel size (neither space directions nor spacings of three axes)", fix)
    units = {unit.strip('" ').lower() for unit in re.findall(r'"[^"]*"', fields.get("space units", "") or fields.get("units", ""))}
    if wrong := units - {"mm", "millimeter", "millimeters", "millimetre", ""}:
        raise UserError(path, f"its header counts in {min(wrong)}, not in mm", "export it in mm")
    _check_data_file(path, fields.get("data file", fields.get("datafile", "")))
    return bool(axes) and SPACES.match(fields.get("space", "")) is not None


def _checked_meta(path: str, fields: dict[str, str], end: int) -> tuple[bool, tuple[str, int, bool] | None]:
    """Refuse a MetaImage without voxel sizes; say whether it knows its sides, and where its voxels are if they are packed."""
    if "ElementDataFile" not in fields:
        raise UserError(path, "the file cannot be read as an image (its header names no ElementDataFile)", "check that it is a scan")
    edges = _numbers(fields.get("ElementSpacing", "") or fields.get("ElementSize", ""))[:3]
    if len(edges) < 3 or not all(np.isfinite(edge) and edge > 0 for edge in edges):
        fix = "export it again, or add a line such as `ElementSpacing = 0.8 0.8 2.5` (mm) before ElementDataFile"
        raise UserError(path, "its header gives no voxel size (no ElementSpacing of three sizes in mm)", fix)
    place = next((name for name in META_ORIGIN if name in fields), None)
    if place is not None and len(_numbers(fields[place])) < 3:
        raise UserError(path, f"{place} in its header is {fields[place]!r}, not three numbers (mm)", "export it again")
    unit = fields.get("DistanceUnits", "").strip().lower()
    if unit not in META_MM:
        raise UserError(path, f"its header counts in {unit}, not in mm", "export it in mm")
    slope, offset = (fields.get(f"ElementToIntensityFunction{name}", "") for name in ("Slope", "Offset"))
    if _numbers(slope or "1") != [1.0] or _numbers(offset or "0") != [0.0]:
        problem = f"its header scales the values (slope {slope or 1}, offset {offset or 0}), which ITK and the tools built on it leave out"
        raise UserError(path, problem, "store the HU themselves, without ElementToIntensityFunctionSlope and Offset")
    _check_data_file(path, fields["ElementDataFile"])
    return any(name in fields for name in META_DIRECTIONS), _packed_voxels(path, fields, end)


def _check_data_file(path: str, name: str) -> None:
    if not name or "%" in name or name.upper().startswith("LIST") or name.upper() == "LOCAL":
        return
    data = Path(path).parent / name
    if not data.exists():
        raise UserError(path, f"the file with its voxels, {name}, is not there", "put it next to the header")
    streams.check_regular(data)


def _packed_voxels(path: str, fields: dict[str, str], end: int) -> tuple[str, int, bool] | None:
    """File, first byte and byte order of voxels that are one compressed stream: ITK takes damaged ones as they are."""
    if not _true(fields.get("CompressedData", "")):
        return None
    name = fields["ElementDataFile"]
    most = _true(fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "")))
    if name.upper() == "LOCAL":
        return path, end, most
    if "%" in name or name.upper().startswith("LIST"):
        return None
    skipped = fields.get("HeaderSize", "") or "0"
    if not skipped.isdecimal():
        problem = f"HeaderSize in its header is {skipped}, which does not say where compressed voxels begin"
        raise UserError(path, problem, "set it to the number of bytes before them")
    return str(Path(path).parent / name), int(skipped), most


def _unpacked(
    path: str, file: str, start: int, big_endian: bool, dtype: np.dtype, shape: tuple[int, ...], scan: bool
) -> tuple[np.ndarray, dict]:
    size = int(np.prod(shape))
    stored = dtype.newbyteorder(">" if big_endian else "<")
    chunks = (part.astype(dtype, copy=False) for part in _inflated(path, file, start, stored, size))
    if scan:
        found, replaced = as_scan(chunks, size, path)
        return found.reshape(shape[:3], order="F"), {"not_numbers": replaced}
    values, at = np.empty(size, dtype=dtype), 0
    for part in chunks:
        values[at : at + part.size] = part
        at += part.size
    return values.reshape(shape[:3], order="F"), {}


def _inflated(path: str, file: str, start: int, dtype: np.dtype, size: int) -> Iterator[np.ndarray]:
    """The voxels of a zlib (or gzip) stream, some at a time, and its checksum compared at the end."""
    stream = zlib.decompressobj(wbits=47)
    kept, left, most = bytearray(), size * dtype.itemsize, CHUNK * dtype.itemsize
    with open(file, "rb") as source:
        source.seek(start)
        waiting = b""
        while not stream.eof:
            waiting = waiting or source.read(streams.STEP)
            part = stream.decompress(waiting, most)
            if not part and not waiting:
                raise EOFError(f"it ends {counted(left - len(kept), 'byte')} too early")
            waiting = stream.unconsumed_tail
            kept += part
            if len(kept) > left:
                raise UserError(path, "it holds more voxels than its header says", "export it again")
            if len(kept) >= most:
                whole = len(kept) // dtype.itemsize * dtype.itemsize
                yield np.frombuffer(bytes(kept[:whole]), dtype)
                left -= whole
                del kept[:whole]
    if len(kept) != left:
        raise EOFError(f"it ends {counted(left - len(kept), 'byte')} too early")
    yield np.frombuffer(bytes(kept), dtype)


def _true(text: str) -> bool:
    """A switch as MetaIO reads it, by its first letter: True, T, true, 1."""
    return text[:1] in ("T", "t", "1") and text != ""


def _numbers(text: str) -> list[float]:
    found = []
    for word in re.split(r"[\s,]+", text.strip()):
        try:
            found.append(float(word))
        except ValueError:
            found.append(float("nan"))
    return found


# ---- in the reader's process


def _read_here(path: str, scan: bool, memory_gb: float | None, voxels: bool) -> tuple[np.ndarray | None, np.ndarray, dict]:
    """Voxels (unless they are not wanted), affine, and the stored type and shape."""
    itk = load_itk()
    # chosen here, because ITK's own choice overlooks endings in capitals
    io = itk.MetaImageIO.New() if ending(path) in META_ENDINGS else itk.NrrdImageIO.New()
    io.SetFileName(path)
    io.ReadImageInformation()
    shape = tuple(int(io.GetDimensions(axis)) for axis in range(io.GetNumberOfDimensions()))
    width = int(io.GetComponentSize())
    check_grid(path, shape, components=int(io.GetNumberOfComponents()))
    check_size(path, shape, width, memory_gb)
    if io.GetPixelTypeAsString(io.GetPixelType()) != "scalar":
        raise UserError(path, "its voxels are vectors of one value (a fourth axis of length 1)", "save it as three axes X, Y, Z")
    affine = _affine(io)
    check_affine(path, affine)
    if not voxels:
        kind = io.GetComponentTypeAsString(io.GetComponentType())
        letter = "f" if kind in ("float", "double") else "u" if kind.startswith("unsigned") else "i"
        return None, affine, {"stored": f"{letter}{width}", "shape": shape}
    _check_length(path, int(np.prod(shape)) * width)
    # through a memoryview, which keeps ITK's image alive as long as the array
    letters, stored = READ_AS.get(io.GetComponentTypeAsString(io.GetComponentType()), ("", ""))
    pixel = {"pixel_type": getattr(itk, letters)} if letters else {}
    values = np.asarray(memoryview(itk.array_view_from_image(itk.imread(path, imageio=io, **pixel)))).T
    values = values.reshape(values.shape[:3], order="F")
    if stored:
        if values.dtype.kind == "f" and np.abs(values).max() > MOST_EXACT:
            raise UserError(path, "it has 64-bit values that are no HU and no labels", "export it again, in 16 or 32 bits")
        values = values.astype(stored, order="F")
    if not scan:
        return values, affine, {}
    values, replaced = array_as_scan(values, path)
    return values, affine, {"not_numbers": replaced}


def _check_length(path: str, claimed: int) -> None:
    """Refuse raw voxels that are not all there, which ITK says in words that do not fit."""
    fields, _ = header_fields(path)
    local = fields.get("ElementDataFile", fields.get("data file", fields.get("datafile", "LOCAL"))).upper() == "LOCAL"
    raw = _true(fields.get("BinaryData", "")) or fields.get("encoding", "").lower() == "raw"
    there = os.path.getsize(path)
    if local and raw and claimed > there:
        problem = f"the file is truncated: its header claims {counted(claimed, 'byte')} of voxels, the whole file has {there}"
        raise UserError(path, problem, "copy or export it again")


def _affine(io: Any) -> np.ndarray:
    """Affine (4, 4), voxel indices to mm, turned from ITK's LPS to RAS+."""
    affine = np.eye(4)
    for axis in range(3):
        affine[:3, axis] = np.asarray(io.GetDirection(axis), dtype=float)[:3] * io.GetSpacing(axis)
        affine[axis, 3] = io.GetOrigin(axis)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
