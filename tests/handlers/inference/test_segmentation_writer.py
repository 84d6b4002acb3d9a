"""Label maps, probabilities and attention maps of a case: where, in which form, all together."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from light_evaluator import LABELS, evaluator, scan
from monai.data import MetaTensor

from bundle.engines.case import Case
from bundle.errors import UserError
from bundle.handlers.inference.segmentation_writer import SegmentationWriter
from bundle.results import outputs


def test_a_format_that_is_asked_for_takes_the_place_of_the_other(tmp_path: Path) -> None:
    scan(tmp_path / "data" / "a.nii")
    out = tmp_path / "out"
    for wanted, other in (("seg.nrrd", "nii.gz"), ("nii.gz", "seg.nrrd"), ("seg.nrrd", "nii.gz")):
        engine = evaluator(tmp_path / "data", out)
        record, writer = engine.case_handlers[:2]
        record.wanted.format = wanted
        vars(writer).update(vars(SegmentationWriter(out, labels=LABELS, format=wanted)))
        assert [case.name for case in engine.run()] == ["a"]
        assert (out / outputs.label_map("a", wanted)).is_file() and not (out / outputs.label_map("a", other)).exists()
        assert record.records.get("a")["output"] == outputs.label_map("a", wanted)
    assert (out / "labels.txt").read_text(encoding="utf-8").endswith('1 88 196 255 1 1 1 "spleen"\n')
    assert (out / "labels.ctbl").read_text(encoding="utf-8").endswith("1 spleen 88 196 255 255\n")


AFFINE = torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0], dtype=torch.float64))


@pytest.fixture
def case() -> Case:
    """A scan that was not resampled, with its label map, logits and the coefficients of two gates."""
    labels = torch.zeros(1, 4, 3, 2, dtype=torch.uint8)
    labels[0, 1, 1, 1] = 1
    meta = {"original_affine": AFFINE.numpy(), "spatial_shape": np.array([4, 3, 2])}
    image = MetaTensor(torch.zeros(1, 4, 3, 2), affine=AFFINE, meta=meta)
    logits = torch.stack([torch.zeros(4, 3, 2), torch.full((4, 3, 2), 2.0)])
    done = Case({"case": "a", "source": "a.nii"}, data={"image": image, "pred": MetaTensor(logits, affine=AFFINE)})
    done.extra["labels"] = MetaTensor(labels, affine=AFFINE)
    return done


def finish(writer: SegmentationWriter, case: Case) -> None:
    """As the engine does: logits, then the label map in their place, then the files."""
    writer.predicted(case)
    case.data["pred"] = case.extra.pop("labels")
    writer.completed(case)


def test_files_wait_for_their_places_and_take_them_together(tmp_path: Path, case: Case) -> None:
    finish(SegmentationWriter(tmp_path, probabilities=True, labels=LABELS), case)
    assert not [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")]
    case.publish()
    assert case.files[-1] == "a_seg.nii.gz" and sorted(path.name for path in tmp_path.iterdir()) == [
        "a_probabilities.nii.gz",
        "a_seg.nii.gz",
    ]
    found = nibabel.load(tmp_path / "a_seg.nii.gz")
    assert np.argwhere(np.asarray(found.dataobj)).tolist() == [[1, 1, 1]] and np.allclose(found.affine, AFFINE)
    assert found.get_data_dtype() == np.uint8


def test_probabilities_are_the_softmax_in_steps_of_a_255th(tmp_path: Path, case: Case) -> None:
    finish(SegmentationWriter(tmp_path, probabilities=True), case)
    case.publish()
    found = nibabel.load(tmp_path / "a_probabilities.nii.gz").get_fdata()
    # softmax of 0 and 2: 0.1192 and 0.8808, or 30 and 225 of 255
    assert found.shape == (4, 3, 2, 2) and np.allclose(found[0, 0, 0], [30 / 255, 225 / 255])


def test_coefficients_of_each_level_on_the_source_grid(tmp_path: Path, case: Case) -> None:
    case.attention = {2: torch.stack([torch.full((4, 3, 2), 0.2), torch.full((4, 3, 2), 1.0)])}
    finish(SegmentationWriter(tmp_path), case)
    case.publish()
    found = nibabel.load(tmp_path / "a_attention_level2.nii.gz")
    assert found.shape == (4, 3, 2, 2) and np.allclose(found.affine, AFFINE)
    assert np.allclose(found.get_fdata()[1, 1, 1], [51 / 255, 1.0])
    assert not (tmp_path / "a_probabilities.nii.gz").exists()


def test_a_case_that_is_let_go_leaves_nothing(tmp_path: Path, case: Case) -> None:
    finish(SegmentationWriter(tmp_path), case)
    case.release()
    assert list(tmp_path.iterdir()) == []


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"format: is 'nrrd'.*nii\.gz or seg\.nrrd"):
        SegmentationWriter(tmp_path, format="nrrd")
