"""Loading one scan: the formats, and every reason to refuse a file before it costs memory or gives a wrong result."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import torch
from monai.config import KeysCollection
from monai.data import ImageReader, MetaTensor
from monai.transforms import LoadImaged, MapTransform

from bundle.data.endings import ending
from bundle.errors import UserError

AIR = -1024.0
# deflate cannot shrink below 1/1032
MOST_COMPRESSION = 1032


class LoadScand(LoadImaged):
    """Load CT scans with `ScanReader`: NIfTI, NRRD, MHA/MHD, DICOM series, as int16 or float32.

    MONAI's `LoadImaged` tries every reader in turn, so that a file one reader refuses is read by the next, and its error names
    none of the reasons; it makes float32 in C order of everything, which doubles memory and time. Here one reader decides.

    Args:
        keys: items to load: a path, a DICOM folder, or the paths of the slices of a series.
        allow_missing_keys: do not raise where a key is missing.

    Raises:
        UserError: the file is no three-dimensional scan with one value per voxel, or is damaged.
    """

    # MONAI Label sets `_loader.image_only` of whatever is a LoadImaged; nothing here reads it
    _loader = SimpleNamespace(image_only=True)

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        # not LoadImaged's own: it would set up every reader that MONAI knows, and their messages, for nothing
        MapTransform.__init__(self, keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any], reader: ImageReader | None = None) -> dict[Hashable, torch.Tensor]:
        """Load every key as a `MetaTensor` (X, Y, Z) with the affine in mm, RAS+; other keys stay as they are."""
        reader = reader or ScanReader()
        d = dict(data)
        for key in self.key_iterator(d):
            values, meta = reader.get_data(reader.read(d[key]))
            # the file's own order of voxels stays: a copy into another one takes as long as decompressing a scan
            image = MetaTensor(torch.from_numpy(values), meta=meta)
            image.meta["filename_or_obj"] = str(d[key] if isinstance(d[key], (str, os.PathLike)) else d[key][0])
            d[key] = image
        return d


class ScanReader(ImageReader):
    """One CT scan as int16 (where HU are whole numbers) or float32, with its affine in RAS+; anything else is refused.

    NIfTI by nibabel, NRRD, MHA/MHD and DICOM by ITK. Voxels that are no numbers become air.
    """

    def verify_suffix(self, filename: Sequence[str | os.PathLike] | str | os.PathLike) -> bool:
        """True: which files are scans is decided when they are read."""
        return True

    def read(self, data: Sequence[str | os.PathLike] | str | os.PathLike, **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
        """Voxels (X, Y, Z) and affine (4, 4) of a path, a DICOM folder, or the slices of a series."""
        files = [str(data)] if isinstance(data, (str, os.PathLike)) else [str(file) for file in data]
        values, affine = _read(files)
        where = files[0]
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise UserError(where, "the affine in its header is singular, so voxels have no place or size", "repair the header")
        return _whole_or_float(values, where), affine

    def get_data(self, img: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, dict]:
        """What `read` gave, as MONAI wants it: the array, and a dictionary that says where it lies."""
        values, affine = img
        meta = {"affine": affine, "original_affine": affine.copy(), "spatial_shape": np.array(values.shape)}
        return values, {**meta, "space": "RAS", "original_channel_dim": float("nan")}


def _read(files: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and affine, by the kind of file; errors of the libraries become `UserError`s."""
    where = files[0]
    if not os.path.exists(where):
        raise UserError(where, "there is no such file", "check the path")
    if os.path.isdir(where):
        from bundle.data.dicom import series_in

        series = series_in(where)
        if not series:
            raise UserError(where, "no DICOM image is in this folder", "give a file, or the folder that holds the slices")
        # of several series the largest; find_scans lists each by its slices
        files = max(series, key=len)
    elif os.path.getsize(where) == 0:
        raise UserError(where, "the file is empty", "copy or export it again")
    kind = ending(where)
    try:
        if kind in (".nii", ".nii.gz", ".hdr"):
            return _read_nifti(where)
        if kind in (".nrrd", ".nhdr", ".mha", ".mhd"):
            return _read_by_itk(where)
        from bundle.data.dicom import read_header, read_series

        size, header = read_header(files[0])
        _check_grid(where, (*size[:2], max(len(files), size[2] if len(size) > 2 else 1)), components=header["components"])
        return read_series(files)
    except UserError:
        raise
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(where, f"the file is truncated or damaged ({error})", "copy or export it again") from error
    except MemoryError as error:
        raise UserError(where, "the scan does not fit into memory", "crop it or use a machine with more memory") from error
    except Exception as error:
        reason = str(error).strip().splitlines()[-1][:200] if str(error).strip() else type(error).__name__
        if "No such file" in reason:  # what ITK says of a file that ends too early
            reason = "its voxels are incomplete"
        raise UserError(where, f"the file cannot be read as an image ({reason})", "check that it is a scan and is complete") from error


