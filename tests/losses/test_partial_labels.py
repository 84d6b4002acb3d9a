"""The loss for label maps that leave structures out, by hand and against sums of probabilities."""

from __future__ import annotations

import math

import pytest
import torch
from monai.losses import DiceCELoss, DiceFocalLoss, DiceLoss, FocalLoss, GeneralizedDiceLoss, TverskyLoss
from torch.nn.functional import cross_entropy

from bundle.labels import one_of
from bundle.losses import PartialLabelLoss


def _dice_ce() -> DiceCELoss:
    return DiceCELoss(include_background=True, to_onehot_y=True, softmax=True)


def test_a_whole_label_map_has_the_loss_itself() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 4, 3, 4, 5), torch.randint(0, 4, (2, 1, 3, 4, 5))
    assert torch.equal(PartialLabelLoss(_dice_ce())(logits, target), _dice_ce()(logits, target))


def test_the_probabilities_of_a_set_are_added() -> None:
    # p = 0.1, 0.2, 0.3, 0.4; background or class 2: 0.1 + 0.3
    logits = torch.tensor([0.1, 0.2, 0.3, 0.4]).log().view(1, 4, 1, 1, 1)
    target = torch.full((1, 1, 1, 1, 1), one_of([2]))

    class CrossEntropy(torch.nn.Module):
        def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return cross_entropy(logits, target[:, 0].long())

    assert float(PartialLabelLoss(CrossEntropy())(logits, target)) == pytest.approx(-torch.tensor(0.4).log().item(), abs=1e-6)


def test_a_structure_left_open_has_the_loss_of_a_network_without_it() -> None:
    """With class 2 open everywhere else, the loss is that of three classes whose background is background or class 2."""
    torch.manual_seed(1)
    logits = torch.randn(1, 3, 4, 4, 4)
    target = torch.randint(0, 2, (1, 1, 4, 4, 4))
    open_target = torch.where(target == 0, one_of([2]), target)
    probabilities = logits.softmax(1)
    # class 2 is left only in the voxels of class 1
    kept = torch.where(target == 1, probabilities[:, 2:], 0.0)
    background = torch.where(target == 0, probabilities[:, :1] + probabilities[:, 2:], probabilities[:, :1])
    merged = torch.cat([background, probabilities[:, 1:2], kept], 1)
    expected = DiceLoss(to_onehot_y=True)(merged, target)
    got = PartialLabelLoss(DiceLoss(to_onehot_y=True, softmax=True))(logits, open_target)
    assert float(got) == pytest.approx(float(expected), abs=1e-6)


def test_voxels_that_may_be_anything_have_no_gradient_and_the_others_have_one() -> None:
    torch.manual_seed(2)
    logits = torch.randn(1, 4, 2, 2, 2, requires_grad=True)
    target = torch.zeros(1, 1, 2, 2, 2, dtype=torch.uint8)
    target[..., 0] = one_of([1, 2, 3])
    target[..., 0, 0, 1] = 1
    PartialLabelLoss(_dice_ce())(logits, target).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
    assert logits.grad[..., 0].abs().max() < 1e-6
    assert (logits.grad[..., 1].abs().sum(1) > 0).all()


def test_it_trains_in_bfloat16() -> None:
    logits = torch.randn(1, 4, 2, 2, 2).bfloat16().requires_grad_()
    target = torch.full((1, 1, 2, 2, 2), one_of([1]), dtype=torch.uint8)
    PartialLabelLoss(_dice_ce())(logits, target).backward()
    assert torch.isfinite(logits.grad).all()


# p = 0.1, 0.2, 0.3, 0.4 of one voxel; a softmax does not see the 5
LOGITS = torch.tensor([0.1, 0.2, 0.3, 0.4]).log().add(5.0).view(1, 4, 1, 1, 1)


def _at_one_voxel(loss: torch.nn.Module, value: int) -> tuple[float, list[float]]:
    """The loss of that voxel with this label, and its gradient."""
    logits = LOGITS.clone().requires_grad_()
    got = PartialLabelLoss(loss)(logits, torch.full((1, 1, 1, 1, 1), value))
    got.backward()
    assert logits.grad is not None
    return float(got), logits.grad.flatten().tolist()


