"""Label maps on disk: which file is which case, what it holds, and bringing one onto another's grid without resampling."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy.ndimage import find_objects

from bundle import labels as label_block
from bundle import root
from bundle.errors import UserError

NIFTI = (".nii.gz", ".nii")
EXTENSIONS = (*NIFTI, ".nrrd", ".nhdr", ".mha", ".mhd")
SUFFIX = "_seg"
TOLERANCE = 0.05  # voxels: far above what float32 affines and quaternions lose, far below what a shifted grid shows
FLOAT_SLAB = 2**22


def case_name(path: str | os.PathLike) -> str:
    """The case a label map belongs to: its file name without extension and without `_seg`."""
    return _stem(Path(path)).removesuffix(SUFFIX)


def _stem(path: Path) -> str:
    for extension in EXTENSIONS:
        if path.name.lower().endswith(extension):
            return path.name[: -len(extension)]
    return path.stem


def find(where: str | os.PathLike | Iterable[str | os.PathLike]) -> dict[str, Path]:
    """The label maps of a folder (searched recursively), a file, or a list of files, by case name.

    Where a folder holds `<case>_seg` files, only those count: the others are confidence maps, previews' sources and the
    like. Hidden files are left alone. Files of one name in several sub-folders get the sub-folder into their name.

    Raises:
        UserError: nothing there, or two files for one case.
    """
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
    return [path for path in files if _stem(path).endswith(SUFFIX)] or files


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
        if not np.allclose(slab, whole, rtol=0, atol=1e-3):
            wrong = slab[~np.isclose(slab, whole, rtol=0, atol=1e-3)][0]
            raise UserError(path, f"holds the value {wrong:g}", "label maps hold whole numbers; give the labels, not probabilities")
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
    """The values from 1 to 255 that a label map holds."""
    return {value for value, box in enumerate(find_objects(array, 255), start=1) if box is not None}


def describe(shape: tuple[int, ...], affine: np.ndarray) -> str:
    """A grid in words: size, spacing, axis codes and origin."""
    from nibabel.affines import voxel_sizes
    from nibabel.orientations import aff2axcodes

    size, spacing = "x".join(str(n) for n in shape), "x".join(f"{value:.3g}" for value in voxel_sizes(affine))
    codes = "".join(str(code) for code in aff2axcodes(affine))
    return f"{size} voxels of {spacing} mm, {codes}, origin ({', '.join(f'{value:.1f}' for value in affine[:3, 3])})"


def resolve_labels(labels: label_block.Labels | str | os.PathLike | None, references: Path | None) -> tuple[dict, str]:
    """The `labels` block to score with, and where it comes from.

    Args:
        labels: the block itself; or a JSON file with `labels` in it (a config of the bundle, an MSD or nnU-Net
            `dataset.json`); or None: `dataset.json` beside the folder of references, else the bundle's own inference config.
        references: the folder of references.
    """
    if isinstance(labels, (str, os.PathLike)):
        return _labels_of(Path(labels)), str(labels)
    if labels is not None:
        label_block.check(labels)
        return dict(labels), "argument"
    folders = [] if references is None else [references, references.parent]
    for path in [folder / "dataset.json" for folder in folders] + [Path(root()) / "configs" / "inference.json"]:
        if path.is_file():
            return _labels_of(path), str(path)
    raise UserError("labels", "are not known", 'say which value is what: --labels \'{"background": 0, "pancreas": 1}\'')


def _labels_of(path: Path) -> dict:
    try:
        block = json.loads(path.read_text(encoding="utf-8"))["labels"]
        if all(str(key).isdigit() for key in block):  # MSD: value to name
            block = {name: int(value) for value, name in sorted(block.items(), key=_number)}
        block = {name.lower() if name.lower() == "background" else name: value for name, value in block.items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        fix = 'write "labels": {"background": 0, "pancreas": 1, ...} into it'
        raise UserError(path, f"has no usable 'labels' ({error!r})", fix) from error
    if "background" not in block:
        block = {"background": 0, **{name: value for name, value in block.items() if value != 0}}
    ordered = {"background": block["background"], **block}
    label_block.check(ordered)
    return ordered


def _number(item: tuple[str, str]) -> int:
    return int(item[0])
