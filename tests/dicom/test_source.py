"""The series that an object is made for: whose it is, and what is missing or odd in it."""

from __future__ import annotations

from pathlib import Path

import dicom_files
import dicom_objects as made
import numpy as np
import pydicom
import pytest

from bundle.dicom import read_series
from bundle.dicom.source import geometry, read_source
from bundle.dicom.structure_set import write_structure_set
from bundle.errors import UserError


def test_uids_that_were_taken_out_are_made_the_same_each_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def without(ds: pydicom.Dataset, k: int) -> None:
        ds.StudyInstanceUID = ds.SOPInstanceUID = ""
        del ds.PatientID

    files, labels = dicom_files.series(tmp_path / "ct", without), made.tiny_labels()
    one, other = (read_source(files, labels.shape) for _ in range(2))
    assert one.shared.StudyInstanceUID == other.shared.StudyInstanceUID != ""
    assert "StudyInstanceUID, FrameOfReferenceUID: missing" in caplog.text
    _, ds = made.segments(made.write_seg(tmp_path / "a.dcm", one, labels), read_series(files)[1], labels.shape)
    assert ds.PatientID == "" and ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == "1.2.3.1"


def test_values_that_break_the_rules_are_taken_as_they_are(tmp_path: Path) -> None:
    def odd(ds: pydicom.Dataset, k: int) -> None:
        pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
        made.placed("axial")(ds, k)
        ds.PatientAge, ds.StudyDate, ds.PatientSex, ds.StudyInstanceUID = "old", "1.2.2024", "female!", "1.2.05"

    mode = pydicom.config.settings.writing_validation_mode
    try:
        files = dicom_files.series(tmp_path / "ct", odd)
    finally:
        pydicom.config.settings.writing_validation_mode = mode
    source, labels = read_source(files, made.tiny_labels().shape), made.tiny_labels()
    made.write_seg(tmp_path / "a.dcm", source, labels)
    write_structure_set(tmp_path / "b.dcm", source, labels, made.NAMED, made.MAKER)
    for name in "ab":
        ds = pydicom.dcmread(tmp_path / f"{name}.dcm")
        assert (ds.StudyInstanceUID, ds.StudyDate, ds.PatientAge, ds.PatientSex) == ("1.2.05", "", "old", "")


def test_a_source_has_its_planes_in_order_and_whose_they_are(tmp_path: Path) -> None:
    files = dicom_files.series(tmp_path / "ct", made.placed("oblique"))
    source = read_source(files, (5, 4, 6))
    assert source.where == str(tmp_path / "ct")
    # slices 3 mm apart along their normal, whatever way they are turned
    assert source.between_planes == pytest.approx(3.0, abs=1e-6)
    assert [source.instances[plane.header.file][1] for plane in source.planes] == [f"1.2.3.{k + 1}" for k in range(6)]
    assert (source.shared.PatientName, source.shared.PatientID, source.shared.AccessionNumber) == ("DOE^JANE", "P1", "A9")
    assert "PatientName" not in source.first and source.first.SeriesInstanceUID == "1.2.3"
    along, between = geometry(source)
    assert between == (2.0, 1.5) and np.allclose(along, [[1, 0, 0], [0, np.cos(np.deg2rad(20)), np.sin(np.deg2rad(20))]])
    frames = dicom_files.enhanced(tmp_path / "e.dcm", [0, 1, 2, 3, 4, 5])
    many = read_source([frames], (5, 4, 6))
    assert many.where == str(frames)


def test_a_label_map_of_another_shape_and_slices_without_uid_are_refused(tmp_path: Path) -> None:
    files = dicom_files.series(tmp_path / "ct")
    with pytest.raises(UserError, match=r"the series is 5x4x6, the label map 5x4x7\. Fix: run inference again"):
        read_source(files, (5, 4, 7))

    files = dicom_files.series(tmp_path / "nameless", lambda ds, k: setattr(ds, "SOPInstanceUID", ""))
    third = tmp_path / "nameless" / "IM7.dcm"
    third.write_bytes(third.read_bytes().replace(b"1.2.3.3\0", bytes(8)))  # in the file meta information as well
    with pytest.raises(UserError, match=r"IM7\.dcm: it has no SOPInstanceUID"):
        read_source(files, (5, 4, 6))
