"""DICOM SEG of tiny and real series, read back by pydicom alone and looked at by dciodvfy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dicom_files
import dicom_objects as made
import numpy as np
import pydicom
import pytest

from bundle.dicom.source import read_source
from bundle.dicom.structure_set import write_structure_set
from bundle.structures import describe


@pytest.mark.parametrize("place", made.PLACES)
def test_segments_have_the_voxels_of_the_label_map_at_its_places(tmp_path: Path, place: str) -> None:
    files, labels = dicom_files.series(tmp_path / "ct", made.placed(place)), made.tiny_labels()
    source, affine = made.source_of(files, labels)
    for kind in ("binary", "labelmap"):
        found, ds = made.segments(made.write_seg(tmp_path / f"{kind}.dcm", source, labels, kind=kind), affine, labels.shape)
        assert np.array_equal(found, labels) and ds.SegmentationType == kind.upper()
        referred = {item.ReferencedSOPInstanceUID for item in ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
        assert referred == {f"1.2.3.{k + 1}" for k in range(6)} and ds.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3"


def test_a_file_of_many_frames_is_referred_to_by_frame(tmp_path: Path) -> None:
    order, labels = [3, 1, 0, 2, 5, 4], made.tiny_labels()
    source, affine = made.source_of([dicom_files.enhanced(tmp_path / "e.dcm", order)], labels)
    for kind in ("binary", "labelmap"):
        found, ds = made.segments(made.write_seg(tmp_path / f"{kind}.dcm", source, labels, kind=kind), affine, labels.shape)
        assert np.array_equal(found, labels)
        for group in ds.PerFrameFunctionalGroupsSequence:
            frame = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
            assert order[frame - 1] == round(made.index_of(affine, group.PlanePositionSequence[0].ImagePositionPatient)[2])


def test_several_files_of_many_frames_are_referred_to_by_file_and_frame(tmp_path: Path) -> None:
    files, labels = made.halves(tmp_path), made.tiny_labels()
    source, affine = made.source_of(files, labels)
    for kind in ("binary", "labelmap"):
        found, ds = made.segments(made.write_seg(tmp_path / f"{kind}.dcm", source, labels, kind=kind), affine, labels.shape)
        assert np.array_equal(found, labels)
        items = ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence
        assert sorted(item.ReferencedSOPInstanceUID for item in items) == ["1.2.6.2", "1.2.6.3"]
        for group in ds.PerFrameFunctionalGroupsSequence:
            image = group.DerivationImageSequence[0].SourceImageSequence[0]
            order = made.HALVES[("1.2.6.2", "1.2.6.3").index(image.ReferencedSOPInstanceUID)]
            assert image.ReferencedSOPClassUID == source.instances[str(files[0])][0] != "1.2.840.10008.5.1.4.1.1.2"
            slice_ = round(made.index_of(affine, group.PlanePositionSequence[0].ImagePositionPatient)[2])
            assert order[image.ReferencedFrameNumber - 1] == slice_


def test_files_of_one_frame_and_frames_that_are_there_twice(tmp_path: Path) -> None:
    labels = made.tiny_labels()

    def named(uid: str) -> Callable:
        return lambda ds: [setattr(ds, "SOPInstanceUID", uid), setattr(ds.file_meta, "MediaStorageSOPInstanceUID", uid)]

    single = [dicom_files.enhanced(tmp_path / "single" / f"{k}.dcm", [k], named(f"1.2.6.{k + 1}")) for k in range(6)]
    # slice 2 is in the first and in the last frame
    twice = [dicom_files.enhanced(tmp_path / "twice.dcm", [2, 0, 1, 4, 5, 3, 2])]
    for files, count in ((single, 6), (twice, 1)):
        source, affine = made.source_of(files, labels)
        for kind in ("binary", "labelmap"):
            found, ds = made.segments(made.write_seg(tmp_path / f"{kind}.dcm", source, labels, kind=kind), affine, labels.shape)
            assert np.array_equal(found, labels)
            assert len(ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == count
            for group in ds.PerFrameFunctionalGroupsSequence:
                image = group.DerivationImageSequence[0].SourceImageSequence[0]
                slice_ = round(made.index_of(affine, group.PlanePositionSequence[0].ImagePositionPatient)[2])
                assert image.ReferencedSOPClassUID == dicom_files.ENHANCED
                if count == 1:
                    assert [2, 0, 1, 4, 5, 3, 2][image.ReferencedFrameNumber - 1] == slice_
                else:
                    assert image.ReferencedSOPInstanceUID == f"1.2.6.{slice_ + 1}" and "ReferencedFrameNumber" not in image


@made.needs_validator
def test_the_validator_finds_no_error_in_frames_of_several_files(tmp_path: Path) -> None:
    source, _ = made.source_of(made.halves(tmp_path), made.tiny_labels())
    assert made.validated(made.write_seg(tmp_path / "seg.dcm", source, made.tiny_labels())) == []


def test_segments_say_what_they_are_and_whose(tmp_path: Path) -> None:
    files, labels = dicom_files.series(tmp_path / "ct", made.placed("axial")), made.tiny_labels() * np.uint8(20)
    source, affine = made.source_of(files, labels)
    named = [(40, made.NAMED[1][1]), (20, made.NAMED[0][1])]
    found, ds = made.segments(made.write_seg(tmp_path / "b.dcm", source, labels, named), affine, labels.shape)
    assert np.array_equal(found * 20, labels), "segments are numbered from 1, in the order of the values"
    left, tumour = ds.SegmentSequence
    assert [one.SegmentLabel for one in ds.SegmentSequence] == made.NAMES
    assert left.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "91723000"
    kind = left.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning) == ("64033007", "SCT", "Kidney")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == "7771000"
    assert (tumour.SegmentedPropertyTypeCodeSequence[0].CodeValue, tumour.AnatomicRegionSequence[0].CodeValue) == ("108369006", "15776009")
    # CIELab of (110, 230, 110), a green, by the formulas of CIE: L* 82.6, a* -57.1, b* 47.2, as DICOM scales them
    lightness, a, b = left.RecommendedDisplayCIELabValue
    assert lightness / 65535 * 100 == pytest.approx(82.6, abs=1) and a / 257 - 128 < -50 and b / 257 - 128 > 40
    assert left.SegmentAlgorithmType == "AUTOMATIC" and left.SegmentAlgorithmName == "Attention U-Net"
    assert left.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "0.1.0, weights 0123456789ab"
    assert (ds.PatientName, ds.PatientID, ds.StudyID, ds.AccessionNumber, ds.StudyInstanceUID) == ("DOE^JANE", "P1", "S7", "A9", "1.2.5")
    assert ds.SeriesInstanceUID != "1.2.3" and ds.FrameOfReferenceUID == "1.2.7"
    again = made.segments(made.write_seg(tmp_path / "a.dcm", source, labels, named, "labelmap"), affine, labels.shape)
    assert np.array_equal(again[0], labels), "the numbers of a label map are its values"
    assert again[1].SegmentSequence[1].TrackingUID == left.TrackingUID and again[1].SOPInstanceUID != ds.SOPInstanceUID


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("", "DOE^JANE"),
        ("ISO_IR 100", "Müller^Jörg"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        # misspelled, as some programs do
        ("ISO_IR100", "Müller^Jörg"),
    ],
)
def test_text_of_every_character_set_is_as_in_the_source(tmp_path: Path, character_set: str | list[str], name: str) -> None:
    def written(ds: pydicom.Dataset, k: int) -> None:
        made.placed("axial")(ds, k)
        ds.SpecificCharacterSet, ds.PatientName = character_set, name

    files, labels = dicom_files.series(tmp_path / "ct", written), made.tiny_labels()
    for own in (made.NAMES, ["Niere größe", "胰腺"]):
        named = list(zip((1, 2), describe(own), strict=True))
        source = read_source(files, labels.shape, " ".join(structure.words for _, structure in named))
        write_structure_set(tmp_path / "rt.dcm", source, labels, named, made.MAKER)
        seg, rt = pydicom.dcmread(made.write_seg(tmp_path / "seg.dcm", source, labels, named)), pydicom.dcmread(tmp_path / "rt.dcm")
        assert [str(ds.PatientName) for ds in (seg, rt)] == [name, name]
        assert [one.SegmentLabel for one in seg.SegmentSequence] == own == [one.ROIName for one in rt.StructureSetROISequence]
        # the source's own bytes where its character set is enough
        kept = own is made.NAMES or character_set == "GB18030"
        found = [ds.get("SpecificCharacterSet", "") for ds in (seg, rt)]
        assert found == [character_set if kept else "ISO_IR 192"] * 2
        assert ("SpecificCharacterSet" in seg) is bool(found[0]), "it must not be there without a value"


@pytest.mark.parametrize(("text", "thickness"), [("2.5", 2.5), ("5 mm", 3), ("5\\5", 3), ("0", 3), ("-3", 3), ("", 3)])
def test_a_thickness_that_is_no_length_is_the_distance_of_the_slices(tmp_path: Path, text: str, thickness: float) -> None:
    def written(ds: pydicom.Dataset, k: int) -> None:
        made.placed("axial")(ds, k)
        value = text.encode()
        ds[0x00180050] = pydicom.dataelem.RawDataElement(pydicom.tag.Tag(0x00180050), "DS", len(value), value, 0, False, True)

    labels = made.tiny_labels()
    source, _ = made.source_of(dicom_files.series(tmp_path / "ct", written), labels)
    ds = pydicom.dcmread(made.write_seg(tmp_path / "seg.dcm", source, labels))
    assert float(ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness) == pytest.approx(thickness)


def test_no_name_gets_into_the_log(tmp_path: Path) -> None:
    # highdicom warns of a name of one part, as many that are made up are, and quotes it
    code = f"""
