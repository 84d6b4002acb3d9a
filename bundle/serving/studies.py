"""Which scans of a folder MONAI Label can offer: NIfTI and NRRD files in the folder itself, with small endings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from bundle.dicom import looks_like_dicom
from bundle.errors import counted
from bundle.images import DICOM_ENDINGS, ending
from bundle.serving.values import IMAGES

DICOM = "DICOM"


def not_offered(studies: Path) -> list[str]:
    """One line for each kind of scans that the server will not offer: how many, an example, what to do."""
    found: dict[str, list[str]] = {}
    ids: dict[str, str] = {}
    for path in _walk(studies):
        kind = _kind(path)
        if not kind:
            continue
        name = path.relative_to(studies).as_posix()
        if path.parent != studies:
            found.setdefault("sub-folder", []).append(name)
        elif kind in IMAGES and path.name.endswith(kind):
            ids.setdefault(path.name.removesuffix(kind), name)
            if ids[path.name.removesuffix(kind)] != name:
                found.setdefault("same name", []).append(name)
        else:
            found.setdefault("capitals" if kind in IMAGES else DICOM if kind == DICOM else "format", []).append(name)
    return [f"not offered: {_count_and_first(names)}: {FIXES[kind]}" for kind, names in found.items()]


FIXES = {
    "sub-folder": "MONAI Label looks at the folder itself only. Fix: --studies with the folder that holds the scans, or move them up",
    "capitals": "MONAI Label knows endings in small letters only. Fix: rename to .nii.gz, .nii or .nrrd",
    "same name": "another scan has the same name but for the ending. Fix: rename one",
    DICOM: "DICOM files. Fix: --studies with the address of a DICOMweb server, or save each series as .nii.gz (3D Slicer, dcm2niix)",
    "format": "MONAI Label does not look for this format. Fix: save as .nii.gz, .nii or .nrrd",
}


def _count_and_first(names: list[str]) -> str:
    return f"{counted(len(names), 'file')} ({names[0]}{', ...' if len(names) > 1 else ''})"


def _walk(studies: Path) -> Iterator[Path]:
    """Files of the studies, without hidden ones and the labels that the server keeps there."""
    for folder, folders, files in os.walk(studies):
        at = Path(folder)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and (at != studies or name != "labels"))
        yield from (at / name for name in sorted(files) if not name.startswith("."))


def _kind(path: Path) -> str:
    """The ending of a scan in small letters, "DICOM" for a DICOM file, "" for anything else."""
    found = ending(path)
    return DICOM if found in DICOM_ENDINGS or (not found and looks_like_dicom(path)) else found
