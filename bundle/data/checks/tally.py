"""Counting how often each whole number occurs in a volume that is read piece by piece."""

from __future__ import annotations

import numpy as np

FARTHEST = 2**30  # values beyond are counted as this: no label or intensity is there
MOST_VALUES = 400_000  # different values that are kept apart where they are not of 16 bits: no scan has so many


class Tally:
    """Number of voxels of each value, rounded to whole numbers; in bounded memory whatever the values are.

    `np.unique` sorts: for a scan of 50 million voxels it takes seconds, counting bins takes a tenth of one.
    """

    def __init__(self) -> None:
        self.bins: np.ndarray | None = None  # of all 16-bit patterns
        self.kind = np.dtype(np.int16)
        self.others: dict[int, int] = {}

    def add(self, values: np.ndarray) -> None:
        """Count the voxels of one piece; finite values of any integer or float type."""
        if values.dtype.kind in "iub" and values.dtype.itemsize <= 2:
            self._add_small(values)
        elif values.size:
            self._add_any(values)

    def counts(self) -> dict[int, int]:
        """Number of voxels by value, in the order of the values."""
        total = dict(self.others)
        if self.bins is not None:
            (found,) = np.nonzero(self.bins)
            keys = found.astype(np.uint16).view(np.int16) if self.kind.kind == "i" else found
            for value, number in zip(keys.tolist(), self.bins[found].tolist(), strict=True):
                total[value] = total.get(value, 0) + number
        return dict(sorted(total.items()))

    def _add_small(self, values: np.ndarray) -> None:
        if self.bins is None:
            self.bins, self.kind = np.zeros(1 << 16, np.int64), values.dtype
        if values.dtype.itemsize == 1:
            zeros = values.size - int(np.count_nonzero(values))  # of a label map nearly all, and counted far faster
            self.bins[0] += zeros
            if zeros == values.size:
                return
            values = values[values != 0]
            values = values.astype(np.int16 if values.dtype.kind == "i" else np.uint16)
        self.bins += np.bincount(values.view(np.uint16), minlength=1 << 16)

    def _add_any(self, values: np.ndarray) -> None:
        whole = np.rint(values) if values.dtype.kind == "f" else values
        whole = np.clip(whole, -FARTHEST, FARTHEST).astype(np.int64)
        low = int(whole.min())
        if int(whole.max()) - low < 1 << 20:
            counts = np.bincount(whole - low)
            (found,) = np.nonzero(counts)
            found, number = found + low, counts[found]
        else:
            found, number = np.unique(whole, return_counts=True)
        for value, times in zip(found.tolist(), number.tolist(), strict=True):
            if value in self.others or len(self.others) < MOST_VALUES:
                self.others[value] = self.others.get(value, 0) + times
