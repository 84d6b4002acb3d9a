"""Losses that MONAI does not have."""

from bundle.losses.partial_labels import PartialLabelLoss

__all__ = ["PartialLabelLoss"]
