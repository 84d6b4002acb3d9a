"""Label maps on disk: which file is which case, and what it holds as whole numbers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from bundle import images
from bundle.errors import UserError
from bundle.images import VOLUME_ENDINGS, ending, kind, nifti, stem
from bundle.images.names import PAIR_ENDINGS, voxels_of_pair
from bundle.images.reading import unreadable
from bundle.images.voxels import check_grid
from bundle.labels import TOLERANCE

SUFFIXES = ("_seg", ".seg")  # the bundle's, and 3D Slicer's (`case.seg.nrrd`)
BESIDE = re.compile(r"_(0000|confidence|probabilities|attention_level\d+)$")  # what belongs to a case and is not its label map
LARGEST = 2**31 - 1  # a value beyond is not a label
SLAB = 2**22  # voxels that are looked at at once


def case_name(path: str | os.PathLike) -> str:
    """The case a label map belongs to: its file name without extension and without `_seg` or `.seg`."""
    name = stem(path)
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.endswith(suffix)), name)


def find(
    where: str | os.PathLike | Iterable[str | os.PathLike] | Mapping[str, str | os.PathLike], what: str = "label maps"
) -> dict[str, Path]:
    """The label maps of a folder (searched recursively), a file, or a list of files, by case name; or those given by name.

    Where a folder holds `<case>_seg`, what else is there for the same case is left alone: the scan, probabilities, attention
    maps. Hidden files are left alone. Files of one name in several sub-folders get the sub-folder into their name.

    Args:
        where: folder, file, list of files, or name to file.
        what: is looked for, in the words of messages.

    Raises:
        UserError: nothing there, or two files for one case.
    """
    if isinstance(where, Mapping):
        return {str(name): Path(path) for name, path in sorted(where.items())}
    if isinstance(where, (str, os.PathLike)):
        base = Path(where)
        if not base.exists():
            raise UserError(base, "there is no such file or folder", f"give the folder that holds the {what}")
        files = [base] if base.is_file() else _search(base)
        if not files:
            raise UserError(base, f"holds no {what}", f"give the folder that holds them: files that end in {', '.join(VOLUME_ENDINGS)}")
    else:
        base, files = None, [Path(item) for item in where]
        if not files:
            raise UserError(what, "the list of files is empty", "give at least one")
    found: dict[str, list[Path]] = {}
    for path in files:
        found.setdefault(case_name(path), []).append(path)
    named: dict[str, Path] = {}
    for name, paths in found.items():
        for path in paths:
            folder = "" if base is None or base == path else path.parent.relative_to(base).as_posix()
            key = name if len(paths) == 1 or folder in ("", ".") else f"{folder}/{name}"
            if key in named:
                raise UserError(path, f"is the second label map of case '{key}'; the other is {named[key]}", "remove or rename one of them")
            named[key] = path
    return dict(sorted(named.items()))


def _search(folder: Path) -> list[Path]:
    files = [path for path in sorted(folder.rglob("*")) if path.name.lower().endswith(VOLUME_ENDINGS) and path.is_file()]
    files = [path for path in files if ending(path) not in PAIR_ENDINGS or voxels_of_pair(path)]  # else ENVI's, or another's
    files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    marked = {(path.parent, case_name(path)) for path in files if stem(path).endswith(SUFFIXES)}
    return [path for path in files if stem(path).endswith(SUFFIXES) or not _belongs(path, marked)]


def _belongs(path: Path, marked: set[tuple[Path, str]]) -> bool:
    """Whether a file is of a case that has a label map by the name of `<case>_seg` next to it."""
    name = stem(path)
    return (path.parent, name) in marked or (path.parent, BESIDE.sub("", name)) in marked


def grid(path: Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine (4x4, voxel to RAS+ mm) of a label map; NIfTI by its header alone."""
    if kind(path) in ("nifti", "mgh"):
        try:
            stored = nifti.header(path)
            check_grid(str(path), stored.shape, dtype=stored.dtype)
        except Exception as error:  # nibabel's own exceptions share no base class
            raise unreadable(path, error) from error
        return tuple(stored.shape[:3]), stored.affine
    array, affine = read(path)
    return array.shape, affine


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A label map (X, Y, Z) of the smallest integer type, and its affine (4, 4), from voxel indices to RAS+ mm.

    Raises:
        UserError: a file that cannot be read, that is not 3-D, or whose values are not whole numbers.
    """
    array, affine, _ = images.read(path)
    return _integers(array, path), affine


def _integers(array: np.ndarray, path: Path) -> np.ndarray:
    """Values as integers, slab by slab where they are stored as floats or scaled."""
    if array.dtype.kind in "iub":
        return array.view(np.uint8) if array.dtype == bool else array
    values = np.empty(array.shape, dtype=np.int32)
    step = max(1, SLAB // max(1, array.shape[0] * array.shape[1]))
    for start in range(0, array.shape[2], step):
        slab = array[:, :, start : start + step].astype(np.float64)
        with np.errstate(invalid="ignore"):
            whole = np.rint(slab)
            good = (np.abs(slab - whole) <= TOLERANCE) & (np.abs(whole) <= LARGEST)
        if not good.all():
            wrong = slab[~good][0]
            raise UserError(path, f"holds the value {wrong:.9g}", "label maps hold whole numbers; give the labels, not probabilities")
        values[:, :, start : start + step] = whole
    return values.astype(np.uint8) if 0 <= values.min(initial=0) and values.max(initial=0) <= 255 else values


def values_in(array: np.ndarray) -> set[int]:
    """All values that a label map (X, Y, Z) holds, the background and values below 0 and above 255 among them."""
    found: set[int] = set()
    step = max(1, SLAB // max(1, array.shape[0] * array.shape[1]))
    for start in range(0, array.shape[2], step):
        slab = array[:, :, start : start + step]
        labelled = slab[slab != 0]  # of a label map little, and sorting takes the time
        found.update(np.unique(labelled).tolist())
        found.update({0} if labelled.size < slab.size else ())
    return found
