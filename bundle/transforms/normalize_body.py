"""Intensities to mean 0 and standard deviation 1, with the body's own statistics."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms import MapTransform, Transform

from bundle.errors import UserError

# under this name the meta data of a cropped image may have a sample (1, x, y, z) in HU of what it was cropped from
AROUND = "hu_around"
# ... and a normalised one has the HU of one unit of its scale
HU_SD = "hu_sd"


class NormalizeBody(Transform):
    """Clip to a window of HU, then scale so that the body's voxels have mean 0 and standard deviation 1.

    MONAI's `NormalizeIntensity` can leave out zeros, not what is at the window's lower end. Here statistics come only from
    voxels above `hu_range[0]`, so the amount of air around the body does not change what the network sees. Voxels that are
    no numbers count as air. A constant image, and one without any body, becomes zeros. Of an image that was cropped further
    than to the body (meta data `hu_around`), the statistics are those of the body that it was cropped from: they do not
    depend on the crop. How many HU one unit of the result is, is in its meta data (`hu_sd`).

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
        clipped = self._clipped(plain)
        around = image.meta.get(AROUND) if isinstance(image, MetaTensor) else None
        whole = clipped if around is None else self._clipped(around)
        body = whole[whole > self.low]
        # too many voxels for float32 sums of squares: the mean is taken off first, as `std` does
        sd = body.std(correction=0) if body.numel() else torch.zeros(())
        # a constant float32 image can have a tiny sd from rounding, hence not `> 0`
        varied = float(sd) > 1e-4
        scaled = clipped.sub_(body.mean()).div_(sd) if varied else torch.zeros_like(clipped)
        if not isinstance(image, MetaTensor):
            return scaled
        done = MetaTensor(scaled).copy_meta_from(image)
        done.meta.pop(AROUND, None)
        done.meta[HU_SD] = float(sd) if varied else 1.0
        return done

    def _clipped(self, values: torch.Tensor) -> torch.Tensor:
        return torch.nan_to_num(values.float(), nan=self.low).clamp_(self.low, self.high)


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
