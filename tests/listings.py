"""Data sets on disk for the tests of lists: names alone, as listing opens no file."""

from __future__ import annotations

import json
from pathlib import Path


def touch(root: Path, *names: str) -> None:
    """Empty files: listing opens none."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def msd(root: Path, cases: int, ending: str = ".nii.gz") -> None:
    """A data set in MSD layout."""
    touch(root, *[f"{folder}/case_{number}{ending}" for folder in ("imagesTr", "labelsTr") for number in range(cases)])


def write(path: Path, content: object) -> str:
    """A JSON file; gives its path."""
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def case_names(items: list[dict[str, str]]) -> list[str]:
    """Names of the images of a section."""
    return [Path(item["image"]).name for item in items]
