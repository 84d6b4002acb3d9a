"""Endings and stems of image files."""

from pathlib import Path

import pytest

from bundle.images import names


@pytest.mark.parametrize(
    ("name", "ending", "stem", "kind"),
    [
        ("scan.nii.gz", ".nii.gz", "scan", "nifti"),
        ("SCAN.NII.GZ", ".nii.gz", "SCAN", "nifti"),
        ("a.b.nii", ".nii", "a.b", "nifti"),
        ("a.nii.bz2", ".nii.bz2", "a", "nifti"),
        ("a.hdr.gz", ".hdr.gz", "a", "nifti"),
        ("a.MHA", ".mha", "a", "itk"),
        ("a.seg.nrrd", ".nrrd", "a.seg", "itk"),
        ("a.mgz", ".mgz", "a", "mgh"),
        ("1.2.3.dcm", ".dcm", "1.2.3", "dicom"),
        ("a.gz", "", "a.gz", ""),
        ("folder.nii/IM0001", "", "IM0001", ""),
    ],
)
def test_ending_stem_kind(name, ending, stem, kind):
    assert (names.ending(name), names.stem(name), names.kind(name)) == (ending, stem, kind)


def test_segmentations_of_slicer_are_known_by_their_name():
    assert names.is_segmentation("x/Segmentation.SEG.nrrd") and not names.is_segmentation("seg.nrrd")


def test_the_voxels_of_a_pair_are_found_in_whatever_letters(tmp_path: Path):
    for header, voxels in (("a.hdr", "a.img"), ("B.HDR", "B.IMG"), ("c.Hdr", "C.img"), ("d.hdr.gz", "d.img.gz")):
        (tmp_path / header).touch()
        (tmp_path / voxels).touch()
        assert names.voxels_of_pair(tmp_path / header) == tmp_path / voxels
    assert names.voxels_of_pair(tmp_path / "lone.hdr") is None
