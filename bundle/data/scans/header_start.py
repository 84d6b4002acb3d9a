"""What the first bytes of a volume file say, before anything reads it as an image: whether its voxels are labels, and its grid."""

from __future__ import annotations

import bz2
import math
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bundle.images.names import ending, kind

HEADER_BYTES = 8192
# NIFTI_INTENT_LABEL: "the value at each voxel is an index into some set of labels" (nifti1.h)
INTENT_LABEL = 1002
EIGHT_BITS = (1, 2, 256)  # NIfTI's codes for bits, uint8 and int8


class Start(NamedTuple):
    """What a header says: `labels` that voxels are labels; `small` that they are unscaled 8-bit numbers; size and spacing."""

    labels: bool = False
    small: bool = False
    grid: tuple[float, ...] = ()


def read_start(path: Path) -> Start:
    """What the header of a NIfTI, NRRD or MetaImage file says; nothing for other and for damaged files."""
    try:
        with open(path, "rb") as file:
            start = file.read(HEADER_BYTES)
    except OSError:
        return Start()
    if ending(path) in (".nrrd", ".nhdr"):
        return _nrrd(re.split(rb"\r?\n\r?\n", start, maxsplit=1)[0])
    if ending(path) in (".mha", ".mhd"):
        return _meta_image(start)
    if kind(path) != "nifti":
        return Start()
    try:
        if start[:2] == b"\x1f\x8b":
            start = zlib.decompressobj(31).decompress(start, HEADER_BYTES)
        elif start[:3] == b"BZh":
            with bz2.open(path) as file:
                start = file.read(HEADER_BYTES)
    except (zlib.error, OSError, EOFError):
        return Start()
    return _nifti(start)


def _nrrd(header: bytes) -> Start:
    """NRRD; 3D Slicer writes what each segment is called behind the fields: Segment0_Name:=spleen."""
    fields = dict(re.findall(r"^([\w ]+): *(.*?)\r?$", header.decode("latin-1"), re.MULTILINE))
    labels = re.search(rb"^Segment(0_|ation_)\w+:=", header, re.MULTILINE) is not None
    small = fields.get("type", "").strip() in ("uchar", "unsigned char", "uint8", "uint8_t", "signed char", "int8", "int8_t")
    vectors = re.findall(r"\(([^)]*)\)", fields.get("space directions", ""))
    edges = [math.hypot(*_numbers(vector.replace(",", " "))) for vector in vectors] or _numbers(fields.get("spacings", ""))
    return Start(labels, small, _grid(_numbers(fields.get("sizes", "")), edges))


def _meta_image(start: bytes) -> Start:
    """MHA or MHD."""
    header = start.split(b"ElementDataFile", maxsplit=1)[0].decode("latin-1")
    fields = dict(re.findall(r"^(\w+) *= *(.*?)\r?$", header, re.MULTILINE))
    small = fields.get("ElementType", "").strip() in ("MET_UCHAR", "MET_CHAR")
    return Start(False, small, _grid(_numbers(fields.get("DimSize", "")), _numbers(fields.get("ElementSpacing", ""))))


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split()]
    except ValueError:
        return []


def _grid(sizes: Sequence[float], edges: Sequence[float]) -> tuple[float, ...]:
    """Size and spacing of three axes; empty where they are not known."""
    grid = (*sizes[:3], *(round(abs(edge), 3) for edge in edges[:3]))
    return tuple(map(float, grid)) if len(grid) == 6 else ()


def _nifti(header: bytes) -> Start:
    """NIfTI of either version and byte order; TotalSegmentator and Workbench put a table of labels behind the header."""
    for order in "<>":
        if len(header) >= 348 and struct.unpack_from(f"{order}i", header)[0] == 348 and header[344:347] in (b"n+1", b"ni1"):
            dims, edges = struct.unpack_from(f"{order}8h", header, 40), struct.unpack_from(f"{order}8f", header, 76)
            intent, code = struct.unpack_from(f"{order}2h", header, 68)
            slope = struct.unpack_from(f"{order}f", header, 112)[0]
        elif len(header) >= 540 and struct.unpack_from(f"{order}i", header)[0] == 540:
            dims, edges = struct.unpack_from(f"{order}8q", header, 16), struct.unpack_from(f"{order}8d", header, 104)
            (intent,), (code,) = struct.unpack_from(f"{order}i", header, 504), struct.unpack_from(f"{order}h", header, 12)
            slope = struct.unpack_from(f"{order}d", header, 176)[0]
        else:
            continue
        unscaled = slope in (0, 1) or slope != slope
        labels = intent == INTENT_LABEL or b"<LabelTable" in header[348:]
        return Start(labels, code in EIGHT_BITS and unscaled, _grid(dims[1:4], edges[1:4]))
    return Start()
