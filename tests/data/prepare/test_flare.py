"""FLARE 2022: labels in folders of their name, scans without labels."""

from __future__ import annotations

import pytest

from bundle.data.prepare import flare
from bundle.errors import UserError


def test_flare_with_labels_in_folders_of_their_name(prepared, put, capsys):
    put("FLARE22_LabeledCase50/images/FLARE22_Tr_0001_0000.nii.gz", "FLARE22_LabeledCase50/labels/FLARE22_Tr_0001.nii.gz", (4, 3))
    put("FLARE22_LabeledCase50/images/FLARE22_Tr_0002_0000.nii.gz")
    inner = "FLARE22_LabeledCase50/labels/FLARE22_Tr_0002.nii/FLARE22_Tr_0002.nii"
    put("FLARE22_LabeledCase50/images/FLARE22_Tr_0002_0000.nii.gz", inner, (4, 3))
    put("ValidationSet/FLARETs_0001_0000.nii.gz")
    assert prepared.run("flare") == 0
    assert prepared.listed("training") == ["imagesTr/FLARE22_Tr_0001.nii.gz", "imagesTr/FLARE22_Tr_0002.nii.gz"]
    assert prepared.listed("test") == ["imagesTs/FLARETs_0001.nii.gz"]
    assert prepared.json("labels.json")["labels"]["kidney"] == [2, 13]
    assert "MSD's pancreas task" in capsys.readouterr().out


def test_scans_without_labels_labels_without_scans_and_the_later_challenge(prepared, put):
    put("FLARE23/imagesTr/a_0000.nii.gz", "FLARE23/labelsTr/a.nii.gz")
    put("FLARE23/imagesTr/b_0000.nii.gz", "FLARE23/labelsTr/c.nii.gz")
    found = flare.plan(prepared.source)
    assert [(case.name, case.section, len(case.labels)) for case in found.cases] == [("a", "training", 1), ("b", "test", 0)]
    assert "looks like FLARE 2023" in found.warnings[1]
    assert found.warnings[2:] == [
        "b_0000.nii.gz has no label and becomes an unlabelled case",
        "c.nii.gz is left out: there is no image of that name",
    ]


def test_two_label_maps_of_a_case_are_refused(prepared, put):
    put("images/a.nii.gz", "labels/a.nii.gz")
    put("labels/own/a.nii.gz")
    with pytest.raises(UserError, match="is a label map of the same name or number"):
        flare.plan(prepared.source)
