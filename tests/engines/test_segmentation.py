"""What programs are told of a scan, by hand."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from bundle.engines.case import Case
from bundle.engines.segmentation import case_result, details
from bundle.errors import UserError
from bundle.inferers.confidence import Confidence

LABELS = {"background": 0, "spleen": 2, "kidney": 5, "pancreas": 7}
AFFINE = torch.diag(torch.tensor([2.0, 2.0, 5.0, 1.0], dtype=torch.float64))


@pytest.fixture
def case() -> Case:
    """Spleen of 4 voxels and kidney of 2, of 0.02 ml each, no pancreas; HU of 100 and 150."""
    labels = torch.zeros(1, 6, 5, 4, dtype=torch.uint8)
    labels[0, 2:4, 2:4, 1] = 2
    labels[0, 0, 0, 2:] = 5
    image = torch.zeros(1, 6, 5, 4)
    image[labels == 2], image[labels == 5] = 100.0, 150.0
    scan = MetaTensor(image[0], affine=AFFINE, meta={"orientation_known": False})
    done = Case(
        {"case": "a", "source": "a.nii"},
        data={"image": MetaTensor(image, affine=AFFINE), "pred": MetaTensor(labels, affine=AFFINE)},
        scan=scan,
    )
    done.confidence = [Confidence(0.99, 0.5, 0.98), Confidence(0.9, 0.5, 0.8), Confidence(0.7, 0.5, 0.6), None]
    done.flip_disagreement, done.seconds = [0.0, 0.1, 0.2, 0.0], {"network": 1.5}
    return done


def test_the_result_of_a_case(case):
    result = case_result(case, LABELS, "a.nii")
    assert (result.name, result.source, result.structures) == ("a", "a.nii", {"spleen": 2, "kidney": 5, "pancreas": 7})
    assert result.labels.shape == result.image.shape == (6, 5, 4) and result.affine.tolist() == AFFINE.tolist()
    assert set(result.confidence) == {"spleen", "kidney"} and result.flip_disagreement == {"spleen": 0.1, "kidney": 0.2, "pancreas": 0.0}
    assert result.orientation_known is False and result.not_numbers == 0 and result.seconds == {"network": 1.5}
    case.flip_disagreement = []
    assert case_result(case, LABELS, "a.nii").flip_disagreement is None


def test_voxels_that_were_no_numbers_are_a_reason(case):
    case.scan.meta["not_numbers"] = 12  # of 120
    found = case_result(case, LABELS, "a.nii")
    assert found.not_numbers == 12 and "10% of the scan are not numbers" in details(found).reasons


def test_a_scan_that_no_step_loaded_is_named(case):
    case.scan = None
    with pytest.raises(UserError, match=r"preprocessing: no step of it loads the image.*LoadScand"):
        case_result(case, LABELS, "a.nii")


def test_details_are_measured_on_the_label_map(case):
    found = details(case_result(case, LABELS, "a.nii"))
    spleen, kidney, pancreas = found.structures
    assert (spleen.name, spleen.value, spleen.volume_ml, spleen.mean_hu, spleen.sd_hu) == ("spleen", 2, pytest.approx(0.08), 100, 0)
    assert spleen.centroid_mm == pytest.approx((5, 5, 5)) and spleen.components == 1 and spleen.touches_border is False
    assert (spleen.confidence, spleen.expected_dice, spleen.flip_disagreement) == (0.9, 0.8, 0.1)
    assert kidney.touches_border is True and kidney.volume_ml == pytest.approx(0.04)
    assert (pancreas.volume_ml, pancreas.mean_hu, pancreas.centroid_mm, pancreas.confidence) == (0, None, None, None)
    assert found.review and any("pancreas: not found" in reason for reason in found.reasons) and 0 <= found.score < 1
    assert found["kidney"] is kidney and "labels" not in repr(found)
    with pytest.raises(KeyError, match="liver: the structures are spleen, kidney, pancreas"):
        found["liver"]
