"""A network that looks at a volume in several sizes: the mean of its logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bundle.errors import UserError
from bundle.networks.blocks import resize
from bundle.networks.ensemble import mean_of_logits, take_over
from bundle.networks.sizes import fitted, window_of

# further away from the size that a network was trained at, organs are not what it knows
SMALLEST, LARGEST = 0.5, 2.0


class Zoomed(nn.Module):
    """The mean of a network's logits for a volume as it is and resampled to other sizes, each brought back: test-time augmentation.

    At most two sets of logits of the volume's size exist at once. MONAI's `TestTimeAugmentation` draws its changes at random, and wants
    transforms with inverses and a data set of its own; this is a network, for any inferer.

    Args:
        network: in evaluation mode; one that takes multiples of some number gets the last voxels of each size repeated.
        zooms: factors of the spatial sizes, one pass each, besides the volume as it is.

    Raises:
        UserError: there are no factors, or one is not from 0.5 to 2, or is 1; the network takes one size only.
    """

    def __init__(self, network: nn.Module, zooms: Sequence[float]) -> None:
        super().__init__()
        if not isinstance(zooms, (list, tuple)) or not zooms or not all(_is_factor(zoom) for zoom in zooms):
            fix = f"give a list of numbers from {SMALLEST:g} to {LARGEST:g} other than 1, such as [0.9, 1.1]"
            raise UserError("network#zooms", f"is {zooms!r}", fix)
        if size := window_of(network):
            raise UserError("network_def", f"it takes volumes of {'x'.join(map(str, size))} only, in no other size", "leave out the zooms")
        self.network, self.zooms = network, [float(zoom) for zoom in zooms]
        take_over(self, network)
        own = getattr(network, "bytes_per_voxel", None)
        if own is not None:
            # the largest pass, and the logits that wait, in float32
            waiting = 4.0 * int(getattr(network, "out_channels", 4))
            self.bytes_per_voxel = max(1.0, *self.zooms) ** 3 * (own + waiting) + waiting

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K, *spatial), float32, of x (B, C, *spatial)."""
        return mean_of_logits(self._seen(x, zoom) for zoom in (1.0, *self.zooms))

    def _seen(self, x: Tensor, zoom: float) -> Tensor:
        size = list(x.shape[2:])
        layout = torch.channels_last_3d if len(size) == 3 else torch.channels_last
        zoomed = resize(x, [max(1, round(zoom * length)) for length in size], False)
        return resize(fitted(self.network, zoomed.contiguous(memory_format=layout)).float(), size, False)


def _is_factor(zoom: object) -> bool:
    return isinstance(zoom, (int, float)) and not isinstance(zoom, bool) and SMALLEST <= zoom <= LARGEST and zoom != 1
