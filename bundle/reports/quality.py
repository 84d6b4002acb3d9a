"""Which cases a person should look at: reasons in words and one score, from confidence, volume, pieces, border and field of view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bundle.reports.measure import Structure
from bundle.reports.ranges import usual


@dataclass
class Judgement:
    """What to think of one case.

    Attributes:
        reasons: in words, the gravest first; empty when nothing speaks against the case.
        score: 0 (surely wrong) to 1 (nothing against it); sort by it to look at the worst first.
        review: whether a person should look: there is a reason.
    """

    reasons: list[str] = field(default_factory=list)
    score: float = 1.0

    @property
    def review(self) -> bool:
        return bool(self.reasons)


# below these a person should look; docs/quality.md shows how they rank held-out cases
MEAN_CONFIDENCE = 0.85
FLIP_DISAGREEMENT = 0.15
# pieces beyond the usual number count when together they hold more than this part of the structure
STRAY_FRACTION = 0.03
MIN_FIELD_MM = 100.0


def judge(
    measured: Mapping[str, Structure],
    *,
    affine: np.ndarray,
    shape: tuple[int, ...],
    confidence: Mapping[str, tuple[float, float]] | None = None,
    flip_disagreement: Mapping[str, float] | None = None,
    ranges: Mapping[str, Any] | None = None,
) -> Judgement:
    """Weigh everything that is known about a case.

    Args:
        measured: what `measure_structures` gives.
        affine: (4, 4) of the label map; shape: its number of voxels along each axis.
        confidence: structure to (mean, minimum) probability inside it.
        flip_disagreement: structure to 1 - Dice between the labels and those of the flipped scan.
        ranges: see `bundle.reports.ranges.usual`.
    """
    found: list[tuple[float, str]] = []
    for name, structure in measured.items():
        found += _structure_reasons(structure, usual(name, ranges))
        if confidence and name in confidence and structure.volume_ml > 0 and confidence[name][0] < MEAN_CONFIDENCE:
            found.append((confidence[name][0], f"{name}: mean confidence {confidence[name][0]:.2f}"))
        if flip_disagreement and flip_disagreement.get(name, 0.0) > FLIP_DISAGREEMENT:
            found.append((1.0 - flip_disagreement[name], f"{name}: {flip_disagreement[name]:.0%} disagreement when the scan is flipped"))
    size = np.abs(affine[:3, :3]) @ np.asarray(shape[:3], dtype=float)
    if size.min() < MIN_FIELD_MM:
        found.append((0.6, f"the scan covers only {size.min():.0f} mm"))
    found.sort(key=_gravity)
    score = float(np.prod([weight for weight, _ in found])) if found else 1.0
    return Judgement([reason for _, reason in found], score)


def _gravity(item: tuple[float, str]) -> float:
    return item[0]


def _structure_reasons(structure: Structure, normal: Mapping[str, Any]) -> list[tuple[float, str]]:
    """(weight, reason) of one structure: the smaller the weight, the graver."""
    name, found = structure.name, []
    if structure.volume_ml == 0:
        return [(0.1, f"{name}: not found")]
    if "volume_ml" in normal:
        low, high = normal["volume_ml"]
        if not low <= structure.volume_ml <= high:
            weight = max(0.1, min(structure.volume_ml / low, high / structure.volume_ml))
            found.append((weight, f"{name}: {structure.volume_ml:.3g} ml, {low:.0f} to {high:.0f} ml are {normal['source']}"))
    low, high = normal["mean_hu"]
    if structure.mean_hu is not None and not low <= structure.mean_hu <= high:
        found.append((0.3, f"{name}: mean {structure.mean_hu:.0f} HU, {low:.0f} to {high:.0f} HU are {normal['source']}"))
    stray = sum(structure.piece_ml[int(normal["pieces"]) :]) / structure.volume_ml
    if stray > STRAY_FRACTION:
        found.append((1.0 - stray, f"{name}: {structure.components} pieces, {stray:.0%} of it apart from the main part"))
    if structure.touches_border:
        found.append((0.7, f"{name}: reaches the border of the scan, may be cut off"))
    return found
