"""RTSTRUCT of tiny and real series, its contours filled by matplotlib, and looked at by dciodvfy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dicom_files
import dicom_objects as made
import numpy as np
import pydicom
import pytest
from small_scans import dicom_series

from bundle.dicom.source import Source
from bundle.dicom.structure_set import write_structure_set


def filled(path: Path, source: Source, affine: np.ndarray, labels: np.ndarray) -> tuple[dict[str, np.ndarray], pydicom.Dataset]:
    """The regions of the structure set of a label map."""
    write_structure_set(path, source, labels, made.NAMED, made.MAKER)
    return made.regions(path, affine, labels.shape)


@pytest.mark.parametrize("place", made.PLACES)
def test_contours_hold_the_voxels_of_the_label_map_at_its_places(tmp_path: Path, place: str) -> None:
    files, labels = dicom_files.series(tmp_path / "ct", made.placed(place)), made.tiny_labels()
    source, affine = made.source_of(files, labels)
    masks, _ = filled(tmp_path / "rt.dcm", source, affine, labels)
    assert all(np.array_equal(masks[name], labels == value) for name, value in zip(made.NAMES, (1, 2), strict=True))


def test_frames_and_files_of_many_frames_are_referred_to(tmp_path: Path) -> None:
    order, labels = [3, 1, 0, 2, 5, 4], made.tiny_labels()
    source, affine = made.source_of([dicom_files.enhanced(tmp_path / "e.dcm", order)], labels)
    masks, ds = filled(tmp_path / "rt.dcm", source, affine, labels)
    assert np.array_equal(masks["kidney left"], labels == 1)
    image = ds.ROIContourSequence[1].ContourSequence[0].ContourImageSequence[0]
    assert (image.ReferencedSOPInstanceUID, image.ReferencedFrameNumber) == ("1.2.6.1", order.index(2) + 1)
    source, affine = made.source_of(made.halves(tmp_path), labels)
    assert np.array_equal(filled(tmp_path / "rt.dcm", source, affine, labels)[0]["kidney left"], labels == 1)


def test_regions_say_what_they_are_and_whose(tmp_path: Path) -> None:
    files, labels = dicom_files.series(tmp_path / "ct", made.placed("axial")), made.tiny_labels()
    source, affine = made.source_of(files, labels)
    _, ds = filled(tmp_path / "rt.dcm", source, affine, labels)
    assert [region.ROIName for region in ds.StructureSetROISequence] == made.NAMES and ds.ApprovalStatus == "UNAPPROVED"
    assert [list(one.ROIDisplayColor) for one in ds.ROIContourSequence] == [list(one.colour) for _, one in made.NAMED]
    left, tumour = (one.RTROIIdentificationCodeSequence[0] for one in ds.RTROIObservationsSequence)
    assert (left.CodeValue, left.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue) == ("64033007", "7771000")
    assert tumour.CodeValue == "108369006"
    assert (ds.PatientName, ds.PatientID, ds.StudyID, ds.StudyInstanceUID) == ("DOE^JANE", "P1", "S7", "1.2.5")
    assert (ds.FrameOfReferenceUID, ds.SoftwareVersions) == ("1.2.7", "0.1.0, weights 0123456789ab")
    study = ds.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    images = study.RTReferencedSeriesSequence[0].ContourImageSequence
    assert {image.ReferencedSOPInstanceUID for image in images} == {f"1.2.3.{k + 1}" for k in range(6)}


@pytest.mark.parametrize("zone", ["+0930", "-1100", "", "soon"])
def test_times_are_in_the_zone_that_the_object_names(tmp_path: Path, zone: str) -> None:
    def change(ds: pydicom.Dataset, k: int) -> None:
        made.placed("axial")(ds, k)
        ds.TimezoneOffsetFromUTC = zone

    source, _ = made.source_of(dicom_files.series(tmp_path / "ct", change), made.tiny_labels())
    write_structure_set(tmp_path / "rt.dcm", source, made.tiny_labels(), made.NAMED, made.MAKER)
    ds = pydicom.dcmread(tmp_path / "rt.dcm")
    offset = {"+0930": timedelta(hours=9.5), "-1100": timedelta(hours=-11)}.get(zone)
    now = datetime.now() if offset is None else datetime.now(UTC).replace(tzinfo=None) + offset
    for name in ("StructureSet", "InstanceCreation", "Series"):
        written = datetime.strptime(ds[f"{name}Date"].value + ds[f"{name}Time"].value, "%Y%m%d%H%M%S")
        assert abs(now - written) < timedelta(minutes=2)


def test_an_empty_label_map_is_written_too(tmp_path: Path) -> None:
    files, labels = dicom_files.series(tmp_path / "ct", made.placed("axial")), np.zeros((5, 4, 6), np.uint8)
    source, affine = made.source_of(files, labels)
    masks, _ = filled(tmp_path / "b.dcm", source, affine, labels)
    assert sorted(masks) == made.NAMES and not any(mask.any() for mask in masks.values())


def test_a_contour_of_more_than_64_kb_is_numbers_to_a_reader(tmp_path: Path) -> None:
    """A sponge: most of its outlines are joined to one."""
    labels = np.zeros((128, 128, 3), np.uint8)
    labels[..., 1] = np.random.default_rng(0).random((128, 128)) > 0.3
    dicom_series(tmp_path / "ct", np.zeros(labels.shape, np.int16))
    source, affine = made.source_of(sorted((tmp_path / "ct").iterdir()), labels)
    masks, ds = filled(tmp_path / "rt.dcm", source, affine, labels)
    longest = max(ds.ROIContourSequence[0].ContourSequence, key=lambda contour: contour.NumberOfContourPoints)
    assert len("\\".join(str(number) for number in longest.ContourData)) > 65534
    assert np.array_equal(masks["kidney left"], labels == 1)


@made.needs_validator
def test_the_validator_finds_no_error(tmp_path: Path) -> None:
    labels = made.tiny_labels()
    for place in made.PLACES:
        source, _ = made.source_of(dicom_files.series(tmp_path / place, made.placed(place)), labels)
        write_structure_set(tmp_path / "rt.dcm", source, labels, made.NAMED, made.MAKER)
        assert made.validated(tmp_path / "rt.dcm") == []


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["abdomen_168", "slab_20"])
def test_real_series(name: str, shared_data: Path, tmp_path: Path) -> None:
    source, affine, labels = made.real_series(shared_data / "dicom" / name)
    masks, _ = filled(tmp_path / "rt.dcm", source, affine, labels)
    for value, region in zip((1, 2), made.NAMES, strict=True):
        wanted = labels == value
        assert 2 * (masks[region] & wanted).sum() / (masks[region].sum() + wanted.sum()) >= 0.98
