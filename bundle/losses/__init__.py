"""Losses that MONAI does not have."""

from bundle.losses.partial_labels import PartialLabelLoss, one_of

__all__ = ["PartialLabelLoss", "one_of"]
