"""What the first bytes of a volume file say, before anything reads it as an image: whether its voxels are labels, and its grid."""

from __future__ import annotations

import bz2
import re
import struct
import zlib
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
    """What the header of a NIfTI or NRRD file says; nothing for other and for damaged files."""
    try:
        with open(path, "rb") as file:
            start = file.read(HEADER_BYTES)
    except OSError:
        return Start()
    if ending(path) in (".nrrd", ".nhdr"):
        # as 3D Slicer writes it: Segment0_Name:=spleen
        header = re.split(rb"\r?\n\r?\n", start, maxsplit=1)[0]
        return Start(labels=re.search(rb"^Segment(0_|ation_)\w+:=", header, re.MULTILINE) is not None)
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
        grid = (*dims[1:4], *(round(abs(edge), 3) for edge in edges[1:4]))
        return Start(intent == INTENT_LABEL or b"<LabelTable" in header[348:], code in EIGHT_BITS and unscaled, grid)
    return Start()
