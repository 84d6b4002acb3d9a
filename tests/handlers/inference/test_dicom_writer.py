"""What inference writes of scans that came as DICOM: objects beside the label map, the patient in them and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import dicom_files
import numpy as np
import pydicom
import pytest
from light_evaluator import LABELS, evaluator, scan

from bundle.dicom import segmentation
from bundle.errors import UserError
from bundle.handlers.inference.dicom_writer import DicomWriter


def named(ds: pydicom.Dataset, k: int) -> None:
    ds.PatientName, ds.PatientID, ds.FrameOfReferenceUID = "DOE^JANE", "ID4711", "1.2.7"


def test_series_get_objects_and_other_scans_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("highdicom")
    caplog.set_level(logging.INFO)
    dicom_files.series(tmp_path / "data" / "patient", named)
    scan(tmp_path / "data" / "plain.nii")
    out = tmp_path / "out"
    writer = DicomWriter(out, LABELS, dicom_seg=True, rtstruct=True)
    engine = evaluator(tmp_path / "data", out, writer, options={"dicom_seg": True, "rtstruct": True, "previews": True})
    engine.run()
    assert not engine.failed
    objects = sorted(path.name for path in out.glob("*.dcm"))
    assert objects == ["patient_rtstruct.dcm", "patient_seg.dcm"]
    assert "attribute" not in caplog.text and "1.2.3" not in caplog.text, "highdicom's own log names UIDs"
    assert [pydicom.dcmread(out / name).PatientID for name in objects] == ["ID4711"] * 2
    for path in (path for path in out.rglob("*") if path.is_file() and path.suffix != ".dcm"):
        assert b"DOE" not in path.read_bytes() and b"4711" not in path.read_bytes(), f"{path.name} names the patient"
    again = evaluator(tmp_path / "data", out, DicomWriter(out, LABELS, dicom_seg=True), options={"dicom_seg": True, "rtstruct": True})
    assert again.run() == [], "finished with all files"
    (out / "patient_seg.dcm").unlink()
    assert [case.name for case in evaluator(tmp_path / "data", out, DicomWriter(out, LABELS, dicom_seg=True, rtstruct=True)).run()] == [
        "patient"
    ]


def test_where_no_scan_is_dicom_a_line_says_that_there_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scan(tmp_path / "data" / "plain.nii")
    evaluator(tmp_path / "data", tmp_path / "out", DicomWriter(tmp_path / "out", LABELS, rtstruct=True)).run()
    assert "rtstruct: no scan here is a DICOM series, and other scans have none" in caplog.text
    caplog.clear()
    dicom_files.series(tmp_path / "data" / "patient", named)
    evaluator(tmp_path / "data", tmp_path / "out", DicomWriter(tmp_path / "out", LABELS, rtstruct=True)).run()
    assert "no scan here" not in caplog.text and (tmp_path / "out" / "patient_rtstruct.dcm").is_file()


def test_without_highdicom_one_line_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs highdicom.*\[dicom\]"):
        DicomWriter(tmp_path, LABELS, dicom_seg=True)
    DicomWriter(tmp_path, LABELS, rtstruct=True)
    with pytest.raises(UserError, match=r"binary or labelmap"):
        DicomWriter(tmp_path, LABELS, dicom_seg_type="fractional")


def test_off_it_imports_nothing(repository: Path, warm_python: Callable) -> None:
    code = (
        "import sys; from bundle.handlers.inference.dicom_writer import DicomWriter; DicomWriter('x', {'background': 0, 'spleen': 1});"
        "print([name for name in ('highdicom', 'contourpy', 'bundle.dicom.source', 'bundle.dicom.segmentation') if name in sys.modules])"
    )
    done = warm_python("-c", code, cwd=repository)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_series_of_which_no_object_can_be_made_fails_in_one_line(tmp_path: Path) -> None:
    def nameless(ds: pydicom.Dataset, k: int) -> None:
        del ds.SOPInstanceUID
        ds.file_meta.MediaStorageSOPInstanceUID = ""

    pytest.importorskip("highdicom")
    for file in dicom_files.series(tmp_path / "data" / "patient"):
        ds = pydicom.dcmread(file)
        nameless(ds, 0)
        pydicom.dcmwrite(file, ds, enforce_file_format=False)
    out = tmp_path / "out"
    engine = evaluator(tmp_path / "data", out, DicomWriter(out, LABELS, dicom_seg=True))
    engine.run()
    assert "no SOPInstanceUID" in str(engine.failed[0].error) and not list(out.glob("patient*"))


def test_the_label_map_agrees_with_the_object(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    import nibabel
    from dicom_objects import segments

    dicom_files.series(tmp_path / "data" / "patient", named)
    out = tmp_path / "out"
    own = {list(LABELS)[1]: {"code": "78961009", "meaning": "Milz (größte)"}}
    evaluator(tmp_path / "data", out, DicomWriter(out, LABELS, own, dicom_seg=True)).run()
    image = nibabel.load(out / "patient_seg.nii.gz")
    found, ds = segments(out / "patient_seg.dcm", image.affine, image.shape)
    assert ds.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Milz (größte)"
    assert ds.SpecificCharacterSet == "ISO_IR 192", "the source names none, and ASCII has no ö"
    assert np.array_equal(found, np.asarray(image.dataobj)) and found.any()
