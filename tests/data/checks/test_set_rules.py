"""Problems of all cases together, from facts written by hand."""

from __future__ import annotations

from listings import touch

from bundle.data.checks import set_rules
from bundle.data.checks.rules import Problem
from bundle.data.datalist import Case

LABELS = {"background": 0, "pancreas": 1, "kidney": [2, 3]}
CASE = Case("a", "a.nii", "a_label.nii")


def image(fingerprint: str = "f", low: float = -1000.0) -> dict:
    return {"fingerprint": fingerprint, "minimum": low, "maximum": 900.0}


def counted(*values: int) -> dict:
    """Facts of a label map with these values."""
    return {"counts": {str(value): 9 for value in (0, *values)}}


def said(found: list[Problem]) -> dict[str, str]:
    return {one.code: f"{one.level}: {one.problem}" for one in found}


def test_one_scan_twice_is_an_error_only_across_the_splits() -> None:
    cases = [Case("a", "a.nii"), Case("b", "b.nii"), Case("c", "c.nii")]
    facts = {"a": image(), "b": image(), "c": image("g")}
    (one,) = set_rules.duplicate_problems(cases, facts, {"a": "training", "b": "training"})
    assert (one.level, one.case, one.problem) == ("warning", "b", "holds the same scan as a.nii")
    (one,) = set_rules.duplicate_problems(cases, facts, {"a": "training", "b": "validation"})
    assert one.level == "error" and one.problem.endswith("they are in different splits (training, validation)")
    # empty scans are alike without being copies
    assert set_rules.duplicate_problems(cases, {name: image(low=900.0) for name in "abc"}, {}) == []


def test_a_label_map_of_two_images_is_worth_a_look() -> None:
    """As a line of a list that was copied and half changed; the unlabelled share nothing."""
    cases = [CASE, Case("b", "b.nii", "a_label.nii"), Case("c", "c.nii", "c_label.nii"), Case("d", "d.nii"), Case("e", "e.nii")]
    (one,) = set_rules.shared_label_problems(cases)
    assert (one.level, one.case, one.file, one.problem) == ("warning", "b", "a_label.nii", "is listed for b.nii and for a.nii")


def test_images_that_only_a_list_can_name_are_said(tmp_path) -> None:
    """NRRD, MHA and what is in folders below; what is there as NIfTI too is not, and other files are no images."""
    names = ("a.nii.gz", "a.nrrd", "b.1.mha", "c.NRRD", "notes.txt", "._d.nrrd", ".hidden/e.nii", "patient/f.nii.gz", "patient/1.dcm")
    touch(tmp_path, *(f"imagesTr/{name}" for name in names))
    cases = [Case("a", str(tmp_path / "imagesTr/a.nii.gz"))]
    (one,) = set_rules.left_out_problems(str(tmp_path), cases)
    assert (one.level, one.file) == ("warning", f"{tmp_path}/imagesTr")
    assert one.problem == "3 images are left out (b.1.mha, c.NRRD, patient/f.nii.gz)"
    assert set_rules.left_out_problems(str(tmp_path / "dataset.json"), cases) == []


def test_what_the_data_set_names_and_labels_leave_out() -> None:
    assert "left out" in said(set_rules.label_problems("set", [CASE], {"a": counted(7)}, LABELS, {7: "tumour"}))


def test_names_that_the_data_set_gives_otherwise() -> None:
    facts = {"a": counted(1, 2, 3)}
    meaning = {0: "background", 1: "left kidney", 2: "pancreas"}
    found = set_rules.label_problems("set", [CASE], facts, {"background": 0, "pancreas": 1, "kidney": 2}, meaning)
    assert {(one.level, one.code) for one in found} == {("error", "names"), ("warning", "names")}
    assert "labels says that 'pancreas' is 1, dataset.json says that it is 2" in [one.problem for one in found]
    found = set_rules.label_problems("set", [CASE], facts, {"background": 0, "kidney": [1, 2], "liver": 9}, {1: "left kidney"})
    assert said(found) == {"absent": "warning: 'liver' (value 9) is in no label map of the data set"}, "a kidney is a left kidney"
