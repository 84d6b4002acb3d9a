"""MSD, BTCV, AMOS and FLARE: linked as they are, each with its traps."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bundle.data.datalist import datalist
from bundle.errors import UserError


@pytest.fixture
def put(prepared, save, scan):
    """`put(image, label, values)` writes a scan and a label whose pancreas and spleen have those values."""

    def write(image: str, label: str | None = None, values: tuple[int, int] = (1, 2), seed: int | None = None) -> None:
        seed = sum(map(ord, image)) if seed is None else seed
        voxels, organs = scan(seed)
        save(prepared.source / image, voxels)
        if label:
            save(prepared.source / label, np.array([0, *values], np.uint8)[organs])

    return write


def names(entries: list) -> list[str]:
    return [(entry if isinstance(entry, str) else entry["image"]).split("/", 1)[1] for entry in entries]


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


def test_btcv(prepared, put, capsys):
    for number in (1, 2, 21):
        put(f"Abdomen/RawData/Training/img/img{number:04d}.nii.gz", f"Abdomen/RawData/Training/label/label{number:04d}.nii.gz", (11, 1))
    (prepared.source / "Abdomen/RawData/Training/label/label0002.nii.gz").unlink()
    put("Abdomen/RawData/Testing/img/img0061.nii.gz")
    assert prepared.run("btcv") == 0
    assert prepared.json("labels.json")["labels"] == {
        "background": [0, 4, 5, 6, 7, 8, 9, 10, 12, 13],
        "pancreas": 11,
        "spleen": 1,
        "kidney": [2, 3],
    }
    assert len(prepared.json("labels_all.json")["labels"]) == 14
    assert names(prepared.json("dataset.json")["training"]) == ["imagesTr/btcv_0001.nii.gz", "imagesTr/btcv_0021.nii.gz"]
    assert names(prepared.json("dataset.json")["test"]) == ["imagesTs/btcv_0061.nii.gz"]
    assert "case 0002 is left out: there is no label" in capsys.readouterr().out


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
    assert labelled == sections and names(listed["test"]) == ["imagesTs/amos_0106.nii.gz"]
    assert "2 scans are MRI" in capsys.readouterr().out
    assert prepared.json("labels.json")["labels"]["kidney"] == [2, 3]


def test_flare_with_labels_in_folders_of_their_name(prepared, put, capsys):
    put("FLARE22_LabeledCase50/images/FLARE22_Tr_0001_0000.nii.gz", "FLARE22_LabeledCase50/labels/FLARE22_Tr_0001.nii.gz", (4, 3))
    put("FLARE22_LabeledCase50/images/FLARE22_Tr_0002_0000.nii.gz")
    inner = "FLARE22_LabeledCase50/labels/FLARE22_Tr_0002.nii/FLARE22_Tr_0002.nii"
    put("FLARE22_LabeledCase50/images/FLARE22_Tr_0002_0000.nii.gz", inner, (4, 3))
    put("ValidationSet/FLARETs_0001_0000.nii.gz")
    assert prepared.run("flare") == 0
    assert names(prepared.json("dataset.json")["training"]) == ["imagesTr/FLARE22_Tr_0001.nii.gz", "imagesTr/FLARE22_Tr_0002.nii.gz"]
    assert names(prepared.json("dataset.json")["test"]) == ["imagesTs/FLARETs_0001.nii.gz"]
    assert prepared.json("labels.json")["labels"]["kidney"] == [2, 13]
    assert "MSD's pancreas task" in capsys.readouterr().out


def test_prepared_sets_train_with_their_overlay_and_nothing_else(prepared, put):
    from bundle.data.checks.check import check_before_training

    for number in range(1, 7):
        put(f"Training/img/img{number:04d}.nii.gz", f"Training/label/label{number:04d}.nii.gz", (11, 1))
    prepared.run("btcv", check=False)
    assert check_before_training(str(prepared.output), prepared.json("labels.json")["labels"])["training"] == 4
    assert check_before_training(str(prepared.output), prepared.json("labels_all.json")["labels"])["training"] == 4
