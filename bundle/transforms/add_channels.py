"""Further channels of a case, brought to the first one's grid."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms import MapTransform, NormalizeIntensity, ResampleToMatch

from bundle import grids
from bundle.channels import Block, Channel, channels_of
from bundle.errors import UserError
from bundle.images.voxels import AIR
from bundle.transforms.normalize_body import NormalizeBody

# a tumour of SUV 5 is 1, about what an organ in the CT differs from the body
SUV_UNIT = 5.0


class AddChannelsd(MapTransform):
    """Put further channels behind the image: each is resampled to its grid once, and normalised by the rule of its kind.

    MONAI's `ResampleToMatchd` and `ConcatItemsd` with what they leave open: a channel that is somewhere else is an error instead of
    zeros, what a channel does not reach is air or nothing taken up, and each kind has its own rule:

    - ct: as `NormalizeBody`, with its own body's statistics;
    - pet: SUV clipped to its range (0 to 20), divided by 5, so that one SUV is the same number in every patient;
    - mr: mean 0 and standard deviation 1 of what is not 0 (MONAI's `NormalizeIntensity`);
    - plain: as it is.

    Args:
        keys: the image (1, X, Y, Z), normalised, at its final grid; it becomes (C, X, Y, Z), float32.
        channels: the `channels` block, whose first is the image; the others are in the item `channels`, name to a `MetaTensor`
            (X, Y, Z) with its affine. This item goes.
        hu_range: lower and upper end of the window of further CT, in HU.
        allow_missing_keys: do not raise where a key is missing.

    Raises:
        UserError: a channel is missing, or has no place in common with the image.
    """

    def __init__(
        self,
        keys: KeysCollection,
        channels: Block = None,
        hu_range: Sequence[float] = (-200.0, 300.0),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.channels, self.normalize = channels_of(channels), NormalizeBody(hu_range)
        self.resample = ResampleToMatch(mode="bilinear", padding_mode="zeros", dtype=np.float32)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the channels to every key."""
        d = dict(data)
        given = d.pop("channels", None) or {}
        for key in self.key_iterator(d):
            image = d[key]
            parts = [_plain(image).float()]
            for channel in self.channels[1:]:
                if not isinstance(given.get(channel.name), MetaTensor):
                    problem = f"the channel {channel.name} was not loaded with it"
                    raise UserError(_file(image, key), problem, "give paths, or a network of one channel (docs/channels.md)")
                parts.append(self.matched(given[channel.name], image, channel))
            d[key] = MetaTensor(torch.cat(parts)).copy_meta_from(image)
        return d

    def matched(self, volume: MetaTensor, image: MetaTensor, channel: Channel) -> torch.Tensor:
        """A channel (X, Y, Z), normalised, on the grid of the image (C, X, Y, Z): (1, X, Y, Z), float32."""
        grid, other = (tuple(image.shape[1:]), image.affine.numpy()), (tuple(volume.shape), volume.affine.numpy())
        if not grids.covered(*grid, *other):
            problem = (
                f"the {channel.name} has no place in common with the body in the CT ({grids.describe(*other)}; {grids.describe(*grid)})"
            )
            fix = "make sure that both are of one patient and one frame of reference"
            raise UserError(_file(volume, channel.name), problem, fix)
        # zeros are what MONAI puts outside
        outside = AIR if channel.kind == "ct" else 0.0
        moved = MetaTensor(_plain(volume).float()[None] - outside, affine=volume.affine)
        values = _plain(self.resample(moved, image)) + outside
        if channel.kind == "ct":
            return self.normalize(values)
        if channel.kind == "pet":
            low, high = channel.range
            return values.clamp_(low, high).sub_(low).div_(SUV_UNIT)
        return _plain(torch.as_tensor(NormalizeIntensity(nonzero=True)(values))) if channel.kind == "mr" else values


def _plain(image: torch.Tensor) -> torch.Tensor:
    return image.as_tensor() if isinstance(image, MetaTensor) else image


def _file(image: torch.Tensor, name: Hashable) -> str:
    return str(getattr(image, "meta", {}).get("filename_or_obj", name))
