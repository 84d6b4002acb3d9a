"""What a DICOM object is, by the SOP classes of PS3.4, its modality and its kind of picture."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from dicom_files import AXIAL, CAPTURE, CT, ENHANCED, SEG, STORAGE, VALUES, dataset, pixels
from pydicom.dataset import Dataset

from bundle.dicom.elements import Elements
from bundle.dicom.kinds import kind_of


def kind(ds: Dataset) -> str | None:
    """Of an object as it is in a file."""
    stored = io.BytesIO()
    pydicom.dcmwrite(stored, ds, enforce_file_format=True)
    return kind_of(Elements(pydicom.dcmread(io.BytesIO(stored.getvalue()))), ds.SOPClassUID, "PixelData" in ds)


@pytest.mark.parametrize(
    ("sop_class", "modality", "expected"),
    [
        (SEG, "SEG", "DICOM SEG"),
        (STORAGE + "481.2", "RTDOSE", "RTDOSE"),
        (STORAGE + "481.3", "RTSTRUCT", "RTSTRUCT"),
        (STORAGE + "128", "PT", "PET"),
        (STORAGE + "4", "MR", "MR"),
        (STORAGE + "4.1", "MR", "MR"),
        (STORAGE + "30", "OT", "parametric map"),  # not ultrasound, which is 3
        (STORAGE + "88.33", "SR", "structured report"),
        (STORAGE + "88.67", "SR", "dose report"),
        ("1.2.840.10008.1.3.10", "", "DICOMDIR"),
        (CAPTURE, "CT", "secondary capture"),
        (CT, "PT", "PET"),
        ("1.2.3.4.5", "XC", "DICOM of modality XC"),
        ("1.2.3.4.5", "", "DICOM object without an image"),
    ],
)
def test_other_objects_are_named(sop_class: str, modality: str, expected: str) -> None:
    other = dataset(sop_class=sop_class, modality=modality)
    if modality not in ("SR", ""):
        pixels(other, VALUES[:, :, 0].T)
    assert kind(other) == expected


@pytest.mark.parametrize(
    ("sop_class", "modality", "with_pixels"),
    [
        (CT, "CT", True),
        (CT, "", True),
        (CT, "CT", False),
        (ENHANCED, "CT", True),
        (STORAGE + "13.1.1", "XA", True),
        ("1.2.3.4.5", "CT", True),
    ],
)
def test_a_ct_whole_or_damaged_has_no_kind(sop_class: str, modality: str, with_pixels: bool) -> None:
    scan = dataset(sop_class=sop_class, modality=modality)
    if with_pixels:
        pixels(scan, VALUES[:, :, 0].T)
    assert kind(scan) is None


def test_localizers_and_pictures_of_screens() -> None:
    scan = dataset()
    pixels(scan, VALUES[:, :, 0].T)
    for word in ("LOCALIZER", "SCOUT"):
        scan.ImageType = ["ORIGINAL", "PRIMARY", word]
        assert kind(scan) == "localizer"
    scan.ImageType = ["DERIVED", "SECONDARY", "SCREEN SAVE"]
    assert kind(scan) == "secondary capture"
    scan.SeriesDescription = "Dose Summary"
    assert kind(scan) == "dose report"


def test_a_grey_capture_with_a_place_or_many_frames_may_be_a_scan() -> None:
    placed = dataset(sop_class=CAPTURE)
    pixels(placed, VALUES[:, :, 0].T)
    assert kind(placed) == "secondary capture"
    placed.ImagePositionPatient, placed.ImageOrientationPatient = [0, 0, 0], AXIAL
    assert kind(placed) is None
    placed.PhotometricInterpretation = "RGB"
    assert kind(placed) == "secondary capture"
    many = dataset(sop_class=STORAGE + "7.3")
    pixels(many, np.moveaxis(VALUES, -1, 0))
    many.NumberOfFrames = 6
    assert kind(many) is None
    many.Modality = "PT"
    assert kind(many) == "PET"
