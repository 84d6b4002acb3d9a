"""Endings of image files, and names without them."""

from __future__ import annotations

import os
from pathlib import Path

NIFTI_ENDINGS = (".nii.gz", ".nii.bz2", ".nii.zst", ".nii")
# headers of Analyze and NIfTI pairs; the voxels are in the .img next to them
PAIR_ENDINGS = (".hdr.gz", ".hdr")
MGH_ENDINGS = (".mgz", ".mgh.gz", ".mgh")
# what 3D Slicer saves segmentations as
SEGMENTATION_ENDINGS = (".seg.nrrd", ".seg.nhdr")
ITK_ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")
# longest first, so that ".nii.gz" wins over what else it ends in
VOLUME_ENDINGS = (*NIFTI_ENDINGS, *ITK_ENDINGS, *MGH_ENDINGS, *PAIR_ENDINGS)
DICOM_ENDINGS = (".dcm", ".dicom", ".ima")

KINDS = {
    **dict.fromkeys((*NIFTI_ENDINGS, *PAIR_ENDINGS), "nifti"),
    **dict.fromkeys(MGH_ENDINGS, "mgh"),
    **dict.fromkeys(ITK_ENDINGS, "itk"),
    **dict.fromkeys(DICOM_ENDINGS, "dicom"),
}


def ending(path: str | os.PathLike) -> str:
    """The volume or DICOM ending of a file name, in lower case; empty where it has none of them."""
    name = os.path.basename(path).lower()
    return next((known for known in KINDS if name.endswith(known)), "")


def stem(path: str | os.PathLike) -> str:
    """The file name without its ending; the whole name where that is none of an image."""
    name = os.path.basename(path)
    return name[: len(name) - len(ending(name))]


def is_segmentation(path: str | os.PathLike) -> bool:
    """Whether a file is called as 3D Slicer calls its segmentations. `ending` and `stem` take `.seg` as part of the name."""
    return os.path.basename(path).lower().endswith(SEGMENTATION_ENDINGS)


def kind(path: str | os.PathLike) -> str:
    """How a file is read, by its ending: "nifti", "mgh", "itk", "dicom", or empty."""
    return KINDS.get(ending(path), "")


def voxels_of_pair(header: str | os.PathLike) -> Path | None:
    """The .img (or .img.gz) that belongs to the .hdr of a pair, in whatever letters; None where there is none.

    A .hdr without one is something else (ENVI, for one).
    """
    header = Path(header)
    wanted = [f"{stem(header)}{end}".lower() for end in (".img", ".img.gz")]
    exact = [header.with_name(stem(header) + end) for end in (".img", ".img.gz", ".IMG")]
    for path in exact:
        if path.exists():
            return path
    found = [path for path in header.parent.iterdir() if path.name.lower() in wanted] if header.parent.is_dir() else []
    return min(found, default=None)
