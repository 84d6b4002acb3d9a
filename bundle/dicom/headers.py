"""The header of a DICOM file: what it is, and of an image where its frames are, how its pixels are stored, what they mean."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bundle.dicom.elements import PIXEL_GROUP, TAGS, Elements, looks_like_dicom, opened
from bundle.dicom.kinds import OTHER_UNITS, kind_of, pet_kind
from bundle.errors import UserError, counted

IMPLICIT, EXPLICIT, DEFLATED, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
NATIVE = {"", IMPLICIT, EXPLICIT, DEFLATED, BIG}
UNDEFINED = 0xFFFFFFFF
# a plane of more voxels is a damaged header: detectors and reconstructions are far smaller
MOST_VOXELS_OF_A_PLANE = 1 << 26
MOST_FRAMES = 1 << 16
# element of FloatPixelData, DoubleFloatPixelData and PixelData, from here on
FIRST_OF_PIXELS = 0x0008
# a plane of air in JPEG 2000 is some 2,500 times smaller
MOST_COMPRESSION = 10000
# HU = slope * stored + intercept: what CT, cone beam and rescaled exports use is far below
MOST_SLOPE, MOST_INTERCEPT = 1e4, 1e6
EXPORT_AGAIN = "export or copy it again"
# what may distinguish two images of one series at the same position
MARKS = (
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "SeriesNumber",
    "ConvolutionKernel",
    "ImageType",
    "AcquisitionDateTime",
    "AcquisitionTime",
    "ContentTime",
)


@dataclass(frozen=True)
class Frame:
    """Where one plane is (DICOM's LPS, mm) and how its stored values become HU; `rescaled`: whether the header says so itself."""

    position: tuple[float, ...] | None = None
    directions: tuple[float, ...] | None = None  # along a row, then along a column
    spacing: tuple[float, ...] | None = None  # between rows, then between columns
    slope: float = 1.0
    intercept: float = 0.0
    rescaled: bool = True


@dataclass(frozen=True)
class Layout:
    """How the pixels of a file are stored; `offset` is where their bytes start, in the inflated file."""

    rows: int
    columns: int
    frames: int
    allocated: int
    stored: int
    high: int
    signed: bool
    little: bool
    offset: int
    syntax: str

    @property
    def native(self) -> bool:
        """Whether they are not compressed."""
        return self.syntax in NATIVE

    @property
    def frame_bytes(self) -> int:
        """Bytes of one plane that is not compressed."""
        return self.rows * self.columns * self.allocated // 8


@dataclass(frozen=True)
class Header:
    """What matters of a DICOM file. `kind` says what it is if not CT; `problem`, why its image cannot be used."""

    file: str
    uid: str = ""  # of the series
    study: tuple[str, str] = ("", "")  # patient, study
    reference: str = ""  # UID of the frame of reference
    instance: str = ""
    kind: str | None = None
    marks: dict[str, str] = field(default_factory=dict)
    layout: Layout | None = None
    frames: tuple[Frame, ...] = ()
    problem: UserError | None = None


def read_header(file: str | os.PathLike, pet: bool = False) -> Header:
    """Read the header of a DICOM file, without its pixels.

    Args:
        file: the file.
        pet: a PET image is wanted: its `kind` is None, and that of a CT is "CT".

    Raises:
        UserError: it is not DICOM, or too damaged to say what it is.
    """
    file = str(file)
    try:
        if os.path.getsize(file) == 0:
            raise UserError(file, "the file is empty", EXPORT_AGAIN)
        open(file, "rb").close()
    except OSError as error:
        raise UserError(file, f"the file cannot be opened ({error.strerror})", "check that it is there and may be read") from error
    if not looks_like_dicom(file):
        raise UserError(file, "this is not a DICOM file, in spite of its name", EXPORT_AGAIN)
    try:
        return _read(file, pet)
    except UserError:
        raise
    except Exception as error:  # pydicom raises of every kind for damaged files
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise UserError(file, f"its DICOM header is damaged ({reason})", EXPORT_AGAIN) from error


def _read(file: str, pet: bool) -> Header:
    from pydicom.filereader import read_partial

    pixels: list[tuple[int, int, int]] = []
    with opened(file) as (stream, size):

        def at_pixels(tag: int, vr: str | None, length: int) -> bool:
            # what comes before them in their group are the offsets of frames
            if tag >> 16 == PIXEL_GROUP and tag & 0xFFFF >= FIRST_OF_PIXELS:
                pixels.append((tag & 0xFFFF, length, stream.tell()))
            return bool(pixels)

        dataset = read_partial(stream, stop_when=at_pixels, force=True, specific_tags=list(TAGS.values()))
    meta, header = dataset.file_meta, Elements(dataset)
    sop_class = header.text("SOPClassUID") or str(meta.get("MediaStorageSOPClassUID", ""))
    # a DICOMDIR has none of them, and says what it is in its file meta information alone
    if not len(dataset) and not sop_class:
        raise ValueError("it holds no element of an image")
    found: dict[str, Any] = {
        "file": file,
        "uid": header.text("SeriesInstanceUID"),
        "study": (header.text("PatientID"), header.text("StudyInstanceUID")),
        "reference": header.text("FrameOfReferenceUID"),
        "instance": header.text("SOPInstanceUID"),
        "kind": pet_kind(header, sop_class, bool(pixels)) if pet else kind_of(header, sop_class, bool(pixels)),
        "marks": {name: text for name in MARKS if (text := header.text(name))},
    }
    if found["kind"] is not None:
        return Header(**found)
    try:
        if not pixels:
            raise ValueError("it has no pixels: it is cut off, or its header is damaged")
        layout = _layout(header, str(meta.get("TransferSyntaxUID", "")), pixels[0], size)
        return Header(**found, layout=layout, frames=_frames(header, layout.frames, pet))
    except ValueError as error:
        return Header(**found, problem=UserError(file, str(error), EXPORT_AGAIN))


def _layout(header: Elements, syntax: str, pixels: tuple[int, int, int], size: int) -> Layout:
    element, length, offset = pixels
    samples, photometric = header.whole("SamplesPerPixel", 1), header.text("PhotometricInterpretation") or "MONOCHROME2"
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise ValueError(f"a colour image (SamplesPerPixel {samples}, {photometric[:20]}), not a CT")
    if element != 0x0010:
        raise ValueError("its pixels are not whole numbers (FloatPixelData)")
    frames = (header.numbers("NumberOfFrames", 1) or (1.0,))[0]
    if not (frames.is_integer() and 1 <= frames <= MOST_FRAMES):
        raise ValueError(f"NumberOfFrames is {frames:g}")
    allocated, representation = header.whole("BitsAllocated"), header.whole("PixelRepresentation")
    if representation not in (0, 1):
        raise ValueError(f"PixelRepresentation is {representation}, not 0 or 1")
    stored = header.whole("BitsStored", allocated)
    layout = Layout(
        rows=header.whole("Rows"),
        columns=header.whole("Columns"),
        frames=int(frames),
        allocated=allocated,
        stored=stored,
        high=header.whole("HighBit", stored - 1),
        signed=representation == 1,
        little=syntax != BIG,
        offset=offset,
        syntax=syntax,
    )
    _check_bits(layout)
    _check_length(layout, length, size)
    return layout


def _check_bits(layout: Layout) -> None:
    sizes = (8, 16, 32) if layout.little else (16, 32)
    bits = f"BitsAllocated {layout.allocated}, BitsStored {layout.stored}, HighBit {layout.high}"
    if layout.allocated not in sizes or not 1 <= layout.stored <= layout.high + 1 <= layout.allocated:
        raise ValueError(f"its pixels are stored in a way that is not understood ({bits})")
    # GDCM takes the lowest bits, whatever the highest is
    if not layout.native and layout.high != layout.stored - 1:
        raise ValueError(f"its compressed pixels are stored in a way that is not understood ({bits})")
    if not layout.rows or not layout.columns or layout.rows * layout.columns > MOST_VOXELS_OF_A_PLANE:
        raise ValueError(f"its header says {layout.rows} rows and {layout.columns} columns")


def _check_length(layout: Layout, length: int, size: int) -> None:
    """Refuse pixels that are cut off, or are of another size than rows and columns say."""
    if not layout.native:
        if length != UNDEFINED or not re.fullmatch(r"[0-9.]{5,64}", layout.syntax):
            raise ValueError(f"its transfer syntax {layout.syntax[:64]!r} is not one of compressed pixels, nor one that is known")
        there = size - layout.offset
        if layout.frame_bytes * layout.frames > there * MOST_COMPRESSION:
            raise ValueError(f"its {there} bytes of compressed pixels cannot be {layout.rows} rows and {layout.columns} columns")
        return
    if length == UNDEFINED:
        raise ValueError("its pixels are compressed, but its transfer syntax says that they are not")
    needed, claimed = layout.frame_bytes * layout.frames, f"{layout.rows} rows, {layout.columns} columns"
    there = min(length, size - layout.offset)
    if there < needed:
        raise ValueError(f"its pixels are cut off: {counted(there, 'byte is', 'bytes are')} there, {claimed} need {needed}")
    if there >= needed + max(layout.columns * layout.allocated // 8, 8):
        raise ValueError(f"its pixels take {there} bytes, but {claimed} need {needed}")


def _frames(header: Elements, count: int, pet: bool) -> tuple[Frame, ...]:
    shared = next(iter(header.items("SharedFunctionalGroupsSequence")), None)
    each: Sequence[Elements | None] = header.items("PerFrameFunctionalGroupsSequence")
    if count > 1 and not each:
        raise ValueError(f"its {count} frames have no positions, so that voxels have no place or size in mm")
    if each and len(each) != count:
        raise ValueError(f"NumberOfFrames is {count}, but {counted(len(each), 'frame is', 'frames are')} described")
    return tuple(_frame([one, shared, header], pet) for one in each or [None])


def _frame(places: Sequence[Elements | None], pet: bool) -> Frame:
    """A frame from the first of these that says each thing: its own groups, those that all share, the header itself."""
    values = "activity" if pet else "HU"
    slope, intercept = (_numbers(places, "PixelValueTransformationSequence", name, 1) for name in ("RescaleSlope", "RescaleIntercept"))
    if (slope is None) != (intercept is None):
        raise ValueError(f"it has no {'RescaleSlope' if slope is None else 'RescaleIntercept'}, so that its values cannot be made {values}")
    if slope is not None and not 0 < abs(slope[0]) <= MOST_SLOPE:
        raise ValueError(f"RescaleSlope is {slope[0]:g}, so that its values cannot be {values}")
    if intercept is not None and abs(intercept[0]) > MOST_INTERCEPT:
        raise ValueError(f"RescaleIntercept is {intercept[0]:g}, so that its values cannot be {values}")
    holders = [holder for place in places for holder in _holders(place, "PixelValueTransformationSequence")]
    unit = next((text for holder in holders if (text := holder.text("RescaleType").upper())), "")
    if unit in OTHER_UNITS and not pet:
        raise ValueError(f"RescaleType is {unit}: its values are not HU")
    if slope is None and any(holder.has("ModalityLUTSequence") for holder in holders):
        raise ValueError(f"its values become {values} by a table (ModalityLUTSequence), which is not understood")
    return Frame(
        _numbers(places, "PlanePositionSequence", "ImagePositionPatient", 3),
        _numbers(places, "PlaneOrientationSequence", "ImageOrientationPatient", 6),
        _numbers(places, "PixelMeasuresSequence", "PixelSpacing", 2),
        slope[0] if slope else 1.0,
        intercept[0] if intercept else 0.0,
        slope is not None,
    )


def _holders(place: Elements | None, sequence: str) -> list[Elements]:
    return [] if place is None else [*place.items(sequence)[:1], place]


def _numbers(places: Sequence[Elements | None], sequence: str, name: str, count: int) -> tuple[float, ...] | None:
    for place in places:
        for holder in _holders(place, sequence):
            values = holder.numbers(name, count)
            if values is not None:
                return values
    return None
