"""The gates' coefficients of a volume, beside its logits, however the network sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from monai.inferers import Inferer
from torch import Tensor

from bundle.errors import UserError
from bundle.networks.fast.convolve import channels_last

if TYPE_CHECKING:
    from bundle.networks import AttentionUnet

FIX = "use the default network with one checkpoint, not an exported network, an ensemble or the plain U-Net"


def with_attention(volume: Tensor, network: Callable[[Tensor], Tensor], inferer: Inferer) -> tuple[Tensor, dict[int, Tensor]]:
    """Logits, and the coefficients by level; they are further channels for the inferer, so that windows are blended for both alike.

    Args:
        volume: (1, C, X, Y, Z), on the network's device.
        network: an `AttentionUnet` with gates.
        inferer: how the network sees the volume.

    Returns:
        Logits (K, X, Y, Z), and by level (2 is the finest that has gates) the coefficients (channels, X, Y, Z) of its gates, one
        after the other; a gate has one channel, of some variants as many as its skip.

    Raises:
        UserError: the network has no gates to look at.
    """
    check_gates(network)
    gated = cast("AttentionUnet", network)
    both = _LogitsAndMaps(gated)
    # the inferer lays out modules, not functions
    channels_last(gated)
    channels, counts = inferer(volume, both)[0], both.counts
    start = len(channels) - sum(counts.values())
    logits, found = channels[:start].clone(), {}
    for level, count in counts.items():
        found[level] = channels[start : start + count]
        start += count
    return logits, found


def check_gates(network: Callable[[Tensor], Tensor]) -> None:
    """Refuse a network without gates to look at.

    Raises:
        UserError: it is such a one.
    """
    if not getattr(network, "num_gates", 0) or not hasattr(network, "attention"):
        raise UserError("attention", "this network has no gates to show", FIX)


class _LogitsAndMaps:
    """Logits and coefficients of a network as channels of one volume; of any size, in the steps that the network itself takes.

    Attributes:
        counts: channels of the coefficients by level, once it was called.
    """

    def __init__(self, network: AttentionUnet) -> None:
        self.network, self.multiple = network, network.multiple
        gates: Any = network.skips
        self.out_channels = network.out_channels + sum(skip.coefficients_per_voxel for skip in gates)
        # logits and coefficients, before and after they are joined, in float32
        self.bytes_per_voxel = network.bytes_per_voxel + 8.0 * self.out_channels
        self.counts: dict[int, int] = {}

    def __call__(self, x: Tensor) -> Tensor:
        logits, maps = self.network.attention(x)
        self.counts = {level: maps[level].resampled.shape[1] for level in sorted(maps)}
        return torch.cat([logits.float(), *(maps[level].resampled.float() for level in self.counts)], 1)
