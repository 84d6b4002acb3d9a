"""Dice plus binary cross-entropy against numbers worked out by hand."""

import math

import pytest
import torch

from bundle.losses import DiceBCELoss

# two voxels, two classes; logits 0 give sigmoid 0.5 and softmax 0.5 everywhere
LOGITS = torch.zeros(1, 2, 2)
TARGET = torch.tensor([[[0, 1]]])


def test_value_by_hand():
    """Dice per class: 2 * 0.5 / (1 + 1) = 0.5; binary cross-entropy: log 2 in every cell."""
    loss = DiceBCELoss(to_onehot_y=True, softmax=True)(LOGITS, TARGET)
    assert loss.item() == pytest.approx(0.5 + math.log(2), abs=1e-4)


@pytest.mark.parametrize(("weights", "expected"), [((1.0, 0.0), 0.5), ((0.0, 1.0), math.log(2)), ((2.0, 0.5), 1.0 + 0.5 * math.log(2))])
def test_weights(weights, expected):
    dice, bce = weights
    loss = DiceBCELoss(to_onehot_y=True, softmax=True, lambda_dice=dice, lambda_bce=bce)(LOGITS, TARGET)
    assert loss.item() == pytest.approx(expected, abs=1e-4)


def test_background_left_out_of_both_terms():
    """Logit 20 for the background everywhere is wrong in one voxel only for channel 0: without it nothing of that shows."""
    logits = LOGITS.clone()
    logits[:, 0] = 20
    loss = DiceBCELoss(include_background=False, to_onehot_y=True, sigmoid=True)(logits, TARGET)
    assert loss.item() == pytest.approx(1 - 2 * 0.5 / (1 + 1) + math.log(2), abs=1e-4)


def test_gradient_points_to_the_target():
    logits = LOGITS.clone().requires_grad_()
    DiceBCELoss(to_onehot_y=True, softmax=True)(logits, TARGET).backward()
    assert (torch.sign(logits.grad[0]) == torch.tensor([[-1, 1], [1, -1]])).all()


def test_negative_weight_is_refused():
    with pytest.raises(ValueError, match="lambda_bce"):
        DiceBCELoss(lambda_bce=-1)
