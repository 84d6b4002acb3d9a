"""TotalSegmentator: one file a structure becomes one label map, by name."""

from __future__ import annotations

import json
import shutil

import nibabel
import numpy as np
import pytest

from bundle.data.prepare import totalsegmentator
from bundle.errors import UserError


@pytest.fixture
def subject(prepared, save, scan):
    """`subject(name, masks)`: a CT and its masks; spleen and pancreas from the tiny body unless told."""

    def write(name: str, **masks: np.ndarray) -> np.ndarray:
        image, label = scan(sum(map(ord, name)))
        empty = np.zeros_like(label)
        save(prepared.source / name / "ct.nii.gz", image)
        files = {"pancreas": label == 1, "spleen": label == 2, "kidney_left": empty, "kidney_right": empty, "liver": empty, **masks}
        for part, mask in files.items():
            if mask is not None:
                save(prepared.source / name / f"segmentations/{part}.nii.gz", mask.astype(np.uint8))
        return label

    return write


def meta(prepared, **split: str) -> None:
    rows = "".join(f"{name};60;m;A;ct abdomen;{part}\n" for name, part in split.items())
    (prepared.source / "meta.csv").write_text("image_id;age;gender;institute;study_type;split\n" + rows, encoding="utf-8-sig")


def test_merge_left_and_right_in_the_split_of_meta_csv(prepared, subject, capsys):
    left, right = np.zeros((2, 24, 20, 16), bool)
    left[:3, :3, :3], right[-3:, :3, :3] = True, True
    label = subject("s0001", kidney_left=left, kidney_right=right)
    subject("s0002")
    subject("s0003")
    meta(prepared, s0001="train", s0002="val", s0003="test")
    assert prepared.run("totalsegmentator") == 0
    expected = label.copy()
    expected[left | right] = 3
    np.testing.assert_array_equal(prepared.read("labelsTr/s0001.nii.gz"), expected)
    listed = prepared.json("dataset.json")
    assert [len(listed[part]) for part in ("training", "validation", "test")] == [1, 1, 1]
    assert prepared.json("labels.json") == {"labels": {"background": 0, "pancreas": 1, "spleen": 2, "kidney": 3}}
    assert (prepared.output / "imagesTr/s0001.nii.gz").is_symlink()


def test_scans_that_show_nothing_missing_files_and_overlaps(prepared, subject, capsys):
    empty = np.zeros((24, 20, 16))
    both = empty.copy()
    both[12:14, 10:12, 7] = 1
    subject("s0001", pancreas=both, spleen=both)
    subject("s0002", pancreas=empty, spleen=empty)
    subject("s0003", spleen=None)
    assert prepared.run("totalsegmentator") == 0
    said = capsys.readouterr().out
    assert "s0001: 4 voxels are in two structures" in said
    assert "s0002: left out: it shows none of the structures" in said
    assert "s0003 is left out: no segmentations/spleen.nii.gz" in said
    assert "there is no meta.csv" in said
    assert len(prepared.json("dataset.json")["training"]) == 1


def test_chosen_structures(prepared, subject):
    liver = np.zeros((24, 20, 16))
    liver[5, 5, 5] = 1
    subject("s0001", liver=liver)
    assert prepared.run("totalsegmentator", structures={"liver": ["liver"], "organs": ["pancreas", "spleen"]}) == 0
    assert prepared.json("labels_all.json")["labels"] == {"background": 0, "liver": 1, "organs": 2}
    assert prepared.read("labelsTr/s0001.nii.gz")[5, 5, 5] == 1
    with pytest.raises(UserError, match="names no structures"):
        prepared.run("totalsegmentator", structures="liver")


@pytest.mark.parametrize("structures", [{"kidney": 3}, {"kidney": None}, {"kidney": [1]}, {3: ["kidney_left"]}])
def test_structures_that_are_no_names_are_one_line(prepared, subject, structures):
    subject("s0001")
    with pytest.raises(UserError, match=r"not names of files\. Fix: use --structures="):
        prepared.run("totalsegmentator", structures=structures)


