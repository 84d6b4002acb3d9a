"""Resampling to the network's spacing."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import compute_shape_offset
from monai.transforms import MapTransform, Spacingd, SpatialResample
from monai.transforms.inverse import InvertibleTransform
from monai.utils import LazyAttr, TraceKeys, ensure_tuple_rep

from bundle import grids
from bundle.errors import UserError
from bundle.images.voxels import budget
from bundle.transforms.interpolated_argmax import Axis

# bytes that a voxel of the new grid takes at least: what the network sees, and its logits
BYTES_PER_VOXEL = 16


class ResampleSpacingd(MapTransform, InvertibleTransform):
    """Resample to a spacing, like MONAI's `Spacingd`, for MONAI Label too and for scans with a tilted gantry.

    `Spacingd` of MONAI 1.6 fails when the dictionary holds a plain string such as MONAI Label's `image_path` for the key
    `image`, and it keeps a sheared grid sheared, so the network would see sheared organs. Here strings are hidden from it,
    and a sheared grid is resampled onto an upright one. It also turns the whole scan to floats and looks up eight voxels for
    each new one; here linear interpolation goes along one axis after the other, plane by plane: the same values to float
    rounding in a ninth of the time, without a copy of the scan. Computes in float32 by default (float64 doubles memory and time).

    Args:
        keys: items (C, X, Y, Z), `MetaTensor`s.
        pixdim: wanted spacing in mm, one number or one per axis.
        mode: "bilinear" or "nearest", one for all keys or one per key.
        dtype: what to compute in.
        allow_missing_keys: do not raise where a key is missing.
        memory_gb: GB (10^9 bytes) that the run may take; a scan whose voxels, by a wrong size in its header, would become more
            than that is refused. None for half of what this process may use.

    Raises:
        UserError: the new grid would not fit into memory.
    """

    def __init__(
        self,
        keys: KeysCollection,
        pixdim: Sequence[float] | float,
        mode: str | Sequence[str] = "bilinear",
        dtype: torch.dtype | str = torch.float32,
        allow_missing_keys: bool = False,
        memory_gb: float | None = None,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.memory_gb = memory_gb
        self.pixdim = [float(p) for p in ensure_tuple_rep(pixdim, 3)]
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        self.dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
        # MONAI's annotations name numpy's types alone; PyTorch's are what it computes with
        computing: Any = {"dtype": self.dtype}
        self.upright = Spacingd(self.keys, self.pixdim, mode=self.mode, allow_missing_keys=allow_missing_keys, **computing)
        self.sheared = SpatialResample(padding_mode="border", **computing)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Resample every key."""
        d: dict[Hashable, Any] = dict(data)
        sizes: dict[tuple[int, ...], list[int]] = {}
        if any(is_sheared(d[key].affine) for key in self.key_iterator(d) if isinstance(d[key], MetaTensor)):
            for key, mode in self.key_iterator(d, self.mode):
                affine, shape = upright_grid(d[key].affine, d[key].shape[1:], self.pixdim)
                shape = _rounded_alike(d[key].shape[1:], shape, sizes)
                self._check_room(d[key], shape)
                d[key] = self.sheared(d[key], dst_affine=affine, spatial_size=shape, mode=mode)
            return d
        # a fresh dictionary with the items alone: nothing named `image_...` is in Spacingd's way
        planned = self.upright({key: d[key] for key in self.key_iterator(d)}, lazy=True)
        for key, mode in self.key_iterator(d, self.mode):
            image, plan = d[key], planned[key]
            assert isinstance(plan, MetaTensor)
            shape, affine = _rounded_alike(image.shape[1:], plan.peek_pending_shape(), sizes), plan.peek_pending_affine().clone()
            self._check_room(image, shape)
            done: torch.Tensor | None = None
            if isinstance(image, MetaTensor):
                # MONAI centres the new grid instead where a header of 32 bits rounds a turned one: the same scan as NRRD and as
                # NIfTI would be looked at in other places
                affine[:3, 3] = image.affine[:3, 3]
                if mode == "bilinear" and self.dtype == torch.float32 and not image.is_cuda:
                    done = _linear(image, plan, affine, shape)
            if done is None:
                options = {"mode": mode, "dtype": self.dtype}
                done = self.upright.spacing_transform.sp_resample(image, dst_affine=affine, spatial_size=shape, **options)
            d[key] = done
        return d

    def _check_room(self, image: torch.Tensor, shape: Sequence[int]) -> None:
        needed = prod(float(n) for n in shape) * BYTES_PER_VOXEL
        most, words = budget(self.memory_gb)
        if needed <= most:
            return
        meta = image.meta if isinstance(image, MetaTensor) else {}
        edges = "x".join(f"{edge:.3g}" for edge in grids.spacing(np.asarray(image.affine))) if isinstance(image, MetaTensor) else "1"
        size, wanted = "x".join(str(int(n)) for n in shape), "x".join(f"{edge:g}" for edge in self.pixdim)
        problem = f"its voxels of {edges} mm become {size} voxels of {wanted} mm, {needed / 1e9:.3g} GB, more than {words}"
        fix = "raise memory_gb or crop the scan" if words.startswith("memory_gb") else "crop the scan"
        raise UserError(meta.get("filename_or_obj", "image"), problem, f"check the voxel size in its header; if it is right, {fix}")

    def inverse(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Back to the grid before (MONAI notes that grid with each item)."""
        d: dict[Hashable, Any] = dict(data)
        for key in self.key_iterator(d):
            # Spacingd is traced under the id of its own SpatialResample, the sheared branch under that of ours
            transform = self.upright.spacing_transform.sp_resample
            last = d[key].applied_operations[-1]["id"]
            d[key] = (self.sheared if last == id(self.sheared) else transform).inverse(d[key])
        return d


def _rounded_alike(size: Sequence[int], wanted: Sequence[int], sizes: dict[tuple[int, ...], list[int]]) -> list[int]:
    """The new size of an item; that of the first item of this size, from which it differs by the rounding of one header or the other.

    20 slices of 5 mm are 48.5 of 2 mm: 48, or 49 where the label's header says 5.001 mm, which Spacingd takes for another grid.
    """
    first = sizes.setdefault(tuple(size), [int(n) for n in wanted])
    return first if max(abs(int(n) - own) for n, own in zip(wanted, first, strict=True)) <= 1 else [int(n) for n in wanted]


def _linear(image: MetaTensor, planned: MetaTensor, affine: torch.Tensor, shape: Sequence[int]) -> MetaTensor | None:
    """Spacingd's linear resampling onto a grid, noted as it notes it; None where the axes do not stay as they are."""
    index = np.linalg.inv(image.affine.numpy()) @ affine.numpy()  # from new voxels to old ones
    scale = np.diag(index)[:3]
    if np.abs(index[:3, :3] - np.diag(scale)).max() > 1e-6:
        return None
    grid = [start + step * np.arange(n) for start, step, n in zip(index[:3, 3], scale, shape, strict=True)]
    done = MetaTensor(resample_axes(image.as_tensor(), grid), meta=image.meta)
    done.affine = affine
    # noted as done at once, or the inverse would wait for the end of a pipeline
    step = {name: value for name, value in planned.pending_operations[-1].items() if name not in (LazyAttr.SHAPE, LazyAttr.AFFINE)}
    done.applied_operations = [*image.applied_operations, {**step, TraceKeys.LAZY: False}]
    return done


def resample_axes(image: torch.Tensor, grid: Sequence[np.ndarray]) -> torch.Tensor:
    """Linear interpolation where the new grid's axes are those of the old; outside, the border's values continue.

    Args:
        image: (C, X, Y, Z), any real type, on the CPU.
        grid: for each spatial axis, the positions of the new voxels in voxels of the old grid.

    Returns:
        (C, len(grid[0]), len(grid[1]), len(grid[2])), float32.
    """
    out = torch.empty((image.shape[0], *(len(positions) for positions in grid)), dtype=torch.float32)
    # planes across the axis whose neighbours are farthest apart in memory are read in one go
    order = sorted(range(3), key=lambda axis: -image.stride(axis + 1))
    source, target = (volume.permute(0, *(axis + 1 for axis in order)) for volume in (image, out))
    along, rows, columns = (Axis.at(grid[axis], image.shape[axis + 1]) for axis in order)
    for channel in range(image.shape[0]):
        for i, (before, after, weight) in enumerate(zip(along.before.tolist(), along.after.tolist(), along.weight.tolist(), strict=True)):
            plane = source[channel, before].float()
            if weight:
                plane = plane.lerp(source[channel, after].float(), weight)
            target[channel, i] = columns.blend(rows.blend(plane, 0), 1)
    return out


def is_sheared(affine: torch.Tensor | np.ndarray) -> bool:
    """Whether the axes of a grid are not at right angles, as with a tilted CT gantry.

    Args:
        affine: (4, 4), voxel indices to mm.
    """
    return not grids.has_right_angles(np.asarray(affine), grids.SHEAR_TOLERANCE)


def upright_grid(affine: torch.Tensor | np.ndarray, shape: Sequence[int], pixdim: Sequence[float]) -> tuple[torch.Tensor, list[int]]:
    """The grid at right angles, with spacing `pixdim`, that covers a sheared one and keeps its axes as far as possible.

    Args:
        affine: (4, 4) of the sheared grid, voxel indices to mm.
        shape: its three sizes.
        pixdim: wanted spacing in mm.

    Returns:
        affine (4, 4) and the three sizes of the upright grid.
    """
    sheared = np.asarray(affine, dtype=np.float64)
    # the closest rotation (polar decomposition) turns as little as possible away from the axes there were
    left, _, right = np.linalg.svd(sheared[:3, :3] / grids.spacing(sheared))
    upright = np.eye(4)
    upright[:3, :3] = (left @ right) * np.asarray(pixdim, dtype=np.float64)
    size, origin = compute_shape_offset(shape, sheared, upright)
    upright[:3, 3] = origin[:3]
    return torch.as_tensor(upright), [int(n) for n in size]
