"""The benchmark of DICOM objects: its label map, and a row for each kind of object."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import bundle

spec = importlib.util.spec_from_file_location("benchmark_dicom_results", Path(bundle.root()) / "benchmarks" / "dicom_results.py")
dicom_results = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = dicom_results
spec.loader.exec_module(dicom_results)


def test_the_label_map_has_three_ellipsoids_side_by_side() -> None:
    labels = dicom_results.label_map((80, 60, 40))
    # 4/3 pi a b c with half-axes of a tenth, a fifth and a fifth: 8, 12 and 8 voxels
    for value in (1, 2, 3):
        assert (labels == value).sum() == pytest.approx(4 / 3 * np.pi * 8 * 12 * 8, rel=0.05)
    assert [int(labels[at, 30, 20]) for at in (20, 40, 60)] == [1, 2, 3]


def test_each_object_is_written_and_measured(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    dicom_results.write_series(tmp_path, 6, 32)
    np.save(tmp_path / dicom_results.LABELS, dicom_results.label_map((32, 32, 6)))
    for kind in dicom_results.OBJECTS:
        found = dicom_results.measure(tmp_path, kind)
        assert (
            found["mb"] == (tmp_path / f"{kind}.object").stat().st_size / 1e6 > 0.001 and 0 < found["seconds"] < 60 and 0 < found["gb"] < 1
        )
