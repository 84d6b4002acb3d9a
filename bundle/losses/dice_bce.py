"""Dice plus binary cross-entropy, class by class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.losses import DiceLoss
from monai.networks import one_hot


class DiceBCELoss(torch.nn.Module):
    """Dice loss plus binary cross-entropy of every class against the rest.

    loss = lambda_dice * Dice + lambda_bce * mean over voxels and classes of BCE(sigmoid(logit), one-hot).
    MONAI's `DiceCELoss` takes binary cross-entropy only for networks of one channel. The arguments it shares with
    `DiceLoss` and `DiceCELoss` have the same names, so that in a config only `_target_` changes.

    Args:
        include_background: whether channel 0 counts, in both terms.
        to_onehot_y: whether the target holds class indices (B, 1, ...) instead of one channel per class.
        softmax, sigmoid: activation before the Dice term.
        lambda_dice, lambda_bce: weights of the two terms, at least 0.
        batch: sum intersection and union over the batch before dividing.

    Raises:
        ValueError: a weight is below 0.
    """

    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        softmax: bool = False,
        sigmoid: bool = False,
        *,
        lambda_dice: float = 1.0,
        lambda_bce: float = 1.0,
        batch: bool = False,
    ) -> None:
        super().__init__()
        if lambda_dice < 0 or lambda_bce < 0:
            raise ValueError(f"weights must be at least 0, got lambda_dice={lambda_dice}, lambda_bce={lambda_bce}")
        self.dice = DiceLoss(include_background=include_background, softmax=softmax, sigmoid=sigmoid, batch=batch)
        self.include_background, self.to_onehot_y = include_background, to_onehot_y
        self.lambda_dice, self.lambda_bce = lambda_dice, lambda_bce

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Logits (B, K, ...) and target (B, 1, ...) or (B, K, ...) to a scalar."""
        if self.to_onehot_y:
            target = one_hot(target, num_classes=input.shape[1])
        first = 0 if self.include_background else 1
        bce = F.binary_cross_entropy_with_logits(input[:, first:].float(), target[:, first:].float())
        return self.lambda_dice * self.dice(input, target) + self.lambda_bce * bce
