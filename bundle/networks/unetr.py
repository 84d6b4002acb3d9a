"""MONAI's UNETR, which takes one size only, and says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.networks import nets
from torch import Tensor

from bundle.errors import UserError


class UNETR(nets.UNETR):
    """MONAI's `UNETR`, whose attribute `window` is the only size it takes: inference cuts windows of this size.

    Args:
        img_size: spatial size of a training patch and of a window; each a multiple of 16.
        arguments: as MONAI's.
    """

    def __init__(self, in_channels: int, out_channels: int, img_size: Sequence[int], **arguments: Any) -> None:
        super().__init__(in_channels, out_channels, img_size, **arguments)
        self.window = tuple(int(n) for n in img_size)

    def forward(self, x_in: Tensor) -> Tensor:
        """Image (B, in_channels, *img_size) to logits (B, out_channels, *img_size).

        Raises:
            UserError: another size.
        """
        if tuple(x_in.shape[2:]) != self.window:
            problem = f"the network takes patches of {list(self.window)} only, this one has {list(x_in.shape[2:])}"
            raise UserError("network_def", problem, "give --network_def#img_size and --patch_size the same value")
        return super().forward(x_in)
