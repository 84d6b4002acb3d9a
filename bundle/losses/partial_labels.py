"""A loss for label maps that leave structures, or voxels, out."""

from __future__ import annotations

import torch
from torch import nn

from bundle.labels import SETS


class PartialLabelLoss(nn.Module):
    """Any loss of MONAI, on label maps in which some voxels say only what they may be.

    A voxel with a value of `bundle.labels.one_of` counts as its set: the probabilities of background and of the classes of the set are
    added, and the sum is the probability of background (the marginal loss of Shi et al., "Marginal loss and exclusion loss for
    partially supervised multi-organ segmentation", Medical Image Analysis 2021, equation 3). A set of all classes makes a voxel count
    for nothing, as nnU-Net's ignore label does. MONAI's `MaskedLoss` multiplies logits by the mask, which softmax turns into equal
    probabilities, not into none.

    Args:
        loss: takes logits of shape (B, C, *spatial) and a label map (B, 1, *spatial), with softmax of its own.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of `logits` (B, C, *spatial) against `target` (B, 1, *spatial), of classes and sets (`bundle.labels.one_of`)."""
        channels = logits.shape[1]
        is_set = target >= SETS
        if channels > SETS or not bool(is_set.any()):  # of more classes these values are classes themselves
            return self.loss(logits, target)
        values = target.long()
        shape = (1, channels - 1) + (1,) * (logits.ndim - 2)
        bits = torch.arange(channels - 1, device=logits.device).view(shape)
        member = is_set & (((values & (SETS - 1)) >> bits) & 1).bool()
        member = torch.cat([is_set, member], dim=1)
        lowest = torch.finfo(logits.dtype).min / 2
        together = torch.logsumexp(logits.masked_fill(~member & is_set, lowest), dim=1, keepdim=True)
        merged = torch.cat([torch.where(is_set, together, logits[:, :1]), logits[:, 1:].masked_fill(member[:, 1:], lowest)], dim=1)
        return self.loss(merged, torch.where(is_set, torch.zeros_like(target), target))
