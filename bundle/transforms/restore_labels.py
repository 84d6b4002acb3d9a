"""From logits on the network's grid to a label map on the source's own grid."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms import Invertd, MapTransform

from bundle.transforms.interpolated_argmax import InterpolatedArgmax, interpolated

# slices that one thread takes at a time
SLAB = 16
# what MONAI's SaveImage asks of a label map: where it came from, and which of its axes are spatial
KEPT = ("filename_or_obj", "spatial_shape", "original_channel_dim")


class RestoreLabelsd(Invertd):
    """Logits to a label map on the grid of the scan as it was stored: same shape, same affine, same order of axes.

    Gives, voxel for voxel, what MONAI's `Invertd` of all classes followed by `AsDiscreted(argmax=True)` gives, which holds
    every class at full resolution (9.4 GB for 14 classes of a 512x512x200 scan); here that never exists. Voxels that the
    crop to the body took away are background. Keeps no state. An `Invertd` by type only: MONAI Label, where it scores
    uncertainty, skips what is one and continues with the logits.

    Args:
        keys: logits (K, X, Y, Z), on the grid of `source_key`.
        source_key: the preprocessed image, a `MetaTensor` that knows where it came from; where it knows its own affine alone, or
            where that is in the item `<source_key>_meta_dict` next to a plain tensor, its own grid is the source's.
        values: value that each channel gets in the label map; channel numbers by default.
        allow_missing_keys: do not raise where a key is missing.

    Raises:
        ValueError: the image does not know the grid it came from.
    """

    def __init__(
        self, keys: KeysCollection, source_key: str = "image", values: Sequence[int] | None = None, allow_missing_keys: bool = False
    ) -> None:
        # not Invertd's own: there is no chain of transforms to invert here
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.source_key, self.values = source_key, None if values is None else [int(value) for value in values]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace every key by its label map (1, X, Y, Z), uint8, with the source's affine."""
        d = dict(data)
        for key in self.key_iterator(d):
            image = _knowing_its_source(with_grid(d[self.source_key], d.get(f"{self.source_key}_meta_dict")))
            labels = restore_labels(d[key], image, self.values)
            affine = torch.as_tensor(image.meta["original_affine"])
            restored = MetaTensor(torch.from_numpy(labels)[None], affine=affine)
            known = image.meta
            restored.meta.update({"original_affine": affine, **{name: known[name] for name in KEPT if known.get(name) is not None}})
            d[key] = restored
        return d


def with_grid(image: torch.Tensor, meta: Mapping | None = None) -> torch.Tensor:
    """A preprocessed image (C, X, Y, Z) that knows the grid it came from, as far as it or `meta` says so.

    An image that nothing has been done to came from its own grid.
    """
    if not isinstance(image, MetaTensor):
        if meta is None or meta.get("affine") is None:
            return image
        image = MetaTensor(image, meta={**meta, "affine": torch.as_tensor(meta["affine"], dtype=torch.float64)})
    if "original_affine" in image.meta or "spatial_shape" in image.meta or image.applied_operations or "affine" not in image.meta:
        return image
    copy = image.clone()
    assert isinstance(copy, MetaTensor)
    copy.meta.update({"original_affine": copy.affine, "spatial_shape": np.array(copy.shape[1:])})
    return copy


def restore_labels(logits: torch.Tensor, image: MetaTensor, values: Sequence[int] | None = None) -> np.ndarray:
    """Label map (X, Y, Z), uint8, on the source's grid, from logits on the grid of the preprocessed image.

    Args:
        logits: (K, X, Y, Z).
        image: the preprocessed image (C, X, Y, Z).
        values: value that each channel gets; channel numbers by default.

    Returns:
        An array whose first axis varies fastest in memory, as NIfTI stores it.
    """
    logits = logits.as_tensor() if isinstance(logits, MetaTensor) else logits
    table = np.arange(256, dtype=np.uint8) if values is None else np.asarray(values, dtype=np.uint8)
    labels = _source_grid(logits.shape[1:], image)
    labels.fill(table[0])
    target, matrix, slab_axis = _target(labels, image)
    grid = InterpolatedArgmax(logits, matrix, target.shape, slab_axis)
    count = target.shape[slab_axis]

    def fill(start: int) -> None:
        for where, slab in grid.slabs(start, min(count, start + SLAB)):
            target[_along(slab_axis, where)] = slab if values is None else table[slab]

    _share_out(fill, range(0, count, SLAB))
    return labels


# while a thread sets a number of its own, which is that of all threads for a moment
_setting = threading.Lock()


