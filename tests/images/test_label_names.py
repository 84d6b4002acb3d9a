"""Names and colours in label maps and beside them, read back by nibabel, SimpleITK and the tools' own formats."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import nibabel
import numpy as np
import pytest
import SimpleITK

from bundle.images.label_names import nifti_table, save_seg_nrrd, slicer_table, snap_table
from bundle.images.writing import write_nifti
from bundle.structures import describe

LABELS = np.random.default_rng(1).integers(0, 3, (5, 4, 40)).astype(np.uint8)
AFFINE = np.array([[0, -2.0, 0, 7], [1.5, 0, 0, -3], [0, 0, 3, 11], [0, 0, 0, 1]])
NAMED = list(zip((1, 2), describe(["pancreas", 'odd "<name>" & more\nhere']), strict=True))


def test_nifti_carries_names_and_every_reader_finds_the_voxels(tmp_path: Path) -> None:
    path = tmp_path / "a_seg.nii.gz"
    write_nifti(path, LABELS, AFFINE, table=nifti_table(NAMED))
    image = nibabel.load(path)
    assert np.array_equal(np.asarray(image.dataobj), LABELS) and np.allclose(image.affine, AFFINE)
    (extension,) = image.header.extensions
    found = ElementTree.fromstring(extension.get_content().rstrip(b"\0")).findall("VolumeInformation/LabelTable/Label")
    assert extension.get_code() == 0 and {int(one.get("Key")): one.text for one in found} == {1: "pancreas", 2: 'odd "<name>" & more here'}
    assert [round(255 * float(found[0].get(name))) for name in ("Red", "Green", "Blue")] == [255, 176, 32]
    assert np.array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)).T, LABELS)
    before = path.read_bytes()
    write_nifti(path, LABELS, AFFINE, table=nifti_table(NAMED))
    assert path.read_bytes() == before, "the same bytes each time"


@pytest.mark.parametrize("length", range(17))
def test_an_extension_of_any_length_keeps_the_voxels_at_a_multiple_of_16(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.nii.gz"
    write_nifti(path, LABELS, AFFINE, table=b"x" * length)
    image = nibabel.load(path)
    assert int(image.header["vox_offset"]) % 16 == 0 and np.array_equal(np.asarray(image.dataobj), LABELS)
    assert [one.get_content().rstrip(b"\0") for one in image.header.extensions] == ([b"x" * length] if length else [])


def test_slicer_finds_segments_in_a_seg_nrrd(tmp_path: Path) -> None:
    path, sheared = tmp_path / "a.seg.nrrd", AFFINE.copy()
    sheared[0, 2] = 0.5
    for affine in (AFFINE, sheared):
        save_seg_nrrd(path, LABELS, affine, NAMED)
        image = SimpleITK.ReadImage(path)
        assert np.array_equal(SimpleITK.GetArrayFromImage(image).T, LABELS)
        # a voxel's place, LPS
        place = np.diag([-1.0, -1, 1]) @ (affine @ [3, 2, 30, 1])[:3]
        assert np.allclose(image.TransformIndexToPhysicalPoint((3, 2, 30)), place)
    said = {name: image.GetMetaData(name) for name in image.GetMetaDataKeys()}
    assert said["Segment0_Name"] == "pancreas" and said["Segment0_LabelValue"] == "1" and said["Segment0_Extent"] == "0 4 0 3 0 39"
    assert [round(255 * float(value)) for value in said["Segment0_Color"].split()] == [255, 176, 32]
    category, kind = said["Segment0_Tags"].split("~")[1:3]
    assert category == "SCT^91723000^Anatomical Structure" and kind == "SCT^15776009^Pancreas"
    before = path.read_bytes()
    save_seg_nrrd(path, LABELS, sheared, NAMED)
    assert path.read_bytes() == before


def test_tables_of_itk_snap_and_slicer() -> None:
    assert snap_table(NAMED).splitlines()[-3:] == [
        '0 0 0 0 0 0 0 "Clear Label"',
        '1 255 176 32 1 1 1 "pancreas"',
        "2 88 196 255 1 1 1 \"odd '<name>' & more here\"",
    ]
    assert slicer_table(NAMED).splitlines()[1:] == [
        "0 background 0 0 0 0",
        "1 pancreas 255 176 32 255",
        '2 odd_"<name>"_&_more_here 88 196 255 255',
    ]
