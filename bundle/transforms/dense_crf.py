"""A conditional random field over the network's grid: labels that follow edges in the image, and each other."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms import MapTransform
from torch import Tensor

from bundle import grids
from bundle.transforms.normalize_body import HU_SD

Slices = tuple[slice, ...]
# where no class but background has this probability, and none within reach has, the field changes nothing
UNSURE = 0.01


class DenseCRFd(MapTransform):
    """Logits after mean-field inference in a conditional random field with pairwise potentials of place and HU.

    The model of Kraehenbuehl and Koltun (NIPS 2011): unary potentials from the network, and for every pair of voxels of unlike
    label a penalty: the Gaussian of their distance (smoothness), and the Gaussian of their distance times that of their
    difference in HU (appearance). MONAI's `CRF` needs the compiled extension of MONAI, which its wheels lack.

    What is approximated: pairs farther apart than `radius` mm do not count, where the paper filters over the whole
    image; and voxels whose surroundings are background beyond doubt are left as they are. Within that, the message of each
    neighbour is exact. Both kernels are divided by the sum of the smoothness kernel over the window, so that a weight is how much in
    logits a voxel is pulled when all of its neighbours agree (and, of the appearance, have its HU), whatever the radius and the
    spacing are.

    Args:
        keys: logits (K, X, Y, Z), on the grid of `source_key`; channel 0 is background.
        source_key: the preprocessed image (1, X, Y, Z), a `MetaTensor`; HU, or as `NormalizeBodyd` leaves it.
        strength: factor on both weights; 0 changes nothing.
        smoothness: weight of the smoothness kernel.
        appearance: weight of the appearance kernel.
        sigma_mm: standard deviation of both kernels over the distance.
        sigma_hu: standard deviation of the appearance kernel over HU.
        radius: reach in mm.
        iterations: of the mean-field update.
        allow_missing_keys: do not raise where a key is missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        source_key: str = "image",
        *,
        strength: float = 1.0,
        smoothness: float = 1.0,
        appearance: float = 2.0,
        sigma_mm: float = 3.0,
        sigma_hu: float = 25.0,
        radius: float = 5.0,
        iterations: int = 5,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.source_key, self.sigma_mm, self.sigma_hu, self.radius = source_key, float(sigma_mm), float(sigma_hu), float(radius)
        self.smoothness, self.appearance, self.iterations = strength * smoothness, strength * appearance, int(iterations)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace every key by its logits plus the last message; what is far from any structure stays."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self._refined(d[key], d[self.source_key])
        return d

    def _refined(self, logits: Tensor, image: MetaTensor) -> Tensor:
        plain = logits.as_tensor() if isinstance(logits, MetaTensor) else logits
        spacing = grids.spacing(image.affine.numpy()).tolist()
        reach = [int(self.radius / size) for size in spacing]
        box = grids.box((plain.float().softmax(0)[1:].amax(0) > UNSURE).numpy(), reach)
        if box is None:
            return logits
        refined = plain.clone()
        hu = image.as_tensor()[0][box].float() * float(image.meta.get(HU_SD, 1.0))
        refined[(slice(None), *box)] = self._mean_field(plain[(slice(None), *box)].float(), hu, spacing).to(plain.dtype)
        return MetaTensor(refined).copy_meta_from(logits) if isinstance(logits, MetaTensor) else refined

    def _mean_field(self, unary: Tensor, hu: Tensor, spacing: Sequence[float]) -> Tensor:
        """Logits (K, X, Y, Z) of the last update of the mean field."""
        pairs = list(_neighbours(spacing, self.radius, self.sigma_mm))
        # each is a neighbour in two directions
        total = 2 * sum(weight for _, weight in pairs)
        refined = unary
        for _ in range(self.iterations if pairs else 0):
            belief, message = refined.softmax(0), torch.zeros_like(unary)
            for shift, weight in pairs:
                here, there = _overlap(shift, hu.shape)
                apart = (hu[here] - hu[there]).div_(self.sigma_hu)
                kernel = apart.square_().mul_(-0.5).exp_().mul_(self.appearance).add_(self.smoothness).mul_(weight / total)
                message[(slice(None), *here)].addcmul_(kernel, belief[(slice(None), *there)])
                message[(slice(None), *there)].addcmul_(kernel, belief[(slice(None), *here)])
            refined = unary + message
        return refined


def _neighbours(spacing: Sequence[float], radius: float, sigma: float) -> Iterator[tuple[tuple[int, ...], float]]:
    """Shifts in voxels to half of the neighbours within a radius in mm (the other half are their opposites), with their Gaussian."""
    reach = [int(radius / size) for size in spacing]
    for shift in product(*(range(-n, n + 1) for n in reach)):
        distance = math.hypot(*(step * size for step, size in zip(shift, spacing, strict=True)))
        if shift > (0,) * len(shift) and distance <= radius:
            yield shift, math.exp(-0.5 * (distance / sigma) ** 2)


def _overlap(shift: Sequence[int], shape: Sequence[int]) -> tuple[Slices, Slices]:
    """The voxels that have a neighbour at this shift, and those neighbours."""
    here = tuple(slice(max(0, -step), n - max(0, step)) for step, n in zip(shift, shape, strict=True))
    there = tuple(slice(max(0, step), n - max(0, -step)) for step, n in zip(shift, shape, strict=True))
    return here, there
