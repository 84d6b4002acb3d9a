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

from bundle.channels import Block, channels_of, told
from bundle.errors import UserError
from bundle.images.reading import read_channel, read_scan, read_volumes, volumes
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
        channels: the `channels` block. Of several, the first is loaded under the first key; the others are in the item `channels`,
            a dictionary of name and path (or `MetaTensor`), in whose place their voxels come: SUV of a PET, each on its own grid. With no
            such item the first key is a list with a path for each channel, or a NIfTI file with the channels on its fourth axis.

    Raises:
        UserError: the file is not a three-dimensional scan with one value per voxel, or is damaged; a tensor has no affine; a
            channel is missing.
    """

    # MONAI Label sets `_loader.image_only` of whatever is a LoadImaged; nothing here reads it
    _loader: Any = SimpleNamespace(image_only=True)

    def __init__(
        self, keys: KeysCollection, memory_gb: float | None = None, allow_missing_keys: bool = False, channels: Block = None
    ) -> None:
        # not LoadImaged's own: it would set up every reader that MONAI knows, and their messages, for nothing
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.memory_gb, self.channels = memory_gb, channels_of(channels)

    def __call__(self, data: Mapping[Hashable, Any], reader: ImageReader | None = None) -> dict[Hashable, Any]:
        """Load every key as a `MetaTensor` (X, Y, Z) with the affine in mm, RAS+; other keys stay as they are."""
        reader = reader or ScanReader(self.memory_gb)
        d = dict(data)
        for key in self.key_iterator(d):
            several = len(self.channels) > 1 and key == self.keys[0]
            if isinstance(d[key], (torch.Tensor, np.ndarray)):
                d[key] = loaded_scan(d[key], d.get(f"{key}_meta_dict"), str(key))
                if several and d.get("channels"):
                    d["channels"] = self._further(str(key), d["channels"])
                continue
            if several:
                d[key], d["channels"] = self._several(d[key], d.get("channels"), reader)
                continue
            d[key] = _tensor(d[key], reader.get_data(reader.read(d[key])))
        return d

    def _several(self, source: Any, others: Mapping[str, Any] | None, reader: ImageReader) -> tuple[MetaTensor, dict[str, MetaTensor]]:
        """The first channel, and the others by their names."""
        names = [channel.name for channel in self.channels]
        if not others and isinstance(source, (list, tuple)) and len(source) == len(names):
            source, others = source[0], dict(zip(names[1:], source[1:], strict=True))
        where = str(source if isinstance(source, (str, os.PathLike)) else source[0])
        if not others and isinstance(source, (str, os.PathLike)) and volumes(source) > 1:
            found, affine, extra = read_volumes(source, [channel.kind for channel in self.channels], memory_gb=self.memory_gb)
            parts = [_tensor(source, as_monai(values, affine, extra)) for values in found]
            return parts[0], dict(zip(names[1:], parts[1:], strict=True))
        loaded = self._further(where, others or {})
        return _tensor(source, reader.get_data(reader.read(source))), loaded

    def _further(self, where: str, others: Mapping[str, Any]) -> dict[str, MetaTensor]:
        """The channels behind the first, loaded where they are not yet."""
        names = [channel.name for channel in self.channels]
        if missing := [name for name in names[1:] if name not in others]:
            raise missing_channel(where, missing, names)
        loaded = {}
        for channel in self.channels[1:]:
            path = others[channel.name]
            read = isinstance(path, MetaTensor)
            loaded[channel.name] = path if read else _tensor(path, as_monai(*read_channel(path, channel.kind, memory_gb=self.memory_gb)))
        return loaded


def missing_channel(where: str, missing: Sequence[str], names: Sequence[str]) -> UserError:
    """What is said of a case that lacks a channel.

    Args:
        where: its first channel.
        missing: names of those that are not there.
        names: of all channels.
    """
    wanted = told([{"name": name, "kind": "ct"} for name in names])
    problem = f"the {' and the '.join(missing)} of this case {'is' if len(missing) == 1 else 'are'} missing; the network takes {wanted}"
    return UserError(where, problem, "put it beside the CT (docs/channels.md), or use a network of one channel")


def _tensor(source: Any, read: tuple[np.ndarray, dict]) -> MetaTensor:
    values, meta = read
    # the file's own order of voxels stays: a copy into another one takes as long as decompressing a scan
    image = MetaTensor(torch.from_numpy(values), meta=meta)
    image.meta["filename_or_obj"] = str(source if isinstance(source, (str, os.PathLike)) else source[0])
    return image


def as_monai(values: np.ndarray, affine: np.ndarray, extra: Mapping[str, Any]) -> tuple[np.ndarray, dict]:
    """What `bundle.images` has read, (X, Y, Z), as MONAI wants it: the array, and meta data with its affine (4, 4)."""
    meta = {"affine": affine, "original_affine": affine.copy(), "spatial_shape": np.array(values.shape)}
    return values, {**meta, "space": "RAS", "original_channel_dim": float("nan"), **extra}


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
    values, replaced = checked_voxels(values, where)
    affine = np.asarray(meta["affine"], dtype=np.float64)
    check_affine(where, affine)
    grid = {"affine": affine, "original_affine": affine.copy(), "spatial_shape": np.array(values.shape)}
    # where `LoadScand` has loaded it before, air stands there already
    own = {"original_channel_dim": float("nan"), "not_numbers": replaced or int(meta.get("not_numbers", 0))}
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(values)), meta={**meta, **grid, **own})


class ScanReader(ImageReader):
    """One CT scan as int16 (where HU are whole numbers) or float32, with its affine in RAS+; anything else is refused.

    `bundle.images.read_scan` behind MONAI's interface. The metadata hold, besides MONAI's own keys, `orientation_known`: whether
    the header says which side is which; `nifti_forms`: the qform and sform of a NIfTI (`bundle.images.forms.Forms`); and
    `not_numbers`: how many voxels were NaN or infinite.
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
        return as_monai(*img)


def checked_voxels(values: np.ndarray, where: str) -> tuple[np.ndarray, int]:
    """An array (X, Y, Z) in HU as `ScanReader` would give it: int16 or float32, air in place of what is not a number.

    Returns:
        the array; and how many voxels were NaN or infinite.

    Raises:
        UserError: it is not a three-dimensional scan with one value per voxel.
    """
    check_grid(where, values.shape, dtype=values.dtype)
    return array_as_scan(values.reshape(values.shape[:3]), where)
