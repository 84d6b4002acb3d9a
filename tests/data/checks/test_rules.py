"""Problems from facts alone: each rule on facts written by hand. What is measured of files is tested in test_check.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bundle.data.checks import rules
from bundle.data.datalist import Case
from bundle.errors import UserError
from bundle.images.voxels import check_grid

LABELS = {"background": 0, "pancreas": 1, "kidney": [2, 3]}
CASE = Case("a", "a.nii", "a_label.nii")


def image(**more: object) -> dict:
    """Facts of a scan of 100 x 100 x 50 voxels of 2 x 2 x 4 mm in HU."""
    plain = {"shape": [100, 100, 50], "affine": np.diag([2.0, 2, 4, 1]).tolist(), "dtype": "int16", "nonfinite": 0, "minimum": -1000.0}
    plain |= {"maximum": 900.0, "soft_share": 0.4, "histogram": [[-1000, 200_000], [0, 200_000], [900, 100_000]], "fingerprint": "f"}
    return {**plain, **more}


def label(**more: object) -> dict:
    plain = {"shape": [100, 100, 50], "affine": np.diag([2.0, 2, 4, 1]).tolist(), "dtype": "uint8", "nonfinite": 0, "fractions": 0}
    return {**plain, "counts": {"0": 499_000, "1": 400, "2": 300, "3": 300}, **more}


def said(found: list[rules.Problem]) -> dict[str, str]:
    return {one.code: f"{one.level}: {one.problem}" for one in found}


def turned(degrees: float) -> list:
    """Columns of 2 and 4 mm that are this far off a right angle."""
    affine = np.diag([2.0, 2, 4, 1])
    affine[:2, 1] = 2 * np.sin(np.radians(degrees)), 2 * np.cos(np.radians(degrees))
    return affine.tolist()


def test_a_case_that_leaves_out_what_cannot_be_left_open_is_an_error_before_training() -> None:
    """Of nine structures the eighth and ninth have no bit in a set: the case would end the first epoch that meets it."""
    nine = {"background": 0, **{f"s{value}": value for value in range(1, 10)}}
    facts = label(counts={"0": 1, "1": 1})
    found = said(rules.case_problems(replace(CASE, labelled=("s1", "s9")), image(), facts, nine))
    assert found["labelled"] == "error: s8 is left open, and is not among the first structures of `labels`"
    assert rules.case_problems(replace(CASE, labelled=("s8", "s9")), image(), facts, nine) == []
    found = said(rules.case_problems(replace(CASE, labelled=("kidney", "liver")), image(), label(), LABELS))
    assert found["labelled"] == "error: is listed as labelled for liver, which labels has not"


@pytest.mark.parametrize("shape", [[100, 100, 1], [1, 100, 50]])
def test_a_scan_of_one_slice_is_an_error_before_training(shape: list[int]) -> None:
    """Nothing that loads scans takes it: the training ended in the first epoch that met it."""
    found = rules.case_problems(CASE, image(shape=shape), label(shape=shape), LABELS)
    assert [(one.file, one.code, one.level) for one in found] == [("a.nii", "not 3D", "error"), ("a_label.nii", "not 3D", "error")]
    assert found[0].problem == f"is one voxel thin (size {'x'.join(map(str, shape))})"
    with pytest.raises(UserError, match=r"two-dimensional|one voxel thin"):
        check_grid("a.nii", shape)
    check_grid("a.nii", (2, 2, 2))
    assert rules.readable_problems(CASE, "a.nii", image(shape=[2, 2, 2])) == []


def test_sizes_by_hand() -> None:
    facts = {"shape": [100, 50, 25], "affine": [[0, 0, 4, 0], [-2, 0, 0, 0], [0, 3, 0, 0], [0, 0, 0, 1]]}
    assert rules.spacing(facts) == [2, 3, 4]
    # right-left runs the third axis: 25 x 4 mm; back-front the first: 100 x 2 mm; feet-head the second: 50 x 3 mm
    assert rules.extent_mm(facts) == [100, 200, 150]
    # 16 mm^3 a voxel
    assert rules.volumes_ml(label(), LABELS) == pytest.approx({"background": 7984.0, "pancreas": 6.4, "kidney": 9.6})
    assert rules.volumes_ml({"error": "x"}, LABELS) == {}


def test_a_good_case_has_no_problem() -> None:
    assert rules.case_problems(CASE, image(), label(), LABELS) == []
    assert rules.case_problems(CASE, image(), None, LABELS) == []


@pytest.mark.parametrize(
    ("facts", "code", "problem"),
    [
        ({"error": "it is cut off"}, "unreadable", "error: cannot be read (it is cut off)"),
        (image(shape=[9, 9, 9, 3]), "not 3D", "error: is not a 3D volume (size 9x9x9x3)"),
        (image(nonfinite=1), "NaN", "error: has 1 voxel that is NaN or infinite"),
        (image(nonfinite=2), "NaN", "error: has 2 voxels that are NaN or infinite"),
        (image(affine=turned(0.4)), None, ""),
        (
            image(affine=turned(15)),
            "sheared",
            "warning: its axes are 15.0 degrees off a right angle (sheared affine, as of a tilted gantry)",
        ),
        (image(affine=np.diag([0.1, 2, 2, 1]).tolist()), "spacing", "warning: its voxels measure 0.1x2x2 mm"),
        (image(affine=np.diag([0.0, 2, 2, 1]).tolist()), "affine", "error: its affine is singular (voxel edges 0x2x2 mm)"),
        (image(forms_gap_mm=0.19), None, ""),
        (image(forms_gap_mm=0.21), "qform", "warning: its qform and sform disagree by 0.2 mm; the sform is used"),
        (image(minimum=5.0, maximum=5.0), "constant", "error: has the one value 5 everywhere"),
    ],
)
def test_what_is_wrong_with_an_image(facts: dict, code: str | None, problem: str) -> None:
    assert said(rules.case_problems(CASE, facts, None, LABELS)) == ({code: problem} if code else {})


@pytest.mark.parametrize(
    ("facts", "code", "problem"),
    [
        (label(counts={"0": 9, "1": 1, "7": 1}), "values", "error: holds values that are not in labels: 7 (1 voxel)"),
        (label(counts={"0": 9}), "empty", "warning: is empty, all background"),
        (label(fractions=1, fraction_example=0.5), "fraction", "error: has 1 voxel that is not a whole number (such as 0.5)"),
        (label(shape=[100, 100, 49]), "grid", "error: its grid is 100x100x49, that of a.nii is 100x100x50"),
        (label(fit=[0.1, 0.6, *[0.0] * 6]), "flipped", "warning: it fits its image far better when it is flipped along z"),
        (label(fit=[0.3, 0.6, *[0.0] * 6]), None, ""),  # twice as well is not three times
    ],
)
def test_what_is_wrong_with_a_label_map(facts: dict, code: str | None, problem: str) -> None:
    found = said(rules.case_problems(CASE, image(), facts, LABELS))
    assert list(found) == ([code] if code else []) and found.get(code, "").startswith(problem)


def test_a_value_that_the_data_set_names_is_no_mistake() -> None:
    facts = label(counts={"0": 9, "7": 5})
    assert said(rules.case_problems(CASE, image(), facts, LABELS, {7: "tumour"})) == {}


def test_a_case_without_a_structure_and_one_smaller_than_the_patch() -> None:
    (one,) = rules.missing_problems(CASE, label(counts={"0": 1, "3": 1}), LABELS)
    partly = replace(CASE, labelled=("kidney",))
    assert rules.missing_problems(partly, label(counts={"0": 1, "2": 1}), LABELS) == []
    assert rules.missing_problems(partly, label(counts={"0": 1}), LABELS)[0].problem == "has no kidney"
    assert one.problem == "has no pancreas" and rules.missing_problems(CASE, {"error": "x"}, LABELS) == []
    (one,) = rules.patch_problems(CASE, image(), (200.0, 201.0, 320.0))
    assert one.problem == "is smaller than the patch: y 200 of 201 mm, z 200 of 320 mm"
    assert rules.patch_problems(CASE, image(), (200.0, 200.0, 200.0)) == []
