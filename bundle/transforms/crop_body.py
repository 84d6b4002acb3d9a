"""Crop a CT to the patient's body."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms import Crop, Cropd
from scipy import ndimage

from bundle import grids


class CropBodyd(Cropd):
    """Crop to the box around the largest connected body of tissue, so that neither air nor the table cost time.

    MONAI's `CropForegroundd` takes the box of every voxel above a threshold, so a table or a cable keeps the whole scan;
    here only the largest connected piece counts, found on a grid of about `step` mm, which costs milliseconds. A scan in
    which nothing is above the threshold is left whole. Invertible like every MONAI crop; keeps no state between scans.

    Args:
        keys: items (C, X, Y, Z) to crop; all on the grid of `source_key`.
        source_key: the CT in HU, by which the body is found.
        margin: air to keep around the body, in mm.
        threshold: what counts as body, in HU.
        step: size in mm of the grid on which the body is looked for.
        allow_missing_keys: do not raise where a key is missing.

    Raises:
        KeyError: `source_key`, or one of `keys`, is missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        source_key: str = "image",
        *,
        margin: float = 10.0,
        threshold: float = -400.0,
        step: float = 4.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, cropper=Crop(), allow_missing_keys=allow_missing_keys)
        self.source_key, self.margin, self.threshold, self.step = source_key, margin, threshold, step

    def __call__(self, data: Mapping[Hashable, torch.Tensor], lazy: bool | None = None) -> dict[Hashable, torch.Tensor]:
        """Crop every key to the body of `data[source_key]`."""
        d = dict(data)
        slices = body_slices(d[self.source_key], margin=self.margin, threshold=self.threshold, step=self.step)
        for key in self.key_iterator(d):
            d[key] = self.cropper(d[key], slices=slices, lazy=False)
        return d


def body_slices(image: torch.Tensor, *, margin: float, threshold: float, step: float) -> tuple[slice, ...]:
    """Slices, one per spatial axis, of the box around the body in a CT.

    Args:
        image: (C, X, Y, Z) in HU; a `MetaTensor` knows its spacing, anything else counts as 1 mm.
        margin: what to keep around the body, in mm.
        threshold: what counts as body, in HU.
        step: size in mm of the grid on which the body is looked for.
    """
    shape = image.shape[1:]
    # from the affine itself: `MetaTensor.pixdim` of MONAI 1.6 lacks an axis after some ways of adding the channel
    spacing = grids.spacing(np.asarray(image.affine)).tolist()[: len(shape)] if isinstance(image, MetaTensor) else [1.0] * len(shape)
    # at least 16 samples along an axis, or small scans would vanish between the samples
    strides = [max(1, min(int(step / max(s, 1e-6)), n // 16)) for s, n in zip(spacing, shape, strict=True)]
    plain = image.as_tensor() if isinstance(image, MetaTensor) else image
    coarse = plain[0][tuple(slice(None, None, stride) for stride in strides)]
    box = _largest_piece((coarse > threshold).cpu().numpy())
    if box is None:
        return tuple(slice(0, n) for n in shape)
    slices = []
    for found, stride, size, n in zip(box, strides, spacing, shape, strict=True):
        keep = int(np.ceil(margin / max(size, 1e-6)))
        # the last sample represents the `stride` voxels up to the next one
        start, stop = found.start * stride - (stride - 1) - keep, (found.stop - 1) * stride + stride + keep
        slices.append(slice(max(0, start), min(n, stop)))
    return tuple(slices)


def _largest_piece(mask: np.ndarray) -> tuple[slice, ...] | None:
    """Box of the largest connected piece of `mask`; thin sheets, as tables are, do not connect pieces."""
    # opening cuts what is one sample thin, but must not remove a small scan altogether
    opened = ndimage.binary_opening(mask) if min(mask.shape) >= 16 else mask
    labelled, count = ndimage.label(opened if opened.any() else mask)
    if count == 0:
        return None
    largest = int(np.argmax(np.bincount(labelled.ravel())[1:])) + 1
    # what opening took from the piece's own rim comes back: one sample on every side
    return tuple(
        slice(max(0, s.start - 1), min(n, s.stop + 1)) for s, n in zip(ndimage.find_objects(labelled)[largest - 1], mask.shape, strict=True)
    )
