"""A small data set that trains in seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture(scope="session")
def write_cases() -> Callable[..., Path]:
    """`write_cases(folder, values, count=5, names=None)` writes a data set and gives its folder."""
    return _write_cases


def _write_cases(folder: Path, values: range, count: int = 5, names: dict | None = None) -> Path:
    """`count` cases of 20 voxels a side at 2 mm; label value v is a small cube, brighter in the image than the one before."""
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for case in range(count):
        label = np.zeros((20, 20, 20), np.uint8)
        for value in values:
            x, y, z = 2 + 5 * (value % 3), 2 + 5 * (value // 3 % 3), 2 + 7 * (value // 9)
            label[x : x + 4, y : y + 4, z : z + 4] = value
        image = (label * 20.0 + np.random.default_rng(case).normal(0, 5, label.shape)).astype(np.float32)
        for part, content in (("imagesTr", image), ("labelsTr", label)):
            nib.save(nib.Nifti1Image(content, np.diag([-2.0, -2, 2, 1])), folder / part / f"case_{case}.nii.gz")
    if names is not None:
        (folder / "dataset.json").write_text(json.dumps({"labels": names}))
    return folder
