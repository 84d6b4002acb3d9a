"""What MONAI's `CropForegroundd` needs to crop scans to their labels: scans without any, and a margin in mm."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def labelled_or_all(label: torch.Tensor) -> torch.Tensor:
    """Mask of what is not background; of everything where all is background. For `CropForegroundd(select_fn=...)`.

    Without foreground MONAI's box is empty, and so is what it crops. A scan without an organ is a legitimate one, and stays whole.

    Args:
        label: (C, X, Y, Z).

    Returns:
        bool, of the same shape.
    """
    found = label > 0
    return found if bool(found.any()) else torch.ones_like(found)


def margin_voxels(mm: float, spacing: Sequence[float]) -> list[int]:
    """A length in voxels along each axis, to the nearest one. For `CropForegroundd(margin=...)`.

    Args:
        mm: the length in mm.
        spacing: mm from one voxel to the next, for each axis.
    """
    return [round(mm / size) for size in spacing]
