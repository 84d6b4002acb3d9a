"""Scans that are awkward or broken, made from nothing: one small body in every format and orientation that people have."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

SHAPE = (30, 26, 22)
AFFINE = np.diag([4.0, 4.0, 5.0, 1.0])


def body(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Air around a box of tissue with a brighter box in it, off the middle, int16."""
    scan = np.full(shape, -1000, dtype=np.int16)
    inner = tuple(slice(n // 6, n - n // 5) for n in shape)
    scan[inner] = 40
    scan[tuple(slice(n // 4, n // 2) for n in shape)] = 150
    return scan


def nifti(path: Path, values: np.ndarray | None = None, affine: np.ndarray = AFFINE, dtype: type = np.int16) -> Path:
    """Write a NIfTI, `body()` by default."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(body() if values is None else values, affine)
    image.header.set_data_dtype(dtype)
    nibabel.save(image, path)
    return path


def reoriented(values: np.ndarray, affine: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    """The same scan stored with its axes in another order and direction, such as "LAI"."""
    now = nibabel.io_orientation(affine)
    wanted = nibabel.orientations.axcodes2ornt(codes)
    change = nibabel.orientations.ornt_transform(now, wanted)
    turned = nibabel.orientations.apply_orientation(values, change)
    return turned, affine @ nibabel.orientations.inv_ornt_aff(change, values.shape)


def dicom_series(folder: Path, values: np.ndarray | None = None, *, uid: str = "1.2.3.4", tilt: float = 0.0, order: int = 1) -> Path:
    """Write a DICOM series by ITK, its files named so that text order is not slice order.

    Args:
        folder: gets the files.
        values: (X, Y, Z) int16 in LPS order.
        uid: series instance UID.
        tilt: how far in mm each slice is shifted along y against the one before (a tilted gantry).
        order: -1 names the files from the last slice to the first.
    """
    import SimpleITK as sitk

    values = body() if values is None else values
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in range(values.shape[2]):
        image = sitk.GetImageFromArray(np.ascontiguousarray(values[:, :, k].T))
        image.SetSpacing((4.0, 4.0))
        tags = {
            "0008|0060": "CT",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{uid}.{k + 1}",
            "0020|000e": uid,
            "0020|000d": "1.2.3",
            "0020|0032": f"-50\\{-40 + tilt * k}\\{10 + 5 * k}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0020|0013": str(k + 1),
            "0018|0050": "5",
            "0028|1052": "0",
            "0028|1053": "1",
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        number = k if order > 0 else values.shape[2] - 1 - k
        writer.SetFileName(str(folder / f"{uid.replace('.', '_')}_{number}.dcm"))
        writer.Execute(image)
    return folder


def without_preamble(path: Path) -> None:
    """Cut the 128 bytes and the letters DICM off a DICOM file."""
    content = path.read_bytes()
    if content[128:132] == b"DICM":
        path.write_bytes(content[132:])


def header_only(path: Path, shape: tuple[int, ...], dtype: type = np.int16) -> Path:
    """A NIfTI whose header claims a shape but which has next to no voxels."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_sform(AFFINE, code=1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.binaryblock + bytes(4) + bytes(1000))
    return path
