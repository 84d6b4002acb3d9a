"""Resampling to the network's spacing."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import affine_to_spacing, compute_shape_offset
from monai.transforms import MapTransform, Spacingd, SpatialResample
from monai.transforms.inverse import InvertibleTransform
from monai.utils import ensure_tuple_rep

# cosine between two axes of a grid above which it counts as sheared: 0.06 degrees, far above what float32 headers round
SHEAR_TOLERANCE = 1e-3


class ResampleSpacingd(MapTransform, InvertibleTransform):
    """Resample to a spacing, like MONAI's `Spacingd`, for MONAI Label too and for scans with a tilted gantry.

    `Spacingd` of MONAI 1.6 fails when the dictionary holds a plain string such as MONAI Label's `image_path` for the key
    `image`, and it keeps a sheared grid sheared, so the network would see sheared organs. Here strings are hidden from it,
    and a sheared grid is resampled onto an upright one. Computes in float32 by default (float64 doubles memory and time).

    Args:
        keys: items (C, X, Y, Z), `MetaTensor`s.
        pixdim: wanted spacing in mm, one number or one per axis.
        mode: "bilinear" or "nearest", one for all keys or one per key.
        dtype: what to compute in.
        allow_missing_keys: do not raise where a key is missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        pixdim: Sequence[float] | float,
        mode: str | Sequence[str] = "bilinear",
        dtype: torch.dtype | str = torch.float32,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.pixdim = [float(p) for p in ensure_tuple_rep(pixdim, 3)]
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        self.dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
        options = {"pixdim": self.pixdim, "mode": self.mode, "dtype": self.dtype, "allow_missing_keys": allow_missing_keys}
        self.upright = Spacingd(keys=self.keys, **options)
        self.sheared = SpatialResample(padding_mode="border", dtype=self.dtype)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Resample every key."""
        d = dict(data)
        if any(is_sheared(d[key].affine) for key in self.key_iterator(d) if isinstance(d[key], MetaTensor)):
            for key, mode in self.key_iterator(d, self.mode):
                affine, shape = upright_grid(d[key].affine, d[key].shape[1:], self.pixdim)
                d[key] = self.sheared(d[key], dst_affine=affine, spatial_size=shape, mode=mode)
            return d
        # a fresh dictionary with the items alone: nothing named `image_...` is in Spacingd's way
        d.update(self.upright({key: d[key] for key in self.key_iterator(d)}))
        return d

    def inverse(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Back to the grid before (MONAI notes that grid with each item)."""
        d = dict(data)
        for key in self.key_iterator(d):
            # Spacingd is traced under the id of its own SpatialResample, the sheared branch under that of ours
            transform = self.upright.spacing_transform.sp_resample
            last = d[key].applied_operations[-1]["id"]
            d[key] = (self.sheared if last == id(self.sheared) else transform).inverse(d[key])
        return d


def is_sheared(affine: torch.Tensor | np.ndarray) -> bool:
    """Whether the axes of a grid are not at right angles, as with a tilted CT gantry.

    Args:
        affine: (4, 4), voxel indices to mm.
    """
    axes = np.asarray(affine, dtype=np.float64)[:3, :3]
    unit = axes / np.linalg.norm(axes, axis=0)
    return bool(np.abs(unit.T @ unit - np.eye(3)).max() > SHEAR_TOLERANCE)


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
    left, _, right = np.linalg.svd(sheared[:3, :3] / affine_to_spacing(sheared))
    upright = np.eye(4)
    upright[:3, :3] = (left @ right) * np.asarray(pixdim, dtype=np.float64)
    size, origin = compute_shape_offset(shape, sheared, upright)
    upright[:3, 3] = origin[:3]
    return torch.as_tensor(upright), [int(n) for n in size]
