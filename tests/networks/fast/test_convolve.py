"""Convolutions by the fastest way equal PyTorch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bundle.networks.fast import convolve as fast_convolve
from bundle.networks.fast import plain_layers
from bundle.networks.fast.convolve import channels_last, conv_same, convolve, feature_type


def features(channels: int, size=(6, 8, 10)) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(1, channels, *size).contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize(("padding", "stride", "kernel"), [([1, 1, 1], 1, 3), ([0, 1, 1], 1, 3), ([0, 0, 0], 2, 2)])
def test_convolution_of_a_small_volume(padding, stride, kernel):
    """What goes to oneDNN directly equals PyTorch's own convolution, and stays channels-last."""
    x, weight, bias = features(5), torch.randn(7, 5, *[kernel] * 3), torch.randn(7)
    expected = F.conv3d(x, weight, bias, padding=padding, stride=stride)
    with torch.no_grad():
        found = convolve(x, weight, bias, padding, stride)
        with torch.backends.mkldnn.flags(enabled=False):
            other = convolve(x, weight, bias, padding, stride)
    assert torch.allclose(found, expected, atol=1e-5) and torch.allclose(other, expected, atol=1e-5)
    if torch.backends.mkldnn.is_available():
        assert found.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fused", [True, False])
def test_a_relu_in_the_same_pass_changes_no_bit(monkeypatch, dtype, fused):
    """Rounding keeps the sign, so that it does not matter which comes first; also where PyTorch has no such function, and by autocast."""
    x, weight, bias = features(5).to(dtype), torch.randn(7, 5, 3, 3, 3).to(dtype), torch.randn(7).to(dtype)
    if not fused:
        monkeypatch.setattr(fast_convolve, "_fused_types", lambda: ())
    with torch.no_grad():
        plain = convolve(x, weight, bias, [0, 1, 1])
        found = convolve(x, weight, bias, [0, 1, 1], relu=True)
        assert (plain < 0).any() and torch.equal(found, plain.clamp_min(0)) and found.dtype == dtype
        with torch.autocast("cpu", torch.bfloat16):
            half = convolve(x, weight, bias, [0, 1, 1], relu=True)
            assert torch.equal(half, torch.relu(convolve(x, weight, bias, [0, 1, 1]))) and half.dtype == torch.bfloat16
    with torch.enable_grad():
        assert torch.allclose(convolve(x, weight, bias, [0, 1, 1], relu=True), found, atol=1e-5 if dtype == torch.float32 else 0.1)
    flat, kernel = torch.randn(1, 5, 6, 7), torch.randn(4, 5, 1, 1)
    assert torch.equal(conv_same(flat, kernel, None, relu=True), conv_same(flat, kernel, None).relu())


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("dims", [2, 3])
def test_the_size_stays(dims, kernel):
    x, weight, bias = torch.randn(2, 5, *[7] * dims), torch.randn(4, 5, *[kernel] * dims), torch.randn(4)
    expected = (F.conv2d if dims == 2 else F.conv3d)(x, weight, bias, padding=kernel // 2)
    assert expected.shape[2:] == x.shape[2:]
    for context in (torch.no_grad(), torch.enable_grad(), plain_layers()):
        with context:
            assert torch.allclose(conv_same(x, weight, bias), expected, atol=1e-4)


def test_a_convolution_of_one_voxel_by_hand():
    x = torch.tensor([1.0, 10.0]).reshape(1, 2, 1, 1, 1)
    weight, bias = torch.tensor([[2.0, 3.0]]).reshape(1, 2, 1, 1, 1), torch.tensor([0.5])
    assert conv_same(x, weight, bias).item() == 2 * 1 + 3 * 10 + 0.5


def test_the_format_of_features_is_that_of_autocast():
    x = torch.zeros(1)
    assert feature_type(x) == torch.float32 and feature_type(x.half()) == torch.float16
    with torch.autocast("cpu", torch.bfloat16):
        assert feature_type(x) == torch.bfloat16


@pytest.mark.parametrize(("spatial_dims", "layout"), [(2, torch.channels_last), (3, torch.channels_last_3d)])
def test_weights_are_laid_out_in_place_with_the_channel_fastest(spatial_dims, layout):
    network = (torch.nn.Conv2d if spatial_dims == 2 else torch.nn.Conv3d)(3, 5, 3)
    before = network.weight.detach().clone()
    assert not network.weight.is_contiguous(memory_format=layout)
    channels_last(network, spatial_dims)
    assert network.weight.is_contiguous(memory_format=layout) and torch.equal(network.weight, before)
