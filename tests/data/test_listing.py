"""Cases of a folder in MSD layout: images and labels that belong together by name."""

from __future__ import annotations

import pytest
from listings import case_names, msd, touch

from bundle.data.datalist import datalist, find_cases
from bundle.errors import UserError


def test_msd_folders_in_any_case_and_packing(tmp_path):
    touch(tmp_path, "imagesTr/a.nii", "labelsTr/a.nii.gz", "imagesTr/b.NII.GZ", "labelsTr/b.Nii", "imagesTs/u.nii")
    touch(tmp_path, "imagesTr/._a.nii", "labelsTr/._a.nii.gz", "imagesTr/.DS_Store", "imagesTr/notes.txt")
    assert datalist(str(tmp_path), "all") == [
        {"image": str(tmp_path / "imagesTr/a.nii"), "label": str(tmp_path / "labelsTr/a.nii.gz")},
        {"image": str(tmp_path / "imagesTr/b.NII.GZ"), "label": str(tmp_path / "labelsTr/b.Nii")},
    ]
    assert datalist(str(tmp_path), "unlabelled") == [{"image": str(tmp_path / "imagesTs/u.nii")}]


def test_labelled_test_folder_is_the_test_section(tmp_path):
    msd(tmp_path, 5)
    touch(tmp_path, "imagesTs/t.nii.gz", "labelsTs/t.nii.gz", "imagesTs/u.nii.gz")
    assert case_names(datalist(str(tmp_path), "test", with_test=True)) == ["t.nii.gz"]
    assert len(datalist(str(tmp_path), "training") + datalist(str(tmp_path), "validation")) == 5


def test_channel_suffix_of_nnunet(tmp_path):
    touch(tmp_path, "imagesTr/FLARE22_Tr_0001_0000.nii.gz", "labelsTr/FLARE22_Tr_0001.nii.gz")
    (case,) = find_cases(str(tmp_path)).cases
    assert case.name == "FLARE22_Tr_0001" and case.label.endswith("labelsTr/FLARE22_Tr_0001.nii.gz")


def test_every_listing_problem_in_one_error(tmp_path):
    msd(tmp_path, 2)
    touch(tmp_path, "imagesTr/alone.nii.gz", "labelsTr/lonely.nii.gz", "imagesTr/case_1.nii")
    with pytest.raises(UserError) as error:
        datalist(str(tmp_path))
    said = str(error.value)
    assert "3 problems" in said
    assert "alone.nii.gz: this image has no label" in said and f"add the label as {tmp_path}" in said
    assert "lonely.nii.gz: this label has no image" in said
    assert "case_1.nii.gz: case_1.nii is the same case" in said


def test_a_test_case_of_the_name_of_a_training_case_takes_its_place_nowhere(tmp_path):
    """Cases are kept by name: the training case was lost."""
    msd(tmp_path, 5)
    touch(tmp_path, "imagesTs/case_1.nii.gz", "labelsTs/case_1.nii.gz", "imagesTs/case_2.nii.gz")
    listing = find_cases(str(tmp_path))
    assert [case.name for case in listing.cases] == [*(f"case_{i}" for i in range(5)), "imagesTs_case_1", "imagesTs_case_2"]
    found = {section: datalist(str(tmp_path), section) for section in ("training", "validation", "test")}
    assert sorted(case_names(found["training"] + found["validation"])) == [f"case_{i}.nii.gz" for i in range(5)]
    assert found["test"] == [{"image": str(tmp_path / "imagesTs/case_1.nii.gz"), "label": str(tmp_path / "labelsTs/case_1.nii.gz")}]


def test_two_images_of_one_label_are_a_mistake(tmp_path):
    msd(tmp_path, 2)
    touch(tmp_path, "imagesTr/case_1_0000.nii.gz")
    with pytest.raises(UserError) as caught:
        datalist(str(tmp_path))
    said = "the label of this image, case_1.nii.gz, is that of another image too"
    assert str(caught.value).startswith(f"{tmp_path}/imagesTr/case_1_0000.nii.gz: {said}") and "\n" not in str(caught.value)


def test_a_case_whose_links_lead_nowhere_is_a_mistake(tmp_path):
    """Both its files were passed over, and one case fewer was trained on."""
    msd(tmp_path, 6)
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "far.nii.gz").symlink_to(tmp_path / "not mounted" / "far.nii.gz")
    with pytest.raises(UserError) as caught:
        datalist(str(tmp_path))
    said = str(caught.value)
    assert "2 problems" in said and f"labelsTr/far.nii.gz: this link leads nowhere (to {tmp_path}/not mounted/far.nii.gz)" in said
    assert "imagesTr/far.nii.gz: this link leads nowhere" in said and "imagesTs" not in said


def test_more_than_ten_channels(tmp_path):
    """nnU-Net counts with four digits: the tenth further channel is a_0010."""
    names = [f"imagesTr/a_{number:04d}.nii.gz" for number in range(12)]
    touch(tmp_path, *names[:11], "labelsTr/a.nii.gz")
    channels = [{"name": "ct", "kind": "ct"}, *({"name": f"c{number}", "kind": "plain"} for number in range(1, 12))]
    listing = find_cases(str(tmp_path), channels=channels)
    (case,) = listing.cases
    assert dict(case.further) == {f"c{number}": str(tmp_path / names[number]) for number in range(1, 11)}
    (problem,) = listing.problems
    assert "this image has no c11" in str(problem) and "put it beside it as a_0011.nii.gz" in str(problem)


@pytest.mark.parametrize(("folder", "what"), [("labelsTr", "the label of case_1.nii.gz"), ("imagesTr", "the image of case_1.nii.gz")])
def test_a_folder_by_the_name_of_a_file_is_named(tmp_path, folder, what):
    msd(tmp_path, 3)
    (tmp_path / folder / "case_1.nii.gz").unlink()
    touch(tmp_path, f"{folder}/case_1.nii.gz/case_1.nii.gz")
    with pytest.raises(UserError) as caught:
        datalist(str(tmp_path))
    path = tmp_path / folder / "case_1.nii.gz"
    assert str(caught.value) == f"{path}: this is a folder, not {what}. Fix: move case_1.nii.gz out of it and remove the folder."
