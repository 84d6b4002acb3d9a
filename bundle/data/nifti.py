"""Writing NIfTI files whose bytes depend on nothing but their content, whole or not at all."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np

from bundle.files import written_aside


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray, *, level: int = 1) -> None:
    """Write a compressed NIfTI-1 file aside and move it into place; no time stamp or name enters the gzip header.

    Args:
        path: the file, ending in `.nii.gz`.
        array: (X, Y, Z) voxels, stored with their own data type.
        affine: (4, 4) to RAS+ mm.
        level: compression level of gzip; noise hardly compresses, so 1 is as good as 9.
    """
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    with (
        written_aside(path) as aside,
        open(aside, "wb") as file,
        gzip.GzipFile("", "wb", compresslevel=level, fileobj=file, mtime=0) as stream,
    ):
        stream.write(image.to_bytes())
