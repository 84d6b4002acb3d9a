"""How sure the network is of each structure: from its own probabilities, and from the labels of the flipped scan."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# probabilities that are held at once, with what is computed of them some 50 MB: of half a million voxels with four classes
SLAB_VALUES = 2**21


class Confidence(NamedTuple):
    """Of one channel: mean and minimum of its probability over the voxels it wins, and the Dice that the probabilities
    themselves predict, 2 sum(p over the voxels it wins) / (sum(p everywhere) + voxels it wins); `calibrated` where it has since been made
    what it was in scored scans (`bundle.inferers.calibration`)."""

    mean: float
    minimum: float
    expected_dice: float
    calibrated: bool = False


def confidence(logits: Tensor) -> list[Confidence | None]:
    """For each channel, how sure the network is of the voxels that it wins; None where it wins none.

    The minimum is on the border to a neighbour, where two classes tie, so it is near 1 / 2 for any structure; the
    expected Dice also counts what the network nearly took. It is as good as the probabilities are calibrated.

    Args:
        logits: (K, X, Y, Z) of one scan, of any floating type; taken slab by slab.
    """
    channels = len(logits)
    voxels = torch.zeros(channels, dtype=torch.float64)
    inside, everywhere = voxels.clone(), voxels.clone()
    lowest = torch.ones(channels)
    for slab in _slabs(logits):
        probability = slab.reshape(channels, -1).float().softmax(dim=0)
        top, winner = (part.cpu() for part in probability.max(dim=0))
        everywhere += probability.sum(dim=1).double().cpu()
        voxels += torch.bincount(winner, minlength=channels)
        inside += torch.bincount(winner, weights=top.double(), minlength=channels)
        lowest.scatter_reduce_(0, winner, top, "amin")
    mean, dice = inside / voxels, 2 * inside / (everywhere + voxels)
    figures = zip(voxels, mean, lowest, dice, strict=True)
    return [Confidence(min(1.0, float(m)), float(least), min(1.0, float(d))) if n > 0 else None for n, m, least, d in figures]


def disagreement(first: Tensor, second: Tensor) -> list[float]:
    """For each channel, 1 - Dice between the labels of two sets of logits (K, X, Y, Z); 0 where both have none."""
    channels = len(first)
    sizes, common = torch.zeros(channels, dtype=torch.int64), torch.zeros(channels, dtype=torch.int64)
    for one, other in zip(_slabs(first), _slabs(second), strict=True):
        # max is five times faster than argmax along the first axis
        a, b = (part.max(dim=0).indices.flatten() for part in (one, other))
        sizes += torch.bincount(a, minlength=channels).cpu() + torch.bincount(b, minlength=channels).cpu()
        common += torch.bincount(a[a == b], minlength=channels).cpu()
    return [1 - 2 * int(both) / int(size) if size else 0.0 for both, size in zip(common, sizes, strict=True)]


def _slabs(logits: Tensor) -> tuple[Tensor, ...]:
    return logits.split(max(1, SLAB_VALUES // max(1, logits[:, 0].numel())), dim=1)