def _read_nifti(path: str) -> tuple[np.ndarray, np.ndarray]:
    import nibabel

    image = nibabel.load(path)
    header, proxy = image.header, image.dataobj
    _check_grid(path, header.get_data_shape(), dtype=header.get_data_dtype())
    claimed = int(np.prod(header.get_data_shape(), dtype=np.float64)) * header.get_data_dtype().itemsize
    stored = os.path.getsize(path if ending(path) != ".hdr" else str(Path(path).with_suffix(".img")))
    if claimed > stored * (MOST_COMPRESSION if path.lower().endswith(".gz") else 1):
        problem = f"the file is truncated: its header tells of {claimed} bytes of voxels, the file has {stored}"
        raise UserError(path, problem, "copy or export it again")
    raw = proxy.get_unscaled()
    slope, intercept = float(proxy.slope), float(proxy.inter)
    if (slope, intercept) == (1.0, 0.0) or not np.isfinite([slope, intercept]).all():
        values = raw
    elif slope == 1.0 and intercept.is_integer() and raw.dtype.kind in "iu" and raw.dtype.itemsize <= 2:
        values = raw.astype(np.int32) + np.int32(intercept)
    else:
        values = raw.astype(np.float32)
        values *= np.float32(slope)
        values += np.float32(intercept)
    return values.reshape(values.shape[:3]), np.asarray(image.affine, dtype=np.float64)


def _read_by_itk(path: str) -> tuple[np.ndarray, np.ndarray]:
    import itk

    from bundle.data.dicom import itk_affine

    # chosen here, because ITK's own choice overlooks endings in capitals
    io = itk.MetaImageIO.New() if ending(path) in (".mha", ".mhd") else itk.NrrdImageIO.New()
    io.SetFileName(path)
    io.ReadImageInformation()
    shape = tuple(int(io.GetDimensions(axis)) for axis in range(io.GetNumberOfDimensions()))
    _check_grid(path, shape, components=int(io.GetNumberOfComponents()))
    image = itk.imread(path, imageio=io)
    values = itk.array_view_from_image(image).T
    return values.reshape(values.shape[:3], order="F"), itk_affine(image)


def checked_voxels(values: np.ndarray, where: str) -> np.ndarray:
    """An array (X, Y, Z) in HU as `ScanReader` would give it: int16 or float32, air in place of what is no number.

    Raises:
        UserError: it is no three-dimensional scan with one value per voxel.
    """
    _check_grid(where, values.shape, dtype=values.dtype)
    return _whole_or_float(values.reshape(values.shape[:3]), where)


def _check_grid(where: str, shape: Sequence[int], *, dtype: np.dtype | None = None, components: int = 1) -> None:
    """Refuse what is no 3-D scan with one value per voxel, and what cannot fit into this machine."""
    shape = tuple(int(n) for n in shape)
    size = "x".join(map(str, shape))
    if components > 1 or (dtype is not None and dtype.names):
        raise UserError(where, "a colour image (several values per voxel), not a CT", "give the CT itself")
    if dtype is not None and dtype.kind == "c":
        raise UserError(where, "an image of complex numbers, not a CT", "give the CT itself")
    if len(shape) > 3 and any(n != 1 for n in shape[3:]):
        raise UserError(where, f"a series of {int(np.prod(shape[3:]))} volumes ({size}), not one scan", "store one volume per file")
    if len(shape) < 3 or shape[2] < 2 or min(shape[:3]) < 1:
        raise UserError(where, f"a two-dimensional image ({size}), not a volume", "give the whole series")
    if min(shape[:3]) < 2:
        raise UserError(where, f"the scan is one voxel thin ({size})", "give a volume of at least 2x2x2 voxels")
    needed = float(np.prod([float(n) for n in shape[:3]])) * 4
    if needed > psutil.virtual_memory().total / 2:
        problem = f"its header claims {size} voxels, {needed / 1e9:.0f} GB, more than this machine can hold"
        raise UserError(where, problem, "check the header; crop the scan if it is right")


def _whole_or_float(values: np.ndarray, where: str) -> np.ndarray:
    """Voxels as int16 where that loses nothing, otherwise as float32 with air in place of what is no number."""
    if values.dtype.kind in "iu" or values.dtype.kind == "b":
        limits = np.iinfo(np.int16)
        if np.can_cast(values.dtype, np.int16) or (values.min() >= limits.min and values.max() <= limits.max):
            return values.astype(np.int16, order="K", copy=False)
        return values.astype(np.float32, order="K")
    values = values.astype(np.float32, order="K", copy=False)
    finite = np.isfinite(values)
    if not finite.any():
        raise UserError(where, "no voxel holds a number (all are NaN or infinite)", "export the scan again")
    if not finite.all():
        values = np.where(finite, values, np.float32(AIR))
    return values
