"""The voxels of a DICOM series in HU: numpy reads what is not compressed, GDCM the rest, in the reader's process."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bundle.dicom.elements import opened
from bundle.dicom.headers import Layout
from bundle.dicom.series import one_stack
from bundle.dicom.stack import Plane
from bundle.errors import UserError

INT16 = np.iinfo(np.int16)
# so many voxels of compressed files are read by one call of the reader's process: 16 slices of 512x512
VOXELS_AT_ONCE = 1 << 22
# GDCM and ITK themselves, in GB
LIBRARIES_GB = 1.0
MULTI_FRAME_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.3"


def read_series(files: Sequence[str | os.PathLike], pet: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and grid of a DICOM series, its files in any order.

    Args:
        files: of the series.
        pet: it is a PET, whose values are in its own units (`bundle.dicom.suv`); a CT otherwise.

    Returns:
        values (X, Y, Z) in HU, int16 where that loses nothing, otherwise float32, Fortran order; and the affine (4, 4) from voxel
        indices to mm, RAS+. A tilted gantry gives a sheared affine.

    Raises:
        UserError: slices are missing, do not belong to one volume, do not say where their voxels are, or cannot be decoded.
    """
    stack = one_stack(files, pet)
    columns, rows, count = stack.shape
    whole = all(float(value).is_integer() for plane in stack.planes for value in (plane.frame.slope, plane.frame.intercept))
    volume = np.empty((count, rows, columns), dtype=np.int16 if whole else np.float32)
    for number, stored in _stored(stack.planes):
        frame = stack.planes[number].frame
        values = _in_hu(stored, frame.slope, frame.intercept)
        if volume.dtype == np.int16 and (values.min() < INT16.min or values.max() > INT16.max):
            volume = volume.astype(np.float32)
        volume[number] = values
    return volume.T, stack.affine


def read_shape(files: Sequence[str | os.PathLike], pet: bool = False) -> tuple[int, int, int]:
    """Columns, rows and planes of a series, from its headers alone.

    Raises:
        UserError: as `read_series`, but for what only the pixels show.
    """
    return one_stack(files, pet).shape


