"""One scan stored in several ways."""

from __future__ import annotations

import nibabel
import numpy as np


def in_axis_order(scan: nibabel.Nifti1Image, codes: str) -> nibabel.Nifti1Image:
    """The same scan in space, stored with other axes."""
    before, after = nibabel.io_orientation(scan.affine), nibabel.orientations.axcodes2ornt(codes)
    return scan.as_reoriented(nibabel.orientations.ornt_transform(before, after))


def turned(scan: nibabel.Nifti1Image, degrees: float) -> nibabel.Nifti1Image:
    """The same voxels, turned about the first and the third axis in space: an oblique scan."""
    a = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0, 0], [0, np.cos(a), -np.sin(a), 0], [0, np.sin(a), np.cos(a), 0], [0, 0, 0, 1]])
    about_z = np.array([[np.cos(a), -np.sin(a), 0, 0], [np.sin(a), np.cos(a), 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    return nibabel.Nifti1Image(np.asanyarray(scan.dataobj), about_z @ about_x @ scan.affine)


def around(scan: nibabel.Nifti1Image, label: nibabel.Nifti1Image, voxels: int = 3) -> nibabel.Nifti1Image:
    """The part of a scan that holds the structures of its label map: smaller than the patch, so that training has to pad."""
    found = np.argwhere(np.asanyarray(label.dataobj) > 0)
    low, high = np.maximum(found.min(0) - voxels, 0), found.max(0) + 1 + voxels
    return scan.slicer[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
