"""Files of a prepared data set: links to the originals, and which file serves as a target."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from bundle.data.datalist import ENDINGS
from bundle.files import written_aside

LINKS = ("symlink", "hardlink", "copy")


def ending(path: Path) -> str:
    """`.nii` or `.nii.gz`, as the file is packed."""
    return next(end for end in ENDINGS if path.name.lower().endswith(end))


def link(source: Path, target: Path, how: str = "symlink") -> Path:
    """Make `target` (its ending is added) another name of `source`; where the system allows no link, a copy.

    A copy is never a link: who asks for copies may delete the originals. A target with the other ending goes: it is of before the
    original was packed or unpacked, and would be taken in place of this one.

    Raises:
        OSError: no way worked; it says why.
    """
    outdated = [target.with_name(target.name + end) for end in ENDINGS if end != ending(source)]
    target = target.with_name(target.name + ending(source))
    ways: dict[str, Callable[[Path, Path], object]] = {"symlink": os.symlink, "hardlink": os.link, "copy": shutil.copyfile}
    others = [] if how == "copy" else [other for other in LINKS[1:] if other != how]
    why = ""
    with written_aside(target) as aside:
        for way in [how, *others]:
            try:
                ways[way](source.resolve(), aside)
                break
            except OSError as error:  # no rights (Windows), another disk, a full one
                why = error.strerror or str(error)
                aside.unlink(missing_ok=True)
        else:
            raise OSError(f"cannot {'link or ' if others else ''}copy {source} to {target} ({why})")
    for path in outdated:
        path.unlink(missing_ok=True)
    return target


def made_by(path: Path, source: Path, how: str) -> bool:
    """Whether a file that is there is another name of `source` in the wanted way; a copy is taken for one of `source`."""
    if path.is_symlink():
        return how == "symlink"
    return how == ("hardlink" if path.samefile(source) else "copy")


def written(target: Path) -> Path | None:
    """The file that serves as `target`, with either ending, None where there is none (or its link leads nowhere)."""
    return next((path for end in ENDINGS if (path := target.with_name(target.name + end)).exists()), None)


def source_stamp(paths: list[Path]) -> list[list]:
    """Path, size and time of change of every source; of a folder, of all files in it together."""
    stamps = []
    for path in paths:
        files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
        status = [item.stat() for item in files]
        stamps.append([str(path), sum(item.st_size for item in status), max((item.st_mtime_ns for item in status), default=0)])
    return stamps
