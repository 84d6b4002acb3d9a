"""Whether the values of a scan can be Hounsfield units: one judgement, in the same words, for the checks and for inference."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

AIR_HU, AIR_TOLERANCE = -1000.0, 130.0
SOFT = (-200.0, 300.0)
STEP = 10  # HU, of the histogram
LOWEST, HIGHEST = -1500, 3500
SIDES_A_GUESS = "its header does not say its orientation (a NIfTI's qform or sform, an NRRD's space), so which side is left is a guess"


@dataclass(frozen=True)
class Values:
    """What is known about the values of a scan.

    Args:
        low: the least of them.
        high: the greatest.
        soft_share: share of voxels from -200 to 300.
        histogram: (value, number of voxels) in steps of 10 from -1500 to 3500.
        total: number of voxels.
    """

    low: float
    high: float
    soft_share: float
    histogram: Iterable[tuple[int, int]] = ()
    total: int = 0

    @classmethod
    def of(cls, sample: np.ndarray) -> Values:
        """Of an array of finite numbers."""
        soft = np.count_nonzero((sample > SOFT[0]) & (sample < SOFT[1]))
        counts, edges = np.histogram(sample, np.arange(LOWEST, HIGHEST + STEP, STEP))
        pairs = [(int(edge), int(count)) for edge, count in zip(edges[:-1], counts, strict=True) if count]
        return cls(float(sample.min()), float(sample.max()), soft / sample.size, pairs, sample.size)


def not_hounsfield(values: Values) -> tuple[str, str, str] | None:
    """A short code, what speaks against Hounsfield units, and what to do about it; None where nothing does."""
    low, high = values.low + 0.0, values.high + 0.0  # never -0
    if low == high:
        return "constant", f"has the one value {low:g} everywhere", "convert the scan again"
    span = f"values from {low:.5g} to {high:.5g}"
    if high - low <= 20:
        return "HU", f"{span} are not Hounsfield units: it looks normalised", "give the scan in HU, not rescaled"
    if (low >= 0 and high <= 255) or (low >= -128 and high <= 127) or _eight_bits_in_air(values):
        return "HU", f"{span} are not Hounsfield units: it looks windowed to 8 bits", "give the scan in HU"
    if low >= 0:
        fix = "where it is a CT without its rescale intercept, add it (most often -1024); an MRI does not belong here"
        return "HU", f"{span} are not Hounsfield units: no value is below 0", fix
    air = air_level(values)
    if air is not None and abs(air - AIR_HU) > AIR_TOLERANCE:
        return "HU", f"air is at {air:.0f} HU instead of {AIR_HU:.0f}", "make sure that rescale slope and intercept were applied once"
    if values.soft_share < 0.02:
        problem = f"{span}, but only {100 * values.soft_share:.1f} % of the voxels are soft tissue (-200 to 300 HU)"
        return "HU", problem, "make sure that it is a CT of a body in HU"
    return None


def air_level(values: Values) -> float | None:
    """The level of air: the tenth percentile of what is from -1100 to -300; None where that is less than a hundredth of the scan.

    Padding outside the scanner's circle is lower and left out; lungs are denser than air, which is why the low end counts.
    """
    air = sorted((value, count) for value, count in values.histogram if -1100 < value < -300)
    number = sum(count for _, count in air)
    if not number or number <= 0.01 * values.total:
        return None
    seen = 0
    for value, count in air:
        seen += count
        if seen >= 0.1 * number:
            return value + STEP / 2
    return None


def _eight_bits_in_air(values: Values) -> bool:
    """Whether values of 8 bits are padded with air: nothing denser than 255, and nothing of fat's and lung's range, -300 to 0."""
    if not -1100 <= values.low < -300 or not 100 < values.high <= 255:
        return False
    inside = [value for value, count in values.histogram if value >= -300]
    return bool(inside) and min(inside) >= 0
