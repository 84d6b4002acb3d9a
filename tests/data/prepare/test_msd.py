"""Medical Segmentation Decathlon: one task, linked as it is."""

from __future__ import annotations

import json

import pytest

from bundle.data.datalist import datalist
from bundle.data.prepare import msd
from bundle.errors import UserError


def test_msd_pancreas_with_tumour(prepared, put, capsys):
    for number in (1, 4):
        put(f"Task07_Pancreas/imagesTr/pancreas_{number:03d}.nii.gz", f"Task07_Pancreas/labelsTr/pancreas_{number:03d}.nii.gz")
    put("Task07_Pancreas/imagesTs/pancreas_002.nii.gz")
    for folder in ("imagesTr", "labelsTr"):
        (prepared.source / f"Task07_Pancreas/{folder}/._pancreas_001.nii.gz").write_bytes(b"\0\5\26\7")
    about = {"name": "Pancreas", "modality": {"0": "CT"}, "labels": {"0": "background", "1": "pancreas", "2": "cancer"}}
    (prepared.source / "Task07_Pancreas/dataset.json").write_text(json.dumps({**about, "training": [{"image": "a", "label": "b"}] * 3}))
    assert prepared.run("msd") == 0
    assert prepared.json("labels.json") == {"labels": {"background": 0, "pancreas": [1, 2]}}
    assert prepared.json("labels_all.json") == {"labels": {"background": 0, "pancreas": 1, "cancer": 2}}
    assert len(datalist(str(prepared.output), "all")) == 2 and len(datalist(str(prepared.output), "unlabelled")) == 1
    assert (prepared.output / "imagesTr/pancreas_001.nii.gz").is_symlink()
    said = capsys.readouterr().out
    assert "MSD Pancreas: 3 cases" in said and "2 training, 1 unlabelled" in said
    assert "2 hidden files of macOS" in said and "lists 3 training cases, the folders hold 2" in said
    assert "structure: pancreas (value 1) in 2 of 2 labelled cases" in said


def test_regions_of_nnunet_are_refused(prepared, put):
    put("Task07_Pancreas/imagesTr/p.nii.gz", "Task07_Pancreas/labelsTr/p.nii.gz")
    about = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": [1, 2], "tumour": 2}}
    (prepared.source / "Task07_Pancreas/dataset.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"dataset\.json: \"labels\" has a region of several values \(organ: \[1, 2\]\)"):
        prepared.run("msd")


def test_msd_mri_is_refused(prepared, put):
    put("Task05_Prostate/imagesTr/p.nii.gz", "Task05_Prostate/labelsTr/p.nii.gz")
    (prepared.source / "Task05_Prostate/dataset.json").write_text(json.dumps({"modality": {"0": "T2", "1": "ADC"}, "labels": {}}))
    with pytest.raises(UserError, match="is not a CT data set"):
        prepared.run("msd")


def test_msd_with_several_tasks_asks_for_one(prepared, put):
    for task in ("Task07_Pancreas", "Task09_Spleen"):
        put(f"{task}/imagesTr/a.nii.gz", f"{task}/labelsTr/a.nii.gz")
    with pytest.raises(UserError, match=r"holds 2 tasks.*Task07_Pancreas, Task09_Spleen"):
        prepared.run("msd")


def test_a_task_that_does_not_say_what_its_values_mean(prepared, put):
    put("Task99/imagesTr/a.nii.gz", "Task99/labelsTr/a.nii.gz")
    with pytest.raises(UserError, match=r"dataset\.json: does not say what the label values mean"):
        prepared.run("msd")


def one_case(prepared, put, text: str, encoding: str = "utf-8") -> None:
    put("imagesTr/a.nii.gz", "labelsTr/a.nii.gz")
    (prepared.source / "dataset.json").write_text(text, encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "said", [{}, {"modality": {"0": "ct"}}, {"channel_names": {"0": "CT"}}, {"modality": {"0": "CT"}, "channel_names": {"0": "x"}}]
)
def test_a_list_of_a_ct_in_any_spelling(prepared, put, said, encoding):
    one_case(prepared, put, json.dumps({"labels": {"1": "pancreas", "2": "spleen"}, **said}), encoding)
    assert [case.name for case in msd.plan(prepared.source).cases] == ["a"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"labels":', r"is not valid JSON"),
        ("[1]", r"holds a list, not an object"),
        ('{"modality": ["CT"]}', r'"modality" is a list, not an object\. Fix: write {"modality": {"0": "CT"}}'),
        ('{"modality": "CT"}', r'"modality" is a text \("CT"\), not an object'),
        ('{"channel_names": null}', r'"channel_names" is null, not an object\. Fix: write {"channel_names"'),
        ('{"channel_names": {"0": "MRI"}}', r"is not a CT data set \(channel_names MRI\)"),
        ('{"modality": {"0": 3}}', r"is not a CT data set \(modality 3\)"),
        ('{"modality": {}}', r"is not a CT data set \(modality names nothing\)"),
        ('{"training": 3}', r'"training" is a number \(3\), not a list'),
        ('{"training": null}', r'"training" is null, not a list'),
        ('{"labels": 3}', r"does not say what the label values mean"),
    ],
)
def test_a_list_that_is_damaged_or_of_something_else_is_one_line(prepared, put, text, said):
    one_case(prepared, put, text)
    with pytest.raises(UserError, match=r"dataset\.json: .*" + said) as caught:
        prepared.run("msd")
    assert "\n" not in str(caught.value) and not prepared.output.exists()
