"""Image files: their names, reading them, writing them. Each of these is done here and nowhere else.

`names` knows endings and stems; `read` and `read_scan` give voxels and affine of a file; `nifti`, `itk_files` know what a header
says before a voxel is read; `write_nifti` writes.
"""

from __future__ import annotations

from bundle.images.names import DICOM_ENDINGS, VOLUME_ENDINGS, ending, is_segmentation, kind, stem
from bundle.images.reading import read, read_scan
from bundle.images.writing import write_nifti

__all__ = [
    "DICOM_ENDINGS",
    "VOLUME_ENDINGS",
    "ending",
    "is_segmentation",
    "kind",
    "read",
    "read_scan",
    "stem",
    "write_nifti",
]
