"""Keeping the largest pieces of each structure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms import MapTransform
from scipy import ndimage

from bundle import grids
from bundle.errors import UserError
from bundle.labels import Labels, names, output_values

LEFT_OUT = "left_out_voxels"


class KeepPiecesd(MapTransform):
    """Keep the largest pieces of each structure in a label map; the rest becomes background.

    Pieces are connected by faces, edges or corners. How many voxels were left out is under `LEFT_OUT` in the meta data
    of a `MetaTensor`, by value, so that no piece goes unnoticed.

    MONAI's `KeepLargestConnectedComponentd` keeps one number of pieces for all structures (kidneys have two) and labels the
    whole volume in int64 (0.5 GB for one CT); here each structure is looked at in its own box.

    Args:
        keys: label maps (1, X, Y, Z).
        pieces: for each structure what to keep, such as {"pancreas": 0.1, "kidney": 2}: a number of pieces from 1 up, or, below
            1, all pieces of at least this share of the largest one's volume. Structures not named stay as they are; one
            number applies to all structures.
        labels: the `labels` block, name to value.
        allow_missing_keys: do not raise where a key is missing.

    Raises:
        UserError: a structure that `labels` does not name, or a number that is neither.
    """

    def __init__(
        self, keys: KeysCollection, pieces: Mapping[str, float] | float | None, labels: Labels, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        value_of = dict(zip(names(labels), output_values(labels), strict=True))
        self.background = value_of.pop("background")
        self.pieces: dict[int, float] = {}
        wanted = pieces if isinstance(pieces, Mapping) else {} if pieces is None else dict.fromkeys(value_of, pieces)
        for name, number in wanted.items():
            if name not in value_of:
                raise UserError("keep_pieces", f"'{name}' is not a structure of this bundle", f"use {', '.join(value_of)}")
            real = isinstance(number, (int, float)) and not isinstance(number, bool)
            if not real or not (0 < number < 1 or (number >= 1 and number == int(number))):
                fix = "give the number of pieces to keep, from 1 up, or a share of the largest piece, between 0 and 1"
                raise UserError("keep_pieces", f"'{name}' has the value {number!r}", fix)
            self.pieces[value_of[name]] = number if number < 1 else int(number)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace every key by its cleaned label map; the one given stays as it is."""
        d = dict(data)
        for key in self.key_iterator(d):
            if self.pieces:
                given = d[key]
                plain = given.as_tensor() if isinstance(given, MetaTensor) else torch.as_tensor(given)
                cleaned = plain.clone()
                removed = self._clean(cleaned[0].numpy())
                if isinstance(given, MetaTensor):
                    cleaned = MetaTensor(cleaned).copy_meta_from(given)
                    cleaned.meta[LEFT_OUT] = dict(Counter(given.meta.get(LEFT_OUT, {})) + Counter(removed))
                d[key] = cleaned
        return d

    def _clean(self, labels: np.ndarray) -> dict[int, int]:
        """Keep the pieces, in place; value to the voxels that were left out."""
        around = grids.box(labels != self.background)
        if around is None:
            return dict.fromkeys(self.pieces, 0)
        return {value: keep_largest(labels[around], value, number, self.background) for value, number in self.pieces.items()}


def left_out(labels: MetaTensor, structures: Mapping[str, int]) -> dict[str, int]:
    """Structure to the voxels that were left out of a label map as small pieces; `structures` gives their values in it."""
    voxels = labels.meta.get(LEFT_OUT, {})
    return {name: voxels.get(value, 0) for name, value in structures.items()}


def keep_largest(labels: np.ndarray, value: int, number: float, background: int) -> int:
    """Set to background, in place, all but the `number` largest pieces of `value`, or those below that share of the largest.

    Returns:
        how many voxels were left out.
    """
    box = grids.box(labels == value)
    if box is None:
        return 0
    inside = labels[box]
    numbered, found = ndimage.label(inside == value, structure=np.ones((3, 3, 3)))
    if found > max(number, 1):
        sizes = np.bincount(numbered.ravel())
        sizes[0] = 0
        # among equals the first stays, so that the result does not depend on the sort
        order = np.argsort(-sizes, kind="stable")[:found]
        small = order[number:] if number >= 1 else order[sizes[order] < number * sizes.max()]
        inside[np.isin(numbered, small)] = background
        return int(sizes[small].sum())
    return 0
