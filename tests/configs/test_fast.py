"""`fast.json`: what `student.json` trains, from weights that `narrow` made."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from bundle.arguments.config import shipped
from bundle.engines import segment
from bundle.networks.weights import read_state_dict
from bundle.networks.weights.narrow import narrow


@pytest.fixture(scope="module")
def small(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped weights, narrowed as the overlay asks."""
    out = tmp_path_factory.mktemp("narrow") / "narrow.pt"
    narrow(str(repository / "models" / "model.pt"), str(out), shipped("student")["network_def#channels"])
    return out


def test_what_student_json_trains_is_what_fast_takes() -> None:
    trained, used = shipped("student"), shipped("fast")
    for key in ("spacing", "network_def#channels"):
        assert trained[key] == used[key]
    assert used["ckpt_path"].endswith("'/runs/student/models/model.pt'") and trained["output_dir"].endswith("'/runs/student'")
    assert shipped("weights")["ckpt_dir"] == "$@output_dir + '/models'"
    # a window sees as many mm as one of the bundle's own
    seen = [[size * edge for size, edge in zip(one["roi_size"], one["spacing"], strict=True)] for one in (used, shipped("inference"))]
    np.testing.assert_allclose(*seen, rtol=0.06)


def test_weights_of_the_overlay_are_small(small: Path) -> None:
    assert sum(value.numel() for value in read_state_dict(small).values() if value.dtype == torch.float32) * 2 < 4e6


def test_a_scan_is_segmented_on_its_own_grid(small: Path, tmp_path: Path) -> None:
    """A block of soft tissue of 80 mm: whatever is found in it, nothing is found in the air."""
    image = np.full((40, 36, 30), -1000, np.int16)
    image[8:32, 6:30, 5:25] = 40
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(image, np.diag([3.5, 3.5, 4, 1])), path)
    labels = segment(str(path), overlays="fast", ckpt_path=str(small))
    assert labels.shape == image.shape and not labels[image < -900].any()
