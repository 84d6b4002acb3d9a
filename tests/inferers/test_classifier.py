"""How a classifier sees a scan: its window of HU, its padding, and the slices of a 2-D network."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from bundle.errors import UserError
from bundle.inferers.classifier import Classifier, ClassInferer, classifier_transforms, patch_of, with_body
from bundle.networks import AttentionSononet
from bundle.networks.weights import write_checkpoint
from bundle.networks.weights.classifier import LearntWith


def written(path: Path) -> Path:
    """20 voxels of 2 mm a side: muscle of 50 HU in air, stored as LPS."""
    image = np.full((20, 20, 20), -1000, np.int16)
    image[4:16, 4:16, 2:18] = 50
    nib.save(nib.Nifti1Image(image, np.diag([-2.0, -2, 2, 1])), path)
    return path


def seen(path: Path, **keys: object) -> torch.Tensor:
    data: dict = {"image": str(path)}
    for step in classifier_transforms([2, 2, 2], [-200, 300], **({"patch_size": [24, 24, 24]} | keys)):
        data = step(data)
    return data["image"]


def test_hu_become_minus_one_to_one_and_small_scans_are_padded_with_air(tmp_path: Path) -> None:
    image = seen(written(tmp_path / "a.nii.gz"))
    assert image.shape == (1, 24, 24, 24)
    assert sorted(image.unique().tolist()) == [-1, 0], "-200 and below is -1, 50 is the middle of -200 to 300"
    assert int((image == 0).sum()) == 12 * 12 * 16
    # in 2-D nothing is added along the patient
    assert seen(tmp_path / "a.nii.gz", spatial_dims=2).shape == (1, 24, 24, 20)


def test_a_patch_in_2d_is_one_slice() -> None:
    assert patch_of([80, 64, 32], 3) == [80, 64, 32] and patch_of([80, 64, 32], 2) == [80, 64, 1]


def test_probabilities_of_slices_are_averaged_and_air_is_left_out() -> None:
    scan = torch.full((1, 1, 2, 2, 3), -1.0)
    scan[0, 0, 0, 0, 0], scan[0, 0, 0, 0, 2] = 1.0, 3.0

    def network(slices: torch.Tensor) -> torch.Tensor:
        """The largest value of a slice against 1."""
        return torch.stack([slices.flatten(1).amax(1), torch.ones(len(slices))], 1)

    found = ClassInferer(2)(scan, network).exp()
    by_hand = torch.tensor([[1.0, 1.0], [3.0, 1.0]]).softmax(1).mean(0)
    assert torch.allclose(found, by_hand[None])
    assert torch.equal(with_body(torch.zeros(2, 1, 2, 2)), torch.zeros(2, 1, 2, 2)), "of nothing but air all slices count"
    assert torch.equal(ClassInferer(3)(scan, lambda x: x.flatten(1)), scan.flatten(1))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_classifier_is_one_file(tmp_path: Path, dims: int) -> None:
    torch.manual_seed(0)
    network = AttentionSononet(dims, 1, 2, channels=[2, 2, 2, 2], convolutions=[1, 1, 1, 1, 1]).eval()
    settings = {"classes": ["a", 7], "spatial_dims": dims, "spacing": [2, 2, 2], "hu_range": [-200, 300], "patch_size": [24, 24, 24]}
    learnt = LearntWith(network, **settings).state_dict()
    write_checkpoint({"model": network.state_dict(), "learnt_with": learnt}, tmp_path / "model.pt")
    path = written(tmp_path / "a.nii.gz")
    found = Classifier(tmp_path / "model.pt")(str(path))
    assert list(found) == ["a", "7"] and sum(found.values()) == pytest.approx(1)
    image = seen(path, spatial_dims=dims).as_tensor()[None]
    if dims == 3:
        expected = network(image).softmax(1)[0]
    else:
        shown = image[0].movedim(-1, 0)
        expected = network(shown[shown.flatten(1).amax(1) > -1]).softmax(1).mean(0)
    assert torch.allclose(torch.tensor(list(found.values())), expected, atol=1e-6)


def test_several_files_are_refused() -> None:
    """As `ckpt_path` of a segmentation they are an ensemble."""
    with pytest.raises(UserError, match="ckpt_path: it is a list, and a classifier is one file"):
        Classifier(["a.pt", "b.pt"])


@pytest.mark.parametrize("dims", [2, 3])
def test_maps_are_on_the_grid_of_the_scan_and_the_answer_stays(dims: int) -> None:
    torch.manual_seed(0)
    network = AttentionSononet(dims, 1, 2, channels=[2, 2, 2, 2], convolutions=[1, 1, 1, 1, 1]).eval()
    scan = torch.rand(1, 1, 32, 24, 18)
    scan[..., 5] = -1.0  # a slice of air
    with torch.no_grad():
        logits, maps = ClassInferer(dims).attention(scan, network)
        assert torch.allclose(logits, ClassInferer(dims)(scan, network), atol=1e-6)
        plain = network.attention(scan if dims == 3 else scan[0].movedim(-1, 0)[:1])[1]
    for level, alpha in maps.items():
        assert alpha.shape == scan.shape and float(alpha.min()) >= 0 and float(alpha.max()) == 1
        if dims == 2:
            assert float(alpha[..., 5].abs().max()) == 0
        # the same pattern as on the level's own grid: where the coarse map is largest, the fine one is too
        coarse = torch.nn.functional.interpolate(
            plain[level], size=scan.shape[2:] if dims == 3 else scan.shape[2:4], mode=("bilinear", "trilinear")[dims - 2]
        )
        fine = alpha if dims == 3 else alpha[..., 0]
        assert torch.allclose(fine / fine.max(), coarse / coarse.max(), atol=1e-5)
