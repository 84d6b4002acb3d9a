"""Endings of the files that scans come in."""

from __future__ import annotations

import os

# endings of volume files, longest first so that ".nii.gz" wins over ".gz"
VOLUME_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr")
DICOM_ENDINGS = (".dcm", ".dicom", ".ima")


def ending(path: str | os.PathLike) -> str:
    """The volume or DICOM ending of a file name, in lower case; empty where it has none of them."""
    name = os.path.basename(path).lower()
    return next((e for e in (*VOLUME_ENDINGS, *DICOM_ENDINGS) if name.endswith(e)), "")


def stem(path: str | os.PathLike) -> str:
    """The file name without such an ending."""
    name, found = os.path.basename(path), ending(path)
    return name[: len(name) - len(found)] if found else name
