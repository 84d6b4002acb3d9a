"""Entries of a dataset that are not of `find_scans`: what they lack is made of the image's path."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from bundle.errors import UserError
from bundle.images.names import stem


def entries(data: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The entries, each with `case` and `source`; those that have both come back as they are.

    Args:
        data: dictionaries with `image`, a path or the paths of a series' slices.

    Raises:
        UserError: an entry without an image.
    """
    found: list[dict[str, Any]] = []
    taken = {str(item["case"]) for item in data if isinstance(item, Mapping) and "case" in item}
    for item in data:
        if not isinstance(item, Mapping) or not item.get("image"):
            raise UserError("dataset", f"an entry has no image: {str(item)[:80]}", "give entries such as {'image': 'scan.nii.gz'}")
        image = item["image"]
        several = isinstance(image, (list, tuple))
        source = os.path.dirname(image[0]) if several else os.fspath(image)
        case = str(item["case"]) if "case" in item else _free(os.path.basename(source) if several else stem(source), taken)
        taken.add(case)
        found.append({"source": source, **item, "case": case})
    return found


def _free(name: str, taken: set[str]) -> str:
    """The name, or where it is taken the name with the first number that is free."""
    numbered = (f"{name}_{number}" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(one for one in numbered if one not in taken)
