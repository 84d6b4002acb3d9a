"""Up-sampling and convolution in one step are the two steps after each other."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bundle.networks.blocks import UpBlock
from bundle.networks.fast.upsampling import conv_of_upsampled, interleave, phase_weights

CONV = {2: F.conv2d, 3: F.conv3d}
MODE = {2: "bilinear", 3: "trilinear"}


@pytest.mark.parametrize("size", [(4, 3), (1, 5), (4, 3, 6), (1, 1, 2)])
def test_one_step_equals_two(size):
    dims = len(size)
    torch.manual_seed(dims)
    x = torch.randn(2, 5, *size, requires_grad=True)
    weight = torch.randn(7, 5, *[3] * dims, requires_grad=True)
    expected = CONV[dims](F.interpolate(x, scale_factor=2, mode=MODE[dims]), weight, padding=1)
    actual = conv_of_upsampled(x, weight)
    assert torch.allclose(actual, expected, atol=1e-4)
    seed = torch.randn_like(expected)
    for ours, theirs in zip(torch.autograd.grad(actual, (x, weight), seed), torch.autograd.grad(expected, (x, weight), seed), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3)


def test_kernels_of_the_phases_by_hand():
    """The middle tap alone, along the last axis: fine voxel 2i is (1 x[i-1] + 3 x[i]) / 4, 2i + 1 is (3 x[i] + 1 x[i+1]) / 4."""
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 16
    kernels = phase_weights(weight)
    assert kernels[0, 0].tolist() == [[1, 3, 0], [3, 9, 0], [0, 0, 0]]
    assert kernels[1, 0].tolist() == [[0, 3, 1], [0, 9, 3], [0, 0, 0]]
    assert kernels[2, 0].tolist() == [[0, 0, 0], [3, 9, 0], [1, 3, 0]]


def test_interleave_by_hand():
    phases = torch.arange(8.0).reshape(1, 4, 1, 2)  # phases (0, 0), (0, 1), (1, 0), (1, 1) of the voxels 0 and 1
    assert interleave(phases)[0, ..., 0].tolist() == [[0, 2, 1, 3], [4, 6, 5, 7]]


@pytest.mark.parametrize("dims", [2, 3])
def test_decoder_level_is_the_same_split_or_not(dims, monkeypatch):
    torch.manual_seed(0)
    block = UpBlock(dims, 3, 2).eval()
    skip, coarse = torch.randn(1, 3, *[32] * dims), torch.randn(1, 2, *[16] * dims)
    calls = []
    monkeypatch.setattr("bundle.networks.blocks.conv_of_upsampled", lambda *args: calls.append(1) or conv_of_upsampled(*args))
    split = block(skip, coarse)
    assert calls, "these sizes should split"
    monkeypatch.setattr("bundle.networks.blocks.splitting_pays", lambda skip, coarse: False)
    assert torch.allclose(split, block(skip, coarse), atol=1e-4)
