"""Loading one scan as MONAI's transforms do it; `bundle.images` reads the file."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import ImageReader, MetaTensor
from monai.transforms import LoadImaged, MapTransform

from bundle.errors import UserError
from bundle.images.reading import read_scan
from bundle.images.voxels import array_as_scan, check_affine, check_grid


class LoadScand(LoadImaged):
    """Load CT scans with `ScanReader`: NIfTI, NRRD, MHA/MHD, DICOM series, as int16 or float32.

    MONAI's `LoadImaged` tries every reader in turn, so that a file one reader refuses is read by the next, and its error names
    none of the reasons; it makes float32 in C order of everything, which doubles memory and time. Here one reader decides.

    An image that is loaded already passes: MONAI Deploy and others read it themselves and leave this step in, as only what is
    named `LoadImage...` is left out there.

    Args:
        keys: items to load: a path, a DICOM folder, or the paths of the slices of a series; or a tensor or array (X, Y, Z) with its
            affine in mm, RAS+: a `MetaTensor`, or `affine` in the item `<key>_meta_dict`.
        memory_gb: GB (10^9 bytes) that the run may take: a scan whose header claims more is refused before it is read.
        allow_missing_keys: do not raise where a key is missing.

    Raises:
        UserError: the file is not a three-dimensional scan with one value per voxel, or is damaged; a tensor has no affine.
    """

    # MONAI Label sets `_loader.image_only` of whatever is a LoadImaged; nothing here reads it
    _loader = SimpleNamespace(image_only=True)

    def __init__(self, keys: KeysCollection, memory_gb: float | None = None, allow_missing_keys: bool = False) -> None:
        # not LoadImaged's own: it would set up every reader that MONAI knows, and their messages, for nothing
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.memory_gb = memory_gb

    def __call__(self, data: Mapping[Hashable, Any], reader: ImageReader | None = None) -> dict[Hashable, torch.Tensor]:
        """Load every key as a `MetaTensor` (X, Y, Z) with the affine in mm, RAS+; other keys stay as they are."""
        reader = reader or ScanReader(self.memory_gb)
        d = dict(data)
        for key in self.key_iterator(d):
            if isinstance(d[key], (torch.Tensor, np.ndarray)):
                d[key] = loaded_scan(d[key], d.get(f"{key}_meta_dict"), str(key))
                continue
            values, meta = reader.get_data(reader.read(d[key]))
            # the file's own order of voxels stays: a copy into another one takes as long as decompressing a scan
            image = MetaTensor(torch.from_numpy(values), meta=meta)
            image.meta["filename_or_obj"] = str(d[key] if isinstance(d[key], (str, os.PathLike)) else d[key][0])
            d[key] = image
        return d


def loaded_scan(image: torch.Tensor | np.ndarray, meta: Mapping | None = None, where: str = "image") -> MetaTensor:
    """An image that somebody else has loaded, as `LoadScand` gives one: int16 or float32, with the grid that it came from.

    Args:
        image: (X, Y, Z), or with a channel axis of length 1 at either end; a `MetaTensor`, or with `affine` in `meta`.
        meta: its metadata where it has none itself.
        where: what an error names.

    Raises:
        UserError: it has no affine, or is not a three-dimensional scan with one value per voxel.
    """
    meta = {**(meta or {}), **(image.meta if isinstance(image, MetaTensor) else {})}
    if meta.get("affine") is None:
        raise UserError(where, "this tensor has no affine", "hand over a MetaTensor, or a path")
    values = image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    if values.ndim == 4 and 1 in (values.shape[0], values.shape[-1]):
        first = values.shape[0] == 1 and (values.shape[-1] != 1 or meta.get("original_channel_dim") == 0)
        values = values[0] if first else values[..., 0]
    values = checked_voxels(values, where)
    affine = np.asarray(meta["affine"], dtype=np.float64)
    check_affine(where, affine)
    grid = {"affine": affine, "original_affine": affine.copy(), "spatial_shape": np.array(values.shape)}
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(values)), meta={**meta, **grid, "original_channel_dim": float("nan")})


class ScanReader(ImageReader):
    """One CT scan as int16 (where HU are whole numbers) or float32, with its affine in RAS+; anything else is refused.

    `bundle.images.read_scan` behind MONAI's interface. The metadata hold, besides MONAI's own keys, `orientation_known`: whether
    the header says which side is which; and `nifti_forms`: the qform and sform of a NIfTI (`bundle.images.forms.Forms`).
    """

    def __init__(self, memory_gb: float | None = None) -> None:
        self.memory_gb = memory_gb

    def verify_suffix(self, filename: Sequence[str | os.PathLike] | str | os.PathLike) -> bool:
        """True: which files are scans is decided when they are read."""
        return True

    def read(self, data: Sequence[str | os.PathLike] | str | os.PathLike, **kwargs: Any) -> tuple[np.ndarray, np.ndarray, dict]:
        """Voxels (X, Y, Z), affine (4, 4) and more metadata of a path, a DICOM folder, or the slices of a series."""
        return read_scan(data, memory_gb=self.memory_gb)

    def get_data(self, img: tuple[np.ndarray, np.ndarray, dict]) -> tuple[np.ndarray, dict]:
        """What `read` gave, as MONAI wants it: the array, and a dictionary that says where it is."""
        values, affine, extra = img
        meta = {"affine": affine, "original_affine": affine.copy(), "spatial_shape": np.array(values.shape)}
        return values, {**meta, "space": "RAS", "original_channel_dim": float("nan"), **extra}


def checked_voxels(values: np.ndarray, where: str) -> np.ndarray:
    """An array (X, Y, Z) in HU as `ScanReader` would give it: int16 or float32, air in place of what is not a number.

    Raises:
        UserError: it is not a three-dimensional scan with one value per voxel.
    """
    check_grid(where, values.shape, dtype=values.dtype)
    return array_as_scan(values.reshape(values.shape[:3]), where)
