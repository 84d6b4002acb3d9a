"""BTCV: image and label have other names; RegData is left out."""

from __future__ import annotations

import pytest

from bundle.data.prepare import btcv
from bundle.errors import UserError


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
    assert prepared.listed("training") == ["imagesTr/btcv_0001.nii.gz", "imagesTr/btcv_0021.nii.gz"]
    assert prepared.listed("test") == ["imagesTs/btcv_0061.nii.gz"]
    assert "case 0002 is left out: there is no label" in capsys.readouterr().out


def test_registered_copies_and_labels_without_an_image_are_left_out(prepared, put):
    put("RawData/Training/img/img0001.nii.gz", "RawData/Training/label/label0001.nii.gz")
    put("RawData/Training/label/label0005.nii.gz")
    put("RegData/Training/img/img0001.nii.gz", "RegData/Training/label/label0001.nii.gz")
    found = btcv.plan(prepared.source)
    assert [case.image for case in found.cases] == [prepared.source / "RawData/Training/img/img0001.nii.gz"]
    assert found.warnings == [
        f"{prepared.source / 'RegData'} holds registered copies of the same scans and is left out",
        "case 0005 is left out: there is no image of that number",
    ]


def test_files_of_one_number(prepared, put):
    """Beside the packed image its unpacked one: the first counts, and is named. Which label map is right is not guessed."""
    put("RawData/Training/img/img0001.nii.gz", "RawData/Training/label/label0001.nii.gz")
    put("RawData/Training/img/img0001.nii")
    for name in ("img0061.nii", "img0061.nii.gz"):
        put(f"RawData/Testing/img/{name}")
    found = btcv.plan(prepared.source)
    assert [case.image.name for case in found.cases] == ["img0001.nii", "img0061.nii"]
    folder = prepared.source / "RawData"
    assert found.warnings == [
        f"number {value} is there 2 times: {folder / name}.nii is used, not {folder / name}.nii.gz"
        for value, name in ((1, "Training/img/img0001"), (61, "Testing/img/img0061"))
    ]
    put("RawData/Training/label/label0002 (1).nii.gz")  # as browsers name what they load twice: its last number is 1
    with pytest.raises(UserError, match=r"label0001\.nii\.gz: .*label0002 \(1\)\.nii\.gz is a label map of the same"):
        btcv.plan(prepared.source)
