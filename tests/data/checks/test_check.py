"""Every mistake in a data set gets a line with file, value and fix, all in one error, before training."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, ornt_transform
from scipy.spatial.transform import Rotation

from bundle.data.checks import check
from bundle.data.checks.check import check_before_training
from bundle.data.checks.facts import case_facts
from bundle.errors import UserError

LABELS = {"background": 0, "pancreas": 1, "spleen": 2}
UPRIGHT = np.diag([2.0, 2.0, 2.0, 1.0])


def message(folder, **arguments) -> str:
    with pytest.raises(UserError) as error:
        check_before_training(str(folder), LABELS, **arguments)
    return str(error.value)


def test_good_data_pass_silently_and_count_sections(msd, capsys):
    assert check_before_training(str(msd(7)), LABELS) == {"training": 5, "validation": 2, "test": 0}
    assert capsys.readouterr().out == ""


def test_values_outside_labels_come_with_the_line_to_paste(msd, save, scan):
    folder = msd()
    label = scan(0)[1]
    label[0, 0, :5] = 7
    save(folder / "labelsTr/case_0.nii.gz", label)
    said = message(folder)
    assert "labelsTr/case_0.nii.gz: holds values that are not in labels: 7 (5 voxels)" in said
    assert '"background": [0, 7]' in said


def test_a_subset_of_structures_needs_the_labels_block_only(msd):
    assert check_before_training(str(msd()), {"background": [0, 2], "pancreas": 1})["training"] == 4


def test_values_that_dataset_json_names_may_be_left_out_of_labels(msd, save, scan, capsys):
    folder = msd()
    (folder / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "pancreas", "2": "spleen"}}))
    assert check_before_training(str(folder), {"background": 0, "pancreas": 1})["training"] == 4
    assert "spleen (2) is in the data set but not in labels, and will count as background" in capsys.readouterr().out
    label = scan(0)[1]
    label[0, 0, 0] = 9  # named nowhere: still a mistake
    save(folder / "labelsTr/case_0.nii.gz", label)
    with pytest.raises(UserError, match=r"9 \(1 voxel\)"):
        check_before_training(str(folder), {"background": 0, "pancreas": 1})


def test_label_that_is_no_whole_number(msd, save, scan):
    folder = msd()
    label = scan(1)[1].astype(np.float32)
    label[3, 3, 3:6] = 0.5
    save(folder / "labelsTr/case_1.nii.gz", label)
    assert "case_1.nii.gz: has 3 voxels that are not whole numbers (such as 0.5)" in message(folder)


def test_float_labels_with_whole_numbers_pass(msd, save, scan):
    folder = msd()
    save(folder / "labelsTr/case_1.nii.gz", scan(1)[1].astype(np.float64))
    assert check_before_training(str(folder), LABELS)["training"] == 4


def test_values_a_hair_off_are_the_whole_number(msd, save, scan, capsys):
    """0.99999994 for 1, as scaling leaves it: as in scoring and in training. What is really off is shown with enough digits."""
    folder = msd()
    label = scan(1)[1].astype(np.float32)
    save(folder / "labelsTr/case_1.nii.gz", np.where(label > 0, label * np.float32(0.99999994), 0))
    assert check_before_training(str(folder), LABELS)["training"] == 4
    assert capsys.readouterr().out == ""
    save(folder / "labelsTr/case_1.nii.gz", label + np.float32(0.0025))
    assert "(such as 0.00249999994)" in message(folder)


@pytest.mark.parametrize("place", ["imagesTr", "labelsTr"])
def test_nan(msd, save, scan, place):
    folder = msd()
    array = scan(2)[place == "labelsTr"].astype(np.float32)
    array[0, :2, 0] = np.nan
    save(folder / place / "case_2.nii.gz", array)
    assert f"{place}/case_2.nii.gz: has 2 voxels that are NaN or infinite" in message(folder)


def test_grids_that_differ_in_size_and_in_place(msd, save, scan):
    folder = msd()
    save(folder / "labelsTr/case_0.nii.gz", scan(0)[1][:, :, :-1])
    moved = UPRIGHT.copy()
    moved[2, 3] = 3.0
    save(folder / "labelsTr/case_1.nii.gz", scan(1)[1], moved)
    said = message(folder)
    assert "labelsTr/case_0.nii.gz: its grid is 24x20x15, that of" in said and "case_0.nii.gz is 24x20x16" in said
    assert "the corners are up to 3.00 mm apart" in said


@pytest.mark.parametrize("codes", ["LPS", "LAS", "SRA", "PIL"])
@pytest.mark.parametrize("oblique", [False, True])
def test_a_label_in_another_order_of_axes_is_taken(msd, save, scan, codes, oblique, capsys):
    """On the very voxels of its image; a label that is really flipped is still found, whatever order it is stored in."""
    folder = msd()
    affine = np.diag([1.0, 1.5, 2.5, 1.0])
    if oblique:
        affine[:3, :3] = cosines(20) @ affine[:3, :3]
    image, label = scan(1)
    save(folder / "imagesTr/case_1.nii.gz", image, affine)
    stored = turned(nibabel.Nifti1Image(label, affine), codes)
    save(folder / "labelsTr/case_1.nii.gz", np.asarray(stored.dataobj), stored.affine)
    assert check_before_training(str(folder), LABELS)["training"] == 4
    assert "case_1" not in capsys.readouterr().out
    plain = case_facts(str(folder / "imagesTr/case_1.nii.gz"), str(save(folder / "plain.nii.gz", label, affine)))[1]
    found = case_facts(str(folder / "imagesTr/case_1.nii.gz"), str(folder / "labelsTr/case_1.nii.gz"))[1]
    assert found["fit"] == plain["fit"] and found["counts"] == plain["counts"]
    wrong = turned(nibabel.Nifti1Image(label[::-1], affine), codes)
    save(folder / "labelsTr/case_1.nii.gz", np.asarray(wrong.dataobj), wrong.affine)
    check_before_training(str(folder), LABELS)
    assert "case_1.nii.gz: it fits its image far better when it is flipped along x" in capsys.readouterr().out


def test_a_label_elsewhere_is_refused_without_advice_that_would_mirror_it(msd, save, scan):
    """Another order of axes, and half a voxel off as well: giving it the image's affine would mirror it."""
    folder = msd()
    stored = turned(nibabel.Nifti1Image(scan(1)[1], UPRIGHT), "LPS")
    affine = stored.affine.copy()
    affine[0, 3] += 1.0
    save(folder / "labelsTr/case_1.nii.gz", np.asarray(stored.dataobj), affine)
    said = message(folder)
    assert "labelsTr/case_1.nii.gz: it has the size of" in said and "resample the label onto the image's grid" in said
    assert "image's affine" not in said