import sys; sys.path.insert(0, {str(Path(made.__file__).parent)!r})
from pathlib import Path
import dicom_files, dicom_objects as made
from bundle.dicom.segmentation import write_segmentation
files = dicom_files.series(Path({str(tmp_path)!r}), lambda ds, k: [made.placed("axial")(ds, k), setattr(ds, "PatientName", "ANON7")])
source, _ = made.source_of(files, made.tiny_labels())
write_segmentation({str(tmp_path / "seg.dcm")!r}, source, made.tiny_labels(), made.NAMED, made.MAKER)
"""
    pytest.importorskip("highdicom")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "ANON7" not in done.stdout + done.stderr, done.stderr
    assert pydicom.dcmread(tmp_path / "seg.dcm").PatientName == "ANON7"


def test_an_empty_label_map_is_written_too(tmp_path: Path) -> None:
    files, labels = dicom_files.series(tmp_path / "ct", made.placed("axial")), np.zeros((5, 4, 6), np.uint8)
    source, affine = made.source_of(files, labels)
    assert not made.segments(made.write_seg(tmp_path / "a.dcm", source, labels), affine, labels.shape)[0].any()


@made.needs_validator
def test_the_validator_finds_no_error(tmp_path: Path) -> None:
    labels = made.tiny_labels()
    for place in made.PLACES:
        source, _ = made.source_of(dicom_files.series(tmp_path / place, made.placed(place)), labels)
        assert made.validated(made.write_seg(tmp_path / "seg.dcm", source, labels)) == []


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["abdomen_168", "slab_20"])
def test_real_series(name: str, shared_data: Path, tmp_path: Path) -> None:
    source, affine, labels = made.real_series(shared_data / "dicom" / name)
    for kind in ("binary", "labelmap"):
        found, _ = made.segments(made.write_seg(tmp_path / f"{kind}.dcm", source, labels, kind=kind), affine, labels.shape)
        assert np.array_equal(found, labels)
    if shutil.which("dciodvfy"):
        assert made.validated(tmp_path / "binary.dcm") == []
