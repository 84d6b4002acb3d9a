"""Tiny CT series written by pydicom: 5 columns, 4 rows, 6 slices, every voxel another value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from bundle.dicom import read_series
from bundle.errors import UserError

STORAGE = "1.2.840.10008.5.1.4.1.1."
CT, ENHANCED, CAPTURE, SEG = (STORAGE + end for end in ("2", "2.1", "7", "66.4"))
# (X, Y, Z) in HU; columns to the left and rows to the back, as DICOM stores an axial slice
VALUES = (np.arange(5 * 4 * 6).reshape(5, 4, 6) * 17 % 2000 - 1000).astype(np.int16)
# pixels 1.5 mm wide and 2 mm high, slices 3 mm apart; the first voxel at (-10, -20, 30) in LPS
AFFINE = np.array([[-1.5, 0, 0, 10], [0, -2, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]], dtype=float)
AXIAL, CORONAL = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1]


def dataset(uid: str = "1.2.3", instance: str = "1.2.3.1", sop_class: str = CT, modality: str = "CT") -> FileDataset:
    """A DICOM object without pixels."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, instance
    meta.TransferSyntaxUID, meta.ImplementationClassUID = ExplicitVRLittleEndian, "1.2.4"
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.StudyInstanceUID = sop_class, instance, uid, "1.2.5"
    ds.Modality, ds.PatientID, ds.ImageType = modality, "P1", ["ORIGINAL", "PRIMARY", "AXIAL"]
    return ds


def pixels(ds: Dataset, hu: np.ndarray, slope: float = 1.0, intercept: float = -1024.0, bits: int = 16, signed: bool = False) -> None:
    """Put planes ([frames,] rows, columns) into a data set."""
    stored = np.rint((hu - intercept) / slope).astype(np.int64)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = hu.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, bits, bits - 1, int(signed)
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = f"{slope:g}", f"{intercept:g}", "HU"
    ds.PixelData = (stored & ((1 << bits) - 1)).astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"


def ct_slice(k: int, uid: str = "1.2.3", hu: np.ndarray | None = None, **options: object) -> FileDataset:
    """Slice `k` of the series."""
    ds = dataset(uid, f"{uid}.{k + 1}")
    ds.InstanceNumber, ds.AcquisitionNumber, ds.SliceThickness = k + 1, 1, "3"
    ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing = [-10, -20, 30 + 3 * k], AXIAL, [2, 1.5]
    pixels(ds, VALUES[:, :, k].T if hu is None else hu, **options)
    return ds


def save(ds: Dataset, path: Path) -> Path:
    """Write a data set, in the transfer syntax that it names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
    return path


def series(folder: Path, change: Callable[[FileDataset, int], object] | None = None, uid: str = "1.2.3", **options: object) -> list[Path]:
    """Write the series, its files named from the last slice to the first; `change(ds, k)` edits a slice, False leaves it out."""
    written = []
    for k in range(VALUES.shape[2]):
        ds = ct_slice(k, uid, **{name: value(k) if callable(value) else value for name, value in options.items()})
        if change is None or change(ds, k) is not False:
            written.append(save(ds, folder / f"IM{9 - k}.dcm"))
    return written


def enhanced(path: Path, order: list[int], change: Callable[[FileDataset], object] | None = None) -> Path:
    """Write the series as one file of many frames, in this order of slices."""
    ds = dataset("1.2.6", "1.2.6.1", ENHANCED)
    pixels(ds, np.stack([VALUES[:, :, k].T for k in order]))
    del ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType
    ds.NumberOfFrames = len(order)
    shared, measures, orientation, transformation = (Dataset() for _ in range(4))
    measures.PixelSpacing, orientation.ImageOrientationPatient = [2, 1.5], AXIAL
    transformation.RescaleSlope, transformation.RescaleIntercept, transformation.RescaleType = "1", "-1024", "HU"
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    shared.PixelValueTransformationSequence = [transformation]
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = [shared], []
    for k in order:
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = [-10, -20, 30 + 3 * k]
        frame.PlanePositionSequence = [position]
        ds.PerFrameFunctionalGroupsSequence.append(frame)
    if change is not None:
        change(ds)
    return save(ds, path)


def check(files: list[Path], values: np.ndarray = VALUES, affine: np.ndarray = AFFINE) -> np.ndarray:
    """Read a series: it must have these values on this grid."""
    found, grid = read_series(files)
    assert found.shape == values.shape and np.array_equal(found, values)
    assert np.allclose(grid, affine, atol=1e-9)
    return found


def refused(files: list[Path], *words: str) -> str:
    """The one line, with these words in it, by which reading a series is refused."""
    with pytest.raises(UserError) as error:
        read_series(files)
    text = str(error.value)
    assert all(word in text for word in words), text
    assert "Fix:" in text and "\n" not in text
    return text
