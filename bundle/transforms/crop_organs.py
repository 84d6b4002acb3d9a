"""Crop a CT to the structures that a coarse look finds: what the second stage of a cascade sees."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from itertools import product
from math import prod
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms import Crop, Cropd

from bundle import grids
from bundle.errors import UserError
from bundle.transforms.keep_pieces import keep_largest
from bundle.transforms.normalize_body import AROUND
from bundle.transforms.restore_labels import source_region

# which axes of a scan in RAS are cropped
BOXES = {"xyz": (0, 1, 2), "z": (2,)}
# under this name the meta data of the image say what the coarse look led to
COARSE_LOOK = "coarse_look"
NOTHING_FOUND = "nothing found"
# sides of a scan in RAS, the lower and the upper one of each axis
SIDES = (("left", "right"), ("back", "front"), ("lower end", "upper end"))
# size in mm of the grid of which the statistics of the body around the box are taken
SAMPLE_MM = 4.0

Slices = tuple[slice, ...]


class CropOrgansd(Cropd):
    """Crop to the box of all structures that a coarse look finds, so that only the inside is resampled and segmented finely.

    The first of the two stages of a cascade, or, along z alone, the look that takes the abdomen out of a whole body. MONAI's crops
    know one mask that is there already. Here the mask is made by `look` from the image itself. Small pieces of it, most of them
    errors far away, do not widen the box. A scan in which nothing is found stays whole, and so does one of which the box would
    save little: its label map is then exactly that of the single network. What was done is in the image's meta data under
    `coarse_look`: `NOTHING_FOUND`, or the sides of the scan that were cut (see `look_notes`).

    Of a box that is cut along x or y too, intensities are later normalised by the statistics of the body at its height
    (`NormalizeBodyd` finds a sample of it in the meta data), as without a cascade.

    Args:
        keys: items (C, X, Y, Z) to crop; all on the grid of `source_key`, in RAS.
        source_key: the CT in HU that is looked at.
        look: gives a label map (1, x, y, z) on a coarser grid, a `MetaTensor`, for the CT (1, X, Y, Z); 0 is background.
        box: "xyz" for a box, "z" to crop along the body only.
        margin: what to keep around the structures, in mm.
        pieces: connected pieces of a structure below this share of its largest one do not count.
        least_saving: a box that saves less than this share of the voxels is not cut.
        least_length: along z alone, a scan not longer than this in mm has nothing to save, and is left whole without a look.
        allow_missing_keys: do not raise where a key is missing.

    Raises:
        UserError: an unknown `box`.
        KeyError: `source_key`, or one of `keys`, is missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        source_key: str = "image",
        *,
        look: Callable[[MetaTensor], MetaTensor],
        box: str = "xyz",
        margin: float = 30.0,
        pieces: float = 0.1,
        least_saving: float = 0.2,
        least_length: float = 300.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, cropper=Crop(), allow_missing_keys=allow_missing_keys)
        if box not in BOXES:
            raise UserError("box", f"{box!r} is no kind of box", f"use {' or '.join(BOXES)}")
        self.source_key, self.look, self.axes, self.margin = source_key, look, BOXES[box], float(margin)
        self.pieces, self.least_saving, self.least_length = float(pieces), float(least_saving), float(least_length)

    def __call__(self, data: Mapping[Hashable, torch.Tensor], lazy: bool | None = None) -> dict[Hashable, torch.Tensor]:
        """Crop every key to the box of the structures in `data[source_key]`."""
        d: dict[Hashable, Any] = dict(data)
        image: MetaTensor = d[self.source_key]
        box = self._box(image)
        sides = [[part.start > 0, part.stop < n] for part, n in zip(box or (), image.shape[1:], strict=False)]
        around = _sample(image, box[2]) if box and (any(sides[0]) or any(sides[1])) else None
        for key in self.key_iterator(d):
            cropped = self.cropper(d[key], slices=box, lazy=False) if box else d[key]
            if key == self.source_key:
                assert isinstance(cropped, MetaTensor)
                # a crop of MONAI shares its meta data with nothing; what is left whole may share the tensor's own
                cropped = cropped if box else MetaTensor(cropped.as_tensor()).copy_meta_from(cropped)
                cropped.meta[COARSE_LOOK] = {"sides": sides} if box else NOTHING_FOUND
                if around is not None:
                    cropped.meta[AROUND] = around
            d[key] = cropped
        return d

    def _box(self, image: MetaTensor) -> Slices | None:
        """The slices to crop to, whole axes where nothing is to be gained; None where nothing was found."""
        whole = tuple(slice(0, n) for n in image.shape[1:])
        if self.axes == BOXES["z"] and image.shape[3] * grids.spacing(np.asarray(image.affine))[2] <= self.least_length:
            return whole
        labels = self.look(image)
        found = labels.as_tensor()[0].clone().numpy()
        for value in np.unique(found[found > 0]):
            keep_largest(found, int(value), self.pieces, 0)
        coarse = grids.box(found)
        if coarse is None:
            return None
        wanted = self._with_margin(coarse, labels, image)
        box = tuple(one if axis in self.axes else all_ for axis, (one, all_) in enumerate(zip(wanted, whole, strict=True)))
        saved = 1 - prod(part.stop - part.start for part in box) / prod(image.shape[1:])
        return box if saved >= self.least_saving else whole

    def _with_margin(self, coarse: Slices, labels: MetaTensor, image: MetaTensor) -> Slices:
        """The image's voxels that a box of the coarse grid touches, and the margin around them; the grids may be tilted to each other."""
        affine = np.asarray(image.affine, np.float64)
        onto = np.linalg.solve(affine, np.asarray(labels.affine, np.float64))
        # voxels reach half a voxel beyond their centres
        ends = product(*((part.start - 0.5, part.stop - 0.5) for part in coarse))
        corners = np.array([onto[:3, :3] @ end + onto[:3, 3] for end in ends])
        keep = self.margin / grids.spacing(affine)
        low, high = corners.min(0) - keep, corners.max(0) + keep
        first, last = np.floor(low + 0.5).astype(int), np.ceil(high + 0.5).astype(int)
        return tuple(slice(max(0, int(a)), min(n, int(b))) for a, b, n in zip(first, last, image.shape[1:], strict=True))


