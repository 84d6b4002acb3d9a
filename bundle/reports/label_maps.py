"""Label maps on disk: which file is which case, what it holds, and bringing one onto another's grid without resampling."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from bundle.errors import UserError
from bundle.labels import TOLERANCE as VALUE_TOLERANCE

NIFTI = (".nii.gz", ".nii")
EXTENSIONS = (*NIFTI, ".nrrd", ".nhdr", ".mha", ".mhd")
SUFFIXES = ("_seg", ".seg")  # the bundle's, and 3D Slicer's (`case.seg.nrrd`)
BESIDE = re.compile(r"_(0000|confidence|probabilities|attention_level\d+)$")  # what belongs to a case and is not its label map
LARGEST = 2**31 - 1  # a value beyond is not a label
TOLERANCE = 0.05  # voxels: far above what float32 affines and quaternions lose, far below what a shifted grid shows
FLOAT_SLAB = 2**22


def case_name(path: str | os.PathLike) -> str:
    """The case a label map belongs to: its file name without extension and without `_seg` or `.seg`."""
    stem = _stem(Path(path))
    return next((stem[: -len(suffix)] for suffix in SUFFIXES if stem.endswith(suffix)), stem)


def _stem(path: Path) -> str:
    for extension in EXTENSIONS:
        if path.name.lower().endswith(extension):
            return path.name[: -len(extension)]
    return path.stem


def find(where: str | os.PathLike | Iterable[str | os.PathLike] | Mapping[str, str | os.PathLike]) -> dict[str, Path]:
    """The label maps of a folder (searched recursively), a file, or a list of files, by case name; or those given by name.

    Where a folder holds `<case>_seg`, what lies beside it for the same case is left alone: the scan, probabilities, attention
    maps. Hidden files are left alone. Files of one name in several sub-folders get the sub-folder into their name.

    Raises:
        UserError: nothing there, or two files for one case.
    """
    if isinstance(where, Mapping):
        return {str(name): Path(path) for name, path in sorted(where.items())}
    if isinstance(where, (str, os.PathLike)):
        base = Path(where)
        if not base.exists():
            raise UserError(base, "there is no such file or folder", "give the folder that holds the label maps")
        files = [base] if base.is_file() else _search(base)
        if not files:
            raise UserError(base, "holds no label maps", f"files that end in {', '.join(EXTENSIONS)} are looked for")
    else:
        base, files = None, [Path(item) for item in where]
        if not files:
            raise UserError("label maps", "the list of files is empty", "give at least one")
    found: dict[str, list[Path]] = {}
    for path in files:
        found.setdefault(case_name(path), []).append(path)
    named: dict[str, Path] = {}
    for name, paths in found.items():
        for path in paths:
            folder = "" if base is None or base == path else path.parent.relative_to(base).as_posix()
            key = name if len(paths) == 1 or folder in ("", ".") else f"{folder}/{name}"
            if key in named:
                raise UserError(path, f"is the second label map of case '{key}', beside {named[key]}", "remove or rename one of them")
            named[key] = path
    return dict(sorted(named.items()))


def _search(folder: Path) -> list[Path]:
    files = [path for path in sorted(folder.rglob("*")) if path.name.lower().endswith(EXTENSIONS) and path.is_file()]
    files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    marked = {(path.parent, case_name(path)) for path in files if _stem(path).endswith(SUFFIXES)}
    return [path for path in files if _stem(path).endswith(SUFFIXES) or not _belongs(path, marked)]


def _belongs(path: Path, marked: set[tuple[Path, str]]) -> bool:
    """Whether a file is of a case that has a label map by the name of `<case>_seg` beside it."""
    stem = _stem(path)
    return (path.parent, stem) in marked or (path.parent, BESIDE.sub("", stem)) in marked


def grid(path: Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine (4x4, voxel to RAS+ mm) of a label map; NIfTI by its header alone."""
    if path.name.lower().endswith(NIFTI):
        image = _nifti(path)
        return _spatial(image.shape, path), np.asarray(image.affine, dtype=np.float64)
    array, affine = read(path)
    return array.shape, affine


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A label map as an array of the smallest integer type, and its affine (voxel to RAS+ mm).

    Raises:
        UserError: a file that cannot be read, that is not 3-D, or whose values are no whole numbers.
    """
    try:
        if path.name.lower().endswith(NIFTI):
            image = _nifti(path)
            raw, affine = image.dataobj.get_unscaled(), image.affine
            slope, offset = float(image.dataobj.slope), float(image.dataobj.inter)  # the header forgets them on loading
        else:
            from monai.transforms import LoadImage

            loaded = LoadImage(reader="ITKReader", image_only=True, dtype=None)(str(path))
            raw, affine, slope, offset = loaded.numpy(), loaded.affine.numpy(), 1.0, 0.0
    except UserError:
        raise
    except Exception as error:
        raise UserError(path, f"cannot be read ({error})", "write the label map again; the file may be truncated") from error
    array = np.asarray(raw).reshape(_spatial(raw.shape, path))
    return _integers(array, slope, offset, path), np.asarray(affine, dtype=np.float64)


def _nifti(path: Path):
    import nibabel

    try:
        return nibabel.load(path)
    except Exception as error:
        raise UserError(path, f"cannot be read ({error})", "write the label map again; the file may be truncated") from error


def _spatial(shape: tuple[int, ...], path: Path) -> tuple[int, ...]:
    if len(shape) < 3 or any(size != 1 for size in shape[3:]):
        raise UserError(path, f"has the shape {tuple(shape)}", "give one three-dimensional label map per file")
    return tuple(int(size) for size in shape[:3])


def _integers(array: np.ndarray, slope: float, offset: float, path: Path) -> np.ndarray:
    """Values as integers, slab by slab where they are stored as floats or scaled."""
    if array.dtype.kind in "iub" and (slope, offset) == (1.0, 0.0):
        return array.view(np.uint8) if array.dtype == bool else array
    values = np.empty(array.shape, dtype=np.int32)
    step = max(1, FLOAT_SLAB // max(1, array.shape[0] * array.shape[1]))
    for start in range(0, array.shape[2], step):
        slab = array[:, :, start : start + step].astype(np.float64) * slope + offset
        whole = np.rint(slab)
        with np.errstate(invalid="ignore"):
            good = (np.abs(slab - whole) <= VALUE_TOLERANCE) & (np.abs(whole) <= LARGEST)
        if not good.all():
            wrong = slab[~good][0]
            raise UserError(path, f"holds the value {wrong:.9g}", "label maps hold whole numbers; give the labels, not probabilities")
        values[:, :, start : start + step] = whole
    return values.astype(np.uint8) if 0 <= values.min(initial=0) and values.max(initial=0) <= 255 else values


def axes_onto(
    shape: tuple[int, ...], affine: np.ndarray, target_shape: tuple[int, ...], target: np.ndarray
) -> list[tuple[int, int]] | None:
    """For each axis of the target grid, (axis, direction +1 or -1) of this grid; None where they are different grids.

    Two grids are the same when their voxels lie in the same places (0.05 voxels apart at most), in whatever axis order.
    """
    across = np.linalg.solve(affine, target)  # target's voxel index -> this grid's voxel index
    axes = [(int(np.argmax(np.abs(column))), int(np.sign(column[np.argmax(np.abs(column))]))) for column in across[:3, :3].T]
    if sorted(axis for axis, _ in axes) != [0, 1, 2] or tuple(shape[axis] for axis, _ in axes) != tuple(target_shape):
        return None
    exact = np.eye(4)
    exact[:3, :3] = 0
    for column, (axis, direction) in enumerate(axes):
        exact[axis, column] = direction
        exact[axis, 3] = 0 if direction > 0 else shape[axis] - 1
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
    corners[:, :3] *= np.asarray(target_shape) - 1
    return axes if np.abs(corners @ (across - exact).T).max() <= TOLERANCE else None


def reorder(array: np.ndarray, axes: list[tuple[int, int]]) -> np.ndarray:
    """The array with its axes in the order and direction that `axes_onto` found (a view)."""
    return array.transpose([axis for axis, _ in axes])[tuple(slice(None, None, direction) for _, direction in axes)]


def values_in(array: np.ndarray) -> set[int]:
    """All values that a label map holds, the background and values below 0 and above 255 among them."""
    found: set[int] = set()
    step = max(1, FLOAT_SLAB // max(1, array.shape[0] * array.shape[1]))
    for start in range(0, array.shape[2], step):
        slab = array[:, :, start : start + step]
        labelled = slab[slab != 0]  # of a label map little, and sorting takes the time
        found.update(np.unique(labelled).tolist())
        found.update({0} if labelled.size < slab.size else ())
    return found


def describe(shape: tuple[int, ...], affine: np.ndarray) -> str:
    """A grid in words: size, spacing, axis codes and origin."""
    from nibabel.affines import voxel_sizes
    from nibabel.orientations import aff2axcodes

    size, spacing = "x".join(str(n) for n in shape), "x".join(f"{value:.3g}" for value in voxel_sizes(affine))
    codes = "".join(str(code) for code in aff2axcodes(affine))
    return f"{size} voxels of {spacing} mm, {codes}, origin ({', '.join(f'{value:.1f}' for value in affine[:3, 3])})"
