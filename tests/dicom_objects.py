"""Readers of DICOM SEG and RTSTRUCT by pydicom alone, and series in many positions."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import dicom_files
import numpy as np
import pydicom
import pytest
from matplotlib.path import Path as Outline
from scipy import ndimage

from bundle.dicom import read_series, series_in
from bundle.dicom.maker import Maker
from bundle.dicom.source import Source, read_source
from bundle.structures import describe

MAKER = Maker("0.1.0", "0123456789ab")
NAMES = ["kidney left", "pancreas tumour"]
NAMED = list(zip((1, 2), describe(NAMES), strict=True))
needs_validator = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools are not installed")
TURN = np.deg2rad(20)
# rows and columns of the planes, LPS; the step from one slice to the next
PLACES: dict[str, tuple[list[float], list[float]]] = {
    "axial": ([1, 0, 0, 0, 1, 0], [0, 0, 3]),
    "feet first": ([-1, 0, 0, 0, 1, 0], [0, 0, -3]),
    "coronal": ([1, 0, 0, 0, 0, -1], [0, 3, 0]),
    "sagittal": ([0, 1, 0, 0, 0, -1], [3, 0, 0]),
    "oblique": ([1, 0, 0, 0, float(np.cos(TURN)), float(np.sin(TURN))], [0, float(-3 * np.sin(TURN)), float(3 * np.cos(TURN))]),
    "tilted": ([1, 0, 0, 0, 1, 0], [0, 0.8, 3]),
}


def placed(name: str) -> Callable:
    """What puts a slice of the tiny series to its place."""
    turned, step = PLACES[name]

    def change(ds: pydicom.Dataset, k: int) -> None:
        ds.ImageOrientationPatient = [f"{value:.10g}" for value in turned]
        ds.ImagePositionPatient = [f"{start + k * along:.10g}" for start, along in zip((-10, -20, 30), step, strict=True)]
        for name, value in {"PatientName": "DOE^JANE", "PatientBirthDate": "19500102", "StudyDate": "20240102", "StudyID": "S7"}.items():
            setattr(ds, name, value)
        ds.FrameOfReferenceUID, ds.AccessionNumber, ds.PatientSex, ds.StudyTime = "1.2.7", "A9", "F", "101500"

    return change


def tiny_labels() -> np.ndarray:
    """(5, 4, 6): two values that touch the border, one with a hole, slices without any."""
    labels = np.zeros(dicom_files.VALUES.shape, np.uint8)
    labels[0:3, 0:3, 1] = 1
    labels[1, 1, 1] = 0
    labels[4, :, 2:5] = 2
    labels[1:3, 2, 4] = 1
    return labels


def index_of(affine: np.ndarray, position: object) -> np.ndarray:
    """Where places (LPS, (..., 3)) are in a volume, in voxels."""
    places = np.asarray(position, float) * [-1, -1, 1]
    return (places - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T


def segments(path: Path, affine: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, pydicom.Dataset]:
    """The voxels (X, Y, Z) of a DICOM SEG, each the number of its segment, by the places of its frames; and its header."""
    ds = pydicom.dcmread(path)
    found, count = np.zeros(shape, np.uint8), int(ds.NumberOfFrames)
    frames = ds.pixel_array.reshape(count, ds.Rows, ds.Columns)
    for values, group in zip(frames, ds.PerFrameFunctionalGroupsSequence, strict=True):
        index = index_of(affine, group.PlanePositionSequence[0].ImagePositionPatient)
        k = round(index[2])
        assert np.allclose(index, [0, 0, k], atol=1e-3), f"a frame is {index} voxels from the scan's corner"
        if ds.SegmentationType == "BINARY":
            holder = group if "SegmentIdentificationSequence" in group else ds.SharedFunctionalGroupsSequence[0]
            number = holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            assert not found[:, :, k][values.T > 0].any()
            found[:, :, k][values.T > 0] = number
        else:
            found[:, :, k] = values.T
    return found, ds


def regions(path: Path, affine: np.ndarray, shape: tuple[int, ...]) -> tuple[dict[str, np.ndarray], pydicom.Dataset]:
    """The voxels (X, Y, Z) whose centres are inside the contours of each region, filled by the even-odd rule."""
    ds = pydicom.dcmread(path)
    names = {region.ROINumber: region.ROIName for region in ds.StructureSetROISequence}
    found = {}
    for contours in ds.ROIContourSequence:
        mask = np.zeros(shape, bool)
        for contour in contours.get("ContourSequence", []):
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            assert contour.ContourGeometricType == "CLOSED_PLANAR" and contour.NumberOfContourPoints == len(points)
            index = index_of(affine, points)
            k = round(index[0, 2])
            assert np.abs(index[:, 2] - k).max() < 0.01, "a contour is not on a slice"
            low = np.maximum(np.floor(index[:, :2].min(0)), 0).astype(int)
            high = np.minimum(np.ceil(index[:, :2].max(0)) + 1, shape[:2]).astype(int)
            columns, rows = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]), indexing="ij")
            inside = Outline(index[:, :2]).contains_points(np.stack([columns.ravel(), rows.ravel()], 1))
            mask[low[0] : high[0], low[1] : high[1], k] ^= inside.reshape(columns.shape)
        found[names[contours.ReferencedROINumber]] = mask
    return found, ds


def validated(path: Path) -> list[str]:
    """The errors that `dciodvfy` of dicom3tools finds."""
    done = subprocess.run([shutil.which("dciodvfy") or "dciodvfy", str(path)], capture_output=True, text=True, timeout=120)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


def source_of(files: list, labels: np.ndarray) -> tuple[Source, np.ndarray]:
    """A series as what is made for its label map refers to it, and its affine."""
    return read_source(files, labels.shape), read_series(files)[1]


def write_seg(path: Path, source: Source, labels: np.ndarray, named: list = NAMED, kind: str = "binary") -> Path:
    """Write a DICOM SEG; skips the test where highdicom is not installed."""
    pytest.importorskip("highdicom")
    from bundle.dicom.segmentation import write_segmentation

    write_segmentation(path, source, labels, named, MAKER, kind)
    return path


HALVES = ([2, 0, 1], [3, 5, 4])


def halves(folder: Path) -> list[Path]:
    """The tiny series as two files of three frames, `1.2.6.2` and `1.2.6.3`, with their slices in the order of `HALVES`."""
    files = []
    for order in HALVES:

        def change(ds: pydicom.Dataset, uid: str = f"1.2.6.{order[0]}") -> None:
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid

        files.append(dicom_files.enhanced(folder / f"{order[0]}.dcm", order, change))
    return files


def real_series(folder: Path) -> tuple[Source, np.ndarray, np.ndarray]:
    """A real series, its affine, and a label map of it: the body 1, what is denser than 150 HU in it 2."""
    files = series_in(folder)[0]
    values, affine = read_series(files)
    labels = ndimage.binary_opening(values > -300, iterations=2).astype(np.uint8)
    labels[ndimage.binary_opening(values > 150, iterations=1)] = 2
    return read_source(files, labels.shape), affine, labels
