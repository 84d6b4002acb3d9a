"""AMOS: its MRI is left out, and the validation folder has its place."""

from __future__ import annotations

import pytest

from bundle.data.prepare import amos
from bundle.errors import UserError


@pytest.mark.parametrize(
    ("official", "sections"), [(False, {"training": 2, "test": 0}), (True, {"training": 1, "validation": 1, "test": 0})]
)
def test_amos_without_its_mri(prepared, put, capsys, official, sections):
    put("amos22/imagesTr/amos_0001.nii.gz", "amos22/labelsTr/amos_0001.nii.gz", (10, 1))
    put("amos22/imagesTr/amos_0507.nii.gz", "amos22/labelsTr/amos_0507.nii.gz", (10, 1))
    put("amos22/imagesVa/amos_0008.nii.gz", "amos22/labelsVa/amos_0008.nii.gz", (10, 1))
    put("amos22/imagesTs/amos_0106.nii.gz")
    put("amos22/imagesTs/amos_0561.nii.gz")
    assert prepared.run("amos", official_split=official) == 0
    listed = prepared.json("dataset.json")
    labelled = {name: sum(isinstance(entry, dict) for entry in listed[name]) for name in sections}
    assert labelled == sections and prepared.listed("test") == ["imagesTs/amos_0106.nii.gz"]
    assert "2 scans are MRI" in capsys.readouterr().out
    assert prepared.json("labels.json")["labels"]["kidney"] == [2, 3]


def test_what_lacks_a_label_and_what_is_moved_is_said(put, prepared):
    put("imagesTr/amos_0001.nii.gz", "labelsTr/amos_0001.nii.gz")
    put("imagesTr/amos_0004_0000.nii.gz")
    put("imagesVa/amos_0008.nii.gz", "labelsVa/amos_0008.nii.gz")
    found = amos.plan(prepared.source)
    assert [(case.name, case.section, len(case.labels)) for case in found.cases] == [
        ("amos_0001", "training", 1),
        ("amos_0004", "test", 0),
        ("amos_0008", "training", 1),
    ]
    assert found.warnings[0] == "1 scan has no label and stays unlabelled: amos_0004"
    assert found.warnings[1].startswith("imagesVa joins the training cases")
    assert len(amos.plan(prepared.source, official_split=True).warnings) == 1


def test_two_label_maps_of_a_case_are_refused(prepared, put):
    put("imagesTr/a.nii.gz", "labelsTr/a.nii.gz")
    put("labelsTr/a.nii")
    with pytest.raises(UserError, match="is a label map of the same name or number"):
        amos.plan(prepared.source)