def _share_out(work: Callable[[int], None], starts: Sequence[int]) -> None:
    """Do pieces of work in as many threads as PyTorch has, each of them with single-threaded operations.

    The operations are small: with PyTorch's own threads most of the time goes into their waiting for each other (seconds
    of spinning for each scan on a busy machine).
    """
    with _setting:
        threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads, "restore", initializer=_alone, initargs=(threads,)) as pool:
        list(pool.map(work, starts))


def _alone(threads: int) -> None:
    """Single-threaded operations in the thread that calls; in those that start later so many as before.

    PyTorch gives a thread, when it first asks, the number that was set last, wherever that was.
    """
    with _setting:
        # asks first: later it would get another number than its own
        torch.get_num_threads()
        torch.set_num_threads(1)
        # by a thread that does nothing else, as it would be this one's number as well
        back = threading.Thread(target=torch.set_num_threads, args=(threads,))
        back.start()
        back.join()


def restore_bytes(values: torch.Tensor, image: MetaTensor) -> np.ndarray:
    """Values between 0 and 1 on the grid of the preprocessed image, interpolated onto the source's grid, in steps of 1/255.

    Args:
        values: (X, Y, Z) in [0, 1].
        image: the preprocessed image (C, X, Y, Z).

    Returns:
        uint8 (X, Y, Z), 0 where the crop to the body took voxels away.
    """
    restored = _source_grid(values.shape, image)
    target, matrix, slab_axis = _target(restored, image)
    for where, slab in interpolated(values, matrix, target.shape, slab_axis):
        target[_along(slab_axis, where)] = np.rint(np.clip(slab, 0, 1) * 255)
    return restored


def _along(axis: int, where: slice) -> tuple[slice, ...]:
    return tuple(where if i == axis else slice(None) for i in range(3))


def _source_grid(shape: Sequence[int], image: MetaTensor) -> np.ndarray:
    """Zeros on the source's grid, the first axis fastest in memory; `shape` must be that of the preprocessed image."""
    _knowing_its_source(image)
    if tuple(shape) != tuple(image.shape[1:]):
        raise ValueError(f"values {tuple(shape)} and image {tuple(image.shape[1:])} must have one grid.")
    source_shape = [int(n) for n in np.asarray(image.meta["spatial_shape"]).ravel()[:3]]
    return np.zeros(source_shape[::-1], dtype=np.uint8).T


def _knowing_its_source(image: torch.Tensor) -> MetaTensor:
    """The preprocessed image, if it knows the grid it came from."""
    if not isinstance(image, MetaTensor) or "original_affine" not in image.meta or "spatial_shape" not in image.meta:
        raise ValueError("the preprocessed image must be a MetaTensor loaded by MONAI: it does not know the grid it came from.")
    return image


def source_region(labels: np.ndarray, image: MetaTensor) -> np.ndarray:
    """The part of a label map on the source's grid that was preprocessed to `image`, with the axes of the image: a view."""
    return _region(labels, np.asarray(image.meta["original_affine"], dtype=np.float64), image)[0]


def _target(labels: np.ndarray, image: MetaTensor) -> tuple[np.ndarray, np.ndarray, int]:
    """The part of the source to fill, the matrix from its indices to the image's, and its axis that is slowest in memory."""
    source_affine = np.asarray(image.meta["original_affine"], dtype=np.float64)
    target, region_affine = _region(labels, source_affine, image)
    matrix = np.linalg.solve(np.asarray(image.affine, dtype=np.float64), region_affine)
    return target, matrix, int(np.argmax(np.abs(target.strides)))


def _region(labels: np.ndarray, source_affine: np.ndarray, image: MetaTensor) -> tuple[np.ndarray, np.ndarray]:
    """The part of the source that went into resampling, as a view with its axes, and that part's affine.

    MONAI notes in `applied_operations` which grid was resampled: the source turned to RAS and cropped. Without such a note
    every source voxel belongs to it.
    """
    resampled = [op for op in image.applied_operations if "src_affine" in op.get("extra_info", {})]
    if not resampled:
        return labels, source_affine
    # the first: there may be several steps, all between this grid and that of the image
    affine = np.asarray(resampled[0]["extra_info"]["src_affine"], dtype=np.float64)
    shape = [int(n) for n in resampled[0]["orig_size"]]
    # from indices of the resampled grid to those of the source: axes swapped and turned round, and shifted by the crop
    step = np.linalg.solve(source_affine, affine)
    order = [int(np.argmax(np.abs(step[:3, axis]))) for axis in range(3)]
    start = np.rint(step[:3, 3]).astype(int)
    view = labels.transpose(order)
    index = []
    for axis, source_axis in enumerate(order):
        first, backwards = int(start[source_axis]), step[source_axis, axis] < 0
        last = first - shape[axis] if backwards else first + shape[axis]
        index.append(slice(first, last if last >= 0 else None, -1 if backwards else 1))
    return view[tuple(index)], affine