def test_binary_cross_entropy_of_a_set_by_hand() -> None:
    # background or class 2: P = 0.4; the others 0.2 and 0.4; class 2 is nothing. MONAI's mean is over voxels and classes
    value, gradient = _at_one_voxel(FocalLoss(to_onehot_y=True, gamma=0.0), one_of([2]))
    assert value == pytest.approx((math.log(1.4) - math.log(0.4) + math.log(1.2) + 0.0 + math.log(1.4)) / 4, abs=1e-6)
    # d/dP = 1/1.4 - 1/0.4 and d/dp = 1/(1 + p), through the softmax: p_k (g_k - sum of p g)
    slopes = [1 / 1.4 - 1 / 0.4, 1 / 1.2, 1 / 1.4 - 1 / 0.4, 1 / 1.4]
    mean = 0.1 * slopes[0] + 0.2 * slopes[1] + 0.3 * slopes[2] + 0.4 * slopes[3]
    expected = [p * (slope - mean) / 4 for p, slope in zip([0.1, 0.2, 0.3, 0.4], slopes, strict=True)]
    assert gradient == pytest.approx(expected, abs=1e-6)
    assert gradient[0] < 0 and gradient[2] < 0 and gradient[1] > 0 and gradient[3] > 0


def test_binary_cross_entropy_of_a_class_is_that_of_the_logits_themselves() -> None:
    target = torch.tensor([one_of([2]), 1]).view(1, 1, 2, 1, 1)
    logits = torch.cat([LOGITS, LOGITS], dim=2)
    # of the second voxel softplus of each logit, less the logit of its class
    known = sum(math.log1p(math.exp(logit)) for logit in LOGITS.flatten().tolist()) - float(LOGITS[0, 1])
    unsure = math.log(1.4) - math.log(0.4) + math.log(1.2) + math.log(1.4)
    got = PartialLabelLoss(FocalLoss(to_onehot_y=True, gamma=0.0))(logits, target)
    assert float(got) == pytest.approx((known + unsure) / 8, rel=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        DiceLoss(to_onehot_y=True, softmax=True),
        DiceCELoss(to_onehot_y=True, softmax=True),
        DiceCELoss(to_onehot_y=True, softmax=True, label_smoothing=0.1),
        DiceFocalLoss(to_onehot_y=True, softmax=True, gamma=0.0),  # the overlay loss_dice_bce
        DiceFocalLoss(to_onehot_y=True, softmax=True, gamma=2.0),
        GeneralizedDiceLoss(to_onehot_y=True, softmax=True),
        TverskyLoss(to_onehot_y=True, softmax=True),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_set_of_all_classes_teaches_no_loss_anything(loss: torch.nn.Module, dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    logits = torch.randn(2, 4, 3, 4, 5).mul(3).to(dtype).requires_grad_()
    got = PartialLabelLoss(loss)(logits, torch.full((2, 1, 3, 4, 5), one_of([1, 2, 3]), dtype=torch.uint8))
    got.backward()
    assert logits.grad is not None and math.isfinite(got)
    assert float(logits.grad.norm()) < (1e-6 if dtype == torch.float32 else 1e-3)


def test_label_smoothing_by_hand() -> None:
    # shares 0.925 of background and 0.025 of each other class; class 2 was added to background
    value, _ = _at_one_voxel(_smoothed(), one_of([2]))
    expected = -0.925 * math.log(0.4) - 0.025 * (math.log(0.2) + math.log(0.4)) + 0.025 * 50
    assert value == pytest.approx(expected, abs=1e-5)
    # of a set of all classes the shares of three classes are left
    value, gradient = _at_one_voxel(_smoothed(), one_of([1, 2, 3]))
    assert value == pytest.approx(3 * 0.025 * 50, abs=1e-5)
    assert gradient == pytest.approx([0.0] * 4, abs=1e-7)


def _smoothed() -> DiceCELoss:
    return DiceCELoss(to_onehot_y=True, softmax=True, lambda_dice=0.0, label_smoothing=0.1)


def test_a_network_that_is_very_sure_of_something_else_learns_still() -> None:
    """Background or class 2, of probability e**-200: a loss of 200, and its whole gradient."""
    logits = torch.tensor([-200.0, 0.0, -250.0, -300.0]).view(1, 4, 1, 1, 1).requires_grad_()
    loss = PartialLabelLoss(DiceCELoss(to_onehot_y=True, softmax=True, lambda_dice=0.0))
    got = loss(logits, torch.full((1, 1, 1, 1, 1), one_of([2])))
    got.backward()
    assert float(got) == pytest.approx(200.0)
    assert logits.grad is not None and logits.grad.flatten().tolist() == pytest.approx([-1.0, 1.0, 0.0, 0.0], abs=1e-6)
