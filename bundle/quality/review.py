"""Which cases a person should look at: reasons in words, and one score to sort by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bundle.quality.measure import Structure, amount
from bundle.quality.ranges import usual, usual_offsets

# below these a person should look; docs/quality.md shows how they rank held-out cases
MEAN_CONFIDENCE = 0.85
EXPECTED_DICE = 0.80
# what the probabilities themselves predict is too high; calibrated, 0.70 is what they call 0.89 in the pancreas of the shipped weights
CALIBRATED_DICE = 0.70
FLIP_DISAGREEMENT = 0.15
# pieces beyond the usual number count when together they hold more than this part of the structure
STRAY_FRACTION = 0.03
# where a centre is against another one's, along x, y, z in RAS+: for a larger coordinate and for a smaller one
SIDES = (("to the right of", "to the left of"), ("in front of", "behind"), ("above", "below"))


class Reason(NamedTuple):
    """A reason to look at a case: `weight` in 0..1, the smaller the worse; `structure` is the one it is about, or "" for all."""

    weight: float
    reason: str
    structure: str = ""


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


def judge(
    measured: Mapping[str, Structure],
    *,
    confidence: Mapping[str, Sequence[float]] | None = None,
    flip_disagreement: Mapping[str, float] | None = None,
    left_out_ml: Mapping[str, float] | None = None,
    ranges: Mapping[str, Any] | None = None,
    scan: Sequence[tuple[float, str]] = (),
) -> Judgement:
    """Weigh everything that is known about a case.

    The score is a mean over the structures of what the network itself expects (expected Dice, else mean confidence, else
    1) times the weights of the reasons about the structure, times those about the scan.

    Args:
        measured: what `measure_structures` gives.
        confidence: structure to (mean, minimum) probability inside it, maybe the expected Dice too, and whether that is calibrated.
        flip_disagreement: structure to 1 - Dice between the labels and those of the flipped scan.
        left_out_ml: structure to the volume of its small pieces that are not in the label map any more, and speak against it as
            if they were.
        ranges: what is usual (`bundle.quality.ranges.load_ranges`); None for the literature's.
        scan: what `check_scan` found about the scan itself.
    """
    found = [Reason(weight, reason) for weight, reason in scan]
    found += _positions(measured, ranges)
    for name, structure in measured.items():
        found += _structure(structure, usual(name, ranges), (left_out_ml or {}).get(name, 0.0))
        if structure.volume_ml > 0:
            found += _certainty(name, (confidence or {}).get(name), (flip_disagreement or {}).get(name))
    found.sort(key=_weight)
    scores = []
    for name in measured:
        own = math.prod(reason.weight for reason in found if reason.structure == name)
        scores.append(own * _expected((confidence or {}).get(name)))
    everywhere = math.prod(reason.weight for reason in found if not reason.structure)
    return Judgement([reason.reason for reason in found], everywhere * (sum(scores) / len(scores) if scores else 1.0))


def _weight(reason: Reason) -> float:
    return reason.weight


def _expected(confidence: Sequence[float] | None) -> float:
    """Expected Dice where it is known, else the mean confidence, else 1; a confidence may be (mean, minimum) alone."""
    if not confidence:
        return 1.0
    return float(confidence[2] if len(confidence) > 2 else confidence[0])


def _certainty(name: str, confidence: Sequence[float] | None, disagreement: float | None) -> list[Reason]:
    """Confidence is in the score already, so these reasons weigh nothing themselves: they only say that it is low."""
    found = []
    known = tuple(confidence or ())
    expected, is_calibrated = known[2] if len(known) > 2 else None, len(known) > 3 and bool(known[3])
    if expected is not None and is_calibrated and expected < CALIBRATED_DICE:
        found.append(Reason(1.0, f"{name}: a Dice of {expected:.2f} is expected", name))
    elif expected is not None and not is_calibrated and expected < EXPECTED_DICE:
        found.append(Reason(1.0, f"{name}: the network itself expects a Dice of {expected:.2f}", name))
    elif expected is None and confidence and confidence[0] < MEAN_CONFIDENCE:
        found.append(Reason(1.0, f"{name}: mean confidence {confidence[0]:.2f}", name))
    if disagreement is not None and disagreement > FLIP_DISAGREEMENT:
        found.append(Reason(1.0 - disagreement, f"{name}: {disagreement:.0%} disagreement when the scan is flipped", name))
    return found


def _structure(structure: Structure, normal: Mapping[str, Any], left_out_ml: float = 0.0) -> list[Reason]:
    """What speaks against one structure as it was found.

    Weights were chosen on phantoms of seed 4242 with a quickstart network; docs/quality.md reports other phantoms.
    """
    name, found, source = structure.name, [], normal["source"]
    if structure.volume_ml == 0:
        return [Reason(0.0, f"{name}: not found", name)]
    if "volume_ml" in normal:
        low, high = normal["volume_ml"]
        if not low <= structure.volume_ml <= high:
            weight = max(0.1, structure.volume_ml / low if structure.volume_ml < low else high / structure.volume_ml)
            size = f"{amount(structure.volume_ml)} ml"
            limits = f"{_limit(low)} to {_limit(high)} ml"
            found.append(Reason(weight, f"{name}: {size} ({source['volume_ml']}: {limits})", name))
    low, high = normal["mean_hu"]
    if structure.mean_hu is not None and not low <= structure.mean_hu <= high:
        found.append(Reason(0.5, f"{name}: mean {structure.mean_hu:.0f} HU ({source['mean_hu']}: {low:.0f} to {high:.0f} HU)", name))
    stray = (sum(structure.piece_ml[int(normal["pieces"]) :]) + left_out_ml) / (structure.volume_ml + left_out_ml)
    if stray > STRAY_FRACTION:
        pieces = "more pieces" if left_out_ml else f"{structure.components} pieces"
        note = f", {amount(left_out_ml)} ml left out" if left_out_ml else ""
        found.append(Reason(1.0 - stray / 2, f"{name}: {pieces}, {stray:.0%} of it apart from the main part{note}", name))
    if structure.touches_border:
        found.append(Reason(0.95, f"{name}: reaches the border of the scan, may be cut off", name))
    return found


def _limit(ml: float) -> str:
    """A limit as it is read: whole ml, or two digits of what is less than 1."""
    return f"{ml:.0f}" if ml >= 1 or ml == 0 else f"{ml:.2g}"


def _positions(measured: Mapping[str, Structure], ranges: Mapping[str, Any] | None) -> list[Reason]:
    """Structures on the wrong side of each other: the scan is the wrong way round, or one of them is something else."""
    found = []
    for name, one in measured.items():
        for other, two in measured.items():
            limits, source = usual_offsets(name, other, ranges)
            if not limits or not (one.centroid_mm and two.centroid_mm):
                continue
            for axis, low, high in limits:
                apart = one.centroid_mm[axis] - two.centroid_mm[axis]
                if not low <= apart <= high:
                    weight = 0.3 if apart * (low + high) < 0 else 0.6
                    place = f"{abs(apart):.0f} mm {SIDES[axis][apart <= 0]} the {other}"
                    found.append(Reason(weight, f"{name}: its centre is {place} ({source}: {_span(axis, low, high)})", name))
    return found


def _span(axis: int, low: float, high: float) -> str:
    """A range of offsets in words, such as "20 to 160 mm to the left"."""
    words = [side.removesuffix(" of") for side in SIDES[axis]]
    if low * high >= 0:
        near, far = sorted((abs(low), abs(high)))
        return f"{near:.0f} to {far:.0f} mm {words[low + high <= 0]}"
    return f"{-low:.0f} mm {words[1]} to {high:.0f} mm {words[0]}"
