"""A classifier's doubts about a scan reach the review flag, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bundle.engines.case import Case
from bundle.engines.segmentation import case_result
from bundle.errors import UserError
from bundle.handlers.inference.class_check import ClassCheck, doubts, settings
from bundle.networks import AttentionSononet
from bundle.networks.weights import write_checkpoint
from bundle.networks.weights.classifier import LearntWith

REGIONS = ["pelvis", "abdomen", "thorax"]


@pytest.mark.parametrize(
    ("found", "expected", "reason"),
    [
        ([0.95, 0.03, 0.02], ["abdomen"], "the scan looks like pelvis, not abdomen (probability 0.97)"),
        ([0.60, 0.05, 0.35], ["abdomen"], "the scan looks like pelvis, not abdomen (probability 0.95)"),
        ([0.80, 0.15, 0.05], ["abdomen"], None),
        ([0.02, 0.03, 0.95], ["abdomen", "thorax"], None),
        ([0.95, 0.03, 0.02], ["abdomen", "thorax"], "the scan looks like pelvis, not abdomen or thorax (probability 0.95)"),
        ([0.95, 0.03, 0.02], REGIONS, None),
    ],
)
def test_sure_of_something_else(found: list[float], expected: list[str], reason: str | None) -> None:
    assert [words for _, words in doubts(dict(zip(REGIONS, found, strict=True)), expected, 0.9)] == ([] if reason is None else [reason])


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A classifier whose answer is always pelvis, with a probability of 1 to 4 digits."""
    network = AttentionSononet(3, 1, 3, channels=[2, 2, 2, 2], convolutions=[1, 1, 1, 1, 1], aggregation="concat")
    torch.nn.init.zeros_(network.classifier.weight)
    network.classifier.bias.data = torch.tensor([20.0, 0.0, 0.0])
    seen = {"classes": REGIONS, "spatial_dims": 3, "spacing": [10, 10, 10], "hu_range": [-200, 300], "patch_size": [16, 16, 16]}
    path = tmp_path / "region.pt"
    write_checkpoint({"model": network.state_dict(), "learnt_with": LearntWith(network, **seen).state_dict()}, path)
    return path


def a_case() -> Case:
    """16 voxels of 10 mm a side, a spleen in it."""
    affine = torch.diag(torch.tensor([10.0, 10.0, 10.0, 1.0], dtype=torch.float64))
    labels = torch.zeros(1, 16, 16, 16, dtype=torch.uint8)
    labels[:, 4:8, 4:8, 4:8] = 1
    scan = torch.full((16, 16, 16), -1000.0)
    scan[2:14, 2:14] = 50.0
    meta = {"original_affine": affine, "spatial_shape": np.array([16, 16, 16])}
    case = Case({"case": "a", "source": "a.nii.gz"}, {"image": MetaTensor(scan[None], affine=affine, meta=meta)})
    case.data["pred"], case.scan = MetaTensor(labels, affine=affine), MetaTensor(scan, affine=affine)
    return case


def test_the_reason_is_in_the_judgement_of_the_case(weights: Path) -> None:
    case, other = a_case(), a_case()
    ClassCheck(weights, ["abdomen"]).predicted(case)
    ClassCheck(weights, ["pelvis"]).predicted(other)
    with_doubt, without = (case_result(one, {"background": 0, "spleen": 1}, "a.nii.gz").judgement for one in (case, other))
    words = "the scan looks like pelvis, not abdomen (probability 1.00)"
    assert set(with_doubt.reasons) - set(without.reasons) == {words} and set(without.reasons) <= set(with_doubt.reasons)
    assert with_doubt.score == pytest.approx(0.3 * without.score)


def test_what_goes_wrong_costs_no_result(weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    case = a_case()
    case.scan = MetaTensor(torch.zeros(3, 3))
    ClassCheck(weights, ["abdomen"]).predicted(case)
    assert "the classifier could not look at it" in caplog.text
    assert case.notes == [(0.95, "the classifier of scans could not look at it")], "a check that was asked for and not made is told"


def test_classes_that_the_weights_do_not_know(weights: Path) -> None:
    with pytest.raises(UserError, match=r"liver is none of the classes of .*region.pt \(pelvis, abdomen, thorax\)"):
        ClassCheck(weights, ["liver"])


def test_settings_are_none_without_a_classifier(weights: Path) -> None:
    assert settings(None, ["abdomen"], 0.9) is None
    found = settings(weights, ["abdomen"], 0.9)
    assert found is not None and len(found["weights"]) == 64 and found["expected"] == ["abdomen"] and found["sure"] == 0.9
