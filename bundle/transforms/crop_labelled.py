"""What MONAI's `CropForegroundd` needs to crop scans to their labels: scans without any, and a margin in mm."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bundle.labels import SETS


def labelled_or_all(label: torch.Tensor) -> torch.Tensor:
    """Mask of what is a structure; of everything where nothing is. For `CropForegroundd(select_fn=...)`.

    Without foreground MONAI's box is empty, and so is what it crops. A scan without an organ is a legitimate one, and stays whole.
    Voxels that leave open what they are (`bundle.labels.one_of`) may be background: in partly labelled cases most of them are.

    Args:
        label: (C, X, Y, Z), of `MapLabelsd`, of no more than 127 structures.

    Returns:
        bool, of the same shape.
    """
    found = (label > 0) & (label < SETS)
    return found if bool(found.any()) else torch.ones_like(found)


def margin_voxels(mm: float, spacing: Sequence[float]) -> list[int]:
    """A length in voxels along each axis, to the nearest one. For `CropForegroundd(margin=...)`.

    Args:
        mm: the length in mm.
        spacing: mm from one voxel to the next, for each axis.
    """
    return [round(mm / size) for size in spacing]
