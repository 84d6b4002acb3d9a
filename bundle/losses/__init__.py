"""Losses that MONAI lacks."""

from bundle.losses.dice_bce import DiceBCELoss

__all__ = ["DiceBCELoss"]