def turned(image: nibabel.Nifti1Image, codes: str) -> nibabel.Nifti1Image:
    """The same voxels stored in another order of axes."""
    return image.as_reoriented(ornt_transform(nibabel.io_orientation(image.affine), axcodes2ornt(codes)))


def cosines(degrees: float) -> np.ndarray:
    """A rotation about an axis that is none of the body's."""
    return Rotation.from_rotvec(np.radians(degrees) * np.array([1, 2, 3]) / np.sqrt(14)).as_matrix()


def test_header_noise_is_no_other_grid(msd, save, scan):
    folder = msd()
    noisy = UPRIGHT + np.random.default_rng(0).normal(0, 1e-5, (4, 4)) * [[1], [1], [1], [0]]
    save(folder / "labelsTr/case_1.nii.gz", scan(1)[1], noisy)
    assert check_before_training(str(folder), LABELS)["training"] == 4


def test_truncated_garbled_and_empty_files(msd):
    folder = msd()
    whole = (folder / "imagesTr/case_0.nii.gz").read_bytes()
    (folder / "imagesTr/case_0.nii.gz").write_bytes(whole[: len(whole) // 2])
    flipped = bytearray((folder / "imagesTr/case_3.nii.gz").read_bytes())
    flipped[-6] ^= 0xFF  # a bit of the checksum at the end
    (folder / "imagesTr/case_3.nii.gz").write_bytes(bytes(flipped))
    (folder / "labelsTr/case_1.nii.gz").write_bytes(b"no scan at all")
    (folder / "labelsTr/case_2.nii.gz").write_bytes(b"")
    said = message(folder)
    assert said.startswith("data set: 4 problems were found\n  1. ") and said.endswith("out.")
    for file in ("imagesTr/case_0", "imagesTr/case_3", "labelsTr/case_1", "labelsTr/case_2"):
        assert f"{file}.nii.gz: cannot be read (" in said


def test_uncompressed_file_cut_short(msd, save, scan):
    folder = msd(5)
    (folder / "labelsTr/case_5.nii").write_bytes((save(folder / "labelsTr/case_5.nii", scan(5)[1])).read_bytes())
    path = save(folder / "imagesTr/case_5.nii", scan(5)[0])
    path.write_bytes(path.read_bytes()[:-10])
    assert "imagesTr/case_5.nii: cannot be read (the file is truncated: it ends 10 bytes too early)" in message(folder)


def test_affine_that_is_not_finite_or_singular(msd, save, scan):
    folder = msd()
    for number, value in ((0, np.nan), (1, 0.0)):
        image = nibabel.load(folder / f"imagesTr/case_{number}.nii.gz")
        image = nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header)
        affine = UPRIGHT.copy()
        affine[1, 1] = value
        image.header["srow_x"], image.header["srow_y"], image.header["srow_z"] = affine[:3]
        image.header["sform_code"] = 1
        nibabel.save(image, folder / f"imagesTr/case_{number}.nii.gz")
    said = message(folder)
    assert "imagesTr/case_0.nii.gz: its affine is not finite ([0.0, nan, 0.0, 0.0])" in said
    assert "imagesTr/case_1.nii.gz: its affine is singular" in said


def test_four_dimensions(msd, save, scan):
    folder = msd()
    save(folder / "imagesTr/case_0.nii.gz", np.stack([scan(0)[0]] * 2, axis=-1))
    assert "imagesTr/case_0.nii.gz: is not a 3D volume (size 24x20x16x2)" in message(folder)


def test_trailing_axis_of_one_is_three_dimensions(msd, save, scan):
    folder = msd()
    save(folder / "imagesTr/case_0.nii.gz", scan(0)[0][..., None])
    assert check_before_training(str(folder), LABELS)["training"] == 4


def test_too_few_cases_for_the_folds_and_other_problems_together(msd):
    folder = msd(3)
    (folder / "imagesTr/alone.nii.gz").write_bytes((folder / "imagesTr/case_0.nii.gz").read_bytes())
    said = message(folder)
    assert "2 problems" in said and "5 folds cannot be made of 3 labelled cases" in said and "alone.nii.gz: this image has no label" in said


def test_empty_folder(tmp_path):
    assert "the folder is empty" in message(tmp_path)


def test_the_same_scan_in_two_splits_even_flipped(msd, save, scan):
    folder = msd(10)
    image, label = scan(0)
    found = []
    for number in range(1, 10):  # each time another case becomes a flipped copy of case 0
        save(folder / f"imagesTr/case_{number}.nii.gz", image[::-1, :, ::-1])
        save(folder / f"labelsTr/case_{number}.nii.gz", label[::-1, :, ::-1])
        try:
            check_before_training(str(folder), LABELS, num_folds=2)
        except UserError as error:
            found.append(str(error))
        fresh = scan(number)
        save(folder / f"imagesTr/case_{number}.nii.gz", fresh[0])
        save(folder / f"labelsTr/case_{number}.nii.gz", fresh[1])
    assert len(found) == 5  # two folds of five: five cases are on the other side
    assert all("holds the same scan as" in said and "in different splits (training, validation)" in said for said in found)


def test_dataset_json_that_contradicts_labels(msd):
    folder = msd()
    (folder / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "spleen", "2": "pancreas"}}))
    assert "labels says that 'pancreas' is 1, dataset.json says that it is 2" in message(folder)


