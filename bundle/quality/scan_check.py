"""What is odd about a scan itself: no HU, noisy slices, slices missing, a small field of view. Looks at a thin sample of the voxels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bundle import grids
from bundle.data.checks.hounsfield import AIR_HU, SIDES_A_GUESS, Values, air_level, not_hounsfield
from bundle.drawing.planes import Views
from bundle.errors import counted

# (weight, words): the smaller the weight, the graver
Reason = tuple[float, str]

# at most about this many columns of voxels along the body are looked at
COLUMNS = 64 * 64
# in-plane noise of a slice against the median of all slices, and in HU
NOISE_RATIO, NOISE_HU = 2.5, 25.0
# thin slices at low dose have about 40 to 50 HU
NOISE_EVERYWHERE_HU = 70.0
# change from one slice to the next against the median change; real anatomy changes by up to about 3 times the median
JUMP_RATIO, JUMP_HU = 4.0, 30.0
MIN_FIELD_MM = 100.0
MIN_SLICES = 8


def check_scan(image: np.ndarray, affine: np.ndarray, orientation_known: bool = True, not_numbers: int = 0) -> list[Reason]:
    """(weight, words) for everything odd about a scan; an empty list for an ordinary CT of the abdomen.

    Args:
        image: (X, Y, Z) in HU.
        affine: (4, 4), from voxel indices to RAS+ millimetres.
        orientation_known: whether the file says which side is which.
        not_numbers: how many voxels were NaN or infinite when it was loaded, and are air in `image`.
    """
    views = Views(affine, image.shape)
    upright = grids.reorder(image, views.axes)
    steps = [max(1, round(n / COLUMNS**0.5)) for n in upright.shape[:2]]
    sample = upright[:: steps[0], :: steps[1]].astype(np.float32)
    finite = np.isfinite(sample)
    found = _field(views)
    if not orientation_known:
        found.append((0.3, SIDES_A_GUESS))
    if not finite.any():
        return [*found, (0.1, "the scan holds no numbers")]
    if share := not_numbers / image.size + 1 - finite.mean():
        found.append((0.6, f"{share:.0%} of the scan are not numbers" if share >= 0.005 else "less than 1% of the scan are not numbers"))
        sample = np.where(finite, sample, AIR_HU)
    found += _units(sample, image)
    if sample.shape[2] >= MIN_SLICES:
        neighbours = upright[1 :: steps[0], :: steps[1]][: sample.shape[0]]
        noise = _noise(sample[: neighbours.shape[0]], np.nan_to_num(neighbours.astype(np.float32), nan=AIR_HU))
        # a noisy slice differs from the next one anyway
        found += noise or _jumps(sample, _filled(sample))
    return found


def _field(views: Views) -> list[Reason]:
    size = [n * step for n, step in zip(views.shape, views.spacing, strict=True)]
    names = ("from left to right", "from front to back", "from head to foot")
    return [(0.6, f"the scan covers only {mm:.0f} mm {name}") for mm, name in zip(size, names, strict=True) if mm < MIN_FIELD_MM]


def _units(sample: np.ndarray, image: np.ndarray) -> list[Reason]:
    """Air and soft tissue have known HU; a forgotten rescale, a shift or another modality shows there."""
    values = Values.of(sample)
    if (said := not_hounsfield(values)) is not None:
        # the sample is thin: the words give the range of all voxels
        whole = replace(values, low=float(np.nanmin(image)), high=float(np.nanmax(image)))
        if (said := not_hounsfield(whole)) is not None:
            return [(0.4 if said[1].startswith("air") else 0.2, said[1])]
    if air_level(values) is not None:
        return []
    # the body is in the middle of the field of view
    quarters = [slice(n // 4, n - n // 4) for n in sample.shape[:2]]
    middle = sample[quarters[0], quarters[1]]
    tissue = middle[(middle > -300) & (middle < 1500)]
    low, high = (float(value) for value in np.percentile(sample, (1, 99)))
    if high - low < 50 or tissue.size < 0.05 * middle.size or not -160 < float(np.median(tissue)) < 160:
        return [(0.2, f"values from {low:.4g} to {high:.4g} do not look like HU")]
    return []


def _noise(sample: np.ndarray, neighbours: np.ndarray) -> list[Reason]:
    """Noise of each slice: the median difference between neighbouring voxels of soft tissue."""
    inside = np.abs(sample) < 300
    difference = np.abs(sample - neighbours)
    enough = np.flatnonzero(inside.mean(axis=(0, 1)) > 0.05)
    if len(enough) < MIN_SLICES:
        return []
    noise = np.array([np.median(difference[..., k][inside[..., k]]) for k in enough]) * (1.4826 / 2**0.5)
    usual = max(float(np.median(noise)), 1.0)
    if usual > NOISE_EVERYWHERE_HU:
        return [(0.6, f"noise of {usual:.0f} HU in the whole scan")]
    noisy = enough[(noise > NOISE_RATIO * usual) & (noise > usual + NOISE_HU)]
    if not noisy.size:
        return []
    return [(0.5, f"noise of {noise.max():.0f} HU in {counted(noisy.size, 'slice')}, {usual:.0f} HU in the others")]


def _filled(sample: np.ndarray) -> slice:
    """The slices without the empty ones at both ends, which resampling and padding leave."""
    body = np.flatnonzero((sample > -500).mean(axis=(0, 1)) > 0.02)
    return slice(int(body[0]), int(body[-1]) + 1) if body.size else slice(0, 0)


def _jumps(sample: np.ndarray, filled: slice) -> list[Reason]:
    """Places where one slice does not continue the one before: slices are missing, or from another series."""
    if filled.stop - filled.start < MIN_SLICES:
        return []
    clipped = np.clip(sample[..., filled], -300, 300)
    change = np.abs(np.diff(clipped, axis=2)).mean(axis=(0, 1))
    usual = max(float(np.median(change)), 1.0)
    where = np.flatnonzero((change > JUMP_RATIO * usual) & (change > usual + JUMP_HU)) + filled.start
    if not where.size:
        return []
    places = f"between slices {where[0] + 1} and {where[0] + 2}" if where.size == 1 else f"at {where.size} places"
    return [(0.5, f"the anatomy jumps {places} counted from the feet, slices may be missing")]
