"""A loss for label maps that leave structures, or voxels, out."""

from __future__ import annotations

import torch
from torch import nn

from bundle.labels import SETS

# the logit of a class that was added to background, where the logits are logarithms of probabilities and the greatest is near 0: no type
# sees its probability (2e-22) beside 1, and a loss that gives each class a share (`label_smoothing`) stays of moderate size
_ADDED = -50.0


class PartialLabelLoss(nn.Module):
    """Any loss of MONAI, on label maps in which some voxels say only what they may be.

    A voxel with a value of `bundle.labels.one_of` counts as its set: the probabilities of background and of the classes of the set are
    added, and the sum is the probability of background (the marginal loss of Shi et al., "Marginal loss and exclusion loss for
    partially supervised multi-organ segmentation", Medical Image Analysis 2021, equation 3). A set of all classes makes a voxel count
    for nothing, as nnU-Net's ignore label does. MONAI's `MaskedLoss` multiplies logits by the mask, which softmax turns into equal
    probabilities, not into none.

    At these voxels the loss is given logarithms of the added probabilities as logits. What comes of it depends on the loss:

    - With a softmax (`DiceLoss`, `DiceCELoss`, `DiceFocalLoss` with `use_softmax`) the marginal loss, exactly: a softmax of such logits is
      the probabilities.
    - With a sigmoid for each class (`DiceFocalLoss` as MONAI has it) a set of all classes is a constant without gradient. For a smaller
      set, of probability P in all, binary cross-entropy is log(1 + P) - log(P) for background and log(1 + p) for each class with
      probability p outside the set. It is least where P is 1. That is no marginal of the sigmoids, which are no probabilities of one class
      out of several and have none.
    - With `label_smoothing` the added classes keep their shares of the smoothing, a constant: 50 x share each. The gradient of a set of all
      classes is none here too.

    Args:
        loss: takes logits of shape (B, C, *spatial) and a label map (B, 1, *spatial), with softmax or sigmoid of its own.
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
        # a sigmoid sees what a softmax does not, a constant that is added to all logits: here it is such that the probabilities' sum is 1
        logits = torch.where(is_set, logits.log_softmax(1), logits)
        outside = torch.finfo(logits.dtype).min / 2
        together = torch.logsumexp(logits.masked_fill(~member & is_set, outside), dim=1, keepdim=True)
        merged = torch.cat([torch.where(is_set, together, logits[:, :1]), logits[:, 1:].masked_fill(member[:, 1:], _ADDED)], dim=1)
        return self.loss(merged, torch.where(is_set, torch.zeros_like(target), target))
