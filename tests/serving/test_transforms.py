"""`bundle.serving.transforms`: what the server gets beside the label map."""

from __future__ import annotations

import json
import math
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Invertd

from bundle.serving.transforms import NoteConfidenced, ProbabilitiesForScoringd, QualityRecordd
from bundle.transforms import RestoreLabelsd
from bundle.transforms.shape_prior import NOTES

LABELS = {"background": 0, "liver": 7}


def test_confidence_is_the_mean_probability_inside_a_structure() -> None:
    # two voxels: the liver's logit leads by ln 3 in one (probability 3/4), lags by ln 9 in the other
    logits = torch.zeros(2, 2, 1, 1)
    logits[1, 0], logits[1, 1] = math.log(3), -math.log(9)
    noted = NoteConfidenced("pred", LABELS)({"pred": logits})["structure_confidence"]
    assert list(noted) == ["liver"] and noted["liver"][0] == pytest.approx(0.75)


def test_record_measures_the_scan_in_its_file(tmp_path: Path) -> None:
    hu = np.full((20, 20, 20), -1000, dtype=np.int16)
    hu[5:15, 5:15, 5:15] = 60
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(hu, affine), tmp_path / "scan.nii.gz")
    labels = MetaTensor(torch.from_numpy((hu > 0).astype(np.uint8) * 7)[None], affine=torch.as_tensor(affine))
    labels.meta["filename_or_obj"] = str(tmp_path / "scan.nii.gz")
    data = QualityRecordd("pred", LABELS)({"pred": labels, "structure_confidence": {"liver": (0.5, 0.4, 0.45)}})
    liver = data["result"]["structures"]["liver"]
    # 1000 voxels of 2x2x5 mm are 20 ml
    assert liver == {"volume_ml": 20.0, "mean_hu": 60.0, "confidence": 0.5}
    assert data["result"]["review"] is True and any("0.45" in reason for reason in data["result"]["reasons"])
    assert json.loads(json.dumps(data["result"])) == data["result"]
    holes = hu.astype(np.float32)
    holes[:2] = np.nan
    nibabel.save(nibabel.Nifti1Image(holes, affine), tmp_path / "scan.nii.gz")
    labels.meta[NOTES] = [(0.9, "the liver has another shape")]  # as the prior of shapes leaves them, and `cases.csv` has them
    reasons = QualityRecordd("pred", LABELS)({"pred": labels})["result"]["reasons"]
    assert "10% of the scan are not numbers" in reasons and "the liver has another shape" in reasons


def test_scoring_gets_probabilities_on_the_networks_grid() -> None:
    logits = torch.zeros(4, 2, 2, 2)
    logits[1] = math.log(5)
    image = MetaTensor(torch.zeros(1, 2, 2, 2), meta={"spatial_shape": [9, 9, 9]})
    data = ProbabilitiesForScoringd("pred")({"pred": MetaTensor(logits), "image": image})
    # e^ln5 / (5 + 3) and 1 / 8
    assert torch.allclose(data["pred"][1], torch.tensor(5 / 8)) and torch.allclose(data["pred"][0], torch.tensor(1 / 8))
    assert data["image"].meta["spatial_shape"] == [2, 2, 2]


def test_label_maps_pass_scoring_unchanged() -> None:
    image = MetaTensor(torch.zeros(1, 2, 2, 2), meta={"spatial_shape": [9, 9, 9]})
    labels = torch.ones(1, 9, 9, 9, dtype=torch.uint8)
    data = ProbabilitiesForScoringd("pred")({"pred": labels, "image": image})
    assert data["pred"] is labels and data["image"].meta["spatial_shape"] == [9, 9, 9]


def test_the_server_takes_restoring_for_an_inversion() -> None:
    """MONAI Label leaves out what is an Invertd where it scores uncertainty; label maps would give no entropy."""
    assert isinstance(RestoreLabelsd("pred"), Invertd)
