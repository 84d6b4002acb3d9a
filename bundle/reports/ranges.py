"""What is usual for a structure: volume, HU, pieces and position against the others, from a labelled folder or the literature."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.errors import UserError

# Plausible adult volumes in ml, wide on purpose: a volume outside deserves a look, a volume inside proves nothing.
# Sources (docs/quality.md has the figures): pancreas 62.6 +- 19.1 ml, doi 10.4258/hir.2020.26.4.321; spleen 198 +- 88 ml,
# doi 10.5603/FM.2014.0038; one kidney 138-180 ml, 5th percentile 92-134 ml, doi 10.3390/jcm13030769; liver 1281 +- 219 ml,
# doi 10.7860/JCDR/2019/41932.13038. Upper limits leave room for disease as the expert maps of public cohorts show it.
ADULT_VOLUME_ML: dict[str, tuple[float, float]] = {
    "pancreas": (20.0, 150.0),
    "spleen": (50.0, 600.0),
    "kidney": (120.0, 600.0),
    "kidneys": (120.0, 600.0),
    "left kidney": (60.0, 320.0),
    "right kidney": (60.0, 320.0),
    "liver": (600.0, 3000.0),
}
# organs of the abdomen in CT, from no contrast (about 20 to 70 HU) to a kidney in the portal phase (about 200 HU)
SOFT_TISSUE_HU = (-30.0, 300.0)


def usual(name: str, ranges: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is usual for one structure: keys among `volume_ml` (low, high), `mean_hu` (low, high), `pieces` and `source` (in words).

    `ranges` is what `load_ranges` gives, or a plain mapping of names to (low, high) in ml, or None for the literature's.
    """
    key = name.lower().replace("_", " ").strip()
    default = {"mean_hu": SOFT_TISSUE_HU, "pieces": 2 if key in ("kidney", "kidneys") else 1, "source": "usual in adults"}
    if key in ADULT_VOLUME_ML:
        default["volume_ml"] = ADULT_VOLUME_ML[key]
    given = (ranges or {}).get("structures", ranges or {})
    if name not in given:
        return default
    entry = given[name]
    learned = entry if isinstance(entry, Mapping) else {"volume_ml": tuple(entry)}
    return default | dict(learned) | {"source": "in the training set"}


def load_ranges(path: str | os.PathLike | None) -> dict[str, Any] | None:
    """Read a file that `write_ranges` wrote; None gives None, which means the literature's ranges.

    Raises:
        UserError: there is no such file, or it is no ranges file.
    """
    if path is None:
        return None
    try:
        ranges = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(path, "there is no such file", "write it with `python -m bundle ranges DATASET OUT`") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(path, f"is no JSON file ({error})", "write it with `python -m bundle ranges DATASET OUT`") from error
    if not isinstance(ranges, dict) or not isinstance(ranges.get("structures"), dict):
        raise UserError(path, "has no 'structures' block", "write it with `python -m bundle ranges DATASET OUT`")
    return ranges
