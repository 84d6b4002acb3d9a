"""Features before and after the gates, against the gates called by hand; the picture from a config."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from bundle.errors import UserError
from bundle.networks import AttentionUnet
from bundle.pictures.gates import gated_features, gates

CHANNELS = (2, 4, 8)


@pytest.fixture
def network() -> AttentionUnet:
    torch.manual_seed(0)
    return AttentionUnet(3, 1, 4, channels=CHANNELS, num_gates=2, init="authors").eval()


def test_features_are_those_that_pass_each_gate(network: AttentionUnet) -> None:
    """By hand: x is the skip, alpha what each gate gives for it, and their product."""
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        first = network.encoder[0](image)
        second = network.encoder[1](torch.nn.functional.max_pool3d(first, 2))
        centre = network.centre(torch.nn.functional.max_pool3d(second, 2))
        _, coefficients = network.skips[0](second, network.gating(centre))
    found = gated_features(network, image)
    assert list(found) == [(2, 1), (2, 2)]
    for number, alpha in enumerate(coefficients, start=1):
        for part, value in zip(found[2, number], (second.abs(), alpha, (second * alpha).abs()), strict=True):
            np.testing.assert_allclose(part, value[0].mean(0).numpy(), rtol=1e-5, atol=1e-6)
    assert not np.allclose(found[2, 1][1], found[2, 2][1])


def test_picture_from_an_inference_config(network: AttentionUnet, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    scan, label = random.normal(40, 200, (40, 36, 24)).astype(np.int16), np.zeros((40, 36, 24), np.uint8)
    label[10:20, 10:20, 8:14] = 1
    for name, array in (("ct", scan), ("label", label)):
        nibabel.save(nibabel.Nifti1Image(array, np.diag([2.0, 2, 2, 1])), tmp_path / f"{name}.nii.gz")
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "small.json").write_text(json.dumps({"network_def#channels": CHANNELS}))
    arguments = {"config_file": f"configs/inference.json,{tmp_path / 'small.json'}", "ckpt_path": str(tmp_path / "weights.pt")}
    gates(str(tmp_path / "ct.nii.gz"), str(tmp_path / "g.png"), reference=str(tmp_path / "label.nii.gz"), size=(24, 24, 24), **arguments)
    from matplotlib.image import imread

    picture = imread(tmp_path / "g.png")
    assert picture.std() > 0.05
    # four rows: two gates of one level, axial and sagittal; the sizes below are of the scan's slices there
    height = 1.9 * 4 + 0.5
    assert picture.shape[0] == pytest.approx(110 * height, abs=2)
    (tmp_path / "small.json").write_text(json.dumps({"network_def#channels": CHANNELS, "network_def#num_gates": 0}))
    with pytest.raises(UserError, match="has no gates"):
        gates(str(tmp_path / "ct.nii.gz"), str(tmp_path / "g.png"), **arguments)
