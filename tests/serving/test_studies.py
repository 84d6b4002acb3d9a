"""`bundle.serving.studies`: scans that the server will not offer are named, with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle.serving.studies import not_offered


def test_a_folder_that_is_offered_whole_has_no_line(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii", "c.nrrd", "notes.txt", ".lock", "labels/final/a.nii.gz", "datastore_v2.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert not_offered(tmp_path) == []


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["UPPER.NII.GZ"], r"1 file (UPPER.NII.GZ): MONAI Label knows endings in small letters only. Fix: rename"),
        (["p1/ct.nii.gz", "p2/ct.nii.gz"], "2 files (p1/ct.nii.gz, ...): MONAI Label looks at the folder itself only. Fix: --studies"),
        (["1.dcm", "2.dcm", "IM0003"], "3 files (1.dcm, ...): DICOM files. Fix: --studies with the address of a DICOMweb server"),
        # as Siemens names them, and without the 128 bytes and the letters that come first as a rule
        (["A.IMA", "bare", "x.y"], "3 files (A.IMA, ...): DICOM files. Fix: --studies with the address"),
        (["a.mgh", "b.mha"], "2 files (a.mgh, ...): MONAI Label does not look for this format. Fix: save as .nii.gz"),
        (["a.nii", "a.nii.gz"], "1 file (a.nii.gz): another scan has the same name but for the ending. Fix: rename one"),
    ],
)
def test_what_is_not_offered_has_a_line(tmp_path: Path, names: list[str], line: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        bare = b"\x08\x00\x05\x00CS\n\0ISO_IR 100".ljust(200, b"\0")
        (tmp_path / name).write_bytes({"IM0003": bytes(128) + b"DICM", "bare": bare, "x.y": bare}.get(name, b""))
    (found,) = not_offered(tmp_path)
    assert found.startswith(f"not offered: {line}")
