"""Which cases of a data set are in which section."""

from __future__ import annotations

import subprocess
import sys

import pytest
from listings import case_names, msd, touch, write

from bundle.data.datalist import datalist
from bundle.errors import UserError


def test_folds_come_from_the_names_not_from_the_place(tmp_path):
    for place in ("one", "two"):
        msd(tmp_path / place, 10, ending=".nii" if place == "two" else ".nii.gz")
    one, two = ([datalist(str(tmp_path / place), part, fold=2, seed=4) for part in ("training", "validation")] for place in ("one", "two"))
    assert [case_names(part) for part in one] == [[name + ".gz" for name in case_names(part)] for part in two]
    assert [len(part) for part in one] == [8, 2]


def test_a_list_of_cases_is_no_datalist_file():
    with pytest.raises(UserError, match="datalist: a list of 2 is no file"):
        datalist(".", "training", ["a.nii", "b.nii"])


def test_datalist_sections_are_taken_as_they_are(tmp_path):
    touch(tmp_path, *[f"scans/{name}.nii" for name in "abcdef"])
    entry = {name: {"image": f"scans/{name}.nii", "label": f"scans/{name}.nii"} for name in "abcdef"}
    content = {"training": [entry["c"], entry["a"]], "validation": [entry["b"]], "testing": [entry["d"], {"image": "scans/e.nii"}]}
    file = write(tmp_path / "list.json", content)
    found = {part: case_names(datalist("", part, file)) for part in ("training", "validation", "test", "unlabelled")}
    assert found == {"training": ["a.nii", "c.nii"], "validation": ["b.nii"], "test": ["d.nii"], "unlabelled": ["e.nii"]}


def test_fold_keys_decide(tmp_path):
    touch(tmp_path, *[f"{name}.nii" for name in "abcd"])
    folds = {"a": 0, "b": 1, "c": 1, "d": 2}
    file = write(tmp_path / "l.json", {"training": [{"image": f"{n}.nii", "label": f"{n}.nii", "fold": k} for n, k in folds.items()]})
    assert case_names(datalist(str(tmp_path), "validation", file, fold=1)) == ["b.nii", "c.nii"]
    assert case_names(datalist(str(tmp_path), "training", file, fold=1)) == ["a.nii", "d.nii"]
    with pytest.raises(UserError, match=r"fold 4 .*has the folds \[0, 1, 2\]"):
        datalist(str(tmp_path), "validation", file, fold=4)


def test_groups_of_the_list_stay_together(tmp_path):
    touch(tmp_path, *[f"{patient}{scan}.nii" for patient in "abcdef" for scan in "12"])
    entries = [{"image": f"{p}{s}.nii", "label": f"{p}{s}.nii", "group": p} for p in "abcdef" for s in "12"]
    file = write(tmp_path / "l.json", {"training": entries})
    for fold in range(3):
        held_out = [name[0] for name in case_names(datalist("", "validation", file, fold=fold, num_folds=3))]
        assert len(held_out) == 4 and held_out[0::2] == held_out[1::2]


def test_many_problems_are_cut_short(tmp_path):
    touch(tmp_path, *[f"imagesTr/{number}.nii" for number in range(150)])
    with pytest.raises(UserError, match=r"150 problems were found") as caught:
        datalist(str(tmp_path))
    assert str(caught.value).count("\n") == 101 and "and 50 more" in str(caught.value)


def test_empty_and_missing_folder_and_section(tmp_path):
    with pytest.raises(UserError, match="the folder is empty"):
        datalist(str(tmp_path))
    with pytest.raises(UserError, match="no such folder"):
        datalist(str(tmp_path / "not"))
    with pytest.raises(UserError, match="'train' is not a section"):
        datalist(str(tmp_path), "train")


def test_import_stays_light():
    heavy = "[name for name in ('numpy', 'torch', 'monai', 'nibabel') if name in sys.modules]"
    code = f"import sys, bundle.data.datalist, bundle.data.listing; print({heavy})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
