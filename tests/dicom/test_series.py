"""Which files of a tree are one scan, and what is left alone."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import AXIAL, CAPTURE, CORONAL, CT, SEG, STORAGE, VALUES, ct_slice, dataset, enhanced, pixels, save, series
from pydicom.fileset import FileSet

from bundle.dicom import Series, find_series, read_series, series_in
from bundle.errors import UserError


def found_in(folder: Path) -> tuple[list[Series], dict[str, int]]:
    """The series, and how many files of each kind were left alone."""
    found, left = find_series(path for path in folder.rglob("*") if path.is_file())
    kinds: dict[str, int] = {}
    for alone in left:
        assert all(Path(file).parent == Path(alone.folder) for file in alone.files)
        kinds[alone.kind] = kinds.get(alone.kind, 0) + len(alone.files)
    return found, kinds


def whole(one: Series) -> bool:
    return one.problem is None and np.array_equal(read_series(one.files)[0], VALUES)


def heights(one: Series) -> list[float]:
    return [float(pydicom.dcmread(file).ImagePositionPatient[2]) for file in one.files]


def test_files_are_in_the_order_of_the_slices(tmp_path: Path) -> None:
    series(tmp_path / "a")
    (one,), kinds = found_in(tmp_path)
    assert heights(one) == [30, 33, 36, 39, 42, 45] and not kinds and one.uid == "1.2.3"
    assert one.folder == str(tmp_path / "a") and one.problem is None
    assert series_in(tmp_path / "a") == [list(one.files)]


def test_one_uid_is_one_scan_whatever_its_slices_say(tmp_path: Path) -> None:
    def change(ds: pydicom.Dataset, k: int) -> None:
        ds.SliceThickness, ds.SeriesNumber = ("3", "3.0", "3.00")[k % 3], 3 + k % 2
        ds.SeriesDescription, ds.PatientID, ds.AcquisitionNumber = f"part {k}", ("P1", "P1 x")[k % 2], k

    for number, file in enumerate(series(tmp_path / "a", change)):
        (tmp_path / "a" / f"DIR{number // 3}").mkdir(exist_ok=True)
        file.rename(tmp_path / "a" / f"DIR{number // 3}" / file.name)
    (one,), _ = found_in(tmp_path)
    assert whole(one) and one.folder == str(tmp_path / "a")


def test_the_same_slices_in_two_folders_are_two_scans(tmp_path: Path) -> None:
    series(tmp_path / "a")
    series(tmp_path / "b", lambda ds, k: setattr(ds, "SOPInstanceUID", f"7.{k}"))
    found, kinds = found_in(tmp_path)
    assert [Path(one.folder).name for one in found] == ["a", "b"] and all(map(whole, found)) and not kinds
    # a slice that lies in both halves is a copy
    shutil.rmtree(tmp_path / "b")
    (tmp_path / "a" / "sub").mkdir()
    for name in ("IM9.dcm", "IM8.dcm", "IM7.dcm"):
        (tmp_path / "a" / name).rename(tmp_path / "a" / "sub" / name)
    assert whole(found_in(tmp_path)[0][0])


def test_a_folder_for_each_slice(tmp_path: Path) -> None:
    for number, file in enumerate(series(tmp_path)):
        (tmp_path / str(number)).mkdir()
        file.rename(tmp_path / str(number) / "image.dcm")
    (one,), _ = found_in(tmp_path)
    assert whole(one) and one.folder == str(tmp_path)


def test_two_patients_under_one_series_uid(tmp_path: Path) -> None:
    series(tmp_path / "a")

    def other(ds: pydicom.Dataset, k: int) -> None:
        ds.PatientID, ds.SOPInstanceUID, ds.ImagePositionPatient = "P2", f"8.{k}", [-11, -20, 400 + 3 * k]

    series(tmp_path / "b", other)
    found, _ = found_in(tmp_path)
    assert len(found) == 2 and all(map(whole, found))


@pytest.mark.parametrize("name", ["PatientID", "StudyInstanceUID", "FrameOfReferenceUID"])
def test_two_patients_back_to_back_are_two_scans(tmp_path: Path, name: str) -> None:
    """The second one's first slice is where the first one's next slice would be."""
    series(tmp_path, lambda ds, k: setattr(ds, name, "1.8.1"))

    def other(ds: pydicom.Dataset, k: int) -> None:
        setattr(ds, name, "1.8.2")
        ds.SOPInstanceUID, ds.ImagePositionPatient = f"8.{k}", [-10, -20, 30 + 3 * (6 + k)]

    for file in series(tmp_path / "b", other):
        file.rename(tmp_path / f"b{file.name}")
    with pytest.raises(UserError, match=f"these slices have different {name}. Fix: give the slices of one study"):
        read_series(sorted(tmp_path.glob("*.dcm")))
    found, kinds = found_in(tmp_path)
    assert [heights(one)[0] for one in found] == [30, 48] and all(map(whole, found)) and not kinds


def test_a_missing_element_makes_no_other_patient(tmp_path: Path) -> None:
    def change(ds: pydicom.Dataset, k: int) -> None:
        ds.FrameOfReferenceUID = "1.9"
        if k > 2:
            del ds.PatientID, ds.StudyInstanceUID, ds.FrameOfReferenceUID

    series(tmp_path, change)
    assert [whole(one) for one in found_in(tmp_path)[0]] == [True]


@pytest.mark.parametrize("name", ["StudyInstanceUID", "FrameOfReferenceUID"])
def test_slices_of_two_studies_between_each_other_are_refused(tmp_path: Path, name: str) -> None:
    series(tmp_path, lambda ds, k: setattr(ds, name, f"1.8.{k % 2}"))
    (one,), kinds = found_in(tmp_path)
    assert one.problem == f"slices with different {name} lie between each other in one series" and len(one.files) == 6 and not kinds


def test_one_slice_of_another_study_is_not_part_of_the_scan(tmp_path: Path) -> None:
    series(tmp_path, lambda ds, k: setattr(ds, "StudyInstanceUID", "1.8.1" if k < 5 else "1.8.2"))
    found, _ = found_in(tmp_path)
    assert sorted((len(one.files), one.problem is None) for one in found) == [(1, False), (5, True)]


@pytest.mark.parametrize("folder", ["0 first", "z last"])
def test_a_copied_slice_in_its_own_folder_is_a_copy(tmp_path: Path, folder: str) -> None:
    files = series(tmp_path / "ct")
    (tmp_path / folder).mkdir()
    for file in files[1:3]:
        shutil.copy(file, tmp_path / folder / file.name)
    (one,), kinds = found_in(tmp_path)
    assert whole(one) and one.folder == str(tmp_path / "ct") and kinds == {"copy of a slice": 2}
    # another picture at that place is named as what it is, and the scan stays
    ds = pydicom.dcmread(files[1])
    pixels(ds, VALUES[:, :, 0].T + 20)
    save(ds, tmp_path / folder / files[1].name)
    (tmp_path / folder / files[2].name).unlink()
    found, kinds = found_in(tmp_path)
    assert sum(map(whole, (one for one in found if one.problem is None))) == 1 and not kinds
    assert ["two-dimensional" in one.problem for one in found if one.problem] == [True]


def test_without_a_uid_the_folder_says_what_belongs_together(tmp_path: Path) -> None:
    for name in "ab":
        series(tmp_path / name, lambda ds, k: delattr(ds, "SeriesInstanceUID"))
    found, _ = found_in(tmp_path)
    assert len(found) == 2 and all(map(whole, found))


def test_copies_are_left_out(tmp_path: Path) -> None:
    files = series(tmp_path)
    shutil.copy(files[2], tmp_path / "IM7 (1).dcm")
    ds = pydicom.dcmread(files[3])
    ds.SOPInstanceUID, ds.PatientName = "9.9", "x"
    save(ds, tmp_path / "other uid.dcm")
    ds = pydicom.dcmread(files[4])
    ds.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    save(ds, tmp_path / "compressed.dcm")
    (one,), kinds = found_in(tmp_path)
    assert whole(one) and kinds == {"copy of a slice": 3}


@pytest.mark.parametrize(
    ("name", "value"), [("RescaleIntercept", "-1000"), ("RescaleSlope", "2"), ("PixelRepresentation", 1), ("BitsStored", 12)]
)
def test_the_same_bytes_with_another_meaning_are_no_copy(tmp_path: Path, name: str, value: object) -> None:
    ds = pydicom.dcmread(series(tmp_path)[2])
    setattr(ds, name, value)
    ds.HighBit = ds.BitsStored - 1
    save(ds, tmp_path / "again.dcm")
    (one,), _ = found_in(tmp_path)
    assert one.problem is not None and "IM7.dcm and again.dcm are at the same position" in one.problem


@pytest.mark.parametrize("mark", ["AcquisitionNumber", "TemporalPositionIdentifier", "ContentTime", None])
def test_phases_in_one_series_are_refused_for_what_they_are(tmp_path: Path, mark: str | None) -> None:
    series(tmp_path / "a")

    def second(ds: pydicom.Dataset, k: int) -> None:
        ds.SOPInstanceUID = f"1.2.9.{k}"
        if mark:
            setattr(ds, mark, {"ContentTime": "101112"}.get(mark, 2))
        pixels(ds, VALUES[:, :, k].T + 20)

    for file in series(tmp_path / "b", second):
        file.rename(tmp_path / "a" / f"second_{file.name}")
    (one,), _ = found_in(tmp_path)
    assert "same position" in one.problem and "missing" not in one.problem and "series of its own" in one.fix
    assert len(one.files) == 12 and (mark or "several images") in one.problem


def test_scouts_do_not_disturb_the_scan(tmp_path: Path) -> None:
    series(tmp_path)
    scout = ct_slice(0, hu=VALUES[:, :, 0].T)
    scout.SOPInstanceUID, scout.ImageOrientationPatient, scout.ImagePositionPatient = "7.1", CORONAL, [-40, 0, 300]
    save(scout, tmp_path / "unmarked.dcm")
    scout.SOPInstanceUID, scout.ImageType = "7.2", ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    pixels(scout, np.zeros((9, 3)))
    save(scout, tmp_path / "marked.dcm")
    for number, turned in enumerate((CORONAL, [0, 1, 0, 0, 0, -1])):
        view = ct_slice(number, uid="1.2.77")
        view.ImageOrientationPatient = turned
        save(view, tmp_path / "topogram" / f"{number}.dcm")
    (one,), kinds = found_in(tmp_path)
    assert whole(one) and kinds == {"localizer": 3, "picture of another plane": 1}


@pytest.mark.parametrize("which", [0, 5])
def test_the_first_or_last_slice_turned_is_not_dropped(tmp_path: Path, which: int) -> None:
    series(tmp_path, lambda ds, k: setattr(ds, "ImageOrientationPatient", [0, 1, 0, -1, 0, 0] if k == which else AXIAL))
    (one,), kinds = found_in(tmp_path)
    assert "orientation" in one.problem and len(one.files) == 6 and not kinds


def test_every_other_slice_turned_is_not_two_scans(tmp_path: Path) -> None:
    series(tmp_path, lambda ds, k: setattr(ds, "ImageOrientationPatient", [-1, 0, 0, 0, -1, 0] if k % 2 else AXIAL))
    (one,), kinds = found_in(tmp_path)
    assert "orientation" in one.problem and len(one.files) == 6 and not kinds


def test_two_stacks_in_one_series_are_two_scans(tmp_path: Path) -> None:
    series(tmp_path)

    def coronal(ds: pydicom.Dataset, k: int) -> None:
        ds.SOPInstanceUID, ds.ImageOrientationPatient, ds.ImagePositionPatient = f"6.{k}", CORONAL, [-10, 20 + 3 * k, 90]

    for file in series(tmp_path / "b", coronal):
        file.rename(tmp_path / f"c{file.name}")
    found, _ = found_in(tmp_path)
    assert [len(one.files) for one in found] == [6, 6] and not any(one.problem for one in found)
    assert np.allclose(read_series(found[1].files)[1][:3, :3], [[-1.5, 0, 0], [0, 0, -3], [0, -2, 0]])


def test_one_slice_over_time_is_left_alone(tmp_path: Path) -> None:
    series(tmp_path / "ct")
    series(tmp_path / "bolus", lambda ds, k: setattr(ds, "ImagePositionPatient", [-10, -20, 30]), uid="1.2.8")
    found, kinds = found_in(tmp_path)
    assert len(found) == 1 and whole(found[0]) and kinds == {"time series of one slice": 6}


def test_what_is_no_ct_is_left_alone_even_in_the_series_of_one(tmp_path: Path) -> None:
    series(tmp_path)
    for name, sop_class, modality in (("segments", SEG, "SEG"), ("report", STORAGE + "88.67", "SR"), ("pet", CT, "PT")):
        other = dataset("1.2.3", f"5.5.{len(name)}", sop_class, modality)
        if modality != "SR":
            pixels(other, VALUES[:, :, 0].T)
        save(other, tmp_path / f"{name}.dcm")
    (one,), kinds = found_in(tmp_path)
    assert whole(one) and kinds == {"DICOM SEG": 1, "dose report": 1, "PET": 1}


def test_the_dicomdir_of_a_cd_is_left_alone(tmp_path: Path) -> None:
    """What pydicom writes as PACS do: it says what it is in its file meta information alone."""
    exported = FileSet()
    for file in series(tmp_path / "series"):
        ds = pydicom.dcmread(file)
        ds.PatientName, ds.StudyDate, ds.StudyTime, ds.StudyID, ds.SeriesNumber, ds.AccessionNumber = "x", "20200101", "1010", "1", 1, ""
        exported.add(ds)
    exported.write(tmp_path / "cd")
    (one,), kinds = found_in(tmp_path / "cd")
    assert whole(one) and kinds == {"DICOMDIR": 1}
    with pytest.raises(UserError, match=r"not a CT \(DICOMDIR\)\. Fix: give the folder"):
        read_series([tmp_path / "cd/DICOMDIR"])


def test_a_folder_of_something_else_says_what_it_holds(tmp_path: Path) -> None:
    series(tmp_path, lambda ds, k: setattr(ds, "Modality", "PT"))
    with pytest.raises(UserError, match=r"no CT is in this folder \(6 files: PET\)"):
        series_in(tmp_path)


def test_a_capture_with_a_place_is_a_scan(tmp_path: Path) -> None:
    # as writers make them that know no SOP class
    series(tmp_path / "placed", lambda ds, k: setattr(ds, "SOPClassUID", CAPTURE))

    def bare(ds: pydicom.Dataset) -> None:
        ds.SOPClassUID, ds.Modality = STORAGE + "7.3", "OT"
        del ds.PerFrameFunctionalGroupsSequence, ds.SharedFunctionalGroupsSequence

    enhanced(tmp_path / "frames" / "x.dcm", list(range(6)), bare)
    frames, placed = found_in(tmp_path)[0]
    assert whole(placed) and "no positions" in frames.problem


def test_files_of_many_frames_in_one_series(tmp_path: Path) -> None:
    # halves of one volume are one scan; two volumes at the same positions are two
    enhanced(tmp_path / "half" / "1.dcm", [0, 1, 2])
    enhanced(tmp_path / "half" / "2.dcm", [3, 4, 5], lambda ds: setattr(ds, "SOPInstanceUID", "1.2.6.2"))
    (one,), _ = found_in(tmp_path)
    assert whole(one) and len(one.files) == 2
    shutil.rmtree(tmp_path / "half")
    for number in "12":
        enhanced(tmp_path / f"{number}.dcm", [5, 4, 3, 2, 1, 0], lambda ds, number=number: setattr(ds, "SOPInstanceUID", number))
    found, _ = found_in(tmp_path)
    assert len(found) == 2 and all(map(whole, found))


def test_what_cannot_be_read_is_named_and_hides_nothing(tmp_path: Path) -> None:
    series(tmp_path / "good")
    cut = series(tmp_path / "cut", uid="1.2.30")[2]
    cut.write_bytes(cut.read_bytes()[:-30])
    (tmp_path / "good" / "text.dcm").write_bytes(b"not DICOM" * 50)
    (tmp_path / "good" / "empty.dcm").write_bytes(b"")
    (tmp_path / "good" / "head.dcm").write_bytes(cut.read_bytes()[:150])
    found, _ = found_in(tmp_path)
    problems = {Path(one.files[0]).name if len(one.files) == 1 else Path(one.folder).name: one.problem for one in found}
    assert problems.pop("good") is None
    assert "IM7.dcm" in problems["cut"] and "cut off" in problems["cut"]
    assert "empty" in problems["empty.dcm"] and "not a DICOM file" in problems["text.dcm"] and "damaged" in problems["head.dcm"]


def test_mutated_headers_end_nothing_and_hide_nothing(tmp_path: Path) -> None:
    series(tmp_path / "good", uid="1.2.99")
    good = {path: path.read_bytes() for path in series(tmp_path / "bad")}
    generator = random.Random(0)
    refusals = 0
    for _ in range(60):
        for path, content in good.items():
            changed = bytearray(content)
            for _ in range(generator.choice((0, 1, 4))):
                changed[generator.randrange(132, len(changed))] = generator.randrange(256)
            path.write_bytes(changed)
        found, _ = found_in(tmp_path)
        assert any(one.uid == "1.2.99" and whole(one) for one in found)
        for one in found:
            try:
                values, affine = read_series(one.files)
            except UserError:
                refusals += 1
            else:
                assert values.size < 1e6 and np.isfinite(affine).all() and abs(np.linalg.det(affine)) > 0
    assert refusals > 20
