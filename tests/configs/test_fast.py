"""`fast.json`: weights of its own, such as `student.json` trains from what `narrow` makes."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from bundle.arguments.config import shipped
from bundle.data.synthetic.phantom import write_phantom
from bundle.engines import segment
from bundle.networks.weights import read_state_dict, weights_digest
from bundle.networks.weights.narrow import narrow


def test_what_student_json_trains_is_what_fast_takes() -> None:
    trained, used = shipped("student"), shipped("fast")
    for key in ("spacing", "network_def#channels"):
        assert trained[key] == used[key]
    # a window sees as many mm as one of the bundle's own
    seen = [[size * edge for size, edge in zip(one["roi_size"], one["spacing"], strict=True)] for one in (used, shipped("inference"))]
    np.testing.assert_allclose(*seen, rtol=0.06)


def test_its_weights_are_small_and_have_a_calibration_of_their_own(repository: Path) -> None:
    weights = repository / "models" / "fast" / "model.pt"
    assert shipped("fast")["ckpt_path"] == "$@bundle_root + '/models/fast/model.pt'"
    assert weights.stat().st_size < 4e6
    stated = json.loads((weights.parent / "calibration.json").read_text(encoding="utf-8"))
    assert stated["weights"] == weights_digest(weights)
    assert set(stated["structures"]) == {"pancreas", "spleen", "kidney"}


def test_training_begins_with_the_large_networks_most_important_channels(repository: Path, tmp_path: Path) -> None:
    channels = shipped("student")["network_def#channels"]
    narrow(str(repository / "models" / "model.pt"), str(tmp_path / "narrow.pt"), channels)
    begun, fast = read_state_dict(tmp_path / "narrow.pt"), read_state_dict(repository / "models" / "fast" / "model.pt")
    assert {name: value.shape for name, value in begun.items()} == {name: value.shape for name, value in fast.items()}


@pytest.mark.slow
def test_a_phantoms_organs_are_found_on_its_own_grid(tmp_path: Path) -> None:
    folder = write_phantom(str(tmp_path / "data"), cases=1, seed=4, max_voxels=4e5, jobs=1)
    (scan,) = (folder / "imagesTr").iterdir()
    found, reference = segment(str(scan), overlays="fast"), np.asarray(nibabel.load(folder / "labelsTr" / scan.name).dataobj)
    assert found.shape == reference.shape
    pairs = [(found == value, reference == value) for value in (1, 2, 3)]
    dice = [2 * (one & other).sum() / (one.sum() + other.sum()) for one, other in pairs]
    assert dice[0] > 0.65 and dice[1] > 0.85 and dice[2] > 0.9