def _in_hu(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    if slope.is_integer() and intercept.is_integer():
        wide: Any = np.int32 if stored.dtype.itemsize < 4 else np.int64
        return stored.astype(wide) * wide(slope) + wide(intercept)
    return stored * np.float64(slope) + np.float64(intercept)


def _stored(planes: Sequence[Plane]) -> Iterator[tuple[int, np.ndarray]]:
    """The number of each plane and its stored values (rows, columns), file by file: one of many frames is read once."""
    numbers: dict[str, list[int]] = {}
    for number, plane in enumerate(planes):
        numbers.setdefault(plane.header.file, []).append(number)
    layouts = {file: planes[here[0]].layout for file, here in numbers.items()}
    for file, here in numbers.items():
        if layouts[file].native:
            yield from zip(here, _native(file, [planes[number] for number in here]), strict=True)
    for some in _at_once({file: layout for file, layout in layouts.items() if not layout.native}):
        for file, read in zip(some, _compressed(some), strict=True):
            yield from ((number, read[planes[number].index]) for number in numbers[file])


def _at_once(layouts: Mapping[str, Layout]) -> Iterator[dict[str, Layout]]:
    """These files, some at a time: at least one, with no more than `VOXELS_AT_ONCE` where they are several."""
    some: dict[str, Layout] = {}
    for file, layout in layouts.items():
        if some and sum(map(_voxels, [*some.values(), layout])) > VOXELS_AT_ONCE:
            yield some
            some = {}
        some[file] = layout
    if some:
        yield some


def _voxels(layout: Layout) -> int:
    return layout.rows * layout.columns * layout.frames


def _native(file: str, planes: Sequence[Plane]) -> Iterator[np.ndarray]:
    layout = planes[0].layout
    size = layout.frame_bytes
    dtype = np.dtype(f"{'<' if layout.little else '>'}{'i' if layout.signed else 'u'}{layout.allocated // 8}")
    with opened(file, layout.offset + size * layout.frames) as (stream, _):
        for plane in planes:
            stream.seek(layout.offset + plane.index * size)
            content = stream.read(size)
            if len(content) < size:
                raise UserError(file, "its pixels are cut off", "export or copy it again")
            values = np.frombuffer(content, dtype).astype(dtype.newbyteorder("="), copy=False).reshape(layout.rows, layout.columns)
            if layout.stored < layout.allocated:
                # bits above the highest may hold anything; a shift down again brings the sign along
                values = (values << (layout.allocated - layout.high - 1)) >> (layout.allocated - layout.stored)
            yield values


def _compressed(layouts: Mapping[str, Layout]) -> list[np.ndarray]:
    from bundle.reader_process import call

    files = list(layouts)
    memory_gb = LIBRARIES_GB + (sum(map(_voxels, layouts.values())) * 16 + sum(map(os.path.getsize, files)) * 3) / 1e9
    # made here, so that it goes even if the reader crashes
    with tempfile.TemporaryDirectory(prefix="bundle-dicom-") as folder:
        return call("bundle.dicom.pixels:decoded", files, folder, where=files[0], memory_gb=memory_gb)


def decoded(files: Sequence[str], folder: str) -> list[np.ndarray]:
    """The stored values (frames, rows, columns) of compressed DICOM files, by GDCM.

    GDCM gets a copy of each with nothing but its pixels and how they are stored: what it makes of other elements (it inverts
    MONOCHROME1, and knows one slope for all frames) does not matter then.

    Args:
        files: each with all its frames.
        folder: for these copies.

    Raises:
        UserError: one cannot be decoded.
    """
    return [_decoded(file, os.path.join(folder, "pixels.dcm")) for file in files]


def _decoded(file: str, copy: str) -> np.ndarray:
    from bundle.dicom.headers import read_header
    from bundle.reader_child import load_itk

    itk = load_itk()

    layout = read_header(file).layout or read_header(file, pet=True).layout
    if layout is None:
        raise UserError(file, "its header says nothing about its pixels any more", "export it again")
    kind = itk.F if layout.stored > 16 else itk.SS if layout.signed else itk.US
    try:
        with open(copy, "wb") as stream:
            stream.write(_bare(file, layout))
        reader = itk.ImageFileReader[itk.Image[kind, 3]].New(FileName=copy, ImageIO=itk.GDCMImageIO.New())
        reader.Update()
    except (RuntimeError, ValueError) as error:
        problem = f"its pixels cannot be decompressed (transfer syntax {layout.syntax})"
        raise UserError(file, problem, "export it again, uncompressed") from error
    values = itk.array_from_image(reader.GetOutput())
    if values.shape != (layout.frames, layout.rows, layout.columns):
        size = "x".join(map(str, values.shape[::-1]))
        raise UserError(file, f"its pixels are {size}, its header says {layout.columns}x{layout.rows}x{layout.frames}", "export it again")
    return values


def _bare(file: str, layout: Layout) -> bytes:
    """A DICOM file of the same compressed pixels and nothing else."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    meta, header = FileMetaDataset(), Dataset()
    meta.MediaStorageSOPClassUID = header.SOPClassUID = UID(MULTI_FRAME_CAPTURE)
    meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = UID("2.25.1")
    meta.TransferSyntaxUID, meta.ImplementationClassUID = UID(layout.syntax), UID("2.25.2")
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.NumberOfFrames, header.Rows, header.Columns = layout.frames, layout.rows, layout.columns
    header.BitsAllocated, header.BitsStored, header.HighBit = layout.allocated, layout.stored, layout.high
    header.PixelRepresentation = int(layout.signed)
    header.file_meta, header.preamble = meta, b"\0" * 128
    written = io.BytesIO()
    if int(pydicom.__version__.split(".")[0]) >= 3:
        pydicom.dcmwrite(written, header, enforce_file_format=True)
    else:  # the environment of MONAI Label
        header.is_little_endian, header.is_implicit_VR = True, False
        pydicom.dcmwrite(written, header, write_like_original=False)
    with open(file, "rb") as stream:
        stream.seek(layout.offset - 12)  # tag, representation and length of the pixels, which are last
        return written.getvalue() + stream.read()
