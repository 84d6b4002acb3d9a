"""What a DICOM header says, or the reason why its image cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import CORONAL, VALUES, check, enhanced, refused, series
from pydicom.uid import RLELossless

EVERY = list(range(6))


def test_pixel_spacing_is_between_rows_first_and_never_assumed(tmp_path: Path) -> None:
    def without(ds: pydicom.Dataset, k: int) -> None:
        del ds.PixelSpacing
        # of the detector, not of the patient
        ds.ImagerPixelSpacing = ds.NominalScannedPixelSpacing = [2, 1.5]

    refused(series(tmp_path / "all", without), "PixelSpacing (0028,0030)", "ImagerPixelSpacing", ".dcm")
    text = refused(series(tmp_path / "one", lambda ds, k: without(ds, k) if k == 3 else None), "PixelSpacing (0028,0030)")
    assert "IM6.dcm" in text
    for odd in ([0, 1.5], [-2, 1.5], [2, 1e9]):
        refused(series(tmp_path / f"odd{odd[0]}", lambda ds, k, odd=odd: setattr(ds, "PixelSpacing", odd)), "PixelSpacing")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ImagePositionPatient", None),
        ("ImageOrientationPatient", None),
        ("ImageOrientationPatient", [0, 0, 0, 0, 0, 0]),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        ("ImageOrientationPatient", [2, 0, 0, 0, 2, 0]),
        ("RescaleSlope", "0"),
        ("RescaleSlope", "1e300"),
        ("RescaleIntercept", "-1e300"),
        ("RescaleSlope", None),
        ("RescaleIntercept", None),
        ("RescaleType", "ED"),
        ("Rows", 5),
        ("Rows", 3),
        ("Columns", 60000),
        ("BitsStored", 17),
        ("PixelRepresentation", None),
        ("PixelRepresentation", 7),
        ("SamplesPerPixel", 3),
        ("PhotometricInterpretation", "RGB"),
    ],
)
def test_a_slice_that_does_not_say_what_it_should_is_refused_by_name(tmp_path: Path, name: str, value: object) -> None:
    def change(ds: pydicom.Dataset, k: int) -> None:
        if k == 2 and value is None:
            delattr(ds, name)
        elif k == 2:
            setattr(ds, name, value)

    files = series(tmp_path, change)
    text = refused(files, "IM7.dcm")
    assert name in text or any(word in text for word in ("rows", "colour", "HU", "cut off"))


def test_a_slice_that_is_cut_off_is_named(tmp_path: Path) -> None:
    files = series(tmp_path)
    files[2].write_bytes(files[2].read_bytes()[:-10])
    refused(files, "IM7.dcm", "cut off", "30 bytes", "40")


def test_slope_of_each_frame_and_groups_that_do_not_fit(tmp_path: Path) -> None:
    def per_frame(ds: pydicom.Dataset) -> None:
        shared = ds.SharedFunctionalGroupsSequence[0]
        del shared.PixelValueTransformationSequence
        for k, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
            item = pydicom.Dataset()
            item.RescaleSlope, item.RescaleIntercept = "1", str(-1024 + 10 * k)
            frame.PixelValueTransformationSequence = [item]

    check([enhanced(tmp_path / "each.dcm", EVERY, per_frame)], VALUES + np.arange(6, dtype=np.int16) * 10)
    refused([enhanced(tmp_path / "few.dcm", EVERY, lambda ds: ds.PerFrameFunctionalGroupsSequence.pop())], "6", "5 frames")

    def bare(ds: pydicom.Dataset) -> None:
        del ds.PerFrameFunctionalGroupsSequence, ds.SharedFunctionalGroupsSequence

    refused([enhanced(tmp_path / "bare.dcm", EVERY, bare)], "6 frames", "no positions")

    def turned(ds: pydicom.Dataset) -> None:
        item = pydicom.Dataset()
        item.ImageOrientationPatient = CORONAL
        ds.PerFrameFunctionalGroupsSequence[2].PlaneOrientationSequence = [item]

    refused([enhanced(tmp_path / "turned.dcm", EVERY, turned)], "frame 3", "orientation")


def test_a_compressed_plane_that_its_bytes_cannot_be_is_not_decoded(tmp_path: Path) -> None:
    def change(ds: pydicom.Dataset, k: int) -> None:
        ds.compress(RLELossless, generate_instance_uid=False)
        ds.Rows = ds.Columns = 8000

    refused(series(tmp_path, change), "bytes of compressed pixels", "8000 rows")
