"""How sure the network is of each structure: from its own probabilities, and from the labels of the flipped scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch

# voxels whose probabilities of all classes are held at once
SLAB_VOXELS = 2**21


class Confidence(NamedTuple):
    """Of one structure: mean and minimum probability of the structure over the voxels that carry its label, and the
    Dice that the probabilities themselves predict: 2 sum(p inside) / (sum(p everywhere) + voxels inside)."""

    mean: float
    minimum: float
    expected_dice: float


def structure_confidence(logits: torch.Tensor | np.ndarray, names: Sequence[str]) -> dict[str, Confidence]:
    """Confidence in each structure that the network found; structures that no voxel got are left out.

    The minimum lies on the border to a neighbour, where two classes tie, so it is near 1 / 2 for any structure; the
    expected Dice also counts what the network nearly took. It is as good as the probabilities are calibrated.

    Args:
        logits: (C, *spatial) of one scan, on any grid and of any floating type; taken slab by slab.
        names: of the C channels, the background first.

    Raises:
        ValueError: the number of names is not C.
    """
    import torch

    logits = torch.as_tensor(logits)
    channels = logits.shape[0]
    if len(names) != channels:
        raise ValueError(f"{channels} channels but {len(names)} names: {list(names)}")
    voxels = torch.zeros(channels, dtype=torch.float64)
    inside, everywhere = voxels.clone(), voxels.clone()
    lowest = torch.ones(channels)
    step = max(1, SLAB_VOXELS // max(1, logits[0, 0].numel()))
    for start in range(0, logits.shape[1], step):
        probability = logits[:, start : start + step].reshape(channels, -1).float().softmax(dim=0)
        top, channel = probability.max(dim=0)
        top, channel = top.cpu(), channel.cpu()
        everywhere += probability.sum(dim=1).double().cpu()
        voxels += torch.bincount(channel, minlength=channels)
        inside += torch.bincount(channel, weights=top.double(), minlength=channels)
        lowest.scatter_reduce_(0, channel, top, "amin")
    found = {}
    for index, name in enumerate(names):
        if index and voxels[index] > 0:
            dice = 2 * inside[index] / (everywhere[index] + voxels[index])
            found[name] = Confidence(float(inside[index] / voxels[index]), float(lowest[index]), float(dice))
    return found


def flip_disagreement(labels: np.ndarray, of_flipped: np.ndarray, structures: Mapping[str, int]) -> dict[str, float]:
    """1 - Dice of each structure between two label maps on one grid: the scan's, and the flipped scan's, flipped back.

    A structure that neither has is left out; one that only one of them has disagrees by 1.
    """
    if labels.shape != of_flipped.shape:
        raise ValueError(f"label maps of different shapes: {labels.shape} and {of_flipped.shape}")
    disagreement = {}
    for name, value in structures.items():
        if value == 0:
            continue
        one, other = labels == value, of_flipped == value
        total = int(np.count_nonzero(one)) + int(np.count_nonzero(other))
        if total:
            disagreement[name] = 1.0 - 2.0 * int(np.count_nonzero(one & other)) / total
    return disagreement
