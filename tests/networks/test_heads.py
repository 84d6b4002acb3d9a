"""Fused deep supervision against the way the authors describe it, and sums of resampled maps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bundle.networks.fast import plain_layers
from bundle.networks.heads import FusedHeads, resize_matrix, sum_upsampled, to_classes


def pyramid(dims: int) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(2, width, *[size] * dims) for width, size in ((3, 12), (5, 6), (4, 3))]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("classes", [None, [2, 0]])
def test_classes_of_each_level_upsampled_concatenated_and_fused(dims, align_corners, classes):
    torch.manual_seed(0)
    heads = FusedHeads(dims, [3, 5, 4], 3, align_corners=align_corners, classes=classes)
    features, mode = pyramid(dims), "bilinear" if dims == 2 else "trilinear"
    of_levels = [head(feature) for head, feature in zip(heads.levels, features, strict=True)]
    maps = [of_levels[0], *(F.interpolate(x, size=features[0].shape[2:], mode=mode, align_corners=align_corners) for x in of_levels[1:])]
    chosen = classes or [0, 1, 2]
    expected = heads.final(torch.cat(maps, 1))[:, chosen]
    given = list(features)
    assert torch.allclose(heads(given), expected, atol=1e-4) and given == []
    with plain_layers():
        assert torch.allclose(heads(list(features)), expected, atol=1e-5)
    for found, level in zip(heads.auxiliary(features), of_levels, strict=True):
        assert torch.allclose(found, level[:, chosen], atol=1e-5)


def test_which_classes_are_given_is_no_weight():
    assert set(FusedHeads(3, [2], 2, classes=[1]).state_dict()) == {"levels.0.weight", "levels.0.bias", "final.weight", "final.bias"}


@pytest.mark.parametrize("align_corners", [False, True])
def test_the_sum_of_resampled_maps(align_corners):
    maps = [torch.randn(1, 2, *size) for size in ((8, 10, 6), (4, 5, 3), (2, 3, 2))]
    expected = maps[0] + sum(F.interpolate(x, size=(8, 10, 6), mode="trilinear", align_corners=align_corners) for x in maps[1:])
    assert torch.allclose(sum_upsampled(list(maps), align_corners), expected, atol=1e-5)
    assert torch.equal(sum_upsampled(maps[:1], align_corners), maps[0])
    with plain_layers():
        assert torch.allclose(sum_upsampled(list(maps), align_corners), expected, atol=1e-5)


def test_the_matrix_of_linear_resampling_by_hand():
    x = torch.zeros(1, 1, 2)
    assert resize_matrix(x, 2, 4, False).tolist() == [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
    assert resize_matrix(x, 2, 3, True).tolist() == [[1, 0], [0.5, 0.5], [0, 1]]


def test_few_classes_by_a_matrix_product():
    x, weight = torch.randn(2, 5, 4, 3, 2), torch.randn(3, 5, 1, 1, 1)
    assert torch.allclose(to_classes(x, weight), F.conv3d(x, weight), atol=1e-5)


@pytest.mark.parametrize("size", [(4, 3), (4, 3, 2)])
def test_gradients_of_the_few_classes_are_those_of_the_convolution_and_channels_last(size):
    layout = torch.channels_last if len(size) == 2 else torch.channels_last_3d
    torch.manual_seed(0)
    x, weight = torch.randn(2, 5, *size).contiguous(memory_format=layout), torch.randn(3, 5, *[1] * len(size))
    towards = torch.randn(2, 3, *size)
    convolve = F.conv2d if len(size) == 2 else F.conv3d
    ways = [(to_classes, leaves(x, weight)), (convolve, leaves(x, weight))]
    found, expected = (torch.autograd.grad(way(*given), given, towards) for way, given in ways)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert found[0].is_contiguous(memory_format=layout)


def leaves(*tensors: torch.Tensor) -> list[torch.Tensor]:
    """Copies, in the memory layout of each, that want a gradient."""
    return [tensor.clone().requires_grad_() for tensor in tensors]


def test_under_autocast_the_classes_come_in_its_format_and_the_gradients_in_those_of_the_inputs():
    torch.manual_seed(0)
    x, weight = leaves(torch.randn(1, 16, 4, 4, 4), torch.randn(2, 16, 1, 1, 1))
    with torch.autocast("cpu", torch.bfloat16):
        classes = to_classes(x, weight)
    assert classes.dtype == torch.bfloat16
    of_x, of_weight = torch.autograd.grad(classes.float().sum(), [x, weight])
    assert of_x.dtype == of_weight.dtype == torch.float32
    assert torch.allclose(of_x, weight.sum(0).reshape(1, 16, 1, 1, 1).expand_as(x), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.channels_last_3d, torch.contiguous_format])
def test_one_sample_without_gradients_has_the_same_bits(dtype, layout):
    x = torch.randn(1, 16, 9, 8, 7).to(dtype).contiguous(memory_format=layout)
    weight = torch.randn(4, 16, 1, 1, 1).to(dtype)
    with torch.enable_grad():
        expected = to_classes(x, weight)
    with torch.no_grad():
        found = to_classes(x, weight)
    assert torch.equal(found, expected) and found.is_contiguous()
