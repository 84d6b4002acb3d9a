"""The loss for label maps that leave structures out, by hand and against sums of probabilities."""

from __future__ import annotations

import pytest
import torch
from monai.losses import DiceCELoss, DiceLoss
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
