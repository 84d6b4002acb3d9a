"""Intensities to mean 0 and standard deviation 1, with the body's own statistics."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms import MapTransform, Transform

from bundle.errors import UserError


class NormalizeBody(Transform):
    """Clip to a window of HU, then scale so that the body's voxels have mean 0 and standard deviation 1.

    MONAI's `NormalizeIntensity` can leave out zeros, not what is at the window's lower end. Here statistics come only from
    voxels above `hu_range[0]`, so the amount of air around the body does not change what the network sees. Voxels that are
    no numbers count as air. A constant image, and one without any body, becomes zeros.

    Args:
        hu_range: lower and upper end of the window, in HU.

    Raises:
        UserError: the range is empty.
    """

    def __init__(self, hu_range: Sequence[float] = (-200.0, 300.0)) -> None:
        self.low, self.high = (float(value) for value in hu_range)
        if not self.low < self.high:
            raise UserError("hu_range", f"{tuple(hu_range)} is not a range", "give the lower end first")

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Return a float32 image of the same shape; the one given stays as it is."""
        plain = image.as_tensor() if isinstance(image, MetaTensor) else torch.as_tensor(image)
        clipped = torch.nan_to_num(plain.float(), nan=self.low).clamp_(self.low, self.high)
        body = clipped[clipped > self.low]
        # too many voxels for float32 sums of squares: the mean is taken off first, as `std` does
        sd = body.std(correction=0) if body.numel() else torch.zeros(())
        # a constant float32 image can have a tiny sd from rounding, hence not `> 0`
        scaled = clipped.sub_(body.mean()).div_(sd) if float(sd) > 1e-4 else torch.zeros_like(clipped)
        return MetaTensor(scaled).copy_meta_from(image) if isinstance(image, MetaTensor) else scaled


class NormalizeBodyd(MapTransform):
    """Dictionary version of `NormalizeBody`: each key is clipped to `hu_range` and scaled by its own body's statistics.

    Args:
        keys: images (C, X, Y, Z) in HU.
        hu_range: lower and upper end of the window, in HU.
        allow_missing_keys: do not raise where a key is missing.
    """

    def __init__(self, keys: KeysCollection, hu_range: Sequence[float] = (-200.0, 300.0), allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.normalize = NormalizeBody(hu_range)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Scale every key."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.normalize(d[key])
        return d
