"""DICOM SEG and RTSTRUCT of tiny and real series, read back by pydicom alone and looked at by dciodvfy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import dicom_files
import dicom_objects as made
import numpy as np
import pydicom
import pytest
from scipy import ndimage

from bundle.dicom import read_series, series_in
from bundle.dicom.contours import polygons
from bundle.dicom.maker import Maker
from bundle.dicom.source import Source, read_source
from bundle.dicom.structure_set import write_structure_set
from bundle.structures import describe

MAKER = Maker("0.1.0", "0123456789ab")
NAMES = ["kidney left", "pancreas tumour"]
NAMED = list(zip((1, 2), describe(NAMES), strict=True))
needs_validator = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools are not installed")


def source_of(files: list, labels: np.ndarray) -> tuple[Source, np.ndarray]:
    return read_source(files, labels.shape), read_series(files)[1]


def write_seg(path: Path, source: Source, labels: np.ndarray, named: list = NAMED, kind: str = "binary") -> Path:
    pytest.importorskip("highdicom")
    from bundle.dicom.segmentation import write_segmentation

    write_segmentation(path, source, labels, named, MAKER, kind)
    return path


@pytest.mark.parametrize("place", made.PLACES)
def test_objects_have_the_voxels_of_the_label_map_at_its_places(tmp_path: Path, place: str) -> None:
    files, labels = dicom_files.series(tmp_path / "ct", made.placed(place)), made.tiny_labels()
    source, affine = source_of(files, labels)
    for kind in ("binary", "labelmap"):
        found, ds = made.segments(write_seg(tmp_path / f"{kind}.dcm", source, labels, kind=kind), affine, labels.shape)
        assert np.array_equal(found, labels) and ds.SegmentationType == kind.upper()
        referred = {item.ReferencedSOPInstanceUID for item in ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
        assert referred == {f"1.2.3.{k + 1}" for k in range(6)} and ds.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3"
    write_structure_set(tmp_path / "rt.dcm", source, labels, NAMED, MAKER)
    masks, ds = made.regions(tmp_path / "rt.dcm", affine, labels.shape)
    assert all(np.array_equal(masks[name], labels == value) for name, value in zip(NAMES, (1, 2), strict=True))


def test_a_file_of_many_frames_is_referred_to_by_frame(tmp_path: Path) -> None:
    order, labels = [3, 1, 0, 2, 5, 4], made.tiny_labels()
    source, affine = source_of([dicom_files.enhanced(tmp_path / "e.dcm", order)], labels)
    for kind in ("binary", "labelmap"):
        found, ds = made.segments(write_seg(tmp_path / f"{kind}.dcm", source, labels, kind=kind), affine, labels.shape)
        assert np.array_equal(found, labels)
        for group in ds.PerFrameFunctionalGroupsSequence:
            frame = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
            assert order[frame - 1] == round(made.index_of(affine, group.PlanePositionSequence[0].ImagePositionPatient)[2])
    write_structure_set(tmp_path / "rt.dcm", source, labels, NAMED, MAKER)
    masks, ds = made.regions(tmp_path / "rt.dcm", affine, labels.shape)
    assert np.array_equal(masks["kidney left"], labels == 1)
    image = ds.ROIContourSequence[1].ContourSequence[0].ContourImageSequence[0]
    assert (image.ReferencedSOPInstanceUID, image.ReferencedFrameNumber) == ("1.2.6.1", order.index(2) + 1)


def half(start: int) -> Callable[[pydicom.Dataset], None]:
    """A change that gives a file its own UID."""

    def change(ds: pydicom.Dataset) -> None:
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.6.{start}"

    return change


def test_several_files_of_many_frames_are_referred_to_by_file_and_frame(tmp_path: Path) -> None:
    halves = ([2, 0, 1], [3, 5, 4])
    files = [dicom_files.enhanced(tmp_path / f"{order[0]}.dcm", order, half(order[0])) for order in halves]
    labels = made.tiny_labels()
    source, affine = source_of(files, labels)
    for kind in ("binary", "labelmap"):
        found, ds = made.segments(write_seg(tmp_path / f"{kind}.dcm", source, labels, kind=kind), affine, labels.shape)
        assert np.array_equal(found, labels)
        items = ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence
        assert sorted(item.ReferencedSOPInstanceUID for item in items) == ["1.2.6.2", "1.2.6.3"]
        for group in ds.PerFrameFunctionalGroupsSequence:
            image = group.DerivationImageSequence[0].SourceImageSequence[0]
            order = halves[("1.2.6.2", "1.2.6.3").index(image.ReferencedSOPInstanceUID)]
            assert image.ReferencedSOPClassUID == source.instances[str(files[0])][0] != "1.2.840.10008.5.1.4.1.1.2"
            slice_ = round(made.index_of(affine, group.PlanePositionSequence[0].ImagePositionPatient)[2])
            assert order[image.ReferencedFrameNumber - 1] == slice_
    write_structure_set(tmp_path / "rt.dcm", source, labels, NAMED, MAKER)
    assert np.array_equal(made.regions(tmp_path / "rt.dcm", affine, labels.shape)[0]["kidney left"], labels == 1)


@needs_validator
def test_the_validator_finds_no_error_in_frames_of_several_files(tmp_path: Path) -> None:
    files = [dicom_files.enhanced(tmp_path / f"{order[0]}.dcm", order, half(order[0])) for order in ([2, 0, 1], [3, 5, 4])]
    source, _ = source_of(files, made.tiny_labels())
    assert made.validated(write_seg(tmp_path / "seg.dcm", source, made.tiny_labels())) == []


def test_segments_say_what_they_are_and_whose(tmp_path: Path) -> None:
    files, labels = dicom_files.series(tmp_path / "ct", made.placed("axial")), made.tiny_labels() * np.uint8(20)
    source, affine = source_of(files, labels)
    named = [(40, NAMED[1][1]), (20, NAMED[0][1])]
    found, ds = made.segments(write_seg(tmp_path / "b.dcm", source, labels, named), affine, labels.shape)
    assert np.array_equal(found * 20, labels), "segments are numbered from 1, in the order of the values"
    left, tumour = ds.SegmentSequence
    assert [one.SegmentLabel for one in ds.SegmentSequence] == NAMES
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
    again = made.segments(write_seg(tmp_path / "a.dcm", source, labels, named, "labelmap"), affine, labels.shape)
    assert np.array_equal(again[0], labels), "the numbers of a label map are its values"
    assert again[1].SegmentSequence[1].TrackingUID == left.TrackingUID and again[1].SOPInstanceUID != ds.SOPInstanceUID


def test_uids_that_were_taken_out_are_made_the_same_each_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def without(ds: pydicom.Dataset, k: int) -> None:
        ds.StudyInstanceUID = ds.SOPInstanceUID = ""
        del ds.PatientID

    files, labels = dicom_files.series(tmp_path / "ct", without), made.tiny_labels()
    one, other = (read_source(files, labels.shape) for _ in range(2))
    assert one.shared.StudyInstanceUID == other.shared.StudyInstanceUID != ""
    assert "StudyInstanceUID, FrameOfReferenceUID: missing" in caplog.text
    _, ds = made.segments(write_seg(tmp_path / "a.dcm", one, labels), read_series(files)[1], labels.shape)
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
    write_seg(tmp_path / "a.dcm", source, labels)
    write_structure_set(tmp_path / "b.dcm", source, labels, NAMED, MAKER)
    for name in "ab":
        ds = pydicom.dcmread(tmp_path / f"{name}.dcm")
        assert (ds.StudyInstanceUID, ds.StudyDate, ds.PatientAge, ds.PatientSex) == ("1.2.05", "", "old", "")


def test_an_empty_label_map_is_written_too(tmp_path: Path) -> None:
    files, labels = dicom_files.series(tmp_path / "ct", made.placed("axial")), np.zeros((5, 4, 6), np.uint8)
    source, affine = source_of(files, labels)
    assert not made.segments(write_seg(tmp_path / "a.dcm", source, labels), affine, labels.shape)[0].any()
    write_structure_set(tmp_path / "b.dcm", source, labels, NAMED, MAKER)
    assert not any(mask.any() for mask in made.regions(tmp_path / "b.dcm", affine, labels.shape)[0].values())


@pytest.mark.parametrize("seed", range(4))
def test_polygons_hold_the_centres_of_a_mask_and_no_others(seed: int) -> None:
    """Noise has holes in islands in holes, and pixels that touch at corners."""
    mask = np.random.default_rng(seed).random((30, 20)) < 0.6
    columns, rows = np.meshgrid(np.arange(20), np.arange(30))
    centres, found = np.stack([columns.ravel(), rows.ravel()], 1), np.zeros(mask.size, bool)
    for corners in polygons(mask):
        inside = made.Outline(corners).contains_points(centres)
        assert not (found & inside).any(), "pieces do not overlap, so that it does not matter whether readers add or exclude"
        found |= inside
    assert np.array_equal(found.reshape(mask.shape), mask) and polygons(np.zeros((3, 3), bool)) == []


@needs_validator
def test_the_validator_finds_no_error(tmp_path: Path) -> None:
    labels = made.tiny_labels()
    for place in made.PLACES:
        source, _ = source_of(dicom_files.series(tmp_path / place, made.placed(place)), labels)
        write_structure_set(tmp_path / "rt.dcm", source, labels, NAMED, MAKER)
        for path in (write_seg(tmp_path / "seg.dcm", source, labels), tmp_path / "rt.dcm"):
            assert made.validated(path) == []


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["abdomen_168", "slab_20"])
def test_real_series(name: str, shared_data: Path, tmp_path: Path) -> None:
    files = series_in(shared_data / "dicom" / name)[0]
    values, affine = read_series(files)
    body = ndimage.binary_opening(values > -300, iterations=2)
    labels = body.astype(np.uint8)
    labels[ndimage.binary_opening(values > 150, iterations=1)] = 2
    source = read_source(files, labels.shape)
    for kind in ("binary", "labelmap"):
        found, _ = made.segments(write_seg(tmp_path / f"{kind}.dcm", source, labels, kind=kind), affine, labels.shape)
        assert np.array_equal(found, labels)
    write_structure_set(tmp_path / "rt.dcm", source, labels, NAMED, MAKER)
    masks, _ = made.regions(tmp_path / "rt.dcm", affine, labels.shape)
    for value, region in zip((1, 2), NAMES, strict=True):
        wanted = labels == value
        assert 2 * (masks[region] & wanted).sum() / (masks[region].sum() + wanted.sum()) >= 0.98
    if shutil.which("dciodvfy"):
        assert made.validated(tmp_path / "binary.dcm") == []