def _sample(image: MetaTensor, height: slice) -> torch.Tensor:
    """A thin sample of the voxels of a CT (1, X, Y, Z) between two heights."""
    steps = [max(1, int(SAMPLE_MM / size)) for size in grids.spacing(np.asarray(image.affine))]
    return image.as_tensor()[:, :: steps[0], :: steps[1], height][..., :: steps[2]].clone()


def look_notes(labels: np.ndarray, image: Any, structures: Mapping[str, int]) -> list[tuple[float, str]]:
    """(weight, words) for a coarse look that found nothing, and for each structure that the box of the look may cut off.

    That is a structure that lies against a side of the box at which the scan goes on. Empty without a cascade.

    Args:
        labels: (X, Y, Z), the label map on the grid of the scan.
        image: the preprocessed image, a `MetaTensor`.
        structures: name to value in `labels`.
    """
    noted = image.meta.get(COARSE_LOOK) if isinstance(image, MetaTensor) else None
    if noted is None:
        return []
    if noted == NOTHING_FOUND:
        return [(0.5, "the coarse look found no structure, so the whole scan was segmented")]
    inside, found = source_region(labels, image), []
    for axis, end in product(range(3), range(2)):
        if noted["sides"][axis][end]:
            face = inside.take(-end, axis=axis)
            reach = [name for name, value in structures.items() if (face == value).any()]
            found += [(0.7, f"{name}: reaches the border of the box ({SIDES[axis][end]}), may be cut off") for name in reach]
    return found
