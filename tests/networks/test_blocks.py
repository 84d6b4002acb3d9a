"""Blocks of the network against PyTorch's own layers, and sizes by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from trained_norms import as_if_trained

from bundle.networks import blocks
from bundle.networks.blocks import ConvNormAct, TwoConvs, UpBlock, crop, halve, pad_to_multiple, resize, splitting_pays
from bundle.networks.fast import plain_layers


def trained(block: nn.Module) -> nn.Module:
    """The block in evaluation, with batch norms that do something."""
    torch.manual_seed(3)
    return as_if_trained(block)


@pytest.mark.parametrize(("dims", "kinds"), [(2, (nn.Conv2d, nn.BatchNorm2d)), (3, (nn.Conv3d, nn.BatchNorm3d))])
def test_layers_of_two_and_three_dimensions(dims, kinds):
    conv, norm = blocks.convolution(dims, 2, 3, 3), blocks.batch_norm(dims, 3)
    assert isinstance(conv, kinds[0]) and isinstance(norm, kinds[1])
    assert conv(torch.zeros(1, 2, *[5] * dims)).shape[2:] == (5,) * dims
    halves = blocks.convolution(dims, 2, 3, 2, stride=2, bias=False)
    assert halves.bias is None and halves(torch.zeros(1, 2, *[6] * dims)).shape[2:] == (3,) * dims


def test_dropout_of_nothing_is_nothing():
    assert isinstance(blocks.dropout_layer(0.0), nn.Identity) and blocks.dropout_layer(0.3).p == 0.3


def test_halving_takes_the_maximum_by_hand():
    x = torch.tensor([[1.0, 5.0, 2.0], [3.0, 0.0, 9.0], [7.0, 7.0, 7.0]]).reshape(1, 1, 3, 3)
    assert halve(x).tolist() == [[[[5.0]]]]
    volume = torch.arange(64.0).reshape(1, 1, 4, 4, 4)
    assert halve(volume).flatten().tolist() == [21, 23, 29, 31, 53, 55, 61, 63]
    with plain_layers():
        assert torch.equal(halve(volume), F.max_pool3d(volume, 2))
    with torch.autocast("cpu", torch.bfloat16):
        assert halve(volume.bfloat16()).dtype == torch.bfloat16


def test_resizing_by_hand():
    line = torch.tensor([0.0, 4.0]).reshape(1, 1, 1, 2)
    # centres of half voxels lie at -1/4, 1/4, 3/4, 5/4 of the old ones
    assert resize(line, [1, 4], False).flatten().tolist() == [0.0, 1.0, 3.0, 4.0]
    assert resize(line, [1, 3], True).flatten().tolist() == [0.0, 2.0, 4.0]
    assert resize(line, [1, 2], False) is line


def test_padding_repeats_the_last_voxels_and_cropping_takes_them_off():
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    padded = pad_to_multiple(x, 4)
    assert padded[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]
    assert torch.equal(crop(padded, [2, 3]), x)
    assert pad_to_multiple(padded, 4) is padded and crop(x, [2, 3]) is x


@pytest.mark.parametrize("kernel", [1, 3])
def test_convolution_then_norm_then_relu(kernel):
    block = trained(ConvNormAct(3, 2, 4, kernel, dropout=0.5))
    x = torch.randn(2, 2, 4, 5, 6)
    expected = F.relu(block.norm(block.conv(x)))
    assert torch.allclose(block(x), expected, atol=1e-5) and (expected == 0).any()
    block.train()
    assert (block(x) == 0).float().mean() > 0.6, "dropout comes last, and only in training"


def test_of_slab_pads_all_axes_but_the_first():
    block, x = trained(ConvNormAct(3, 2, 4)), torch.randn(1, 2, 6, 5, 4)
    assert torch.allclose(block.of_slab(x), block(x)[:, :, 1:-1], atol=1e-5)


def test_two_convolutions_one_after_the_other():
    block, x = trained(TwoConvs(2, 3, 4)), torch.randn(1, 3, 8, 8)
    assert torch.allclose(block(x), block[1](block[0](x))) and block.norms_before_relu() == [block[1].norm]


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(8, 12, 16), (7, 12, 15)])
def test_decoder_level_is_the_convolution_of_both_together(align_corners, size):
    block = trained(UpBlock(3, 4, 6, extra_channels=1, align_corners=align_corners))
    skip, coarse = torch.randn(1, 5, *size), torch.randn(1, 6, 4, 6, 8)
    up = F.interpolate(coarse, size=size, mode="trilinear", align_corners=align_corners)
    expected = block.second(block.first(torch.cat([skip, up], 1)))
    assert torch.allclose(block(skip, coarse), expected, atol=1e-4) and block.norms_before_relu() == [block.second.norm]


@pytest.mark.parametrize(
    ("skip", "coarse", "channels", "expected"),
    [
        ((16, 16, 8), (8, 8, 4), 2, True),
        ((16, 16, 8), (8, 8, 4), 3, False),
        ((15, 16, 8), (8, 8, 4), 1, False),
        ((32, 32), (16, 16), 2, True),
    ],
)
def test_splitting_needs_twice_the_size_and_128_voxels_a_channel(skip, coarse, channels, expected):
    given = torch.empty(1, 1, *skip), torch.empty(1, channels, *coarse)
    assert splitting_pays(*given) is expected
    with plain_layers():
        assert not splitting_pays(*given)
