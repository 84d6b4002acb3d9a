"""Files that a list names: where they are, also where they were packed or unpacked since the list was written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bundle.data.datalist import ENDINGS


class Finder:
    """Finds the files that a list names, each looked for once.

    Args:
        bases: folders where relative paths start, the first one first.
    """

    def __init__(self, bases: Sequence[Path]) -> None:
        self.bases = [base.absolute() for base in bases]
        self.known: dict[str, str | None] = {}
        self.folders: dict[Path, dict[str, str]] = {}

    def file(self, path: str) -> str | None:
        """The file that `path` names, also where it was packed or unpacked since (`.nii` for `.nii.gz` and the other way).

        Backslashes of Windows count as slashes, and nnU-Net's lists leave out the `_0000` of its files.
        """
        if path not in self.known:
            names = dict.fromkeys((path, path.replace("\\", "/")))
            paths = [Path(os.path.normpath(base / os.path.expanduser(name))) for name in names for base in self.bases]
            found = (str(wanted) for wanted in paths if os.path.isfile(wanted) or os.path.isdir(wanted))
            self.known[path] = next(found, None) or next((other for wanted in paths if (other := self._nearest_file(wanted))), None)
        return self.known[path]

    def _nearest_file(self, wanted: Path) -> str | None:
        if not wanted.name.lower().endswith(ENDINGS):
            return None
        if wanted.parent not in self.folders:
            names = sorted(os.listdir(wanted.parent), reverse=True) if os.path.isdir(wanted.parent) else []
            self.folders[wanted.parent] = {stem(name): str(wanted.parent / name) for name in names if name.lower().endswith(ENDINGS)}
        there = self.folders[wanted.parent]
        return there.get(stem(wanted)) or there.get(f"{stem(wanted)}_0000")


def stem(path: str | os.PathLike) -> str:
    """File name without its ending: `a.1.NII.GZ` gives `a.1`; other endings lose their last suffix."""
    # a folder may hold thousands of paths: one that is a path already is not taken apart again
    name = path.name if isinstance(path, Path) else Path(path).name
    ending = next((ending for ending in ENDINGS if name.lower().endswith(ending)), "")
    return name[: -len(ending)] if ending else Path(name).stem
