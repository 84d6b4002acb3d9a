"""A loss for label maps that leave structures, or voxels, out."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

#: a label map's values from here on are sets of classes: `SETS` plus 2 to the power of c - 1 for each class c, beside the background
SETS = 128
#: classes that fit into the set of a value of 8 bits
MOST_CLASSES = 7


def one_of(classes: Iterable[int]) -> int:
    """The value of a voxel that is background or one of `classes` (1 to 7), nobody said which; 128 for no class is plain background."""
    value = SETS
    for one in classes:
        if not 1 <= one <= MOST_CLASSES:
            raise ValueError(f"class {one} can't be left open: only 1 to {MOST_CLASSES} can")
        value |= 1 << (one - 1)
    return value


class PartialLabelLoss(nn.Module):
    """Any loss of MONAI, on label maps in which some voxels say only what they may be.

    A voxel with a value of `one_of` counts as its set: the probabilities of background and of the classes of the set are added, and
    the sum is the probability of background (the marginal loss of Shi et al., "Marginal loss and exclusion loss for partially
    supervised multi-organ segmentation", Medical Image Analysis 2021, equation 3). A set of all classes makes a voxel count for
    nothing, as nnU-Net's ignore label does. MONAI's `MaskedLoss` multiplies logits by the mask, which softmax turns into equal
    probabilities, not into none.

    Args:
        loss: takes logits of shape (B, C, *spatial) and a label map (B, 1, *spatial), with softmax of its own.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of `logits` (B, C, *spatial) against `target` (B, 1, *spatial), whose values are classes or sets of `one_of`."""
        is_set = target >= SETS
        if not bool(is_set.any()):
            return self.loss(logits, target)
        values = target.long()
        channels = logits.shape[1]
        shape = (1, channels - 1) + (1,) * (logits.ndim - 2)
        bits = torch.arange(channels - 1, device=logits.device).view(shape)
        member = is_set & (((values & (SETS - 1)) >> bits) & 1).bool()
        member = torch.cat([is_set, member], dim=1)
        lowest = torch.finfo(logits.dtype).min / 2
        together = torch.logsumexp(logits.masked_fill(~member & is_set, lowest), dim=1, keepdim=True)
        merged = torch.cat([torch.where(is_set, together, logits[:, :1]), logits[:, 1:].masked_fill(member[:, 1:], lowest)], dim=1)
        return self.loss(merged, torch.where(is_set, torch.zeros_like(target), target))