def test_a_file_under_two_structures_is_refused(prepared, subject):
    """A voxel has one value: the kidney would have lost its left half."""
    subject("s0001")
    with pytest.raises(UserError, match="kidney_left is named under 'kidney' and under 'left kidney'"):
        prepared.run("totalsegmentator", structures={"kidney": ["kidney_left", "kidney_right"], "left kidney": ["kidney_left"]})
    assert not prepared.output.exists()


def test_files_that_are_there_twice(prepared, subject, save, scan):
    subject("s0001")
    save(prepared.source / "s0001/ct.nii", scan(1)[0])
    (prepared.source / "s0002").mkdir()
    (prepared.source / "s0002/ct.nii.gz.part").touch()  # of a download that was broken off
    found = totalsegmentator.plan(prepared.source)
    assert [case.image.name for case in found.cases] == ["ct.nii"]
    assert "s0001 has 2 images: ct.nii is used, not ct.nii.gz" in found.warnings
    assert "s0002 is left out: no ct.nii.gz" in found.warnings
    save(prepared.source / "s0001/segmentations/spleen.nii", scan(1)[1])
    with pytest.raises(UserError, match=r"spleen\.nii: .*spleen\.nii\.gz is a label map of the same name"):
        totalsegmentator.plan(prepared.source)


def test_a_table_that_is_cut_off(prepared, subject):
    for name in ("s0001", "s0002", "s0003", "s0004"):
        subject(name)
    (prepared.source / "meta.csv").write_text("image_id;age;split\ns0001;60;VAL\ns0002;70;validation\ns0003;6")
    found = totalsegmentator.plan(prepared.source)
    assert [case.section for case in found.cases] == ["validation", "training", "training", "training"]
    assert found.warnings == ["s0002, s0003, s0004 have no split in meta.csv (train, val or test): counted as training"]


def test_a_table_without_a_split_or_that_is_no_table(prepared, subject):
    subject("s0001")
    for text in ("", "image_id;age\ns0001;60", "a;b\n1;train"):
        (prepared.source / "meta.csv").write_text(text)
        found = totalsegmentator.plan(prepared.source)
        assert found.cases[0].section == "training"
        assert found.warnings == ["meta.csv names no split (columns image_id and split): all scans count as training, split by folds"]
    (prepared.source / "meta.csv").write_bytes(b"image_id;split\ns0001;\xff\xfe")
    with pytest.raises(UserError, match=r"meta\.csv: cannot be read as a table .*Fix: download it again"):
        prepared.run("totalsegmentator")


def test_structures_that_no_scan_has(prepared, subject, capsys):
    subject("s0001", kidney_left=None, kidney_right=None)
    assert prepared.run("totalsegmentator") == 0
    assert "no scan has segmentations/kidney_left.nii.gz" in capsys.readouterr().out
    assert prepared.json("labels.json")["labels"] == {"background": 0, "pancreas": 1, "spleen": 2}


def test_unreadable_scan_fails_alone(prepared, subject, capsys):
    subject("s0001")
    subject("s0864")
    (prepared.source / "s0864/segmentations/spleen.nii.gz").write_bytes(b"\x1f\x8b broken")
    assert prepared.run("totalsegmentator") == 1
    assert "FAILED: s0864:" in capsys.readouterr().out
    assert len(prepared.json("dataset.json")["training"]) == 1


def test_real_torso_in_the_layout_of_the_data_set(prepared, shared_data, save):
    """59 real structures, a file each; merged back, they are the map they came from."""
    folder = shared_data / "ct/torso_3mm"
    structures = nibabel.load(folder / "structures.nii.gz")
    voxels, names = np.asarray(structures.dataobj), json.loads((folder / "structures.json").read_text(encoding="utf-8"))
    (prepared.source / "s0011").mkdir(parents=True)
    shutil.copy(folder / "ct.nii.gz", prepared.source / "s0011/ct.nii.gz")
    for name, value in names.items():
        save(prepared.source / f"s0011/segmentations/{name}.nii.gz", (voxels == value).astype(np.uint8), structures.affine)
    assert prepared.run("totalsegmentator", structures="all") == 0
    meaning = prepared.json("labels_all.json")["labels"]
    expected = np.zeros(256, np.uint8)
    for name, value in names.items():
        expected[value] = meaning[name]
    np.testing.assert_array_equal(prepared.read("labelsTr/s0011.nii.gz"), expected[voxels])
