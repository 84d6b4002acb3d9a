"""What is usual for a structure: volume, HU, pieces, and where it is relative to the others; learned from labels or the literature's."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from bundle.errors import UserError
from bundle.json_input import kind, read_object
from bundle.labels import Labels, check_known

Range = tuple[float, float]

# Plausible adult volumes in ml, wide on purpose: a volume outside deserves a look, a volume inside proves nothing.
# Sources (docs/quality.md has the figures): pancreas 62.6 +- 19.1 ml, doi 10.4258/hir.2020.26.4.321; spleen 198 +- 88 ml,
# doi 10.5603/FM.2014.0038; right kidney, median 138 (women) and 174 ml (men), doi 10.3390/jcm13030769; liver 1281 +- 219 ml,
# doi 10.7860/JCDR/2019/41932.13038. Upper limits leave room for disease as the expert maps of public cohorts show it.
ADULT_VOLUME_ML: dict[str, Range] = {
    "pancreas": (20.0, 150.0),
    "spleen": (50.0, 600.0),
    "kidney": (120.0, 600.0),
    "kidneys": (120.0, 600.0),
    "left kidney": (60.0, 320.0),
    "right kidney": (60.0, 320.0),
    "liver": (600.0, 3000.0),
}
# Where the first is relative to the second, centre to centre in RAS+ mm: (axis, low, high). In 14 expert label maps
# (TCIA Pancreas-CT, BTCV) spleen - pancreas is -96..-60 in x, pancreas - left kidney 33..78 in x and 43..72 in y,
# spleen - liver -200..-134 in x, spleen - left kidney 30..85 in z. The limits say little more than the side.
ADULT_OFFSET_MM: dict[tuple[str, str], tuple[tuple[int, float, float], ...]] = {
    ("spleen", "pancreas"): ((0, -160.0, -20.0), (1, -140.0, 10.0), (2, -40.0, 120.0)),
    ("spleen", "liver"): ((0, -280.0, -60.0),),
    ("spleen", "kidney"): ((0, -220.0, -5.0), (2, -15.0, 170.0)),
    ("spleen", "kidneys"): ((0, -220.0, -5.0), (2, -15.0, 170.0)),
    ("spleen", "left kidney"): ((2, -15.0, 170.0),),
    ("pancreas", "kidney"): ((1, 5.0, 140.0),),
    ("pancreas", "kidneys"): ((1, 5.0, 140.0),),
    ("pancreas", "left kidney"): ((0, 5.0, 150.0), (1, 5.0, 140.0)),
    ("pancreas", "right kidney"): ((0, -150.0, 0.0), (1, 5.0, 140.0)),
    ("pancreas", "liver"): ((0, -180.0, -20.0),),
}
# organs of the abdomen in CT, from no contrast (about 20 to 70 HU, a fatty pancreas below) to a kidney in the portal phase
SOFT_TISSUE_HU: Range = (-40.0, 300.0)
FIX = "write it with `python -m bundle ranges DATASET OUT`"
IN_ADULTS, IN_TRAINING = "usual in adults", "usual in the training set"


def usual(name: str, ranges: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is usual for one structure: `volume_ml` and `mean_hu` (low, high), `pieces`, and per key whence, in words, in `source`.

    `ranges` is what `load_ranges` gives, or a plain mapping of names to (low, high) in ml, or None for the literature's.
    What `ranges` does not know about the structure is the literature's.
    """
    key = _words(name)
    known: dict[str, Any] = {"mean_hu": SOFT_TISSUE_HU, "pieces": 2 if key in ("kidney", "kidneys") else 1}
    if key in ADULT_VOLUME_ML:
        known["volume_ml"] = ADULT_VOLUME_ML[key]
    source = dict.fromkeys(known, IN_ADULTS)
    given = (ranges or {}).get("structures", ranges or {}).get(name, {})
    learned = dict(given) if isinstance(given, Mapping) else {"volume_ml": tuple(given)}
    return known | learned | {"source": source | dict.fromkeys(learned, IN_TRAINING)}


def usual_offsets(name: str, other: str, ranges: Mapping[str, Any] | None) -> tuple[tuple[tuple[int, float, float], ...], str]:
    """Where `name` usually is relative to `other`: ((axis, low, high in RAS+ mm), ...), and whence that is known, in words."""
    learned = (ranges or {}).get("offsets_mm", {})
    if other in learned.get(name, {}):
        return tuple((axis, *limits) for axis, limits in enumerate(learned[name][other])), IN_TRAINING
    if name in learned.get(other, {}):
        return (), IN_TRAINING  # known the other way round
    return ADULT_OFFSET_MM.get((_words(name), _words(other)), ()), IN_ADULTS


def load_ranges(path: str | os.PathLike | None, labels: Labels | None = None) -> dict[str, Any] | None:
    """Read a file that the verb `ranges` wrote; None or "" gives None, which means the literature's ranges.

    Args:
        path: the file.
        labels: the `labels` block of what it is for.

    Raises:
        UserError: there is no such file, it is no ranges file, a value in it is not what it must be, or it knows none of the structures.
    """
    if path is None or str(path) == "":
        return None
    if not os.path.isfile(path):
        raise UserError(path, "there is no such file", FIX)
    ranges = read_object(path, '{"structures": {"spleen": {"volume_ml": [50, 600]}}}')
    if not isinstance(ranges.get("structures"), dict):
        raise UserError(path, "has no 'structures' block", FIX)
    for name, entry in ranges["structures"].items():
        if isinstance(entry, list):
            _check_limits(path, name, entry)
            continue
        if not isinstance(entry, dict):
            raise UserError(path, f"{name} is {kind(entry)}", f'write {{"{name}": {{"volume_ml": [low, high]}}}}')
        for key in entry.keys() & {"volume_ml", "mean_hu"}:
            _check_limits(path, f"{name}, {key}", entry[key])
        pieces = entry.get("pieces", 1)
        if not isinstance(pieces, int) or isinstance(pieces, bool) or pieces < 1:
            raise UserError(path, f"{name}, pieces is {kind(pieces)}", "write a whole number from 1 up")
    _check_offsets(path, ranges.get("offsets_mm", {}))
    if labels is not None:
        check_known(ranges["structures"], labels, path)
    return ranges


def _check_limits(path: str | os.PathLike, where: str, limits: Any) -> None:
    numbers = isinstance(limits, list) and all(isinstance(n, (int, float)) and not isinstance(n, bool) and math.isfinite(n) for n in limits)
    if not numbers or len(limits) != 2 or not limits[0] <= limits[1]:
        raise UserError(path, f"{where} is {limits if isinstance(limits, list) else kind(limits)}", "write two numbers, [low, high]")


def _check_offsets(path: str | os.PathLike, offsets: Any) -> None:
    example = 'write {"spleen": {"liver": [[low, high], [low, high], [low, high]]}} in mm, towards the right, front and head'
    if not isinstance(offsets, dict):
        raise UserError(path, f"offsets_mm is {kind(offsets)}", example)
    for name, others in offsets.items():
        if not isinstance(others, dict):
            raise UserError(path, f"offsets_mm of {name} is {kind(others)}", example)
        for other, axes in others.items():
            if not isinstance(axes, list) or len(axes) != 3:
                raise UserError(path, f"offsets_mm of {name} and {other} is {kind(axes)}", example)
            for limits in axes:
                _check_limits(path, f"offsets_mm of {name} and {other}", limits)


def _words(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())
