"""Elements of a DICOM header as they are stored: pydicom finds them, here their bytes become text and numbers.

pydicom's own conversion warns about values or refuses them one by one; here a value that is not what it should be is one error
that names the element. It is faster too: of some 150 elements of a slice, 30 matter.
"""

from __future__ import annotations

import io
import logging
import math
import os
import re
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta, timezone
from typing import Any, BinaryIO

# what matters of pydicom's warnings is an error of ours
warnings.filterwarnings("ignore", module="pydicom")
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

TAGS = {
    "ImageType": 0x00080008,
    "SOPClassUID": 0x00080016,
    "SOPInstanceUID": 0x00080018,
    "AcquisitionDateTime": 0x0008002A,
    "AcquisitionTime": 0x00080032,
    "ContentTime": 0x00080033,
    "Modality": 0x00080060,
    "SeriesDescription": 0x0008103E,
    "PatientID": 0x00100020,
    "ConvolutionKernel": 0x00181210,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
    "SeriesNumber": 0x00200011,
    "AcquisitionNumber": 0x00200012,
    "ImagePositionPatient": 0x00200032,
    "ImageOrientationPatient": 0x00200037,
    "FrameOfReferenceUID": 0x00200052,
    "TemporalPositionIdentifier": 0x00200100,
    "SamplesPerPixel": 0x00280002,
    "PhotometricInterpretation": 0x00280004,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
    "PixelSpacing": 0x00280030,
    "BitsAllocated": 0x00280100,
    "BitsStored": 0x00280101,
    "HighBit": 0x00280102,
    "PixelRepresentation": 0x00280103,
    "RescaleIntercept": 0x00281052,
    "RescaleSlope": 0x00281053,
    "RescaleType": 0x00281054,
    "ModalityLUTSequence": 0x00283000,
    "SharedFunctionalGroupsSequence": 0x52009229,
    "PerFrameFunctionalGroupsSequence": 0x52009230,
    "PlanePositionSequence": 0x00209113,
    "PlaneOrientationSequence": 0x00209116,
    "PixelMeasuresSequence": 0x00289110,
    "PixelValueTransformationSequence": 0x00289145,
}
PIXEL_GROUP = 0x7FE0
DEFLATED = b"1.2.840.10008.1.2.1.99"
# deflate cannot shrink below 1/1032
MOST_COMPRESSION = 1032
EXPLICIT_LITTLE = b"1.2.840.10008.1.2.1\0\0\0"
# headers are far smaller; what inflates to more is not looked at until its pixels are wanted
MOST_HEADER_BYTES = 1 << 24


def looks_like_dicom(path: str | os.PathLike, marked: bool = False) -> bool:
    """Whether a file starts as DICOM does: the letters DICM after a preamble, or, without one, an element of group 2 or 8.

    Args:
        path: the file.
        marked: only the letters count, as for raw numbers, which may begin with anything.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            head = file.read(132)
    except OSError:
        return False
    if marked or head[128:132] == b"DICM":
        return head[128:132] == b"DICM"
    # explicit value representation: two capital letters; implicit: a length that is small for these first elements
    element = head[:2] in (b"\x08\x00", b"\x02\x00") and head[3:4] == b"\x00"
    return len(head) == 132 and element and ((head[4:6].isalpha() and head[4:6].isupper()) or head[6:8] == b"\x00\x00")


@contextmanager
def opened(file: str, most: int = MOST_HEADER_BYTES) -> Iterator[tuple[BinaryIO, int]]:
    """A DICOM file as a stream, and the bytes that it can have at most; a deflated one is inflated, up to `most` bytes."""
    with open(file, "rb") as stream:
        head = stream.read(1024)
        if DEFLATED not in head:
            stream.seek(0)
            yield stream, os.fstat(stream.fileno()).st_size
            return
        # group 2 is not deflated; its first element holds the length of what follows
        start = 132 if head[128:132] == b"DICM" else 0
        tag, length = struct.unpack_from("<L4xL", head, start)
        if tag != 0x00000002 or start + 12 + length > len(head):
            raise ValueError("its file meta information has no length")
        start += 12 + length
        stream.seek(start)
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(), most)
        yield io.BytesIO(head[:start].replace(DEFLATED, EXPLICIT_LITTLE) + inflated), os.fstat(stream.fileno()).st_size * MOST_COMPRESSION


def time_zone(text: str) -> timezone | None:
    """The zone that TimezoneOffsetFromUTC or the end of a DT names, such as +0100; None where it is not one."""
    match = re.fullmatch(r"([+-])([01]\d|2[0-3])([0-5]\d)", text)
    if match is None:
        return None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return timezone(offset if match[1] == "+" else -offset)


class Elements:
    """The elements of a data set, or of an item in one of its sequences, by keyword.

    Args:
        dataset: of pydicom.
        tags: keyword to tag, of the elements that are asked for.
    """

    def __init__(self, dataset: Any, tags: Mapping[str, int] = TAGS) -> None:
        self.dataset, self.tags = dataset, tags

    def text(self, name: str) -> str:
        """The value as printable text; empty where the element is missing or empty."""
        value = self._value(name)
        text = value.decode("latin-1").strip(" \0") if isinstance(value, bytes) else ("" if value is None else str(value))
        return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)

    def texts(self, name: str) -> list[str]:
        """The parts of a value that has several."""
        return [part.strip() for part in self.text(name).split("\\")]

    def numbers(self, name: str, count: int) -> tuple[float, ...] | None:
        """Decimal numbers; None where the element is missing or empty.

        Raises:
            ValueError: they are not numbers, or not that many.
        """
        text = self.text(name)
        if not text:
            return None
        try:
            values = tuple(float(part) for part in text.split("\\"))
        except ValueError:
            values = ()
        if len(values) != count or not all(math.isfinite(value) for value in values):
            raise ValueError(f"{name} is {text[:60]!r}, not {'a number' if count == 1 else f'{count} numbers'}")
        return values

    def whole(self, name: str, default: int | None = None) -> int:
        """A binary whole number of two bytes.

        Raises:
            ValueError: it is missing and has no default.
        """
        value = self._value(name)
        if isinstance(value, bytes) and len(value) == 2:
            little = getattr(self.dataset.get_item(self.tags[name]), "is_little_endian", True)
            return int.from_bytes(value, "little" if little else "big")
        if isinstance(value, int):
            return value
        if value in (None, b"") and default is not None:
            return default
        raise ValueError(f"{name} is missing" if value in (None, b"") else f"{name} is not one number of two bytes")

    def items(self, name: str) -> list[Elements]:
        """The items of a sequence; none where it is missing."""
        tag = self.tags[name]
        return [Elements(item, self.tags) for item in self.dataset[tag].value or ()] if tag in self.dataset else []

    def has(self, name: str) -> bool:
        """Whether the element is there."""
        return self.tags[name] in self.dataset

    def _value(self, name: str) -> Any:
        tag = self.tags[name]
        return self.dataset.get_item(tag).value if tag in self.dataset else None
