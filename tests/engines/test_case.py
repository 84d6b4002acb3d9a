"""One scan on its way: names, seconds, the label map that counts, failures that stay with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.data import MetaTensor

from bundle.engines.case import Case, noting_failure
from bundle.errors import UserError

AFFINE = torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0], dtype=torch.float64))


def case_with(pred: object) -> Case:
    image = MetaTensor(torch.zeros(1, 2, 2, 1), meta={"original_affine": AFFINE.numpy(), "spatial_shape": [2, 2, 1, 7]})
    return Case({"case": 3, "source": Path("/x/ct.nii")}, data={"image": image, "pred": pred})


def test_name_and_source_are_text_and_seconds_add_up():
    case = case_with(None)
    assert (case.name, case.source) == ("3", "/x/ct.nii")
    case.seconds["load"] = 5.0
    with pytest.raises(KeyError), case.timed("load"):
        raise KeyError
    assert 5.0 < case.seconds["load"] < 5.5, "also where the block fails"


def test_a_label_map_stays_and_whole_numbers_become_one():
    labels = MetaTensor(torch.ones(1, 2, 2, 1, dtype=torch.uint8), affine=AFFINE)
    assert case_with(labels).label_map() is labels
    case = case_with(torch.full((1, 2, 2, 1), 2.0))
    found = case.label_map()
    assert found.dtype == torch.uint8 and found.unique().tolist() == [2] and torch.equal(found.affine, AFFINE)
    assert case.data["pred"] is found


def test_of_several_channels_the_highest_counts():
    one_hot = torch.zeros(3, 2, 2, 1)
    one_hot[2, 0, 0], one_hot[1, 1, 1] = 1, 1
    assert case_with(one_hot).label_map()[0, ..., 0].tolist() == [[2, 0], [0, 1]]


@pytest.mark.parametrize(
    ("pred", "said"),
    [
        (None, "leaves no label map"),
        (torch.zeros(2, 2, 1), "leaves no label map"),
        (torch.zeros(1, 2, 2, 2), r"pred has \(2, 2, 2\) voxels and the scan \(2, 2, 1\)"),
        (torch.full((1, 2, 2, 1), 0.5), "not whole numbers"),
    ],
)
def test_what_is_no_label_map_is_said(pred, said):
    with pytest.raises(UserError, match=rf"postprocessing: .*{said}"):
        case_with(pred).label_map()


def test_a_picture_is_lacking_where_it_could_not_be_written(caplog):
    path, case = Path("/out/3_preview.png"), case_with(None)
    for error in (ValueError("no body"), OSError("no font"), FileNotFoundError(2, "No such file or directory", "/fonts/a.ttf")):
        case.no_picture(path, "previews", error)
    assert case.lacking == [] and caplog.text.count("3_preview.png could not be drawn: ") == 3
    for error in (OSError(28, "No space left on device", str(path)), OSError(5, "Input/output error")):
        case.no_picture(path, "previews", error)
    assert case.lacking == ["previews", "previews"] and "3_preview.png could not be written: Input/output error" in caplog.text


def test_a_failure_is_kept_and_lets_go_of_voxels_and_files(tmp_path):
    case = case_with(torch.zeros(1, 2, 2, 1))
    case.scan, case.seconds = torch.zeros(2, 2, 1), {"load": 1.0}
    with noting_failure(case):
        with case.staged.written(tmp_path / "3_seg.nii.gz") as aside:
            aside.write_bytes(b"x")
        raise ValueError("broken")
    assert str(case.error) == "broken" and case.error.__traceback__ is None
    assert case.data == {} and case.scan is None and case.seconds == {"load": 1.0} and list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), noting_failure(case):
        raise KeyboardInterrupt


def test_the_label_map_takes_its_place_last(tmp_path):
    case = case_with(None)
    for name in ("3_seg.nii.gz", "3_preview.png"):
        with case.staged.written(tmp_path / name) as aside:
            aside.write_bytes(b"x")
    case.publish()
    assert case.files == ["3_preview.png", "3_seg.nii.gz"] and len(list(tmp_path.iterdir())) == 2
