"""Anatomies from label maps of real scans: each organ as a signed distance, so that it can be bent, scaled and resampled smoothly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from bundle import grids
from bundle.data import label_maps
from bundle.data.listed_files import stem
from bundle.errors import UserError
from bundle.files import written_aside

# Values of the reference segmentations of TCIA Pancreas-CT and BTCV cases ("multi-organ abdominal CT reference").
MULTIORGAN: dict[str, int] = {
    "spleen": 1,
    "pancreas": 2,
    "kidney_left": 3,
    "gallbladder": 4,
    "oesophagus": 5,
    "liver": 6,
    "stomach": 7,
    "duodenum": 8,
}
_VOXEL_MM = 1.9  # donors are thinned to about this: finer detail is lost at 2 mm anyway
_MARGIN_MM = 14.0


@dataclass(frozen=True)
class Organ:
    """One organ of a donor.

    Attributes:
        distance: (X, Y, Z) float16, mm to the surface, negative inside, clipped at the margin.
        origin, spacing: RAS coordinates (mm) of voxel (0, 0, 0), voxel size in mm.
    """

    distance: np.ndarray
    origin: np.ndarray
    spacing: np.ndarray

    def points(self, inside_mm: float = 0.0, step: int = 3) -> np.ndarray:
        """RAS coordinates (N, 3) of voxels deeper than `inside_mm`, every `step`-th along each axis."""
        return np.argwhere(self.distance[::step, ::step, ::step] < -inside_mm) * step * self.spacing + self.origin

    def sample(self, points: list[np.ndarray]) -> np.ndarray:
        """Signed distance at RAS coordinates given as three arrays of one shape; far outside where there is no data."""
        index = [(p - o) / s for p, o, s in zip(points, self.origin, self.spacing, strict=True)]
        return ndimage.map_coordinates(self.distance.astype(np.float32), index, order=1, cval=_MARGIN_MM)


@dataclass(frozen=True)
class Donor:
    """The organs of one real person, and the height (RAS z, mm) up to which the scan showed them."""

    name: str
    organs: dict[str, Organ]
    top: float


def read_donor(path: Path, organs: Mapping[str, int] = MULTIORGAN) -> Donor:
    """Read a label map and turn each organ into a signed distance.

    Raises:
        UserError: the file cannot be read or has values that are not whole numbers, or the spleen, the left kidney, the liver or the
            pancreas is missing.
    """
    labels, affine = grids.turned(*label_maps.read(path))
    spacing = grids.spacing(affine)
    step = [max(1, round(_VOXEL_MM / edge)) for edge in spacing]
    labels = labels[tuple(slice(None, None, s) for s in step)]
    spacing = spacing * step
    origin = affine[:3, 3]
    found = {name: _organ(labels == value, origin, spacing) for name, value in organs.items() if (labels == value).sum() > 20}
    missing = [name for name in ("spleen", "pancreas", "kidney_left", "liver") if name not in found]
    if missing:
        fix = f"give maps with these values: {dict(organs)}"
        raise UserError(path, f"the label map has no {', '.join(missing)}", fix)
    return Donor(stem(path), found, float(origin[2] + (labels.shape[2] - 1) * spacing[2]))


def _organ(mask: np.ndarray, origin: np.ndarray, spacing: np.ndarray) -> Organ:
    pad = np.ceil(_MARGIN_MM / spacing).astype(int)
    where = np.argwhere(mask)
    low, high = where.min(0) - pad, where.max(0) + 1 + pad
    inner = [slice(max(0, a), min(n, b)) for a, b, n in zip(low, high, mask.shape, strict=True)]
    before = [max(0, -a) for a in low]
    after = [max(0, b - n) for b, n in zip(high, mask.shape, strict=True)]
    part = np.pad(mask[tuple(inner)], list(zip(before, after, strict=True)))
    outside = ndimage.distance_transform_edt(~part, sampling=spacing)
    inside = ndimage.distance_transform_edt(part, sampling=spacing)
    half = 0.5 * float(spacing.min())
    distance = np.where(part, half - inside, outside - half)
    return Organ(np.clip(distance, -60, _MARGIN_MM).astype(np.float16), origin + low * spacing, spacing)


def save_donor(donor: Donor, path: Path) -> None:
    """Write a donor as `.npz`, so that worker processes need not measure distances again."""
    arrays: dict[str, Any] = {"top": np.array(donor.top)}
    for name, organ in donor.organs.items():
        arrays.update({f"{name}/distance": organ.distance, f"{name}/origin": organ.origin, f"{name}/spacing": organ.spacing})
    with written_aside(path) as aside, open(aside, "wb") as file:
        np.savez(file, **arrays)


def load_donor(path: Path) -> Donor:
    """Read what `save_donor` wrote."""
    with np.load(path) as arrays:
        names = sorted({key.split("/")[0] for key in arrays.files if "/" in key})
        organs = {n: Organ(arrays[f"{n}/distance"], arrays[f"{n}/origin"], arrays[f"{n}/spacing"]) for n in names}
        return Donor(path.stem, organs, float(arrays["top"]))
