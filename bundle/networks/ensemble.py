"""Several networks as one: the mean of their logits."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """The mean of the logits of networks with the same classes, one network after the other.

    At most two sets of logits exist at once, and the layers of one network: the memory of a pass does not grow with the number of networks.

    Args:
        networks: two or more.

    Raises:
        ValueError: fewer than two.
    """

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        if len(self.networks) < 2:
            raise ValueError("an ensemble has two networks or more.")
        first = self.networks[0]
        take_over(self, first)
        own = getattr(first, "bytes_per_voxel", None)
        if own is not None:
            # the logits of those before wait in float32
            self.bytes_per_voxel = own + 4.0 * int(getattr(first, "out_channels", 4))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K, *spatial), float32, of x (B, C, *spatial)."""
        return mean_of_logits(network(x) for network in self.networks)


def take_over(made: nn.Module, network: nn.Module) -> None:
    """Give a network that is made of another what inferers ask that one for, where it says it."""
    for name in ("multiple", "window", "out_channels"):
        if hasattr(network, name):
            setattr(made, name, getattr(network, name))


def mean_of_logits(parts: Iterable[Tensor]) -> Tensor:
    """The mean in float32 of logits of one shape, which come one after the other: without gradients at most two of them exist at once."""
    total, count = torch.empty(0), 0
    for logits in parts:
        logits = logits.float()
        if count == 0:
            total = logits
        else:
            total = total + logits if torch.is_grad_enabled() else total.add_(logits)
        count += 1
        del logits
    return total / count if torch.is_grad_enabled() else total.div_(count)
