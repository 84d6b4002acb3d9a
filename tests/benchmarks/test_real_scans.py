import importlib.util
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

import bundle

spec = importlib.util.spec_from_file_location("real_scans", Path(bundle.root()) / "benchmarks" / "real_scans.py")
real_scans = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = real_scans
spec.loader.exec_module(real_scans)


def test_a_case_counts_what_its_reference_labels(tmp_path, monkeypatch) -> None:
    """Pancreas predicted at voxels 0..3, labelled at 2..5 of a mirrored reference: Dice 2 * 2 / 8; the spleen has its volume alone."""
    affine = np.diag([2.0, 2, 5, 1])
    labels = np.zeros((6, 4, 3), np.uint8)
    labels[0:4, 0, 0] = 1
    labels[0:5, 3, 2] = 2
    expected = np.zeros_like(labels)
    expected[2:6, 0, 0] = 7
    nibabel.save(nibabel.Nifti1Image(np.zeros(labels.shape, np.int16) - 1000, affine), tmp_path / "ct.nii.gz")
    mirrored = affine @ np.array([[-1, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(expected[::-1], mirrored), tmp_path / "labels.nii.gz")
    monkeypatch.setattr(real_scans, "segment", lambda scan, **options: labels)
    case = real_scans.RealCase("one", "ct.nii.gz", "labels.nii.gz", (("pancreas", 7),))
    found = real_scans.score_case(case, tmp_path, "shipped")
    assert found["pancreas"]["dice"] == 0.5 and "dice" not in found["spleen"]
    assert found["spleen"]["ml"] == pytest.approx(5 * 20 / 1000)


def test_cases_that_were_trained_on_leave_the_mean() -> None:
    scores = {
        "nih_0002": {"pancreas": {"dice": 0.2, "ml": 1.0}},
        "slab_20": {"pancreas": {"dice": 0.4, "ml": 1.0}},
        "torso": {"pancreas": {"dice": 0.9, "ml": 1.0}},
    }
    text = real_scans.table({"w": scores}, {"torso"})
    assert "torso (trained on)" in text and text.splitlines()[-1].endswith("| 0.300 |")


def test_weights_are_checkpoints_or_overlays_that_have_their_own() -> None:
    assert real_scans.options_of("shipped") == {} and real_scans.options_of("runs/a/model.pt") == {"ckpt_path": "runs/a/model.pt"}
    assert real_scans.options_of("cascade") == {"overlays": "cascade"}
