import json

import nibabel as nib
import numpy as np
import pytest

from bundle.data.synthetic.canvas import Canvas
from bundle.data.synthetic.contrast import read_real_scan, vary
from bundle.data.synthetic.tissues import Tissue
from bundle.errors import UserError


@pytest.fixture()
def folder(tmp_path):
    """A box of fat with an aorta, a spleen and an under-segmented pancreas of 3 mm voxels."""
    image = np.full((30, 28, 26), -100, np.float32)
    structures = np.zeros(image.shape, np.uint8)
    labels = np.zeros(image.shape, np.uint8)
    image[10:14, 10:14] = 40
    structures[10:14, 10:14] = 3
    image[3:8, 3:9, 5:20] = 48
    structures[3:8, 3:9, 5:20] = 77
    labels[3:8, 3:9, 5:20] = 2
    image[18:24, 18:21, 10:14] = 38
    labels[20:22, 18:21, 10:14] = 1
    structures[20:22, 18:21, 10:14] = 46
    affine = np.diag([3.0, 3, 3, 1])
    for name, array in (("ct", image.astype(np.int16)), ("structures", structures), ("labels", labels)):
        nib.save(nib.Nifti1Image(array, affine), tmp_path / f"{name}.nii.gz")
    (tmp_path / "structures.json").write_text(json.dumps({"aorta": 3, "spleen": 77, "pancreas": 46}))
    return tmp_path


def test_structures_become_tissues_and_the_pancreas_grows_into_unclaimed_soft_tissue(folder):
    scan = read_real_scan(folder)
    assert (scan.tissues[10:14, 10:14] == Tissue.AORTA).all()
    assert scan.tissues[0, 0, 0] == Tissue.AIR
    # 2x3x4 voxels were labelled, in soft tissue of 6x3x4: one voxel (3 mm) more on each side along x, and no fat
    pancreas = np.zeros(scan.labels.shape, bool)
    pancreas[19:23, 18:21, 10:14] = True
    np.testing.assert_array_equal(scan.labels == 1, pancreas)
    assert (scan.image[pancreas] == 38).all()
    assert (scan.labels == 2).sum() == 5 * 6 * 15


def test_enhanced_vessel_and_untouched_fat(folder):
    scan = read_real_scan(folder)
    rng = np.random.default_rng(2)
    canvas = Canvas((30, 28, 26), (3.0,) * 3, origin=-1.5 * (np.array([30, 28, 26]) - 1), rotation=np.eye(3), displacement_mm=0.0, rng=rng)
    image, labels = vary(scan, canvas, rng)
    np.testing.assert_array_equal(labels, scan.labels)
    assert image[12, 12, 13] > 60  # 40 before
    assert image[26, 25, 3] == pytest.approx(-100, abs=1)


def test_without_structures_organs_vary_within_their_phase_and_labels_stay(folder):
    """The contrast that a scan has is not given to it again: over many draws an organ's mean stays, and fat is never changed."""
    (folder / "structures.nii.gz").unlink()
    (folder / "structures.json").unlink()
    labels = nib.load(folder / "labels.nii.gz").get_fdata().astype(np.uint8)
    labels[24:28, 3:6, 3:6] = 255  # voxels that nobody could place
    nib.save(nib.Nifti1Image(labels, np.diag([3.0, 3, 3, 1])), folder / "labels.nii.gz")
    scan = read_real_scan(folder)
    assert scan.values == [1, 2, 255]
    assert (scan.labels == 1).sum() == 2 * 3 * 4 and not scan.native
    assert (scan.tissues[4:7, 4:8, 6:19] == Tissue.SPLEEN).all() and (scan.tissues[11:13, 11:13] == Tissue.MUSCLE).all()
    changes = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        origin = -1.5 * (np.array([30, 28, 26]) - 1)
        canvas = Canvas((30, 28, 26), (3.0,) * 3, origin=origin, rotation=np.eye(3), displacement_mm=0.0, rng=rng)
        image, labels = vary(scan, canvas, rng)
        np.testing.assert_array_equal(labels, scan.labels)
        assert image[26, 25, 3] == pytest.approx(-100, abs=1)
        changes.append(image[5, 6, 12] - 48)
    assert abs(np.mean(changes)) < 5 and 3 < np.std(changes) < 25


@pytest.mark.parametrize("name", ["labels", "structures"])
def test_labels_in_another_place_of_the_size_of_the_ct_are_refused(folder, name):
    """Of one size, but 6 mm beside it: they were laid over the CT voxel by voxel. Stored the other way round they are the same voxels."""
    stored = nib.load(folder / f"{name}.nii.gz")
    array, before = np.asarray(stored.dataobj), read_real_scan(folder)
    turned = np.diag([-3.0, 3, 3, 1])
    turned[0, 3] = 3 * (array.shape[0] - 1)
    nib.save(nib.Nifti1Image(array[::-1], turned), folder / f"{name}.nii.gz")
    again = read_real_scan(folder)
    np.testing.assert_array_equal(again.labels, before.labels)
    np.testing.assert_array_equal(again.tissues, before.tissues)
    turned[0, 3] += 6
    nib.save(nib.Nifti1Image(array[::-1], turned), folder / f"{name}.nii.gz")
    with pytest.raises(UserError, match=rf"{name}\.nii\.gz: the grids differ: .*origin \(6\.0, .*; ct\.nii\.gz .*origin \(0\.0, "):
        read_real_scan(folder)


def test_labels_a_hair_off_are_the_whole_number(folder):
    """What resampling leaves: 0.99999994 is 1, as in training and scoring; it was cut to 0. Half a label is none."""
    whole = read_real_scan(folder).labels
    stored = np.asarray(nib.load(folder / "labels.nii.gz").dataobj).astype(np.float32)
    nib.save(nib.Nifti1Image(np.nextafter(stored, np.float32(-1)), np.diag([3.0, 3, 3, 1])), folder / "labels.nii.gz")
    np.testing.assert_array_equal(read_real_scan(folder).labels, whole)
    nib.save(nib.Nifti1Image(stored / 2, np.diag([3.0, 3, 3, 1])), folder / "labels.nii.gz")
    with pytest.raises(UserError, match=r"holds the value 0\.5"):
        read_real_scan(folder)


@pytest.mark.parametrize(("name", "value"), [("labels", 257), ("labels", -1), ("structures", 40000)])
def test_values_that_would_be_another_label_are_refused(folder, name, value):
    """In 8 bits 257 is 1, the pancreas, and -1 is 255."""
    array = np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj).astype(np.int32)
    array[0, 0, 0] = value
    nib.save(nib.Nifti1Image(array, np.diag([3.0, 3, 3, 1])), folder / f"{name}.nii.gz")
    with pytest.raises(UserError, match=rf"{name}\.nii\.gz: holds the value {value}\. Fix: use values from 0 to"):
        read_real_scan(folder)


def test_a_folder_without_its_files_or_with_differing_grids_is_refused(folder):
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4)), folder / "labels.nii.gz")
    with pytest.raises(UserError, match="grids differ"):
        read_real_scan(folder)
    (folder / "labels.nii.gz").unlink()
    with pytest.raises(UserError, match=r"labels\.nii\.gz: there is no such file"):
        read_real_scan(folder)
