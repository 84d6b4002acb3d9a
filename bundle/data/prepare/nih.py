"""NIH Pancreas-CT (TCIA, doi:10.7937/K9/TCIA.2016.tNB1kqBU): DICOM series, and label maps whose header says nothing of them.

As downloaded: `.../PANCREAS_0001/<study>/<series>/*.dcm` and `TCIA_pancreas_labels-02-05-2017/label0001.nii.gz`. The label's
array has the DICOM's columns, rows and slices from feet to head; its header, read as NIfTI, puts it back to front against
the image. So the array is taken and the image's affine given to it. The image has the last word: where another flip fits it
clearly better (`orientation.fit`), that is applied and reported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bundle.data.checks.orientation import by_header, decide, fit
from bundle.data.datalist import ENDINGS
from bundle.data.prepare.plan import Plan, PlannedCase, Targets, by_number, label_maps, not_found, number
from bundle.grids import spacing, turned
from bundle.images import read, read_scan, write_nifti

TWICE = {25: 2, 70: 2}  # cases that are case 2 again, cropped otherwise: TCIA took them out
LAYOUT = "PANCREAS_0001, PANCREAS_0002, ... and TCIA_pancreas_labels-02-05-2017"


def plan(source: Path, *, keep_duplicates: bool = False) -> Plan:
    """Cases with an image and a label; 25 and 70 only with `keep_duplicates`."""
    warnings: list[str] = []
    images = by_number(_images(source), warnings)
    maps = [path for path in sorted(source.rglob("label*")) if path.name.lower().endswith(ENDINGS) and path.is_file()]
    labels = label_maps(maps, number)
    if not images or not labels:
        raise not_found(source, "DICOM folders PANCREAS_*" if not images else "label maps label*.nii.gz", LAYOUT)
    result = Plan(
        "NIH Pancreas-CT",
        "https://doi.org/10.7937/K9/TCIA.2016.tNB1kqBU",
        "CC BY 3.0",
        {"pancreas": 1},
        warnings=warnings,
        convert=convert,
    )
    for case in sorted(set(images) | set(labels)):
        name = f"PANCREAS_{case:04d}"
        if case in TWICE and not keep_duplicates:
            result.warnings.append(f"{name} is left out: it is case {TWICE[case]} again (--keep_duplicates keeps it)")
        elif case not in labels:
            result.cases.append(PlannedCase(name, images[case], section="test"))
            result.warnings.append(f"{name} has no label map and becomes an unlabelled case")
        elif case not in images:
            result.warnings.append(f"{name} is left out: there is a label map, but no image")
        else:
            group = "PANCREAS_0002" if keep_duplicates and case in (2, *TWICE) else None
            result.cases.append(PlannedCase(name, images[case], (labels[case],), group=group))
    if keep_duplicates and any(case in images and case in labels for case in TWICE):
        result.warnings.append("cases 2, 25 and 70 are one scan: dataset.json groups them, so that they stay in one split")
    return result


def convert(case: PlannedCase, targets: Targets, options: Mapping) -> list[str]:
    """Image to NIfTI; label onto the image's grid, the right way round."""
    array, affine, remarks = _load(case.image)
    if case.labels:
        label, spoken = _label(case.labels[0], array, affine)
        remarks += spoken
        write_nifti(Path(f"{targets.label}.nii.gz"), label, affine)
    write_nifti(Path(f"{targets.image}.nii.gz"), array, affine)
    return remarks


def _label(path: Path, image: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, list[str]]:
    values, own, _ = read(path)
    label = np.rint(values).astype(np.uint8)
    if values.shape != image.shape:
        sizes = ["x".join(map(str, shape)) for shape in (values.shape, image.shape)]
        raise ValueError(f"its label map {path.name} has the size {sizes[0]}, its image {sizes[1]}")
    remarks = [] if (label == values).all() else [f"{path.name} is not stored as whole numbers: they were rounded"]
    if not label.any():
        return label, [*remarks, f"{path.name} is empty"]
    expected = by_header(own, affine, image.shape) or ()  # a header that fits the image's is believed
    flip, clear = decide(fit(image, label, tuple(spacing(affine).tolist())), expected)
    if flip:
        axes = " and ".join("xyz"[axis] for axis in flip)
        remarks.append(f"{path.name} is flipped along {axes} against the DICOM's rows, columns and slices: corrected by the image")
    elif not clear:
        remarks.append(f"the image does not show which way round {path.name} is: taken in the order of the DICOM")
    return np.ascontiguousarray(np.flip(label, flip)), remarks


def _load(path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Image in the order of DICOM (columns to the left, rows to the back, slices to the head), affine, remarks."""
    files = [path] if path.is_file() else [item for item in sorted(path.rglob("*")) if item.name.lower().endswith(ENDINGS)]
    if not files:
        from bundle.data.prepare.dicom import load_series

        return load_series(path)
    values, affine, _ = read_scan(files[0])
    values, affine = turned(values, affine, "LPS")
    return (np.rint(values).astype(np.int16) if values.dtype.kind == "f" else values), affine, []


def _images(source: Path) -> list[Path]:
    """Folders PANCREAS_0001 with files below them, or NIfTI files of that name; the outermost where they nest."""
    pattern = re.compile(r"pancreas[_-]?(ct[_-])?\d+", re.IGNORECASE)
    named = [path for path in sorted(source.rglob("*")) if pattern.fullmatch(path.name.split(".")[0])]
    folders = [path for path in named if path.is_dir() and any(item.is_file() for item in path.rglob("*"))]
    files = [path for path in named if path.is_file() and path.name.lower().endswith(ENDINGS)]
    folder_of = {folder: number(folder) for folder in folders}
    single = [path for path in files if not any(folder_of.get(parent) == number(path) for parent in path.parents)]
    return single + [folder for folder in folders if not any(other in folder.parents for other in folders)]
