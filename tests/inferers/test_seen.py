"""A scan and its reference as the network sees them: on one grid, whatever way round they are stored."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from bundle.inferers.seen import opened, seen


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A scan of 4 mm stored to the left, its reference stored to the right: one dense block, labelled 2."""
    scan, label = np.full((16, 16, 16), 0, np.int16), np.zeros((16, 16, 16), np.uint8)
    scan[3:7, 5:9, 6:12], label[3:7, 5:9, 6:12] = 200, 2
    left = np.diag([-4.0, 4, 4, 1])
    left[0, 3] = 60.0
    nibabel.save(nibabel.Nifti1Image(scan[::-1], left), tmp_path / "ct.nii.gz")
    nibabel.save(nibabel.Nifti1Image(label, np.diag([4.0, 4, 4, 1])), tmp_path / "label.nii.gz")
    return tmp_path / "ct.nii.gz", tmp_path / "label.nii.gz"


def test_both_lie_on_one_grid_of_the_configs_spacing(files: tuple[Path, Path]) -> None:
    parser = opened("configs/inference.json", device="cpu")
    scan, label = seen(parser, {"image": str(files[0])}, files[1])
    assert scan.shape[1:] == label.shape and set(np.unique(label)) == {0, 2}
    # 4x4x6 voxels of 4 mm are 8 times as many of 2 mm, but for the edges
    assert (label == 2).sum() == pytest.approx(4 * 4 * 6 * 8, rel=0.3)
    dense = (scan[0] > scan.float().mean() + scan.std()).numpy()
    assert (dense & (label == 2)).sum() / (dense | (label == 2)).sum() > 0.7


def test_without_a_reference(files: tuple[Path, Path]) -> None:
    assert seen(opened("configs/inference.json", device="cpu"), {"image": str(files[0])})[1] is None


def test_configs_by_name_or_path_and_their_weights(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text('{"spacing": [3.0, 3.0, 3.0]}')
    parser = opened(f"configs/inference.json,{tmp_path / 'own.json'}", "w.pt", "cpu")
    assert (parser["spacing"], parser["ckpt_path"], parser["device"]) == ([3.0, 3.0, 3.0], "w.pt", "cpu")
    assert opened(["configs/inference.json"])["spacing"] == [2.0, 2.0, 2.0]
