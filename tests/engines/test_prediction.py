"""One volume through a network: flips, attention, and what is kept of them, by hand."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor, nn

from bundle.engines.case import Case
from bundle.engines.prediction import predict
from bundle.errors import UserError
from bundle.networks import AttentionUnet

CPU = torch.device("cpu")
VOLUME = torch.tensor([3.0, -1.0, 2.0]).reshape(1, 3, 1, 1)


def case_of(volume: Tensor) -> Case:
    return Case({"case": "a", "source": "a"}, data={"image": MetaTensor(volume, affine=torch.diag(torch.tensor([2.0, 2, 2, 1])))})


def whole(volume: Tensor, network) -> Tensor:
    return network(volume)


def network(x: Tensor) -> Tensor:
    """Two classes: 0, and the running sum from the first voxel on, so that a mirror image is another thing."""
    return torch.cat([torch.zeros_like(x), x.cumsum(2)], 1)


def test_logits_with_their_place_and_confidence():
    case = case_of(VOLUME)
    predict(case, network, whole, CPU)
    pred = case.data["pred"]
    assert pred.as_tensor()[1].flatten().tolist() == [3.0, 2.0, 4.0] and pred.shape == (2, 3, 1, 1)
    assert torch.equal(pred.affine, case.data["image"].affine)
    assert case.confidence[0] is None, "class 0 wins no voxel"
    assert case.confidence[1].mean == pytest.approx(float(torch.tensor([3.0, 2.0, 4.0]).sigmoid().mean()))
    assert case.flip_disagreement == [] and case.attention == {}


def test_flips_average_the_mirror_image_brought_back():
    case = case_of(VOLUME - 1.5)  # 1.5, -2.5, 0.5: sums 1.5, -1, -0.5; from the other end, brought back: -0.5, -2, 0.5
    predict(case, network, whole, CPU, flips=True)
    assert case.data["pred"].as_tensor()[1].flatten().tolist() == [0.5, -1.5, 0.0]
    # voxels above 0: one here, one there, none in common; below: two and two, one in common
    assert case.flip_disagreement == [1 - 2 * 1 / 4, 1.0]


def test_coefficients_are_those_of_the_gates_and_the_logits_stay():
    torch.manual_seed(0)
    unet = AttentionUnet(3, 1, 3, channels=(2, 4, 8), num_gates=2, init="authors").eval()
    volume = torch.randn(1, 16, 16, 16)
    plain, case = case_of(volume), case_of(volume)
    with torch.no_grad():
        predict(plain, unet, whole, CPU)
        predict(case, unet, whole, CPU, attention=True)
        _, maps = unet.attention(volume[None])
    assert torch.allclose(case.data["pred"].as_tensor(), plain.data["pred"].as_tensor(), atol=1e-5)
    assert sorted(case.attention) == sorted(maps) and len(maps) > 0
    for level, found in case.attention.items():
        assert found.shape == (2, 16, 16, 16) and torch.allclose(found, maps[level].resampled[0], atol=1e-6)


@pytest.mark.parametrize("without", [network, nn.Identity(), AttentionUnet(3, 1, 2, channels=(2, 4), num_gates=0)])
def test_a_network_without_gates_has_none_to_show(without):
    with pytest.raises(UserError, match="attention: this network has no gates"):
        predict(case_of(VOLUME), without, whole, CPU, attention=True)