def test_structure_in_no_label_is_a_warning(msd, capsys):
    check_before_training(str(msd()), {**LABELS, "kidney": 3})
    assert "warning: " in (said := capsys.readouterr().out) and "'kidney' (value 3) is in no label map" in said


def test_image_of_one_value(msd, save):
    folder = msd()
    save(folder / "imagesTr/case_0.nii.gz", np.zeros((24, 20, 16), np.int16))
    assert "imagesTr/case_0.nii.gz: has the one value 0 everywhere" in message(folder)


def test_second_start_reads_no_voxel_and_changed_files_are_read_again(msd, save, scan, tmp_path, monkeypatch):
    folder, looked = msd(), []
    original = check.case_facts
    monkeypatch.setattr(check, "case_facts", lambda image, *more: looked.append(image) or original(image, *more))
    check_before_training(str(folder), LABELS, cache_dir=str(tmp_path / "cache"))
    assert len(looked) == 6
    check_before_training(str(folder), LABELS, cache_dir=str(tmp_path / "cache"))
    assert len(looked) == 6
    label = scan(0)[1]
    label[0, 0, 0] = 9
    save(folder / "labelsTr/case_0.nii.gz", label)
    assert "9 (1 voxel)" in message(folder, cache_dir=str(tmp_path / "cache"))
    assert len(looked) == 7
    (tmp_path / "cache/check.json").write_text("{broken")
    message(folder, cache_dir=str(tmp_path / "cache"))
    assert len(looked) == 13


def test_no_bad_labels_block(msd):
    with pytest.raises(UserError, match="share the value 1"):
        check_before_training(str(msd()), {"background": 0, "pancreas": 1, "spleen": 1})
