"""Keeping the largest pieces of each structure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms import MapTransform
from scipy import ndimage

from bundle.errors import UserError
from bundle.labels import Labels, names, output_values


class KeepPiecesd(MapTransform):
    """Keep the largest connected pieces of each structure in a label map, as many as asked for; the rest becomes background.

    MONAI's `KeepLargestConnectedComponentd` keeps one number of pieces for all structures (kidneys have two) and labels the
    whole volume in int64 (0.5 GB for one CT); here each structure is looked at in its own box.

    Args:
        keys: label maps (1, X, Y, Z).
        pieces: structure to the number of pieces to keep, such as {"pancreas": 1, "kidney": 2}; others stay as they are.
        labels: the `labels` block, name to value.
        allow_missing_keys: do not raise where a key is missing.

    Raises:
        UserError: a structure that `labels` does not name, or a number below 1.
    """

    def __init__(self, keys: KeysCollection, pieces: Mapping[str, int] | None, labels: Labels, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        value_of = dict(zip(names(labels), output_values(labels), strict=True))
        self.background = value_of.pop("background")
        self.pieces: dict[int, int] = {}
        for name, count in (pieces or {}).items():
            if name not in value_of:
                raise UserError("keep_pieces", f"'{name}' is no structure of this bundle", f"use {', '.join(value_of)}")
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise UserError("keep_pieces", f"'{name}' has the value {count!r}", "give the number of pieces to keep, from 1 up")
            self.pieces[value_of[name]] = count

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace every key by its cleaned label map; the one given stays as it is."""
        d = dict(data)
        for key in self.key_iterator(d):
            if self.pieces:
                given = d[key]
                plain = given.as_tensor() if isinstance(given, MetaTensor) else torch.as_tensor(given)
                cleaned = plain.clone()
                for value, count in self.pieces.items():
                    _keep(cleaned[0].numpy(), value, count, self.background)
                d[key] = MetaTensor(cleaned).copy_meta_from(given) if isinstance(given, MetaTensor) else cleaned
        return d


def _keep(labels: np.ndarray, value: int, count: int, background: int) -> None:
    """Set to background all but the `count` largest pieces of `value`, in place."""
    box = _box(labels == value)
    if box is None:
        return
    inside = labels[box]
    numbered, found = ndimage.label(inside == value)
    if found > count:
        sizes = np.bincount(numbered.ravel())
        sizes[0] = 0
        # among equals the first stays, so that the result does not depend on the sort
        small = np.argsort(-sizes, kind="stable")[count:found]
        inside[np.isin(numbered, small)] = background


def _box(mask: np.ndarray) -> tuple[slice, ...] | None:
    box = []
    for axis in range(mask.ndim):
        present = np.flatnonzero(mask.any(tuple(a for a in range(mask.ndim) if a != axis)))
        if not present.size:
            return None
        box.append(slice(int(present[0]), int(present[-1]) + 1))
    return tuple(box)
