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
        # what inferers ask a network for, where it says it
        for name in ("multiple", "window", "out_channels"):
            if hasattr(first, name):
                setattr(self, name, getattr(first, name))
        own = getattr(first, "bytes_per_voxel", None)
        if own is not None:
            # the logits of those before wait in float32
            self.bytes_per_voxel = own + 4.0 * int(getattr(first, "out_channels", 4))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K, *spatial), float32, of x (B, C, *spatial)."""
        total: Tensor = self.networks[0](x).float()
        for network in self.networks[1:]:
            logits = network(x).float()
            total = total + logits if torch.is_grad_enabled() else total.add_(logits)
            del logits
        return total / len(self.networks) if torch.is_grad_enabled() else total.div_(len(self.networks))
