"""What is to be done with a data set: labels to paste, numbers in names, folders in any place and any case of letters."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle.data.prepare.plan import Plan, PlannedCase, by_number, child, find_folder, find_folders, label_maps, not_found, number
from bundle.errors import UserError


def plan(structures, merged=None):
    return Plan("made up", "https://example.org", "CC0", structures, merged or {})


def test_own_structures_in_the_networks_order_and_the_rest_as_background():
    found = plan({"spleen": 1, "right kidney": 2, "left kidney": 3, "liver": 4, "pancreas": 5}, {"kidney": ["right kidney", "left kidney"]})
    assert list(found.label_block().items()) == [("background", [0, 4]), ("pancreas", 5), ("spleen", 1), ("kidney", [2, 3])]
    assert found.full_block() == {"background": 0, "spleen": 1, "right kidney": 2, "left kidney": 3, "liver": 4, "pancreas": 5}


def test_without_own_structures_all_there_is():
    assert plan({"liver": 1, "heart": 2}).label_block() == {"background": 0, "liver": 1, "heart": 2}


def test_files_of_a_case():
    assert PlannedCase("a", Path("a.nii"), (Path("b.nii"), Path("c.nii"))).sources() == [Path("a.nii"), Path("b.nii"), Path("c.nii")]


@pytest.mark.parametrize(
    ("name", "expected"), [("label0007.nii.gz", 7), ("amos_0507", 507), (Path("set2/FLARE22_Tr_0001_0000.nii.gz"), 0), ("ct.nii.gz", None)]
)
def test_the_last_number_of_a_name(name, expected):
    assert number(name) == expected


def test_folders_by_what_is_in_them(tmp_path):
    for folder in ("one/img", "one/label", "two/IMG", "two/Label", "three/img", "a/b/c/img", "a/b/c/label", ".hidden/img", ".hidden/label"):
        (tmp_path / folder).mkdir(parents=True)
    assert find_folders(tmp_path, "img", "label") == [tmp_path / "one", tmp_path / "two"]  # the uppermost level only
    assert find_folder(tmp_path / "a", "img", "label") == tmp_path / "a/b/c"
    assert find_folders(tmp_path, "masks") == [] and find_folder(tmp_path, "masks") is None
    assert child(tmp_path / "two", "label") == tmp_path / "two/Label" and child(tmp_path / "two", "masks") is None


def test_folders_further_down_than_three_levels_are_not_searched(tmp_path):
    (tmp_path / "1/2/3/4/img").mkdir(parents=True)
    assert find_folder(tmp_path, "img") is None and find_folder(tmp_path / "1", "img") == tmp_path / "1/2/3/4"


def test_an_archive_is_to_be_unpacked_first(tmp_path):
    assert not_found(tmp_path, "label maps", "img and label").fix == "give the folder that holds img and label"
    (tmp_path / "RawData.zip").touch()
    assert not_found(tmp_path, "label maps", "img and label").fix == "unpack RawData.zip first"


def test_label_maps_are_one_for_each_case(tmp_path):
    one, two, other, nameless = (tmp_path / name for name in ("a1.nii", "b1.nii", "a2.nii", "notes.nii"))
    for path in (one, two, other, nameless):
        path.touch()
    assert label_maps([one, other, nameless], number) == {1: one, 2: other}
    with pytest.raises(UserError, match=r"a1\.nii: .*b1\.nii is a label map of the same name or number\. Fix: keep one of the two"):
        label_maps([other, one, two], number)
    two.unlink()
    two.symlink_to(one)  # another name of the same file
    assert label_maps([one, two], number) == {1: one}


def test_of_several_images_with_one_number_the_first_counts_and_is_named(tmp_path):
    one, two, other = (tmp_path / name for name in ("a1.nii", "b1.nii", "a2.nii"))
    for path in (one, two, other):
        path.touch()
    warnings: list[str] = []
    assert by_number([one, other, two], warnings) == {1: one, 2: other}
    assert warnings == [f"number 1 is there 2 times: {one} is used, not {two}"]
