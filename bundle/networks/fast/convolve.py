"""Convolutions by the fastest way there is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bundle.networks.fast.switch import plain_wanted


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int], stride: int = 1) -> Tensor:
    """2-D or 3-D convolution with zero padding.

    For one sample of few voxels in float32 (channels times the first two sizes at most 20480), PyTorch leaves oneDNN for code
    of its own, in 3-D measured as 2 to 16 times slower, and its result is not channels-last; here such a sample stays.
    """
    if x.dim() == 4:
        return F.conv2d(x, weight, bias, padding=padding, stride=stride)
    if not torch.jit.is_scripting():
        if not (plain_wanted() or torch.is_grad_enabled()) and _one_dnn_takes(x):
            return torch.mkldnn_convolution(x, weight, bias, padding, [stride] * 3, [1, 1, 1], 1)
    return F.conv3d(x, weight, bias, padding=padding, stride=stride)


def conv_same(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolution with an odd kernel, zero padding and the weights given; the size stays.

    On a CPU, a 1x1x1 convolution is done as a matrix product: for few voxels or one thread, PyTorch's convolution leaves the
    fast library, and its gradients come in another memory order than the features, which costs more than the product.
    """
    padding = weight.shape[-1] // 2
    if padding == 0 and not x.is_cuda and not plain_wanted():
        return F.linear(x.movedim(1, -1), weight.flatten(1), bias).movedim(-1, 1)
    return convolve(x, weight, bias, [padding] * (x.dim() - 2))


def channels_last(network: nn.Module, spatial_dims: int = 3) -> None:
    """Lay out the weights of 2-D or 3-D convolutions in place so that the channel varies fastest: what oneDNN and cuDNN take."""
    layout = torch.channels_last_3d if spatial_dims == 3 else torch.channels_last
    network.to(memory_format=layout)  # type: ignore[call-overload]  # PyTorch's annotations leave out this keyword


def feature_type(x: Tensor) -> torch.dtype:
    """The number format in which a convolution of x is computed: autocast's, where that is on."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def _one_dnn_takes(x: Tensor) -> bool:
    """Whether x is what oneDNN convolves here: float32 on a CPU (bfloat16 always goes there)."""
    usable = torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)
    return usable and x.device.type == "cpu" and feature_type(x) == x.dtype == torch.float32
